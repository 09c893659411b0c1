//! The agent that is measured.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long it may take to start and to end; emulated guests are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running agent. Dropping it ends it and takes its mount away.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    view: PathBuf,
    log: PathBuf,
    _scratch: TempDir,
}

impl Agent {
    /// Starts the program at `path` and waits until its view is there.
    pub(crate) fn start(path: &Path) -> Result<Self> {
        let scratch = tempfile::Builder::new()
            .prefix("procview-fidelity-")
            .tempdir()?;
        let view = scratch.path().join("view");
        let log = scratch.path().join("log");
        let child = Command::new(path)
            .arg("serve")
            .arg("--view")
            .arg(&view)
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", path.display()))?;
        let mut agent = Self {
            child,
            view,
            log,
            _scratch: scratch,
        };
        let deadline = Instant::now() + PATIENCE;
        while !agent.view.join("proc/meminfo").exists() {
            agent.check()?;
            if Instant::now() > deadline {
                bail!("the agent serves no view:\n{}", agent.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(agent)
    }

    /// The directory of the view.
    pub(crate) fn view(&self) -> &Path {
        &self.view
    }

    /// Whether it still runs.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the agent ended, {status}:\n{}", self.log()),
            None => Ok(()),
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It may have ended already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        // Only if it did not do both itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = umount2(&self.view, MntFlags::MNT_DETACH);
    }
}
