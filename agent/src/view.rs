//! Whose numbers, and which: what a file of a container's view shows is read from its cgroup and rendered by
//! the library.

mod caller;
pub mod cgroup;
mod container;
mod discover;
mod follow;
mod hostproc;
pub mod load;
mod registry;
mod tasks;

use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use procview::cpu::Cpus;
use procview::file::{File, Resource};
use procview::memory::{HugePages, Memory, Swap};
use procview::numa::Nodes as NumaNodes;
use procview::render::{self, NodeFile, Possible};

use cgroup::{Controller, Dir, HostMemory, MemoryFiles, pressure_file};
pub use container::{Container, Counters};
pub use follow::{Task, follow};
pub use hostproc::{HostProc, HostProcError};
pub use registry::{Owner, OwnerError, Registry};

/// Renders the files of `/proc`.
#[derive(Debug)]
pub struct View {
    registry: Arc<Registry>,
    host: Arc<HostProc>,
    choices: Choices,
}

/// What the operator may choose.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// Threads whose command is one of these get the host's uptime; all do with `*`.
    pub uptime_host_readers: Vec<String>,
    /// The CPUs that `possible` lists.
    pub possible: Possible,
}

impl View {
    /// What `host` and the containers of `registry` are shown as.
    pub fn new(registry: Arc<Registry>, host: Arc<HostProc>, choices: Choices) -> Self {
        Self {
            registry,
            host,
            choices,
        }
    }

    /// The CPUs that `possible` lists.
    pub fn possible(&self) -> Possible {
        self.choices.possible
    }

    /// The host's files.
    pub fn host(&self) -> &HostProc {
        &self.host
    }

    /// Who owns what is shown to thread `tid`.
    ///
    /// # Errors
    /// [`OwnerError`] if that cannot be told.
    pub fn owner_of(&self, tid: u32) -> Result<Owner, OwnerError> {
        self.registry.owner_of(tid)
    }

    /// Learns which limits were written and which containers have ended; to be called before each rendering.
    pub fn refresh(&self) {
        self.registry.refresh();
    }

    /// The text of `file`, one of `/proc`, for `owner` as thread `tid` sees it.
    ///
    /// # Errors
    /// Only if the host's own file is to be shown and cannot be read.
    pub fn render(&self, file: File, owner: &Owner, tid: u32, now: u64) -> io::Result<Vec<u8>> {
        let Owner::Container(container) = owner else {
            return self.host.text(file.path());
        };
        if file == File::Uptime && self.wants_host_uptime(tid) {
            return self.host.text(file.path());
        }
        container.touch(now);
        let mut out = Vec::with_capacity(2048);
        self.render_container(file, container, now, &mut out);
        Ok(out)
    }

    fn render_container(
        &self,
        file: File,
        container: &Arc<Container>,
        now: u64,
        out: &mut Vec<u8>,
    ) {
        let host = &self.host;
        match file {
            File::Meminfo => {
                let meminfo = host.meminfo(now);
                render::meminfo(out, &self.memory(container, now).0, &meminfo);
            }
            File::Swaps => render::swaps(out, self.memory(container, now).0.swap),
            File::Cpuinfo => {
                render::cpuinfo(out, &container.cpus(now, host), &host.cpuinfo(now));
            }
            File::Stat => {
                let cpus = container.cpus(now, host);
                let boot_time = host.boot_time(now);
                let threads = self.registry.threads_now(container, now);
                container.counted(now, &cpus, |counters| {
                    let view = render::StatView {
                        account: &counters.cpu,
                        cpus: &cpus,
                        boot_time,
                        threads,
                        processes: counters.load.processes,
                    };
                    render::stat(out, &view);
                });
            }
            File::Uptime => {
                let cpus = container.cpus(now, host);
                let idle = container.counted(now, &cpus, |counters| counters.cpu.idle());
                render::uptime(out, container.age(now), idle);
            }
            File::Loadavg => {
                let threads = self.registry.threads_now(container, now);
                render::loadavg(out, container.load().average, threads);
            }
            File::Diskstats => {
                let disks = container.cgroup().disks();
                render::diskstats(out, &disks, &host.diskstats(now));
            }
            File::Vmstat => {
                let (memory, memory_stat) = self.memory(container, now);
                let source = render::VmstatSource {
                    memory: &memory,
                    memory_stat: &memory_stat,
                    disks: &container.cgroup().disks(),
                    pages: host.pages(),
                };
                render::vmstat(out, &source, &host.vmstat(now));
            }
            File::Slabinfo => out.extend_from_slice(&host.slabinfo_header(now)),
            // Directories.
            File::Pressure | File::Cpu | File::Node => {}
        }
    }

    /// The text of `/proc/pressure/<resource>` for `owner`.
    ///
    /// # Errors
    /// Only if the host's own file is to be shown and cannot be read.
    pub fn render_pressure(&self, resource: Resource, owner: &Owner) -> io::Result<Vec<u8>> {
        let Owner::Container(container) = owner else {
            return self
                .host
                .text(&format!("proc/pressure/{}", resource.name()));
        };
        let mut out = Vec::new();
        let cgroup = container.cgroup();
        let own = cgroup.pressure();
        let read = own.map(|dir| dir.read(pressure_file(resource), &mut out));
        if !matches!(read, Some(Ok(()))) {
            out.extend_from_slice(match resource {
                Resource::Irq => render::no_pressure_irq(),
                _ => render::no_pressure(),
            });
        }
        Ok(out)
    }

    /// The memory nodes that `owner` has a part of.
    pub fn nodes_of(&self, owner: &Owner, now: u64) -> NumaNodes {
        let host = &self.host;
        let (cpus, mems) = match owner {
            Owner::Container(container) => (
                container.cpus(now, host),
                container.cgroup().effective_mems(),
            ),
            Owner::Host => (Cpus::all(&host.online_cpus(now)), None),
        };
        NumaNodes::new(&host.nodes(now).nodes, &cpus, mems.as_ref())
    }

    /// The text of `file` of `/sys/devices/system/node`, or of `node` in it, for `owner`, made of the
    /// host's; `None` for a node that the owner has no part of.
    pub fn render_node(
        &self,
        node: Option<u32>,
        file: NodeFile,
        owner: &Owner,
        host_text: Vec<u8>,
        now: u64,
    ) -> Option<Vec<u8>> {
        let Owner::Container(container) = owner else {
            return Some(host_text);
        };
        let nodes = self.nodes_of(owner, now);
        let Some(number) = node else {
            return Some(render::node_dir(file, &nodes, &host_text));
        };
        let (memory, _) = self.memory(container, now);
        let by_node = container.cgroup().memory_by_node(self.host.pages().base);
        let source = render::NodeSource {
            node: nodes.get(number)?,
            nodes: &nodes,
            online: &self.host.nodes(now).online,
            memory: &nodes.memory(number, &memory, &by_node),
            pages: self.host.pages(),
            meminfo: &self.host.meminfo(now),
        };
        Some(render::node_file(file, &source, &host_text))
    }

    /// The memory of `container`, and the text of its `memory.stat`.
    fn memory(&self, container: &Container, now: u64) -> (Memory, Vec<u8>) {
        let host = self.host.meminfo(now);
        let files = if self.registry.layout().has(Controller::Memory) {
            let has = HostMemory {
                has_swap: host.get("SwapTotal") > 0,
                huge_pages: HugePages {
                    total: host.get("HugePages_Total"),
                    free: host.get("HugePages_Free"),
                },
                huge_page_bytes: host.get("Hugepagesize"),
            };
            container.cgroup().memory(now, has)
        } else {
            MemoryFiles::default()
        };
        let memory = Memory {
            stat: files.stat,
            swap: Swap::new(
                files.swap_limit,
                files.swap_left,
                files.swap_used,
                host.get("SwapTotal"),
            ),
            swapped: files.swap_used,
            huge_pages: files.huge_pages,
            overcommit_ratio: self.host.overcommit_ratio(now),
            ..Memory::new(&files.levels, &host)
        };
        (memory, files.stat_text)
    }

    /// Whether thread `tid` has CAP_SYS_RESOURCE towards the host.
    pub fn is_privileged(&self, tid: u32) -> bool {
        self.registry.callers().has_sys_resource(tid)
    }

    /// The kernel's pressure file of `resource` for `owner`; `None` if the container has none of its own.
    pub fn pressure_target(&self, resource: Resource, owner: &Owner) -> Option<PressureTarget> {
        match owner {
            Owner::Container(container) => {
                let dir = Arc::clone(container.cgroup().pressure()?);
                Some(PressureTarget::Cgroup(dir, pressure_file(resource)))
            }
            Owner::Host => Some(PressureTarget::Host(self.host.pressure_path(resource))),
        }
    }

    fn wants_host_uptime(&self, tid: u32) -> bool {
        const EVERYBODY: &str = "*";
        let readers = &self.choices.uptime_host_readers;
        let mut comm = Vec::new();
        readers.iter().any(|reader| reader == EVERYBODY)
            || !readers.is_empty()
                && self.registry.callers().comm(tid, &mut comm).is_ok()
                && readers.iter().any(|reader| reader.as_bytes() == comm)
    }
}

/// Where a pressure trigger is written.
#[derive(Debug)]
pub enum PressureTarget {
    /// A file of a container's cgroup.
    Cgroup(Arc<Dir>, &'static str),
    /// The host's own file.
    Host(PathBuf),
}

impl PressureTarget {
    /// Opens it for reading and writing.
    ///
    /// # Errors
    /// Those of open(2); ENODEV if the cgroup has gone, whatever has its path now.
    pub fn open(&self) -> io::Result<std::fs::File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match self {
            Self::Cgroup(dir, name) => dir.open(name, &options),
            Self::Host(path) => options.open(path),
        }
    }
}
