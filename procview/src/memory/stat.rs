//! `memory.stat` of both cgroup versions behind one model.

use std::collections::BTreeMap;

use crate::parse::{flat_keyed, lines, number, words};

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
    /// v1 `total_swap`: swapped out memory.
    pub swap: u64,
}

impl MemoryStat {
    /// Parses v2 `memory.stat`. The counters include all descendants.
    pub fn from_v2(text: &[u8]) -> Self {
        let mut stat = Self::default();
        flat_keyed(text, |key, value| {
            if let Some(field) = stat.v2_field(key) {
                *field = value;
            }
        });
        stat
    }

    /// Parses v2 `memory.numa_stat` (since Linux 5.10), by node: the keys of `memory.stat`, in bytes.
    pub fn by_node_v2(text: &[u8]) -> BTreeMap<u32, Self> {
        let mut nodes = BTreeMap::<u32, Self>::new();
        for (key, node, value) in nested_keyed(text) {
            if let Some(field) = nodes.entry(node).or_default().v2_field(key) {
                *field = value;
            }
        }
        nodes
    }

    /// Parses v1 `memory.numa_stat`, by node, which counts pages of `page` bytes. Only the `hierarchical_`
    /// keys include the descendants.
    pub fn by_node_v1(text: &[u8], page: u64) -> BTreeMap<u32, Self> {
        let mut nodes = BTreeMap::<u32, Self>::new();
        for (key, node, pages) in nested_keyed(text) {
            let stat = nodes.entry(node).or_default();
            let field = match key.split(|byte| *byte == b'=').next() {
                Some(b"hierarchical_file") => &mut stat.file,
                Some(b"hierarchical_anon") => &mut stat.anon,
                Some(b"hierarchical_unevictable") => &mut stat.unevictable,
                _ => continue,
            };
            *field = pages.saturating_mul(page);
        }
        nodes
    }

    fn v2_field(&mut self, key: &[u8]) -> Option<&mut u64> {
        Some(match key {
            b"file" => &mut self.file,
            b"swapcached" => &mut self.swap_cached,
            b"anon" => &mut self.anon,
            b"file_mapped" => &mut self.file_mapped,
            b"shmem" => &mut self.shmem,
            b"file_dirty" => &mut self.file_dirty,
            b"file_writeback" => &mut self.file_writeback,
            b"active_anon" => &mut self.active_anon,
            b"inactive_anon" => &mut self.inactive_anon,
            b"active_file" => &mut self.active_file,
            b"inactive_file" => &mut self.inactive_file,
            b"unevictable" => &mut self.unevictable,
            b"slab_reclaimable" => &mut self.slab_reclaimable,
            b"slab_unreclaimable" => &mut self.slab_unreclaimable,
            b"kernel_stack" => &mut self.kernel_stack,
            b"pagetables" => &mut self.page_tables,
            b"sec_pagetables" => &mut self.sec_page_tables,
            b"percpu" => &mut self.percpu,
            b"vmalloc" => &mut self.vmalloc,
            b"anon_thp" => &mut self.anon_thp,
            b"shmem_thp" => &mut self.shmem_thp,
            b"file_thp" => &mut self.file_thp,
            b"zswap" => &mut self.zswap,
            b"zswapped" => &mut self.zswapped,
            _ => return None,
        })
    }

    /// Parses v1 `memory.stat`. Only the `total_` keys include the descendants; where
    /// `memory.use_hierarchy` is 0 they are those of the cgroup itself.
    pub fn from_v1(text: &[u8]) -> Self {
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
                _ => return,
            };
            *field = value;
        });
        stat
    }

    /// What is charged, as far as there are counters of it, bytes.
    pub fn charged(&self) -> u64 {
        let parts = [
            self.anon,
            self.file,
            self.slab_reclaimable,
            self.slab_unreclaimable,
        ];
        let kernel = [
            self.kernel_stack,
            self.page_tables,
            self.sec_page_tables,
            self.percpu,
        ];
        parts.into_iter().chain(kernel).fold(0, u64::saturating_add)
    }

    /// `share` of `whole` of every counter.
    pub fn scaled(&self, share: u64, whole: u64) -> Self {
        let part = |value: u64| {
            let part = u128::from(value) * u128::from(share) / u128::from(whole.max(1));
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        Self {
            file: part(self.file),
            swap_cached: part(self.swap_cached),
            anon: part(self.anon),
            file_mapped: part(self.file_mapped),
            shmem: part(self.shmem),
            file_dirty: part(self.file_dirty),
            file_writeback: part(self.file_writeback),
            active_anon: part(self.active_anon),
            inactive_anon: part(self.inactive_anon),
            active_file: part(self.active_file),
            inactive_file: part(self.inactive_file),
            unevictable: part(self.unevictable),
            slab_reclaimable: part(self.slab_reclaimable),
            slab_unreclaimable: part(self.slab_unreclaimable),
            kernel_stack: part(self.kernel_stack),
            page_tables: part(self.page_tables),
            sec_page_tables: part(self.sec_page_tables),
            percpu: part(self.percpu),
            vmalloc: part(self.vmalloc),
            anon_thp: part(self.anon_thp),
            shmem_thp: part(self.shmem_thp),
            file_thp: part(self.file_thp),
            zswap: part(self.zswap),
            zswapped: part(self.zswapped),
            swap: part(self.swap),
        }
    }

    /// The part of the charged memory that the kernel gives back under pressure, bytes.
    pub fn reclaimable(&self) -> u64 {
        self.active_file
            .saturating_add(self.inactive_file)
            .saturating_add(self.slab_reclaimable)
    }
}

/// Key, node and value of each `N<node>=<value>` of `memory.numa_stat`.
fn nested_keyed(text: &[u8]) -> impl Iterator<Item = (&[u8], u32, u64)> {
    lines(text).flat_map(|line| {
        let key = words(line).next().unwrap_or_default();
        words(line).skip(1).filter_map(move |word| {
            let equals = word.iter().position(|byte| *byte == b'=')?;
            let node = number(word[..equals].strip_prefix(b"N")?)?;
            Some((key, u32::try_from(node).ok()?, number(&word[equals + 1..])?))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_by_node() {
        let nodes =
            MemoryStat::by_node_v2(b"anon N0=4096 N1=8192\nfile N0=1 N1=2\nnew N0=5\nfile\nN0=1\n");
        assert_eq!(
            (nodes[&0].anon, nodes[&1].anon, nodes[&1].file),
            (4096, 8192, 2)
        );
        let nodes = MemoryStat::by_node_v1(
            b"total=9 N0=9\nanon=3 N0=3\nhierarchical_total=9 N0=4 N1=5\nhierarchical_anon=3 N0=1 N1=2\n",
            4096,
        );
        assert_eq!((nodes[&0].anon, nodes[&1].anon), (4096, 8192));
    }

    #[test]
    fn v2_keys_are_matched_whole() {
        let stat =
            MemoryStat::from_v2(b"anon 1\nfile 10\nfile_mapped 3\nfile_dirty 4\nunknown 5\n");
        assert_eq!((stat.file, stat.file_mapped, stat.file_dirty), (10, 3, 4));
    }

    #[test]
    fn v1_counts_the_descendants_too() {
        let stat = MemoryStat::from_v1(
            b"cache 1\nrss 2\nhierarchical_memory_limit 4096\ntotal_cache 10\ntotal_rss 20\n",
        );
        assert_eq!((stat.file, stat.anon), (10, 20));
    }
}
