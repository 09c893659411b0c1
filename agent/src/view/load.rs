//! The tick: every 5 s it counts each container's runnable and blocked threads.

use std::fs;
use std::io::Read;
use std::path::Path;

use procview::load::{TICK_MICROS, Threads};
use procview::parse::{innermost_pid, lines, number, thread_stat};

use super::caller::Callers;
use super::container::{Container, LoadCounters};
use super::hostproc::HostProc;

/// Appends the numbers that the files called `name` list in `dir` and all cgroups below it.
pub(crate) fn collect_tasks(dir: &Path, name: &str, tasks: &mut Vec<u32>) {
    let mut text = Vec::new();
    if let Ok(mut file) = fs::File::open(dir.join(name)) {
        // A list cut short by a cgroup that goes away is as good as one read a moment later.
        let _ = file.read_to_end(&mut text);
    }
    tasks.extend(
        lines(&text)
            .filter_map(number)
            .filter_map(|task| u32::try_from(task).ok()),
    );
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_tasks(&entry.path(), name, tasks);
        }
    }
}

/// Counts the threads of `container` and brings its load averages to `now`.
///
/// A container whose threads used no CPU time since the last tick has the same threads in the
/// same states: to change its state a thread has to run. Such a container costs one read. The
/// others get their CPU time counted too, with the limits of now.
pub fn tick(container: &Container, callers: &Callers, host: &HostProc, now: u64) {
    let mut load = container.load();
    let activity = container.cgroup().activity();
    if activity.is_none() {
        container.cgroup().probe();
    }
    if activity.is_none() || activity != load.activity {
        container.counted(now, &container.cpus(now, host), |_| ());
        load.threads = count(container, callers, load.threads.newest_pid);
        load.activity = activity;
        load.processes = load.processes.max(load.threads.newest_pid);
    }
    advance(&mut load, now);
    container.set_load(load);
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

/// Walks over the threads of `container` and its descendants.
fn count(container: &Container, callers: &Callers, newest_pid: u64) -> Threads {
    let mut threads = Threads {
        newest_pid,
        ..Threads::default()
    };
    let Some((dir, file)) = container.cgroup().tasks() else {
        return threads;
    };
    let mut tids = Vec::new();
    collect_tasks(dir.path(), file, &mut tids);
    let mut text = Vec::new();
    let mut newest = None;
    for tid in tids {
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
        threads.newest_pid = innermost_pid(&text).unwrap_or(newest_pid);
    }
    threads
}
