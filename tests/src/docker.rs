//! A Docker Engine of its own.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

use crate::agent::pid_of;
use crate::cgroup::{Layout, Tree};
use crate::machine::{read, wait_for};

/// The only image: busybox.
pub const IMAGE: &str = "busybox:test";

/// A running dockerd with its own folders, in a mount and a network namespace of its own. Dropping it ends it,
/// and its containers.
#[derive(Debug)]
pub struct Docker {
    child: Child,
    tree: Tree,
    scratch: TempDir,
}

impl Docker {
    /// Starts it and gives it an image. What is mounted now can be mounted into its containers.
    ///
    /// # Errors
    /// If it does not answer; with its log.
    pub fn start(layout: &Layout) -> Result<Self> {
        // A short path: sockets' names have 107 characters at most.
        let scratch = tempfile::Builder::new()
            .prefix("procview-docker-")
            .tempdir_in("/run")?;
        let name = format!("procview-test-docker-{}", std::process::id());
        let tree = Tree::new(layout, &name)?;
        let file = |name: &str| scratch.path().join(name).display().to_string();
        let script = format!(
            "ip link set lo up && mkdir -p /run/docker && mount -t tmpfs docker /run/docker && exec dockerd \
             --data-root {} --exec-root {} --host unix://{} --pidfile {} --iptables=false --ip6tables=false \
             --bridge=none --storage-driver=vfs --cgroup-parent={name}",
            file("data"),
            file("exec"),
            file("socket"),
            file("pid")
        );
        let log = File::create(scratch.path().join("log"))?;
        let child = Command::new("unshare")
            .args(["--mount", "--net", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start dockerd")?;
        let mut docker = Self {
            child,
            tree,
            scratch,
        };
        wait_for("dockerd to answer", || {
            if let Some(status) = docker.child.try_wait()? {
                bail!("it ended with {status}");
            }
            Ok(docker.run(&["version"]).ok())
        })
        .with_context(|| docker.log())?;
        docker.make_image()?;
        Ok(docker)
    }

    fn make_image(&self) -> Result<()> {
        let root = self.scratch.path().join("image");
        fs::create_dir_all(root.join("bin"))?;
        fs::copy("/bin/busybox", root.join("bin/busybox")).context("no busybox-static")?;
        for name in ["sh", "cat", "head", "sleep", "echo", "free", "uptime"] {
            symlink("busybox", root.join("bin").join(name))?;
        }
        let tar = self.scratch.path().join("image.tar");
        let status = Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(&root)
            .arg(".")
            .status()?;
        if !status.success() {
            bail!("tar: {status}");
        }
        self.run(&["import", &tar.display().to_string(), IMAGE])?;
        Ok(())
    }

    /// Runs the docker command and gives what it prints.
    ///
    /// # Errors
    /// If it fails; with what it says.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("docker")
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .context("cannot run docker")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "docker {}: {}: {text}{said}",
                arguments.join(" "),
                output.status
            );
        }
        Ok(text)
    }

    fn socket(&self) -> PathBuf {
        self.scratch.path().join("socket")
    }

    fn log(&self) -> String {
        read(self.scratch.path().join("log")).unwrap_or_else(|error| format!("{error:#}"))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Its containers would outlive it. What fails here is not there.
        if let Ok(ids) = self.run(&["ps", "--all", "--quiet"]) {
            for id in ids.split_whitespace() {
                let _ = self.run(&["rm", "--force", id]);
            }
        }
        let _ = kill(pid_of(&self.child), Signal::SIGTERM);
        if wait_for("dockerd to end", || Ok(self.child.try_wait()?)).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = self.tree.clear();
    }
}
