//! The paths of the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::bodies::{Bodies, BodyError};
use crate::metrics::Metrics;
use crate::mutate::{Mutator, Outcome, Selected};
use crate::ready::Ready;

/// No body is larger; the API server itself takes 3 MiB.
pub const MOST_BODY: usize = 8 << 20;
/// All bodies that are being read take no more.
pub const MOST_BODIES: usize = 32 << 20;
/// A body is there after this, or the request fails.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const JSON: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

/// What the paths share.
#[derive(Debug)]
pub struct Shared {
    pub mutator: Mutator,
    pub metrics: Metrics,
    pub ready: Ready,
    pub bodies: Bodies,
}

/// The paths, for a server or a test.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/mutate", post(mutate))
        .route("/mutate/pod-security", post(mutate_pod_security))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shared)
}

async fn mutate(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    review(&shared, request, Selected::Enabled).await
}

async fn mutate_pod_security(
    State(shared): State<Arc<Shared>>,
    request: Request<Body>,
) -> Response {
    review(&shared, request, Selected::PodSecurity).await
}

async fn review(shared: &Shared, request: Request<Body>, selected: Selected) -> Response {
    let body = match body(&shared.bodies, request).await {
        Ok(body) => body,
        Err((status, reason, text)) => return reject(shared, status, reason, &text),
    };
    let begin = Instant::now();
    let reviewed = match shared.mutator.review(&body, selected) {
        Ok(reviewed) => reviewed,
        Err(error) => {
            let text = error.to_string();
            return reject(shared, StatusCode::BAD_REQUEST, "malformed", &text);
        }
    };
    let answer = match serde_json::to_vec(&reviewed.answer) {
        Ok(answer) => answer,
        Err(error) => {
            let text = error.to_string();
            return reject(shared, StatusCode::BAD_REQUEST, "unwritable", &text);
        }
    };
    shared
        .metrics
        .reviewed(reviewed.outcome, reviewed.reason, begin.elapsed());
    let namespace = &reviewed.namespace;
    let pod = &reviewed.pod;
    let outcome = reviewed.outcome.name();
    let reason = reviewed.reason;
    if reviewed.outcome == Outcome::Failed {
        let why = reviewed.answer.response.warnings.join("; ");
        tracing::warn!(namespace, pod, outcome, reason, why, "review");
    } else {
        tracing::debug!(namespace, pod, outcome, reason, "review");
    }
    (JSON, answer).into_response()
}

/// The body of a request, or what is wrong with it.
async fn body(
    bodies: &Bodies,
    request: Request<Body>,
) -> Result<Bytes, (StatusCode, &'static str, String)> {
    if !is_json(request.headers()) {
        return Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-type",
            "send an AdmissionReview as application/json".to_owned(),
        ));
    }
    let body = bodies.read(request.into_body());
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            let (status, reason) = match error {
                BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
                BodyError::Crowded => (StatusCode::SERVICE_UNAVAILABLE, "crowded"),
                BodyError::Broken(_) => (StatusCode::BAD_REQUEST, "broken-body"),
            };
            Err((status, reason, error.to_string()))
        }
        Err(_) => Err((
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            format!("the body was not there after {} s", BODY_TIMEOUT.as_secs()),
        )),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn reject(shared: &Shared, status: StatusCode, reason: &'static str, text: &str) -> Response {
    shared
        .metrics
        .reviewed(Outcome::Rejected, reason, Duration::ZERO);
    tracing::info!(status = status.as_u16(), reason, text, "rejected a request");
    (status, format!("{text}\n")).into_response()
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    match shared.ready.missing() {
        None => "ok\n".into_response(),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")).into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let expiry = shared.ready.expiry();
    let expiry = expiry.map_or(0, |expiry| expiry.unix_timestamp());
    shared.metrics.certificate_expiry.set(expiry);
    match shared.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
