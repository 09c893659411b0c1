//! Why an operation failed, and the errno that says so.

use std::io;

use super::budget::Exhausted;
use crate::view::OwnerError;

/// An error of the file system.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// There is no such file, or not in this container.
    #[error("no such file")]
    NotFound,
    /// A path goes through something that is no directory.
    #[error("not a directory")]
    NotDirectory,
    /// A directory was to be read as a file.
    #[error("is a directory")]
    IsDirectory,
    /// Not a symbolic link.
    #[error("not a symbolic link")]
    NotLink,
    /// A file that nobody can write was opened for writing.
    #[error("the file cannot be written")]
    ReadOnly,
    /// A trigger was written to a handle that another process gave out.
    #[error("the handle is from before a restart")]
    StaleHandle,
    /// The container has no pressure file: cgroup v1, or a kernel without PSI for cgroups.
    #[error("the container has no pressure file of its own")]
    NoPressure,
    /// It cannot be told whose view the caller gets.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The container that opened the file has ended.
    #[error("the container of this open file has ended")]
    Gone,
    /// There are too many open files.
    #[error("{0} open files")]
    TooManyFiles(#[from] Exhausted),
    /// There are too many triggers.
    #[error("{0} pressure triggers")]
    TooManyTriggers(Exhausted),
    /// Too many triggers are being set at this moment.
    #[error("too many pressure triggers are being set")]
    Busy,
    /// The kernel's own error of a file in sysfs, such as EIO of an attribute that the device does not have.
    #[error("the kernel says: {0}")]
    Kernel(#[source] io::Error),
    /// The kernel did not take a trigger.
    #[error("the kernel refused the trigger: {0}")]
    Trigger(#[source] io::Error),
    /// The host's own file cannot be read.
    #[error("cannot read the host's file: {0}")]
    Host(#[source] io::Error),
}

impl FsError {
    /// The errno for the caller.
    pub fn errno(&self) -> i32 {
        match self {
            Self::NotFound => libc::ENOENT,
            Self::NotDirectory => libc::ENOTDIR,
            Self::IsDirectory => libc::EISDIR,
            Self::NotLink => libc::EINVAL,
            Self::ReadOnly => libc::EACCES,
            Self::StaleHandle => libc::ESTALE,
            Self::NoPressure => libc::EOPNOTSUPP,
            Self::Owner(error) => error.errno(),
            Self::Gone => libc::ENODEV,
            Self::TooManyFiles(Exhausted::Own) => libc::EMFILE,
            Self::TooManyFiles(Exhausted::All) => libc::ENFILE,
            Self::TooManyTriggers(_) => libc::ENOSPC,
            Self::Busy => libc::EBUSY,
            Self::Trigger(error) | Self::Host(error) | Self::Kernel(error) => {
                error.raw_os_error().unwrap_or(libc::EIO)
            }
        }
    }

    /// Whether the agent failed, and not the caller or the kernel.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Host(_))
    }
}
