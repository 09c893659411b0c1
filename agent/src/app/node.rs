//! The node's kernel interfaces, and the thread that follows its containers.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procview::load::TICK_MICROS;

use crate::args::Node;
use crate::clock;
use crate::node::{check_native, enter_host_cgroup};
use crate::report::metrics::Metrics;
use crate::view::cgroup::Layout;
use crate::view::{Discovery, HostProc, Registry, View};

/// No more cgroup files than this are kept open: 36 MiB of kernel memory.
const MOST_OPEN: usize = 8192;

/// Opens the node's kernel interfaces.
pub(super) fn open(node: &Node) -> Result<(Arc<Registry>, View)> {
    let Node {
        proc,
        sys,
        cgroup,
        cpu_rounding,
        uptime_host_readers,
    } = node;
    enter_host_cgroup(proc)?;
    let most_open = raise_open_files().min(MOST_OPEN);
    let layout = Layout::detect(cgroup)?;
    let host = Arc::new(HostProc::new(proc, sys));
    check_native(&proc.join("meminfo"))?;
    host.text("meminfo").with_context(|| {
        format!(
            "cannot read {}: name the host's procfs with --proc",
            proc.join("meminfo").display()
        )
    })?;
    let rounding = (*cpu_rounding).into();
    let registry = Registry::new(layout, proc, Arc::clone(&host), rounding, most_open);
    let registry = Arc::new(registry);
    let readers = uptime_host_readers
        .iter()
        .filter(|reader| !reader.is_empty());
    let view = View::new(Arc::clone(&registry), host, readers.cloned().collect());
    Ok((registry, view))
}

/// Three quarters of the open files this process may have, after raising that to the hard limit.
fn raise_open_files() -> usize {
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, hard)| {
        match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        }
    });
    usize::try_from(most / 4 * 3).unwrap_or(usize::MAX)
}

/// Starts the thread that finds containers and counts their load every 5 s.
pub(super) fn tick_for_ever(registry: Arc<Registry>, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let mut discovery = registry.layout().search_root().map(Discovery::new);
    let work = move || {
        let mut next = clock::boottime();
        loop {
            registry.sweep(clock::boottime());
            if let Some(discovery) = &mut discovery {
                discovery.search(|pid| drop(registry.owner_of(pid)));
            }
            let containers = registry.tick();
            metrics
                .containers
                .set(i64::try_from(containers).unwrap_or(i64::MAX));
            // By the clock, not by the end of the last tick: ticks never lag.
            next += TICK_MICROS;
            let now = clock::boottime();
            next = next.max(now);
            thread::sleep(Duration::from_micros(next - now));
        }
    };
    thread::Builder::new()
        .name("tick".to_owned())
        .spawn(work)
        .map(drop)
}
