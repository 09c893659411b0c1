//! The product, installed once for all tests of this binary.

use std::path::{Path, PathBuf};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use procview_tests::cluster::pods::{TOOLS, limits, pod};
use procview_tests::cluster::{Cluster, Node};
use procview_tests::machine::Machine;
use serde_json::{Value, json};

/// For what takes longest: pods in the emulated machine, when it has much to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Held for writing by who takes the product away from the others.
static CALM: RwLock<()> = RwLock::new(());

/// The cluster with the product in it, for a test that leaves it as it is; none where it cannot run.
pub(crate) fn shared() -> Result<Option<(&'static Cluster, RwLockReadGuard<'static, ()>)>> {
    let Some(cluster) = installed()? else {
        return Ok(None);
    };
    let calm = CALM.read().unwrap_or_else(PoisonError::into_inner);
    Ok(Some((cluster, calm)))
}

/// The same for a test that takes parts of it away, and puts them back.
pub(crate) fn alone() -> Result<Option<(&'static Cluster, RwLockWriteGuard<'static, ()>)>> {
    let Some(cluster) = installed()? else {
        return Ok(None);
    };
    let alone = CALM.write().unwrap_or_else(PoisonError::into_inner);
    // The one before may have failed half-way.
    apply(cluster)?;
    Ok(Some((cluster, alone)))
}

fn installed() -> Result<Option<&'static Cluster>> {
    static INSTALLED: OnceLock<Result<&'static Cluster, String>> = OnceLock::new();
    if Machine::with(&Node::NEEDS).is_none() {
        return Ok(None);
    }
    let install = || {
        let cluster = Cluster::shared_with_nodes()?;
        for image in ["procview-agent.tar", "procview-webhook.tar"] {
            cluster.load(&images()?.join(image))?;
        }
        apply(cluster)?;
        Ok(cluster)
    };
    let installed =
        INSTALLED.get_or_init(|| install().map_err(|error: anyhow::Error| format!("{error:#}")));
    installed.clone().map(Some).map_err(|error| anyhow!(error))
}

/// The folder of the images under test.
fn images() -> Result<PathBuf> {
    let dir = std::env::var_os("PROCVIEW_IMAGES").map(PathBuf::from);
    let dir = dir.context("PROCVIEW_IMAGES is not set: use `make test`")?;
    ensure!(
        dir.join("procview-agent.tar").exists(),
        "no images in {}: `make images`",
        dir.display()
    );
    Ok(dir)
}

/// The manifests, as users have them.
pub(crate) fn manifests() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    root.display().to_string()
}

/// Installs the product, and waits until it works.
pub(crate) fn apply(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["apply", "-f", &manifests()])?;
    for workload in ["daemonset/procview-agent", "deployment/procview-webhook"] {
        rolled_out(cluster, workload)?;
    }
    reviewed(cluster)
}

/// Waits until a workload of ours is as it should be.
pub(crate) fn rolled_out(cluster: &Cluster, workload: &str) -> Result<()> {
    let arguments = [
        "rollout",
        "status",
        "-n",
        "procview",
        "--timeout=240s",
        workload,
    ];
    let waited = cluster.kubectl(&arguments);
    waited.map(drop).with_context(|| cluster.events("procview"))
}

/// Waits until the API server asks the webhook.
pub(crate) fn reviewed(cluster: &Cluster) -> Result<()> {
    const NAMESPACE: &str = "reviewed";
    if cluster.get(&["namespace", NAMESPACE]).is_err() {
        labelled(cluster, NAMESPACE)?;
    }
    let probe = pod(NAMESPACE, "probe", Node::Host, &json!({}), &json!({})).to_string();
    let create = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    cluster.wait("the webhook to be asked", PATIENCE, || {
        let (text, _) = cluster.kubectl_with(&create, &probe)?;
        let pod: Value = serde_json::from_str(&text)?;
        Ok((status(&pod) != "none").then_some(()))
    })
}

/// Makes a namespace that has opted in.
pub(crate) fn labelled(cluster: &Cluster, name: &str) -> Result<()> {
    cluster.namespace(name, &["lxcfs-admission-webhook=enabled"])
}

/// What the webhook says of a pod.
pub(crate) fn status(pod: &Value) -> &str {
    let status = pod["metadata"]["annotations"]["procview.dev/status"].as_str();
    status.unwrap_or("none")
}

/// A container that prints first of all what it sees.
pub(crate) fn telling(memory: &str, cpu: &str) -> Value {
    let script = "free -b; getconf _NPROCESSORS_ONLN; cat /proc/loadavg; exec sleep inf";
    json!({"image": TOOLS, "command": ["sh", "-c", script], "resources": limits(memory, cpu)})
}

/// The total of what `free -b` prints, in bytes.
pub(crate) fn total(free: &str) -> Result<u64> {
    let line = free.lines().find_map(|line| line.strip_prefix("Mem:"));
    let total = line.and_then(|line| line.split_whitespace().next());
    let total = total.with_context(|| format!("not of free: {free}"))?;
    Ok(total.parse()?)
}

/// The memory a container sees, in bytes.
pub(crate) fn memory_in(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: &str,
) -> Result<u64> {
    total(&cluster.exec(namespace, pod, container, &["free", "-b"])?)
}

/// The node's own memory, in bytes.
pub(crate) fn memory_of(cluster: &Cluster, node: Node) -> Result<u64> {
    let text = cluster.node(node).sh("head -n 1 /proc/meminfo")?;
    let kilobytes = text.split_whitespace().nth(1).context("no MemTotal")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

pub(crate) const MIB: u64 = 1 << 20;
