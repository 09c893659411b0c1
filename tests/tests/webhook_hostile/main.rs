//! Clients that mean harm, or are broken: others are answered meanwhile, and nothing of them stays.

mod attack;
mod bystander;
mod raw;

use std::time::Duration;

use anyhow::{Result, bail};
use procview_tests::webhook::review::{Review, Size};
use procview_tests::webhook::{Webhook, program};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use bystander::Bystanders;

/// How long a server may hold what clients left: its longest time limit on anything but idle
/// connections is 10 s.
const CLEARED: Duration = Duration::from_secs(30);
/// File descriptors that may come and go.
const SOME_FILES: usize = 8;

/// Attacks while others are served, then looks for what is left of it. Gives the most memory that
/// the server ever had, in KiB.
async fn survive(attack: impl AsyncFnOnce(&Webhook) -> Result<()>) -> Result<u64> {
    let mut webhook = Webhook::start(&[]).await?;
    let mut bystanders = Bystanders::start(&webhook)?;
    bystanders.wait_for(50).await?;
    let files = webhook.open_files()?;
    attack(&webhook).await?;
    // Others were served all the time, and go on to be.
    bystanders.wait_for(50).await?;
    let deadline = Instant::now() + CLEARED;
    while webhook.open_files()? > files + SOME_FILES {
        if Instant::now() > deadline {
            bail!("{} files open, {files} before", webhook.open_files()?);
        }
        sleep(Duration::from_millis(100)).await;
    }
    bystanders.stop().await?;
    assert_eq!(webhook.ended()?, None, "{}", webhook.log());
    assert!(!webhook.log().contains("panicked"), "{}", webhook.log());
    webhook.kib("VmHWM")
}

/// A mebibyte, in KiB.
const MIB: u64 = 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_byte_by_byte() -> Result<()> {
    let memory = survive(async |webhook| attack::slow_headers(webhook, 200).await).await?;
    assert!(memory < 64 * MIB, "{memory} KiB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_never_end() -> Result<()> {
    let memory = survive(async |webhook| attack::slow_bodies(webhook, 200).await).await?;
    assert!(memory < 64 * MIB, "{memory} KiB");
    Ok(())
}

/// Each is below the limit of a body, all together are many times a webhook's memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_bodies_at_once() -> Result<()> {
    let memory = survive(async |webhook| attack::large_bodies(webhook, 30).await).await?;
    assert!(memory < 128 * MIB, "{memory} KiB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_on_all_connections() -> Result<()> {
    survive(async |webhook| attack::slow_bodies(webhook, 1200).await).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_handshake() -> Result<()> {
    let memory = survive(async |webhook| attack::half_open(webhook, 1500).await).await?;
    assert!(memory < 128 * MIB, "{memory} KiB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections() -> Result<()> {
    let memory = survive(async |webhook| attack::idle(webhook, 1000).await).await?;
    assert!(memory < 128 * MIB, "{memory} KiB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_idle_connections_than_there_may_be() -> Result<()> {
    survive(async |webhook| attack::idle(webhook, 1300).await).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_instead_of_tls() -> Result<()> {
    survive(async |webhook| attack::garbage(webhook, 200).await).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_without_end_over_http2() -> Result<()> {
    let memory = survive(async |webhook| attack::streams(webhook, 4, 1000).await).await?;
    assert!(memory < 128 * MIB, "{memory} KiB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset() -> Result<()> {
    survive(async |webhook| attack::resets(webhook, 20_000).await).await?;
    Ok(())
}

/// With all file descriptors in use, connections that are there are served, and others as soon as
/// there are some again, which is when handshakes are given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_descriptors_left() -> Result<()> {
    let limited = "ulimit -n 64 && exec \"$0\" serve \"$@\"";
    let program = program()?.into_os_string();
    let webhook = Webhook::start_as(&["sh".into(), "-c".into(), limited.into(), program]).await?;
    let review = Review::new(Size::Medium, 1);
    let trust = webhook.trust()?;
    let mut kept = trust.connect(webhook.address()).await?;
    kept.review(&review).await?;
    let mut held = Vec::new();
    while held.len() < 200 {
        held.push(TcpStream::connect(webhook.address()).await?);
    }
    for _ in 0..50 {
        timeout(Duration::from_secs(2), kept.review(&review)).await??;
    }
    let mut another = timeout(CLEARED, trust.connect(webhook.address())).await??;
    another.review(&review).await?;
    kept.review(&review).await?;
    assert!(webhook.log().lines().count() < 10_000);
    Ok(())
}
