//! Tells with one system call that no limit changed.
//!
//! A container's limits are those of five directories, and each rendering has to know them as
//! they are now. The kernel queues an inotify event within write(2) to a cgroup file, whatever
//! mount or cgroup namespace the writer uses, since all mounts of a hierarchy share their inodes:
//! if nothing is queued, what was read before still holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::dir::Dir;
use crate::lock::lock;

/// Watches directories for writes to their files.
#[derive(Debug)]
pub(super) struct Watch {
    /// `None` if the kernel has no inotify or this user no instance left: then nothing is
    /// remembered, and limits are read each time.
    inotify: Option<Inotify>,
    watched: Mutex<HashMap<WatchDescriptor, Weak<Dir>>>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        if let Err(error) = &inotify {
            tracing::warn!(%error, "no inotify: limits are read each time; raise fs.inotify.max_user_instances");
        }
        Self {
            inotify: inotify.ok(),
            watched: Mutex::default(),
        }
    }

    /// Starts to watch `dir`. `None` if it cannot be watched.
    pub(super) fn add(&self, dir: &Arc<Dir>) -> Option<WatchDescriptor> {
        let inotify = self.inotify.as_ref()?;
        let mut watched = lock(&self.watched);
        let added = inotify.add_watch(dir.path(), AddWatchFlags::IN_MODIFY);
        let descriptor = added
            .inspect_err(
                |error| tracing::debug!(dir = %dir.path().display(), %error, "cannot watch"),
            )
            .ok()?;
        watched.insert(descriptor, Arc::downgrade(dir));
        Some(descriptor)
    }

    /// Stops to watch what `descriptor` stands for.
    pub(super) fn remove(&self, descriptor: WatchDescriptor) {
        let mut watched = lock(&self.watched);
        // The descriptor may be that of a directory which took the name of a removed one.
        let is_dead = |dir: &Weak<Dir>| dir.strong_count() == 0;
        if watched.get(&descriptor).is_some_and(is_dead) {
            watched.remove(&descriptor);
            if let Some(inotify) = &self.inotify {
                // EINVAL if the directory was removed.
                let _ = inotify.rm_watch(descriptor);
            }
        }
    }

    /// Makes directories forget the limits that were written since the last call.
    ///
    /// The lock is held over the read, which never blocks: another reader must not find the queue
    /// empty before this one has told the directories.
    pub(super) fn poll(&self) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        let mut written = Vec::new();
        let mut watched = lock(&self.watched);
        loop {
            let events = match inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => break,
                Err(_) => Vec::new(),
            };
            let lost = events.is_empty()
                || events
                    .iter()
                    .any(|event| event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW));
            if lost {
                written.extend(watched.values().filter_map(Weak::upgrade));
                written.iter().for_each(|dir| dir.forget_limits());
                break;
            }
            for event in events {
                if let Some(dir) = watched.get(&event.wd).and_then(Weak::upgrade) {
                    dir.forget_limits();
                    written.push(dir);
                }
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    watched.remove(&event.wd);
                }
            }
        }
        drop(watched);
        // Dropped without the lock: the last owner of a directory takes it off the watch.
        drop(written);
    }
}
