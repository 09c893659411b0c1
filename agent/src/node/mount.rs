//! The mount of a view: what has to be there before, and what must not be.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{FUSE_SUPER_MAGIC, statfs};

use super::mountinfo::MountTable;
use crate::deadline::within;

/// The file system type in `/proc/mounts`.
const FSTYPE: &str = "fuse.procview";

/// The FUSE device.
const DEVICE: &str = "/dev/fuse";

/// How long a mounted view may take to answer before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(5);

/// What may lie beneath the mount: placeholders of the view's own names.
const PLACEHOLDERS: [&str; 2] = ["proc", "sys"];

/// Why a view cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// Not root.
    #[error("mounting a view takes root: run as root, in a container with privileged: true")]
    NotRoot,
    /// The FUSE device cannot be opened.
    #[error(
        "cannot open /dev/fuse: {0}; load the module with `modprobe fuse`, in a container make the device available"
    )]
    Device(#[source] io::Error),
    /// The directory cannot be made or looked at.
    #[error("cannot use {dir} as the view's directory: {source}")]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file, or a symbolic link.
    #[error("{0} is not a directory: give --view a directory of its own")]
    NotDirectory(PathBuf),
    /// Something is in it that the mount would hide.
    #[error("{dir} is not empty, it holds `{name}`: give --view an empty directory")]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// One of its entries.
        name: String,
    },
    /// Another agent serves it.
    #[error(
        "{0} is already a mounted view: stop the agent that serves it, or give --view another directory"
    )]
    AlreadyServed(PathBuf),
    /// A view that does not answer.
    #[error(
        "the view mounted at {0} does not answer: stop the agent that serves it, then `umount -l {0}`"
    )]
    Hung(PathBuf),
    /// A broken mount of something else.
    #[error(
        "a broken {fstype} mount is at {dir}: `umount -l {dir}`, or give --view another directory"
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Its file system type.
        fstype: String,
    },
    /// The agent would read its own answers.
    #[error(
        "{0} is a FUSE file, not the kernel's: name the host's procfs with --proc, and keep views out of the agent's own container"
    )]
    NotNative(PathBuf),
    /// The mount table cannot be read.
    #[error("cannot read /proc/self/mountinfo: {0}; mount procfs at /proc")]
    MountTable(#[source] io::Error),
    /// mount(2) failed.
    #[error("cannot mount FUSE at {dir}: {source}; it takes CAP_SYS_ADMIN and a kernel with FUSE")]
    Mount {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes `dir` ready for a view: creates it if it is not there, and takes the dead mount of an
/// agent that was killed away. Returns its absolute path.
///
/// # Errors
/// [`MountError`] for anything that a mount would hide or that somebody else mounted.
pub fn prepare(dir: &Path) -> Result<PathBuf, MountError> {
    open_device()?;
    let failed = |source| MountError::Directory {
        dir: dir.to_path_buf(),
        source,
    };
    // Only the parent is resolved: looking at a dead or hung mount fails or hangs.
    let parent = match dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(failed)?;
    let name = dir
        .file_name()
        .ok_or_else(|| MountError::NotDirectory(dir.to_path_buf()))?;
    let dir = fs::canonicalize(parent).map_err(failed)?.join(name);
    let mounted = || {
        let table = MountTable::of(Path::new("/proc/self")).map_err(MountError::MountTable)?;
        Ok::<_, MountError>(table.at(&dir).map(|mount| mount.fstype.clone()))
    };
    while let Some(fstype) = mounted()? {
        match (fstype.as_str(), answers(&dir)) {
            (FSTYPE, Some(Ok(()))) => return Err(MountError::AlreadyServed(dir)),
            (FSTYPE, None) => return Err(MountError::Hung(dir)),
            (FSTYPE, Some(Err(_))) => {
                tracing::warn!(view = %dir.display(), "taking the dead mount of an earlier agent away");
                detach(&dir).map_err(|source| MountError::Mount {
                    dir: dir.clone(),
                    source,
                })?;
            }
            // An empty volume of its own is as good as a directory.
            (_, Some(Ok(()))) => break,
            (_, _) => return Err(MountError::Foreign { dir, fstype }),
        }
    }
    match fs::create_dir(&dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(MountError::Directory { dir, source }),
    }
    check_empty(&dir)?;
    Ok(dir)
}

/// A mounted view. Dropping it unmounts.
#[derive(Debug)]
pub struct Mount {
    dir: PathBuf,
    device: File,
}

impl Mount {
    /// Opens the FUSE device and mounts it at `dir`, which [`prepare`] has looked at.
    ///
    /// # Errors
    /// [`MountError`] that names what is missing.
    pub fn new(dir: &Path) -> Result<Self, MountError> {
        let device = open_device()?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions",
            device.as_raw_fd()
        );
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(
            Some("procview"),
            dir,
            Some(FSTYPE),
            flags,
            Some(options.as_str()),
        )
        .map_err(|errno| MountError::Mount {
            dir: dir.to_path_buf(),
            source: errno.into(),
        })?;
        Ok(Self {
            dir: dir.to_path_buf(),
            device,
        })
    }

    /// The FUSE device, for who serves the mount.
    ///
    /// # Errors
    /// If this process may open no more files.
    pub fn device(&self) -> io::Result<OwnedFd> {
        Ok(self.device.try_clone()?.into())
    }

    /// The file system's device in mount tables, `major:minor`.
    ///
    /// # Errors
    /// If somebody unmounted it, or the mount table cannot be read.
    pub fn device_number(&self) -> io::Result<String> {
        let table = MountTable::of(Path::new("/proc/self"))?;
        let mount = table.at(&self.dir).filter(|mount| mount.fstype == FSTYPE);
        let mount = mount.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(mount.device.clone())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Detached, since readers may be in it; what they have open gets its answers until the
        // process ends.
        if let Err(error) = detach(&self.dir) {
            tracing::warn!(view = %self.dir.display(), %error, "cannot unmount");
        }
    }
}

/// Opens the FUSE device, which takes root.
///
/// # Errors
/// [`MountError`] that names what is missing.
pub(super) fn open_device() -> Result<File, MountError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(MountError::NotRoot);
    }
    let mut options = File::options();
    let device = options.read(true).write(true).open(DEVICE);
    device.map_err(MountError::Device)
}

/// Unmounts what is on top at `path`, which is no link, though somebody may be in it.
///
/// # Errors
/// Those of umount2(2).
pub fn detach(path: &Path) -> io::Result<()> {
    let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
    Ok(umount2(path, flags)?)
}

/// Checks that `file`, one of procfs, is the kernel's and not one of a view: a view that draws on
/// another waits for itself.
///
/// # Errors
/// [`MountError::NotNative`]; none if the file is not there at all.
pub fn check_native(file: &Path) -> Result<(), MountError> {
    match statfs(file) {
        Ok(found) if found.filesystem_type() == FUSE_SUPER_MAGIC => {
            Err(MountError::NotNative(file.to_path_buf()))
        }
        _ => Ok(()),
    }
}

fn check_empty(dir: &Path) -> Result<(), MountError> {
    let failed = |source| MountError::Directory {
        dir: dir.to_path_buf(),
        source,
    };
    if !fs::symlink_metadata(dir).map_err(failed)?.is_dir() {
        return Err(MountError::NotDirectory(dir.to_path_buf()));
    }
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !PLACEHOLDERS.iter().any(|placeholder| name == *placeholder) {
            return Err(MountError::NotEmpty {
                dir: dir.to_path_buf(),
                name: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

/// Whether the file system mounted at `dir` answers; `None` if it takes too long.
fn answers(dir: &Path) -> Option<io::Result<()>> {
    let dir = dir.to_path_buf();
    // Not stat(2) of the root, whose attributes the kernel caches.
    within(PATIENCE, move || fs::read_dir(dir).map(drop)).ok()
}
