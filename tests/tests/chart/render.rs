//! Which values change what.

use std::collections::BTreeMap;
use std::iter;
use std::path::Path;
use std::process;

use anyhow::{Context, Result, bail};
use clap::Parser as _;
use procview_agent::args::Command as AgentCommand;
use procview_tests::machine::{Machine, Need, read};
use procview_tests::manifest::{kind, output, repository, tool};
use procview_webhook::args::{Cli, Command};
use serde_json::Value;

use crate::helm::{HELMS, rendered};

const NAMESPACE: [&str; 2] = ["--namespace", "procview"];

#[test]
fn the_chart_passes_lint() -> Result<()> {
    if Machine::with(&[Need::Tools]).is_none() {
        return Ok(());
    }
    for helm in HELMS {
        output(
            process::Command::new(tool(helm)?)
                .args(["lint", "--strict"])
                .arg(repository("charts/procview")),
        )?;
    }
    Ok(())
}

/// `make deploy` makes it so.
#[test]
fn what_is_in_deploy_is_the_chart() -> Result<()> {
    if Machine::with(&[Need::Tools]).is_none() {
        return Ok(());
    }
    let rendered = output(&mut process::Command::new(repository(
        "tests/rig/render.sh",
    )))?;
    let shipped = read(repository("deploy/procview.yaml"))?;
    assert!(
        rendered == shipped,
        "deploy/procview.yaml is not what the chart gives: `make deploy`, and look at the difference"
    );
    assert!(!shipped.contains("caBundle:"));
    Ok(())
}

#[test]
fn the_webhook_understands_what_it_is_given() -> Result<()> {
    if Machine::with(&[Need::Tools]).is_none() {
        return Ok(());
    }
    for enabled in [true, false] {
        let values = format!("{{certManager: {{enabled: {enabled}}}, parent: /data/procview}}");
        let objects = rendered(&values, &NAMESPACE)?;
        let deployment = objects.iter().find(|object| kind(object) == "Deployment");
        let deployment = deployment.context("no Deployment")?;
        let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        let arguments: Vec<String> = serde_json::from_value(arguments.clone())?;
        let line = iter::once("procview-webhook".to_owned()).chain(arguments);
        let Command::Serve(serve) = Cli::try_parse_from(line)?.command else {
            bail!("it does not serve");
        };
        assert_eq!(serve.self_signed.enabled, !enabled);
        assert_eq!(serve.policy.parent, "/data/procview");
        assert_eq!(serve.policy.exclude_namespace, ["kube-system", "procview"]);
        assert_eq!(serve.listen.port(), 8443);
    }
    Ok(())
}

#[test]
fn the_agent_understands_what_it_is_given() -> Result<()> {
    if Machine::with(&[Need::Tools]).is_none() {
        return Ok(());
    }
    let objects = rendered("{parent: /data/procview, agent: {port: 9}}", &NAMESPACE)?;
    let daemons = objects.iter().find(|object| kind(object) == "DaemonSet");
    let spec = &daemons.context("no DaemonSet")?["spec"]["template"]["spec"];
    let command = |container: &Value| {
        let arguments: Vec<String> = serde_json::from_value(container["args"].clone())?;
        let line = iter::once("procview-agent".to_owned()).chain(arguments);
        Ok::<_, anyhow::Error>(procview_agent::args::Cli::try_parse_from(line)?.command)
    };
    let AgentCommand::Check(check) = command(&spec["initContainers"][0])? else {
        bail!("it does not check");
    };
    assert_eq!(check.place.parent, Path::new("/data/procview"));
    let AgentCommand::Run(run) = command(&spec["containers"][0])? else {
        bail!("it does not run");
    };
    assert_eq!(run.place.parent, Path::new("/data/procview"));
    assert_eq!(run.service.node.cgroup, Path::new("/host/sys/fs/cgroup"));
    assert_eq!(run.listen.port(), 9);
    Ok(())
}

/// The difference that some values make, against the defaults, which are in deploy/.
fn difference(values: &str, arguments: &[&str]) -> Result<String> {
    let before = named(rendered("", &NAMESPACE)?);
    let after = named(rendered(values, &[&NAMESPACE, arguments].concat())?);
    let mut text = String::new();
    for (name, object) in &after {
        match before.get(name) {
            None => text += &format!("+ {name}\n{}\n", serde_saphyr::to_string(object)?),
            Some(old) => {
                let mut changes = Vec::new();
                compare("", old, object, &mut changes);
                if !changes.is_empty() {
                    text += &format!("~ {name}\n  {}\n", changes.join("\n  "));
                }
            }
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    text.extend(gone.map(|name| format!("- {name}\n")));
    Ok(text)
}

fn named(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let name = |object: &Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", kind(object))
    };
    objects.into_iter().map(|one| (name(&one), one)).collect()
}

/// Where two objects differ, and how.
fn compare(path: &str, old: &Value, new: &Value, changes: &mut Vec<String>) {
    let nothing = Value::Null;
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<_> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let [old, new] = [a, b].map(|map| map.get(key).unwrap_or(&nothing));
                compare(&format!("{path}/{key}"), old, new, changes);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (old, new)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}/{index}"), old, new, changes);
            }
        }
        (old, new) if old == new => {}
        (old, new) => changes.push(format!("{path}: {old} -> {new}")),
    }
}

/// A test by the name of a snapshot, with what to set.
macro_rules! differences {
    ($($name:ident: $values:expr $(, $argument:expr)*;)*) => {$(
        #[test]
        fn $name() -> Result<()> {
            if Machine::with(&[Need::Tools]).is_some() {
                insta::assert_snapshot!(difference($values, &[$($argument),*])?);
            }
            Ok(())
        }
    )*};
}

differences! {
    cert_manager: "certManager: {enabled: true}";
    cert_manager_with_an_issuer: "certManager: {enabled: true, issuerRef: {name: corporate, kind: ClusterIssuer}}";
    service_monitors: "metrics: {serviceMonitor: {enabled: true, labels: {release: prometheus}, interval: 30s}}";
    one_replica: "webhook: {replicas: 1}";
    images_of_a_registry: "
image: {registry: 'registry.example.com:5000/team', tag: '9', pullPolicy: Always, pullSecrets: [one, two]}
agent: {digest: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}
";
    another_parent_and_namespace: "
namespace: {create: true}
parent: /data/procview
webhook: {excludeNamespaces: [istio-system, kube-system]}
", "--namespace", "tools";
    addresses: "{listenAddress: 0.0.0.0, agent: {port: 9100}, webhook: {port: 10250}}";
    what_agents_are_asked: "
log: {level: debug, format: json}
agent:
  cpuRounding: floor
  uptimeHostReaders: [ps, top]
  resourceQuota: true
  nodeSelector: {disk: ssd}
  tolerations: []
  updateStrategy: {type: OnDelete, rollingUpdate: null}
  podAnnotations: {prometheus.io/scrape: 'true'}
";
    what_webhooks_are_asked: "
webhook:
  timeoutSeconds: 5
  shutdownDelaySeconds: 20
  tolerations: [{key: dedicated, operator: Exists}]
  topologySpreadConstraints: [{maxSkew: 2, topologyKey: rack, whenUnsatisfiable: DoNotSchedule}]
  podLabels: {team: platform}
";
}
