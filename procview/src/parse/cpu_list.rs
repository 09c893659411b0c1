//! CPU lists such as `0-3,8`: `cpuset.cpus.effective`, `/sys/devices/system/cpu/online`.

use serde::{Deserialize, Serialize};

use super::keyed::number;

/// A set of CPU numbers in ascending order. Numbers of memory nodes have the same form.
///
/// Source: cpuset(7), "List format" and "Mask format".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuList(Vec<u32>);

/// No kernel is built for more CPUs (`CONFIG_NR_CPUS` goes to 8192); what lies beyond is garbage,
/// and a garbled range must not make us allocate gigabytes.
const MOST_CPUS: u64 = 1 << 16;

impl CpuList {
    /// Parses a list; parts that are no CPU number or range are skipped. cpufreq separates them by
    /// blanks.
    pub fn parse(text: &[u8]) -> Self {
        let mut cpus = Vec::new();
        for part in text.trim_ascii().split(|byte| matches!(byte, b',' | b' ')) {
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
        cpus.into_iter().collect()
    }

    /// Parses a mask such as `00000003,ffffffff`; characters that are no digit are skipped.
    pub fn parse_mask(text: &[u8]) -> Self {
        let digits = text
            .iter()
            .rev()
            .filter_map(|digit| char::from(*digit).to_digit(16));
        let bits = (0_u32..).step_by(4).zip(digits).flat_map(|(first, digit)| {
            (0..4)
                .filter(move |bit| digit >> bit & 1 == 1)
                .map(move |bit| first + bit)
        });
        bits.take_while(|cpu| u64::from(*cpu) < MOST_CPUS).collect()
    }

    /// The CPUs `0..count`.
    pub fn first(count: u32) -> Self {
        Self((0..count).collect())
    }

    /// The CPU numbers in ascending order.
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }

    /// Whether the list holds `cpu`.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.binary_search(&cpu).is_ok()
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
        let both = self.0.iter().filter(|cpu| other.contains(**cpu));
        Self(both.copied().collect())
    }

    /// The CPUs that this list holds and the other does not.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let rest = self.0.iter().filter(|cpu| !other.contains(**cpu));
        Self(rest.copied().collect())
    }

    /// The CPUs that one of the lists holds.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).copied().collect()
    }

    /// The list cut to its first `count` CPUs.
    #[must_use]
    pub fn truncated(mut self, count: usize) -> Self {
        self.0.truncate(count);
        self
    }
}

impl FromIterator<u32> for CpuList {
    fn from_iter<T: IntoIterator<Item = u32>>(cpus: T) -> Self {
        let mut cpus: Vec<_> = cpus.into_iter().collect();
        cpus.sort_unstable();
        cpus.dedup();
        Self(cpus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn masks() {
        let mask = |text: &[u8]| CpuList::parse_mask(text).0;
        assert_eq!(mask(b"5\n"), [0, 2]);
        assert_eq!(mask(b"01,80000000\n"), [31, 32]);
        assert_eq!(mask(b"00,00000000\n"), [0_u32; 0]);
    }

    #[test]
    fn lists() {
        let list = |text: &[u8]| CpuList::parse(text).0;
        assert_eq!(list(b"0-2,8\n"), [0, 1, 2, 8]);
        assert_eq!(list(b"3,1,1\n"), [1, 3]);
        assert_eq!(list(b"4 6-7\n"), [4, 6, 7]);
        assert_eq!(list(b"\n"), [0_u32; 0]);
        assert_eq!(list(b"0-18446744073709551615"), [0_u32; 0]);
        assert_eq!(list(b"2-1,x,4-"), [0_u32; 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(CpuList::parse(&text).0.is_sorted());
            prop_assert!(CpuList::parse_mask(&text).0.is_sorted());
        }
    }
}
