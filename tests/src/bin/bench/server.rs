//! The servers compared: start, CPU time, memory, end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Files beside the mount.
const LOG: &str = "log";
const PID: &str = "pid";

/// A server and its mount. Dropping it ends both.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    mount: PathBuf,
    scratch: PathBuf,
}

impl Server {
    /// Starts the agent at `path`.
    pub(crate) fn agent(path: &Path) -> Result<Self> {
        Self::start(|_, mount| {
            let mut command = Command::new(path);
            command.arg("serve").arg("--view").arg(mount);
            command
        })
    }

    /// Starts lxcfs with all it has: load averages, and CPUs by quota.
    pub(crate) fn lxcfs() -> Result<Self> {
        Self::start(|scratch, mount| {
            let mut command = Command::new("lxcfs");
            command
                .args(["-l", "--enable-cfs", "-p"])
                .arg(scratch.join(PID))
                .arg(mount);
            command
        })
    }

    fn start(command: impl FnOnce(&Path, &Path) -> Command) -> Result<Self> {
        let scratch = tempfile::Builder::new()
            .prefix("procview-bench-")
            .tempdir()?
            .keep();
        let mount = scratch.join("mount");
        fs::create_dir(&mount)?;
        let log = scratch.join(LOG);
        let mut command = command(&scratch, &mount);
        command
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        let child = crate::spawn(&mut command)?;
        let mut server = Self {
            child,
            mount,
            scratch,
        };
        let deadline = Instant::now() + PATIENCE;
        while !server.mount.join("proc/meminfo").exists() {
            let ended = server.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let text = fs::read_to_string(&log).unwrap_or_default();
                bail!("{} does not serve: {text}", command.get_program().display());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Where its files are.
    pub(crate) fn mount(&self) -> &Path {
        &self.mount
    }

    /// The threads that do the work of a read, as arguments of strace: of the agent those that
    /// answer FUSE, since its tick reads a busy container's threads; of others all, old and new.
    pub(crate) fn traced(&self) -> Result<Vec<String>> {
        let threads = self.threads()?.into_iter();
        let serving = threads.filter(|(_, name)| name.starts_with("fuser-"));
        let mut arguments: Vec<_> = serving
            .flat_map(|(task, _)| ["-p".to_owned(), task])
            .collect();
        if arguments.is_empty() {
            arguments = vec!["-f".to_owned(), "-p".to_owned(), self.pid().to_string()];
        }
        Ok(arguments)
    }

    /// Numbers and names of its threads.
    fn threads(&self) -> Result<Vec<(String, String)>> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let task = entry?.path();
            let name = fs::read_to_string(task.join("comm"))?;
            let number = task.file_name().unwrap_or_default().to_string_lossy();
            threads.push((number.into_owned(), name.trim_end().to_owned()));
        }
        Ok(threads)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all its threads, ended ones included, in nanoseconds.
    pub(crate) fn cpu_nanos(&self) -> Result<u64> {
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(self.pid())?))
            .context("the server ended")?;
        let time = clock_gettime(clock)?;
        Ok(u64::try_from(time.tv_sec())? * 1_000_000_000 + u64::try_from(time.tv_nsec())?)
    }

    /// CPU time of its thread called `name`, in nanoseconds.
    pub(crate) fn thread_cpu_nanos(&self, name: &str) -> Result<u64> {
        let threads = self.threads()?;
        let (task, _) = threads
            .iter()
            .find(|(_, own)| own == name)
            .with_context(|| format!("the server has no thread called {name}"))?;
        let text = fs::read_to_string(format!("/proc/{}/task/{task}/schedstat", self.pid()))
            .context("this kernel counts no CPU time of threads (CONFIG_SCHED_INFO)")?;
        let nanos = text.split(' ').next().unwrap_or_default();
        Ok(nanos.parse()?)
    }

    /// A number of KiB in one of its files in `/proc`.
    pub(crate) fn kib(&self, file: &str, key: &str) -> Result<u64> {
        let path = format!("/proc/{}/{file}", self.pid());
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        text.lines()
            .find_map(|line| {
                line.strip_prefix(key)?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .with_context(|| format!("no {key} in {path}"))
    }

    /// How many files it has open.
    pub(crate) fn open_files(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.pid()) {
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
        let _ = umount2(&self.mount, MntFlags::MNT_DETACH);
        // One by one: what removes recursively would go into a mount that is still there, and
        // that of lxcfs holds the host's cgroups.
        for file in [LOG, PID] {
            let _ = fs::remove_file(self.scratch.join(file));
        }
        let removed = fs::remove_dir(&self.mount).and_then(|()| fs::remove_dir(&self.scratch));
        if let Err(error) = removed {
            eprintln!("bench: {} stays: {error}", self.scratch.display());
        }
    }
}
