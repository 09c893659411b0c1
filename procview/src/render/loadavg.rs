//! `/proc/loadavg`.

use super::column;
use crate::load::{LoadAverage, Threads};

/// Appends `/proc/loadavg`.
///
/// Source: proc_loadavg(5).
pub fn loadavg(out: &mut Vec<u8>, load: LoadAverage, threads: Threads) {
    for (whole, hundredths) in load.hundredths() {
        column::fixed2(out, whole, hundredths);
        out.push(b' ');
    }
    // Whoever reads this is running, as in the kernel's own count.
    let running = threads.running.max(1);
    column::number(out, running);
    out.push(b'/');
    column::number(out, threads.total.max(running));
    column::next(out, threads.newest_pid);
    out.push(b'\n');
}
