//! The cgroups that the measurements run in.

use anyhow::Result;
use procview_tests::cgroup::{Group, Layout, Limits, Tree};

/// The group that everything lies below.
const TOP: &str = "procview-fidelity";

/// The tree of this run.
pub(crate) fn tree() -> Result<Tree> {
    let tree = Tree::new(&Layout::detect()?, TOP)?;
    tree.top().make()?;
    // Eight times the usual: what else the machine does should not keep a busy container from its
    // quota.
    match tree.top().layout() {
        Layout::V2 => tree.top().write("cpu", "cpu.weight", "800")?,
        Layout::V1(_) => tree.top().write("cpu", "cpu.shares", "8192")?,
    }
    Ok(tree)
}

/// Makes container `number`, named as a runtime names it: by that the agent finds it before anybody
/// reads.
pub(crate) fn container(tree: &Tree, number: u32) -> Result<Group> {
    group(tree, &format!("{number:064x}"))
}

/// Makes a group that is no container's.
pub(crate) fn group(tree: &Tree, name: &str) -> Result<Group> {
    let group = tree.top().child(name);
    group.make()?;
    Ok(group)
}

/// Limits CPU time to `cpus` CPUs.
pub(crate) fn set_quota(group: &Group, cpus: f64) -> Result<()> {
    group.set(&Limits {
        cpus: Some(cpus),
        ..Limits::default()
    })
}
