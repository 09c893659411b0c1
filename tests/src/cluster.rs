//! A real API server, with what makes pods but without nodes: pods are stored, and none runs.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::machine::{read, rig, wait_for};

/// Where a server within the cluster's network can be reached by a Service.
pub const ADDRESS: &str = "10.254.0.1";

/// A control plane in a network and a pid namespace of its own.
///
/// It lives until this value is dropped or the process ends, however that ends: the cluster goes
/// when the other end of its standard input does.
#[derive(Debug)]
pub struct Cluster {
    child: Child,
    /// The first process in the namespaces.
    holder: u32,
    bin: PathBuf,
    state: PathBuf,
}

impl Cluster {
    /// Starts one.
    ///
    /// # Errors
    /// If it does not start, with what it said.
    pub fn start() -> Result<Self> {
        let script = rig("cluster.sh");
        let built = Command::new(&script).arg("build").output()?;
        if !built.status.success() {
            bail!("cluster.sh: {}", String::from_utf8_lossy(&built.stderr));
        }
        let bin = PathBuf::from(String::from_utf8(built.stdout)?.trim());
        // The cluster removes it: nobody drops what is kept for all tests of a process.
        let state = TempDir::with_prefix("procview-cluster-")?.keep();
        let mut child = Command::new(&script)
            .arg("run")
            .arg(&state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        let out = child.stdout.take().context("no standard output")?;
        BufReader::new(out).read_line(&mut said)?;
        if said.trim() != "ready" {
            bail!("the cluster did not start, see {}", state.display());
        }
        let pid = child.id();
        let children = read(format!("/proc/{pid}/task/{pid}/children"))?;
        let holder = children.trim().parse().context(children)?;
        Ok(Self {
            child,
            holder,
            bin,
            state,
        })
    }

    /// A program to be run in the cluster's network.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.holder))
            .arg(program);
        command
    }

    /// The kubeconfig of the administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// A kubeconfig with the rights of a service account.
    ///
    /// # Errors
    /// If it has no token.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let token = self.kubectl(&["create", "token", account, "-n", namespace])?;
        let admin = read(self.kubeconfig())?;
        let begin = admin.find("token: ").context("no token")?;
        let end = begin + admin[begin..].find('}').context("no token")?;
        let text = format!(
            "{}token: \"{}\"{}",
            &admin[..begin],
            token.trim(),
            &admin[end..]
        );
        let path = self.state.join(format!("{namespace}-{account}.kubeconfig"));
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// The end of a component's log.
    #[must_use]
    pub fn log(&self, component: &str) -> String {
        let text = read(self.state.join(format!("{component}.log")));
        let text = text.unwrap_or_else(|error| format!("{error:#}"));
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

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
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
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
        serde_json::from_str(&text).with_context(|| text.clone())
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
        wait_for("the namespace's service account", || {
            Ok(self
                .kubectl(&["get", "serviceaccount", "default", "-n", name])
                .ok())
        })?;
        Ok(())
    }

    /// The folder of the cluster's programs.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.bin
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Closes standard input first.
        let _ = self.child.wait();
    }
}
