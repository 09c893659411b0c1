//! What is in a cluster, by kubectl.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::Write as _;
use std::process::{Output, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Cluster;
use crate::machine::PATIENCE;

impl Cluster {
    /// What kubectl prints.
    ///
    /// # Errors
    /// If it fails, with what it says.
    pub fn kubectl<A: AsRef<OsStr> + Debug>(&self, arguments: &[A]) -> Result<String> {
        let output = self.run_kubectl(arguments, "")?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What kubectl prints, given something on standard input; and its warnings.
    ///
    /// # Errors
    /// As for [`Self::kubectl`].
    pub fn kubectl_with<A: AsRef<OsStr> + Debug>(
        &self,
        arguments: &[A],
        input: &str,
    ) -> Result<(String, String)> {
        let output = self.run_kubectl(arguments, input)?;
        let warnings = String::from_utf8(output.stderr)?;
        Ok((String::from_utf8(output.stdout)?, warnings))
    }

    fn run_kubectl<A: AsRef<OsStr> + Debug>(&self, arguments: &[A], input: &str) -> Result<Output> {
        let mut kubectl = self
            .command(self.bin.join("kubectl"))
            // Its user's settings and what it remembers of other clusters stay out of this.
            .env("KUBECONFIG", self.kubeconfig())
            .env("KUBECACHEDIR", self.state.join("kubectl"))
            .env("KUBERC", "off")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = kubectl.stdin.take().context("no standard input")?;
        let input = input.to_owned();
        let feeder = thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = kubectl.wait_with_output()?;
        // It may have failed before it read all.
        let _ = feeder.join();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl {arguments:?}: {}", said.trim());
        }
        Ok(output)
    }

    /// Applies manifests.
    ///
    /// # Errors
    /// If one is refused.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.kubectl_with(&["apply", "-f", "-"], manifests)?;
        Ok(())
    }

    /// An object, as `kubectl get ARGUMENTS` names it.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [&["get", "-o", "json"], arguments].concat();
        let text = self.kubectl(&arguments)?;
        serde_json::from_str(&text).context(text)
    }

    /// Makes a namespace with labels, and waits until pods can be made in it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn namespace(&self, name: &str, labels: &[&str]) -> Result<()> {
        self.kubectl(&["create", "namespace", name])?;
        if !labels.is_empty() {
            let arguments = [&["label", "namespace", name], labels].concat();
            self.kubectl(&arguments)?;
        }
        // Both are made by controllers, and no pod is admitted without the first.
        let objects = ["serviceaccount/default", "configmap/kube-root-ca.crt"];
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let arguments = [
            &["wait", "--for=create", "-n", name, &timeout][..],
            &objects,
        ]
        .concat();
        self.kubectl(&arguments)?;
        Ok(())
    }

    /// An answer of the API server to GET, by its path.
    ///
    /// # Errors
    /// If it refuses.
    pub fn get_raw(&self, path: &str) -> Result<Value> {
        let text = self.kubectl(&["get", "--raw", path])?;
        serde_json::from_str(&text).context(text)
    }

    /// Puts an object to a path, such as that of a subresource, and gives the answer.
    ///
    /// # Errors
    /// If it is refused.
    pub fn put_raw(&self, path: &str, object: &Value) -> Result<Value> {
        let arguments = ["replace", "--raw", path, "-f", "-"];
        let (text, _) = self.kubectl_with(&arguments, &object.to_string())?;
        serde_json::from_str(&text).context(text)
    }
}
