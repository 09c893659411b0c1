//! How much memory and swap a container has.

mod stat;

pub use stat::MemoryStat;

use crate::host::HostMeminfo;

/// The least memory that is shown, bytes: a page. No machine has none, and readers divide by it.
const SMALLEST: u64 = 4096;

/// One cgroup of the chain from the container's own to the root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryLevel {
    /// Limit in bytes, if there is one.
    pub limit: Option<u64>,
    /// The usage in bytes from which on the kernel slows the cgroup down and takes memory back, if there is
    /// one (v2 `memory.high`). It is not what a program may use in the end, but what is free of trouble.
    pub high: Option<u64>,
    /// Charged memory in bytes.
    pub usage: u64,
    /// The part of the usage that the kernel gives back under pressure: file cache on the LRU
    /// lists and reclaimable slab, bytes.
    pub reclaimable: u64,
}

impl MemoryLevel {
    /// What may be charged, at most what the host has: more is not there.
    fn room(&self, host: u64) -> Option<u64> {
        let limits = self.limit.into_iter().chain(self.high);
        Some(limits.min()?.min(host))
    }

    fn free(&self, host: u64) -> Option<u64> {
        Some(self.room(host)?.saturating_sub(self.usage))
    }

    fn available(&self, host: u64) -> Option<u64> {
        // As the kernel adds them: usage above the limit is not free, but what can be reclaimed
        // of it is not lost either.
        let room = self.room(host)?.saturating_add(self.reclaimable);
        Some(room.saturating_sub(self.usage))
    }
}

/// Swap of a container in bytes; `used <= total`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swap {
    /// Size.
    pub total: u64,
    /// What is not free, since the container or others under a shared limit use it.
    pub used: u64,
}

impl Swap {
    /// `limit` is the smallest over the cgroup and its ancestors, `free` what is left of the one that has
    /// least left, `used` what the container itself uses, `host` the host's SwapTotal. What is used is
    /// there, whatever a limit that was lowered later says.
    pub fn new(limit: Option<u64>, free: Option<u64>, used: u64, host: u64) -> Self {
        let used = used.min(host);
        let total = limit.unwrap_or(host).min(host).max(used);
        let free = free.unwrap_or(total).min(total - used);
        Self {
            total,
            used: total - free,
        }
    }

    /// Unused part.
    pub fn free(&self) -> u64 {
        self.total - self.used
    }
}

/// Huge pages of the default size, counted in pages; `free <= total`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HugePages {
    /// Limit, at most what the host has.
    pub total: u64,
    /// What of them is left, at most what the host has free.
    pub free: u64,
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
    /// The swap that the container itself uses, bytes.
    pub swapped: u64,
    /// Huge pages, if the hugetlb controller is there.
    pub huge_pages: HugePages,
    /// Percentage of the memory that counts towards CommitLimit (`vm.overcommit_ratio`).
    pub overcommit_ratio: u64,
}

impl Memory {
    /// Siblings under a shared limit count, so each of `levels` can be the one that runs out first.
    /// Without any limit the host itself is the only level.
    pub fn new(levels: &[MemoryLevel], host: &HostMeminfo) -> Self {
        let host_total = host.get("MemTotal").max(SMALLEST);
        let limit = levels.iter().filter_map(|level| level.limit).min();
        // No machine has no memory: readers divide by this.
        let total = limit.unwrap_or(host_total).clamp(SMALLEST, host_total);
        let smallest = |value: fn(&MemoryLevel, u64) -> Option<u64>| {
            levels
                .iter()
                .filter_map(|level| value(level, host_total))
                .min()
        };
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

    fn level(limit: u64, usage: u64, reclaimable: u64) -> MemoryLevel {
        MemoryLevel {
            limit: Some(limit * MIB),
            high: None,
            usage: usage * MIB,
            reclaimable: reclaimable * MIB,
        }
    }

    #[test]
    fn a_sibling_can_use_the_shared_limit_up() {
        let memory = Memory::new(&[level(512, 100, 50), level(600, 590, 60)], &host());
        assert_eq!(memory.total, 512 * MIB);
        assert_eq!(memory.free, 10 * MIB);
        assert_eq!(memory.available, 70 * MIB);
    }

    #[test]
    fn a_limit_above_the_hosts_memory_is_the_hosts_memory() {
        let memory = Memory::new(&[level(40 << 10, 300, 100)], &host());
        assert_eq!(
            (memory.total, memory.free, memory.available),
            (1024 * MIB, 724 * MIB, 824 * MIB)
        );
    }

    #[test]
    fn what_is_above_memory_high_is_not_free() {
        let high = MemoryLevel {
            high: Some(300 * MIB),
            ..level(512, 100, 50)
        };
        let memory = Memory::new(&[high], &host());
        assert_eq!(
            (memory.total, memory.free, memory.available),
            (512 * MIB, 200 * MIB, 250 * MIB)
        );
        // Without a limit it is the host's memory of which that much is free.
        let memory = Memory::new(
            &[MemoryLevel {
                limit: None,
                ..high
            }],
            &host(),
        );
        assert_eq!(
            (memory.total, memory.free, memory.available),
            (1024 * MIB, 200 * MIB, 250 * MIB)
        );
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
        let swap = Swap::new(Some(0), Some(0), 5 * MIB, 64 * MIB);
        assert_eq!((swap.total, swap.free()), (5 * MIB, 0));
        assert_eq!(Swap::new(None, None, 0, 64 * MIB).total, 64 * MIB);
        assert_eq!(Swap::new(Some(u64::MAX), None, 0, 64 * MIB).total, 64 * MIB);
    }

    #[test]
    fn a_sibling_can_use_the_shared_swap_up() {
        let swap = Swap::new(Some(32 * MIB), Some(6 * MIB), MIB, 64 * MIB);
        assert_eq!((swap.total, swap.free()), (32 * MIB, 6 * MIB));
    }

    proptest! {
        #[test]
        fn the_order_always_holds(levels in proptest::collection::vec((any::<Option<u64>>(), any::<Option<u64>>(), any::<u64>(), any::<u64>()), 0..6)) {
            let levels: Vec<_> = levels.into_iter().map(|(limit, high, usage, reclaimable)| MemoryLevel { limit, high, usage, reclaimable }).collect();
            let memory = Memory::new(&levels, &host());
            prop_assert!(memory.total >= memory.available && memory.available >= memory.free);
            prop_assert!(memory.total <= 1024 * MIB);
        }
    }
}
