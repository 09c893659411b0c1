//! The node's kernel interfaces, and the threads that follow its containers.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::args::Node;
use crate::node::{check_native, enter_host_cgroup};
use crate::report::metrics::Metrics;
use crate::view::cgroup::Layout;
use crate::view::{Choices, HostProc, Registry, Task, View, follow};

/// No more cgroup files than this are kept open: 36 MiB of kernel memory.
const MOST_OPEN: usize = 8192;

/// The containers of a node, and what has to be done for them beside the readers.
pub(super) struct Containers {
    pub(super) registry: Arc<Registry>,
    tasks: Receiver<Task>,
}

/// Opens the node's kernel interfaces.
pub(super) fn open(node: &Node) -> Result<(Containers, View)> {
    let Node {
        proc,
        sys,
        cgroup,
        cpu_rounding,
        possible,
        uptime_host_readers,
    } = node;
    enter_host_cgroup(proc)?;
    let most_open = raise_open_files().min(MOST_OPEN);
    let layout = Layout::detect(cgroup)?;
    check_native(&proc.join("meminfo"))?;
    let host = Arc::new(HostProc::new(proc, sys)?);
    let rounding = (*cpu_rounding).into();
    let (registry, tasks) = Registry::new(layout, proc, Arc::clone(&host), rounding, most_open);
    let registry = Arc::new(registry);
    let readers = uptime_host_readers
        .iter()
        .filter(|reader| !reader.is_empty());
    let choices = Choices {
        uptime_host_readers: readers.cloned().collect(),
        possible: (*possible).into(),
    };
    let view = View::new(Arc::clone(&registry), host, choices);
    Ok((Containers { registry, tasks }, view))
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

impl Containers {
    /// Finds the containers that are there, and starts the threads that follow them.
    pub(super) fn follow(self, metrics: Arc<Metrics>) -> Result<()> {
        self.registry.check(std::process::id()).context(
            "cannot find this process in the cgroup file system: name the place where the host's is with --cgroup, and the host's procfs with --proc",
        )?;
        let counted = move |containers| {
            let containers = i64::try_from(containers).unwrap_or(i64::MAX);
            metrics.containers.set(containers);
        };
        follow(&self.registry, self.tasks, counted).context("cannot start a thread")
    }
}
