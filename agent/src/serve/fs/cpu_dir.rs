//! The host's `/sys/devices/system/cpu`, as far as the world may read it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::{FsError, Kind};
use crate::lock::lock;
use procview::cpu::Cpus;

/// sysfs attributes are at most a page long; binary ones are not for reading as text.
const MOST_BYTES: u64 = 64 * 1024;
/// How deep the tree is searched for the path of an inode number; sysfs goes to 4 there.
const MOST_DEPTH: usize = 8;

/// Reads entries by the host's CPU number and the path below `cpuN`, or the path in the directory
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

    /// Type and permissions of an entry; what the world may not read is not there, and nothing
    /// is writable.
    pub(super) fn stat(&self, cpu: Option<u32>, path: &str) -> Result<(Kind, u16), FsError> {
        let metadata = fs::symlink_metadata(self.path(cpu, path)).map_err(|_| FsError::NotFound)?;
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
        let entries =
            fs::read_dir(self.path(cpu, path)).map_err(|error| match error.raw_os_error() {
                Some(libc::ENOTDIR) => FsError::NotDirectory,
                Some(libc::ENOENT) => FsError::NotFound,
                _ => FsError::Host(error),
            })?;
        let names = entries.flatten().map(|entry| entry.file_name());
        Ok(names.filter_map(|name| name.into_string().ok()).collect())
    }

    /// The target of a symbolic link.
    pub(super) fn link_target(&self, cpu: Option<u32>, path: &str) -> Result<Vec<u8>, FsError> {
        let target = fs::read_link(self.path(cpu, path)).map_err(|_| FsError::NotLink)?;
        Ok(target.as_os_str().as_bytes().to_vec())
    }

    /// The host's text of a file.
    pub(super) fn text(&self, cpu: Option<u32>, path: &str) -> Result<Vec<u8>, FsError> {
        let mut text = Vec::new();
        File::open(self.path(cpu, path))
            .and_then(|file| file.take(MOST_BYTES).read_to_end(&mut text))
            .map_err(FsError::Host)?;
        Ok(text)
    }

    fn paths(&self) -> MutexGuard<'_, HashMap<(bool, u64), Box<str>>> {
        lock(&self.paths)
    }
}

/// How a caller numbers its CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CpuNumbers {
    /// As the host.
    Host,
    /// From 0 to n-1.
    Container(Cpus),
}

impl CpuNumbers {
    /// The host's number of the caller's CPU `cpu`.
    pub(super) fn host(&self, cpu: u32) -> Result<u32, FsError> {
        match self {
            Self::Host => Ok(cpu),
            Self::Container(cpus) => {
                let host = cpus.host().get(cpu as usize);
                host.copied().ok_or(FsError::NotFound)
            }
        }
    }
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
