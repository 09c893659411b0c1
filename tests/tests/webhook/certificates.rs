//! Certificates of our own: made, agreed upon, exchanged and repaired.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use procview_tests::machine::wait_for;
use serde_json::Value;

use crate::case::{Case, ENABLED, pod, status};

const CONFIGURATION: [&str; 2] = ["mutatingwebhookconfiguration", "procview-webhook"];
const SECRET: [&str; 4] = ["secret", "procview-webhook-tls", "-n", "procview"];

fn bundles(case: &Case) -> Result<Vec<String>> {
    let configuration = case.cluster.get(&CONFIGURATION)?;
    let webhooks = configuration["webhooks"].as_array().context("webhooks")?;
    let bundle = |webhook: &Value| {
        let bundle = webhook["clientConfig"]["caBundle"].as_str();
        bundle.unwrap_or_default().to_owned()
    };
    Ok(webhooks.iter().map(bundle).collect())
}

/// How many of some pods get no view, which are to be created in one go.
fn failures(case: &Case, namespace: &str) -> Result<usize> {
    let manifests: String = (0..10).map(|n| pod(&format!("p{n}"), "", "")).collect();
    let (pods, _) = case.dry_run(namespace, &manifests)?;
    assert_eq!(pods.len(), 10);
    let without = pods.iter().filter(|pod| status(pod) != "injected: app");
    Ok(without.count())
}

/// One test: there is one Secret and one configuration in a cluster.
#[test]
fn certificates_of_our_own_are_kept_by_all_replicas() -> Result<()> {
    let Some(case) = Case::new("certificates")? else {
        return Ok(());
    };
    case.configure_service()?;
    let namespace = case.namespace("", &[ENABLED])?;
    // Short lives: a certificate every 8 s, a CA every 24 s.
    let lives = [
        "--certificate-lifetime=12",
        "--ca-lifetime=36",
        "--ca-settle=3",
    ];
    let one = case.serve_self_signed(&lives)?;
    let two = case.serve_self_signed(&lives)?;
    case.lead_service_to(&[one.port, two.port])?;
    wait_for("the first pod with a view", || {
        Ok((failures(&case, &namespace)? == 0).then_some(()))
    })?;

    let mut certificates = BTreeSet::new();
    let mut authorities = BTreeSet::new();
    let (mut calls, mut failed) = (0, 0);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60) {
        calls += 10;
        failed += failures(&case, &namespace)?;
        let secret = case.cluster.get(&SECRET)?;
        certificates.insert(secret["data"]["tls.crt"].to_string());
        authorities.insert(secret["data"]["ca.crt"].to_string());
    }
    let logs = || -> Result<String> { Ok(format!("{}\n{}", one.log()?, two.log()?)) };
    assert!(
        certificates.len() >= 5,
        "{} certificates",
        certificates.len()
    );
    assert!(authorities.len() >= 2, "{} CAs", authorities.len());
    assert_eq!(failed, 0, "of {calls} calls:\n{}", logs()?);

    // Somebody deletes the Secret, and somebody empties the caBundle.
    case.cluster.kubectl(&[&["delete"], &SECRET[..]].concat())?;
    wait_for("the Secret to be back", || {
        Ok(case.cluster.get(&SECRET).ok())
    })?;
    assert_eq!(failures(&case, &namespace)?, 0, "{}", logs()?);
    let empty = r#"[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"},
        {"op": "replace", "path": "/webhooks/2/clientConfig/caBundle", "value": ""}]"#;
    case.cluster.kubectl(
        &[
            &["patch"],
            &CONFIGURATION[..],
            &["--type=json", "-p", empty],
        ]
        .concat(),
    )?;
    wait_for("the caBundle to be back", || {
        let bundles = bundles(&case)?;
        let whole = bundles
            .iter()
            .all(|bundle| !bundle.is_empty() && *bundle == bundles[0]);
        Ok(whole.then_some(()))
    })?;
    wait_for("pods with a view again", || {
        Ok((failures(&case, &namespace)? == 0).then_some(()))
    })?;

    // Somebody writes nonsense into the Secret, or takes something out of it.
    for nonsense in [
        r#"{"data": {"ca.crt": "bm9uc2Vuc2U=", "tls.key": null}}"#,
        r#"{"data": {"tls.key": "bm9uc2Vuc2U="}}"#,
        r#"{"data": {"ca.crt": "bm9uc2Vuc2U="}}"#,
    ] {
        case.cluster
            .kubectl(&[&["patch"], &SECRET[..], &["--type=merge", "-p", nonsense]].concat())?;
        wait_for("the Secret to be repaired", || {
            let secret = case.cluster.get(&SECRET)?;
            let is_good = |key: &str| {
                let value = secret["data"][key].as_str();
                value.is_some_and(|value| value != "bm9uc2Vuc2U=")
            };
            Ok((is_good("tls.key") && is_good("ca.crt")).then_some(()))
        })?;
        assert_eq!(failures(&case, &namespace)?, 0, "{}", logs()?);
    }
    Ok(())
}
