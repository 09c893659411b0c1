//! The nodes of a cluster: where its containers run.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Cluster;
use crate::machine::{Need, rig};

/// A node of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// This machine in namespaces of the cluster's, with its cgroups: v1 where those are.
    Host,
    /// An emulated machine with cgroup v2. All there takes many times as long.
    Guest,
}

impl Node {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Host, Self::Guest];

    /// What a machine needs for a cluster of both.
    pub const NEEDS: [Need<'static>; 5] = [
        Need::Root,
        Need::Go,
        Need::Program("openssl"),
        Need::Program("patchelf"),
        Need::Program("qemu-img"),
    ];

    /// Its name in the cluster.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "node1",
            Self::Guest => "node2",
        }
    }
}

/// What can be done to a node, from outside the cluster.
#[derive(Debug, Clone, Copy)]
pub struct NodeHandle<'a> {
    cluster: &'a Cluster,
    node: Node,
}

impl Cluster {
    /// A node that the cluster was started with.
    #[must_use]
    pub fn node(&self, node: Node) -> NodeHandle<'_> {
        NodeHandle {
            cluster: self,
            node,
        }
    }

    /// Imports an image from an archive into all nodes.
    ///
    /// # Errors
    /// If a node does not take it.
    pub fn load(&self, image: &Path) -> Result<()> {
        let mut script = self.script();
        script.arg("load").arg(image);
        let what = format!("loading {}", image.display());
        run(script, &what).map(drop)
    }

    /// What a command prints that runs in a container of a pod.
    ///
    /// # Errors
    /// If it fails, with what it says.
    pub fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
    ) -> Result<String> {
        let arguments = ["exec", "-n", namespace, pod, "-c", container, "--"];
        self.kubectl(&[&arguments, command].concat())
    }

    /// The script that knows the nodes.
    fn script(&self) -> Command {
        let mut script = Command::new(rig("cluster.sh"));
        script.env("PROCVIEW_CLUSTER", &self.state);
        script
    }
}

impl NodeHandle<'_> {
    /// What a shell command prints that runs on the node as root.
    ///
    /// # Errors
    /// If it fails, with what it says.
    pub fn sh(&self, command: &str) -> Result<String> {
        self.script("sh", &[command])
    }

    /// Stops the kubelet; containers go on.
    ///
    /// # Errors
    /// If it cannot be stopped.
    pub fn stop_kubelet(&self) -> Result<()> {
        self.service("stop", "kubelet")
    }

    /// Starts the kubelet, and does not wait for what it says.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_kubelet(&self) -> Result<()> {
        self.service("start", "kubelet")
    }

    /// Stops containerd; containers go on.
    ///
    /// # Errors
    /// If it cannot be stopped.
    pub fn stop_containerd(&self) -> Result<()> {
        self.service("stop", "containerd")
    }

    /// Starts containerd, which answers then.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_containerd(&self) -> Result<()> {
        self.service("start", "containerd")
    }

    /// Ends all that runs on the node and all its mounts, and starts it again with its disk: the
    /// guest truly boots. Then the API server knows that the containers from before have ended.
    ///
    /// # Errors
    /// If it does not come back.
    pub fn reboot(&self) -> Result<()> {
        self.script("reboot", &[]).map(drop)
    }

    fn service(&self, what: &str, name: &str) -> Result<()> {
        self.script("service", &[what, name]).map(drop)
    }

    fn script(&self, command: &str, arguments: &[&str]) -> Result<String> {
        let mut script = self.cluster.script();
        script.arg(command).arg(self.node.name()).args(arguments);
        let words = arguments.join(" ");
        run(script, &format!("{command} {} {words}", self.node.name()))
    }
}

/// What it prints.
fn run(mut command: Command, what: &str) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run cluster.sh for {what}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{what}: {}: {text}{}", output.status, said.trim());
    }
    Ok(text)
}
