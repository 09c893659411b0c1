//! Why an operation failed, and the errno that says so.

use std::io;

use tracing::Level;

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
            Self::Trigger(error) | Self::Host(error) => error.raw_os_error().unwrap_or(libc::EIO),
        }
    }

    /// How loudly to say so: what a caller did wrong is not the operator's concern.
    pub fn level(&self) -> Level {
        match self {
            Self::Host(_) => Level::WARN,
            _ => Level::DEBUG,
        }
    }
}
