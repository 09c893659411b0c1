//! CPU time as a machine of the container's size would count it.
//!
//! A kernel counts idle time for each CPU. A container has none: what it did not use was used by
//! a neighbour or by nobody. Its idle time is the part of its own capacity that it left unused:
//! the integral of its capacity over its life, less what it used. A container at its limit is
//! therefore never idle, with a fractional quota too, and an idle one beside a busy neighbour
//! always is.

use serde::{Deserialize, Serialize};

use crate::cpu::Cpus;

/// Microseconds in one clock tick of `/proc` (`USER_HZ` is 100 on every Linux architecture that
/// matters here; see sysconf(3), `_SC_CLK_TCK`).
pub const MICROS_PER_TICK: u64 = 10_000;

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
    /// Capacity since then, millionths of a CPU.
    capacity: u64,
    /// The highest usage seen.
    used: CpuTime,
    /// Usage beyond capacity that later idle time has to make up for, microseconds.
    debt: u64,
    /// One entry for each CPU the container ever had. CPUs that it has no longer keep their
    /// counters, and count in the sum, as an offline CPU's do in the kernel.
    cpus: Vec<CpuCounters>,
}

impl CpuAccount {
    /// Starts at `now` with a container that lived for `age` microseconds with today's `cpus`.
    pub fn new(now: u64, age: u64, cpus: &Cpus, used: CpuTime) -> Self {
        let mut account = Self {
            at: now.saturating_sub(age),
            capacity: cpus.quota(),
            used: CpuTime::default(),
            debt: 0,
            cpus: Vec::new(),
        };
        account.sample(now, cpus, used);
        // What a longer life with other limits left behind says nothing about the time to come.
        account.debt = 0;
        account
    }

    /// Brings the counters to `now`, microseconds since boot. A sample that is older than the
    /// last, as racing readers can bring it, changes nothing but the highest usage.
    pub fn sample(&mut self, now: u64, cpus: &Cpus, used: CpuTime) {
        let highest = self.used.highest(used);
        let gained = highest.since(self.used);
        if cpus.quota() != self.capacity {
            // Usage beyond the old limit may have been within the new one.
            self.debt = 0;
        }
        let elapsed = now.saturating_sub(self.at);
        let capacity = part(elapsed, self.capacity, 1_000_000);
        let spent = gained.total();
        let idle = capacity.saturating_sub(spent + self.debt);
        // A period's quota may fall on either side of a sample. That much is remembered and
        // taken off later idle time; more is the sign of another limit, not of a debt.
        let overdrawn = (spent + self.debt).saturating_sub(capacity);
        self.debt = overdrawn.min(cpus.quota());
        self.spread(cpus, gained, idle);
        self.used = highest;
        self.at = self.at.max(now);
        self.capacity = cpus.quota();
    }

    /// Adds `used` and `idle` to the CPUs by their share in the capacity.
    fn spread(&mut self, cpus: &Cpus, used: CpuTime, idle: u64) {
        let count = cpus.count();
        if self.cpus.len() < count {
            self.cpus.resize(count, CpuCounters::default());
        }
        // Rounding that hides a fraction of a CPU must not show more than all of the others.
        let shown = |time: u64| part(time, cpus.capacity(), cpus.quota());
        let mut left = (
            shown(used.user),
            shown(used.nice),
            shown(used.system),
            shown(idle),
        );
        let mut share_left = cpus.capacity();
        for (index, cpu) in self.cpus.iter_mut().take(count).enumerate() {
            let share = cpus.share(index);
            let take = |time: &mut u64| {
                let taken = part(*time, share, share_left);
                *time -= taken;
                taken
            };
            cpu.used.user += take(&mut left.0);
            cpu.used.nice += take(&mut left.1);
            cpu.used.system += take(&mut left.2);
            cpu.idle += take(&mut left.3);
            share_left -= share;
        }
    }

    /// The counters of every CPU the container ever had; the first n are the ones it has now.
    pub fn cpus(&self) -> &[CpuCounters] {
        &self.cpus
    }

    /// Idle time of all CPUs, microseconds.
    pub fn idle(&self) -> u64 {
        self.cpus.iter().map(|cpu| cpu.idle).sum()
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
        assert_eq!(account.cpus()[0].used.user, 60 * SECOND);
        assert_eq!(account.cpus()[1].used.user, 30 * SECOND);
    }

    #[test]
    fn a_rounded_down_cpu_is_full_at_the_limit() {
        let cpus = Cpus::new(Some(1_500_000), None, &CpuList::first(8), Rounding::Floor);
        let mut account = CpuAccount::new(0, 0, &cpus, user(0));
        account.sample(60 * SECOND, &cpus, user(90 * SECOND));
        assert_eq!(
            account.cpus(),
            [CpuCounters {
                used: user(60 * SECOND),
                idle: 0
            }]
        );
        account.sample(120 * SECOND, &cpus, user(135 * SECOND));
        assert_eq!(account.idle(), 30 * SECOND);
    }

    #[test]
    fn a_burst_is_made_up_for() {
        let cpus = cpus(SECOND);
        let mut account = CpuAccount::new(0, 0, &cpus, user(0));
        account.sample(SECOND, &cpus, user(SECOND + 100_000));
        account.sample(2 * SECOND, &cpus, user(SECOND + 500_000));
        assert_eq!(account.idle(), 500_000);
    }

    #[test]
    fn a_debt_of_an_earlier_life_is_forgotten() {
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
        account.sample(11 * SECOND, &cpus(SECOND), user(SECOND));
        account.sample(12 * SECOND, &cpus(SECOND), user(SECOND));
        assert_eq!(account.cpus().len(), 4);
        assert_eq!(account.idle(), before + 4 * SECOND + SECOND);
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
                for (old, new) in before.cpus().iter().zip(account.cpus()) {
                    prop_assert!(new.idle >= old.idle && new.used.user >= old.used.user);
                    prop_assert!(new.used.system >= old.used.system);
                }
                prop_assert!(account.idle() - before.idle() <= elapsed * 8);
            }
        }
    }
}
