//! The cgroups of a container: kernel files to the parts of a view.
//!
//! Each controller lives in a v1 or in the v2 hierarchy; `v1` and `v2` mirror each other file by
//! file, and [`Cgroup`] asks the right one. A chain of directories goes from the container's own
//! cgroup to the one below the root: a limit holds if any of them has it.

mod budget;
mod dir;
mod dirs;
mod layout;
mod memory;
mod v1;
mod v2;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use dir::Dir;
pub(crate) use dir::read_at_once;
pub use dirs::Dirs;
pub use layout::{Layout, LayoutError};
use procview::account::CpuTime;
use procview::file::Resource;
use procview::memory::{HugePages, MemoryLevel, MemoryStat};
use procview::parse::{CpuList, DiskIo};

/// The controllers a view draws on, by their v1 names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Memory and swap.
    Memory,
    /// CPU quota.
    Cpu,
    /// CPU time.
    Cpuacct,
    /// Which CPUs.
    Cpuset,
    /// Block I/O, `io` in v2.
    Blkio,
    /// Number of tasks.
    Pids,
    /// Huge pages.
    Hugetlb,
    /// Pressure: the v2 hierarchy itself, wherever the controllers are.
    Unified,
}

impl Controller {
    /// All controllers, in the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::Memory,
        Self::Cpu,
        Self::Cpuacct,
        Self::Cpuset,
        Self::Blkio,
        Self::Pids,
        Self::Hugetlb,
        Self::Unified,
    ];
}

/// The version of the hierarchy that a controller is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// cgroup v1.
    V1,
    /// cgroup v2.
    V2,
}

/// A controller's cgroups of one container, its own first, the one below the root last. Empty
/// if the container is in the root cgroup or the host does not have the controller.
#[derive(Debug, Clone)]
pub struct Chain {
    version: Version,
    /// Whether the first is the container's own. Else only limits hold, and counters are not the
    /// container's.
    is_own: bool,
    dirs: Arc<[Arc<Dir>]>,
}

impl Chain {
    fn none(version: Version) -> Self {
        Self {
            version,
            is_own: false,
            dirs: Arc::new([]),
        }
    }

    /// The container's own cgroup.
    fn own(&self) -> Option<&Arc<Dir>> {
        self.dirs.first().filter(|_| self.is_own)
    }

    /// The list in the innermost cgroup that has a file called `name`, and one that is not empty in it: what
    /// holds in a cgroup holds in those below it.
    fn innermost_list(&self, name: &'static str) -> Option<CpuList> {
        let mut text = Vec::new();
        self.dirs.iter().find_map(|dir| {
            dir.read(name, &mut text).ok()?;
            Some(CpuList::parse(&text)).filter(|list| !list.is_empty())
        })
    }
}

/// Memory as the cgroup files tell it.
#[derive(Debug, Default)]
pub struct MemoryFiles {
    /// Those of the cgroup and its ancestors that have a limit.
    pub levels: Vec<MemoryLevel>,
    /// The container's own counters.
    pub stat: MemoryStat,
    /// The text that they are from, `memory.stat`; empty if there is none.
    pub stat_text: Vec<u8>,
    /// The smallest swap limit in bytes.
    pub swap_limit: Option<u64>,
    /// What is left in bytes of the swap limit that has least left.
    pub swap_left: Option<u64>,
    /// The swap that the container itself uses, bytes.
    pub swap_used: u64,
    /// Huge pages of the default size.
    pub huge_pages: HugePages,
}

/// What the host has, as far as it decides which cgroup files are worth reading.
#[derive(Debug, Clone, Copy)]
pub struct HostMemory {
    /// Whether there is swap.
    pub has_swap: bool,
    /// Huge pages of the default size.
    pub huge_pages: HugePages,
    /// Their size in bytes.
    pub huge_page_bytes: u64,
}

/// The cgroups of one container.
#[derive(Debug)]
pub struct Cgroup {
    /// The one that tells the container: the first that is its own.
    identity: Arc<Dir>,
    /// Whether a runtime made it.
    is_container: bool,
    chains: [Chain; Controller::ALL.len()],
}

impl Cgroup {
    fn new(identity: Arc<Dir>, is_container: bool, chains: [Chain; Controller::ALL.len()]) -> Self {
        Self {
            identity,
            is_container,
            chains,
        }
    }

    fn chain(&self, controller: Controller) -> &Chain {
        &self.chains[controller as usize]
    }

    /// Where it is, for the log.
    pub fn path(&self) -> &Path {
        self.identity.path()
    }

    /// What no other container has, nor a new one that takes the path of a removed one. Threads of a container
    /// can be in different cgroups of some hierarchies, outside of it; threads that are in none are told apart
    /// by all of theirs.
    pub(super) fn key(&self) -> Vec<(PathBuf, u64)> {
        let key = |dir: &Arc<Dir>| (dir.path().to_path_buf(), dir.inode());
        let mut keys: Vec<_> = if self.is_container {
            vec![key(&self.identity)]
        } else {
            self.own().map(key).collect()
        };
        keys.dedup();
        keys
    }

    /// Whether the cgroup was removed, by what is known since the last look at what happened; see
    /// [`Dirs::refresh`].
    pub fn is_gone(&self) -> bool {
        self.identity.is_gone()
    }

    /// Whether it was seen to be removed, without another look.
    pub fn was_gone(&self) -> bool {
        self.identity.was_gone()
    }

    /// The container's own directories, one for each controller that it has a cgroup of.
    pub fn own(&self) -> impl Iterator<Item = &Arc<Dir>> {
        self.chains.iter().filter_map(Chain::own)
    }

    /// Closes the files kept open but for what the tick reads; the next read opens them again.
    pub fn close_files(&self) {
        self.own()
            .for_each(|dir| dir.close_files(&[v1::ACTIVITY, v2::ACTIVITY]));
    }

    /// Limits, usage and counters of memory and swap.
    pub fn memory(&self, now: u64, host: HostMemory) -> MemoryFiles {
        let chain = self.chain(Controller::Memory);
        let mut memory = match chain.version {
            Version::V1 => v1::memory(chain, now, host),
            Version::V2 => v2::memory(chain, now, host),
        };
        if host.huge_pages.total > 0 {
            memory.huge_pages = self.huge_pages(now, host);
        }
        memory
    }

    /// `hugetlb.<size>.{max,current}` (since Linux 5.6) or `hugetlb.<size>.{limit,usage}_in_bytes`. Without a
    /// limit the container shares the host's; without the controller it has none.
    fn huge_pages(&self, now: u64, host: HostMemory) -> HugePages {
        let chain = self.chain(Controller::Hugetlb);
        let bytes = host.huge_page_bytes;
        let files = huge_page_files(chain.version, bytes);
        let Some(((max, current), own)) = files.zip(chain.own()) else {
            return HugePages::default();
        };
        let limits = chain.dirs.iter().filter_map(|dir| dir.limit(max, now));
        let limit = limits.min().map_or(u64::MAX, |limit| limit / bytes);
        let total = limit.min(host.huge_pages.total);
        let used = own.number(current).unwrap_or(0) / bytes;
        HugePages {
            total,
            free: total.saturating_sub(used).min(host.huge_pages.free),
        }
    }

    /// The smallest quota over the container's cgroup and its ancestors, millionths of a CPU.
    pub fn quota(&self, now: u64) -> Option<u64> {
        let chain = self.chain(Controller::Cpu);
        match chain.version {
            Version::V1 => v1::quota(chain, now),
            Version::V2 => v2::quota(chain, now),
        }
    }

    /// The cpuset that is in force.
    pub fn effective_cpus(&self) -> Option<CpuList> {
        let chain = self.chain(Controller::Cpuset);
        match chain.version {
            Version::V1 => v1::effective_cpus(chain),
            Version::V2 => v2::effective_cpus(chain),
        }
    }

    /// The memory nodes that the cpuset in force lets the container use.
    pub fn effective_mems(&self) -> Option<CpuList> {
        let chain = self.chain(Controller::Cpuset);
        match chain.version {
            Version::V1 => v1::effective_mems(chain),
            Version::V2 => v2::effective_mems(chain),
        }
    }

    /// The container's own memory counters by node, where pages have `page` bytes; none if the kernel does
    /// not tell.
    pub fn memory_by_node(&self, page: u64) -> BTreeMap<u32, MemoryStat> {
        let chain = self.chain(Controller::Memory);
        let mut text = Vec::new();
        let read = chain
            .own()
            .map(|dir| dir.read("memory.numa_stat", &mut text));
        match (read, chain.version) {
            (Some(Ok(())), Version::V1) => MemoryStat::by_node_v1(&text, page),
            (Some(Ok(())), Version::V2) => MemoryStat::by_node_v2(&text),
            _ => BTreeMap::new(),
        }
    }

    /// CPU time used by the container and all its descendants.
    pub fn cpu_time(&self) -> CpuTime {
        let chain = self.chain(Controller::Cpuacct);
        match chain.version {
            Version::V1 => v1::cpu_time(chain),
            Version::V2 => v2::cpu_time(chain),
        }
        .unwrap_or_default()
    }

    /// A number that grows whenever a thread of the container runs; read with one system call.
    pub fn activity(&self) -> Option<u64> {
        let chain = self.chain(Controller::Cpuacct);
        match chain.version {
            Version::V1 => v1::activity(chain),
            Version::V2 => v2::activity(chain),
        }
    }

    /// Block I/O by device.
    pub fn disks(&self) -> Vec<DiskIo> {
        let chain = self.chain(Controller::Blkio);
        match chain.version {
            Version::V1 => v1::disks(chain),
            Version::V2 => v2::disks(chain),
        }
    }

    /// The number of threads in the container and its descendants (pids controller).
    pub fn thread_count(&self) -> Option<u64> {
        self.chain(Controller::Pids).own()?.number("pids.current")
    }

    /// The container's pressure directory in the v2 hierarchy, if it has one of its own.
    pub fn pressure(&self) -> Option<&Arc<Dir>> {
        self.chain(Controller::Unified).own()
    }

    /// The directory below which the container's threads are to be found.
    pub fn tasks(&self) -> Option<(&Arc<Dir>, &'static str)> {
        let by = |controller| {
            let chain: &Chain = self.chain(controller);
            let file = match chain.version {
                Version::V1 => "tasks",
                Version::V2 => "cgroup.threads",
            };
            chain.own().map(|dir| (dir, file))
        };
        by(Controller::Cpuacct)
            .or_else(|| by(Controller::Cpu))
            .or_else(|| by(Controller::Memory))
            .or_else(|| by(Controller::Unified))
    }
}

/// The file in a v2 cgroup that holds `resource`'s pressure.
pub fn pressure_file(resource: Resource) -> &'static str {
    match resource {
        Resource::Cpu => "cpu.pressure",
        Resource::Io => "io.pressure",
        Resource::Irq => "irq.pressure",
        Resource::Memory => "memory.pressure",
    }
}

/// The files that limit and count huge pages of `bytes`, a size that some architecture has.
fn huge_page_files(version: Version, bytes: u64) -> Option<(&'static str, &'static str)> {
    macro_rules! files {
        ($size:literal) => {
            match version {
                Version::V1 => (
                    concat!("hugetlb.", $size, ".limit_in_bytes"),
                    concat!("hugetlb.", $size, ".usage_in_bytes"),
                ),
                Version::V2 => (
                    concat!("hugetlb.", $size, ".max"),
                    concat!("hugetlb.", $size, ".current"),
                ),
            }
        };
    }
    Some(match bytes >> 10 {
        64 => files!("64KB"),
        1024 => files!("1MB"),
        2048 => files!("2MB"),
        32_768 => files!("32MB"),
        524_288 => files!("512MB"),
        1_048_576 => files!("1GB"),
        16_777_216 => files!("16GB"),
        _ => return None,
    })
}
