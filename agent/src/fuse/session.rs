//! The FUSE device, the mount, and the threads that serve it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use fuser::{Config, SessionACL};
use nix::mount::{MsFlags, mount};

use super::ByCaller;
use crate::mount::{self, FSTYPE, MountError};
use crate::mountinfo::MountTable;
use crate::sys;

/// Threads that answer requests. One may wait for a slow cgroup file while another answers; more
/// are slower, since most of an answer is spent in the kernel's FUSE queue.
const THREADS: usize = 2;

/// A mounted view. Dropping it unmounts.
#[derive(Debug)]
pub struct Mount {
    dir: PathBuf,
    device: Option<OwnedFd>,
}

impl Mount {
    /// Opens the FUSE device and mounts it at `dir`, which [`mount::prepare`] has looked at.
    ///
    /// # Errors
    /// [`MountError`] that names what is missing.
    pub fn new(dir: &Path) -> Result<Self, MountError> {
        let device = mount::open_device()?;
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
            device: Some(File::into(device)),
        })
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

    /// Starts to serve `fs`.
    ///
    /// # Errors
    /// If the kernel's FUSE version is not understood, or threads cannot be started.
    pub fn serve(
        &mut self,
        fs: ByCaller,
        ended: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> io::Result<Session> {
        let device = self
            .device
            .take()
            .ok_or_else(|| io::Error::other("the mount is served already"))?;
        let mut config = Config::default();
        config.acl = SessionACL::All;
        config.n_threads = Some(THREADS);
        let session = fuser::Session::from_fd(fs, device, SessionACL::All, config)?;
        let thread = thread::Builder::new()
            .name("fuse".to_owned())
            .spawn(move || {
                // A thread that is woken does not take the CPU from who woke it then: a reader gets
                // to its next request, or to sleep, and fewer switches make an answer.
                if let Err(error) = sys::schedule_as_batch() {
                    tracing::debug!(%error, "serving threads are not SCHED_BATCH");
                }
                ended(session.run());
            })?;
        Ok(Session { _thread: thread })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Detached, since readers may be in it; what they have open gets its answers until the
        // process ends.
        if let Err(error) = mount::detach(&self.dir) {
            tracing::warn!(view = %self.dir.display(), %error, "cannot unmount");
        }
    }
}

/// The threads that serve a mount.
#[derive(Debug)]
pub struct Session {
    _thread: thread::JoinHandle<()>,
}
