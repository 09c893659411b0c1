//! The answers to reviews as a Kubernetes 1.37 API server sent them.

use std::fs;
use std::path::{Path, PathBuf};

use procview_webhook::mutate::{Mutator, Selected};
use procview_webhook::volume::Layout;
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.json"))
}

/// What a person wants to see of an answer, and the patch by itself.
fn answer(review: &[u8], selected: Selected) -> (String, Value) {
    let mutator = Mutator::new(Layout::new("/var/lib/procview"), vec![]);
    let reviewed = mutator.review(review, selected).expect("a review");
    let response = &reviewed.answer.response;
    let patch = response.patch.as_ref();
    let patch: Value = patch.map_or(Value::Null, |patch| {
        serde_json::from_slice(&patch.0).expect("a patch")
    });
    let mut text = format!(
        "{}: {} in {}\n",
        reviewed.outcome.name(),
        reviewed.reason,
        reviewed.namespace
    );
    for warning in &response.warnings {
        text += &format!("warning: {warning}\n");
    }
    for (key, value) in &response.audit_annotations {
        text += &format!("{key}: {value}\n");
    }
    for operation in patch.as_array().into_iter().flatten() {
        text += &format!("{} {} ", operation["op"], operation["path"]);
        match &operation["value"] {
            Value::Array(items) => {
                for item in items {
                    text += &format!("\n  {item}");
                }
            }
            value => text += &value.to_string(),
        }
        text += "\n";
    }
    (text, patch)
}

#[test]
fn answers_are_these() {
    let names = [
        "plain",
        "deployment",
        "init-and-sidecar",
        "own-mounts",
        "host-pid",
        "conflict",
        "opted-out",
        "ephemeral-container",
    ];
    let dir = fixture("plain");
    let files = fs::read_dir(dir.parent().expect("a folder")).expect("fixtures");
    assert_eq!(files.count(), names.len(), "a fixture is not used");
    for name in names {
        let review = fs::read(fixture(name)).expect("a fixture");
        insta::assert_snapshot!(name, answer(&review, Selected::Enabled).0);
    }
    let review = fs::read(fixture("plain")).expect("a fixture");
    insta::assert_snapshot!("pod-security", answer(&review, Selected::PodSecurity).0);
}

#[test]
fn a_debug_container_of_a_pod_with_the_view_gets_it() {
    let plain = fs::read(fixture("plain")).expect("a fixture");
    let (_, patch) = answer(&plain, Selected::Enabled);
    let patch: json_patch::Patch = serde_json::from_value(patch).expect("a patch");
    let review = fs::read(fixture("ephemeral-container")).expect("a fixture");
    let mut review: Value = serde_json::from_slice(&review).expect("JSON");
    for object in ["object", "oldObject"] {
        json_patch::patch(&mut review["request"][object], &patch).expect("it applies");
    }
    let (text, patch) = answer(review.to_string().as_bytes(), Selected::Enabled);
    insta::assert_snapshot!("ephemeral-container-of-a-pod-with-the-view", text);
    // A second container is added beside the first one, which stays as it is.
    let patch: json_patch::Patch = serde_json::from_value(patch).expect("a patch");
    let object = &mut review["request"]["object"];
    json_patch::patch(object, &patch).expect("it applies");
    review["request"]["oldObject"] = object.clone();
    let mut second = review.clone();
    let containers = &mut second["request"]["object"]["spec"]["ephemeralContainers"];
    let more = json!({"name": "second", "image": "i"});
    containers.as_array_mut().expect("a list").push(more);
    let (_, patch) = answer(second.to_string().as_bytes(), Selected::Enabled);
    let path = patch[0]["path"].as_str().expect("a path");
    assert!(path.starts_with("/spec/ephemeralContainers/1/"), "{path}");
}
