//! The end of a webhook: no review that an API server sends is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use procview_tests::webhook::Webhook;
use procview_tests::webhook::client::{Connection, Trust};
use procview_tests::webhook::review::{Review, Size};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// More than it says it needs: 5 s until API servers know, 10 s for requests under way.
const ENDED: Duration = Duration::from_secs(30);

async fn wait_for_end(webhook: &mut Webhook) -> Result<()> {
    let begin = Instant::now();
    loop {
        if let Some(status) = webhook.ended()? {
            ensure!(status.success(), "{status}: {}", webhook.log());
            return Ok(());
        }
        ensure!(begin.elapsed() < ENDED, "not ended: {}", webhook.log());
        sleep(Duration::from_millis(20)).await;
    }
}

/// Posts until nobody listens any more. As an API server, it keeps the connection unless the server
/// closes it or asks to, and then makes another one; it fails if one breaks with a review on it.
async fn post(
    webhook: std::net::SocketAddr,
    trust: Trust,
    pause: Duration,
    answered: Arc<AtomicUsize>,
) -> Result<()> {
    let mut kept: Option<Connection> = None;
    for number in 0.. {
        if let Some(connection) = &mut kept
            && connection.ready().await.is_err()
        {
            kept = None;
        }
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None if TcpStream::connect(webhook).await.is_err() => return Ok(()),
            // Closed in the handshake: an API server dials another one.
            None => match trust.connect(webhook).await {
                Ok(connection) => connection,
                Err(_) => continue,
            },
        };
        let review = Review::new(Size::Medium, number);
        let answer = timeout(Duration::from_secs(10), connection.review(&review));
        let answer = answer.await.context("no answer")??;
        answered.fetch_add(1, Ordering::Relaxed);
        if !answer.closes() {
            kept = Some(connection);
        }
        sleep(pause).await;
    }
    Ok(())
}

#[tokio::test]
async fn no_review_is_lost_under_load() -> Result<()> {
    for _ in 0..3 {
        let mut webhook = Webhook::start(&["--shutdown-delay", "1"]).await?;
        let answered = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for client in 0..32 {
            let pause = Duration::from_millis(client % 8);
            let (address, trust) = (webhook.address(), webhook.trust()?);
            clients.spawn(post(address, trust, pause, Arc::clone(&answered)));
        }
        sleep(Duration::from_secs(1)).await;
        let before = answered.load(Ordering::Relaxed);
        ensure!(before > 32, "{before} reviews before the end");
        webhook.terminate()?;
        let mut lost = Vec::new();
        while let Some(client) = clients.join_next().await {
            lost.extend(client?.err().map(|error| format!("{error:#}")));
        }
        wait_for_end(&mut webhook).await?;
        assert!(lost.is_empty(), "{} lost: {lost:?}", lost.len());
        let after = answered.load(Ordering::Relaxed);
        assert!(after > before, "none was answered after SIGTERM");
    }
    Ok(())
}

#[tokio::test]
async fn a_review_under_way_is_answered() -> Result<()> {
    let mut webhook = Webhook::start(&["--shutdown-delay", "0"]).await?;
    let review = Review::new(Size::Large, 1).body();
    let mut stream = webhook.trust()?.tls(webhook.address()).await?;
    let head = format!(
        "POST /mutate HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        review.len()
    );
    let (first, second) = review.split_at(review.len() / 2);
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(first).await?;
    stream.flush().await?;
    sleep(Duration::from_millis(300)).await;
    webhook.terminate()?;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(webhook.ended()?, None);
    assert!(TcpStream::connect(webhook.address()).await.is_err());
    stream.write_all(second).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    // Until the server closes the connection, with or without close_notify.
    let _ = timeout(ENDED, stream.read_to_end(&mut answer)).await?;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("\"allowed\":true"), "{answer}");
    wait_for_end(&mut webhook).await
}

/// Idle connections, ones without a handshake and bodies that never end do not keep it.
#[tokio::test]
async fn it_ends_whoever_is_connected() -> Result<()> {
    let mut webhook = Webhook::start(&["--shutdown-delay", "0"]).await?;
    let trust = webhook.trust()?;
    let mut idle = Vec::new();
    let mut silent = Vec::new();
    let mut slow = Vec::new();
    for _ in 0..20 {
        idle.push(trust.connect(webhook.address()).await?);
        silent.push(TcpStream::connect(webhook.address()).await?);
        let mut stream = trust.tls(webhook.address()).await?;
        let head = b"POST /mutate HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\n\
                     Content-Length: 1000\r\n\r\n{";
        stream.write_all(head).await?;
        stream.flush().await?;
        slow.push(stream);
    }
    sleep(Duration::from_millis(300)).await;
    webhook.terminate()?;
    wait_for_end(&mut webhook).await
}

/// Until API servers know, new connections are taken, but it no longer says that it is ready.
#[tokio::test]
async fn it_goes_on_until_others_know() -> Result<()> {
    let mut webhook = Webhook::start(&["--shutdown-delay", "3"]).await?;
    let trust = webhook.trust()?;
    webhook.terminate()?;
    let mut unready = false;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        let mut connection = trust.connect(webhook.address()).await?;
        connection.review(&Review::new(Size::Small, 1)).await?;
        let mut other = trust.connect(webhook.address()).await?;
        if other.get("/readyz").await?.head.status() == 503 {
            unready = true;
        }
        sleep(Duration::from_millis(50)).await;
    }
    if !unready {
        bail!("it said that it is ready until the end");
    }
    wait_for_end(&mut webhook).await
}
