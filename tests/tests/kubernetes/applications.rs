//! Applications of a namespace that has opted in.

use anyhow::{Context, Result, ensure};
use procview_tests::cluster::pods::{TOOLS, limits, pod};
use procview_tests::cluster::{Cluster, Node};
use serde_json::{Value, json};

use crate::product::{
    MIB, PATIENCE, alone, labelled, memory_in, memory_of, shared, telling, total,
};

/// A container of [`telling`] with a name.
fn named(name: &str, memory: &str, cpu: &str) -> Value {
    let mut container = telling(memory, cpu);
    container["name"] = name.into();
    container
}

/// A Deployment of init container, sidecar and two containers on one node.
fn application(namespace: &str, name: &str, node: Node, runtime: &Value) -> Value {
    let mut sidecar = named("proxy", "150Mi", "1");
    sidecar["restartPolicy"] = "Always".into();
    let setup = json!({"name": "setup", "image": TOOLS, "command": ["free", "-b"], "resources": limits("100Mi", "1")});
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeName": node.name(),
                    "runtimeClassName": runtime,
                    "terminationGracePeriodSeconds": 0,
                    "initContainers": [setup, sidecar],
                    "containers": [named("app", "200Mi", "1"), named("db", "300Mi", "1500m")],
                },
            },
        },
    })
}

/// What [`telling`] prints: memory in bytes, CPUs, and all threads.
fn told(cluster: &Cluster, namespace: &str, pod: &str, container: &str) -> Result<(u64, u64, u64)> {
    // A container that runs may not have come to the last line.
    let text = cluster.wait("a container to tell what it sees", PATIENCE, || {
        let text = cluster.logs_of(namespace, pod, container)?;
        Ok(Some(text).filter(|text| text.lines().last().is_some_and(|line| line.contains('/'))))
    })?;
    let mut last = text.lines().rev();
    let load = last.next().context("no load")?;
    let cpus = last.next().context("no CPUs")?;
    let threads = load.split([' ', '/']).nth(4).context("no threads")?;
    Ok((total(&text)?, cpus.parse()?, threads.parse()?))
}

fn pod_of(cluster: &Cluster, namespace: &str, name: &str) -> Result<String> {
    let pods = cluster.get(&["pods", "-n", namespace, "-l", &format!("app={name}")])?;
    let pod = pods["items"][0]["metadata"]["name"].as_str();
    pod.map(ToOwned::to_owned)
        .with_context(|| format!("no pod of {name}"))
}

#[test]
fn the_first_instruction_sees_the_containers_own_size() -> Result<()> {
    let Some((cluster, _calm)) = shared()? else {
        return Ok(());
    };
    let namespace = "applications";
    labelled(cluster, namespace)?;
    let mut applications = Vec::new();
    for node in Node::ALL {
        for (name, runtime) in [("runc", Value::Null), ("crun", "crun".into())] {
            applications.push((format!("{}-{name}", node.name()), node, runtime));
        }
    }
    let manifests: Vec<_> = applications
        .iter()
        .map(|(name, node, runtime)| application(namespace, name, *node, runtime))
        .collect();
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": manifests}).to_string())?;
    for (name, node, _) in &applications {
        let deployment = format!("deployment/{name}");
        let arguments = [
            "rollout",
            "status",
            "-n",
            namespace,
            "--timeout=240s",
            &deployment,
        ];
        cluster
            .kubectl(&arguments)
            .with_context(|| cluster.events(namespace))?;
        let pod = pod_of(cluster, namespace, name)?;
        let setup = cluster.logs_of(namespace, &pod, "setup")?;
        assert_eq!(total(&setup)?, 100 * MIB, "{name}");
        for (container, memory, cpus) in [("proxy", 150, 1), ("app", 200, 1), ("db", 300, 2)] {
            let (total, online, threads) = told(cluster, namespace, &pod, container)?;
            assert_eq!((total, online), (memory * MIB, cpus), "{name} {container}");
            ensure!(threads < 10, "{name} {container} sees {threads} threads");
        }
        // Later, and in what comes later.
        assert_eq!(memory_in(cluster, namespace, &pod, "db")?, 300 * MIB);
        let debug = ["debug", &pod, "-n", namespace, "--image", TOOLS];
        let command = ["--target=app", "-c", "debugger", "--", "free", "-b"];
        cluster.kubectl(&[&debug[..], &command].concat())?;
        // Attached to one that ends at once, kubectl may see nothing.
        let seen = cluster.wait("what a debug container prints", PATIENCE, || {
            let text = cluster.logs_of(namespace, &pod, "debugger");
            Ok(text.ok().and_then(|text| total(&text).ok()))
        })?;
        // It has no limit of its own, so it can take what the pod has left.
        assert_eq!(seen, 650 * MIB, "{name}");
        ensure!(seen < memory_of(cluster, *node)?);
    }
    cluster.kubectl(&["delete", "namespace", namespace, "--wait=false"])?;
    Ok(())
}

#[test]
fn a_resize_and_the_pods_limits_are_seen() -> Result<()> {
    let Some((cluster, _calm)) = shared()? else {
        return Ok(());
    };
    let namespace = "sizes";
    labelled(cluster, namespace)?;
    let resized = |node: Node| format!("{}-resized", node.name());
    let level = |node: Node| format!("{}-level", node.name());
    let pods: Vec<_> = Node::ALL
        .into_iter()
        .flat_map(|node| {
            let own = json!({"resources": limits("200Mi", "1")});
            let pods = json!({"resources": limits("128Mi", "1")});
            [
                pod(namespace, &resized(node), node, &json!({}), &own),
                pod(namespace, &level(node), node, &pods, &json!({})),
            ]
        })
        .collect();
    cluster.run(namespace, &pods)?;
    for node in Node::ALL {
        assert_eq!(
            memory_in(cluster, namespace, &level(node), "main")?,
            128 * MIB
        );

        let name = resized(node);
        assert_eq!(memory_in(cluster, namespace, &name, "main")?, 200 * MIB);
        let resources = limits("300Mi", "1500m");
        let patch = json!({"spec": {"containers": [{"name": "main", "resources": resources}]}});
        let patch = patch.to_string();
        let arguments = [
            "patch",
            "pod",
            &name,
            "-n",
            namespace,
            "--subresource=resize",
            "-p",
        ];
        cluster.kubectl(&[&arguments[..], &[&patch]].concat())?;
        cluster.wait("a resize to be seen", PATIENCE, || {
            let cpus = cluster.exec(namespace, &name, "main", &["getconf", "_NPROCESSORS_ONLN"])?;
            let memory = memory_in(cluster, namespace, &name, "main")?;
            Ok((memory == 300 * MIB && cpus.trim() == "2").then_some(()))
        })?;
        let pod = cluster.get(&["pod", &name, "-n", namespace])?;
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    }
    cluster.kubectl(&["delete", "namespace", namespace, "--wait=false"])?;
    Ok(())
}

/// Busy and all time of the first line of `/proc/stat`, in ticks.
fn times(line: &str) -> Result<(u64, u64)> {
    let times = line.split_whitespace().skip(1).map(str::parse);
    let times = times.collect::<Result<Vec<u64>, _>>()?;
    let all: u64 = times.iter().sum();
    let idle = times.get(3).context("no idle time")?;
    Ok((all - idle, all))
}

/// How much of its CPUs was used for some seconds, as a container or the node sees it.
fn busy_share(read: impl FnOnce(&str) -> Result<String>) -> Result<f64> {
    let text = read("head -n 1 /proc/stat; sleep 5; head -n 1 /proc/stat")?;
    let mut lines = text.lines();
    let mut next = || times(lines.next().context("no line")?);
    let (before, after) = (next()?, next()?);
    #[allow(clippy::cast_precision_loss)]
    Ok((after.0 - before.0) as f64 / (after.1 - before.1) as f64)
}

#[test]
fn a_busy_neighbour_is_not_seen() -> Result<()> {
    // Alone: who burns an emulated CPU leaves others nothing.
    let Some((cluster, _alone)) = alone()? else {
        return Ok(());
    };
    let namespace = "neighbours";
    labelled(cluster, namespace)?;
    let pods: Vec<_> = Node::ALL
        .into_iter()
        .flat_map(|node| {
            let one = limits("100Mi", "1");
            let busy = json!({"resources": one, "command": ["sh", "-c", "while :; do :; done"]});
            let quiet = json!({"resources": one});
            let name = |what| format!("{}-{what}", node.name());
            [
                pod(namespace, &name("busy"), node, &json!({}), &busy),
                pod(namespace, &name("quiet"), node, &json!({}), &quiet),
            ]
        })
        .collect();
    cluster.run(namespace, &pods)?;
    for node in Node::ALL {
        let share = |what: &str| {
            let pod = format!("{}-{what}", node.name());
            busy_share(|script| cluster.exec(namespace, &pod, "main", &["sh", "-c", script]))
        };
        let quiet = share("quiet")?;
        ensure!(quiet < 0.2, "{node:?}: a quiet container sees {quiet}");
        let busy = share("busy")?;
        ensure!(busy > 0.3, "{node:?}: a busy container sees {busy}");
        let of_node = busy_share(|script| cluster.node(node).sh(script))?;
        ensure!(of_node > 0.3, "{node:?}: the node sees {of_node}");
    }
    // Now: it costs all others their time.
    let arguments = [
        "delete",
        "pods",
        "--all",
        "--grace-period=0",
        "-n",
        namespace,
    ];
    cluster.kubectl(&arguments)?;
    Ok(())
}

#[test]
fn a_namespace_without_the_label_sees_the_node() -> Result<()> {
    let Some((cluster, _calm)) = shared()? else {
        return Ok(());
    };
    let namespace = "unlabelled";
    cluster.namespace(namespace, &[])?;
    let own = json!({"resources": limits("200Mi", "1")});
    let pods = Node::ALL.map(|node| pod(namespace, node.name(), node, &json!({}), &own));
    cluster.run(namespace, &pods)?;
    for node in Node::ALL {
        let seen = memory_in(cluster, namespace, node.name(), "main")?;
        assert_eq!(seen, memory_of(cluster, node)?);
    }
    Ok(())
}
