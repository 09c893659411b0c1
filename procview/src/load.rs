//! Load averages by the kernel's own arithmetic.

use serde::{Deserialize, Serialize};

/// Microseconds between two ticks (`LOAD_FREQ`, 5 s).
pub const TICK_MICROS: u64 = 5_000_000;

const FRACTION_BITS: u32 = 11;
const ONE: u64 = 1 << FRACTION_BITS;
/// 1/exp(5s/1min), 1/exp(5s/5min), 1/exp(5s/15min) in fixed point.
const DECAY: [u64; 3] = [1884, 2014, 2037];
/// Beyond this many ticks even the slowest average has forgotten what was before.
const MOST_TICKS: u64 = 17_280;

/// Load over the last 1, 5 and 15 minutes.
///
/// Source: Linux, include/linux/sched/loadavg.h and kernel/sched/loadavg.c.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadAverage([u64; 3]);

impl LoadAverage {
    /// Counts `ticks` intervals of 5 s during which `active` threads were runnable or in
    /// uninterruptible sleep. More than one if the tick came late.
    pub fn tick(&mut self, active: u64, ticks: u64) {
        let active = active.min(u64::from(u32::MAX)) * ONE;
        for _ in 0..ticks.min(MOST_TICKS) {
            for (load, decay) in self.0.iter_mut().zip(DECAY) {
                let mut next = *load * decay + active * (ONE - decay);
                if active >= *load {
                    next += ONE - 1;
                }
                *load = next / ONE;
            }
        }
    }

    /// The averages as whole and hundredths, rounded as the kernel prints them.
    pub fn hundredths(self) -> [(u64, u64); 3] {
        self.0.map(|load| {
            let load = load + ONE / 200;
            (
                load >> FRACTION_BITS,
                ((load & (ONE - 1)) * 100) >> FRACTION_BITS,
            )
        })
    }
}

/// The threads of a container at the last tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threads {
    /// Runnable threads.
    pub running: u64,
    /// Threads in uninterruptible sleep.
    pub blocked: u64,
    /// All threads.
    pub total: u64,
    /// The newest pid in the container's own pid namespace, 0 if not known.
    pub newest_pid: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_minute_of_one_thread() {
        let mut load = LoadAverage::default();
        load.tick(1, 12);
        assert_eq!(load.hundredths(), [(0, 63), (0, 18), (0, 6)]);
    }

    #[test]
    fn it_settles_at_the_number_of_threads_and_at_zero() {
        let mut load = LoadAverage::default();
        load.tick(3, MOST_TICKS);
        assert_eq!(load.hundredths(), [(3, 0); 3]);
        load.tick(0, MOST_TICKS);
        assert_eq!(load.hundredths(), [(0, 0); 3]);
    }

    proptest! {
        #[test]
        fn late_ticks_are_made_up(active in 0_u64..5000, ticks in 0_u64..300) {
            let (mut late, mut timely) = (LoadAverage::default(), LoadAverage::default());
            late.tick(active, ticks);
            (0..ticks).for_each(|_| timely.tick(active, 1));
            prop_assert_eq!(late, timely);
            prop_assert!(late.hundredths()[0].0 <= active);
        }
    }
}
