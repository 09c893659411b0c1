//! All containers of the node that somebody asked for or that the tick found.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, Once};

use procview::cpu::Rounding;
use procview::parse::thread_stat;

use super::caller::{Callers, container_path};
use super::cgroup::{Cgroup, Dirs, Layout};
use super::container::Container;
use super::hostproc::HostProc;
use super::load;
use crate::clock;
use crate::lock::lock;

/// Beyond this many distinct `/proc/<tid>/cgroup` texts the table starts anew; a container has
/// as many as it has cgroups with readers in them.
const MOST_TEXTS: usize = 16_384;

/// Microseconds in a clock tick of `/proc/<pid>/stat`.
const MICROS_PER_TICK: u64 = procview::account::MICROS_PER_TICK;

/// Whose view a reader gets.
#[derive(Debug, Clone)]
pub enum Owner {
    /// A container's.
    Container(Arc<Container>),
    /// The host's own files: the reader is in the root cgroup, or cannot be seen from here.
    Host,
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
}

#[derive(Debug, Default)]
struct Table {
    by_text: HashMap<Box<[u8]>, Owner>,
    by_name: HashMap<Box<str>, Arc<Container>>,
}

impl Registry {
    /// `most_open` cgroup files are kept open at most.
    pub fn new(
        layout: Layout,
        proc: &Path,
        host: Arc<HostProc>,
        rounding: Rounding,
        most_open: usize,
    ) -> Self {
        Self {
            layout,
            dirs: Arc::new(Dirs::new(most_open)),
            callers: Callers::new(proc),
            host,
            rounding,
            table: Mutex::default(),
        }
    }

    /// Where the controllers are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What `/proc/<tid>` tells.
    pub fn callers(&self) -> &Callers {
        &self.callers
    }

    /// Whose view thread `tid` gets. A thread that has ended, or that the kernel reports as 0
    /// because this pid namespace does not show it, gets the host's.
    pub fn owner_of(&self, tid: u32) -> Owner {
        let mut text = Vec::new();
        match self.callers.cgroup(tid, &mut text) {
            Ok(()) => self.owner_by_text(&text),
            Err(_) if tid == 0 => {
                static ONCE: Once = Once::new();
                ONCE.call_once(|| {
                    tracing::warn!("a reader is outside of this pid namespace and sees the host's files; run the agent with the host's pid namespace (hostPID: true)");
                });
                Owner::Host
            }
            Err(error) => {
                tracing::debug!(tid, %error, "cannot tell whose thread this is");
                Owner::Host
            }
        }
    }

    /// Whose view a thread gets whose `/proc/<tid>/cgroup` is `text`.
    pub fn owner_by_text(&self, text: &[u8]) -> Owner {
        if let Some(owner) = self.table().by_text.get(text) {
            match owner {
                Owner::Container(container) if container.cgroup().is_gone() => {}
                known => return known.clone(),
            }
        }
        let cgroup = self.layout.cgroup(text, container_path, &self.dirs);
        let owner = if cgroup.is_root() {
            Owner::Host
        } else {
            Owner::Container(self.container(cgroup))
        };
        let mut table = self.table();
        if table.by_text.len() >= MOST_TEXTS {
            table.by_text.clear();
        }
        table.by_text.insert(text.into(), owner.clone());
        owner
    }

    /// The container with these cgroups, a new one if there is none or it was removed.
    fn container(&self, cgroup: Cgroup) -> Arc<Container> {
        let name = name_of(&cgroup);
        let known = |table: &Table| {
            let container = table.by_name.get(&*name)?;
            (!container.cgroup().is_gone()).then(|| Arc::clone(container))
        };
        if let Some(container) = known(&self.table()) {
            return container;
        }
        let now = clock::boottime();
        let started = self.first_start(&cgroup).unwrap_or(now).min(now);
        let new = Container::new(&name, cgroup, started, now, &self.host, self.rounding);
        let new = Arc::new(new);
        load::tick(&new, &self.callers, &self.host, now);
        // Another reader may have been faster; its counters are as good.
        let mut table = self.table();
        if let Some(container) = known(&table) {
            return container;
        }
        tracing::debug!(container = %name, age = new.age(now) / 1_000_000, "new container");
        table.by_name.insert(name, Arc::clone(&new));
        new
    }

    /// When the oldest process below `cgroup` started, microseconds since boot.
    fn first_start(&self, cgroup: &Cgroup) -> Option<u64> {
        let (dir, _) = cgroup.tasks()?;
        let mut pids = Vec::new();
        load::collect_tasks(dir.path(), "cgroup.procs", &mut pids);
        let mut text = Vec::new();
        let starts = pids.iter().filter_map(|pid| {
            self.callers.stat(*pid, &mut text).ok()?;
            thread_stat(&text).map(|stat| stat.start_ticks)
        });
        starts
            .min()
            .map(|ticks| ticks.saturating_mul(MICROS_PER_TICK))
    }

    /// All containers known.
    pub fn containers(&self) -> Vec<Arc<Container>> {
        self.table().by_name.values().cloned().collect()
    }

    /// Counts the load of all containers, see [`load::tick`]. Tells how many there are.
    pub fn tick(&self) -> usize {
        let now = clock::boottime();
        let containers = self.containers();
        for container in &containers {
            load::tick(container, &self.callers, &self.host, now);
        }
        containers.len()
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
        let mut table = self.table();
        table.by_text.retain(|_, owner| match owner {
            Owner::Container(container) => !container.cgroup().is_gone(),
            Owner::Host => true,
        });
        table.by_name.retain(|name, container| {
            let gone = container.cgroup().is_gone();
            if gone {
                tracing::debug!(container = %name, "container gone");
            }
            !gone
        });
        for container in table.by_name.values() {
            if now.saturating_sub(container.last_read()) > idle {
                container.cgroup().close_files();
            }
        }
        drop(table);
        self.dirs.sweep();
        self.dirs.refresh();
        self.callers.sweep();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

/// The directory of the first controller that the container has a cgroup of: the same for all its
/// threads, and unique on the node.
fn name_of(cgroup: &Cgroup) -> Box<str> {
    let mut names: Vec<_> = cgroup
        .own()
        .map(|dir| dir.path().to_string_lossy())
        .collect();
    names.dedup();
    names.join(" ").into()
}
