//! The webhook in trouble: pods start, and it comes right by itself.

use anyhow::{Result, ensure};
use procview_tests::cluster::pods::{limits, pod};
use procview_tests::cluster::{Cluster, Node};
use serde_json::json;

use crate::product::{
    MIB, PATIENCE, alone, labelled, memory_in, memory_of, reviewed, rolled_out, status,
};

const DEPLOYMENT: &str = "deployment/procview-webhook";

/// Runs a pod and tells what the webhook says of it, and the memory that it sees.
fn run(cluster: &Cluster, namespace: &str, name: &str) -> Result<(String, u64)> {
    let own = json!({"resources": limits("200Mi", "1")});
    cluster.run(
        namespace,
        &[pod(namespace, name, Node::Host, &json!({}), &own)],
    )?;
    let pod = cluster.get(&["pod", name, "-n", namespace])?;
    Ok((
        status(&pod).to_owned(),
        memory_in(cluster, namespace, name, "main")?,
    ))
}

#[test]
fn without_the_webhook_pods_start() -> Result<()> {
    let Some((cluster, _alone)) = alone()? else {
        return Ok(());
    };
    let namespace = "without-webhook";
    labelled(cluster, namespace)?;
    cluster.kubectl(&["scale", "-n", "procview", DEPLOYMENT, "--replicas=0"])?;
    cluster.wait("the webhook to end", PATIENCE, || {
        let left = cluster.kubectl(&["get", "pods", "-n", "procview", "-o", "name"])?;
        Ok((!left.contains("webhook")).then_some(()))
    })?;
    let node = memory_of(cluster, Node::Host)?;
    assert_eq!(
        run(cluster, namespace, "without")?,
        ("none".to_owned(), node)
    );
    cluster.kubectl(&["scale", "-n", "procview", DEPLOYMENT, "--replicas=2"])?;
    rolled_out(cluster, DEPLOYMENT)?;
    reviewed(cluster)?;
    assert_eq!(
        run(cluster, namespace, "with")?,
        ("injected: main".to_owned(), 200 * MIB)
    );
    cluster.kubectl(&["delete", "namespace", namespace])?;
    Ok(())
}

#[test]
fn a_deleted_secret_is_made_again() -> Result<()> {
    let Some((cluster, _alone)) = alone()? else {
        return Ok(());
    };
    let namespace = "without-secret";
    labelled(cluster, namespace)?;
    let secret = ["secret", "procview-webhook-tls", "-n", "procview"];
    let uid = |cluster: &Cluster| {
        Ok::<_, anyhow::Error>(cluster.get(&secret)?["metadata"]["uid"].clone())
    };
    let before = uid(cluster)?;
    cluster.kubectl(&[&["delete"], &secret[..]].concat())?;
    // Whoever is not asked meanwhile starts all the same.
    let (_, memory) = run(cluster, namespace, "meanwhile")?;
    ensure!(memory > 0);
    cluster.wait("another Secret", PATIENCE, || {
        Ok(uid(cluster).ok().filter(|uid| *uid != before).map(drop))
    })?;
    reviewed(cluster)?;
    assert_eq!(
        run(cluster, namespace, "after")?,
        ("injected: main".to_owned(), 200 * MIB)
    );
    cluster.kubectl(&["delete", "namespace", namespace])?;
    Ok(())
}

#[test]
fn an_expired_certificate_is_replaced() -> Result<()> {
    let Some((cluster, _alone)) = alone()? else {
        return Ok(());
    };
    let namespace = "expired";
    labelled(cluster, namespace)?;
    // With nobody who renews it, it expires.
    let short = "PROCVIEW_CERTIFICATE_LIFETIME=10";
    cluster.kubectl(&["set", "env", "-n", "procview", DEPLOYMENT, short])?;
    rolled_out(cluster, DEPLOYMENT)?;
    cluster.kubectl(&["scale", "-n", "procview", DEPLOYMENT, "--replicas=0"])?;
    std::thread::sleep(std::time::Duration::from_secs(12));
    let node = memory_of(cluster, Node::Host)?;
    assert_eq!(
        run(cluster, namespace, "meanwhile")?,
        ("none".to_owned(), node)
    );
    cluster.kubectl(&["scale", "-n", "procview", DEPLOYMENT, "--replicas=2"])?;
    rolled_out(cluster, DEPLOYMENT)?;
    reviewed(cluster)?;
    assert_eq!(
        run(cluster, namespace, "after")?,
        ("injected: main".to_owned(), 200 * MIB)
    );
    cluster.kubectl(&[
        "set",
        "env",
        "-n",
        "procview",
        DEPLOYMENT,
        "PROCVIEW_CERTIFICATE_LIFETIME-",
    ])?;
    rolled_out(cluster, DEPLOYMENT)?;
    cluster.kubectl(&["delete", "namespace", namespace])?;
    Ok(())
}
