//! cgroup v2 files. Source: Documentation/admin-guide/cgroup-v2.rst.

use procview::account::CpuTime;
use procview::memory::{MemoryLevel, MemoryStat};
use procview::parse::{self, CpuList, DiskIo, flat_keyed};

use super::{ANCESTOR_AGE, Chain, Dir, HostMemory, MemoryFiles};

/// `memory.max`, `memory.current`, `memory.stat`, and with swap `memory.swap.{max,current}`.
pub(super) fn memory(chain: &Chain, now: u64, host: HostMemory) -> MemoryFiles {
    let mut text = Vec::new();
    let mut files = MemoryFiles::default();
    let mut own = None;
    for (index, dir) in chain.dirs.iter().enumerate() {
        // The innermost cgroup with the controller is the container's own.
        if own.is_none() && dir.read("memory.stat", &mut text).is_ok() {
            files.stat = MemoryStat::from_v2(&text);
            own = Some(index);
        }
        let limit = dir.limit("memory.max", now);
        if let Some(limit) = limit {
            let used = if own == Some(index) {
                usage(dir, files.stat.reclaimable())
            } else {
                dir.recent_memory(now, ANCESTOR_AGE, || {
                    let read = dir.read("memory.stat", &mut text);
                    usage(
                        dir,
                        read.map_or(0, |()| MemoryStat::from_v2(&text).reclaimable()),
                    )
                })
            };
            files.levels.push(MemoryLevel { limit, ..used });
        }
        if host.has_swap {
            let limit = dir.limit("memory.swap.max", now);
            files.swap_limit = files.swap_limit.into_iter().chain(limit).min();
            if own == Some(index) {
                files.swap_used = dir.number("memory.swap.current").unwrap_or(0);
            }
        }
    }
    files
}

fn usage(dir: &Dir, reclaimable: u64) -> MemoryLevel {
    MemoryLevel {
        limit: 0,
        usage: dir.number("memory.current").unwrap_or(0),
        reclaimable,
    }
}

/// `cpu.max`.
pub(super) fn quota(chain: &Chain, now: u64) -> Option<u64> {
    let quotas = chain.dirs.iter().filter_map(|dir| {
        let text = dir.setting("cpu.max", now).ok()?;
        parse::cpu_max(&text).map(parse::microcpus)
    });
    quotas.min()
}

/// `cpuset.cpus.effective`.
pub(super) fn effective_cpus(chain: &Chain) -> Option<CpuList> {
    let mut text = Vec::new();
    chain.innermost(|dir| {
        dir.read("cpuset.cpus.effective", &mut text).ok()?;
        Some(CpuList::parse(&text)).filter(|list| !list.is_empty())
    })
}

/// `cpu.stat`. `user_usec` includes `nice_usec` (since Linux 6.12).
pub(super) fn cpu_time(chain: &Chain) -> Option<CpuTime> {
    let mut text = Vec::new();
    chain.dirs.first()?.read("cpu.stat", &mut text).ok()?;
    let mut time = CpuTime::default();
    flat_keyed(&text, |key, value| match key {
        b"user_usec" => time.user = value,
        b"nice_usec" => time.nice = value,
        b"system_usec" => time.system = value,
        _ => {}
    });
    time.nice = time.nice.min(time.user);
    time.user -= time.nice;
    Some(time)
}

/// What the tick reads of each container.
pub(super) const ACTIVITY: &str = "cpu.stat";

/// `usage_usec` of `cpu.stat`.
pub(super) fn activity(chain: &Chain) -> Option<u64> {
    let mut text = Vec::new();
    chain.dirs.first()?.read(ACTIVITY, &mut text).ok()?;
    let mut usage = None;
    flat_keyed(&text, |key, value| {
        if key == b"usage_usec" {
            usage = Some(value);
        }
    });
    usage
}

/// `io.stat`.
pub(super) fn disks(chain: &Chain) -> Vec<DiskIo> {
    let mut text = Vec::new();
    let own = chain.dirs.first();
    let read = own.map(|dir| dir.read("io.stat", &mut text));
    match read {
        Some(Ok(())) => parse::io_stat(&text),
        _ => Vec::new(),
    }
}
