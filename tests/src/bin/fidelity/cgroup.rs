//! Cgroups for the containers of this program, in whatever hierarchies the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The cgroup that everything lies below.
const TOP: &str = "procview-fidelity";

/// Eight times the usual: what else the machine does should not keep a busy container from its quota.
const WEIGHTS: [(&str, &str); 2] = [("cpu.shares", "8192"), ("cpu.weight", "800")];

/// The period of every CPU quota.
const PERIOD_US: u64 = 100_000;

/// A mounted hierarchy; v1 has several.
#[derive(Debug, Clone)]
struct Hierarchy {
    root: PathBuf,
    is_v2: bool,
}

/// The cgroups of this run. Dropping it kills what runs in them and removes them.
#[derive(Debug)]
pub(crate) struct Tree {
    hierarchies: Vec<Hierarchy>,
}

/// A container's cgroup in every hierarchy.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    dirs: Vec<PathBuf>,
}

/// The file in which the kernel counts a container's CPU time.
#[derive(Debug, Clone)]
pub(crate) struct CpuUsage {
    path: PathBuf,
}

impl Tree {
    /// Finds the hierarchies; remains of a run that was killed are removed.
    pub(crate) fn new() -> Result<Self> {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        let hierarchies: Vec<_> = table.lines().filter_map(hierarchy).collect();
        if hierarchies.is_empty() {
            bail!("no cgroup hierarchy is mounted below /sys/fs/cgroup");
        }
        let tree = Self { hierarchies };
        for top in tree.tops() {
            remove(&top).with_context(|| {
                format!("{} is in use: wait for the other run to end", top.display())
            })?;
        }
        Ok(tree)
    }

    /// The layout in words.
    pub(crate) fn describe(&self) -> &'static str {
        let v2 = self.hierarchies.iter().filter(|one| one.is_v2).count();
        match (self.hierarchies.len() - v2, v2) {
            (0, _) => "v2",
            (_, 0) => "v1",
            _ => "v1, with a v2 hierarchy that has no controllers (hybrid)",
        }
    }

    /// Makes the cgroup of container `number`, named as a runtime names it: by that the agent
    /// finds it before anybody reads.
    pub(crate) fn container(&self, number: u32) -> Result<Container> {
        self.make(&format!("{number:064x}"))
    }

    /// Makes a cgroup that is no container's.
    pub(crate) fn make(&self, name: &str) -> Result<Container> {
        let dirs = self.hierarchies.iter().map(|hierarchy| {
            let top = hierarchy.make(&hierarchy.root, TOP)?;
            for (file, weight) in WEIGHTS {
                if top.join(file).exists() {
                    write(&top.join(file), weight)?;
                }
            }
            hierarchy.make(&top, name)
        });
        Ok(Container {
            dirs: dirs.collect::<Result<_>>()?,
        })
    }

    fn tops(&self) -> Vec<PathBuf> {
        let tops = self.hierarchies.iter().map(|one| one.root.join(TOP));
        tops.filter(|top| top.exists()).collect()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for top in self.tops() {
            kill_all(&top);
            if let Err(error) = remove(&top) {
                eprintln!("fidelity: cannot remove {}: {error}", top.display());
            }
        }
    }
}

impl Hierarchy {
    fn make(&self, parent: &Path, name: &str) -> Result<PathBuf> {
        let dir = parent.join(name);
        if dir.exists() {
            return Ok(dir);
        }
        if self.is_v2 {
            let offered = fs::read_to_string(parent.join("cgroup.controllers"))?;
            for controller in ["cpuset", "cpu", "io", "memory", "pids"] {
                if offered.split_whitespace().any(|word| word == controller) {
                    let file = parent.join("cgroup.subtree_control");
                    write(&file, &format!("+{controller}"))?;
                }
            }
        }
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        if !self.is_v2 {
            // An empty cpuset takes no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read_to_string(parent.join(file)) {
                    write(&dir.join(file), value.trim())?;
                }
            }
        }
        Ok(dir)
    }
}

impl Container {
    /// Moves process `pid` into the container.
    pub(crate) fn add(&self, pid: u32) -> Result<()> {
        self.dirs
            .iter()
            .try_for_each(|dir| write(&dir.join("cgroup.procs"), &pid.to_string()))
    }

    /// Limits CPU time to `cpus` CPUs, or to what the machine has.
    pub(crate) fn set_quota(&self, cpus: Option<f64>) -> Result<()> {
        let quota = cpus.map(|cpus| (cpus * PERIOD_US as f64) as u64);
        if let Some(v2) = self.file("cpu.max") {
            let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
            return write(&v2, &format!("{quota} {PERIOD_US}"));
        }
        let v1 = self
            .file("cpu.cfs_quota_us")
            .context("the kernel has no CPU quotas")?;
        let quota = quota.map_or("-1".to_owned(), |quota| quota.to_string());
        write(&v1, &quota)
    }

    /// Limits the container to the CPUs in `list`.
    pub(crate) fn set_cpus(&self, list: &str) -> Result<()> {
        let file = self
            .file("cpuset.cpus")
            .context("the kernel has no cpusets")?;
        write(&file, list)
    }

    /// Limits memory.
    pub(crate) fn set_memory(&self, bytes: u64) -> Result<()> {
        let file = self
            .file("memory.max")
            .or_else(|| self.file("memory.limit_in_bytes"));
        let file = file.context("the kernel has no memory controller")?;
        write(&file, &bytes.to_string())
    }

    /// Makes a v1 kernel count the I/O on `device`: it does so only while there is a rule.
    pub(crate) fn count_io(&self, device: &str) -> Result<()> {
        self.file("blkio.throttle.write_bps_device")
            .map_or(Ok(()), |file| {
                write(&file, &format!("{device} 1000000000000"))
            })
    }

    /// Where its CPU time is counted.
    pub(crate) fn cpu_usage(&self) -> Result<CpuUsage> {
        // cpu.stat of v1 has no usage; that of v2 is there in a hybrid layout as well.
        let v1 = self.file("cpuacct.usage");
        let path = v1.or_else(|| self.file("cpu.stat"));
        Ok(CpuUsage {
            path: path.context("the kernel counts no CPU time of cgroups")?,
        })
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        let mut files = self.dirs.iter().map(|dir| dir.join(name));
        files.find(|file| file.exists())
    }
}

impl CpuUsage {
    /// That of the file at `path`.
    pub(crate) fn at(path: &str) -> Self {
        Self { path: path.into() }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// CPU time in microseconds.
    pub(crate) fn micros(&self) -> Result<u64> {
        let text = fs::read_to_string(&self.path)
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        let usage = text
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "));
        Ok(match usage {
            Some(micros) => micros.parse()?,
            None => text.trim().parse::<u64>()? / 1000,
        })
    }
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
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

fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.map(|entry| entry.path());
    dirs.filter(|path| path.is_dir()).collect()
}

fn kill_all(dir: &Path) {
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in procs.lines().filter_map(|line| line.parse().ok()) {
        // It may have ended since.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    below(dir).iter().for_each(|dir| kill_all(dir));
}

/// Removes `dir` and all below it. A process leaves its cgroup some time after it was killed.
fn remove(dir: &Path) -> std::io::Result<()> {
    below(dir).iter().try_for_each(|dir| remove(dir))?;
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
