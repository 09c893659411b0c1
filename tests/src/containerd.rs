//! A containerd of its own, and containers that it makes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

use crate::agent::pid_of;
use crate::cgroup::{Group, Limits, Pod, container_id};
use crate::container::{Rootfs, config};
use crate::machine::{Machine, read, wait_for};

/// A running containerd with its own folders and sockets. Dropping it ends it.
#[derive(Debug)]
pub struct Containerd {
    child: Child,
    scratch: TempDir,
}

/// A running container, made by way of containerd and its shim. Dropping it deletes it.
#[derive(Debug)]
pub struct Task<'a> {
    containerd: &'a Containerd,
    id: String,
    group: Group,
    _rootfs: Rootfs,
}

impl Containerd {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// If it does not; with its log.
    pub fn start() -> Result<Self> {
        // A short path: sockets' names have 107 characters at most.
        let scratch = tempfile::Builder::new()
            .prefix("procview-ctrd-")
            .tempdir_in("/run")?;
        let file = |name: &str| scratch.path().join(name);
        // Neither CRI nor images are needed, and tracing waits for a collector.
        let config = format!(
            "version = 2
root = {:?}
state = {:?}
disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\", \
             \"io.containerd.tracing.processor.v1.otlp\"]
[grpc]
address = {:?}
[ttrpc]
address = {:?}
",
            file("root"),
            file("state"),
            file("socket"),
            file("ttrpc")
        );
        fs::write(file("config.toml"), config)?;
        let log = File::create(file("log"))?;
        let child = Command::new("containerd")
            .arg("--config")
            .arg(file("config.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start containerd")?;
        let mut containerd = Self { child, scratch };
        wait_for("containerd to answer", || {
            if let Some(status) = containerd.child.try_wait()? {
                bail!("it ended with {status}");
            }
            Ok(containerd.ctr(&["version".into()]).ok())
        })
        .with_context(|| containerd.log())?;
        Ok(containerd)
    }

    /// Starts a container in the pod, with the files of the view if there is one.
    ///
    /// # Errors
    /// If containerd refuses; with what it says.
    pub fn run(
        &self,
        machine: &Machine,
        pod: &Pod,
        limits: &Limits,
        view: Option<&Path>,
    ) -> Result<Task<'_>> {
        let id = container_id();
        let group = pod.container_to_be(&id);
        let rootfs = Rootfs::new(machine)?;
        let spec = rootfs.file("config.json");
        let config = config(&rootfs.path(), &group, limits, view);
        fs::write(&spec, config.to_string())?;
        let spec = spec.display().to_string();
        let arguments = ["run", "--detach", "--config", &spec, &id].map(str::to_owned);
        let task = Task {
            containerd: self,
            id,
            group,
            _rootfs: rootfs,
        };
        self.ctr(&arguments).with_context(|| self.log())?;
        Ok(task)
    }

    fn ctr(&self, arguments: &[String]) -> Result<String> {
        // To files: the shim keeps what ctr was given, and a pipe would have no end.
        let file = |name: &str| self.scratch.path().join(name);
        let (out, err) = (unique(&file("out")), unique(&file("err")));
        let status = Command::new("ctr")
            .arg("--address")
            .arg(file("socket"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .status()
            .context("cannot run ctr")?;
        let text = read(&out)?;
        if !status.success() {
            bail!(
                "ctr {}: {status}: {text}{}",
                arguments.join(" "),
                read(&err)?
            );
        }
        Ok(text)
    }

    fn log(&self) -> String {
        read(self.scratch.path().join("log")).unwrap_or_else(|error| format!("{error:#}"))
    }
}

impl Task<'_> {
    /// Runs a shell command in it and gives what it prints.
    ///
    /// # Errors
    /// If it fails; with what it says.
    pub fn exec(&self, script: &str) -> Result<String> {
        let exec = container_id();
        let arguments = [
            "task",
            "exec",
            "--exec-id",
            &exec,
            &self.id,
            "sh",
            "-c",
            script,
        ];
        self.containerd.ctr(&arguments.map(str::to_owned))
    }

    /// Its cgroup.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        let ctr = |words: &[&str]| {
            let mut arguments: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
            arguments.push(self.id.clone());
            self.containerd.ctr(&arguments)
        };
        // What fails here is not there. A task is only gone some time after it was killed.
        let delete = || ctr(&["task", "delete", "--force"]).ok();
        if ctr(&["task", "kill", "--signal", "SIGKILL"]).is_ok() {
            let _ = wait_for("a container to end", || Ok(delete()));
        } else {
            let _ = delete();
        }
        let _ = ctr(&["container", "delete"]);
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Nothing is left to do where these fail.
        let _ = kill(pid_of(&self.child), Signal::SIGTERM);
        if wait_for("containerd to end", || Ok(self.child.try_wait()?)).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A name that no other call uses.
fn unique(path: &Path) -> PathBuf {
    path.with_extension(container_id())
}
