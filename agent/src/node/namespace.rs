//! The host's cgroup namespace.
//!
//! In a namespace of its own the agent would see the paths of `/proc/<tid>/cgroup` relative to
//! its own cgroup, those of other containers as `/../..`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};
use procview::parse::cgroup_lines;

/// Why the host's cgroup paths cannot be seen.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// There is another namespace, and it cannot be entered.
    #[error(
        "this process is in a cgroup namespace of its own and cannot enter that of {path}: {source}; run it with the host's pid namespace (hostPID: true) and CAP_SYS_ADMIN"
    )]
    Enter {
        /// The host's namespace.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Process 1 is outside of what this namespace shows, and its namespace cannot be looked at.
    #[error(
        "this process is in a cgroup namespace of its own and may not look at {0}; give it the capabilities of process 1, or start it in the host's cgroup namespace"
    )]
    Look(PathBuf),
}

/// Enters the cgroup namespace of process 1 of `proc`, unless this thread is in it already. Has
/// to be called before other threads start, since a namespace belongs to a thread.
///
/// # Errors
/// [`NamespaceError`] if there is another namespace that cannot be entered.
pub fn enter_host_cgroup(proc: &Path) -> Result<(), NamespaceError> {
    let path = proc.join("1/ns/cgroup");
    match (fs::read_link(&path), fs::read_link("/proc/self/ns/cgroup")) {
        (Ok(host), Ok(own)) if host == own => Ok(()),
        (Ok(_), Ok(_)) => File::open(&path)
            .and_then(|namespace| Ok(setns(namespace, CloneFlags::CLONE_NEWCGROUP)?))
            .map_err(|source| NamespaceError::Enter { path, source }),
        // The paths of what is outside of a namespace lead out of its root.
        (Err(_), _) if is_outside(&proc.join("1/cgroup")) => Err(NamespaceError::Look(path)),
        // No cgroup namespaces in this kernel (before Linux 4.6), or a /proc without process 1.
        _ => Ok(()),
    }
}

fn is_outside(cgroup: &Path) -> bool {
    let text = fs::read(cgroup).unwrap_or_default();
    cgroup_lines(&text).any(|line| line.path.starts_with(b"/.."))
}
