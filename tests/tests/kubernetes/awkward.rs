//! Pods of the kinds that others stumble over: each runs, and sees its own size or says why not.

use anyhow::{Result, ensure};
use procview_tests::cluster::Node;
use procview_tests::cluster::pods::{TOOLS, limits, pod};
use serde_json::{Value, json};

use crate::product::{MIB, labelled, memory_in, memory_of, shared, status};

/// Whose size `main` sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sees {
    /// Its own.
    Itself,
    /// The node's.
    Node,
}

struct Kind {
    name: &'static str,
    annotations: Value,
    spec: Value,
    container: Value,
    /// How the status begins.
    status: &'static str,
    sees: Sees,
}

/// A kind by what is unusual in its specification.
fn kind(name: &'static str, spec: Value, status: &'static str, sees: Sees) -> Kind {
    Kind {
        name,
        annotations: json!({}),
        spec,
        container: json!({}),
        status,
        sees,
    }
}

/// A kind by an annotation.
fn annotated(name: &'static str, key: &str, value: &str, status: &'static str, sees: Sees) -> Kind {
    Kind {
        annotations: json!({key: value}),
        ..kind(name, json!({}), status, sees)
    }
}

/// A kind by what is unusual in its container, and the volumes for that.
fn with(name: &'static str, container: Value, volumes: Value, status: &'static str) -> Kind {
    Kind {
        container,
        ..kind(name, json!({"volumes": volumes}), status, Sees::Itself)
    }
}

/// Those that a kernel or a cgroup version could make a difference to: the emulated machine takes seconds
/// for each pod.
const ON_GUEST: [&str; 5] = [
    "shared-processes",
    "host-pid",
    "user-namespace",
    "strict",
    "own-mount",
];

impl Kind {
    fn runs_on(&self, node: Node) -> bool {
        node == Node::Host || ON_GUEST.contains(&self.name)
    }
}

fn kinds() -> Vec<Kind> {
    use Sees::{Itself, Node};
    let strict = json!({
        "runAsNonRoot": true,
        "runAsUser": 65534,
        "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    let own = json!({"name": "own", "image": TOOLS, "command": ["sleep", "inf"], "resources": limits("64Mi", "1")});
    let mut root = own.clone();
    root["securityContext"] = json!({"privileged": true});
    vec![
        kind(
            "host-network",
            json!({"hostNetwork": true}),
            "injected: main",
            Itself,
        ),
        kind(
            "shared-processes",
            json!({"shareProcessNamespace": true}),
            "injected: main",
            Itself,
        ),
        kind(
            "host-pid",
            json!({"hostPID": true}),
            "skipped: host-pid: ",
            Node,
        ),
        kind(
            "user-namespace",
            json!({"hostUsers": false}),
            "skipped: user-namespace: ",
            Node,
        ),
        kind(
            "conflict",
            json!({"volumes": [{"name": "procview", "emptyDir": {}}]}),
            "skipped: volume-name-conflict: ",
            Node,
        ),
        kind(
            "privileged-beside",
            json!({"containers": [root]}),
            "injected: main; not: own (privileged)",
            Itself,
        ),
        Kind {
            annotations: json!({"procview.dev/inject": "true"}),
            ..kind("asked", json!({"hostPID": true}), "injected: main", Itself)
        },
        Kind {
            annotations: json!({"procview.dev/containers": "-main"}),
            ..kind(
                "chosen",
                json!({"containers": [own]}),
                "injected: own; not: main (not-chosen)",
                Node,
            )
        },
        annotated(
            "opted-out",
            "procview.dev/inject",
            "false",
            "skipped: opted-out: ",
            Node,
        ),
        annotated(
            "other-key",
            "mutating.lxcfs-admission-webhook.io/enable",
            "no",
            "skipped: opted-out-by-other-key: ",
            Node,
        ),
        with(
            "strict",
            json!({"securityContext": strict}),
            json!([]),
            "injected: main",
        ),
        with(
            "token",
            json!({"volumeMounts": [{"name": "token", "mountPath": "/token"}]}),
            json!([{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]),
            "injected: main",
        ),
        with(
            "own-mount",
            json!({"volumeMounts": [{"name": "mine", "mountPath": "/proc/uptime", "subPath": "uptime"}]}),
            json!([{"name": "mine", "configMap": {"name": "mine"}}]),
            "injected: main; the pod's own mounts are kept: /proc/uptime in main",
        ),
    ]
}

#[test]
fn awkward_pods_run_and_say_what_they_got() -> Result<()> {
    let Some((cluster, _calm)) = shared()? else {
        return Ok(());
    };
    let namespace = "awkward";
    labelled(cluster, namespace)?;
    cluster.kubectl(&[
        "create",
        "configmap",
        "mine",
        "-n",
        namespace,
        "--from-literal=uptime=1.00 2.00",
    ])?;
    let kinds = kinds();
    let name = |node: Node, kind: &Kind| format!("{}-{}", node.name(), kind.name);
    let mut pods = Vec::new();
    for node in Node::ALL {
        for kind in kinds.iter().filter(|kind| kind.runs_on(node)) {
            let mut container = kind.container.clone();
            container["resources"] = limits("96Mi", "1");
            let mut pod = pod(namespace, &name(node, kind), node, &kind.spec, &container);
            pod["metadata"]["annotations"] = kind.annotations.clone();
            pods.push(pod);
        }
    }
    cluster.run(namespace, &pods)?;
    for node in Node::ALL {
        for kind in kinds.iter().filter(|kind| kind.runs_on(node)) {
            let name = name(node, kind);
            let pod = cluster.get(&["pod", &name, "-n", namespace])?;
            let status = status(&pod);
            ensure!(status.starts_with(kind.status), "{name}: {status}");
            let expected = match kind.sees {
                Sees::Itself => 96 * MIB,
                Sees::Node => memory_of(cluster, node)?,
            };
            let seen = memory_in(cluster, namespace, &name, "main")?;
            assert_eq!(seen, expected, "{name}");
        }
        let own = format!("{}-own-mount", node.name());
        let uptime = cluster.exec(namespace, &own, "main", &["cat", "/proc/uptime"])?;
        assert_eq!(uptime, "1.00 2.00");
        // busybox copies by sendfile where it can.
        let shared = format!("{}-shared-processes", node.name());
        let copied = cluster.exec(
            namespace,
            &shared,
            "main",
            &["busybox", "cat", "/proc/meminfo"],
        )?;
        ensure!(copied.starts_with("MemTotal:"), "{copied}");
    }
    cluster.kubectl(&["delete", "namespace", namespace, "--wait=false"])?;
    Ok(())
}

#[test]
fn where_pod_security_forbids_it_pods_run_and_say_so() -> Result<()> {
    let Some((cluster, _calm)) = shared()? else {
        return Ok(());
    };
    for level in ["baseline", "restricted"] {
        let enforce = format!("pod-security.kubernetes.io/enforce={level}");
        cluster.namespace(level, &["lxcfs-admission-webhook=enabled", &enforce])?;
        let container = json!({
            "resources": limits("96Mi", "1"),
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65534,
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        });
        let pods = Node::ALL.map(|node| pod(level, node.name(), node, &json!({}), &container));
        cluster.run(level, &pods)?;
        for node in Node::ALL {
            let pod = cluster.get(&["pod", node.name(), "-n", level])?;
            let status = status(&pod);
            ensure!(
                status.starts_with("skipped: pod-security: "),
                "{level}: {status}"
            );
            let seen = memory_in(cluster, level, node.name(), "main")?;
            assert_eq!(seen, memory_of(cluster, node)?);
        }
    }
    Ok(())
}
