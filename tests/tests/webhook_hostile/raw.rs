//! Connections in number, and bytes on them that no HTTP library would send.

use std::time::Duration;

use anyhow::Result;
use procview_tests::webhook::Webhook;
use procview_tests::webhook::client::Connection;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// The head of a review whose body has `length`.
pub(crate) fn head(length: usize) -> String {
    format!(
        "POST /mutate HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// Connections for HTTP in number.
pub(crate) async fn connections(webhook: &Webhook, number: usize) -> Result<Vec<Connection>> {
    let trust = webhook.trust()?;
    let mut all = Vec::new();
    while all.len() < number {
        all.push(trust.connect(webhook.address()).await?);
    }
    Ok(all)
}

/// TLS connections in number.
pub(crate) async fn tls(webhook: &Webhook, number: usize) -> Result<Vec<TlsStream<TcpStream>>> {
    let trust = webhook.trust()?;
    let mut all = Vec::new();
    while all.len() < number {
        all.push(trust.tls(webhook.address()).await?);
    }
    Ok(all)
}

/// TLS connections in number on which something was said.
pub(crate) async fn saying(
    webhook: &Webhook,
    number: usize,
    text: &[u8],
) -> Result<Vec<TlsStream<TcpStream>>> {
    let trust = webhook.trust()?;
    let mut all = Vec::new();
    while all.len() < number {
        let mut stream = trust.tls(webhook.address()).await?;
        stream.write_all(text).await?;
        stream.flush().await?;
        all.push(stream);
    }
    Ok(all)
}

/// Waits until the server closed a connection; false if it does not within `time`.
pub(crate) async fn closed(stream: &mut (impl AsyncRead + Unpin), time: Duration) -> bool {
    let mut rest = [0; 4096];
    let read_all = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
    timeout(time, read_all).await.is_ok()
}
