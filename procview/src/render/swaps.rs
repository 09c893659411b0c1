//! `/proc/swaps`.

use super::column;
use crate::memory::Swap;

/// Appends `/proc/swaps` with one line for the container's swap if it has any; sizes in KiB.
///
/// Source: proc_swaps(5).
pub fn swaps(out: &mut Vec<u8>, swap: Swap) {
    out.extend_from_slice(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    if swap.total == 0 {
        return;
    }
    let start = out.len();
    out.extend_from_slice(b"none");
    out.resize(start + 40, b' ');
    out.extend_from_slice(b"virtual");
    for kib in [swap.total / 1024, swap.used / 1024] {
        // The kernel aligns sizes below 10^7 with a second tab.
        out.extend_from_slice(b"\t");
        column::number(out, kib);
        if kib < 10_000_000 {
            out.push(b'\t');
        }
    }
    out.extend_from_slice(b"\t0\n");
}
