//! What `explain` tells of manifests.

use std::collections::BTreeMap;

use procview_webhook::explain::explain;
use procview_webhook::mutate::Mutator;
use procview_webhook::volume::Layout;

const MANIFEST: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    # No metadata, and numbers where the API server would have texts.
    spec:
      initContainers: [{name: migrate, image: i}]
      containers:
        - name: app
          image: i
          resources: {limits: {cpu: 2, memory: 1073741824}}
          volumeMounts: [{name: data, mountPath: /proc/meminfo}]
        - {name: node-tool, image: i, securityContext: {privileged: true}}
      volumes: [{name: data, emptyDir: {}}]
---
apiVersion: v1
kind: List
items:
  - apiVersion: batch/v1
    kind: CronJob
    metadata: {name: nightly}
    spec: {jobTemplate: {spec: {template: {spec: {hostUsers: false, containers: [{name: job, image: i}]}}}}}
  - apiVersion: v1
    kind: Pod
    metadata: {generateName: one-, annotations: {procview.dev/files: 'uptime,memory'}}
    spec: {containers: [{name: app, image: i}]}
";

fn mutator() -> Mutator {
    Mutator::new(
        Layout::new("/var/lib/procview"),
        vec!["kube-system".to_owned()],
    )
}

fn labels(key: &str, value: &str) -> BTreeMap<String, String> {
    [(key.to_owned(), value.to_owned())].into()
}

#[test]
fn pods_are_found_in_whatever_makes_them() {
    let text = explain(&mutator(), MANIFEST, None).expect("there are pods");
    insta::assert_snapshot!(text);
}

#[test]
fn the_labels_of_the_namespace_decide() {
    let first = |labels| {
        let text = explain(&mutator(), MANIFEST, Some(&labels)).expect("there are pods");
        text.lines().next().unwrap_or_default().to_owned()
    };
    let injected = first(labels("mount-lxcfs", "enabled"));
    assert!(
        injected.starts_with("# Deployment web: injected: migrate, app;"),
        "{injected}"
    );
    let not_enabled = first(labels("team", "a"));
    assert!(
        not_enabled.contains("skipped: namespace-not-enabled"),
        "{not_enabled}"
    );
}

#[test]
fn what_cannot_be_explained_is_named() {
    let error = |manifest: &str| {
        let result = explain(&mutator(), manifest, None);
        result.expect_err("no pod").to_string()
    };
    assert!(error("kind: Service").contains("it has Service"));
    assert!(error("").contains("it has nothing"));
    assert!(error("a: [").contains("no YAML"));
    assert!(error("kind: Pod\nmetadata: {name: p}\nspec: {containers: 1}").contains("Pod p"));
}
