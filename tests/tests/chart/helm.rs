//! Rendering by both helms.

use std::io::Write as _;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use procview_tests::manifest::{objects, output, repository, tool};
use serde_json::Value;
use tempfile::NamedTempFile;

/// 4 and 3.
pub(crate) const HELMS: [&str; 2] = ["helm", "helm3"];

/// What a helm prints of the chart with some values, given as YAML.
pub(crate) fn template(helm: &str, values: &str, arguments: &[&str]) -> Result<String> {
    let mut file = NamedTempFile::new()?;
    file.write_all(values.as_bytes())?;
    let mut command = Command::new(tool(helm)?);
    command
        .args(["template", "procview"])
        .arg(repository("charts/procview"))
        .arg("--values")
        .arg(file.path())
        .args(arguments);
    output(&mut command)
}

/// The objects of the chart with some values, which must be the same by both helms.
pub(crate) fn rendered(values: &str, arguments: &[&str]) -> Result<Vec<Value>> {
    let [four, three] = HELMS.map(|helm| {
        let text = template(helm, values, arguments)?;
        let mut objects =
            objects(&text).with_context(|| format!("{helm} with {values}: {text}"))?;
        // Each has an own place for kinds that it does not know.
        objects.sort_by_cached_key(|object| format!("{} {}", object["kind"], object["metadata"]));
        anyhow::Ok(objects)
    });
    let (four, three) = (four?, three?);
    ensure!(four == three, "helm 3 and 4 differ with {values}");
    Ok(four)
}
