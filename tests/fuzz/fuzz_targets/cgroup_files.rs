//! Every parser of a cgroup file, and what is computed from their numbers: no panic, no overflow,
//! and the invariants of a view whatever the files say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procview::account::{CpuAccount, CpuTime};
use procview::cpu::{Cpus, Rounding};
use procview::host::{HostDiskstats, HostMeminfo};
use procview::memory::{Memory, MemoryLevel, MemoryStat, Swap};
use procview::parse::{self, CpuList};
use procview::render;

const HOST: &[u8] = include_bytes!("../meminfo");

fuzz_target!(|data: &[u8]| {
    let mut parts = data.split(|byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (stat, limit, current, cpu_max, cpus, cpu_stat, io, io2) =
        (part(), part(), part(), part(), part(), part(), part(), part());

    let host = HostMeminfo::parse(HOST);
    for stat in [MemoryStat::from_v1(stat), MemoryStat::from_v2(stat)] {
        let level = MemoryLevel {
            limit: parse::memory_max(limit),
            high: parse::number(limit),
            usage: parse::number(current).unwrap_or(0),
            reclaimable: stat.reclaimable(),
        };
        let memory = Memory {
            swap: Swap::new(parse::memory_max(limit), parse::number(current), stat.swap, host.get("SwapTotal")),
            stat,
            ..Memory::new(&[level], &host)
        };
        assert!(memory.total >= memory.available && memory.available >= memory.free);
        assert!(memory.total > 0 && memory.swap.total >= memory.swap.free());
        let mut out = Vec::new();
        render::meminfo(&mut out, &memory, &host);
        assert_eq!(parse::lines(&out).count(), host.lines().len());
        out.clear();
        render::swaps(&mut out, memory.swap);
    }

    let quota = parse::cpu_max(cpu_max).map(parse::microcpus);
    let list = CpuList::parse(cpus);
    let mut used = [0; 3];
    parse::flat_keyed(cpu_stat, |key, value| used[key.len() % 3] = value % (1 << 62));
    let used = CpuTime { user: used[0] / 4, nice: used[1] / 4, system: used[2] / 4 };
    for rounding in [Rounding::Ceil, Rounding::Floor, Rounding::Round] {
        let cpus = Cpus::new(quota, Some(&list), &CpuList::first(64), rounding);
        assert!((1..=64).contains(&cpus.count()));
        let mut account = CpuAccount::new(1 << 40, 1 << 30, &cpus, CpuTime::default());
        let before = account.idle();
        account.sample((1 << 40) + 5_000_000, &cpus, used);
        assert!(account.idle() >= before);
    }

    let mut out = Vec::new();
    for disks in [parse::io_stat(io), parse::throttle_recursive(io, io2)] {
        render::diskstats(&mut out, &disks, &HostDiskstats::parse(io2));
    }
});
