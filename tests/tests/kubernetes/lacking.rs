//! A node that lacks something: whoever looks at the node finds what, and what helps.

use anyhow::{Context, Result, ensure};
use procview_tests::cluster::Node;

use crate::product::{PATIENCE, shared};

/// A directory of the node's that is a mount without propagation.
const PRIVATE: &str = "/var/lib/procview-private";

#[test]
fn a_node_whose_mounts_are_private_says_so_in_an_event() -> Result<()> {
    let Some((cluster, _calm)) = shared()? else {
        return Ok(());
    };
    let node = cluster.node(Node::Host);
    node.sh(&format!(
        "mkdir -p {PRIVATE} && mount --bind {PRIVATE} {PRIVATE} && mount --make-private {PRIVATE}"
    ))?;
    // The agent that ships, with another directory.
    let mut agent = cluster.get(&["daemonset", "procview-agent", "-n", "procview"])?;
    let text = agent["spec"]
        .to_string()
        .replace("/var/lib/procview", PRIVATE);
    agent["spec"] = serde_json::from_str(&text)?;
    let mut spec = agent["spec"]["template"]["spec"].take();
    spec["nodeName"] = Node::Host.name().into();
    let pod = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "lacking", "namespace": "procview"},
        "spec": spec,
    });
    cluster.apply(&pod.to_string())?;
    let event = cluster.wait("an Event on the node", PATIENCE, || {
        let about = "involvedObject.kind=Node,reason=ViewUnavailable";
        let events = cluster.get(&["events", "-n", "default", "--field-selector", about])?;
        Ok(events["items"].get(0).cloned())
    })?;
    let remedy = format!("mount --make-rshared {PRIVATE}");
    let note = event["message"].as_str().context("it says something")?;
    ensure!(note.contains(&remedy), "{note}");
    assert_eq!(event["involvedObject"]["name"], Node::Host.name());
    let described = cluster.kubectl(&["describe", "node", Node::Host.name()])?;
    ensure!(described.contains("ViewUnavailable"), "{described}");
    let log = cluster.logs_of("procview", "lacking", "check")?;
    ensure!(log.contains(&remedy), "{log}");

    cluster.kubectl(&[
        "delete",
        "pod",
        "lacking",
        "-n",
        "procview",
        "--grace-period=0",
        "--force",
    ])?;
    node.sh(&format!("umount -l {PRIVATE} && rmdir {PRIVATE}"))?;
    Ok(())
}
