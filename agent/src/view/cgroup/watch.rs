//! Tells with one system call that no limit changed and that no container went away.
//!
//! A container's limits are those of five directories, and each rendering has to know them as
//! they are now. The kernel queues an inotify event within write(2) to a cgroup file and within
//! mkdir(2) and rmdir(2), whatever mount or cgroup namespace the caller uses, since all mounts of a
//! hierarchy share their inodes: if nothing is queued, what was known before still holds. A directory is not
//! told of its own removal, so its parent is watched.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use crate::lock::lock;

/// So many reads of the queue at once, some hundred events each: whoever writes to cgroup files without end
/// must not keep a reader here.
const MOST_READS: usize = 16;

/// A cgroup of v1 can be renamed, too.
const LOST_ITS_NAME: AddWatchFlags = AddWatchFlags::IN_DELETE.union(AddWatchFlags::IN_MOVED_FROM);

/// What the kernel told of one directory.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Grows with each write to one of its files.
    writes: AtomicU64,
    /// Whether its name was removed, or may have been.
    doubted: AtomicBool,
}

impl Told {
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    fn written(&self) {
        self.writes.fetch_add(1, Ordering::AcqRel);
    }

    fn doubt(&self) {
        self.doubted.store(true, Ordering::Release);
    }

    /// Whether somebody has to look whether the directory is still there; tells so once.
    pub(super) fn take_doubt(&self) -> bool {
        // A load first: this is asked at every look-up, and seldom true.
        self.doubted.load(Ordering::Acquire) && self.doubted.swap(false, Ordering::AcqRel)
    }
}

/// Watches directories.
#[derive(Debug)]
pub(super) struct Watch {
    /// `None` if the kernel has no inotify or this user no instance left: then nothing is remembered.
    inotify: Option<Inotify>,
    watched: Mutex<HashMap<WatchDescriptor, Watched>>,
}

/// Who is to be told of one directory.
#[derive(Debug, Default)]
struct Watched {
    /// That a file of it was written.
    itself: Weak<Told>,
    /// That one in it was removed, by name.
    children: HashMap<OsString, Weak<Told>>,
}

impl Watched {
    fn is_dead(&self) -> bool {
        self.itself.strong_count() == 0 && self.children.is_empty()
    }

    fn lost(&self) {
        if let Some(told) = self.itself.upgrade() {
            told.written();
        }
        for told in self.children.values().filter_map(Weak::upgrade) {
            told.doubt();
        }
    }
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

    /// Tells `told` from now on of writes to files of `dir`. `false` if it cannot be watched.
    pub(super) fn writes(&self, dir: &Path, told: &Arc<Told>) -> bool {
        self.add(dir, |watched| watched.itself = Arc::downgrade(told))
    }

    /// Tells `told` from now on that `dir` was removed. `false` if its parent cannot be watched.
    pub(super) fn removal(&self, dir: &Path, told: &Arc<Told>) -> bool {
        let Some((parent, name)) = dir.parent().zip(dir.file_name()) else {
            return false;
        };
        self.add(parent, |watched| {
            watched
                .children
                .insert(name.to_owned(), Arc::downgrade(told));
        })
    }

    fn add(&self, dir: &Path, note: impl FnOnce(&mut Watched)) -> bool {
        let Some(inotify) = &self.inotify else {
            return false;
        };
        // The same for all: another set would replace the first one.
        let flags = AddWatchFlags::IN_MODIFY | LOST_ITS_NAME | AddWatchFlags::IN_ONLYDIR;
        let mut watched = lock(&self.watched);
        match inotify.add_watch(dir, flags) {
            Ok(descriptor) => {
                note(watched.entry(descriptor).or_default());
                true
            }
            Err(error) => {
                tracing::debug!(dir = %dir.display(), %error, "cannot watch");
                false
            }
        }
    }

    /// Tells all who have to know what happened since the last call.
    ///
    /// The lock is held over the read, which never blocks: another reader must not find the queue
    /// empty before this one has told.
    pub(super) fn poll(&self) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        let mut watched = lock(&self.watched);
        for _ in 0..MOST_READS {
            match inotify.read_events() {
                Ok(events) => events.iter().for_each(|event| tell(&mut watched, event)),
                Err(Errno::EAGAIN) => return,
                Err(_) => break,
            }
        }
        // There is more than can be read now: what it says may be true of anyone.
        watched.values().for_each(Watched::lost);
    }

    /// Stops to watch for those who are gone.
    pub(super) fn sweep(&self) {
        let mut watched = lock(&self.watched);
        watched.retain(|descriptor, watched| {
            watched.children.retain(|_, told| told.strong_count() > 0);
            let dead = watched.is_dead();
            if let (true, Some(inotify)) = (dead, &self.inotify) {
                // EINVAL if the directory was removed.
                let _ = inotify.rm_watch(*descriptor);
            }
            !dead
        });
    }
}

fn tell(watched: &mut HashMap<WatchDescriptor, Watched>, event: &InotifyEvent) {
    if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
        watched.values().for_each(Watched::lost);
        return;
    }
    if event.mask.contains(AddWatchFlags::IN_IGNORED) {
        watched.remove(&event.wd);
        return;
    }
    let Some(known) = watched.get_mut(&event.wd) else {
        return;
    };
    if event.mask.contains(AddWatchFlags::IN_MODIFY)
        && let Some(told) = known.itself.upgrade()
    {
        told.written();
    }
    if event.mask.intersects(LOST_ITS_NAME) {
        let name = event.name.as_deref().unwrap_or(OsStr::new(""));
        if let Some(told) = known.children.remove(name).and_then(|told| told.upgrade()) {
            told.doubt();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn removals_and_writes_are_told_once() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("container");
        fs::create_dir(&dir).expect("a directory");
        fs::write(dir.join("memory.max"), "1").expect("a file");
        let (watch, told) = (Watch::new(), Arc::new(Told::default()));
        assert!(watch.writes(&dir, &told) && watch.removal(&dir, &told));
        watch.poll();
        assert_eq!((told.writes(), told.take_doubt()), (0, false));
        fs::write(dir.join("memory.max"), "2").expect("a file");
        watch.poll();
        assert!(told.writes() > 0 && !told.take_doubt());
        fs::remove_dir_all(&dir).expect("it goes");
        fs::create_dir(&dir).expect("another of its name");
        watch.poll();
        assert!(told.take_doubt() && !told.take_doubt());
        assert!(watch.removal(&dir, &told));
        fs::rename(&dir, root.path().join("other")).expect("it gets another name");
        watch.poll();
        assert!(told.take_doubt());
    }

    #[test]
    fn a_flood_of_writes_costs_no_reader_more_than_a_look() {
        let root = tempfile::tempdir().expect("a directory");
        let (watch, told) = (Watch::new(), Arc::new(Told::default()));
        let other = Arc::new(Told::default());
        let dir = root.path().join("quiet");
        fs::create_dir(&dir).expect("a directory");
        assert!(watch.writes(root.path(), &told) && watch.removal(&dir, &other));
        // Two files in turn, since the kernel merges events that are the same.
        for number in 0..6000 {
            fs::write(
                root.path().join(if number % 2 == 0 { "a" } else { "b" }),
                "x",
            )
            .expect("a file");
        }
        watch.poll();
        assert!(
            other.take_doubt(),
            "what was not read may have been anything"
        );
    }

    #[test]
    fn what_nobody_knows_is_not_watched() {
        let root = tempfile::tempdir().expect("a directory");
        let (watch, told) = (Watch::new(), Arc::new(Told::default()));
        assert!(watch.writes(root.path(), &told));
        watch.sweep();
        assert_eq!(lock(&watch.watched).len(), 1);
        drop(told);
        watch.sweep();
        assert_eq!(lock(&watch.watched).len(), 0);
    }
}
