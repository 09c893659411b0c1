//! Accepts connections, and sees to it that no client keeps others from being answered.
//!
//! There is a limit on connections rather than short time limits on idle ones: an API server keeps
//! its connections for 90 s without a call, and a connection that the server closes first can cost
//! it one. Beyond the limit the connection goes that did nothing for longest: begin a request, or
//! get an answer. Those are of clients that never send a request, or never finish one.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use connections::{Connection, Connections};

mod connections;

/// Limits of the server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Until the TLS handshake is done.
    pub handshake: Duration,
    /// Until the next request has begun; longer than the 90 s of Go's HTTP client.
    pub idle: Duration,
    /// After it is told to stop, until it accepts no more.
    pub leave: Duration,
    /// After the end of accepting, until requests under way are cut off.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshake: Duration::from_secs(5),
            idle: Duration::from_secs(150),
            leave: Duration::from_secs(5),
            drain: Duration::from_secs(10),
        }
    }
}

/// How far the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Others are still being told. Each answer asks to use another connection, so that at the end
    /// no client sends a request on one that is just being closed.
    Leaving,
    /// No connection is accepted, and all end with the request under way.
    Draining,
}

/// Connections that are idle at the end are closed after this, when a request that was on its way
/// has arrived.
const LINGER: Duration = Duration::from_secs(1);

/// The head of a request, and what is read of a body at once. Go's clients send far less.
const MOST_HEADERS: usize = 64 << 10;

/// Serves until `stop` is done, for some time more, and then until the requests under way are
/// answered.
///
/// # Errors
/// If the listener cannot be asked for its address.
pub async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
    limits: Limits,
    open: prometheus_client::metrics::gauge::Gauge,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "serving");
    let acceptor = TlsAcceptor::from(config);
    let connections = Arc::new(Connections::new(limits.connections, open));
    let (phase, phases) = watch::channel(Phase::Serving);
    let stop = async {
        stop.await;
        phase.send_replace(Phase::Leaving);
        sleep(limits.leave).await;
    };
    let mut stop = pin!(stop);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Most likely out of file descriptors: others may finish meanwhile.
                    tracing::warn!(%error, "cannot accept");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let connection = Connections::add(&connections);
        let acceptor = acceptor.clone();
        let router = router.clone();
        let phases = phases.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = converse(stream, acceptor, router, limits, phases, &connection) => {}
                () = connection.evicted() => {}
            }
        });
    }
    drop(listener);
    phase.send_replace(Phase::Draining);
    tracing::info!(connections = connections.len(), "draining");
    if timeout(LINGER, connections.empty()).await.is_err() {
        connections.evict_idle();
        if timeout(limits.drain, connections.empty()).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "cut off requests under way"
            );
        }
    }
    Ok(())
}

/// Serves one connection to its end.
async fn converse(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    limits: Limits,
    mut phases: watch::Receiver<Phase>,
    connection: &Connection,
) {
    // Answers are small; none should wait for another.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(limits.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake");
            return;
        }
        Err(_) => {
            tracing::debug!("TLS handshake took too long");
            return;
        }
    };
    let now = phases.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let busy = connection.busy();
        let can_close = request.version() <= Version::HTTP_11;
        let answer = router.clone().oneshot(request.map(Body::new));
        let now = now.clone();
        async move {
            let mut answer = answer.await;
            drop(busy);
            if let Ok(answer) = &mut answer
                && can_close
                && *now.borrow() > Phase::Serving
            {
                let headers = answer.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer
        }
    });
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(MOST_HEADERS)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .keep_alive_interval(limits.idle / 5)
        .keep_alive_timeout(limits.handshake);
    let server = if is_http2 {
        server.http2_only()
    } else {
        server.http1_only()
    };
    // Over HTTP/1.1 the answers tell, and connections that are idle then are closed at the end: a
    // shutdown would close one whose first request is on its way. Over HTTP/2 nothing is lost.
    let until = match *phases.borrow_and_update() {
        Phase::Serving => Phase::Leaving,
        Phase::Leaving | Phase::Draining => Phase::Draining,
    };
    let mut served = pin!(server.serve_connection(TokioIo::new(stream), service));
    let mut told = false;
    loop {
        tokio::select! {
            result = served.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(error, "connection");
                }
                return;
            }
            _ = phases.wait_for(|phase| *phase >= until), if is_http2 && !told => {
                told = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}
