//! Health and metrics over HTTP, for the kubelet and Prometheus.
//!
//! A thread of its own: nothing here is on the way of a read of the view.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::health::{Health, Sickness};
use super::metrics::Metrics;

/// The last so many connections are kept: whoever opens more loses the oldest, and a probe, which
/// takes a millisecond, gets its answer whatever others leave open.
const MOST_CONNECTIONS: usize = 128;
/// No connection lives longer; a scrape takes milliseconds.
const LONGEST: Duration = Duration::from_secs(30);
/// A request's head is there after this.
const HEADERS: Duration = Duration::from_secs(5);

/// What the paths share.
#[derive(Debug)]
pub struct Shared {
    /// Of the view.
    pub health: Arc<Health>,
    /// What is told.
    pub metrics: Arc<Metrics>,
}

/// The paths, for a server or a test.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shared)
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    answer(shared.health.alive())
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    answer(shared.health.ready())
}

fn answer(health: Result<(), Sickness>) -> Response {
    match health {
        Ok(()) => "ok\n".into_response(),
        Err(sickness) => (StatusCode::SERVICE_UNAVAILABLE, format!("{sickness}\n")).into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let metrics = &shared.metrics;
    metrics.ready.set(shared.health.ready().is_ok().into());
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Listens on `address`; on all of IPv4 if that is all of IPv6 and the kernel has none.
///
/// # Errors
/// Those of bind(2).
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = match TcpListener::bind(address) {
        Err(error)
            if error.raw_os_error() == Some(libc::EAFNOSUPPORT)
                && address.ip().is_unspecified() =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port()))?
        }
        bound => bound?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves `router` in a thread, until the process ends.
///
/// # Errors
/// If the thread cannot be started.
pub fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || {
            if let Err(error) = runtime.block_on(accept(listener, router)) {
                tracing::error!(%error, "cannot serve health and metrics");
            }
        })
        .map(drop)
}

async fn accept(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = VecDeque::<AbortHandle>::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if connections.len() == MOST_CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        let connection = tokio::spawn(timeout(LONGEST, converse(stream, router.clone())));
        connections.push_back(connection.abort_handle());
    }
}

async fn converse(stream: TcpStream, router: Router) {
    let service =
        tower::ServiceExt::map_request(router, |request: hyper::Request<_>| request.map(Body::new));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection");
    }
}
