//! Through the paths of the server.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use procview_webhook::bodies::Bodies;
use procview_webhook::metrics::Metrics;
use procview_webhook::ready::Ready;
use procview_webhook::router::{MOST_BODY, Shared, router};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{mutator, review};

fn shared() -> Arc<Shared> {
    Arc::new(Shared {
        mutator: mutator(),
        metrics: Metrics::default(),
        ready: Ready::new(Arc::default(), true),
        bodies: Bodies::new(MOST_BODY, 4 * MOST_BODY),
    })
}

async fn send(shared: &Arc<Shared>, request: Request<Body>) -> (StatusCode, String) {
    let answer = router(Arc::clone(shared))
        .oneshot(request)
        .await
        .expect("the router never fails");
    let status = answer.status();
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn post(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post("/mutate")
        .header("content-type", content_type)
        .body(body.into())
        .expect("a request")
}

#[tokio::test]
async fn what_is_no_review_is_refused_and_counted() {
    let shared = shared();
    let good = review(
        &json!({"spec": {"containers": [{"name": "a"}]}}),
        &Value::Null,
    );
    let other = |key: &str, value: &str| {
        let mut review = good.clone();
        review[key] = value.into();
        review.to_string()
    };
    let cases = [
        (post("application/json", ""), 400, "AdmissionReview"),
        (post("application/json", "{}"), 400, "missing field"),
        (post("application/json", &b"\xff\xfe"[..]), 400, "no JSON"),
        (post("application/json", other("kind", "Pod")), 400, "Pod"),
        (
            post(
                "application/json",
                other("apiVersion", "admission.k8s.io/v2"),
            ),
            400,
            "admissionReviewVersions",
        ),
        (
            post("application/yaml", good.to_string()),
            415,
            "application/json",
        ),
        (
            post("application/json", vec![b' '; MOST_BODY + 1]),
            413,
            "8 MiB",
        ),
        (
            Request::get("/mutate")
                .body(Body::empty())
                .expect("a request"),
            405,
            "",
        ),
        (
            Request::post("/other")
                .body(Body::empty())
                .expect("a request"),
            404,
            "",
        ),
    ];
    for (request, code, text) in cases {
        let (status, body) = send(&shared, request).await;
        assert_eq!(status.as_u16(), code, "{body}");
        assert!(body.contains(text), "{body}");
    }
    let (status, _) = send(
        &shared,
        post("Application/JSON; charset=utf-8", good.to_string()),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    let metrics = Request::get("/metrics")
        .body(Body::empty())
        .expect("a request");
    let (_, text) = send(&shared, metrics).await;
    for line in [
        r#"reviews_total{outcome="rejected",reason="malformed"} 5"#,
        r#"reviews_total{outcome="rejected",reason="too-large"} 1"#,
        r#"reviews_total{outcome="rejected",reason="content-type"} 1"#,
        r#"reviews_total{outcome="injected",reason="injected"} 1"#,
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
}

#[tokio::test]
async fn a_pod_that_cannot_be_read_passes_with_a_warning() {
    let mut wrong = review(&json!({"spec": {"containers": "none"}}), &Value::Null);
    let body = post("application/json", wrong.to_string());
    let (status, text) = send(&shared(), body).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(answer["response"]["allowed"], true);
    let warning = answer["response"]["warnings"][0]
        .as_str()
        .expect("a warning");
    assert!(warning.contains("cannot be read"), "{warning}");
    wrong["request"]["object"] = Value::Null;
    let (_, text) = send(&shared(), post("application/json", wrong.to_string())).await;
    assert!(text.contains("no object"), "{text}");
}

#[tokio::test]
async fn what_no_rule_reads_may_be_anything() {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let pod = json!({
        "metadata": {"future": deep}, "status": 7,
        "spec": {"containers": [{"name": "a", "env": "none", "resources": [1]}]},
    });
    let body = post("application/json", review(&pod, &Value::Null).to_string());
    let (status, text) = send(&shared(), body).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(text.contains("JSONPatch"), "{text}");
}

#[tokio::test]
async fn a_large_pod_is_patched() {
    let env: Vec<_> = (0..30_000)
        .map(|n| json!({"name": format!("VARIABLE_{n}"), "value": "x".repeat(80)}))
        .collect();
    let pod = json!({"spec": {"containers": [{"name": "a", "env": env}]}});
    let review = review(&pod, &Value::Null).to_string();
    assert!(review.len() > 3 << 20);
    let (status, text) = send(&shared(), post("application/json", review)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("JSONPatch"));
}

#[tokio::test]
async fn v1beta1_is_answered_in_kind() {
    let mut review = review(
        &json!({"spec": {"containers": [{"name": "a"}]}}),
        &Value::Null,
    );
    review["apiVersion"] = "admission.k8s.io/v1beta1".into();
    let (status, text) = send(&shared(), post("application/json", review.to_string())).await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1beta1");
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
}

#[tokio::test]
async fn not_ready_without_a_certificate() {
    let ready = Request::get("/readyz")
        .body(Body::empty())
        .expect("a request");
    let (status, text) = send(&shared(), ready).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("no certificate"));
}
