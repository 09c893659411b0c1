//! Emulated machines with other kernels, in which the same test binaries run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, killpg};
use serde_json::Value;

use crate::agent::{pid_of, program};
use crate::machine::rig;

/// A guest that is to be started.
#[derive(Debug, Clone)]
pub struct Guest<'a> {
    /// As `tests/rig/kernel.sh` names it.
    pub kernel: &'a str,
    /// Its number of CPUs.
    pub cpus: usize,
    /// Megabytes of swap.
    pub swap: Option<u32>,
    /// When to give up.
    pub seconds: u32,
}

impl Guest<'_> {
    /// Runs integration tests of this crate in the guest, with the agent under test.
    ///
    /// # Errors
    /// If a test fails or none runs, with what it printed.
    pub fn run_tests(&self, names: &[&str]) -> Result<()> {
        let payload = tempfile::tempdir()?;
        // Nothing may be left out in there.
        let mut command = "export CI=true TMPDIR=/run PROCVIEW_ROOTFS=/ \
                           PROCVIEW_AGENT=/payload/procview-agent"
            .to_owned();
        for name in names {
            copy(&test_binary(name)?, &payload.path().join(name))?;
            // One after the other: their CPUs are slow.
            command.push_str(&format!(" && ./{name} --test-threads=1 --color=never"));
        }
        copy(&program()?, &payload.path().join("procview-agent"))?;
        let output = self.run(payload.path(), &command)?;
        ensure!(
            passed(&output) == Some(names.len()),
            "not all of {names:?} passed on {}:\n{output}",
            self.kernel
        );
        Ok(())
    }

    /// Boots the guest with a copy of a folder as /payload, and runs a shell command there.
    ///
    /// # Errors
    /// If the command fails, with what it printed.
    pub fn run(&self, payload: &Path, command: &str) -> Result<String> {
        use std::os::unix::process::CommandExt as _;

        let mut guest = Command::new(rig("guest.sh"));
        guest.args(["-k", self.kernel, "-c", &self.cpus.to_string()]);
        guest.args(["-t", &self.seconds.to_string()]);
        if let Some(swap) = self.swap {
            guest.args(["-s", &swap.to_string()]);
        }
        guest.arg("-p").arg(payload).args(["--", command]);
        // A group of its own, so that the emulator ends with the script.
        let child = guest
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run guest.sh")?;
        let group = Group(pid_of(&child));
        let output = child.wait_with_output()?;
        drop(group);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{command} on {}: {}:\n{text}{said}",
                self.kernel,
                output.status
            );
        }
        Ok(text)
    }
}

/// A process group that is not to outlive this value.
struct Group(nix::unistd::Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // Usually nothing is left of it.
        let _ = killpg(self.0, Signal::SIGKILL);
    }
}

/// How many test programs ended well, each with at least one test, if the output ends in that.
fn passed(output: &str) -> Option<usize> {
    let good = |line: &str| {
        let count = line.strip_prefix("test result: ok. ")?;
        let count: u32 = count.split_once(" passed")?.0.parse().ok()?;
        (count > 0).then_some(())
    };
    good(output.lines().rfind(|line| !line.trim().is_empty())?)?;
    Some(output.lines().filter_map(good).count())
}

/// Builds an integration test of this crate if need be, and gives its program.
fn test_binary(name: &str) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["test", "--no-run", "--message-format=json", "--test", name])
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let program = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.with_context(|| format!("cargo built no test {name}"))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::passed;

    #[test]
    fn only_a_good_result_at_the_end_counts() {
        let good = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored\n\n";
        assert_eq!(passed(good), Some(1));
        assert_eq!(passed(&format!("{good}{good}")), Some(2));
        assert_eq!(passed("test result: ok. 0 passed; 0 failed"), None);
        assert_eq!(passed("test result: FAILED. 2 passed; 1 failed"), None);
        assert_eq!(passed("test result: ok. 2 passed; 0 failed\nkilled"), None);
        assert_eq!(passed(""), None);
    }
}
