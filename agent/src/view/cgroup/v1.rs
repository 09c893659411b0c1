//! cgroup v1 files. Source: Documentation/admin-guide/cgroup-v1/.

use procview::account::CpuTime;
use procview::memory::MemoryStat;
use procview::parse::{self, CpuList, DiskIo, Quota, flat_keyed, number};

use super::memory::{Names, least_left, levels};
use super::{Chain, HostMemory, MemoryFiles};

/// Microseconds in a tick of `cpuacct.stat` (`USER_HZ`).
const MICROS_PER_TICK: u64 = procview::account::MICROS_PER_TICK;

const MEMORY: Names = Names {
    limit: "memory.limit_in_bytes",
    high: None,
    usage: "memory.usage_in_bytes",
    parse: MemoryStat::from_v1,
};

/// `memory.limit_in_bytes`, `memory.usage_in_bytes`, `memory.stat`, `memory.kmem.usage_in_bytes`; swap from
/// `memory.memsw.{limit,usage}_in_bytes`, where memory and swap are one limit, and `memory.stat`.
pub(super) fn memory(chain: &Chain, now: u64, host: HostMemory) -> MemoryFiles {
    let mut files = levels(chain, now, &MEMORY);
    let kernel = chain
        .own()
        .and_then(|dir| dir.number("memory.kmem.usage_in_bytes"));
    files.stat.slab_unreclaimable = kernel.unwrap_or(0);
    if host.has_swap {
        let limits = files.levels.iter().filter_map(|level| level.limit);
        let memory = limits.min().unwrap_or(0);
        let (both, left) = least_left(
            chain,
            now,
            "memory.memsw.limit_in_bytes",
            "memory.memsw.usage_in_bytes",
        );
        files.swap_limit = both.map(|both| both.saturating_sub(memory));
        files.swap_left = left;
        files.swap_used = files.stat.swap;
    }
    files
}

/// `cpu.cfs_quota_us`, and `cpu.cfs_period_us` where there is a quota.
pub(super) fn quota(chain: &Chain, now: u64) -> Option<u64> {
    let quotas = chain.dirs.iter().filter_map(|dir| {
        // -1, no quota, is not a number here.
        let quota_us = number(dir.setting("cpu.cfs_quota_us", now).ok()?.trim_ascii())?;
        let period_us = number(dir.setting("cpu.cfs_period_us", now).ok()?.trim_ascii())?;
        let period_us = Some(period_us).filter(|period| *period > 0)?;
        Some(parse::microcpus(Quota {
            quota_us,
            period_us,
        }))
    });
    quotas.min()
}

/// `cpuset.effective_cpus` (since Linux 3.17).
pub(super) fn effective_cpus(chain: &Chain) -> Option<CpuList> {
    chain.innermost_list("cpuset.effective_cpus")
}

/// `cpuset.effective_mems` (since Linux 3.17).
pub(super) fn effective_mems(chain: &Chain) -> Option<CpuList> {
    chain.innermost_list("cpuset.effective_mems")
}

/// `cpuacct.stat`, which unlike `cpuacct.usage_user` is scaled to the exact run time.
pub(super) fn cpu_time(chain: &Chain) -> Option<CpuTime> {
    let mut text = Vec::new();
    chain.own()?.read("cpuacct.stat", &mut text).ok()?;
    let mut time = CpuTime::default();
    flat_keyed(&text, |key, value| match key {
        b"user" => time.user = value.saturating_mul(MICROS_PER_TICK),
        b"system" => time.system = value.saturating_mul(MICROS_PER_TICK),
        _ => {}
    });
    Some(time)
}

/// What the tick reads of each container.
pub(super) const ACTIVITY: &str = "cpuacct.usage";

/// `cpuacct.usage`.
pub(super) fn activity(chain: &Chain) -> Option<u64> {
    chain.own()?.number(ACTIVITY)
}

/// `blkio.throttle.io_serviced_recursive` and `blkio.throttle.io_service_bytes_recursive`, where
/// the kernel counts only while a throttle rule exists.
pub(super) fn disks(chain: &Chain) -> Vec<DiskIo> {
    let (mut serviced, mut bytes) = (Vec::new(), Vec::new());
    let Some(own) = chain.own() else {
        return Vec::new();
    };
    // What cannot be read stays empty and counts as no I/O.
    let _ = own.read("blkio.throttle.io_serviced_recursive", &mut serviced);
    let _ = own.read("blkio.throttle.io_service_bytes_recursive", &mut bytes);
    parse::throttle_recursive(&serviced, &bytes)
}
