//! The cluster itself: that it is a real one, and that nothing of it stays.

use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procview_tests::cluster::Cluster;
use procview_tests::machine::{Machine, Need, wait_for};
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);

const NEEDS: [Need<'_>; 3] = [Need::Root, Need::Go, Need::Program("openssl")];

/// The cluster that these tests share, if it can run here.
fn cluster() -> Result<Option<&'static Cluster>> {
    match Machine::with(&NEEDS) {
        Some(_) => Cluster::shared().map(Some),
        None => Ok(None),
    }
}

/// The specification of a pod.
fn pod() -> Value {
    json!({"containers": [{"name": "main", "image": "none"}]})
}

fn named(kind: &str, version: &str, name: &str, namespace: &str, spec: Value) -> Value {
    json!({
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

#[test]
fn it_is_kubernetes_1_37() -> Result<()> {
    let Some(cluster) = cluster()? else {
        return Ok(());
    };
    let version = cluster.get_raw("/version")?;
    assert_eq!(version["major"], "1");
    assert_eq!(version["minor"], "37");
    ensure!(cluster.ca_pem()?.starts_with("-----BEGIN CERTIFICATE-----"));
    Ok(())
}

#[test]
fn whatever_makes_pods_makes_them() -> Result<()> {
    let Some(cluster) = cluster()? else {
        return Ok(());
    };
    let namespace = "makers";
    cluster.namespace(namespace, &[])?;
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": pod()});
    let mut once = template.clone();
    once["spec"]["restartPolicy"] = json!("Never");
    let selector = json!({"matchLabels": {"app": "x"}});
    let set = json!({"selector": selector, "template": template});
    let job = json!({"template": once});
    let yearly = json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}});
    cluster.apply(&list(&[
        named(
            "Deployment",
            "apps/v1",
            "deployment",
            namespace,
            set.clone(),
        ),
        named("StatefulSet", "apps/v1", "stateful", namespace, set),
        named("Job", "batch/v1", "job", namespace, job),
        named("CronJob", "batch/v1", "cron", namespace, yearly),
    ]))?;
    // It is late by years.
    let status = r#"{"status": {"lastScheduleTime": "2020-01-01T00:00:00Z"}}"#;
    let patch = ["patch", "cronjob", "cron", "-n", namespace, "--type=merge"];
    cluster.kubectl(&[&patch[..], &["--subresource=status", "-p", status]].concat())?;
    let pods = cluster.wait("a pod of each", MINUTE, || {
        let pods = cluster.get(&["pods", "-n", namespace])?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        Ok((pods.len() >= 4).then_some(pods))
    })?;
    for maker in ["deployment-", "stateful-0", "job-", "cron-"] {
        let of = |pod: &&Value| {
            pod["metadata"]["name"]
                .as_str()
                .is_some_and(|name| name.starts_with(maker))
        };
        let pod = pods
            .iter()
            .find(of)
            .with_context(|| format!("no {maker}"))?;
        assert_eq!(pod["status"]["phase"], "Pending");
        assert_eq!(pod["spec"]["serviceAccountName"], "default");
        ensure!(pod["spec"]["nodeName"].is_null(), "{pod}");
    }
    Ok(())
}

#[test]
fn pods_can_be_tried_and_debugged() -> Result<()> {
    let Some(cluster) = cluster()? else {
        return Ok(());
    };
    let namespace = "debugged";
    cluster.namespace(namespace, &["pod-security.kubernetes.io/enforce=baseline"])?;
    let mut object = named("Pod", "v1", "pod", namespace, pod());
    let dry = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let (tried, _) = cluster.kubectl_with(&dry, &object.to_string())?;
    let tried: Value = serde_json::from_str(&tried)?;
    assert_eq!(tried["spec"]["serviceAccountName"], "default");
    ensure!(cluster.get(&["pod", "pod", "-n", namespace]).is_err());

    cluster.apply(&object.to_string())?;
    let path = format!("/api/v1/namespaces/{namespace}/pods/pod");
    let mut stored = cluster.get_raw(&path)?;
    stored["spec"]["ephemeralContainers"] = json!([{"name": "debugger", "image": "none"}]);
    let put = cluster.put_raw(&format!("{path}/ephemeralcontainers"), &stored)?;
    assert_eq!(put["spec"]["ephemeralContainers"][0]["name"], "debugger");

    object["metadata"]["name"] = json!("host");
    object["spec"]["hostPID"] = json!(true);
    let refused = cluster.apply(&object.to_string());
    let error = refused.expect_err("the level forbids it").to_string();
    ensure!(error.contains("violates PodSecurity \"baseline"), "{error}");
    Ok(())
}

#[test]
fn a_service_account_may_do_what_it_is_given() -> Result<()> {
    let Some(cluster) = cluster()? else {
        return Ok(());
    };
    let namespace = "accounts";
    cluster.namespace(namespace, &[])?;
    let arguments = [
        "create",
        "role",
        "reader",
        "--verb=list",
        "--resource=pods",
        "-n",
        namespace,
    ];
    cluster.kubectl(&arguments)?;
    let arguments = [
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        "-n",
        namespace,
    ];
    let subject = format!("--serviceaccount={namespace}:default");
    cluster.kubectl(&[&arguments[..], &[&subject]].concat())?;
    let kubeconfig = cluster.kubeconfig_of(namespace, "default")?;
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let get = |what| cluster.kubectl(&[&kubeconfig, "get", what, "-n", namespace]);
    get("pods")?;
    let error = get("secrets")
        .expect_err("it was not given that")
        .to_string();
    ensure!(error.contains("Forbidden"), "{error}");
    ensure!(
        error.contains("system:serviceaccount:accounts:default"),
        "{error}"
    );
    Ok(())
}

#[test]
fn nothing_outlives_it() -> Result<()> {
    if Machine::with(&NEEDS).is_none() {
        return Ok(());
    }
    // A second one, beside that of the other tests.
    let cluster = Cluster::start()?;
    let state = cluster.kubeconfig();
    let mut stopped = cluster.command("sleep").arg("1000").spawn()?;
    let mut orphan = cluster
        .command("sh")
        .args(["-c", "sleep 1000 > /dev/null & echo $!"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut pid = String::new();
    orphan
        .stdout
        .take()
        .context("no output")?
        .read_to_string(&mut pid)?;
    orphan.wait()?;
    let process = Path::new("/proc").join(pid.trim());
    ensure!(process.exists());
    kill(Pid::from_raw(stopped.id().cast_signed()), Signal::SIGSTOP)?;
    drop(cluster);
    ensure!(!stopped.wait()?.success());
    wait_for("a process to be killed", || {
        Ok((!process.exists()).then_some(()))
    })?;
    ensure!(!state.exists());
    Ok(())
}
