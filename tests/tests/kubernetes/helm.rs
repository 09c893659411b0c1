//! The chart as users of helm install it, and its own test.

use anyhow::{Result, ensure};
use procview_tests::cluster::pods::TOOLS;
use procview_tests::machine::{Machine, Need};
use procview_tests::manifest::{output, repository, tool};

use crate::product::{alone, apply, manifests, reviewed, rolled_out};

#[test]
fn helm_installs_it_and_its_test_passes() -> Result<()> {
    if Machine::with(&[Need::Tools]).is_none() {
        return Ok(());
    }
    let Some((cluster, _alone)) = alone()? else {
        return Ok(());
    };
    cluster.kubectl(&["delete", "-f", &manifests()])?;
    let helm = tool("helm")?;
    let run = |arguments: &[&str]| {
        let mut command = cluster.command(&helm);
        command
            .env("KUBECONFIG", cluster.kubeconfig())
            .args(["-n", "procview"])
            .args(arguments);
        output(&mut command)
    };
    let chart = repository("charts/procview").display().to_string();
    let image = format!("test.image={TOOLS}");
    let install = [
        "install",
        "procview",
        &chart,
        "--create-namespace",
        "--set",
        &image,
    ];
    let notes = run(&install)?;
    ensure!(notes.contains("kubectl label namespace"), "{notes}");
    for workload in ["daemonset/procview-agent", "deployment/procview-webhook"] {
        rolled_out(cluster, workload)?;
    }
    reviewed(cluster)?;
    let tested = run(&["test", "procview"])?;
    ensure!(tested.contains("Succeeded"), "{tested}");
    run(&["uninstall", "procview", "--wait"])?;
    cluster.kubectl(&["delete", "namespace", "procview"])?;
    apply(cluster)
}
