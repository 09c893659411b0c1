//! Whose view: from the thread that asks to its container.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use procview::parse::{cgroup_lines, lines};

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
        let name = container_path(path).rsplit(|byte| *byte == b'/').next()?;
        runtime_id(name)?;
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

    /// Replaces `text` by `/proc/<tid>/stat`.
    ///
    /// # Errors
    /// As for [`cgroup`](Self::cgroup).
    pub fn stat(&self, tid: u32, text: &mut Vec<u8>) -> io::Result<()> {
        self.read(tid, "stat", text)
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

/// `path` of `/proc/<pid>/cgroup` cut to the container's cgroup: to the innermost component that
/// a container runtime made or, without one, to the cgroup itself without a trailing
/// `init.scope`, which systemd makes for itself.
pub fn container_path(path: &[u8]) -> &[u8] {
    let mut end = path.len();
    loop {
        let start = path[..end]
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        if runtime_id(&path[start..end]).is_some() {
            return &path[..end];
        }
        if start <= 1 {
            break;
        }
        end = start - 1;
    }
    path.strip_suffix(b"/init.scope").unwrap_or(path)
}

/// The id of the container that a runtime made the cgroup called `name` for:
/// `cri-containerd-<id>.scope`, `crio-<id>.scope`, `docker-<id>.scope`, `libpod-<id>.scope`, or
/// the bare id of the cgroupfs drivers. An id is 64 hexadecimal digits.
pub fn runtime_id(name: &[u8]) -> Option<&[u8]> {
    const DIGITS: usize = 64;
    let name = name.strip_suffix(b".scope").unwrap_or(name);
    let (prefix, id) = name.split_at_checked(name.len().checked_sub(DIGITS)?)?;
    let is_id = id
        .iter()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    // conmon supervises a container and is not in it.
    let is_container =
        prefix.is_empty() || (prefix.ends_with(b"-") && !prefix.ends_with(b"conmon-"));
    (is_id && is_container).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn cut(path: &str) -> String {
        String::from_utf8_lossy(container_path(path.as_bytes())).into_owned()
    }

    #[test]
    fn the_innermost_runtime_component_is_the_container() {
        for name in [
            format!("cri-containerd-{ID}.scope"),
            format!("crio-{ID}.scope"),
            format!("docker-{ID}.scope"),
            format!("libpod-{ID}.scope"),
            ID.to_owned(),
        ] {
            let path = format!("/kubepods.slice/kubepods-pod1.slice/{name}");
            assert_eq!(cut(&path), path);
            assert_eq!(cut(&format!("{path}/init.scope")), path);
            assert_eq!(cut(&format!("{path}/system.slice/a.service")), path);
            let nested = format!("{path}/docker/{ID}");
            assert_eq!(cut(&format!("{nested}/x")), nested);
        }
    }

    #[test]
    fn without_one_it_is_the_cgroup_itself() {
        assert_eq!(cut("/"), "/");
        assert_eq!(
            cut("/user.slice/session-1.scope"),
            "/user.slice/session-1.scope"
        );
        assert_eq!(cut("/machine/vm1/init.scope"), "/machine/vm1");
        assert_eq!(cut("/init.scope"), "");
        let conmon = format!("/machine.slice/libpod-conmon-{ID}.scope");
        assert_eq!(cut(&conmon), conmon);
        assert_eq!(
            runtime_id(format!("libpod-conmon-{ID}.scope").as_bytes()),
            None
        );
    }

    proptest! {
        #[test]
        fn any_path_is_cut_to_a_part_of_itself(path in "(/[a-f0-9.]{0,70}){0,5}") {
            prop_assert!(path.as_bytes().starts_with(container_path(path.as_bytes())));
        }
    }
}
