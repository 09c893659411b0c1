//! How much memory and swap a container has.

mod stat;

pub use stat::MemoryStat;

use crate::host::HostMeminfo;

/// The least memory that is shown, bytes: a page. No machine has none, and readers divide by it.
const SMALLEST: u64 = 4096;

/// One cgroup of the chain from the container's own to the root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryLevel {
    /// Limit in bytes.
    pub limit: u64,
    /// Charged memory in bytes.
    pub usage: u64,
    /// The part of the usage that the kernel gives back under pressure: file cache on the LRU
    /// lists and reclaimable slab, bytes.
    pub reclaimable: u64,
}

impl MemoryLevel {
    fn free(&self) -> u64 {
        self.limit.saturating_sub(self.usage)
    }

    fn available(&self) -> u64 {
        // As the kernel adds them: usage above the limit is not free, but what can be reclaimed
        // of it is not lost either.
        self.limit
            .saturating_add(self.reclaimable)
            .saturating_sub(self.usage)
    }
}

/// Swap of a container in bytes; `free <= total`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swap {
    /// Size.
    pub total: u64,
    /// Used part.
    pub used: u64,
}

impl Swap {
    /// `limit` is the smallest over the cgroup and its ancestors, `host` the host's SwapTotal.
    /// What is used is there, whatever a limit that was lowered later says.
    pub fn new(limit: Option<u64>, used: u64, host: u64) -> Self {
        let used = used.min(host);
        Self {
            total: limit.unwrap_or(host).min(host).max(used),
            used,
        }
    }

    /// Unused part.
    pub fn free(&self) -> u64 {
        self.total - self.used
    }
}

/// Huge pages of the default size, counted in pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HugePages {
    /// Limit, at most what the host has.
    pub total: u64,
    /// Used pages.
    pub used: u64,
}

/// The memory of a container in bytes. `total >= available >= free` always holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The smallest limit, at most the host's memory.
    pub total: u64,
    /// What may still be charged before the first limit is reached.
    pub free: u64,
    /// As `free`, plus what can be reclaimed on the way.
    pub available: u64,
    /// The container's own counters.
    pub stat: MemoryStat,
    /// Swap.
    pub swap: Swap,
    /// Huge pages, if the hugetlb controller is there.
    pub huge_pages: HugePages,
    /// Percentage of the memory that counts towards CommitLimit (`vm.overcommit_ratio`).
    pub overcommit_ratio: u64,
}

impl Memory {
    /// `levels` are those with a limit. Siblings under a shared limit count, so each of them can
    /// be the one that runs out first. Without any limit the host itself is the only level.
    pub fn new(levels: &[MemoryLevel], host: &HostMeminfo) -> Self {
        let host_total = host.get("MemTotal");
        let smallest = |value: fn(&MemoryLevel) -> u64| levels.iter().map(value).min();
        // No machine has no memory: readers divide by this.
        let total = smallest(|level| level.limit)
            .unwrap_or(host_total)
            .max(SMALLEST)
            .min(host_total.max(SMALLEST));
        let free = smallest(MemoryLevel::free).unwrap_or_else(|| host.get("MemFree"));
        let available =
            smallest(MemoryLevel::available).unwrap_or_else(|| host.get("MemAvailable"));
        let free = free.min(total);
        Self {
            total,
            free,
            available: available.clamp(free, total),
            overcommit_ratio: 50,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn host() -> HostMeminfo {
        HostMeminfo::parse(b"MemTotal: 1048576 kB\nMemFree: 524288 kB\nMemAvailable: 786432 kB\n")
    }

    #[test]
    fn a_sibling_can_use_the_shared_limit_up() {
        let own = MemoryLevel {
            limit: 512 * MIB,
            usage: 100 * MIB,
            reclaimable: 50 * MIB,
        };
        let pod = MemoryLevel {
            limit: 600 * MIB,
            usage: 590 * MIB,
            reclaimable: 60 * MIB,
        };
        let memory = Memory::new(&[own, pod], &host());
        assert_eq!(memory.total, 512 * MIB);
        assert_eq!(memory.free, 10 * MIB);
        assert_eq!(memory.available, 70 * MIB);
    }

    #[test]
    fn without_a_limit_the_host_is_the_limit() {
        let memory = Memory::new(&[], &host());
        assert_eq!(
            (memory.total, memory.free, memory.available),
            (1024 * MIB, 512 * MIB, 768 * MIB)
        );
    }

    #[test]
    fn swap_is_at_least_what_is_used() {
        let swap = Swap::new(Some(0), 5 * MIB, 64 * MIB);
        assert_eq!((swap.total, swap.free()), (5 * MIB, 0));
        assert_eq!(Swap::new(None, 0, 64 * MIB).total, 64 * MIB);
        assert_eq!(Swap::new(Some(u64::MAX), 0, 64 * MIB).total, 64 * MIB);
    }

    proptest! {
        #[test]
        fn the_order_always_holds(levels in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..6)) {
            let levels: Vec<_> = levels.into_iter().map(|(limit, usage, reclaimable)| MemoryLevel { limit, usage, reclaimable }).collect();
            let memory = Memory::new(&levels, &host());
            prop_assert!(memory.total >= memory.available && memory.available >= memory.free);
            prop_assert!(memory.total <= 1024 * MIB);
        }
    }
}
