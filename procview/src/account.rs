//! CPU time as a machine of the container's size would count it.
//!
//! A kernel counts idle time for each CPU. A container has none: what it did not use was used by
//! a neighbour or by nobody. Its idle time is the part of its own capacity that it left unused:
//! the integral of its capacity over its life, less what it used. A container at its limit is
//! therefore never idle, with a fractional quota too, and an idle one beside a busy neighbour
//! always is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cpu::Cpus;

/// Microseconds in one clock tick of `/proc` (`USER_HZ` is 100 on every Linux architecture that
/// matters here; see sysconf(3), `_SC_CLK_TCK`).
pub const MICROS_PER_TICK: u64 = 10_000;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// CPU time a container used since its start, microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// Time in user mode, niced time not included.
    pub user: u64,
    /// Time in user mode at a positive nice value (v2 `nice_usec`, since Linux 6.12).
    pub nice: u64,
    /// Time in the kernel.
    pub system: u64,
}

impl CpuTime {
    /// User and system time together.
    pub fn total(self) -> u64 {
        self.user
            .saturating_add(self.nice)
            .saturating_add(self.system)
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            nice: self.nice.saturating_sub(earlier.nice),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            user: self.user.saturating_add(other.user),
            nice: self.nice.saturating_add(other.nice),
            system: self.system.saturating_add(other.system),
        }
    }

    fn scaled(self, share: u64, whole: u64) -> Self {
        Self {
            user: part(self.user, share, whole),
            nice: part(self.nice, share, whole),
            system: part(self.system, share, whole),
        }
    }

    fn highest(self, other: Self) -> Self {
        Self {
            user: self.user.max(other.user),
            nice: self.nice.max(other.nice),
            system: self.system.max(other.system),
        }
    }
}

/// The counters of one CPU, microseconds; none of them ever falls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuCounters {
    /// Used time.
    pub used: CpuTime,
    /// Unused capacity.
    pub idle: u64,
}

/// The CPU counters of one container. They can be written out and read back, so that a new
/// process continues where the old one stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuAccount {
    /// When the last sample was taken, microseconds since boot.
    at: u64,
    /// What the container has had since then.
    since: Cpus,
    /// The highest usage seen.
    used: CpuTime,
    /// The part of it that is not shown yet: usage beyond the capacity of its time.
    held: CpuTime,
    /// Usage beyond the capacity of the age that was known at first, microseconds.
    unearned: u64,
    /// By the kernel's number, each CPU the container ever had. CPUs that it has no longer keep
    /// their counters, and count in the sum, as an offline CPU's do in the kernel.
    cpus: BTreeMap<u32, CpuCounters>,
}

impl CpuAccount {
    /// Starts at `now` with a container that lived for `age` microseconds with today's `cpus`.
    pub fn new(now: u64, age: u64, cpus: &Cpus, used: CpuTime) -> Self {
        let mut account = Self {
            at: now,
            since: cpus.clone(),
            used,
            held: CpuTime::default(),
            unearned: used.total(),
            cpus: BTreeMap::new(),
        };
        // Usage beyond today's capacity is that of a longer life, or one with other limits.
        account.spread(used, 0);
        account.age_by(age);
        account
    }

    /// The container turned out to be older than it was taken for, by so many microseconds.
    pub fn age_by(&mut self, micros: u64) {
        let earned = part(micros, self.since.quota(), MICROS_PER_SECOND);
        let idle = earned.saturating_sub(self.unearned);
        self.unearned = self.unearned.saturating_sub(earned);
        self.spread(CpuTime::default(), idle);
    }

    /// Brings the counters to `now`, microseconds since boot, and remembers `cpus` for the time to
    /// come. A sample that is older than the last, as racing readers can bring it, changes nothing
    /// but the highest usage.
    pub fn sample(&mut self, now: u64, cpus: &Cpus, used: CpuTime) {
        let highest = self.used.highest(used);
        let gained = highest.since(self.used).plus(self.held);
        let elapsed = now.saturating_sub(self.at);
        let capacity = part(elapsed, self.since.quota(), MICROS_PER_SECOND);
        // A period's quota may fall on either side of a sample. So much is shown later, in the
        // place of idle time; more is the sign of another limit.
        let overdrawn = gained.total().saturating_sub(capacity);
        let held = overdrawn.min(cpus.quota());
        let shown = gained.scaled(gained.total() - held, gained.total());
        self.spread(shown, capacity.saturating_sub(shown.total()));
        self.held = gained.since(shown);
        self.used = highest;
        self.at = self.at.max(now);
        self.since = cpus.clone();
    }

    /// Adds `used` and `idle` to the CPUs that the container has had, by their share in the
    /// capacity.
    fn spread(&mut self, used: CpuTime, idle: u64) {
        let cpus = &self.since;
        // Rounding that hides a fraction of a CPU must not show more than all of the others.
        let mut used_left = used.scaled(cpus.capacity(), cpus.quota());
        let mut idle_left = part(idle, cpus.capacity(), cpus.quota());
        let mut share_left = cpus.capacity();
        for (index, number) in cpus.numbers().iter().enumerate() {
            let share = cpus.share(index);
            let taken = used_left.scaled(share, share_left);
            let idle = part(idle_left, share, share_left);
            let cpu = self.cpus.entry(*number).or_default();
            cpu.used = cpu.used.plus(taken);
            cpu.idle += idle;
            used_left = used_left.since(taken);
            idle_left -= idle;
            share_left -= share;
        }
    }

    /// The counters of every CPU the container ever had.
    pub fn all(&self) -> impl Iterator<Item = &CpuCounters> {
        self.cpus.values()
    }

    /// The counters of the CPU with the kernel's number `number`.
    pub fn cpu(&self, number: u32) -> CpuCounters {
        self.cpus.get(&number).copied().unwrap_or_default()
    }

    /// Idle time of all CPUs, microseconds.
    pub fn idle(&self) -> u64 {
        self.all().map(|cpu| cpu.idle).sum()
    }
}

/// `value * share / whole` without overflow; all of `value` for a `whole` of 0.
fn part(value: u64, share: u64, whole: u64) -> u64 {
    if whole == 0 {
        return value;
    }
    let part = u128::from(value) * u128::from(share) / u128::from(whole);
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Rounding;
    use crate::parse::CpuList;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000;

    fn cpus(microcpus: u64) -> Cpus {
        Cpus::new(Some(microcpus), None, &CpuList::first(8), Rounding::Ceil)
    }

    fn user(user: u64) -> CpuTime {
        CpuTime {
            user,
            ..CpuTime::default()
        }
    }

    #[test]
    fn idle_is_the_capacity_that_was_not_used() {
        let cpus = cpus(1_500_000);
        let mut busy = CpuAccount::new(100 * SECOND, 100 * SECOND, &cpus, user(0));
        let mut idle = busy.clone();
        for second in 1..=60 {
            busy.sample((100 + second) * SECOND, &cpus, user(second * 1_500_000));
            idle.sample((100 + second) * SECOND, &cpus, user(0));
        }
        assert_eq!(busy.idle(), 100 * 1_500_000);
        assert_eq!(idle.idle(), 160 * 1_500_000);
    }

    #[test]
    fn the_last_cpu_carries_the_fraction() {
        let cpus = cpus(1_500_000);
        let mut account = CpuAccount::new(0, 0, &cpus, user(0));
        account.sample(60 * SECOND, &cpus, user(90 * SECOND));
        assert_eq!(account.cpu(0).used.user, 60 * SECOND);
        assert_eq!(account.cpu(1).used.user, 30 * SECOND);
    }

    #[test]
    fn a_rounded_down_cpu_is_full_at_the_limit() {
        let cpus = Cpus::new(Some(1_500_000), None, &CpuList::first(8), Rounding::Floor);
        let mut account = CpuAccount::new(0, 0, &cpus, user(0));
        account.sample(60 * SECOND, &cpus, user(90 * SECOND));
        let full = CpuCounters {
            used: user(60 * SECOND),
            idle: 0,
        };
        assert_eq!(account.all().collect::<Vec<_>>(), [&full]);
        account.sample(120 * SECOND, &cpus, user(135 * SECOND));
        assert_eq!(account.idle(), 30 * SECOND);
    }

    #[test]
    fn no_cpu_gains_more_than_its_capacity() {
        let cpus = cpus(1_500_000);
        let mut account = CpuAccount::new(0, 0, &cpus, user(0));
        // Eleven bursts of a quota of ten periods.
        account.sample(SECOND, &cpus, user(1_650_000));
        assert_eq!(account.cpu(0).used.user, SECOND);
        assert_eq!(account.cpu(1).used.user, SECOND / 2);
        // What was held is shown as soon as there is room, and nothing is lost.
        account.sample(2 * SECOND, &cpus, user(1_750_000));
        let used: u64 = account.all().map(|cpu| cpu.used.total()).sum();
        assert_eq!((used, account.idle()), (1_750_000, 1_250_000));
    }

    #[test]
    fn an_earlier_life_owes_nothing() {
        let cpus = cpus(SECOND);
        let mut account = CpuAccount::new(10 * SECOND, 10 * SECOND, &cpus, user(40 * SECOND));
        account.sample(20 * SECOND, &cpus, user(40 * SECOND));
        assert_eq!(account.idle(), 10 * SECOND);
    }

    #[test]
    fn a_cpu_that_is_taken_away_keeps_its_counters() {
        let mut account =
            CpuAccount::new(10 * SECOND, 10 * SECOND, &cpus(4 * SECOND), user(SECOND));
        let before = account.idle();
        let each = account.cpu(3).idle;
        account.sample(11 * SECOND, &cpus(SECOND), user(SECOND));
        account.sample(12 * SECOND, &cpus(SECOND), user(SECOND));
        assert_eq!(account.all().count(), 4);
        assert_eq!(account.idle(), before + 4 * SECOND + SECOND);
        // What was earned at four CPUs does not land on the one that is left.
        assert_eq!(account.cpu(3).idle, each + SECOND);
        assert!(account.cpu(0).idle <= 12 * SECOND);
    }

    #[test]
    fn an_age_that_is_learnt_later_counts_all_the_same() {
        let cpus = cpus(SECOND);
        let known = CpuAccount::new(100 * SECOND, 60 * SECOND, &cpus, user(20 * SECOND));
        let mut learnt = CpuAccount::new(100 * SECOND, SECOND, &cpus, user(20 * SECOND));
        learnt.age_by(9 * SECOND);
        assert_eq!(learnt.idle(), 0);
        learnt.age_by(50 * SECOND);
        assert_eq!(learnt, known);
        assert_eq!(known.idle(), 40 * SECOND);
    }

    #[test]
    fn counters_go_with_the_kernels_numbers() {
        let on = |set: &str| {
            let set = CpuList::parse(set.as_bytes());
            Cpus::new(None, Some(&set), &CpuList::first(8), Rounding::Ceil)
        };
        let mut account = CpuAccount::new(0, 0, &on("5"), user(0));
        account.sample(SECOND, &on("2"), user(SECOND));
        account.sample(3 * SECOND, &on("2"), user(2 * SECOND));
        let seen = |cpu| (account.cpu(cpu).used.user, account.cpu(cpu).idle);
        assert_eq!((seen(5), seen(2)), ((SECOND, 0), (SECOND, SECOND)));
        assert_eq!(seen(0), (0, 0));
    }

    #[test]
    fn it_continues_after_being_written_and_read() {
        let account = CpuAccount::new(10 * SECOND, 9 * SECOND, &cpus(1_500_000), user(SECOND));
        let text = serde_json::to_string(&account).expect("plain numbers serialise");
        let again: CpuAccount = serde_json::from_str(&text).expect("what was just written");
        assert_eq!(again, account);
    }

    proptest! {
        /// Whatever limits and usage do, no counter falls, and no more idle time appears than
        /// the largest capacity allows.
        #[test]
        fn no_counter_falls(steps in proptest::collection::vec((0..10 * SECOND, 1_u64..9_000_000, 0..40 * SECOND, 0..3 * SECOND), 1..40)) {
            let (mut now, mut used) = (SECOND, CpuTime::default());
            let mut account = CpuAccount::new(now, SECOND, &cpus(SECOND), used);
            for (elapsed, microcpus, gained, system) in steps {
                now += elapsed;
                used.user += gained;
                // A kernel counter that falls back for a moment.
                used.system = system;
                let before = account.clone();
                account.sample(now, &cpus(microcpus), used);
                for number in 0..8 {
                    let (old, new) = (before.cpu(number), account.cpu(number));
                    prop_assert!(new.idle >= old.idle && new.used.user >= old.used.user);
                    prop_assert!(new.used.system >= old.used.system);
                    prop_assert!(new.idle - old.idle <= elapsed);
                }
            }
        }
    }
}
