//! Whose view: from the thread that asks to its container.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use procview::parse::{cgroup_lines, container_path, lines};

use super::cgroup::read_at_once;
use crate::clock;
use crate::lock::lock;

/// How many threads' files are kept open, two of each.
const MOST_KEPT: usize = 128;

/// How long a thread is taken to stay in its cgroups while it stays in its cpuset, microseconds.
const TRUSTED_FOR: u64 = 1_000_000;

/// Reads what `/proc/<tid>` tells of a caller.
#[derive(Debug)]
pub struct Callers {
    proc: PathBuf,
    /// Threads that ask again and again: their files are opened for good at the second time. An
    /// open file stays that of its thread: once the thread has ended it gives ESRCH, whoever has
    /// its number by then.
    kept: Mutex<HashMap<u32, Arc<Kept>>>,
}

/// What is kept of a thread.
#[derive(Debug)]
struct Kept {
    cgroup: CgroupOf,
    comm: OnceLock<File>,
}

/// How to learn the cgroups of a thread that asked before.
#[derive(Debug)]
enum CgroupOf {
    /// It asked only once.
    Unknown,
    /// From its `/proc/<tid>/cgroup`.
    File(File),
    /// From its `/proc/<tid>/cpuset`: a tenth of the time, where there are many hierarchies.
    Cpuset(Cpuset),
}

/// `/proc/<tid>/cpuset` of a thread whose cpuset a runtime made for its container alone.
#[derive(Debug)]
struct Cpuset {
    file: File,
    /// What the file shows as long as the thread stays in the container.
    path: Box<[u8]>,
    /// `/proc/<tid>/cgroup` then.
    cgroup: Box<[u8]>,
    /// When it was read, microseconds since boot.
    at: u64,
}

impl CgroupOf {
    /// Replaces `text` by `/proc/<tid>/cgroup`. `false` if that has to be opened for it.
    fn tell(&self, text: &mut Vec<u8>) -> bool {
        match self {
            Self::Unknown => false,
            Self::File(file) => read_at_once(file, text).is_ok(),
            Self::Cpuset(cpuset) => {
                if clock::boottime().saturating_sub(cpuset.at) >= TRUSTED_FOR
                    || read_at_once(&cpuset.file, text).is_err()
                    || text.trim_ascii_end() != &*cpuset.path
                {
                    return false;
                }
                text.clear();
                text.extend_from_slice(&cpuset.cgroup);
                true
            }
        }
    }
}

impl Callers {
    /// `proc` is where procfs is mounted, with the pid namespace that FUSE translates callers to.
    pub fn new(proc: &Path) -> Self {
        Self {
            proc: proc.to_path_buf(),
            kept: Mutex::default(),
        }
    }

    /// Replaces `text` by `/proc/<tid>/cgroup`, as it is now or, as long as the thread does not
    /// leave its container's cpuset, as it was at most a second ago.
    ///
    /// # Errors
    /// Those of open(2) and read(2); ENOENT or ESRCH for a thread that has ended.
    pub fn cgroup(&self, tid: u32, text: &mut Vec<u8>) -> io::Result<()> {
        let known = self.known(tid);
        if let Some(kept) = &known {
            if kept.cgroup.tell(text) {
                return Ok(());
            }
            self.kept().remove(&tid);
        }
        // Before it is read: what is trusted for a while is not younger than it says.
        let at = clock::boottime();
        let file = File::open(self.path(tid, "cgroup"))?;
        read_at_once(&file, text)?;
        let cgroup = match known {
            None => CgroupOf::Unknown,
            Some(_) => match self.cpuset(tid, text, at) {
                Some(cpuset) => CgroupOf::Cpuset(cpuset),
                None => CgroupOf::File(file),
            },
        };
        let mut kept = self.kept();
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        let comm = OnceLock::new();
        kept.insert(tid, Arc::new(Kept { cgroup, comm }));
        Ok(())
    }

    /// The cpuset of thread `tid`, if it tells the container: if it is in a v1 hierarchy, below a
    /// cgroup that a runtime made. Elsewhere threads of several containers may share a cpuset.
    fn cpuset(&self, tid: u32, cgroup: &[u8], at: u64) -> Option<Cpuset> {
        let path = cgroup_lines(cgroup).find(|line| line.has(b"cpuset"))?.path;
        container_path(path)?;
        let file = File::open(self.path(tid, "cpuset")).ok()?;
        let mut shown = Vec::new();
        read_at_once(&file, &mut shown).ok()?;
        // Another path is that of a thread which moved, or has the number by now.
        (shown.trim_ascii_end() == path).then(|| Cpuset {
            file,
            path: path.into(),
            cgroup: cgroup.into(),
            at,
        })
    }

    /// Forgets what was kept of thread `tid`.
    pub fn forget(&self, tid: u32) {
        self.kept().remove(&tid);
    }

    /// Closes what was kept open; threads that still ask are known again after two reads.
    pub fn sweep(&self) {
        self.kept().clear();
    }

    fn known(&self, tid: u32) -> Option<Arc<Kept>> {
        self.kept().get(&tid).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<u32, Arc<Kept>>> {
        lock(&self.kept)
    }

    /// Replaces `text` by the command of thread `tid`, without its newline.
    ///
    /// # Errors
    /// As for [`cgroup`](Self::cgroup).
    pub fn comm(&self, tid: u32, text: &mut Vec<u8>) -> io::Result<()> {
        let kept = self.known(tid);
        let file = kept.as_ref().and_then(|kept| kept.comm.get());
        if file.is_none_or(|file| read_at_once(file, text).is_err()) {
            let file = File::open(self.path(tid, "comm"))?;
            read_at_once(&file, text)?;
            if let Some(kept) = kept.filter(|kept| !matches!(kept.cgroup, CgroupOf::Unknown)) {
                // Another reader of the same thread may have been faster.
                let _ = kept.comm.set(file);
            }
        }
        if text.last() == Some(&b'\n') {
            text.pop();
        }
        Ok(())
    }

    /// Replaces `text` by the `stat` of thread `tid` alone: `/proc/<tid>/stat` sums up all threads of the
    /// process, so reading it of each of them takes quadratic time.
    ///
    /// # Errors
    /// As for [`cgroup`](Self::cgroup).
    pub fn stat(&self, tid: u32, text: &mut Vec<u8>) -> io::Result<()> {
        self.read(tid, &format!("task/{tid}/stat"), text)
            // A copy of procfs may have no threads.
            .or_else(|_| self.read(tid, "stat", text))
    }

    /// Replaces `text` by `/proc/<tid>/status`.
    ///
    /// # Errors
    /// As for [`cgroup`](Self::cgroup).
    pub fn status(&self, tid: u32, text: &mut Vec<u8>) -> io::Result<()> {
        self.read(tid, "status", text)
    }

    /// Whether thread `tid` has CAP_SYS_RESOURCE towards the host: in its effective set, and in
    /// the user namespace of this process.
    pub fn has_sys_resource(&self, tid: u32) -> bool {
        const CAP_SYS_RESOURCE: u32 = 24;
        let user_namespace =
            |who: &str| std::fs::read_link(self.proc.join(who).join("ns/user")).ok();
        let mut status = Vec::new();
        if self.status(tid, &mut status).is_err() {
            return false;
        }
        let effective = lines(&status)
            .find_map(|line| line.strip_prefix(b"CapEff:\t"))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .unwrap_or(0);
        effective >> CAP_SYS_RESOURCE & 1 == 1
            && user_namespace(&tid.to_string()) == user_namespace("self")
    }

    /// One open, one read, one close: the kernel writes these files in one go.
    fn read(&self, tid: u32, name: &str, text: &mut Vec<u8>) -> io::Result<()> {
        read_at_once(&File::open(self.path(tid, name))?, text)
    }

    fn path(&self, tid: u32, name: &str) -> PathBuf {
        self.proc.join(format!("{tid}/{name}"))
    }
}
