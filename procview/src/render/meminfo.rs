//! `/proc/meminfo`.

use super::column;
use crate::host::{HostMeminfo, MeminfoLine};
use crate::memory::Memory;

/// Columns that the kernel leaves for a key, and up to the end of its value (show_val_kb in Linux
/// fs/proc/meminfo.c). A longer value goes beyond.
const KEY_END: usize = 16;
const VALUE_END: usize = 24;

/// Appends `/proc/meminfo`: the host's lines in its order, each with the container's value, 0
/// where it has none.
pub fn meminfo(out: &mut Vec<u8>, memory: &Memory, host: &HostMeminfo) {
    let mut direct_map = memory.total / 1024;
    for line in host.lines() {
        let value = match &*line.key {
            key if key.starts_with("DirectMap") => std::mem::take(&mut direct_map),
            // Constants of the architecture.
            "VmallocTotal" | "Hugepagesize" => line.value,
            key => value(key, memory, host),
        };
        write_line(out, line, value);
    }
}

fn write_line(out: &mut Vec<u8>, line: &MeminfoLine, value: u64) {
    let start = out.len();
    out.extend_from_slice(line.key.as_bytes());
    out.push(b':');
    let key_end = (start + KEY_END).max(out.len());
    out.resize(key_end, b' ');
    column::right(out, start, VALUE_END, value);
    out.extend_from_slice(if line.is_kb { b" kB\n" } else { b"\n" });
}

/// The value of a line of a memory node's `meminfo`, which has some names of its own, in the line's unit.
pub(super) fn node_value(key: &str, memory: &Memory, host: &HostMeminfo) -> u64 {
    match key {
        "MemUsed" => memory.total.saturating_sub(memory.free) / 1024,
        "FilePages" => value("Cached", memory, host),
        key => value(key, memory, host),
    }
}

/// The value of a line in the line's unit.
fn value(key: &str, memory: &Memory, host: &HostMeminfo) -> u64 {
    let stat = &memory.stat;
    let bytes = match key {
        "MemTotal" => memory.total,
        "MemFree" => memory.free,
        "MemAvailable" => memory.available,
        "Cached" => stat.file,
        "SwapCached" => stat.swap_cached,
        "Active" => stat.active_anon.saturating_add(stat.active_file),
        "Inactive" => stat.inactive_anon.saturating_add(stat.inactive_file),
        "Active(anon)" => stat.active_anon,
        "Inactive(anon)" => stat.inactive_anon,
        "Active(file)" => stat.active_file,
        "Inactive(file)" => stat.inactive_file,
        "Unevictable" => stat.unevictable,
        "SwapTotal" => memory.swap.total,
        "SwapFree" => memory.swap.free(),
        "Zswap" => stat.zswap,
        "Zswapped" => stat.zswapped,
        "Dirty" => stat.file_dirty,
        "Writeback" => stat.file_writeback,
        "AnonPages" => stat.anon,
        "Mapped" => stat.file_mapped,
        "Shmem" => stat.shmem,
        "KReclaimable" | "SReclaimable" => stat.slab_reclaimable,
        "Slab" => stat
            .slab_reclaimable
            .saturating_add(stat.slab_unreclaimable),
        "SUnreclaim" => stat.slab_unreclaimable,
        "KernelStack" => stat.kernel_stack,
        "PageTables" => stat.page_tables,
        "SecPageTables" => stat.sec_page_tables,
        "Percpu" => stat.percpu,
        "VmallocUsed" => stat.vmalloc,
        "AnonHugePages" => stat.anon_thp,
        "ShmemHugePages" => stat.shmem_thp,
        "FileHugePages" => stat.file_thp,
        "CommitLimit" => commit_limit(memory, host),
        "Committed_AS" => stat
            .anon
            .saturating_add(stat.shmem)
            .saturating_add(memory.swapped),
        "Hugetlb" => huge_page_bytes(memory, host),
        "HugePages_Total" => return memory.huge_pages.total,
        "HugePages_Free" => return memory.huge_pages.free,
        _ => 0,
    };
    bytes / 1024
}

/// As `vm_commit_limit` in Linux mm/util.c: the overcommit ratio of what is not set aside for
/// huge pages, and swap.
fn commit_limit(memory: &Memory, host: &HostMeminfo) -> u64 {
    let pages = memory.total.saturating_sub(huge_page_bytes(memory, host));
    let ratio = u128::from(pages) * u128::from(memory.overcommit_ratio) / 100;
    u64::try_from(ratio)
        .unwrap_or(u64::MAX)
        .saturating_add(memory.swap.total)
}

fn huge_page_bytes(memory: &Memory, host: &HostMeminfo) -> u64 {
    memory
        .huge_pages
        .total
        .saturating_mul(host.get("Hugepagesize"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_laid_out_as_the_kernel_does() {
        let text = "MemTotal:       24684092 kB\nActive(anon):       1234 kB\nShmemPmdMapped:        0 kB\nVmallocTotal:   34359738367 kB\nHugePages_Total:       0\nDirectMap4k:       26624 kB\n";
        let host = HostMeminfo::parse(text.as_bytes());
        let mut out = Vec::new();
        for line in host.lines() {
            write_line(&mut out, line, line.value);
        }
        assert_eq!(String::from_utf8_lossy(&out), text);
    }
}
