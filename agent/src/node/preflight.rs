//! What a node has to have before its view can be mounted where the kubelet and the runtime find it.

use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{getpid, getppid};

use super::mount::{MountError, open_device};
use super::mountinfo::MountTable;

/// What a node, or the way the agent is run on it, lacks.
#[derive(Debug, thiserror::Error)]
pub enum Lack {
    /// Root, or the FUSE device.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The host's pid namespace.
    #[error(
        "the agent is in a pid namespace of its own and sees no container's processes: run its pod with hostPID: true"
    )]
    HostPid,
    /// A mount table cannot be read.
    #[error("cannot read {path}: {source}; run the agent privileged and with hostPID: true")]
    Table {
        /// The table.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is mounted in the agent's container does not reach the node.
    #[error(
        "{at} is not a shared mount {of}, so no container would see a view below {parent}: {remedy} `mount --make-rshared {at}`"
    )]
    NotShared {
        /// The mount in question.
        at: PathBuf,
        /// For whom.
        of: &'static str,
        /// The agent's directory.
        parent: PathBuf,
        /// Where to set that right.
        remedy: &'static str,
    },
    /// The view is mounted, and the node does not have it.
    #[error(
        "the view at {0} does not appear on the node: mount {0}'s parent into the agent's container from the same path on the node, with mountPropagation: Bidirectional"
    )]
    NotSeen(PathBuf),
}

/// Looks whether a view can be mounted below `parent`: as a pod's first step, whose container has
/// no part in the node's mounts. A later container that wants to share them is refused by the
/// runtime, in its own words, if the node's are private.
///
/// # Errors
/// [`Lack`].
pub fn check(proc: &Path, parent: &Path) -> Result<(), Lack> {
    process()?;
    shared(&node(proc), parent, "on the node", "run there")
}

/// Looks whether this process has what it takes: root, the host's processes, the FUSE device.
///
/// # Errors
/// [`Lack`].
pub fn process() -> Result<(), Lack> {
    if getpid().as_raw() == 1 {
        return Err(Lack::HostPid);
    }
    open_device()?;
    Ok(())
}

/// Looks whether what this process mounts below `parent` reaches the node.
///
/// # Errors
/// [`Lack`].
pub fn sharing(parent: &Path) -> Result<(), Lack> {
    shared(
        Path::new("/proc/self"),
        parent,
        "for the agent",
        "mount it with mountPropagation: Bidirectional, or outside of containers run",
    )
}

/// Looks whether the node has the view that this process mounted at `view`, the file system with
/// `device` (`major:minor`).
///
/// # Errors
/// [`Lack`].
pub fn seen(proc: &Path, view: &Path, device: &str) -> Result<(), Lack> {
    let node = table(&node(proc))?;
    match node.at(view) {
        Some(mount) if mount.device == device => Ok(()),
        _ => Err(Lack::NotSeen(view.to_path_buf())),
    }
}

/// The directory in `proc` of a process in the node's mount namespace, where containers come from:
/// who started this process, which is the runtime's monitor or systemd.
fn node(proc: &Path) -> PathBuf {
    proc.join(getppid().as_raw().max(1).to_string())
}

fn shared(
    process: &Path,
    parent: &Path,
    of: &'static str,
    remedy: &'static str,
) -> Result<(), Lack> {
    let table = table(process)?;
    match table.of_path(parent) {
        Some(mount) if mount.shared => Ok(()),
        found => Err(Lack::NotShared {
            at: found.map_or_else(|| PathBuf::from("/"), |mount| mount.at.clone()),
            of,
            parent: parent.to_path_buf(),
            remedy,
        }),
    }
}

fn table(process: &Path) -> Result<MountTable, Lack> {
    MountTable::of(process).map_err(|source| Lack::Table {
        path: process.join("mountinfo"),
        source,
    })
}
