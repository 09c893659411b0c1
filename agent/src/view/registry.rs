//! All containers of the node that somebody asked for or that were found.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, Once};

use procview::account::MICROS_PER_TICK;
use procview::cpu::Rounding;
use procview::load::Threads;
use procview::parse::thread_stat;

use super::caller::Callers;
use super::cgroup::{Cgroup, Dirs, Layout};
use super::container::Container;
use super::follow::Task;
use super::hostproc::HostProc;
use super::load;
use super::tasks::{self, Most};
use crate::clock;
use crate::lock::lock;

/// Beyond so many bytes of `/proc/<tid>/cgroup` texts the table of them starts anew; a container has as
/// many texts as it has cgroups with readers in them.
const MOST_TEXT_BYTES: usize = 8 << 20;

/// How often it is tried to tell whose view a thread gets: its container may end, or start anew under the
/// same path, while it is looked up.
const TRIES: usize = 3;

/// Whose view a reader gets.
#[derive(Debug, Clone)]
pub enum Owner {
    /// A container's.
    Container(Arc<Container>),
    /// The host's own files: the reader is in the root cgroup, or out of sight.
    Host,
}

impl Owner {
    fn is_gone(&self) -> bool {
        match self {
            Self::Container(container) => container.cgroup().is_gone(),
            Self::Host => false,
        }
    }
}

/// Why it cannot be told whose view a thread gets. It is nobody's then: not the host's, and not that of
/// whoever had the thread's place before.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell which container thread {tid} is in: {source}")]
pub struct OwnerError {
    tid: u32,
    source: io::Error,
}

impl OwnerError {
    /// The kernel's errno; ESRCH for a thread that has ended, or whose container has.
    pub fn errno(&self) -> i32 {
        match self.source.raw_os_error() {
            None | Some(libc::ENOENT) => libc::ESRCH,
            Some(errno) => errno,
        }
    }
}

/// Containers by the text of `/proc/<tid>/cgroup` of the threads in them.
#[derive(Debug)]
pub struct Registry {
    layout: Layout,
    dirs: Arc<Dirs>,
    callers: Callers,
    host: Arc<HostProc>,
    rounding: Rounding,
    table: Mutex<Table>,
    /// What is to be done beside the serving threads.
    tasks: Sender<Task>,
}

#[derive(Debug, Default)]
struct Table {
    by_text: HashMap<Box<[u8]>, Owner>,
    text_bytes: usize,
    /// By paths and inode numbers of their cgroups.
    by_key: HashMap<Vec<(PathBuf, u64)>, Arc<Container>>,
}

impl Registry {
    /// `most_open` cgroup files are kept open at most. What takes longer than a reader may wait comes out of
    /// the receiver, for [`follow`](super::follow).
    pub fn new(
        layout: Layout,
        proc: &Path,
        host: Arc<HostProc>,
        rounding: Rounding,
        most_open: usize,
    ) -> (Self, Receiver<Task>) {
        let (tasks, receiver) = mpsc::channel();
        let registry = Self {
            layout,
            dirs: Arc::new(Dirs::new(most_open)),
            callers: Callers::new(proc),
            host,
            rounding,
            table: Mutex::default(),
            tasks,
        };
        (registry, receiver)
    }

    /// Where the controllers are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What `/proc/<tid>` tells.
    pub fn callers(&self) -> &Callers {
        &self.callers
    }

    /// Learns which limits were written and which cgroups were removed.
    pub fn refresh(&self) {
        self.dirs.refresh();
    }

    /// Whose view thread `tid` gets. One that the kernel reports as 0, because this pid namespace does not
    /// show it, gets the host's.
    ///
    /// # Errors
    /// [`OwnerError`] if that cannot be told, also at another try.
    pub fn owner_of(&self, tid: u32) -> Result<Owner, OwnerError> {
        if tid == 0 {
            static ONCE: Once = Once::new();
            ONCE.call_once(|| {
                tracing::warn!("a reader is outside of this pid namespace and sees the host's files; run the agent with the host's pid namespace (hostPID: true)");
            });
            return Ok(Owner::Host);
        }
        let mut text = Vec::new();
        let mut attempt = || {
            self.callers.cgroup(tid, &mut text)?;
            self.owner_by_text(&text)
        };
        let mut result = attempt();
        for _ in 1..TRIES {
            let Err(error) = &result else {
                break;
            };
            self.callers.forget(tid);
            if matches!(
                error.raw_os_error(),
                Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)
            ) {
                self.close_files();
            }
            result = attempt();
        }
        result.map_err(|source| OwnerError { tid, source })
    }

    /// Whether the cgroups of thread `tid` are where they are looked for.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, tid: u32) -> Result<(), OwnerError> {
        let mut text = Vec::new();
        let found = self.callers.cgroup(tid, &mut text);
        let found = found.and_then(|()| self.layout.cgroup(&text, &self.dirs));
        found.map(drop).map_err(|source| OwnerError { tid, source })
    }

    /// Whose view a thread gets whose `/proc/<tid>/cgroup` was `text` just now.
    ///
    /// # Errors
    /// ENOENT if the cgroup is gone by now; those of looking at its directories.
    pub fn owner_by_text(&self, text: &[u8]) -> io::Result<Owner> {
        // Whatever was removed and made again before the text was read is known to be another.
        self.dirs.refresh();
        let known = self.table().by_text.get(text).cloned();
        if let Some(owner) = known.filter(|owner| !owner.is_gone()) {
            return Ok(owner);
        }
        let owner = match self.layout.cgroup(text, &self.dirs)? {
            Some(cgroup) => Owner::Container(self.container(cgroup)),
            None => Owner::Host,
        };
        let mut table = self.table();
        if table.text_bytes > MOST_TEXT_BYTES {
            table.by_text.clear();
            table.text_bytes = 0;
        }
        table.text_bytes += text.len();
        table.by_text.insert(text.into(), owner.clone());
        Ok(owner)
    }

    /// The container with these cgroups, a new one if there is none.
    fn container(&self, cgroup: Cgroup) -> Arc<Container> {
        let key = cgroup.key();
        let known = self.table().by_key.get(&key).cloned();
        if let Some(container) = known {
            container.has_cgroups(cgroup);
            return container;
        }
        let now = clock::boottime();
        let started = self.first_start(&cgroup, tasks::A_FEW).unwrap_or(now);
        let new = Arc::new(Container::new(
            cgroup,
            started,
            now,
            &self.host,
            self.rounding,
        ));
        {
            // Another reader may have been faster; its counters are as good.
            let mut table = self.table();
            if let Some(container) = table.by_key.get(&key) {
                return Arc::clone(container);
            }
            table.by_key.insert(key, Arc::clone(&new));
        }
        tracing::debug!(cgroup = %new.path().display(), age = new.age(now) / 1_000_000, "new container");
        // Nobody listens where only one file is rendered.
        let _ = self.tasks.send(Task::Settle(Arc::clone(&new)));
        new
    }

    /// When the oldest process below `cgroup` started, microseconds since boot, if there are not more than
    /// `most`.
    fn first_start(&self, cgroup: &Cgroup, most: Most) -> Option<u64> {
        let (dir, _) = cgroup.tasks()?;
        let mut text = Vec::new();
        let pids = tasks::collect(dir.path(), "cgroup.procs", most)?;
        let starts = pids.into_iter().filter_map(|pid| {
            self.callers.stat(pid, &mut text).ok()?;
            thread_stat(&text).map(|stat| stat.start_ticks)
        });
        Some(starts.min()?.saturating_mul(MICROS_PER_TICK))
    }

    /// Learns what a new container's first reader could not wait for: its age, and its threads.
    pub(super) fn settle(&self, container: &Container) {
        if let Some(started) = self.first_start(&container.cgroup(), tasks::ALL) {
            container.is_as_old_as(started);
        }
        load::tick(container, &self.callers, &self.host, clock::boottime());
    }

    /// The threads of `container` as they are now or, if they are many, as they were at most a second ago.
    pub fn threads_now(&self, container: &Arc<Container>, now: u64) -> Threads {
        let (threads, is_new) = load::threads_now(container, &self.callers, now);
        if !is_new && container.ask_load(now) == 0 {
            let _ = self.tasks.send(Task::Recount(Arc::clone(container)));
        }
        threads
    }

    pub(super) fn recount(&self, container: &Container) {
        load::recount(container, &self.callers, clock::boottime());
    }

    pub(super) fn tick(&self, container: &Container) {
        load::tick(container, &self.callers, &self.host, clock::boottime());
    }

    /// All containers known.
    pub fn containers(&self) -> Vec<Arc<Container>> {
        self.table().by_key.values().cloned().collect()
    }

    /// Frees containers whose cgroups were removed, and closes the files of those that nobody
    /// read for a while.
    pub fn sweep(&self, now: u64) {
        /// Microseconds after which the files of a container nobody reads are closed.
        const IDLE: u64 = 300_000_000;
        /// The same while more files are wanted than may be open.
        const IDLE_WHEN_FULL: u64 = 10_000_000;
        let idle = if self.dirs.is_full() {
            IDLE_WHEN_FULL
        } else {
            IDLE
        };
        self.dirs.refresh();
        for container in self.containers() {
            if container.cgroup().is_gone() {
                tracing::debug!(cgroup = %container.path().display(), "container gone");
                let key = container.cgroup().key();
                self.table().by_key.remove(&key);
            } else if now.saturating_sub(container.last_read()) > idle {
                container.cgroup().close_files();
            }
        }
        {
            let mut table = self.table();
            table.by_text.retain(|_, owner| match owner {
                Owner::Container(container) => !container.cgroup().was_gone(),
                Owner::Host => true,
            });
            table.text_bytes = table.by_text.keys().map(|text| text.len()).sum();
        }
        self.dirs.sweep();
        self.callers.sweep();
    }

    /// Closes every file that is kept open only to be faster.
    fn close_files(&self) {
        self.callers.sweep();
        for container in self.containers() {
            container.cgroup().close_files();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}
