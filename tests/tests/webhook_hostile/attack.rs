//! The attacks. Each holds its connections for some time and then leaves.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Waker, Poll};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::{Body, Bytes, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use procview_tests::webhook::Webhook;
use procview_tests::webhook::review::{Review, Size};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::raw::{closed, connections, head, saying, tls};

/// How long connections are held after all are there.
const HELD: Duration = Duration::from_secs(3);
/// A limit of 10 s on a body, and time to spare.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) async fn slow_headers(webhook: &Webhook, number: usize) -> Result<()> {
    let mut streams = tls(webhook, number).await?;
    for byte in head(10).into_bytes().chunks(1).take(40) {
        for stream in &mut streams {
            // The server may close it, and is right to.
            let _ = stream.write_all(byte).await;
            let _ = stream.flush().await;
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The server gives up on each of them.
pub(crate) async fn slow_bodies(webhook: &Webhook, number: usize) -> Result<()> {
    let mut start = head(100_000).into_bytes();
    start.extend_from_slice(b"{\"kind\":\"AdmissionReview\",");
    let mut streams = saying(webhook, number, &start).await?;
    for stream in &mut streams {
        ensure!(closed(stream, LIMIT).await, "a body was waited for");
    }
    Ok(())
}

pub(crate) async fn large_bodies(webhook: &Webhook, number: usize) -> Result<()> {
    let length = 8 << 20;
    let body = vec![b' '; length - 1];
    let mut tasks = tokio::task::JoinSet::new();
    for mut stream in tls(webhook, number).await? {
        let body = body.clone();
        tasks.spawn(async move {
            let head = head(length);
            let send = async {
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
                stream.flush().await?;
                let mut rest = [0; 64];
                stream.read(&mut rest).await
            };
            // All but a byte was sent: the server can only wait, or refuse.
            let _ = timeout(LIMIT, send).await;
        });
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// A third says nothing, a third the start of a ClientHello, a third is closed for sending.
pub(crate) async fn half_open(webhook: &Webhook, number: usize) -> Result<()> {
    let mut streams = Vec::new();
    for kind in (0..3).cycle().take(number) {
        let mut stream = TcpStream::connect(webhook.address()).await?;
        if kind == 1 {
            // A handshake record of 512 bytes of which no more comes.
            stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await?;
        } else if kind == 2 {
            stream.shutdown().await?;
        }
        streams.push(stream);
    }
    for stream in &mut streams {
        ensure!(closed(stream, LIMIT).await, "a handshake was waited for");
    }
    Ok(())
}

pub(crate) async fn idle(webhook: &Webhook, number: usize) -> Result<()> {
    let mut all = connections(webhook, number).await?;
    sleep(HELD).await;
    // The youngest were kept.
    let review = Review::new(Size::Small, 0);
    for connection in all.iter_mut().rev().take(500) {
        connection.review(&review).await?;
    }
    Ok(())
}

pub(crate) async fn garbage(webhook: &Webhook, number: usize) -> Result<()> {
    let said: [&[u8]; 5] = [
        b"GET /readyz HTTP/1.1\r\nHost: webhook\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_10.0\r\n",
        &[0; 5000],
        &[0x16; 5000],
    ];
    for text in said.iter().cycle().take(number) {
        let mut stream = TcpStream::connect(webhook.address()).await?;
        // It may close the connection before all is sent.
        let _ = stream.write_all(text).await;
        ensure!(closed(&mut stream, LIMIT).await, "garbage was waited for");
    }
    Ok(())
}

/// Bodies that never end, on many streams of each connection.
pub(crate) async fn streams(webhook: &Webhook, number: usize, each: usize) -> Result<()> {
    let trust = webhook.trust()?.offering("h2");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..number {
        let stream = TokioIo::new(trust.tls(webhook.address()).await?);
        let (sender, driver) = http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(driver);
        for _ in 0..each {
            let mut sender = sender.clone();
            tasks.spawn(async move {
                let request = Request::post("https://webhook/mutate")
                    .header("content-type", "application/json")
                    .body(Endless::default())
                    .context("a request")?;
                let answer = timeout(HELD, sender.send_request(request)).await;
                ensure!(!matches!(answer, Ok(Ok(_))), "half a review was answered");
                anyhow::Ok(())
            });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// A body that begins, and of which no more comes.
#[derive(Debug, Default)]
struct Endless {
    begun: bool,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _waker: &mut Waker<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.begun {
            return Poll::Pending;
        }
        self.begun = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"{\"kind\":")))))
    }
}

/// Streams that are opened and reset at once, the attack called rapid reset.
pub(crate) async fn resets(webhook: &Webhook, number: usize) -> Result<()> {
    let trust = webhook.trust()?.offering("h2");
    let stream = TokioIo::new(trust.tls(webhook.address()).await?);
    let (mut sender, driver) = http2::handshake(TokioExecutor::new(), stream).await?;
    tokio::spawn(driver);
    for _ in 0..number {
        let request = Request::post("https://webhook/mutate").body(Empty::<Bytes>::new())?;
        if sender.ready().await.is_err() {
            // It may refuse to go on.
            return Ok(());
        }
        let answer = sender.send_request(request);
        let _ = timeout(Duration::from_micros(1), answer).await;
    }
    Ok(())
}
