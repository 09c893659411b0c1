//! cgroup v2 files. Source: Documentation/admin-guide/cgroup-v2.rst.

use procview::account::CpuTime;
use procview::memory::MemoryStat;
use procview::parse::{self, CpuList, DiskIo, flat_keyed};

use super::memory::{Names, least_left, levels};
use super::{Chain, HostMemory, MemoryFiles};

const MEMORY: Names = Names {
    limit: "memory.max",
    high: Some("memory.high"),
    usage: "memory.current",
    parse: MemoryStat::from_v2,
};

/// `memory.max`, `memory.high`, `memory.current`, `memory.stat`, and with swap `memory.swap.{max,current}`.
pub(super) fn memory(chain: &Chain, now: u64, host: HostMemory) -> MemoryFiles {
    let mut files = levels(chain, now, &MEMORY);
    if host.has_swap {
        let used = chain
            .own()
            .and_then(|dir| dir.number("memory.swap.current"));
        files.swap_used = used.unwrap_or(0);
        (files.swap_limit, files.swap_left) =
            least_left(chain, now, "memory.swap.max", "memory.swap.current");
    }
    files
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
    chain.innermost_list("cpuset.cpus.effective")
}

/// `cpuset.mems.effective`.
pub(super) fn effective_mems(chain: &Chain) -> Option<CpuList> {
    chain.innermost_list("cpuset.mems.effective")
}

/// `cpu.stat`. `user_usec` includes `nice_usec` (since Linux 6.12).
pub(super) fn cpu_time(chain: &Chain) -> Option<CpuTime> {
    let mut text = Vec::new();
    chain.own()?.read("cpu.stat", &mut text).ok()?;
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
    chain.own()?.read(ACTIVITY, &mut text).ok()?;
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
    let own = chain.own();
    let read = own.map(|dir| dir.read("io.stat", &mut text));
    match read {
        Some(Ok(())) => parse::io_stat(&text),
        _ => Vec::new(),
    }
}
