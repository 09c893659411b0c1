//! `/proc/diskstats`.

use super::column;
use crate::parse::{DiskIo, DiskName};

const SECTOR_BYTES: u64 = 512;

/// Appends `/proc/diskstats`: a line for each device the container used, in the host's order.
/// Counters a cgroup has no source for (merges, times, requests in flight, flushes) are 0.
///
/// Source: Documentation/admin-guide/iostats.rst.
pub fn diskstats<'a>(
    out: &mut Vec<u8>,
    disks: &[DiskIo],
    host: impl Iterator<Item = DiskName<'a>>,
) {
    for name in host {
        let Some(io) = disks.iter().find(|io| io.device == name.device && io.any()) else {
            continue;
        };
        let start = out.len();
        column::right(out, start, 4, u64::from(io.device.major));
        let start = out.len();
        column::right(out, start, 8, u64::from(io.device.minor));
        out.push(b' ');
        out.extend_from_slice(name.name);
        let mut counters = [0; 17];
        counters[0] = io.reads;
        counters[2] = io.read_bytes / SECTOR_BYTES;
        counters[4] = io.writes;
        counters[6] = io.written_bytes / SECTOR_BYTES;
        counters[11] = io.discards;
        counters[13] = io.discarded_bytes / SECTOR_BYTES;
        for counter in counters.iter().take(name.counters) {
            column::next(out, *counter);
        }
        out.push(b'\n');
    }
}
