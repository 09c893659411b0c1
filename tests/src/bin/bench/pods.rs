//! Containers as deep as Kubernetes has them, with limits on the levels that Kubernetes limits.

use anyhow::Result;
use procview_tests::cgroup::{Group, Layout, Limits, Tree};
use procview_tests::facts::total_memory;

/// The group that everything lies below. Not `kubepods`: a node's own must not be touched.
const TOP: &str = "procview-bench";

/// The container and its pod have as much.
const MEMORY: u64 = 512 << 20;
const CPUS: f64 = 1.5;

/// The tree of this run.
pub(crate) fn tree() -> Result<Tree> {
    Tree::new(&Layout::detect()?, TOP)
}

/// Makes container number `index`, in a pod of its own.
pub(crate) fn container(tree: &Tree, index: usize) -> Result<Group> {
    let pod = format!("burstable/pod00000000-0000-4000-8000-{index:012x}");
    let pod = tree.top().child(&pod);
    let container = pod.child("x").child(&format!("{index:064x}"));
    container.make()?;
    tree.top().set(&Limits {
        memory: Some(total_memory()? / 10 * 9),
        ..Limits::default()
    })?;
    let limits = Limits {
        memory: Some(MEMORY),
        cpus: Some(CPUS),
        ..Limits::default()
    };
    pod.set(&limits)?;
    container.set(&limits)?;
    Ok(container)
}
