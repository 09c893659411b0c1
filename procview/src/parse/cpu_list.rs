//! CPU lists such as `0-3,8`: `cpuset.cpus.effective`, `/sys/devices/system/cpu/online`.

use super::keyed::number;

/// A set of CPU numbers in ascending order.
///
/// Source: cpuset(7), "List format".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuList(Vec<u32>);

/// No kernel is built for more CPUs (`CONFIG_NR_CPUS` goes to 8192); what lies beyond is garbage,
/// and a garbled range must not make us allocate gigabytes.
const MOST_CPUS: u64 = 1 << 16;

impl CpuList {
    /// Parses a list; parts that are no CPU number or range are skipped.
    pub fn parse(text: &[u8]) -> Self {
        let mut cpus = Vec::new();
        for part in text.trim_ascii().split(|byte| *byte == b',') {
            let mut ends = part.splitn(2, |byte| *byte == b'-');
            let Some(first) = ends.next().and_then(number) else {
                continue;
            };
            let Some(last) = ends.next().map_or(Some(first), number) else {
                continue;
            };
            if last < MOST_CPUS {
                cpus.extend((first..=last).filter_map(|cpu| u32::try_from(cpu).ok()));
            }
        }
        cpus.sort_unstable();
        cpus.dedup();
        Self(cpus)
    }

    /// The CPUs `0..count`.
    pub fn first(count: u32) -> Self {
        Self((0..count).collect())
    }

    /// The CPU numbers in ascending order.
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }

    /// How many CPUs the list holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the list holds no CPU.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The CPUs that both lists hold.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let both = self
            .0
            .iter()
            .filter(|cpu| other.0.binary_search(cpu).is_ok());
        Self(both.copied().collect())
    }

    /// The list cut to its first `count` CPUs.
    #[must_use]
    pub fn truncated(mut self, count: usize) -> Self {
        self.0.truncate(count);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists() {
        let list = |text: &[u8]| CpuList::parse(text).0;
        assert_eq!(list(b"0-2,8\n"), [0, 1, 2, 8]);
        assert_eq!(list(b"3,1,1\n"), [1, 3]);
        assert_eq!(list(b"\n"), [0_u32; 0]);
        assert_eq!(list(b"0-18446744073709551615"), [0_u32; 0]);
        assert_eq!(list(b"2-1,x,4-"), [0_u32; 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(CpuList::parse(&text).0.is_sorted());
        }
    }
}
