//! The host's own files, read at most once in a while and parsed once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nix::unistd::{SysconfVar, sysconf};
use procview::file::Resource;
use procview::host::{self, HostCpuinfo, HostDiskstats, HostMeminfo};
use procview::numa::HostNode;
use procview::parse::{CpuList, number};
use procview::render::PageSizes;

use crate::clock;
use crate::lock::lock;

/// How old a host file may be, microseconds.
mod age {
    /// Sizes that hotplug can change, and a limitless container's free memory.
    pub(super) const LIVE: u64 = 1_000_000;
    /// Frequencies, the only numbers in cpuinfo that change.
    pub(super) const CPUINFO: u64 = 5_000_000;
    /// Settings and lists of keys.
    pub(super) const SETTING: u64 = 60_000_000;
}

/// After so many microseconds a file that could not be read is tried again.
const RETRY: u64 = 1_000_000;

/// The host's `/proc` and `/sys/devices/system/cpu`. Each file that was read once keeps its last good value.
#[derive(Debug)]
pub struct HostProc {
    proc: PathBuf,
    cpu_dir: PathBuf,
    node_dir: PathBuf,
    pages: PageSizes,
    meminfo: Cached<HostMeminfo>,
    online: Cached<CpuList>,
    cpuinfo: Cached<HostCpuinfo>,
    boot_time: Cached<u64>,
    diskstats: Cached<HostDiskstats>,
    vmstat: Cached<Vec<u8>>,
    slabinfo: Cached<Vec<u8>>,
    overcommit_ratio: Cached<u64>,
    nodes: Cached<HostNodes>,
}

/// The host's memory nodes.
#[derive(Debug, Default)]
pub struct HostNodes {
    /// The numbers of all that are online.
    pub online: CpuList,
    /// What each of them has.
    pub nodes: Vec<HostNode>,
}

/// A file without which there is no view.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read {path}: {source}; name the host's procfs with --proc and its sysfs with --sys"
)]
pub struct HostProcError {
    path: PathBuf,
    source: io::Error,
}

impl HostProc {
    /// `proc` and `sys` are where procfs and sysfs are mounted.
    ///
    /// # Errors
    /// [`HostProcError`] if there is no `meminfo`, or no list of CPUs.
    pub fn new(proc: &Path, sys: &Path) -> Result<Self, HostProcError> {
        let system = sys.join("devices/system");
        let (cpu_dir, node_dir) = (system.join("cpu"), system.join("node"));
        let online = Cached::of_file(cpu_dir.join("online"), parse_online);
        let of_proc = |name: &str| proc.join(name);
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
        let base = page
            .and_then(|bytes| u64::try_from(bytes).ok())
            .unwrap_or(4096);
        let huge = fs::read(sys.join("kernel/mm/transparent_hugepage/hpage_pmd_size"));
        let huge = huge.ok().and_then(|text| number(text.trim_ascii()));
        Ok(Self {
            pages: PageSizes {
                base,
                // With pages of 4 KiB.
                huge: huge.unwrap_or(2 << 20),
            },
            meminfo: Cached::of_file(of_proc("meminfo"), HostMeminfo::parse).needed()?,
            online: online.needed()?,
            cpuinfo: Cached::of_file(of_proc("cpuinfo"), HostCpuinfo::parse),
            boot_time: Cached::of_file(of_proc("stat"), host::boot_time),
            diskstats: Cached::of_file(of_proc("diskstats"), HostDiskstats::parse),
            vmstat: Cached::of_file(of_proc("vmstat"), <[u8]>::to_vec),
            slabinfo: Cached::of_file(of_proc("slabinfo"), |text| host::head(text, 2).to_vec()),
            overcommit_ratio: Cached::of_file(of_proc("sys/vm/overcommit_ratio"), |text| {
                number(text.trim_ascii()).unwrap_or(50)
            }),
            nodes: Cached::with(node_dir.clone(), Box::new(read_nodes), HostNodes::default),
            proc: proc.to_path_buf(),
            cpu_dir,
            node_dir,
        })
    }

    /// The host's `/sys/devices/system/cpu`.
    pub fn cpu_dir(&self) -> &Path {
        &self.cpu_dir
    }

    /// The host's `/sys/devices/system/node`.
    pub fn node_dir(&self) -> &Path {
        &self.node_dir
    }

    /// The memory nodes in it.
    pub fn nodes(&self, now: u64) -> Arc<HostNodes> {
        self.nodes.get(now, age::LIVE)
    }

    /// Bytes of the kernel's pages.
    pub fn pages(&self) -> PageSizes {
        self.pages
    }

    /// The text of the host's file at `path`, relative to the root, such as `proc/stat`.
    ///
    /// # Errors
    /// Those of open(2) and read(2).
    pub fn text(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(path))
    }

    /// Whether the host has the file at `path`, one of those that a view can serve.
    pub fn has(&self, path: &str) -> bool {
        match path {
            "sys/devices/system/cpu" => self.cpu_dir.exists(),
            "sys/devices/system/node" => self.node_dir.exists(),
            path => self.path(path).exists(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.proc.join(path.strip_prefix("proc/").unwrap_or(path))
    }

    /// The host's pressure file of `resource`.
    pub fn pressure_path(&self, resource: Resource) -> PathBuf {
        self.proc.join("pressure").join(resource.name())
    }

    /// `/proc/meminfo`.
    pub fn meminfo(&self, now: u64) -> Arc<HostMeminfo> {
        self.meminfo.get(now, age::LIVE)
    }

    /// `/proc/cpuinfo`.
    pub fn cpuinfo(&self, now: u64) -> Arc<HostCpuinfo> {
        self.cpuinfo.get(now, age::CPUINFO)
    }

    /// `btime` of `/proc/stat`, seconds since the epoch.
    pub fn boot_time(&self, now: u64) -> u64 {
        *self.boot_time.get(now, age::CPUINFO)
    }

    /// The host's online CPUs; never empty.
    pub fn online_cpus(&self, now: u64) -> Arc<CpuList> {
        self.online.get(now, age::LIVE)
    }

    /// `/proc/diskstats`, for the devices' names.
    pub fn diskstats(&self, now: u64) -> Arc<HostDiskstats> {
        self.diskstats.get(now, age::LIVE)
    }

    /// `/proc/vmstat`, for its keys.
    pub fn vmstat(&self, now: u64) -> Arc<Vec<u8>> {
        self.vmstat.get(now, age::SETTING)
    }

    /// The two header lines of `/proc/slabinfo`.
    pub fn slabinfo_header(&self, now: u64) -> Arc<Vec<u8>> {
        self.slabinfo.get(now, age::SETTING)
    }

    /// `vm.overcommit_ratio`, per cent.
    pub fn overcommit_ratio(&self, now: u64) -> u64 {
        *self.overcommit_ratio.get(now, age::SETTING)
    }
}

fn parse_online(text: &[u8]) -> CpuList {
    let list = CpuList::parse(text);
    if list.is_empty() {
        CpuList::first(1)
    } else {
        list
    }
}

/// The memory nodes in `dir`.
fn read_nodes(dir: &Path) -> io::Result<HostNodes> {
    let online = CpuList::parse(&fs::read(dir.join("online"))?);
    let node = |number: &u32| {
        let node = dir.join(format!("node{number}"));
        let memory = fs::read(node.join("meminfo"))?;
        let total = host::node_total(&memory);
        Ok(HostNode {
            number: *number,
            cpus: CpuList::parse(&fs::read(node.join("cpulist"))?),
            memory: total,
        })
    };
    let nodes = online
        .as_slice()
        .iter()
        .map(node)
        .collect::<io::Result<_>>()?;
    Ok(HostNodes { online, nodes })
}

/// What a file says, and said when it could last be read.
struct Cached<T> {
    path: PathBuf,
    read: Read<T>,
    last: Mutex<Last<T>>,
}

type Read<T> = Box<dyn Fn(&Path) -> io::Result<T> + Send + Sync>;

impl<T> std::fmt::Debug for Cached<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Cached")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Last<T> {
    value: Arc<T>,
    /// When it is due again, microseconds since boot, but not before a certain age.
    read_at: u64,
    /// Why it could not be read at the last try.
    error: Option<io::Error>,
}

impl<T: 'static> Cached<T> {
    /// What `parse` makes of the file at `path`. Of one that is not there the value is that of an empty one:
    /// it is not offered.
    fn of_file(path: PathBuf, parse: fn(&[u8]) -> T) -> Self {
        Self::with(
            path,
            Box::new(move |path| Ok(parse(&fs::read(path)?))),
            || parse(b""),
        )
    }

    fn with(path: PathBuf, read: Read<T>, absent: impl FnOnce() -> T) -> Self {
        let (value, error) = match read(&path) {
            Ok(value) => (value, None),
            Err(error) => (absent(), Some(error)),
        };
        let last = Mutex::new(Last {
            value: Arc::new(value),
            read_at: clock::boottime(),
            error,
        });
        Self { path, read, last }
    }

    /// The same for a file that has to be there.
    fn needed(self) -> Result<Self, HostProcError> {
        match lock(&self.last).error.take() {
            Some(source) => Err(HostProcError {
                path: self.path.clone(),
                source,
            }),
            None => Ok(()),
        }?;
        Ok(self)
    }

    /// The value, read anew if it is older than `age`. Two threads may read at once; none waits for the
    /// other's IO. What cannot be read keeps its last good value.
    fn get(&self, now: u64, age: u64) -> Arc<T> {
        let (value, read_at) = {
            let last = lock(&self.last);
            (Arc::clone(&last.value), last.read_at)
        };
        if now.saturating_sub(read_at) < age {
            return value;
        }
        let read = (self.read)(&self.path).map(Arc::new);
        let mut last = lock(&self.last);
        match read {
            Ok(value) => {
                *last = Last {
                    value,
                    read_at: now,
                    error: None,
                };
            }
            Err(error) => {
                // Once an outage: nobody may fill a log by reading.
                if last.error.is_none() {
                    tracing::warn!(file = %self.path.display(), %error, "cannot read a host file; its last good text stands");
                }
                last.error = Some(error);
                last.read_at = now.saturating_sub(age.saturating_sub(RETRY));
            }
        }
        Arc::clone(&last.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_keeps_its_last_good_value() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("meminfo");
        fs::write(&path, "MemTotal: 8 kB\n").expect("a file");
        let cached = Cached::of_file(path.clone(), HostMeminfo::parse);
        let start = clock::boottime();
        let total = |later| cached.get(start + later, 60_000_000).get("MemTotal");
        assert_eq!(total(0), 8192);
        fs::remove_file(&path).expect("it is there");
        assert_eq!(total(61_000_000), 8192);
        fs::write(&path, "MemTotal: 4 kB\n").expect("a file");
        // Not at once, but soon.
        assert_eq!(total(61_500_000), 8192);
        assert_eq!(total(62_000_000), 4096);
    }
}
