//! One container: its cgroups, and the counters that have to be kept between two reads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use procview::account::CpuAccount;
use procview::cpu::{Cpus, Rounding};
use procview::load::{LoadAverage, Threads};
use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;
use super::hostproc::HostProc;
use crate::lock::lock;

/// A container as long as its cgroups live.
#[derive(Debug)]
pub struct Container {
    name: Box<str>,
    cgroup: Cgroup,
    /// Microseconds since boot.
    started: u64,
    rounding: Rounding,
    counters: Mutex<Counters>,
    last_read: AtomicU64,
}

/// What a container's view counts on from. It can be written out and read back, so that another
/// process continues where this one stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Counters {
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
    /// The threads at the last tick.
    pub threads: Threads,
    /// CPU time at the last walk over the threads, see [`Cgroup::activity`].
    pub activity: Option<u64>,
    /// The highest pid seen in the container's pid namespace: about the number of forks.
    pub processes: u64,
    /// When the last tick was, microseconds since boot; 0 before the first.
    pub ticked_at: u64,
}

impl Container {
    /// A container called `name`, for the log, that lives since `started`.
    pub fn new(
        name: &str,
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
            name: name.into(),
            started,
            rounding,
            counters: Mutex::new(Counters {
                cpu: CpuAccount::new(now, age, &cpus, used),
                load: LoadCounters::default(),
            }),
            last_read: AtomicU64::new(now),
            cgroup,
        }
    }

    /// The cgroup path, cut to the container.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The container's cgroups.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Microseconds since the container's first process started.
    pub fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.started)
    }

    /// The CPUs the container has now.
    pub fn cpus(&self, now: u64, host: &HostProc) -> Cpus {
        cpus_of(&self.cgroup, host, now, self.rounding)
    }

    /// Brings the CPU counters to `now` and shows them to `show`, with those of load.
    ///
    /// The lock is held for arithmetic only; what is read is read before.
    pub fn counted<T>(&self, now: u64, cpus: &Cpus, show: impl FnOnce(&Counters) -> T) -> T {
        let used = self.cgroup.cpu_time();
        let mut counters = lock(&self.counters);
        counters.cpu.sample(now, cpus, used);
        show(&counters)
    }

    /// Load and threads at the last tick.
    pub fn load(&self) -> LoadCounters {
        lock(&self.counters).load.clone()
    }

    /// Changes load and threads; for the tick alone.
    pub(crate) fn set_load(&self, load: LoadCounters) {
        lock(&self.counters).load = load;
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
