//! What is shipped for clusters, and the programs that check it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::machine::{read, rig};

/// A file of this repository.
#[must_use]
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The objects of `deploy/procview.yaml`.
///
/// # Errors
/// If it cannot be read.
pub fn shipped() -> Result<Vec<Value>> {
    objects(&read(repository("deploy/procview.yaml"))?)
}

/// The objects of a text of YAML documents.
///
/// # Errors
/// If it is no YAML.
pub fn objects(manifests: &str) -> Result<Vec<Value>> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(manifests).context("no YAML")?;
    Ok(objects
        .into_iter()
        .filter(|object| !object.is_null())
        .collect())
}

/// Objects as one manifest.
#[must_use]
pub fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// What kind of object it is.
#[must_use]
pub fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// What `tests/rig/tools.sh` provides: helm, helm3, kubernetes-validate, hadolint.
///
/// # Errors
/// If it cannot be had.
pub fn tool(name: &str) -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let made = Command::new(rig("tools.sh"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("tools.sh: {error}"))?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).trim().to_owned());
        }
        Ok(PathBuf::from(String::from_utf8_lossy(&made.stdout).trim()))
    });
    let folder = folder.as_ref().map_err(|error| anyhow!("{error}"))?;
    Ok(folder.join(name))
}

/// What a program prints.
///
/// # Errors
/// If it fails, with what it says.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let out = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {out}{}", error.trim());
    }
    Ok(out)
}
