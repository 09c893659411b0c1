//! Whose numbers, and which: what a file of a container's view shows is read from its cgroup and rendered by
//! the library.

mod caller;
pub mod cgroup;
mod container;
mod discover;
mod hostproc;
pub mod load;
mod registry;

use std::io;
use std::sync::Arc;

use procview::file::{File, Resource};
use procview::memory::{Memory, Swap};
use procview::{parse, render};

pub use caller::{container_path, runtime_id};
use cgroup::{Controller, HostMemory, MemoryFiles, pressure_file};
pub use container::{Container, Counters};
pub use discover::Discovery;
pub use hostproc::HostProc;
pub use registry::{Owner, Registry};

/// Renders the files of `/proc`.
#[derive(Debug)]
pub struct View {
    registry: Arc<Registry>,
    host: Arc<HostProc>,
    uptime_host_readers: Vec<String>,
}

impl View {
    /// Threads whose command is one of `uptime_host_readers` get the host's uptime.
    pub fn new(
        registry: Arc<Registry>,
        host: Arc<HostProc>,
        uptime_host_readers: Vec<String>,
    ) -> Self {
        Self {
            registry,
            host,
            uptime_host_readers,
        }
    }

    /// The host's files.
    pub fn host(&self) -> &HostProc {
        &self.host
    }

    /// Who owns what is shown to thread `tid`.
    pub fn owner_of(&self, tid: u32) -> Owner {
        self.registry.owner_of(tid)
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

    fn render_container(&self, file: File, container: &Container, now: u64, out: &mut Vec<u8>) {
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
                container.counted(now, &cpus, |counters| {
                    let view = render::StatView {
                        account: &counters.cpu,
                        cpus: cpus.count(),
                        boot_time,
                        threads: counters.load.threads,
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
                let load = container.load();
                let mut threads = load.threads;
                threads.total = container.cgroup().thread_count().unwrap_or(threads.total);
                render::loadavg(out, load.average, threads);
            }
            File::Diskstats => {
                let disks = container.cgroup().disks();
                render::diskstats(out, &disks, parse::disk_names(&host.diskstats(now)));
            }
            File::Vmstat => {
                let (memory, memory_stat) = self.memory(container, now);
                let source = render::VmstatSource {
                    memory: &memory,
                    memory_stat: &memory_stat,
                    disks: &container.cgroup().disks(),
                };
                render::vmstat(out, &source, &host.vmstat(now));
            }
            File::Slabinfo => out.extend_from_slice(&host.slabinfo_header(now)),
            // Directories.
            File::Pressure | File::Cpu => {}
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
        let own = container.cgroup().pressure();
        let read = own.map(|dir| dir.read(pressure_file(resource), &mut out));
        if !matches!(read, Some(Ok(()))) {
            out.extend_from_slice(match resource {
                Resource::Irq => render::no_pressure_irq(),
                _ => render::no_pressure(),
            });
        }
        Ok(out)
    }

    /// The memory of `container`, and the text of its `memory.stat`.
    fn memory(&self, container: &Container, now: u64) -> (Memory, Vec<u8>) {
        let host = self.host.meminfo(now);
        let files = if self.registry.layout().has(Controller::Memory) {
            let has = HostMemory {
                has_swap: host.get("SwapTotal") > 0,
                huge_pages: (host.get("HugePages_Total"), host.get("Hugepagesize")),
            };
            container.cgroup().memory(now, has)
        } else {
            MemoryFiles::default()
        };
        let memory = Memory {
            stat: files.stat,
            swap: Swap::new(files.swap_limit, files.swap_used, host.get("SwapTotal")),
            huge_pages: files.huge_pages,
            overcommit_ratio: self.host.overcommit_ratio(now),
            ..Memory::new(&files.levels, &host)
        };
        (memory, files.stat_text)
    }

    /// Whether the kernel would let thread `tid` set the window of trigger `text`: without
    /// CAP_SYS_RESOURCE it must be a multiple of 2 s (since Linux 6.5). The agent, which writes
    /// the trigger, may set any.
    pub fn may_set_window(&self, tid: u32, text: &[u8]) -> bool {
        const UNPRIVILEGED_WINDOW: u64 = 2_000_000;
        let window = parse::words(text.trim_ascii_end()).nth(2);
        let window = window.and_then(|word| parse::number(word.trim_ascii()));
        let coarse = window.is_none_or(|window| window % UNPRIVILEGED_WINDOW == 0);
        coarse || self.registry.callers().has_sys_resource(tid)
    }

    fn wants_host_uptime(&self, tid: u32) -> bool {
        let mut comm = Vec::new();
        !self.uptime_host_readers.is_empty()
            && self.registry.callers().comm(tid, &mut comm).is_ok()
            && self
                .uptime_host_readers
                .iter()
                .any(|reader| reader.as_bytes() == comm)
    }
}
