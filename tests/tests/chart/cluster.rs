//! The manifests and the chart on a real API server, which has no nodes: what is stored, and who may do what.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use procview_tests::cluster::Cluster;
use procview_tests::machine::{Machine, Need};
use procview_tests::manifest::{self, kind, output, repository, tool};
use serde_json::{Value, json};

use crate::helm::HELMS;

const NEEDS: [Need<'_>; 4] = [Need::Root, Need::Go, Need::Program("openssl"), Need::Tools];
/// For what controllers delete.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where the webhook writes its CA.
const BUNDLE: &str = "/webhooks/0/clientConfig/caBundle";

/// The cluster, for one test at a time: names are fixed, so there can be one installation.
fn cluster() -> Result<Option<(&'static Cluster, MutexGuard<'static, ()>)>> {
    static ONE: Mutex<()> = Mutex::new(());
    if Machine::with(&NEEDS).is_none() {
        return Ok(None);
    }
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Some((Cluster::shared()?, one)))
}

fn deploy() -> String {
    repository("deploy").display().to_string()
}

/// Writes a `caBundle` as the webhook does.
fn trust(cluster: &Cluster) -> Result<Value> {
    let bundle = json!(k8s_openapi::ByteString(cluster.ca_pem()?.into()));
    let patch = json!([{"op": "add", "path": BUNDLE, "value": bundle}]).to_string();
    let name = "mutatingwebhookconfiguration/procview-webhook";
    cluster.kubectl(&["patch", name, "--type=json", "-p", &patch])?;
    Ok(bundle)
}

fn trusted(cluster: &Cluster) -> Result<Value> {
    let configuration = cluster.get(&["mutatingwebhookconfiguration/procview-webhook"])?;
    Ok(configuration.pointer(BUNDLE).cloned().unwrap_or_default())
}

fn wait_until_gone(cluster: &Cluster) -> Result<()> {
    cluster.wait("the namespace to be gone", PATIENCE, || {
        let all = cluster.get(&["namespaces"])?;
        let names = all["items"].as_array().context("no list")?;
        let there = names
            .iter()
            .any(|one| one["metadata"]["name"] == "procview");
        Ok((!there).then_some(()))
    })
}

#[test]
fn manifests_are_applied_once_and_again_and_deleted() -> Result<()> {
    let Some((cluster, _one)) = cluster()? else {
        return Ok(());
    };
    let objects = manifest::shipped()?;
    // What is only tried makes no namespace for the rest.
    let namespace = objects.iter().find(|object| kind(object) == "Namespace");
    cluster.apply(&namespace.context("no namespace")?.to_string())?;
    let dry = ["apply", "--dry-run=server", "-f", &deploy()];
    let (tried, warnings) = cluster.kubectl_with(&dry, "")?;
    assert_eq!(tried.lines().count(), objects.len(), "{tried}");
    assert_eq!(warnings, "");
    cluster.kubectl(&["delete", "namespace", "procview"])?;

    // An empty cluster, and one command.
    let apply = ["apply", "-f", &deploy()];
    let (applied, warnings) = cluster.kubectl_with(&apply, "")?;
    assert_eq!(
        applied.matches(" created").count(),
        objects.len(),
        "{applied}"
    );
    assert_eq!(warnings, "");
    let bundle = trust(cluster)?;
    let (again, warnings) = cluster.kubectl_with(&apply, "")?;
    assert!(!again.contains(" created"), "{again}");
    assert_eq!(warnings, "");
    // Not by what apply says: it takes any budget for changed, since its specification is replaced as a whole.
    assert_eq!(cluster.kubectl(&["diff", "-f", &deploy()])?, "");
    assert_eq!(trusted(cluster)?, bundle);
    the_agent_may_only_write_events(cluster)?;
    the_webhook_satisfies_pod_security_restricted(cluster, &objects)?;

    cluster.kubectl(&["delete", "-f", &deploy()])?;
    wait_until_gone(cluster)
}

fn the_agent_may_only_write_events(cluster: &Cluster) -> Result<()> {
    let agent = "--as=system:serviceaccount:procview:procview-agent";
    let may = |what: &[&str]| {
        let question = [&["auth", "can-i", agent][..], what].concat();
        cluster.kubectl(&question).is_ok()
    };
    for verb in ["create", "patch"] {
        ensure!(
            may(&[verb, "events.events.k8s.io", "-n", "default"]),
            "{verb}"
        );
        ensure!(!may(&[verb, "events.events.k8s.io", "-n", "kube-system"]));
    }
    for what in [
        ["list", "events.events.k8s.io"],
        ["get", "secrets"],
        ["list", "pods"],
        ["get", "nodes"],
    ] {
        for namespace in ["default", "procview"] {
            ensure!(!may(&[what[0], what[1], "-n", namespace]), "{what:?}");
        }
    }
    Ok(())
}

fn the_webhook_satisfies_pod_security_restricted(
    cluster: &Cluster,
    objects: &[Value],
) -> Result<()> {
    let deployment = objects.iter().find(|object| kind(object) == "Deployment");
    let mut pod = deployment.context("no Deployment")?["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("webhook");
    pod["spec"]["serviceAccountName"] = json!("default");
    let level = "pod-security.kubernetes.io/enforce=restricted";
    cluster.namespace("restricted", &[level])?;
    let create = ["create", "--dry-run=server", "-n", "restricted", "-f", "-"];
    cluster.kubectl_with(&create, &pod.to_string()).map(drop)
}

/// An upgrade merges: helm 3 on the client, helm 4 on the server.
#[test]
fn an_upgrade_keeps_what_the_webhook_has_written() -> Result<()> {
    let Some((cluster, _one)) = cluster()? else {
        return Ok(());
    };
    for program in HELMS {
        let helm = |arguments: &[&str]| {
            let home = cluster.kubeconfig().with_file_name("helm");
            let mut command = cluster.command(tool(program)?);
            command
                .env("KUBECONFIG", cluster.kubeconfig())
                .env("HELM_CACHE_HOME", &home)
                .env("HELM_CONFIG_HOME", &home)
                .env("HELM_DATA_HOME", &home)
                .args(arguments)
                .args(["--namespace", "procview"]);
            output(&mut command).context(program)
        };
        let chart = repository("charts/procview").display().to_string();
        let notes = helm(&["install", "procview", &chart, "--create-namespace"])?;
        ensure!(
            notes.contains("rollout status daemonset/procview-agent"),
            "{notes}"
        );
        let bundle = trust(cluster)?;
        let more = ["--set", "webhook.timeoutSeconds=3,agent.port=9100"];
        helm(&[&["upgrade", "procview", &chart][..], &more].concat())?;
        assert_eq!(trusted(cluster)?, bundle, "{program}");
        let configuration = cluster.get(&["mutatingwebhookconfiguration/procview-webhook"])?;
        assert_eq!(configuration["webhooks"][0]["timeoutSeconds"], 3);
        helm(&["uninstall", "procview"])?;
        cluster.kubectl(&["delete", "namespace", "procview"])?;
        wait_until_gone(cluster)?;
    }
    Ok(())
}
