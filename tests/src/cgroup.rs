//! Cgroups as deep as Kubernetes makes them, the same on v1 and v2.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use self::layout::Layout;
pub use self::tree::Tree;
use crate::machine::{read, wait_for};

mod layout;
mod tree;

/// The period of every CPU quota, in microseconds.
pub const PERIOD: u64 = 100_000;

/// What a group may use; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of swap. On v1 it needs `memory` as well.
    pub swap: Option<u64>,
    /// CPUs by quota.
    pub cpus: Option<f64>,
    /// The CPUs, as a list.
    pub cpuset: Option<String>,
}

impl Limits {
    /// The CPUs as microseconds of CPU time in every [`PERIOD`].
    #[must_use]
    pub fn quota(&self) -> Option<u64> {
        // Far below 2^53, and whole but for rounding.
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        #[allow(clippy::cast_sign_loss)]
        self.cpus.map(|cpus| (cpus * PERIOD as f64).round() as u64)
    }
}

/// A pod's cgroup, at a path like Kubernetes'. Dropping it kills what runs in it and removes it.
#[derive(Debug)]
pub struct Pod {
    group: Group,
    _tree: Tree,
}

/// One cgroup, in every hierarchy.
#[derive(Debug, Clone)]
pub struct Group {
    layout: Layout,
    path: String,
}

impl Pod {
    /// Makes a pod of its own.
    ///
    /// # Errors
    /// If the cgroups cannot be made.
    pub fn new(layout: &Layout) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("procview-test-{}-{number}", std::process::id());
        let tree = Tree::new(layout, &name)?;
        let group = tree
            .top()
            .child("kubepods/burstable/pod3f1c9a52-6d0e-4c11-9a3e-0f6f3c1d2b77");
        let pod = Self { group, _tree: tree };
        pod.group.make()?;
        Ok(pod)
    }

    /// The pod's own group, which holds its containers'.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The group of a container, not yet made: runtimes make it themselves.
    #[must_use]
    pub fn container_to_be(&self, id: &str) -> Group {
        self.group.child(id)
    }

    /// Makes the group of a container.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn container(&self, limits: &Limits) -> Result<Group> {
        let group = self.group.child(&container_id());
        group.make()?;
        group.set(limits)?;
        Ok(group)
    }
}

impl Group {
    /// The root group, whose processes see the machine itself.
    #[must_use]
    pub fn root(layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
            path: String::new(),
        }
    }

    /// The path below the root of each hierarchy.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The group of that name in this one, not made.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        Self {
            layout: self.layout.clone(),
            path: format!("{}/{name}", self.path),
        }
    }

    /// Makes it and all above it.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn make(&self) -> Result<()> {
        for tree in self.layout.trees() {
            let mut dir = tree;
            for name in self.path.split('/').filter(|name| !name.is_empty()) {
                if self.layout == Layout::V2 {
                    hand_out_controllers(&dir)?;
                }
                let parent = dir.clone();
                dir.push(name);
                if dir.exists() {
                    continue;
                }
                fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    // v1 takes no process before these are set; on v2 they are inherited.
                    if self.layout != Layout::V2 && dir.join(file).exists() {
                        write(&dir.join(file), read(parent.join(file))?.trim())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sets limits.
    ///
    /// # Errors
    /// If the kernel refuses, or has no such limit.
    pub fn set(&self, limits: &Limits) -> Result<()> {
        let Limits {
            memory,
            swap,
            cpus: _,
            cpuset,
        } = limits;
        if let Some(quota) = limits.quota() {
            match self.layout {
                Layout::V2 => self.write("cpu", "cpu.max", &format!("{quota} {PERIOD}"))?,
                Layout::V1(_) => {
                    self.write("cpu", "cpu.cfs_period_us", &PERIOD.to_string())?;
                    self.write("cpu", "cpu.cfs_quota_us", &quota.to_string())?;
                }
            }
        }
        if let Some(cpuset) = cpuset {
            self.write("cpuset", "cpuset.cpus", cpuset)?;
        }
        match self.layout {
            Layout::V2 => {
                if let Some(memory) = memory {
                    self.write("memory", "memory.max", &memory.to_string())?;
                }
                if let Some(swap) = swap {
                    self.write("memory", "memory.swap.max", &swap.to_string())?;
                }
            }
            Layout::V1(_) => self.set_memory_v1(*memory, *swap)?,
        }
        Ok(())
    }

    fn set_memory_v1(&self, memory: Option<u64>, swap: Option<u64>) -> Result<()> {
        let Some(memory) = memory else {
            if swap.is_some() {
                bail!("on cgroup v1 a swap limit needs a memory limit");
            }
            return Ok(());
        };
        // The limit with swap must never be below the one without: which is first depends on
        // whether they go up or down.
        let both = memory + swap.unwrap_or(0);
        let set_both = || match swap {
            Some(_) => self.write("memory", "memory.memsw.limit_in_bytes", &both.to_string()),
            None => Ok(()),
        };
        let early = set_both();
        self.write("memory", "memory.limit_in_bytes", &memory.to_string())?;
        early.or_else(|_| set_both())
    }

    /// Takes the memory and CPU limits away.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn unlimited(&self) -> Result<()> {
        match self.layout {
            Layout::V2 => {
                self.write("memory", "memory.max", "max")?;
                self.write("cpu", "cpu.max", "max")
            }
            Layout::V1(_) => {
                self.write("memory", "memory.limit_in_bytes", "-1")?;
                self.write("cpu", "cpu.cfs_quota_us", "-1")
            }
        }
    }

    /// Bytes of memory that are charged to it.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn memory_usage(&self) -> Result<u64> {
        let file = match self.layout {
            Layout::V2 => "memory.current",
            Layout::V1(_) => "memory.usage_in_bytes",
        };
        Ok(self.read("memory", file)?.trim().parse()?)
    }

    /// Microseconds of CPU time that it used.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn cpu_usage(&self) -> Result<u64> {
        cpu_usage_at(&self.cpu_usage_file()?)
    }

    /// The file for [`cpu_usage_at`].
    ///
    /// # Errors
    /// If the machine does not have it.
    pub fn cpu_usage_file(&self) -> Result<PathBuf> {
        let (controller, file) = match self.layout {
            Layout::V2 => ("cpu", "cpu.stat"),
            Layout::V1(_) => ("cpuacct", "cpuacct.usage"),
        };
        self.file(controller, file)
    }

    /// Brings a process in.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn add(&self, pid: u32) -> Result<()> {
        let files = self.procs();
        files
            .iter()
            .try_for_each(|file| write(file, &pid.to_string()))
    }

    /// The path of one of its files, in the v2 hierarchy for the controller `unified`.
    ///
    /// # Errors
    /// If there is no such hierarchy.
    pub fn file(&self, controller: &str, file: &str) -> Result<PathBuf> {
        Ok(self.dir(&self.layout.tree(controller)?).join(file))
    }

    /// The layout of the machine.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// One of its files. v2 has one hierarchy and no use for the controller.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, controller: &str, file: &str) -> Result<String> {
        read(self.file(controller, file)?)
    }

    /// Writes one of its files.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn write(&self, controller: &str, file: &str, text: &str) -> Result<()> {
        write(&self.file(controller, file)?, text)
    }

    /// The files to write a process's number to, to bring it in.
    #[must_use]
    pub fn procs(&self) -> Vec<PathBuf> {
        let trees = self.layout.trees();
        let files = trees.iter().map(|tree| self.dir(tree).join("cgroup.procs"));
        files.collect()
    }

    /// Removes it, once its processes have ended, and makes it again at once, as a runtime does that starts a
    /// container anew under its old id.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remake(&self, limits: &Limits) -> Result<()> {
        self.remake_around(limits, || ())
    }

    /// The same, where `end` ends what runs in it.
    ///
    /// # Errors
    /// As for [`remake`](Self::remake).
    pub fn remake_around(&self, limits: &Limits, end: impl FnOnce()) -> Result<()> {
        end();
        for tree in self.layout.trees() {
            wait_for("a cgroup to be removed", || {
                Ok(fs::remove_dir(self.dir(&tree)).is_ok().then_some(()))
            })?;
        }
        self.make()?;
        self.set(limits)
    }

    /// Whether no process is in it.
    ///
    /// # Errors
    /// If the group cannot be read.
    pub fn is_empty(&self) -> Result<bool> {
        for file in self.procs() {
            if !read(file)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same group on a machine that has not the hierarchy called `name`: who enters it stays where he
    /// is there.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self {
            layout: self.layout.without(name),
            path: self.path.clone(),
        }
    }

    /// The files to write a process's number to, to bring it to the root group.
    #[must_use]
    pub fn parent_procs(&self) -> Vec<PathBuf> {
        Self::root(&self.layout).procs()
    }

    /// Whether a process is in it, in every hierarchy.
    ///
    /// # Errors
    /// If the group cannot be read.
    pub fn holds(&self, pid: u32) -> Result<bool> {
        let pid = pid.to_string();
        for file in self.procs() {
            if !read(file)?.lines().any(|line| line == pid) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn dir(&self, tree: &Path) -> PathBuf {
        tree.join(self.path.trim_start_matches('/'))
    }

    /// Kills what runs in it and removes it with all below it.
    fn remove(&self) -> Result<()> {
        for tree in self.layout.trees() {
            let top = self.dir(&tree);
            wait_for("a cgroup to be empty", || {
                for dir in tree_of(&top) {
                    for pid in read(dir.join("cgroup.procs")).unwrap_or_default().lines() {
                        // It may have ended by itself.
                        let _ = kill(Pid::from_raw(pid.parse()?), Signal::SIGKILL);
                    }
                    // Busy until the last process has gone.
                    let _ = fs::remove_dir(dir);
                }
                Ok((!top.exists()).then_some(()))
            })?;
        }
        Ok(())
    }
}

/// Microseconds of CPU time by a group's [`cpu_usage_file`](Group::cpu_usage_file), for a reader
/// that knows its path alone.
///
/// # Errors
/// If the kernel does not tell.
pub fn cpu_usage_at(file: &Path) -> Result<u64> {
    let text = read(file)?;
    let usage = text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "));
    match usage {
        Some(micros) => Ok(micros.parse()?),
        // Nanoseconds of v1.
        None => Ok(text.trim().parse::<u64>()? / 1000),
    }
}

/// An identifier as runtimes make them, of 64 hexadecimal digits.
#[must_use]
pub fn container_id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:032x}{:032x}", std::process::id(), number)
}

fn hand_out_controllers(dir: &Path) -> Result<()> {
    let controllers = read(dir.join("cgroup.controllers"))?;
    let all: Vec<_> = controllers
        .split_whitespace()
        .map(|name| format!("+{name}"))
        .collect();
    write(&dir.join("cgroup.subtree_control"), &all.join(" "))
}

/// The directory and all below it, the deepest first.
fn tree_of(top: &Path) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            dirs.extend(tree_of(&entry.path()));
        }
    }
    dirs.push(top.to_owned());
    dirs
}

fn write(path: &Path, text: &str) -> Result<()> {
    // EBUSY passes when the kernel has moved what is on its way.
    for _ in 0..20 {
        match fs::write(path, text) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                thread::sleep(Duration::from_millis(10));
            }
            other => {
                return other
                    .with_context(|| format!("cannot write {text:?} to {}", path.display()));
            }
        }
    }
    fs::write(path, text).with_context(|| format!("cannot write {text:?} to {}", path.display()))
}
