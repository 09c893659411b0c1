//! Cgroups as deep as Kubernetes makes them, with limits on the levels that Kubernetes limits.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The cgroup that everything lies below. Not `kubepods`: a node's own must not be touched.
const TOP: &str = "procview-bench";

/// Levels that get limits, counted from the one below the root.
const KUBEPODS: usize = 0;
const POD: usize = 2;
const CONTAINER: usize = 4;

/// Limits of the container and its pod.
const MEMORY: u64 = 512 << 20;
const QUOTA_US: u64 = 150_000;
const PERIOD_US: u64 = 100_000;

/// Where a cgroup hierarchy is mounted.
#[derive(Debug)]
struct Hierarchy {
    root: PathBuf,
    is_v2: bool,
}

/// The cgroups of this run. Dropping it kills what runs in them and removes them.
#[derive(Debug)]
pub(crate) struct Tree {
    hierarchies: Vec<Hierarchy>,
}

/// One container's cgroup in every hierarchy.
#[derive(Debug)]
pub(crate) struct Container {
    dirs: Vec<PathBuf>,
}

impl Tree {
    /// Finds the hierarchies. Remains of a run that was killed are removed.
    pub(crate) fn new() -> Result<Self> {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        let hierarchies: Vec<_> = table.lines().filter_map(hierarchy).collect();
        if hierarchies.is_empty() {
            bail!("no cgroup hierarchy is mounted below /sys/fs/cgroup");
        }
        for hierarchy in &hierarchies {
            let top = hierarchy.root.join(TOP);
            if top.exists() {
                remove(&top).with_context(|| {
                    format!("{} is in use: wait for the other run to end", top.display())
                })?;
            }
        }
        Ok(Self { hierarchies })
    }

    /// The layout in words.
    pub(crate) fn describe(&self) -> String {
        let v1 = self.hierarchies.iter().filter(|one| !one.is_v2).count();
        match (v1, self.is_v1()) {
            (0, _) => "v2".to_owned(),
            (_, true) if v1 == self.hierarchies.len() => format!("v1 ({v1} hierarchies)"),
            _ => format!("hybrid: v1 ({v1} hierarchies) and a v2 hierarchy"),
        }
    }

    /// Whether the memory controller, and with it the others, is in a v1 hierarchy.
    pub(crate) fn is_v1(&self) -> bool {
        self.hierarchies.iter().any(|one| !one.is_v2)
    }

    /// Makes the cgroups of container number `index`, in a pod of its own.
    pub(crate) fn container(&self, index: usize) -> Result<Container> {
        let levels = [
            TOP.to_owned(),
            "burstable".to_owned(),
            format!("pod00000000-0000-4000-8000-{index:012x}"),
            "x".to_owned(),
            format!("{index:064x}"),
        ];
        let dirs = self.hierarchies.iter();
        let dirs = dirs
            .map(|hierarchy| hierarchy.make(&levels))
            .collect::<Result<_>>()?;
        Ok(Container { dirs })
    }

    /// Kills what still runs in the cgroups and removes them all.
    pub(crate) fn clear(&self) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let top = hierarchy.root.join(TOP);
            if top.exists() {
                kill_all(&top);
                remove(&top).with_context(|| format!("cannot remove {}", top.display()))?;
            }
        }
        Ok(())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            eprintln!("bench: {error:#}");
        }
    }
}

impl Container {
    /// Moves process `pid` into the container's cgroups.
    pub(crate) fn add(&self, pid: u32) -> Result<()> {
        for dir in &self.dirs {
            set(dir, "cgroup.procs", &pid.to_string())?;
        }
        Ok(())
    }
}

impl Hierarchy {
    /// Makes the cgroup at `levels`, with limits where this hierarchy has the controllers.
    fn make(&self, levels: &[String]) -> Result<PathBuf> {
        let mut dir = self.root.clone();
        for (depth, level) in levels.iter().enumerate() {
            let parent = dir.clone();
            dir.push(level);
            if dir.exists() {
                continue;
            }
            if self.is_v2 {
                delegate(&parent)?;
            }
            fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            if !self.is_v2 {
                // An empty cpuset takes no process.
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    if let Ok(value) = fs::read_to_string(parent.join(file)) {
                        set(&dir, file, value.trim())?;
                    }
                }
            }
            limit(&dir, depth)?;
        }
        Ok(dir)
    }
}

/// Hands the controllers of v2 cgroup `dir` on to its children.
fn delegate(dir: &Path) -> Result<()> {
    let offered = fs::read_to_string(dir.join("cgroup.controllers"))?;
    for controller in ["cpuset", "cpu", "io", "memory", "pids", "hugetlb"] {
        if offered.split_whitespace().any(|word| word == controller) {
            set(dir, "cgroup.subtree_control", &format!("+{controller}"))?;
        }
    }
    Ok(())
}

fn limit(dir: &Path, depth: usize) -> Result<()> {
    let memory = match depth {
        KUBEPODS => Some(total_memory()? / 10 * 9),
        POD | CONTAINER => Some(MEMORY),
        _ => None,
    };
    let set_if_there = |file: &str, value: String| {
        if dir.join(file).exists() {
            set(dir, file, &value)?;
        }
        anyhow::Ok(())
    };
    if let Some(memory) = memory {
        set_if_there("memory.limit_in_bytes", memory.to_string())?;
        set_if_there("memory.max", memory.to_string())?;
    }
    if matches!(depth, POD | CONTAINER) {
        set_if_there("cpu.cfs_period_us", PERIOD_US.to_string())?;
        set_if_there("cpu.cfs_quota_us", QUOTA_US.to_string())?;
        set_if_there("cpu.max", format!("{QUOTA_US} {PERIOD_US}"))?;
    }
    Ok(())
}

/// The host's memory in bytes.
pub(crate) fn total_memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .context("no MemTotal in /proc/meminfo")?;
    Ok(kib << 10)
}

fn set(dir: &Path, file: &str, value: &str) -> Result<()> {
    let path = dir.join(file);
    fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
}

/// A line of mountinfo, if it is a cgroup hierarchy at its usual place.
fn hierarchy(line: &str) -> Option<Hierarchy> {
    let root = PathBuf::from(line.split(' ').nth(4)?);
    let fstype = line.split(" - ").nth(1)?.split(' ').next()?;
    let is_v2 = match fstype {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    root.starts_with("/sys/fs/cgroup")
        .then_some(Hierarchy { root, is_v2 })
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let dirs = entries.flatten().map(|entry| entry.path());
    dirs.filter(|path| path.is_dir()).collect()
}

fn kill_all(dir: &Path) {
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in procs.lines().filter_map(|line| line.parse().ok()) {
        // It may have ended since.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    subdirectories(dir).iter().for_each(|dir| kill_all(dir));
}

/// Removes `dir` and all below it. A process leaves its cgroup some time after it was killed.
fn remove(dir: &Path) -> std::io::Result<()> {
    for below in subdirectories(dir) {
        remove(&below)?;
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match fs::remove_dir(dir) {
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}
