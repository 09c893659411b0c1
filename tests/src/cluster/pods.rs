//! Pods that run, and what they say.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Cluster, Node};

/// An image with a shell, the usual tools and procps; every node has it.
pub const TOOLS: &str = "127.0.0.1:1/procview-tests/tools:1";

/// How long pods may take to get ready. Those in the emulated machine need it.
const READY: &str = "--timeout=240s";

/// A pod of one container, `main`, that waits on a node; with more in its specification and in that
/// of its container.
#[must_use]
pub fn pod(namespace: &str, name: &str, node: Node, spec: &Value, container: &Value) -> Value {
    let mut main =
        json!({"name": "main", "image": TOOLS, "command": ["sh", "-c", "echo up; exec sleep inf"]});
    extend(&mut main, container);
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": node.name(), "terminationGracePeriodSeconds": 0},
    });
    extend(&mut pod["spec"], spec);
    let mut containers = vec![main];
    containers.extend(spec["containers"].as_array().cloned().unwrap_or_default());
    pod["spec"]["containers"] = containers.into();
    pod
}

/// Limits of a container, which asks for less than it may take: nodes are small.
#[must_use]
pub fn limits(memory: &str, cpu: &str) -> Value {
    json!({
        "limits": {"memory": memory, "cpu": cpu},
        "requests": {"memory": "1Mi", "cpu": "1m"},
    })
}

fn extend(target: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        target[key] = value.clone();
    }
}

impl Cluster {
    /// Makes pods and waits until all of the namespace are ready.
    ///
    /// # Errors
    /// If they do not get ready; with the namespace's events.
    pub fn run(&self, namespace: &str, pods: &[Value]) -> Result<()> {
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": pods}).to_string())?;
        self.ready(namespace)
    }

    /// Waits until all pods of a namespace are ready.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn ready(&self, namespace: &str) -> Result<()> {
        let arguments = ["wait", "--for=condition=Ready", READY, "pod", "--all", "-n"];
        let waited = self.kubectl(&[&arguments[..], &[namespace]].concat());
        waited.map(drop).with_context(|| self.events(namespace))
    }

    /// What the cluster says of a namespace's objects.
    #[must_use]
    pub fn events(&self, namespace: &str) -> String {
        let events = self.kubectl(&["get", "events", "-n", namespace, "--sort-by=.lastTimestamp"]);
        events.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// What a container has written to its log.
    ///
    /// # Errors
    /// If there is none yet.
    pub fn logs_of(&self, namespace: &str, pod: &str, container: &str) -> Result<String> {
        self.kubectl(&["logs", "-n", namespace, pod, "-c", container])
    }
}
