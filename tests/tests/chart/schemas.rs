//! The manifests against the schemas of each supported version of Kubernetes.

use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Result, anyhow};
use procview_tests::machine::{Machine, Need};
use procview_tests::manifest::{output, repository, tool};
use serde_json::Value;
use tempfile::TempDir;

use crate::helm::rendered;

const VERSIONS: std::ops::RangeInclusive<u32> = 29..=37;

/// All that the chart can make.
const ALL: &str = "
namespace: {create: true}
image: {pullSecrets: [one]}
agent: {resourceQuota: true, affinity: {nodeAffinity: {}}}
webhook: {tolerations: [{operator: Exists}]}
certManager: {enabled: true}
";

#[test]
fn kubernetes_1_29_to_1_37_know_every_field() -> Result<()> {
    if Machine::with(&[Need::Tools]).is_none() {
        return Ok(());
    }
    let folder = TempDir::with_prefix("procview-test-")?;
    let mut files = vec![repository("deploy/procview.yaml")];
    let all = rendered(ALL, &["--namespace", "procview"])?;
    // Not Kubernetes' own: it has no schema of these.
    let known = |object: &&Value| {
        let group = object["apiVersion"].as_str().unwrap_or_default();
        !group.starts_with("cert-manager.io/")
    };
    for (index, object) in all.iter().filter(known).enumerate() {
        let file = folder.path().join(format!("{index}.json"));
        fs::write(&file, object.to_string())?;
        files.push(file);
    }
    let validate = |minor: u32| {
        let mut command = Command::new(tool("kubernetes-validate")?);
        command.args(["--strict", "--quiet", "-k", &format!("1.{minor}")]);
        output(command.args(&files))
    };
    // On as many CPUs as most machines have.
    let versions: Vec<_> = VERSIONS.collect();
    for pair in versions.chunks(2) {
        thread::scope(|scope| {
            let threads: Vec<_> = pair
                .iter()
                .map(|minor| scope.spawn(|| validate(*minor)))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                let result = thread.join().map_err(|_| anyhow!("a panic"))?;
                result.map(drop)
            })
        })?;
    }
    Ok(())
}
