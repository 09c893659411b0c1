//! `/proc/uptime`.

use super::column;

/// Appends `/proc/uptime`: the container's age and its idle time, both given in microseconds and
/// shown in seconds with two digits, cut as the kernel cuts them.
///
/// Source: proc_uptime(5).
pub fn uptime(out: &mut Vec<u8>, age: u64, idle: u64) {
    for (time, end) in [(age, b' '), (idle, b'\n')] {
        column::fixed2(out, time / 1_000_000, time / 10_000 % 100);
        out.push(end);
    }
}
