//! values.yaml and its schema.

use anyhow::{Context, Result};
use procview_tests::machine::{Machine, Need, read};
use procview_tests::manifest::{objects, repository};
use serde_json::Value;

use crate::helm::{HELMS, template};

/// Wrong values, and what in the refusal tells where they are.
const WRONG: &[(&str, &str)] = &[
    ("agnet: {}", "agnet"),
    ("image: {registy: x}", "registy"),
    ("webhook: {replicas: two}", "replicas"),
    ("webhook: {replicas: 0}", "replicas"),
    ("webhook: {failurePolicy: Fail}", "failurePolicy"),
    ("webhook: {timeoutSeconds: 60}", "timeoutSeconds"),
    ("webhook: {excludeNamespaces: x}", "excludeNamespaces"),
    ("webhook: {excludeNamespaces: ['a,b']}", "excludeNamespaces"),
    ("parent: var/lib/procview", "parent"),
    ("parent: /proc/view", "parent"),
    ("parent: /", "parent"),
    ("listenAddress: '::'", "listenAddress"),
    ("image: {registry: ''}", "registry"),
    ("image: {registry: 'https://x'}", "registry"),
    ("image: {pullPolicy: Sometimes}", "pullPolicy"),
    ("agent: {digest: abc}", "digest"),
    ("agent: {port: 0}", "port"),
    ("agent: {cpuRounding: up}", "cpuRounding"),
    ("agent: {resources: {limit: {}}}", "limit"),
    ("certManager: {enabled: 'yes'}", "enabled"),
    ("log: {level: verbose}", "level"),
    ("metrics: {serviceMonitor: {interval: soon}}", "interval"),
];

#[test]
fn wrong_values_are_refused_by_name() -> Result<()> {
    if Machine::with(&[Need::Tools]).is_none() {
        return Ok(());
    }
    for (values, place) in WRONG {
        for helm in HELMS {
            let refused = template(helm, values, &[]);
            let Err(error) = refused else {
                panic!("{helm} takes {values}");
            };
            let error = error.to_string();
            let told = error.contains("schema") && error.contains(place);
            assert!(told, "{helm} refuses {values} by {error}");
        }
    }
    Ok(())
}

/// All that can be set is in values.yaml, where it is explained.
#[test]
fn every_value_is_documented() -> Result<()> {
    let text = read(repository("charts/procview/values.yaml"))?;
    let values = objects(&text)?.pop().context("no values")?;
    let schema = read(repository("charts/procview/values.schema.json"))?;
    let schema: Value = serde_json::from_str(&schema)?;
    same_keys("", &schema, &values);
    // Each has a comment above it, or is one of a few keys below one that has.
    let lines: Vec<_> = text.lines().collect();
    for (index, line) in lines.iter().enumerate().skip(1) {
        let section = !line.starts_with([' ', '#']) && line.ends_with(':');
        let top = !line.starts_with([' ', '#']) && line.contains(": ");
        let above = lines[index - 1];
        if section || top {
            let below = lines[index + 1].trim_start();
            let told = above.starts_with('#') || (section && below.starts_with('#'));
            assert!(told || below.ends_with(':'), "{line} has no comment");
        }
    }
    Ok(())
}

fn same_keys(path: &str, schema: &Value, values: &Value) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    // Which of its keys are set is for whoever sets it.
    if ["/certManager/issuerRef", "/agent/updateStrategy"].contains(&path) {
        return;
    }
    for (key, property) in properties {
        let path = format!("{path}/{key}");
        // By helm, not by a person.
        if path != "/global" {
            assert!(!values[key].is_null(), "values.yaml has no {path}");
            same_keys(&path, property, &values[key]);
        }
    }
    assert_eq!(schema["additionalProperties"], false, "{path}");
}
