//! Limits: `memory.max`, `cpu.max` and their v1 counterparts.

use super::keyed::{number, words};

/// CPU time a cgroup may use in each period, `cpu.max` or `cpu.cfs_quota_us`/`cpu.cfs_period_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Microseconds of CPU time in a period.
    pub quota_us: u64,
    /// Microseconds of wall time.
    pub period_us: u64,
}

/// One CPU in millionths, the unit of every capacity here.
pub const MICROCPUS_PER_CPU: u64 = 1_000_000;

/// The CPUs that `quota` is worth, in millionths of a CPU; at least one millionth, at most about
/// four billion CPUs.
pub fn microcpus(quota: Quota) -> u64 {
    let ratio = u128::from(quota.quota_us) * u128::from(MICROCPUS_PER_CPU)
        / u128::from(quota.period_us.max(1));
    u64::try_from(ratio)
        .unwrap_or(u64::MAX)
        .clamp(1, u64::from(u32::MAX) * MICROCPUS_PER_CPU)
}

/// A memory limit in bytes: `memory.max` (`max` or a number) or v1's `memory.limit_in_bytes`,
/// where a value from 2^62 on (the kernel prints `PAGE_COUNTER_MAX` in bytes) means no limit.
pub fn memory_max(text: &[u8]) -> Option<u64> {
    const UNLIMITED: u64 = 1 << 62;
    words(text.trim_ascii())
        .next()
        .and_then(number)
        .filter(|limit| *limit < UNLIMITED)
}

/// `cpu.max`: `$MAX $PERIOD`, both microseconds, `max` for no quota.
///
/// Source: Documentation/admin-guide/cgroup-v2.rst, "cpu.max".
pub fn cpu_max(text: &[u8]) -> Option<Quota> {
    let mut words = words(text.trim_ascii());
    let quota_us = number(words.next()?)?;
    let period_us = words.next().and_then(number).filter(|period| *period > 0)?;
    Some(Quota {
        quota_us,
        period_us,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_limits() {
        assert_eq!(memory_max(b"536870912\n"), Some(536_870_912));
        assert_eq!(memory_max(b"max\n"), None);
        assert_eq!(memory_max(b"9223372036854771712\n"), None);
        assert_eq!(memory_max(b"0\n"), Some(0));
        assert_eq!(memory_max(b""), None);
        assert_eq!(memory_max(b"-1\n"), None);
    }

    #[test]
    fn quotas() {
        let quota = |text: &[u8]| cpu_max(text).map(microcpus);
        assert_eq!(quota(b"150000 100000\n"), Some(1_500_000));
        assert_eq!(quota(b"1000 100000\n"), Some(10_000));
        assert_eq!(quota(b"max 100000\n"), None);
        assert_eq!(quota(b"1000 0\n"), None);
        assert_eq!(quota(b"1000"), None);
        assert_eq!(quota(b"0 100000\n"), Some(1));
        assert_eq!(
            quota(b"18446744073709551615 1\n"),
            Some(u64::from(u32::MAX) * MICROCPUS_PER_CPU)
        );
    }
}
