//! Nodes without the agent: pods start there, and go on.

use anyhow::{Context, Result, ensure};
use procview_tests::cluster::pods::{limits, pod};
use procview_tests::cluster::{Cluster, Node};
use serde_json::{Value, json};

use crate::product::{
    MIB, PATIENCE, alone, apply, labelled, manifests, memory_in, memory_of, reviewed, rolled_out,
    status,
};

/// A pod with limits on each node.
fn pods(namespace: &str, name: &str) -> [Value; 2] {
    let own = json!({"resources": limits("200Mi", "1")});
    Node::ALL.map(|node| {
        pod(
            namespace,
            &format!("{}-{name}", node.name()),
            node,
            &json!({}),
            &own,
        )
    })
}

/// What a pod of [`pods`] sees.
fn seen(cluster: &Cluster, namespace: &str, node: Node, name: &str) -> Result<u64> {
    memory_in(
        cluster,
        namespace,
        &format!("{}-{name}", node.name()),
        "main",
    )
}

/// Checks that all files of the view can be read in a pod of [`pods`].
fn all_read(cluster: &Cluster, namespace: &str, node: Node, name: &str) -> Result<()> {
    let script = "cd /proc && cat cpuinfo diskstats loadavg meminfo stat swaps uptime \
                  /sys/devices/system/cpu/online /sys/devices/system/cpu/possible > /dev/null && uptime && top -bn1 | head -5";
    let pod = format!("{}-{name}", node.name());
    cluster.exec(namespace, &pod, "main", &["sh", "-c", script])?;
    Ok(())
}

#[test]
fn without_the_agent_pods_go_on_and_pods_start() -> Result<()> {
    let Some((cluster, _alone)) = alone()? else {
        return Ok(());
    };
    let namespace = "without-agent";
    labelled(cluster, namespace)?;
    cluster.run(namespace, &pods(namespace, "before"))?;
    cluster.kubectl(&["delete", "daemonset", "procview-agent", "-n", "procview"])?;
    cluster.wait("the agents to end", PATIENCE, || {
        let left = cluster.kubectl(&["get", "pods", "-n", "procview", "-o", "name"])?;
        Ok((!left.contains("agent")).then_some(()))
    })?;
    cluster.run(namespace, &pods(namespace, "meanwhile"))?;
    for node in Node::ALL {
        let of_node = memory_of(cluster, node)?;
        for name in ["before", "meanwhile"] {
            assert_eq!(seen(cluster, namespace, node, name)?, of_node, "{name}");
            all_read(cluster, namespace, node, name)?;
        }
    }
    apply(cluster)?;
    cluster.run(namespace, &pods(namespace, "after"))?;
    for node in Node::ALL {
        assert_eq!(seen(cluster, namespace, node, "after")?, 200 * MIB);
        all_read(cluster, namespace, node, "before")?;
    }
    cluster.kubectl(&["delete", "namespace", namespace])?;
    Ok(())
}

#[test]
fn after_a_reboot_pods_start_whoever_is_first() -> Result<()> {
    let Some((cluster, _alone)) = alone()? else {
        return Ok(());
    };
    let namespace = "rebooted";
    labelled(cluster, namespace)?;
    cluster.run(namespace, &pods(namespace, "before"))?;
    for node in Node::ALL {
        cluster.node(node).reboot()?;
    }
    // The kubelet starts all of them at once.
    cluster.ready(namespace)?;
    rolled_out(cluster, "daemonset/procview-agent")?;
    rolled_out(cluster, "deployment/procview-webhook")?;
    reviewed(cluster)?;
    for node in Node::ALL {
        all_read(cluster, namespace, node, "before")?;
    }
    cluster.run(namespace, &pods(namespace, "after"))?;
    for node in Node::ALL {
        assert_eq!(seen(cluster, namespace, node, "after")?, 200 * MIB);
    }
    // The other way round, with pods that run.
    let host = cluster.node(Node::Host);
    host.stop_kubelet()?;
    host.stop_containerd()?;
    host.start_kubelet()?;
    host.start_containerd()?;
    // It has ended meanwhile, and systemd would start it again.
    host.start_kubelet()?;
    assert_eq!(seen_later(cluster, namespace)?, 200 * MIB);
    cluster.kubectl(&["delete", "namespace", namespace])?;
    Ok(())
}

/// What a pod sees as soon as its kubelet answers again.
fn seen_later(cluster: &Cluster, namespace: &str) -> Result<u64> {
    cluster.wait("the kubelet to answer", PATIENCE, || {
        Ok(seen(cluster, namespace, Node::Host, "after").ok())
    })
}

#[test]
fn a_killed_agent_is_replaced_with_its_mount() -> Result<()> {
    let Some((cluster, _alone)) = alone()? else {
        return Ok(());
    };
    let namespace = "killed-agent";
    labelled(cluster, namespace)?;
    for node in Node::ALL {
        let restarts = || restarts_on(cluster, node);
        let before = restarts()?;
        cluster.node(node).sh("kill -9 $(pidof procview-agent)")?;
        cluster.wait("the agent to be started again", PATIENCE, || {
            Ok((restarts()? > before).then_some(()))
        })?;
    }
    rolled_out(cluster, "daemonset/procview-agent")?;
    cluster.run(namespace, &pods(namespace, "after"))?;
    for node in Node::ALL {
        assert_eq!(seen(cluster, namespace, node, "after")?, 200 * MIB);
    }
    cluster.kubectl(&["delete", "namespace", namespace])?;
    Ok(())
}

/// How often the agent of a node was started again.
fn restarts_on(cluster: &Cluster, node: Node) -> Result<u64> {
    let on_node = format!("spec.nodeName={}", node.name());
    let agent = "app.kubernetes.io/component=agent";
    let pods = cluster.get(&[
        "pods",
        "-n",
        "procview",
        "-l",
        agent,
        "--field-selector",
        &on_node,
    ])?;
    let status = &pods["items"][0]["status"]["containerStatuses"][0];
    let restarts = status["restartCount"].as_u64();
    restarts.with_context(|| format!("no agent on {}: {pods}", node.name()))
}

#[test]
fn deleting_the_product_leaves_pods_as_they_are() -> Result<()> {
    let Some((cluster, _alone)) = alone()? else {
        return Ok(());
    };
    let namespace = "deleted";
    labelled(cluster, namespace)?;
    cluster.run(namespace, &pods(namespace, "before"))?;
    cluster.kubectl(&["delete", "-f", &manifests()])?;
    cluster.run(namespace, &pods(namespace, "after"))?;
    for node in Node::ALL {
        for name in ["before", "after"] {
            assert_eq!(
                seen(cluster, namespace, node, name)?,
                memory_of(cluster, node)?
            );
            all_read(cluster, namespace, node, name)?;
        }
        // A container of a patched pod that ends is started again.
        let before = format!("{}-before", node.name());
        cluster
            .exec(
                namespace,
                &before,
                "main",
                &["sh", "-c", "kill -9 -1; kill 1"],
            )
            .ok();
        let pod = cluster.get(&["pod", &before, "-n", namespace])?;
        ensure!(status(&pod) == "injected: main", "{}", status(&pod));
    }
    cluster.ready(namespace)?;
    apply(cluster)?;
    cluster.run(namespace, &pods(namespace, "again"))?;
    for node in Node::ALL {
        assert_eq!(seen(cluster, namespace, node, "again")?, 200 * MIB);
    }
    cluster.kubectl(&["delete", "namespace", namespace])?;
    Ok(())
}
