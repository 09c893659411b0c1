//! Load: how many threads of a container run, or wait for what cannot be interrupted.
//!
//! Every 5 s each container is counted for its load averages. Readers of the number of now get it counted when
//! they ask, if there are few threads; else they get the last count, and it is renewed beside them.

use procview::load::{TICK_MICROS, Threads};
use procview::parse::{innermost_pid, thread_stat};

use super::caller::Callers;
use super::container::{Container, LoadCounters};
use super::hostproc::HostProc;
use super::tasks::{self, Most};

/// A count is as good as new for so many microseconds.
const FRESH: u64 = 100_000;

/// Counts the threads of `container` and brings its load averages to `now`.
///
/// A container whose threads used no CPU time since the last count has the same threads in the
/// same states: to change its state a thread has to run. Such a container costs one read. The
/// others get their CPU time counted too, with the limits of now.
pub fn tick(container: &Container, callers: &Callers, host: &HostProc, now: u64) {
    let activity = container.cgroup().activity();
    let known = container.load();
    if activity.is_none() || activity != known.activity {
        container.counted(now, &container.cpus(now, host), |_| ());
        recount(container, callers, now);
    }
    container.change_load(|load| advance(load, now));
}

/// Counts the threads of `container` anew, however many there are.
pub(super) fn recount(container: &Container, callers: &Callers, now: u64) {
    let begin = crate::clock::boottime();
    // Before the threads: one that runs meanwhile is seen by the next count.
    let activity = container.cgroup().activity();
    if let Some(threads) = count(container, callers, tasks::ALL) {
        let took = crate::clock::boottime().saturating_sub(begin);
        container.change_load(|load| keep(load, threads, activity, now, took));
    }
}

/// The threads of `container` as they are now, and whether they could be counted: not if there are too many
/// for a thread that serves others.
pub(super) fn threads_now(container: &Container, callers: &Callers, now: u64) -> (Threads, bool) {
    let known = container.load();
    let total = container.cgroup().thread_count();
    let mut threads = known.threads;
    let mut is_new = now.saturating_sub(known.counted_at) < FRESH;
    let is_small = total.unwrap_or(known.threads.total) <= tasks::A_FEW.tasks as u64;
    if !is_new && is_small {
        let activity = container.cgroup().activity();
        if let Some(counted) = count(container, callers, tasks::A_FEW) {
            threads = counted;
            is_new = true;
            container.change_load(|load| keep(load, counted, activity, now, 0));
        }
    }
    threads.total = total.unwrap_or(threads.total);
    (threads, is_new)
}

fn keep(load: &mut LoadCounters, threads: Threads, activity: Option<u64>, now: u64, took: u64) {
    load.threads = threads;
    load.activity = activity;
    load.counted_at = now;
    load.took = took;
    load.processes = load.processes.max(threads.newest_pid);
}

/// Counts the ticks between the last and `now`; a late tick is made up for.
fn advance(load: &mut LoadCounters, now: u64) {
    let active = load.threads.running + load.threads.blocked;
    if load.ticked_at == 0 {
        load.ticked_at = now;
        return;
    }
    // Half a tick of slack: a tick that comes a little early or late counts once.
    let ticks = (now.saturating_sub(load.ticked_at) + TICK_MICROS / 2) / TICK_MICROS;
    load.average.tick(active, ticks);
    load.ticked_at += ticks * TICK_MICROS;
}

/// Walks over the threads of `container` and its descendants. `None` if there are more than `most`.
fn count(container: &Container, callers: &Callers, most: Most) -> Option<Threads> {
    let mut threads = Threads {
        newest_pid: container.load().threads.newest_pid,
        ..Threads::default()
    };
    let cgroup = container.cgroup();
    let Some((dir, file)) = cgroup.tasks() else {
        return Some(threads);
    };
    let mut text = Vec::new();
    let mut newest = None;
    for tid in tasks::collect(dir.path(), file, most)? {
        if callers.stat(tid, &mut text).is_err() {
            continue;
        }
        let Some(stat) = thread_stat(&text) else {
            continue;
        };
        threads.total += 1;
        threads.running += u64::from(stat.is_running());
        threads.blocked += u64::from(stat.is_blocked());
        newest = newest.max(Some((stat.start_ticks, tid)));
    }
    if let Some((_, tid)) = newest
        && callers.status(tid, &mut text).is_ok()
    {
        threads.newest_pid = innermost_pid(&text).unwrap_or(threads.newest_pid);
    }
    Some(threads)
}
