//! Reviews of all kinds, sound and hostile.

use procview_webhook::mutate::Mutator;
use procview_webhook::volume::Layout;
use serde_json::{Value, json};

mod paths;
mod random;

pub(crate) fn mutator() -> Mutator {
    Mutator::new(
        Layout::new("/var/lib/procview"),
        vec!["kube-system".to_owned()],
    )
}

pub(crate) fn review(object: &Value, old_object: &Value) -> Value {
    let ephemeral = !old_object.is_null();
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "subResource": if ephemeral { json!("ephemeralcontainers") } else { Value::Null },
            "namespace": "default",
            "operation": if ephemeral { "UPDATE" } else { "CREATE" },
            "object": object,
            "oldObject": old_object,
        },
    })
}
