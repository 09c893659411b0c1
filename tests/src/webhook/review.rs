//! Reviews as an API server sends them, and what their answers must have.

mod managed;
mod pods;

use anyhow::{Context, Result, bail};
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::client::Answer;

/// How big a pod is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// `kubectl run`: one container.
    Small,
    /// A pod of a deployment: two containers, one of them with probes and a projected token.
    Medium,
    /// Five containers and two init containers, with environments, of a stateful set.
    Large,
}

impl Size {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];
}

/// A review of the creation of a pod, ready to be sent.
#[derive(Debug, Clone)]
pub struct Review {
    uid: String,
    body: Bytes,
}

impl Review {
    /// A review of a pod with the number as its uid.
    #[must_use]
    pub fn new(size: Size, number: u64) -> Self {
        let uid = format!("0b5f1d60-7c7e-4d0a-9d5e-{number:012x}");
        let body = Bytes::from(review(size, &uid).to_string());
        Self { uid, body }
    }

    /// What is to be sent.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Checks that an answer lets the pod pass, with a patch.
    ///
    /// # Errors
    /// If it does not; with the answer.
    pub fn check(&self, answer: &Answer) -> Result<()> {
        answer.expect(200)?;
        let text = || format!("the answer {}", String::from_utf8_lossy(&answer.body));
        let body: Value = serde_json::from_slice(&answer.body).with_context(text)?;
        let response = body.get("response").with_context(text)?;
        let has = |value: &Value, key: &str, wanted: &str| {
            value.get(key).and_then(Value::as_str) == Some(wanted)
        };
        let patch = response.get("patch").and_then(Value::as_str);
        let good = has(&body, "apiVersion", "admission.k8s.io/v1")
            && has(&body, "kind", "AdmissionReview")
            && has(response, "uid", &self.uid)
            && has(response, "patchType", "JSONPatch")
            && response.get("allowed") == Some(&Value::Bool(true))
            // "[{" in base64: a list that is not empty.
            && patch.is_some_and(|patch| patch.starts_with("W3"));
        if !good {
            bail!("{} asked for {}", text(), self.uid);
        }
        Ok(())
    }
}

/// The whole AdmissionReview.
fn review(size: Size, uid: &str) -> Value {
    let (user, object) = match size {
        Size::Small => (pods::person(), pods::small()),
        Size::Medium => (pods::controller("replicaset-controller"), pods::medium()),
        Size::Large => (pods::controller("statefulset-controller"), pods::large()),
    };
    let name = object.pointer("/metadata/name").cloned();
    let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
    let resource = json!({"group": "", "version": "v1", "resource": "pods"});
    let mut request = json!({
        "uid": uid,
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "namespace": pods::NAMESPACE,
        "operation": "CREATE",
        "userInfo": user,
        "object": object,
        "oldObject": null,
        "dryRun": false,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    });
    if let (Some(name), Some(request)) = (name, request.as_object_mut()) {
        request.insert("name".to_owned(), name);
    }
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": request,
    })
}
