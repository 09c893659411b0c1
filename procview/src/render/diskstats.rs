//! `/proc/diskstats`.

use super::column;
use crate::host::HostDiskstats;
use crate::parse::DiskIo;

const SECTOR_BYTES: u64 = 512;

/// Appends `/proc/diskstats`: a line for each device the container used, and one for each disk of the
/// host, in the host's order. Programs take an empty file for an error, or for a machine without disks.
/// Counters a cgroup has no source for (merges, times, requests in flight, flushes) are 0.
///
/// Source: Documentation/admin-guide/iostats.rst.
pub fn diskstats(out: &mut Vec<u8>, disks: &[DiskIo], host: &HostDiskstats) {
    for disk in host.disks() {
        let used = disks.iter().find(|io| io.device == disk.device && io.any());
        let io = match used {
            Some(io) => *io,
            None if disk.is_disk => DiskIo::none(disk.device),
            None => continue,
        };
        let start = out.len();
        column::right(out, start, 4, u64::from(io.device.major));
        let start = out.len();
        column::right(out, start, 8, u64::from(io.device.minor));
        out.push(b' ');
        out.extend_from_slice(&disk.name);
        let mut counters = [0; 17];
        counters[0] = io.reads;
        counters[2] = io.read_bytes / SECTOR_BYTES;
        counters[4] = io.writes;
        counters[6] = io.written_bytes / SECTOR_BYTES;
        counters[11] = io.discards;
        counters[13] = io.discarded_bytes / SECTOR_BYTES;
        for counter in counters.iter().take(disk.counters) {
            column::next(out, *counter);
        }
        out.push(b'\n');
    }
}
