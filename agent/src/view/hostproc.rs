//! The host's own files, read at most once in a while and parsed once.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use procview::file::Resource;
use procview::host::{self, HostCpuinfo, HostMeminfo};
use procview::parse::{CpuList, number};

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

/// The host's `/proc` and `/sys/devices/system/cpu`.
#[derive(Debug)]
pub struct HostProc {
    proc: PathBuf,
    cpu_dir: PathBuf,
    meminfo: Cached<HostMeminfo>,
    cpuinfo: Cached<HostCpuinfo>,
    boot_time: Cached<u64>,
    online: Cached<CpuList>,
    diskstats: Cached<Vec<u8>>,
    vmstat: Cached<Vec<u8>>,
    slabinfo: Cached<Vec<u8>>,
    overcommit_ratio: Cached<u64>,
}

impl HostProc {
    /// `proc` and `sys` are where procfs and sysfs are mounted.
    pub fn new(proc: &Path, sys: &Path) -> Self {
        Self {
            proc: proc.to_path_buf(),
            cpu_dir: sys.join("devices/system/cpu"),
            meminfo: Cached::default(),
            cpuinfo: Cached::default(),
            boot_time: Cached::default(),
            online: Cached::default(),
            diskstats: Cached::default(),
            vmstat: Cached::default(),
            slabinfo: Cached::default(),
            overcommit_ratio: Cached::default(),
        }
    }

    /// The host's `/sys/devices/system/cpu`.
    pub fn cpu_dir(&self) -> &Path {
        &self.cpu_dir
    }

    /// The text of the host's file at `path`, relative to the root, such as `proc/stat`.
    ///
    /// # Errors
    /// Those of open(2) and read(2).
    pub fn text(&self, path: &str) -> io::Result<Vec<u8>> {
        self.text_at_most(path, u64::MAX)
    }

    fn text_at_most(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let path = path.strip_prefix("proc/").unwrap_or(path);
        File::open(self.proc.join(path))?
            .take(most)
            .read_to_end(&mut text)?;
        Ok(text)
    }

    /// The host's pressure file of `resource`.
    pub fn pressure_path(&self, resource: Resource) -> PathBuf {
        self.proc.join("pressure").join(resource.name())
    }

    /// Whether the host has the file at `path`.
    pub fn has(&self, path: &str) -> bool {
        let path = path.strip_prefix("proc/").unwrap_or(path);
        self.proc.join(path).exists()
    }

    /// `/proc/meminfo`.
    pub fn meminfo(&self, now: u64) -> Arc<HostMeminfo> {
        self.meminfo.get(now, age::LIVE, || {
            HostMeminfo::parse(&self.text_or_empty("meminfo"))
        })
    }

    /// `/proc/cpuinfo`.
    pub fn cpuinfo(&self, now: u64) -> Arc<HostCpuinfo> {
        self.cpuinfo.get(now, age::CPUINFO, || {
            HostCpuinfo::parse(&self.text_or_empty("cpuinfo"))
        })
    }

    /// `btime` of `/proc/stat`, seconds since the epoch.
    pub fn boot_time(&self, now: u64) -> u64 {
        *self.boot_time.get(now, age::CPUINFO, || {
            host::boot_time(&self.text_or_empty("stat"))
        })
    }

    /// The host's online CPUs; never empty.
    pub fn online_cpus(&self, now: u64) -> Arc<CpuList> {
        self.online.get(now, age::LIVE, || {
            let text = std::fs::read(self.cpu_dir.join("online")).unwrap_or_default();
            Some(CpuList::parse(&text))
                .filter(|list| !list.is_empty())
                .unwrap_or_else(|| CpuList::first(1))
        })
    }

    /// `/proc/diskstats`, for the devices' names.
    pub fn diskstats(&self, now: u64) -> Arc<Vec<u8>> {
        self.diskstats
            .get(now, age::LIVE, || self.text_or_empty("diskstats"))
    }

    /// `/proc/vmstat`, for its keys.
    pub fn vmstat(&self, now: u64) -> Arc<Vec<u8>> {
        self.vmstat
            .get(now, age::SETTING, || self.text_or_empty("vmstat"))
    }

    /// The two header lines of `/proc/slabinfo`.
    pub fn slabinfo_header(&self, now: u64) -> Arc<Vec<u8>> {
        self.slabinfo.get(now, age::SETTING, || {
            let text = self.text_at_most("slabinfo", 1024).unwrap_or_default();
            host::head(&text, 2).to_vec()
        })
    }

    /// `vm.overcommit_ratio`, per cent.
    pub fn overcommit_ratio(&self, now: u64) -> u64 {
        *self.overcommit_ratio.get(now, age::SETTING, || {
            number(self.text_or_empty("sys/vm/overcommit_ratio").trim_ascii()).unwrap_or(50)
        })
    }

    fn text_or_empty(&self, path: &str) -> Vec<u8> {
        self.text(path).unwrap_or_else(|error| {
            tracing::warn!(file = %self.proc.join(path).display(), %error, "cannot read a host file");
            Vec::new()
        })
    }
}

/// A value and when it was read, microseconds since boot.
#[derive(Debug)]
struct Cached<T>(Mutex<Option<(u64, Arc<T>)>>);

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Cached<T> {
    /// The value, read anew by `read` if it is older than `age`. Two threads may read at once;
    /// none waits for the other's IO.
    fn get(&self, now: u64, age: u64, read: impl FnOnce() -> T) -> Arc<T> {
        let cached = lock(&self.0).clone();
        if let Some((at, value)) = cached
            && now.saturating_sub(at) < age
        {
            return value;
        }
        let value = Arc::new(read());
        *lock(&self.0) = Some((now, Arc::clone(&value)));
        value
    }
}
