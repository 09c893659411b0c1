//! Every parser of a host file, and the renderers that take them as templates.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procview::cpu::{Cpus, Rounding};
use procview::host::{self, HostCpuinfo, HostDiskstats, HostMeminfo};
use procview::memory::Memory;
use procview::parse::{self, CpuList};
use procview::render::{self, CpuEntry, Possible};

fuzz_target!(|data: &[u8]| {
    let mut out = Vec::new();
    let meminfo = HostMeminfo::parse(data);
    let memory = Memory::new(&[], &meminfo);
    assert!(memory.total >= memory.available && memory.available >= memory.free);
    render::meminfo(&mut out, &memory, &meminfo);
    assert_eq!(parse::lines(&out).count(), meminfo.lines().len());

    let cpus = Cpus::new(Some(1_500_000), None, &CpuList::first(4), Rounding::Ceil);
    render::cpuinfo(&mut out, &cpus, &HostCpuinfo::parse(data));

    let source = render::VmstatSource {
        memory: &memory,
        memory_stat: data,
        disks: &[],
        pages: render::PageSizes {
            base: 65536,
            huge: 0,
        },
    };
    out.clear();
    render::vmstat(&mut out, &source, data);
    assert_eq!(parse::lines(&out).count(), host::keys(data).count());

    let _ = host::boot_time(data);
    assert!(data.starts_with(host::head(data, 2)));
    render::diskstats(&mut out, &[], &HostDiskstats::parse(data));
    for path in ["cache/index0/shared_cpu_map", "affected_cpus", "stats/trans_table"] {
        if let CpuEntry::Edited(edit) = render::cpu_entry(Some(0), path, &cpus, Possible::Host) {
            let _ = edit.apply(data, &cpus);
        }
    }
    let _ = render::cpu_offline(data, &CpuList::parse_mask(data), &cpus);
});
