//! Finds containers in the cgroup tree, so that their load counts from their start and not from
//! the first read.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use procview::parse::container_id;

use super::tasks::{self, Most};

/// Everything is listed anew so often, whatever inotify says.
const FULL_EVERY: Duration = Duration::from_secs(600);

/// A container gets its first process at once after its cgroup was made. It is looked for after this time,
/// then after twice of it, and so on.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// What the last listing of each directory outside of containers found.
///
/// Each of them is watched for new directories, so a search that has nothing to find costs one
/// system call.
#[derive(Debug)]
pub(super) struct Discovery {
    root: PathBuf,
    inotify: Option<Inotify>,
    listed: HashMap<PathBuf, Listing>,
    listed_all: Option<Instant>,
    /// How long to wait for the first process of a container.
    patience: Duration,
}

#[derive(Debug, Default)]
struct Listing {
    /// `None` if the directory cannot be watched: it is listed each time.
    watch: Option<WatchDescriptor>,
    below: Vec<PathBuf>,
    containers: Vec<PathBuf>,
    /// Whether a container had no process yet.
    unfinished: bool,
}

/// The names that were created in each watched directory since the last search; `None` if the
/// kernel had to drop some.
type Created = Option<HashMap<WatchDescriptor, Vec<OsString>>>;

impl Discovery {
    /// Searches below `root`, a hierarchy that every container is in.
    pub(super) fn new(root: &Path) -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        Self {
            root: root.to_path_buf(),
            inotify: inotify.ok(),
            listed: HashMap::new(),
            listed_all: None,
            patience: FIRST_LOOK,
        }
    }

    /// Waits until there may be something to find, but no longer than `most`.
    pub(super) fn wait(&mut self, most: Duration) {
        let is_unfinished = self.listed.values().any(|listing| listing.unfinished);
        let wait = if is_unfinished {
            self.patience.min(most)
        } else {
            most
        };
        self.patience = self.patience.saturating_mul(2);
        let Some(inotify) = &self.inotify else {
            return thread::sleep(wait);
        };
        let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        // Interrupted, it finds nothing.
        if poll(&mut fds, timeout).is_ok_and(|ready| ready > 0) {
            self.patience = FIRST_LOOK;
        }
    }

    /// Calls `found` with a process of each container that was made since the last search.
    pub(super) fn search(&mut self, mut found: impl FnMut(u32)) {
        let full = self
            .listed_all
            .is_none_or(|listed| listed.elapsed() >= FULL_EVERY);
        if full {
            self.listed_all = Some(Instant::now());
        }
        let created = self.created();
        let is_due = |listing: &Listing| {
            let Some((created, watch)) = created.as_ref().zip(listing.watch) else {
                return true;
            };
            listing.unfinished || created.contains_key(&watch)
        };
        if !full && !self.listed.is_empty() && !self.listed.values().any(is_due) {
            return;
        }
        let mut before = std::mem::take(&mut self.listed);
        let mut pending = vec![self.root.clone()];
        while let Some(dir) = pending.pop() {
            let known = before.remove(&dir);
            let listing = match known {
                Some(known) if !full && !is_due(&known) => known,
                known => {
                    let mut known = known.unwrap_or_default();
                    if let Some((created, watch)) = created.as_ref().zip(known.watch) {
                        // Another may have taken the name of one that went away.
                        for name in created.get(&watch).into_iter().flatten() {
                            let new = dir.join(name);
                            known.containers.retain(|path| *path != new);
                            before.remove(&new);
                        }
                    }
                    // Watched before it is listed: what comes in between is told. To watch it
                    // again changes nothing.
                    let watch = self.watch(&dir);
                    list(&dir, watch, &known.containers, &mut found)
                }
            };
            pending.extend(listing.below.iter().cloned());
            self.listed.insert(dir, listing);
        }
    }

    fn watch(&self, dir: &Path) -> Option<WatchDescriptor> {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ONLYDIR;
        self.inotify.as_ref()?.add_watch(dir, flags).ok()
    }

    fn created(&self) -> Created {
        let mut created: HashMap<_, Vec<_>> = HashMap::new();
        // EAGAIN: that was all.
        while let Ok(events) = self.inotify.as_ref()?.read_events() {
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    return None;
                }
                created.entry(event.wd).or_default().extend(event.name);
            }
        }
        Some(created)
    }
}

fn list(
    dir: &Path,
    watch: Option<WatchDescriptor>,
    known: &[PathBuf],
    found: &mut impl FnMut(u32),
) -> Listing {
    let mut listing = Listing {
        watch,
        ..Listing::default()
    };
    let Ok(entries) = fs::read_dir(dir) else {
        return listing;
    };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        let parent = dir.file_name().unwrap_or_default();
        if container_id(parent.as_bytes(), entry.file_name().as_bytes()).is_none() {
            listing.below.push(path);
        } else if known.contains(&path) {
            listing.containers.push(path);
        } else {
            match first_process(&path) {
                Some(pid) => {
                    found(pid);
                    listing.containers.push(path);
                }
                None => listing.unfinished = true,
            }
        }
    }
    listing
}

/// A process of the container with that cgroup.
fn first_process(cgroup: &Path) -> Option<u32> {
    let most = Most {
        tasks: usize::MAX,
        cgroups: 1000,
    };
    tasks::collect(cgroup, "cgroup.procs", most)?
        .first()
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_container_is_found_once_and_again_after_it_was_replaced() {
        let root = tempfile::tempdir().expect("a directory for the test");
        let container = root.path().join("kubepods/pod1").join(ID);
        fs::create_dir_all(&container).expect("a cgroup");
        let mut discovery = Discovery::new(root.path());
        let search = |discovery: &mut Discovery| {
            let mut found = Vec::new();
            discovery.search(|pid| found.push(pid));
            found
        };
        fs::write(container.join("cgroup.procs"), "").expect("no process yet");
        assert_eq!(search(&mut discovery), [0_u32; 0]);
        fs::write(container.join("cgroup.procs"), "7\n8\n").expect("two processes");
        assert_eq!(search(&mut discovery), [7]);
        assert_eq!(search(&mut discovery), [0_u32; 0]);
        fs::remove_dir_all(&container).expect("the container ends");
        assert_eq!(search(&mut discovery), [0_u32; 0]);
        fs::create_dir_all(&container).expect("another of the same name");
        fs::write(container.join("cgroup.procs"), "9\n").expect("its process");
        assert_eq!(search(&mut discovery), [9]);
        let other = container.with_file_name(ID.replace('0', "f"));
        fs::create_dir_all(&other).expect("one beside it");
        fs::write(other.join("cgroup.procs"), "10\n").expect("its process");
        assert_eq!(search(&mut discovery), [10]);
        assert_eq!(search(&mut discovery), [0_u32; 0]);
    }
}
