//! The threads that serve a mount.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;

use fuser::{Config, SessionACL};

use super::ByCaller;
use crate::sys;

/// Threads that answer requests. One may wait for a slow cgroup file while another answers; more
/// are slower, since most of an answer is spent in the kernel's FUSE queue.
const THREADS: usize = 2;

/// The threads that serve a mount.
#[derive(Debug)]
pub struct Session {
    _thread: thread::JoinHandle<()>,
}

impl Session {
    /// Starts to serve `fs` to the mount that `device` is of.
    ///
    /// # Errors
    /// If the kernel's FUSE version is not understood, or threads cannot be started.
    pub fn start(
        device: OwnedFd,
        fs: ByCaller,
        ended: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> io::Result<Self> {
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
        Ok(Self { _thread: thread })
    }
}
