//! A real cluster: a control plane, and nodes if a test needs pods to run. Without nodes pods are
//! made by what makes pods, and stored.

mod node;
mod objects;
pub mod pods;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tempfile::TempDir;

pub use node::{Node, NodeHandle};

use crate::machine::{read, rig};

/// Where a server within the cluster's network can be reached, by a Service as well.
pub const ADDRESS: &str = "10.254.0.1";

/// A cluster in a network and a pid namespace of its own.
///
/// It lives until this value is dropped or the process ends, however that ends: the cluster, and
/// whatever else runs in its network, goes when the other end of its standard input does.
#[derive(Debug)]
pub struct Cluster {
    /// It is in the network namespace.
    child: Child,
    bin: PathBuf,
    state: PathBuf,
}

impl Cluster {
    /// Starts a control plane.
    ///
    /// # Errors
    /// If it does not start, with what it said.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts a cluster of these nodes, which are ready then.
    ///
    /// # Errors
    /// If it does not start, with what it said.
    pub fn start_with(nodes: &[Node]) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;

        let script = rig("cluster.sh");
        // A first build takes long and says so.
        let built = Command::new(&script)
            .arg("build")
            .args(nodes.iter().map(|node| node.name()))
            .stderr(Stdio::inherit())
            .output()?;
        if !built.status.success() {
            bail!("cluster.sh cannot build a cluster: see above");
        }
        let bin = PathBuf::from(String::from_utf8(built.stdout)?.trim());
        // The cluster removes it: nobody drops what is kept for all tests of a process.
        let state = TempDir::with_prefix("procview-cluster-")?.keep();
        // A group of its own: a key that interrupts the test ends the cluster by its end of input.
        let mut child = Command::new(&script)
            .arg("run")
            .arg(&state)
            .args(nodes.iter().map(|node| node.name()))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut out = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut err = child.stderr.take().context("no standard error")?;
        let cluster = Self { child, bin, state };
        let mut said = String::new();
        out.read_line(&mut said)?;
        if said.trim() != "ready" {
            err.read_to_string(&mut said)?;
            bail!("the cluster did not start: {said}");
        }
        Ok(cluster)
    }

    /// One for all tests of this process, each in a namespace of its own.
    ///
    /// # Errors
    /// As for [`Self::start`], again for each test.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// As [`Self::shared`], with both nodes.
    ///
    /// # Errors
    /// As for [`Self::start_with`], again for each test.
    pub fn shared_with_nodes() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            Self::start_with(&[Node::Host, Node::Guest]).map_err(|error| format!("{error:#}"))
        });
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// A program to be run in the cluster's network. The child is the program itself, and does
    /// not outlive the cluster.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.child.id()))
            .arg(program)
            // No proxy knows the way in there.
            .envs([("NO_PROXY", "*"), ("no_proxy", "*")]);
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
        fs::write(&path, text)?;
        Ok(path)
    }

    /// What clients of the API server trust, in PEM.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn ca_pem(&self) -> Result<String> {
        read(self.state.join("ca.crt"))
    }

    /// Asks again and again until there is an answer, not as often as costs the cluster its CPUs.
    ///
    /// # Errors
    /// If there is none in time, or as soon as asking fails; with the ends of the logs.
    pub fn wait<T>(
        &self,
        what: &str,
        patience: Duration,
        mut ask: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            match ask() {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(200)),
                Ok(None) => bail!("waited {patience:?} in vain for {what}{}", self.logs()),
                Err(error) => return Err(error.context(format!("{what}{}", self.logs()))),
            }
        }
    }

    /// The end of a component's log.
    #[must_use]
    pub fn log(&self, component: &str) -> String {
        let text = read(self.state.join(format!("{component}.log")));
        let text = text.unwrap_or_else(|error| format!("{error:#}"));
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn logs(&self) -> String {
        ["etcd", "kube-apiserver", "kube-controller-manager"]
            .map(|component| format!("\n==> {component} <==\n{}", self.log(component)))
            .concat()
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
