//! Puts running containers back on the kernel's own files, before the view ends.
//!
//! A file of the view that a container has mounted fails with ENOTCONN once nobody serves it. An
//! agent that is told to end takes those mounts away first, so that the container reads what the
//! node has, and no open fails. What is open already stays what it is.
//!
//! Nothing of a container is executed, and no path is followed through a link of its making.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::fchdir;

use crate::deadline::within;
use crate::node::{MountTable, detach};

/// Containers that start meanwhile may have resolved their mounts before the view went.
const MOST_ROUNDS: usize = 5;
/// One container takes milliseconds. One that has a file system in the way which does not answer keeps
/// the others waiting no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// All of them; the kubelet gives an ending agent 30 s.
const LONGEST: Duration = Duration::from_secs(20);

/// A mount namespace that has files of the view mounted.
#[derive(Debug)]
struct Namespace {
    /// A process in it, for the log.
    pid: u32,
    file: File,
    /// Where they are mounted, the last first.
    mounts: Vec<PathBuf>,
}

/// What was done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// Mount namespaces, one for each container.
    pub namespaces: usize,
    /// Mounts in them.
    pub mounts: usize,
}

/// Takes the mounts of the file system with `device` (`major:minor`) away in all mount namespaces
/// but those that share theirs with others. `proc` is the host's procfs.
pub fn release(proc: &Path, device: &str) -> Released {
    let mut released = Released::default();
    let deadline = Instant::now() + LONGEST;
    for _ in 0..MOST_ROUNDS {
        let namespaces = find(proc, device);
        if namespaces.is_empty() {
            break;
        }
        let mut round = Released::default();
        for namespace in namespaces {
            let mounts = namespace.release_in_time(deadline);
            round.mounts += mounts;
            round.namespaces += usize::from(mounts > 0);
        }
        if round.mounts == 0 {
            break;
        }
        released.namespaces += round.namespaces;
        released.mounts += round.mounts;
    }
    released
}

/// The mount namespaces that have mounts of `device`, by any process in them.
fn find(proc: &Path, device: &str) -> Vec<Namespace> {
    let mut seen = HashSet::new();
    // The own one's goes with the view itself.
    seen.extend(fs::read_link("/proc/self/ns/mnt"));
    let pids = fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found = Vec::new();
    for pid in pids {
        let process = proc.join(pid.to_string());
        let namespace = process.join("ns/mnt");
        // Processes end while they are looked at.
        let Ok(link) = fs::read_link(&namespace) else {
            continue;
        };
        if !seen.insert(link) {
            continue;
        }
        let (Ok(table), Ok(file)) = (MountTable::of(&process), File::open(&namespace)) else {
            continue;
        };
        // What is shared is the node's as well, and goes with the node's.
        let mut mounts: Vec<_> = table
            .of_device(device)
            .filter(|mount| !mount.shared)
            .map(|mount| mount.at.clone())
            .collect();
        mounts.reverse();
        if !mounts.is_empty() {
            found.push(Namespace { pid, file, mounts });
        }
    }
    found
}

impl Namespace {
    /// Takes the mounts away in a thread of its own, which ends in the namespace. Tells how many; none
    /// if that takes too long.
    fn release_in_time(self, deadline: Instant) -> usize {
        let pid = self.pid;
        let left = deadline.saturating_duration_since(Instant::now());
        within(left.min(PATIENCE), move || self.release()).unwrap_or_else(|error| {
            tracing::warn!(pid, %error, "putting a container back on the node's files takes too long");
            0
        })
    }

    /// Enters it and takes the mounts away. Tells how many.
    fn release(&self) -> usize {
        // Only a thread that shares its root directory with no other can enter.
        let entered =
            unshare(CloneFlags::CLONE_FS).and_then(|()| setns(&self.file, CloneFlags::CLONE_NEWNS));
        if let Err(error) = entered {
            tracing::warn!(pid = self.pid, %error, "cannot enter the mount namespace of a container");
            return 0;
        }
        let unmounted = |mount: &&PathBuf| match unmount(mount) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(pid = self.pid, mount = %mount.display(), %error, "cannot put a container back on the node's file");
                false
            }
        };
        self.mounts.iter().filter(unmounted).count()
    }
}

/// Unmounts what is on top at `path`, which is absolute, without following links.
fn unmount(path: &Path) -> io::Result<()> {
    let (dir, name) = path
        .parent()
        .zip(path.file_name())
        .unwrap_or((path, OsStr::new(".")));
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    fchdir(openat2(AT_FDCWD, dir, how)?)?;
    detach(Path::new(name))
}
