//! Time since boot, the clock of process start times and of `/proc/uptime`.

use nix::time::{ClockId, clock_gettime};

/// Microseconds since boot, time in suspend included.
pub fn boottime() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .ok()
        .and_then(|time| {
            let seconds = u64::try_from(time.tv_sec()).ok()?;
            let micros = u64::try_from(time.tv_nsec()).ok()? / 1000;
            Some(seconds * 1_000_000 + micros)
        })
        .unwrap_or(0)
}
