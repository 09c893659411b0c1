//! `memory.stat` of both cgroup versions behind one model.

use crate::parse::flat_keyed;

/// The counters of `memory.stat` that some line of `/proc/meminfo` or `/proc/vmstat` has a use
/// for, in bytes. A key that the kernel does not have stays 0.
///
/// Source: Documentation/admin-guide/cgroup-v2.rst, "memory.stat", and
/// Documentation/admin-guide/cgroup-v1/memory.rst.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStat {
    /// Page cache, tmpfs and shared memory included (v1 `total_cache`).
    pub file: u64,
    /// Swap cached in memory (v2 since Linux 5.12, v1 since 6.6).
    pub swap_cached: u64,
    /// Anonymous memory (v1 `total_rss`).
    pub anon: u64,
    /// Mapped page cache.
    pub file_mapped: u64,
    /// Shared memory and tmpfs (v1 since Linux 4.9).
    pub shmem: u64,
    /// Modified page cache.
    pub file_dirty: u64,
    /// Page cache being written.
    pub file_writeback: u64,
    /// Anonymous memory on the active list.
    pub active_anon: u64,
    /// Anonymous memory on the inactive list.
    pub inactive_anon: u64,
    /// Page cache on the active list.
    pub active_file: u64,
    /// Page cache on the inactive list.
    pub inactive_file: u64,
    /// Memory that cannot be reclaimed.
    pub unevictable: u64,
    /// Reclaimable slab (v2 since Linux 4.5).
    pub slab_reclaimable: u64,
    /// Unreclaimable slab (v2); all accounted kernel memory (v1).
    pub slab_unreclaimable: u64,
    /// Kernel stacks (v2).
    pub kernel_stack: u64,
    /// Page tables (v2 since Linux 5.11).
    pub page_tables: u64,
    /// Page tables of virtual machines (v2 since Linux 6.1).
    pub sec_page_tables: u64,
    /// Per-CPU memory (v2 since Linux 5.9).
    pub percpu: u64,
    /// vmalloc'ed memory (v2 since Linux 5.18).
    pub vmalloc: u64,
    /// Anonymous memory in transparent huge pages (v1 `total_rss_huge`).
    pub anon_thp: u64,
    /// Shared memory in transparent huge pages (v2 since Linux 5.11).
    pub shmem_thp: u64,
    /// Page cache in transparent huge pages (v2 since Linux 5.11).
    pub file_thp: u64,
    /// Memory that compressed swap takes (v2 since Linux 5.19).
    pub zswap: u64,
    /// Memory that was compressed (v2 since Linux 5.19).
    pub zswapped: u64,
    /// v1 `hierarchical_memory_limit`, the smallest over the cgroup and its ancestors.
    pub hierarchical_limit: Option<u64>,
    /// v1 `hierarchical_memsw_limit`, likewise for memory and swap together.
    pub hierarchical_memsw_limit: Option<u64>,
    /// v1 `total_swap`: swapped out memory.
    pub swap: u64,
}

impl MemoryStat {
    /// Parses v2 `memory.stat`. The counters include all descendants.
    pub fn from_v2(text: &[u8]) -> Self {
        let mut stat = Self::default();
        flat_keyed(text, |key, value| {
            let field = match key {
                b"file" => &mut stat.file,
                b"swapcached" => &mut stat.swap_cached,
                b"anon" => &mut stat.anon,
                b"file_mapped" => &mut stat.file_mapped,
                b"shmem" => &mut stat.shmem,
                b"file_dirty" => &mut stat.file_dirty,
                b"file_writeback" => &mut stat.file_writeback,
                b"active_anon" => &mut stat.active_anon,
                b"inactive_anon" => &mut stat.inactive_anon,
                b"active_file" => &mut stat.active_file,
                b"inactive_file" => &mut stat.inactive_file,
                b"unevictable" => &mut stat.unevictable,
                b"slab_reclaimable" => &mut stat.slab_reclaimable,
                b"slab_unreclaimable" => &mut stat.slab_unreclaimable,
                b"kernel_stack" => &mut stat.kernel_stack,
                b"pagetables" => &mut stat.page_tables,
                b"sec_pagetables" => &mut stat.sec_page_tables,
                b"percpu" => &mut stat.percpu,
                b"vmalloc" => &mut stat.vmalloc,
                b"anon_thp" => &mut stat.anon_thp,
                b"shmem_thp" => &mut stat.shmem_thp,
                b"file_thp" => &mut stat.file_thp,
                b"zswap" => &mut stat.zswap,
                b"zswapped" => &mut stat.zswapped,
                _ => return,
            };
            *field = value;
        });
        stat
    }

    /// Parses v1 `memory.stat`. Only the `total_` keys include the descendants; where
    /// `memory.use_hierarchy` is 0 they are those of the cgroup itself.
    pub fn from_v1(text: &[u8]) -> Self {
        const UNLIMITED: u64 = 1 << 62;
        let mut stat = Self::default();
        flat_keyed(text, |key, value| {
            let field = match key {
                b"total_cache" => &mut stat.file,
                b"total_swapcached" => &mut stat.swap_cached,
                b"total_rss" => &mut stat.anon,
                b"total_mapped_file" => &mut stat.file_mapped,
                b"total_shmem" => &mut stat.shmem,
                b"total_dirty" => &mut stat.file_dirty,
                b"total_writeback" => &mut stat.file_writeback,
                b"total_active_anon" => &mut stat.active_anon,
                b"total_inactive_anon" => &mut stat.inactive_anon,
                b"total_active_file" => &mut stat.active_file,
                b"total_inactive_file" => &mut stat.inactive_file,
                b"total_unevictable" => &mut stat.unevictable,
                b"total_rss_huge" => &mut stat.anon_thp,
                b"total_swap" => &mut stat.swap,
                b"hierarchical_memory_limit" => {
                    stat.hierarchical_limit = Some(value).filter(|limit| *limit < UNLIMITED);
                    return;
                }
                b"hierarchical_memsw_limit" => {
                    stat.hierarchical_memsw_limit = Some(value).filter(|limit| *limit < UNLIMITED);
                    return;
                }
                _ => return,
            };
            *field = value;
        });
        stat
    }

    /// The part of the charged memory that the kernel gives back under pressure, bytes.
    pub fn reclaimable(&self) -> u64 {
        self.active_file
            .saturating_add(self.inactive_file)
            .saturating_add(self.slab_reclaimable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_keys_are_matched_whole() {
        let stat =
            MemoryStat::from_v2(b"anon 1\nfile 10\nfile_mapped 3\nfile_dirty 4\nunknown 5\n");
        assert_eq!((stat.file, stat.file_mapped, stat.file_dirty), (10, 3, 4));
    }

    #[test]
    fn v1_counts_the_descendants_too() {
        let stat = MemoryStat::from_v1(
            b"cache 1\nrss 2\nhierarchical_memory_limit 9223372036854771712\nhierarchical_memsw_limit 4096\ntotal_cache 10\ntotal_rss 20\n",
        );
        assert_eq!((stat.file, stat.anon), (10, 20));
        assert_eq!(
            (stat.hierarchical_limit, stat.hierarchical_memsw_limit),
            (None, Some(4096))
        );
    }
}
