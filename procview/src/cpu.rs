//! How many CPUs a container has, and which.

use serde::{Deserialize, Serialize};

use crate::parse::{CpuList, MICROCPUS_PER_CPU};

/// How a fractional quota becomes a whole number of CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rounding {
    /// 1.5 is 2 CPUs, as a thread pool should see it.
    #[default]
    Ceil,
    /// 1.5 is 1 CPU; less than 1 is 1.
    Floor,
    /// 1.4 is 1 CPU, 1.5 is 2.
    Round,
}

/// The CPUs of a container, under the kernel's own numbers: what system calls such as
/// sched_getaffinity(2) and getcpu(2) tell the container must not contradict the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpus {
    shown: CpuList,
    microcpus: u64,
    quota_microcpus: u64,
}

impl Cpus {
    /// n = min(rounded quota, effective cpuset CPUs), at least 1, at most the host's.
    ///
    /// `quota` is the smallest quota over the cgroup and its ancestors in millionths of a CPU.
    /// `effective` is the cpuset that is in force; CPUs that are not in `online` do not count,
    /// and a set without any online CPU counts as no cpuset, since a task always runs somewhere.
    pub fn new(
        quota: Option<u64>,
        effective: Option<&CpuList>,
        online: &CpuList,
        rounding: Rounding,
    ) -> Self {
        let allowed = effective
            .map(|list| list.intersection(online))
            .filter(|list| !list.is_empty())
            .unwrap_or_else(|| online.clone());
        let allowed = if allowed.is_empty() {
            CpuList::first(1)
        } else {
            allowed
        };
        let most = allowed.len() as u64;
        let whole = quota.map_or(most, |quota| match rounding {
            Rounding::Ceil => quota.div_ceil(MICROCPUS_PER_CPU),
            Rounding::Floor => quota / MICROCPUS_PER_CPU,
            Rounding::Round => (quota + MICROCPUS_PER_CPU / 2) / MICROCPUS_PER_CPU,
        });
        let count = whole.clamp(1, most);
        let quota_microcpus = quota
            .map_or(u64::MAX, |quota| quota.max(1))
            .min(most * MICROCPUS_PER_CPU);
        Self {
            shown: allowed.truncated(usize::try_from(count).unwrap_or(usize::MAX)),
            microcpus: quota_microcpus.min(count * MICROCPUS_PER_CPU),
            quota_microcpus,
        }
    }

    /// All of the host's.
    pub fn all(online: &CpuList) -> Self {
        Self::new(None, None, online, Rounding::Ceil)
    }

    /// n, the number of CPUs shown; at least 1.
    pub fn count(&self) -> usize {
        self.shown.len()
    }

    /// The CPUs shown: the first n of those the container may run on.
    pub fn shown(&self) -> &CpuList {
        &self.shown
    }

    /// The numbers of the CPUs shown, ascending.
    pub fn numbers(&self) -> &[u32] {
        self.shown.as_slice()
    }

    /// c, the CPU time that passes in a unit of wall time, in millionths of a CPU; at most n CPUs.
    pub fn capacity(&self) -> u64 {
        self.microcpus
    }

    /// The CPU time the container may really use, in millionths of a CPU. Above
    /// [`capacity`](Self::capacity) only if rounding hides a fraction.
    pub fn quota(&self) -> u64 {
        self.quota_microcpus
    }

    /// The share of the CPU at `index` of those shown in the capacity, in millionths of a CPU: whole
    /// CPUs first, the last carries the fraction.
    pub fn share(&self, index: usize) -> u64 {
        let before = index as u64 * MICROCPUS_PER_CPU;
        self.microcpus.saturating_sub(before).min(MICROCPUS_PER_CPU)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cpus(quota: Option<u64>, effective: &str, rounding: Rounding) -> Cpus {
        let effective = CpuList::parse(effective.as_bytes());
        Cpus::new(quota, Some(&effective), &CpuList::first(8), rounding)
    }

    #[test]
    fn the_smaller_of_quota_and_cpuset() {
        let half = cpus(Some(500_000), "0-7", Rounding::Ceil);
        assert_eq!((half.count(), half.capacity()), (1, 500_000));
        let fraction = cpus(Some(1_500_000), "0-7", Rounding::Ceil);
        assert_eq!((fraction.count(), fraction.capacity()), (2, 1_500_000));
        assert_eq!((fraction.share(0), fraction.share(1)), (1_000_000, 500_000));
        let pinned = cpus(Some(4_000_000), "2,5", Rounding::Ceil);
        assert_eq!(
            (pinned.numbers(), pinned.capacity()),
            (&[2, 5][..], 2_000_000)
        );
        assert_eq!(cpus(None, "0-7", Rounding::Ceil).count(), 8);
    }

    #[test]
    fn rounding_is_a_choice() {
        assert_eq!(cpus(Some(1_500_000), "0-7", Rounding::Floor).count(), 1);
        assert_eq!(
            cpus(Some(1_500_000), "0-7", Rounding::Floor).capacity(),
            1_000_000
        );
        assert_eq!(
            cpus(Some(1_500_000), "0-7", Rounding::Floor).quota(),
            1_500_000
        );
        assert_eq!(cpus(Some(1_400_000), "0-7", Rounding::Round).count(), 1);
        assert_eq!(cpus(Some(10_000), "0-7", Rounding::Floor).count(), 1);
    }

    #[test]
    fn a_cpuset_without_online_cpus_does_not_count() {
        assert_eq!(cpus(None, "", Rounding::Ceil).count(), 8);
        assert_eq!(cpus(None, "64-65", Rounding::Ceil).count(), 8);
    }

    proptest! {
        #[test]
        fn at_least_one_at_most_the_hosts(quota: Option<u64>, set in "[0-9,-]{0,12}", online in 1_u32..300) {
            let quota = quota.map(|quota| quota % (u64::from(u32::MAX) * MICROCPUS_PER_CPU));
            for rounding in [Rounding::Ceil, Rounding::Floor, Rounding::Round] {
                let cpus = Cpus::new(quota, Some(&CpuList::parse(set.as_bytes())), &CpuList::first(online), rounding);
                prop_assert!((1..=online as usize).contains(&cpus.count()));
                prop_assert!(cpus.capacity() >= 1 && cpus.capacity() <= cpus.quota());
                let shares: u64 = (0..cpus.count()).map(|cpu| cpus.share(cpu)).sum();
                prop_assert_eq!(shares, cpus.capacity());
            }
        }
    }
}
