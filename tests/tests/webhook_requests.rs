//! Requests that are not reviews, or not well-formed: each gets its answer, and the next client
//! too.

use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use procview_tests::webhook::Webhook;
use procview_tests::webhook::client::{MUTATE, Trust, read};
use procview_tests::webhook::review::{Review, Size};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longer than any limit of the server.
const LIMIT: Duration = Duration::from_secs(20);

/// Says something over a connection of its own. Gives the status of the answer, 0 if the server
/// closes the connection without one.
async fn say(webhook: &Webhook, trust: &Trust, text: &[u8]) -> Result<u16> {
    let mut stream = trust.tls(webhook.address()).await?;
    // The server may answer and close before it has heard all.
    let _ = stream.write_all(text).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let read = async {
        let mut some = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut some).await {
            answer.extend_from_slice(some.get(..length).unwrap_or_default());
            if answer.windows(4).any(|end| end == b"\r\n\r\n") {
                break;
            }
        }
    };
    timeout(LIMIT, read)
        .await
        .context("no answer, and not closed")?;
    let status = answer.get(9..12).map(String::from_utf8_lossy);
    Ok(status.and_then(|status| status.parse().ok()).unwrap_or(0))
}

/// The server still answers reviews, on old and new connections.
async fn answers(webhook: &Webhook) -> Result<()> {
    let mut connection = webhook.trust()?.connect(webhook.address()).await?;
    for size in Size::ALL {
        connection.review(&Review::new(size, 7)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn wrong_methods_and_paths() -> Result<()> {
    let webhook = Webhook::start(&[]).await?;
    let mut connection = webhook.trust()?.connect(webhook.address()).await?;
    let review = Review::new(Size::Small, 1);
    for (method, path, status) in [
        (Method::GET, "/mutate", 405),
        (Method::PUT, "/mutate", 405),
        (Method::DELETE, "/mutate", 405),
        (Method::POST, "/readyz", 405),
        (Method::POST, "/metrics", 405),
        (Method::POST, "/", 404),
        (Method::POST, "/mutate/", 404),
        (Method::POST, "/mutate/../mutate", 404),
        (Method::POST, "/%6dutate%00", 404),
        (Method::GET, "/validate", 404),
    ] {
        let answer = connection.send(method.clone(), path, review.body()).await?;
        answer
            .expect(status)
            .with_context(|| format!("{method} {path}"))?;
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        connection.get(path).await?.expect(200).context(path)?;
    }
    answers(&webhook).await
}

#[tokio::test]
async fn bodies_that_are_no_reviews() -> Result<()> {
    let webhook = Webhook::start(&[]).await?;
    let mut connection = webhook.trust()?.connect(webhook.address()).await?;
    let deep = "[".repeat(200_000);
    let bodies: [&[u8]; 9] = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{\"kind\":\"AdmissionReview\"}",
        b"\xff\xfe\x00",
        b"{\"request\":{\"uid\":1}}",
        deep.as_bytes(),
        &[0; 1000],
    ];
    for body in bodies {
        let answer = connection
            .send(Method::POST, MUTATE, Bytes::copy_from_slice(body))
            .await?;
        let start = String::from_utf8_lossy(body.get(..40).unwrap_or(body)).into_owned();
        answer.expect(400).with_context(|| start)?;
    }
    answers(&webhook).await
}

#[tokio::test]
async fn bodies_that_are_too_large() -> Result<()> {
    let webhook = Webhook::start(&[]).await?;
    let trust = webhook.trust()?;
    let before = webhook.kib("VmHWM")?;
    let most = 8 << 20;
    for length in [most + 1, 10 << 20, 1 << 40, usize::MAX >> 1] {
        let head = format!(
            "POST /mutate HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        let mut text = head.into_bytes();
        text.resize(text.len() + length.min(10 << 20), b' ');
        assert_eq!(say(&webhook, &trust, &text).await?, 413, "{length}");
    }
    let chunk = [b"10000\r\n", " ".repeat(0x10000).as_bytes(), b"\r\n"].concat();
    let head = b"POST /mutate HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\n\
                 Transfer-Encoding: chunked\r\n\r\n";
    let endless = [head.as_slice(), &chunk.repeat(200)].concat();
    assert_eq!(say(&webhook, &trust, &endless).await?, 413, "chunked");
    let most = webhook.kib("VmHWM")?;
    assert!(most < before + 40 * 1024, "{most} KiB, {before} before");
    answers(&webhook).await
}

#[tokio::test]
async fn lengths_that_are_wrong() -> Result<()> {
    let webhook = Webhook::start(&[]).await?;
    let trust = webhook.trust()?;
    let review = Review::new(Size::Small, 1).body();
    let post = |headers: &str| {
        let head = format!(
            "POST /mutate HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\n{headers}\r\n\r\n"
        );
        [head.as_bytes(), &review].concat()
    };
    let real = review.len();
    // Shorter than it is: JSON that breaks off, and then something that is no request.
    for (headers, status) in [
        (format!("Content-Length: {}", real - 10), 400),
        (format!("Content-Length: {}", real + 10), 408),
        ("Content-Length: -1".to_owned(), 400),
        ("Content-Length: ten".to_owned(), 400),
        ("Content-Length: 99999999999999999999999".to_owned(), 400),
        (format!("Content-Length: {real}\r\nContent-Length: 1"), 400),
        ("Transfer-Encoding: gzip".to_owned(), 400),
        ("Transfer-Encoding: chunked".to_owned(), 400),
    ] {
        let got = say(&webhook, &trust, &post(&headers)).await?;
        assert_eq!(got, status, "{headers}");
    }
    answers(&webhook).await
}

#[tokio::test]
async fn headers_without_end() -> Result<()> {
    let webhook = Webhook::start(&[]).await?;
    let trust = webhook.trust()?;
    let long = format!("GET /readyz HTTP/1.1\r\nLong: {}", "x".repeat(2 << 20));
    assert_eq!(say(&webhook, &trust, long.as_bytes()).await?, 431);
    let many = format!("GET /readyz HTTP/1.1\r\n{}", "A: b\r\n".repeat(100_000));
    assert_eq!(say(&webhook, &trust, many.as_bytes()).await?, 431);
    let path = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 << 20));
    let status = say(&webhook, &trust, path.as_bytes()).await?;
    assert!([414, 431].contains(&status), "{status}");
    answers(&webhook).await
}

/// More at a time than there may be streams: the rest waits.
#[tokio::test]
async fn many_reviews_over_http2() -> Result<()> {
    let webhook = Webhook::start(&[]).await?;
    let trust = webhook.trust()?.offering("h2");
    let stream = TokioIo::new(trust.tls(webhook.address()).await?);
    let (sender, driver) = http2::handshake(TokioExecutor::new(), stream).await?;
    tokio::spawn(driver);
    let mut reviews = JoinSet::new();
    for (number, size) in (0..300).zip(Size::ALL.into_iter().cycle()) {
        let mut sender = sender.clone();
        reviews.spawn(async move {
            let review = Review::new(size, number);
            let request = Request::post("https://webhook/mutate")
                .header("content-type", "application/json")
                .body(Full::new(review.body()))?;
            sender.ready().await?;
            review.check(&read(sender.send_request(request).await?).await?)
        });
    }
    while let Some(answered) = reviews.join_next().await {
        answered??;
    }
    answers(&webhook).await
}
