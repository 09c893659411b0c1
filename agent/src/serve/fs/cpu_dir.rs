//! The host's `/sys/devices/system/cpu`, as far as the world may read it, and what of it a container is shown.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::{FsError, Kind};
use crate::lock::lock;
use procview::cpu::Cpus;
use procview::parse::CpuList;

/// sysfs attributes are at most a page long; binary ones are not for reading as text.
const MOST_BYTES: u64 = 64 * 1024;
/// How deep the tree is searched for the path of an inode number; sysfs goes to 4 there.
const MOST_DEPTH: usize = 8;

/// Reads entries by the number of their CPU and the path below `cpuN`, or by the path in the directory
/// itself.
#[derive(Debug)]
pub struct CpuDir {
    root: PathBuf,
    /// Paths by their hash, below a CPU and in the directory itself.
    paths: Mutex<HashMap<(bool, u64), Box<str>>>,
}

impl CpuDir {
    /// `root` is the host's `/sys/devices/system/cpu`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            paths: Mutex::default(),
        }
    }

    fn path(&self, cpu: Option<u32>, path: &str) -> PathBuf {
        let mut full = self.root.clone();
        if let Some(cpu) = cpu {
            full.push(format!("cpu{cpu}"));
        }
        if !path.is_empty() {
            full.push(path);
        }
        full
    }

    /// Forty bits that stand for `path` in an inode number.
    pub(super) fn hash(&self, path: &str) -> u64 {
        // FNV-1a: fixed for all time, unlike the standard library's hashers.
        let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        (hash ^ (hash >> 40)) & ((1 << 40) - 1)
    }

    /// The path that `hash` stands for. One that this process never gave out is searched in the
    /// host's directory.
    pub(super) fn path_of(&self, below_cpu: bool, hash: u64) -> Option<Box<str>> {
        if hash == self.hash("") {
            return Some("".into());
        }
        if let Some(path) = self.paths().get(&(below_cpu, hash)) {
            return Some(path.clone());
        }
        let start = if below_cpu { "cpu0" } else { "" };
        self.learn(below_cpu, &self.root.join(start), "", 0);
        self.paths().get(&(below_cpu, hash)).cloned()
    }

    fn learn(&self, below_cpu: bool, dir: &Path, prefix: &str, depth: usize) {
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        for entry in entries.flatten() {
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let is_cpu = !below_cpu && depth == 0 && is_cpu(&path);
            if is_dir && !is_cpu && depth < MOST_DEPTH {
                self.learn(below_cpu, &entry.path(), &format!("{path}/"), depth + 1);
            }
            let hash = self.hash(&path);
            self.paths().insert((below_cpu, hash), path.into());
        }
    }

    /// Does `operation` with the path of an entry. A CPU for which the host has no directory looks like the
    /// first one that has.
    fn at<T>(
        &self,
        cpu: Option<u32>,
        path: &str,
        operation: impl Fn(&Path) -> io::Result<T>,
    ) -> io::Result<T> {
        let result = operation(&self.path(cpu, path));
        let is_absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if cpu.is_some() && result.as_ref().is_err_and(is_absent) && !self.path(cpu, "").exists() {
            let entries = fs::read_dir(&self.root)?.flatten();
            let numbers = entries.filter_map(|entry| cpu_number(entry.file_name().to_str()?));
            if let Some(first) = numbers.min() {
                return operation(&self.path(Some(first), path));
            }
        }
        result
    }

    /// Type and permissions of an entry; what the world may not read is not there, and nothing
    /// is writable.
    pub(super) fn stat(&self, cpu: Option<u32>, path: &str) -> Result<(Kind, u16), FsError> {
        let metadata = self.at(cpu, path, |path| fs::symlink_metadata(path));
        let metadata = metadata.map_err(|_| FsError::NotFound)?;
        let kind = if metadata.is_dir() {
            Kind::Directory
        } else if metadata.is_symlink() {
            Kind::Link
        } else {
            Kind::File
        };
        let mode = metadata.permissions().mode();
        if mode & 0o004 == 0 {
            return Err(FsError::NotFound);
        }
        let hash = self.hash(path);
        self.paths()
            .entry((cpu.is_some(), hash))
            .or_insert_with(|| path.into());
        let mode = match kind {
            Kind::Directory => 0o555,
            Kind::Link => 0o777,
            Kind::File => 0o444,
        };
        Ok((kind, mode))
    }

    /// The names in a directory.
    pub(super) fn names(&self, cpu: Option<u32>, path: &str) -> Result<Vec<String>, FsError> {
        let entries = self.at(cpu, path, |path| fs::read_dir(path));
        let entries = entries.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOTDIR) => FsError::NotDirectory,
            Some(libc::ENOENT) => FsError::NotFound,
            _ => FsError::Kernel(error),
        })?;
        let names = entries.flatten().map(|entry| entry.file_name());
        Ok(names.filter_map(|name| name.into_string().ok()).collect())
    }

    /// The target of a symbolic link.
    pub(super) fn link_target(&self, cpu: Option<u32>, path: &str) -> Result<Vec<u8>, FsError> {
        let target = self.at(cpu, path, |path| fs::read_link(path));
        let target = target.map_err(|_| FsError::NotLink)?;
        Ok(target.as_os_str().as_bytes().to_vec())
    }

    /// The host's text of a file.
    pub(super) fn text(&self, cpu: Option<u32>, path: &str) -> Result<Vec<u8>, FsError> {
        let read = |path: &Path| {
            let mut text = Vec::new();
            File::open(path)?.take(MOST_BYTES).read_to_end(&mut text)?;
            Ok(text)
        };
        self.at(cpu, path, read).map_err(FsError::Kernel)
    }

    /// The CPUs that cpufreq's policy `name` is for, on or off.
    fn policy(&self, name: &str) -> CpuList {
        let text = self.text(None, &format!("cpufreq/{name}/related_cpus"));
        CpuList::parse(&text.unwrap_or_default())
    }

    fn paths(&self) -> MutexGuard<'_, HashMap<(bool, u64), Box<str>>> {
        lock(&self.paths)
    }
}

/// The CPUs that a caller is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// All that there are.
    All,
    /// A container's.
    Cpus(Cpus),
}

impl Shown {
    /// Whether the entry at `path` of the directory of `cpu`, or of the directory itself, is there.
    pub(super) fn has(&self, dir: &CpuDir, cpu: Option<u32>, path: &str) -> bool {
        let Self::Cpus(cpus) = self else {
            return true;
        };
        match (cpu, policy_name(path)) {
            (Some(cpu), _) => cpus.shown().contains(cpu),
            (None, Some(policy)) => !dir.policy(policy).intersection(cpus.shown()).is_empty(),
            (None, None) => true,
        }
    }
}

/// `policyN` of a path at or below `cpufreq/policyN`: containers have those of their own CPUs.
pub(super) fn policy_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix("cpufreq/")?.split('/').next()?;
    name.starts_with("policy").then_some(name)
}

/// `N` of the name `cpuN`.
pub(super) fn cpu_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("cpu")?;
    let number: u32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// Whether `name` is that of a CPU's directory.
pub(crate) fn is_cpu(name: &str) -> bool {
    cpu_number(name).is_some()
}
