//! Two threads beside those that serve: one finds containers, one counts what they do.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use procview::load::TICK_MICROS;

use super::container::Container;
use super::discover::Discovery;
use super::registry::Registry;
use crate::clock;

/// What a reader could not wait for.
#[derive(Debug)]
pub enum Task {
    /// A container is new: its age and its threads are to be found out.
    Settle(Arc<Container>),
    /// Somebody begins to ask how many threads of a container run.
    Recount(Arc<Container>),
}

/// A container with threads is counted so often while somebody asks, microseconds.
const RECOUNT_EVERY: u64 = 500_000;
/// But no more of the time than one part in so many is spent on it.
const RECOUNT_SHARE: u64 = 10;
/// So long after the last question nobody asks any more, microseconds.
const ASKED_FOR: u64 = 5_000_000;
/// Containers that take longer to be counted than this, microseconds, come last, and only as long as no more
/// than a second of a tick is spent.
const SLOW: u64 = 20_000;
const MOST_ON_SLOW: u64 = 1_000_000;

/// Finds all containers that are there, then starts the threads that find others and count. `counted` is
/// told the number of containers at each tick.
///
/// # Errors
/// If a thread cannot be started.
pub fn follow(
    registry: &Arc<Registry>,
    tasks: Receiver<Task>,
    counted: impl Fn(usize) + Send + 'static,
) -> io::Result<()> {
    if let Some(root) = registry.layout().search_root() {
        let mut discovery = Discovery::new(root);
        find(&mut discovery, registry);
        // Before anybody reads: what lived before us shows its age from the first read on.
        tasks
            .try_iter()
            .for_each(|task| do_task(registry, task, &mut Vec::new()));
        let registry = Arc::clone(registry);
        thread::Builder::new()
            .name("discover".to_owned())
            .spawn(move || {
                loop {
                    discovery.wait(Duration::from_micros(TICK_MICROS));
                    find(&mut discovery, &registry);
                }
            })?;
    }
    let registry = Arc::clone(registry);
    let work = move || count_for_ever(&registry, &tasks, &counted);
    thread::Builder::new()
        .name("count".to_owned())
        .spawn(work)
        .map(drop)
}

fn find(discovery: &mut Discovery, registry: &Registry) {
    discovery.search(|pid| {
        // One that has ended meanwhile is found by its next process, if there is any.
        if let Err(error) = registry.owner_of(pid) {
            tracing::debug!(%error, "a container came and went");
        }
    });
}

fn do_task(registry: &Registry, task: Task, asked: &mut Vec<Arc<Container>>) {
    match task {
        Task::Settle(container) => registry.settle(&container),
        Task::Recount(container) => {
            registry.recount(&container);
            asked.push(container);
        }
    }
}

fn count_for_ever(registry: &Registry, tasks: &Receiver<Task>, counted: &impl Fn(usize)) {
    let mut asked = Vec::new();
    let mut next_tick = clock::boottime();
    loop {
        let now = clock::boottime();
        let next = match asked.is_empty() {
            true => next_tick,
            false => next_tick.min(now + RECOUNT_EVERY / 2),
        };
        // Never disconnected: the registry is the other end.
        if let Ok(task) = tasks.recv_timeout(Duration::from_micros(next.saturating_sub(now))) {
            do_task(registry, task, &mut asked);
        }
        let now = clock::boottime();
        asked.retain(|container| {
            let is_asked = now.saturating_sub(container.load_asked()) < ASKED_FOR;
            if !is_asked {
                // The next question is a first one.
                container.ask_load(0);
            }
            is_asked
        });
        for container in &asked {
            let load = container.load();
            let every = RECOUNT_EVERY.max(load.took * RECOUNT_SHARE);
            if now.saturating_sub(load.counted_at) >= every {
                registry.recount(container);
            }
        }
        if now >= next_tick {
            registry.sweep(now);
            counted(tick(registry));
            // By the clock, not by the end of the last tick: ticks never lag.
            next_tick = (next_tick + TICK_MICROS).max(clock::boottime());
        }
    }
}

/// Counts the load of all containers; those that take long last, the one first that was counted the longest
/// time ago. Tells how many containers there are.
fn tick(registry: &Registry) -> usize {
    let containers = registry.containers();
    let cost = |container: &Arc<Container>| {
        let load = container.load();
        (load.took > SLOW).then_some(load.counted_at)
    };
    let mut costs: Vec<_> = containers
        .iter()
        .map(|container| (cost(container), container))
        .collect();
    costs.sort_by_key(|(cost, _)| *cost);
    let mut slow_since = None;
    for (cost, container) in costs {
        if cost.is_some() {
            let now = clock::boottime();
            let since = *slow_since.get_or_insert(now);
            if now.saturating_sub(since) > MOST_ON_SLOW {
                // Made up for at a later tick, with the threads of then.
                break;
            }
        }
        registry.tick(container);
    }
    containers.len()
}
