//! One container: its cgroups, and the counters that have to be kept between two reads.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use procview::account::CpuAccount;
use procview::cpu::{Cpus, Rounding};
use procview::load::{LoadAverage, Threads};
use procview::parse::account_path;
use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;
use super::hostproc::HostProc;
use crate::lock::lock;

/// A container as long as its cgroups live.
#[derive(Debug)]
pub struct Container {
    /// Its directory, which never changes.
    path: Box<Path>,
    cgroup: Mutex<Arc<Cgroup>>,
    rounding: Rounding,
    counters: Mutex<Counters>,
    last_read: AtomicU64,
    /// When somebody last asked how many threads run.
    load_read: AtomicU64,
}

/// What a container's view counts on from. It can be written out and read back, so that another
/// process continues where this one stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Counters {
    /// When the container's first process started, microseconds since boot.
    pub started: u64,
    /// CPU time.
    pub cpu: CpuAccount,
    /// Load.
    pub load: LoadCounters,
}

/// Load of a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LoadCounters {
    /// The averages.
    pub average: LoadAverage,
    /// The threads at the last count.
    pub threads: Threads,
    /// When that was, microseconds since boot.
    pub counted_at: u64,
    /// How long it took, microseconds.
    pub took: u64,
    /// CPU time then, see [`Cgroup::activity`].
    pub activity: Option<u64>,
    /// The highest pid seen in the container's pid namespace: about the number of forks.
    pub processes: u64,
    /// When the last tick was, microseconds since boot; 0 before the first.
    pub ticked_at: u64,
}

impl Container {
    /// A container that lives since `started`, as far as is known at `now`.
    pub fn new(
        cgroup: Cgroup,
        started: u64,
        now: u64,
        host: &HostProc,
        rounding: Rounding,
    ) -> Self {
        let used = cgroup.cpu_time();
        let cpus = cpus_of(&cgroup, host, now, rounding);
        let age = now.saturating_sub(started);
        Self {
            rounding,
            counters: Mutex::new(Counters {
                started,
                cpu: CpuAccount::new(now, age, &cpus, used),
                load: LoadCounters::default(),
            }),
            last_read: AtomicU64::new(now),
            load_read: AtomicU64::new(0),
            path: cgroup.path().into(),
            cgroup: Mutex::new(Arc::new(cgroup)),
        }
    }

    /// Where its cgroup is, for the log.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who answers for what its readers make the agent keep.
    pub fn account(&self) -> &[u8] {
        account_path(self.path().as_os_str().as_bytes())
    }

    /// The container's cgroups.
    pub fn cgroup(&self) -> Arc<Cgroup> {
        Arc::clone(&lock(&self.cgroup))
    }

    /// Learns that the container's cgroups are these, if they are more than were known: a runtime puts the
    /// first process into one hierarchy of v1 after the other, and one that is seen meanwhile, or that entered
    /// the container later, is in some of them elsewhere.
    pub(super) fn has_cgroups(&self, cgroup: Cgroup) {
        let mut known = lock(&self.cgroup);
        if cgroup.own().count() > known.own().count() {
            *known = Arc::new(cgroup);
        }
    }

    /// Microseconds since the container's first process started.
    pub fn age(&self, now: u64) -> u64 {
        now.saturating_sub(lock(&self.counters).started)
    }

    /// It was found out that the first process started at `started`. Only what is earlier than what was
    /// known is news: nothing of a container gets younger.
    pub(super) fn is_as_old_as(&self, started: u64) {
        let mut counters = lock(&self.counters);
        let earlier = counters.started.saturating_sub(started);
        if earlier > 0 {
            counters.cpu.age_by(earlier);
            counters.started = started;
        }
    }

    /// The CPUs the container has now.
    pub fn cpus(&self, now: u64, host: &HostProc) -> Cpus {
        cpus_of(&self.cgroup(), host, now, self.rounding)
    }

    /// Brings the CPU counters to `now` and shows them to `show`, with those of load.
    ///
    /// The lock is held for arithmetic only; what is read is read before.
    pub fn counted<T>(&self, now: u64, cpus: &Cpus, show: impl FnOnce(&Counters) -> T) -> T {
        let used = self.cgroup().cpu_time();
        let mut counters = lock(&self.counters);
        counters.cpu.sample(now, cpus, used);
        show(&counters)
    }

    /// Load, and threads at the last count.
    pub fn load(&self) -> LoadCounters {
        lock(&self.counters).load.clone()
    }

    pub(super) fn change_load(&self, change: impl FnOnce(&mut LoadCounters)) {
        change(&mut lock(&self.counters).load);
    }

    /// Remembers that somebody asked at `now` how many threads run, and tells when that was asked before.
    pub(super) fn ask_load(&self, now: u64) -> u64 {
        self.load_read.swap(now, Ordering::Relaxed)
    }

    /// When that was asked last, microseconds since boot.
    pub(super) fn load_asked(&self) -> u64 {
        self.load_read.load(Ordering::Relaxed)
    }

    /// A copy of the counters, to be written out.
    pub fn counters(&self) -> Counters {
        lock(&self.counters).clone()
    }

    /// Continues with `counters` that another process wrote out for this container.
    pub fn restore(&self, counters: Counters) {
        *lock(&self.counters) = counters;
    }

    /// Remembers that somebody read the view.
    pub fn touch(&self, now: u64) {
        self.last_read.store(now, Ordering::Relaxed);
    }

    /// When somebody last read the view, microseconds since boot.
    pub fn last_read(&self) -> u64 {
        self.last_read.load(Ordering::Relaxed)
    }
}

fn cpus_of(cgroup: &Cgroup, host: &HostProc, now: u64, rounding: Rounding) -> Cpus {
    let quota = cgroup.quota(now);
    let effective = cgroup.effective_cpus();
    Cpus::new(quota, effective.as_ref(), &host.online_cpus(now), rounding)
}
