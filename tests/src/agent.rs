//! A running agent.

use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::machine::{built, read, wait_for};

/// A `procview-agent serve` of its own, which says that it is ready. Dropping it ends it.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    scratch: TempDir,
    notify: UnixDatagram,
}

impl Agent {
    /// Starts it with more arguments than `--view` and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or does not get ready; with its log.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_program(&program()?, arguments)
    }

    /// Starts the program at that path as an agent, see [`start`](Self::start).
    ///
    /// # Errors
    /// As there.
    pub fn start_program(program: &Path, arguments: &[&str]) -> Result<Self> {
        let scratch = tempfile::Builder::new()
            .prefix("procview-test-")
            .tempdir()?;
        // As on a node: what is mounted in it later arrives where it is a slave.
        let none = None::<&str>;
        let path = scratch.path();
        mount(Some(path), path, none, MsFlags::MS_BIND, none)?;
        mount(none, path, none, MsFlags::MS_SHARED, none)?;
        let socket = path.join("notify");
        let notify = UnixDatagram::bind(&socket)?;
        notify.set_read_timeout(Some(Duration::from_millis(20)))?;
        let mut agent = Self {
            child: spawn(program, path, arguments)?,
            scratch,
            notify,
        };
        agent.wait_until_ready()?;
        Ok(agent)
    }

    /// Ends the agent and starts another one at the same place.
    ///
    /// # Errors
    /// If one does not end, or the other does not get ready.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.child = spawn(&program()?, self.scratch.path(), &[])?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        wait_for("the agent to be ready", || {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            let mut message = [0; 256];
            match self.notify.recv(&mut message) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default());
                    Ok(text.contains("READY=1").then_some(()))
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error).context("cannot read NOTIFY_SOCKET"),
            }
        })
        .with_context(|| self.log())
    }

    /// What `procview-agent render FILE --pid PID` prints.
    ///
    /// # Errors
    /// If it fails; with what it says.
    pub fn render(file: &str, pid: u32) -> Result<String> {
        let output = Command::new(program()?)
            .args(["render", file, "--pid", &pid.to_string()])
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("render {file} --pid {pid}: {}: {said}", output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The directory of the view.
    #[must_use]
    pub fn view(&self) -> PathBuf {
        self.scratch.path().join("view")
    }

    /// The path of a file of the view, by its path in a container: `/proc/meminfo`.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.view().join(path.trim_start_matches('/'))
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        read(self.scratch.path().join("log")).unwrap_or_else(|error| format!("{error:#}"))
    }

    /// Makes sure that it still runs.
    ///
    /// # Errors
    /// If it has ended; with its log.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the agent ended, {status}:\n{}", self.log()),
            None => Ok(()),
        }
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        kill(pid_of(&self.child), Signal::SIGTERM)?;
        wait_for("the agent to end", || Ok(self.child.try_wait()?)).with_context(|| self.log())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.stop().is_err() {
            // Nothing is left to do where these fail as well.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // Only there if it did not unmount.
        let _ = umount2(&self.view(), MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(self.view());
        let _ = umount2(self.scratch.path(), MntFlags::MNT_DETACH);
    }
}

/// Starts an agent that serves `dir/view`, logs to `dir/log` and tells `dir/notify`.
fn spawn(program: &Path, dir: &Path, arguments: &[&str]) -> Result<Child> {
    Command::new(program)
        .arg("serve")
        .arg("--view")
        .arg(dir.join("view"))
        .args(arguments)
        .env("NOTIFY_SOCKET", dir.join("notify"))
        .stdin(Stdio::null())
        .stderr(File::create(dir.join("log"))?)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

/// The number of a child.
pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// The program under test: `PROCVIEW_AGENT`, or what cargo built beside this test.
///
/// # Errors
/// If there is none.
pub fn program() -> Result<PathBuf> {
    built("procview-agent", "PROCVIEW_AGENT")
}
