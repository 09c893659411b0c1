//! A mutating webhook of somebody else, as service meshes have them: adds a container to each pod.
//!
//! `sidecar_webhook ADDRESS CERT KEY`

use std::env::args;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::{Json, Router, routing::post};
use k8s_openapi::ByteString;
use procview_webhook::certificate::files::Files;
use procview_webhook::server::{Limits, serve};
use procview_webhook::tls::{Served, server_config};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = args().skip(1);
    let mut next = || arguments.next().context("ADDRESS CERT KEY");
    let listener = TcpListener::bind(next()?).await?;
    let served = Arc::new(Served::default());
    let files = Files {
        cert: next()?.into(),
        key: next()?.into(),
    };
    files.load(&served).await?;
    let config = Arc::new(server_config(served)?);
    let router = Router::new().route("/", post(add_sidecar));
    let never = std::future::pending();
    serve(
        listener,
        config,
        router,
        Limits::default(),
        Default::default(),
        never,
    )
    .await?;
    Ok(())
}

async fn add_sidecar(Json(review): Json<Value>) -> Json<Value> {
    let request = &review["request"];
    let mut response = json!({"uid": request["uid"], "allowed": true});
    let containers = request["object"]["spec"]["containers"].as_array();
    let mut containers = containers.into_iter().flatten();
    if !containers.any(|container| container["name"] == "sidecar") {
        let container = json!({"name": "sidecar", "image": "sidecar:1"});
        let patch = json!([{"op": "add", "path": "/spec/containers/-", "value": container}]);
        response["patchType"] = "JSONPatch".into();
        response["patch"] = json!(ByteString(patch.to_string().into_bytes()));
    }
    Json(
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}),
    )
}
