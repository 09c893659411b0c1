//! The host's cgroup namespace.
//!
//! In a namespace of its own the agent would see the paths of `/proc/<tid>/cgroup` relative to
//! its own cgroup, those of other containers as `/../..`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};

/// Why the host's cgroup namespace cannot be entered.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process is in a cgroup namespace of its own and cannot enter that of {path}: {source}; run it with the host's pid namespace (hostPID: true) and CAP_SYS_ADMIN"
)]
pub struct NamespaceError {
    path: PathBuf,
    source: io::Error,
}

/// Enters the cgroup namespace of process 1 of `proc`, unless this thread is in it already. Has
/// to be called before other threads start, since a namespace belongs to a thread.
///
/// # Errors
/// [`NamespaceError`] if there is another namespace that cannot be entered.
pub fn enter_host_cgroup(proc: &Path) -> Result<(), NamespaceError> {
    let path = proc.join("1/ns/cgroup");
    let same = match (fs::read_link(&path), fs::read_link("/proc/self/ns/cgroup")) {
        (Ok(host), Ok(own)) => host == own,
        // No cgroup namespaces in this kernel (before Linux 4.6), or a /proc without process 1.
        _ => true,
    };
    if same {
        return Ok(());
    }
    File::open(&path)
        .and_then(|namespace| Ok(setns(namespace, CloneFlags::CLONE_NEWCGROUP)?))
        .map_err(|source| NamespaceError { path, source })
}
