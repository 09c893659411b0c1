//! Plain processes in a cgroup: to a view they are a container, and they cost next to nothing.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cgroup::Group;

/// A command line that enters the group before it becomes the program.
fn command<S: AsRef<OsStr>>(group: &Group, arguments: &[S]) -> Command {
    let mut script = String::new();
    for file in group.procs() {
        // 0 is the writer itself.
        script.push_str(&format!("echo 0 > '{}' || exit 125; ", file.display()));
    }
    script.push_str("exec \"$@\"");
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).arg("sh").args(arguments);
    command
}

/// Runs a program in the group and gives what it prints.
///
/// # Errors
/// If it cannot run or fails; with what it says.
pub fn run_in<S: AsRef<OsStr>>(group: &Group, arguments: &[S]) -> Result<String> {
    let output = command(group, arguments).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let name = arguments.first().map_or(OsStr::new(""), AsRef::as_ref);
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} in {}: {}: {text}{said}",
            name.display(),
            group.path(),
            output.status
        );
    }
    Ok(text)
}

/// What a reader in the group finds in a file.
///
/// # Errors
/// If it cannot read it.
pub fn read_in(group: &Group, path: impl AsRef<OsStr>) -> Result<String> {
    run_in(group, &[OsStr::new("cat"), path.as_ref()])
}

/// A program that runs in a group until this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it, with a pipe as its standard input.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start<S: AsRef<OsStr>>(group: &Group, arguments: &[S]) -> Result<Self> {
        let child = command(group, arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start a process in a group")?;
        let process = Self { child };
        crate::machine::wait_for("a process to enter its group", || {
            Ok(group.holds(process.pid())?.then_some(()))
        })?;
        Ok(process)
    }

    /// Starts a process that waits.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn idle(group: &Group) -> Result<Self> {
        Self::start(group, &["sleep", "1000000"])
    }

    /// Starts a process that uses one CPU.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn busy(group: &Group) -> Result<Self> {
        Self::start(group, &["sh", "-c", "while :; do :; done"])
    }

    /// Its number on the host.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input.
    ///
    /// # Errors
    /// If it does not take it.
    pub fn say(&mut self, text: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("no standard input")?;
        stdin.write_all(text.as_bytes())?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
