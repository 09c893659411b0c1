//! Versions of TLS, and certificates that are exchanged under way.

use std::time::Duration;

use anyhow::{Result, ensure};
use procview_tests::webhook::Webhook;
use procview_tests::webhook::certificate::{Authority, Leaf};
use procview_tests::webhook::client::Trust;
use procview_tests::webhook::review::{Review, Size};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// How long until a certificate is served after its files have changed.
const SEEN: Duration = Duration::from_secs(30);

/// The ClientHello of a client that knows no version after `newest`, with the cipher suites of
/// TLS 1.2 and before.
fn hello(newest: [u8; 2]) -> Vec<u8> {
    let suites = [
        0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x09, 0xc0, 0x13, 0x00, 0x2f, 0x00, 0x35,
    ];
    // supported_groups: secp256r1; signature_algorithms: ecdsa_secp256r1_sha256, rsa_pkcs1_sha1.
    let extensions = [
        0, 10, 0, 4, 0, 2, 0, 23, // supported_groups
        0, 11, 0, 2, 1, 0, // ec_point_formats
        0, 13, 0, 6, 0, 4, 4, 3, 2, 1, // signature_algorithms
        0, 23, 0, 0, // extended_master_secret
        0xff, 1, 0, 1, 0, // renegotiation_info
    ];
    let mut body = newest.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 12]);
    body.extend(suites);
    body.extend([1, 0]);
    body.extend([0, u8::try_from(extensions.len()).expect("short")]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).expect("short");
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

/// The first record that the server sends back.
async fn answer(webhook: &Webhook, hello: &[u8]) -> Result<[u8; 7]> {
    let mut stream = TcpStream::connect(webhook.address()).await?;
    stream.write_all(hello).await?;
    let mut record = [0; 7];
    timeout(Duration::from_secs(10), stream.read_exact(&mut record)).await??;
    Ok(record)
}

#[tokio::test]
async fn versions_before_1_2_are_refused() -> Result<()> {
    let webhook = Webhook::start(&[]).await?;
    // TLS 1.2: a handshake record, in it a ServerHello.
    let [kind, _, _, _, _, message, _] = answer(&webhook, &hello([3, 3])).await?;
    assert_eq!([kind, message], [22, 2], "TLS 1.2");
    for (name, version) in [
        ("SSL 3.0", [3, 0]),
        ("TLS 1.0", [3, 1]),
        ("TLS 1.1", [3, 2]),
    ] {
        // An alert, fatal, protocol_version.
        let [kind, _, _, _, _, level, what] = answer(&webhook, &hello(version)).await?;
        assert_eq!([kind, level, what], [21, 2, 70], "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn versions_1_2_and_1_3_are_spoken() -> Result<()> {
    let webhook = Webhook::start(&[]).await?;
    let authority = webhook.authority();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let trust = Trust::with_versions(&[authority], &[version])?;
        let stream = trust.tls(webhook.address()).await?;
        let spoken = stream.get_ref().1.protocol_version();
        assert_eq!(spoken, Some(version.version));
        let mut connection = trust.connect(webhook.address()).await?;
        connection.review(&Review::new(Size::Small, 1)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_does_not_trust_is_not_served() -> Result<()> {
    let webhook = Webhook::start(&[]).await?;
    let trust = Trust::new(&[&Authority::new("another")?])?;
    assert!(trust.connect(webhook.address()).await.is_err());
    webhook.trust()?.connect(webhook.address()).await?;
    Ok(())
}

async fn serves(webhook: &Webhook, trust: &Trust, leaf: &Leaf) -> Result<bool> {
    let stream = trust.tls(webhook.address()).await?;
    let certificates = stream.get_ref().1.peer_certificates();
    Ok(certificates.and_then(<[_]>::first) == Some(leaf.certificate()))
}

/// Posts over a connection that must not break until a certificate is served to new ones.
async fn wait_for(webhook: &Webhook, trust: &Trust, leaf: &Leaf) -> Result<()> {
    let mut kept = trust.connect(webhook.address()).await?;
    let begin = Instant::now();
    while !serves(webhook, trust, leaf).await? {
        ensure!(begin.elapsed() < SEEN, "still the old certificate");
        kept.review(&Review::new(Size::Medium, 1)).await?;
        sleep(Duration::from_millis(50)).await;
    }
    kept.review(&Review::new(Size::Medium, 2)).await?;
    Ok(())
}

#[tokio::test]
async fn certificates_are_exchanged_under_way() -> Result<()> {
    let webhook = Webhook::start(&[]).await?;
    let next = Authority::new("two")?;
    let trust = Trust::new(&[webhook.authority(), &next])?;
    let mut kept = trust.connect(webhook.address()).await?;
    kept.review(&Review::new(Size::Small, 1)).await?;
    for leaf in [webhook.authority().leaf()?, next.leaf()?, next.leaf()?] {
        webhook.secret().put(&leaf)?;
        wait_for(&webhook, &trust, &leaf).await?;
        kept.review(&Review::new(Size::Small, 2)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn files_that_are_no_certificate_change_nothing() -> Result<()> {
    let webhook = Webhook::start(&[]).await?;
    let trust = webhook.trust()?;
    let leaf = webhook.authority().leaf()?;
    webhook.secret().put(&leaf)?;
    wait_for(&webhook, &trust, &leaf).await?;
    let mut kept = trust.connect(webhook.address()).await?;
    for (certificate, key) in [
        ("", ""),
        ("garbage", "garbage"),
        (leaf.pem(), ""),
        ("", leaf.key()),
    ] {
        webhook.secret().put_files(certificate, key)?;
        sleep(Duration::from_secs(3)).await;
        kept.review(&Review::new(Size::Small, 1)).await?;
        assert!(serves(&webhook, &trust, &leaf).await?, "{}", webhook.log());
    }
    // And it goes on to look.
    let leaf = webhook.authority().leaf()?;
    webhook.secret().put(&leaf)?;
    wait_for(&webhook, &trust, &leaf).await
}
