//! `/proc/vmstat`.

use super::column;
use crate::host::keys;
use crate::memory::Memory;
use crate::parse::{DiskIo, lines, number, words};

/// What `/proc/vmstat` shows.
#[derive(Debug, Clone, Copy)]
pub struct VmstatSource<'a> {
    /// The container's memory.
    pub memory: &'a Memory,
    /// The text of its `memory.stat`, for the counters that have the same name in both files.
    pub memory_stat: &'a [u8],
    /// Its block I/O.
    pub disks: &'a [DiskIo],
    /// The kernel's sizes of pages.
    pub pages: PageSizes,
}

/// Bytes of the pages in which `/proc/vmstat` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSizes {
    /// An ordinary one: 4096, or up to 65536 on arm64 and ppc64le.
    pub base: u64,
    /// A transparent huge one.
    pub huge: u64,
}

/// Appends `/proc/vmstat`: the host's keys, each with the container's counter, 0 where it has
/// none.
pub fn vmstat(out: &mut Vec<u8>, source: &VmstatSource<'_>, host: &[u8]) {
    let counters = events(source.memory_stat);
    for key in keys(host) {
        let value = gauge(key, source).unwrap_or_else(|| {
            counters
                .iter()
                .find(|(name, _)| *name == key)
                .map_or(0, |(_, value)| *value)
        });
        out.extend_from_slice(key);
        column::next(out, value);
        out.push(b'\n');
    }
}

/// The event counters of `memory.stat`: v2 names them as `/proc/vmstat` does, v1 with `total_`.
fn events(memory_stat: &[u8]) -> Vec<(&[u8], u64)> {
    const PREFIXES: [&[u8]; 12] = [
        b"pgactivate",
        b"pgdeactivate",
        b"pgfault",
        b"pglazyfree",
        b"pgmajfault",
        b"pgrefill",
        b"pgscan",
        b"pgsteal",
        b"pswp",
        b"thp_",
        b"workingset_",
        b"zswp",
    ];
    let mut counters: Vec<(&[u8], u64)> = Vec::new();
    for line in lines(memory_stat) {
        let Some((name, value)) = words(line).next().zip(words(line).nth(1).and_then(number))
        else {
            continue;
        };
        let key = name.strip_prefix(b"total_").unwrap_or(name);
        if !PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
            continue;
        }
        // v1 lists the cgroup's own counter first, then the sum with its descendants.
        match counters.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => counters.push((key, value)),
        }
    }
    counters
}

/// Lines that are amounts of memory, in the unit of the line.
fn gauge(key: &[u8], source: &VmstatSource<'_>) -> Option<u64> {
    let stat = &source.memory.stat;
    let sum = |part: fn(&DiskIo) -> u64| source.disks.iter().map(part).fold(0, u64::saturating_add);
    let bytes = match key {
        b"nr_free_pages" => source.memory.free,
        b"nr_zone_inactive_anon" | b"nr_inactive_anon" => stat.inactive_anon,
        b"nr_zone_active_anon" | b"nr_active_anon" => stat.active_anon,
        b"nr_zone_inactive_file" | b"nr_inactive_file" => stat.inactive_file,
        b"nr_zone_active_file" | b"nr_active_file" => stat.active_file,
        b"nr_zone_unevictable" | b"nr_unevictable" => stat.unevictable,
        b"nr_anon_pages" => stat.anon,
        b"nr_mapped" => stat.file_mapped,
        b"nr_file_pages" => stat.file,
        b"nr_shmem" => stat.shmem,
        b"nr_dirty" => stat.file_dirty,
        b"nr_writeback" => stat.file_writeback,
        b"nr_slab_reclaimable" => stat.slab_reclaimable,
        b"nr_slab_unreclaimable" => stat.slab_unreclaimable,
        b"nr_page_table_pages" => stat.page_tables,
        b"nr_sec_page_table_pages" => stat.sec_page_tables,
        b"nr_swapcached" => stat.swap_cached,
        // These three count KiB.
        b"nr_kernel_stack" => return Some(stat.kernel_stack / 1024),
        b"pgpgin" => return Some(sum(|io| io.read_bytes) / 1024),
        b"pgpgout" => return Some(sum(|io| io.written_bytes) / 1024),
        // And these huge pages.
        b"nr_anon_transparent_hugepages" => return Some(stat.anon_thp / source.pages.huge.max(1)),
        b"nr_shmem_hugepages" => return Some(stat.shmem_thp / source.pages.huge.max(1)),
        b"nr_file_hugepages" => return Some(stat.file_thp / source.pages.huge.max(1)),
        _ => return None,
    };
    Some(bytes / source.pages.base.max(1))
}
