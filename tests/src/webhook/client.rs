//! A client of a webhook, as an API server is one: TLS, HTTP/1.1, connections that are kept.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::{Authority, NAME};
use super::review::Review;

/// Where reviews are posted to; API servers add the time they wait.
pub const MUTATE: &str = "/mutate?timeout=2s";

/// What a client trusts, and what it offers in the handshake.
#[derive(Debug, Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
}

/// An answer that was read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status line and headers.
    pub head: Response<()>,
    /// Its body.
    pub body: Bytes,
}

/// A connection that is kept from one request to the next.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Trust {
    /// Trusts these authorities.
    ///
    /// # Errors
    /// If one is none.
    pub fn new(authorities: &[&Authority]) -> Result<Self> {
        Self::with_versions(authorities, rustls::ALL_VERSIONS)
    }

    /// Trusts these authorities and offers these versions of TLS only.
    ///
    /// # Errors
    /// If one is none.
    pub fn with_versions(
        authorities: &[&Authority],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.certificate())?;
        }
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// Offers a protocol by ALPN, such as `h2`.
    #[must_use]
    pub fn offering(&self, protocol: &str) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.into()];
        Self {
            config: Arc::new(config),
        }
    }

    /// Connects up to the end of the handshake.
    ///
    /// # Errors
    /// If either fails.
    pub async fn tls(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let name = ServerName::try_from(NAME)?;
        Ok(connector.connect(name, stream).await?)
    }

    /// Connects for HTTP/1.1, the version that API servers use for webhooks.
    ///
    /// # Errors
    /// If that fails.
    pub async fn connect(&self, address: SocketAddr) -> Result<Connection> {
        let stream = TokioIo::new(self.tls(address).await?);
        let (sender, driver) = http1::handshake(stream).await?;
        // What goes wrong with it is told to who waits for an answer.
        tokio::spawn(driver);
        Ok(Connection {
            sender,
            host: address.to_string(),
        })
    }

    /// Whether the server says that it is ready.
    pub async fn is_ready(&self, address: SocketAddr) -> bool {
        let answer = async { self.connect(address).await?.get("/readyz").await };
        matches!(answer.await, Ok(answer) if answer.head.status() == 200)
    }
}

impl Connection {
    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .version(Version::HTTP_11)
            .header("host", &self.host)
            .header("user-agent", "kube-apiserver-admission")
            .header("accept", "application/json, */*")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        read(self.sender.send_request(request).await?).await
    }

    /// Gets a path.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// Posts a review and checks the answer.
    ///
    /// # Errors
    /// If the connection breaks or the answer is not what it has to be.
    pub async fn review(&mut self, review: &Review) -> Result<Answer> {
        let answer = self.send(Method::POST, MUTATE, review.body()).await?;
        review.check(&answer)?;
        Ok(answer)
    }

    /// Waits until the next request can be sent.
    ///
    /// # Errors
    /// If the server closed the connection.
    pub async fn ready(&mut self) -> Result<()> {
        Ok(self.sender.ready().await?)
    }
}

impl Answer {
    /// Whether the server asks to send nothing more on the connection.
    #[must_use]
    pub fn closes(&self) -> bool {
        let connection = self.head.headers().get("connection");
        connection.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
    }

    /// Checks the status.
    ///
    /// # Errors
    /// If it is another.
    pub fn expect(&self, status: u16) -> Result<()> {
        if self.head.status() != status {
            let text = String::from_utf8_lossy(&self.body);
            bail!("expected {status}, got {}: {text}", self.head.status());
        }
        Ok(())
    }
}

/// Reads an answer to its end.
///
/// # Errors
/// If the connection breaks before.
pub async fn read(response: Response<Incoming>) -> Result<Answer> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.context("the answer broke off")?;
    Ok(Answer {
        head: Response::from_parts(parts, ()),
        body: body.to_bytes(),
    })
}
