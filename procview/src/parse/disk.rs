//! Block I/O: `io.stat` and the v1 throttle counters.

use super::keyed::{lines, number, words};

/// A block device's major and minor number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceNumber {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl DeviceNumber {
    fn parse(word: &[u8]) -> Option<Self> {
        let colon = word.iter().position(|byte| *byte == b':')?;
        Self::from_words(&word[..colon], &word[colon + 1..])
    }

    pub(crate) fn from_words(major: &[u8], minor: &[u8]) -> Option<Self> {
        Some(Self {
            major: u32::try_from(number(major)?).ok()?,
            minor: u32::try_from(number(minor)?).ok()?,
        })
    }
}

/// What a container read from, wrote to and discarded on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskIo {
    /// The device.
    pub device: DeviceNumber,
    /// Completed reads.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Completed writes.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Completed discards (since Linux 4.19).
    pub discards: u64,
    /// Bytes discarded (since Linux 4.19).
    pub discarded_bytes: u64,
}

impl DiskIo {
    /// None on `device`.
    pub fn none(device: DeviceNumber) -> Self {
        Self {
            device,
            reads: 0,
            read_bytes: 0,
            writes: 0,
            written_bytes: 0,
            discards: 0,
            discarded_bytes: 0,
        }
    }

    /// Whether the container used the device at all.
    pub fn any(&self) -> bool {
        self.reads
            | self.read_bytes
            | self.writes
            | self.written_bytes
            | self.discards
            | self.discarded_bytes
            != 0
    }
}

/// v2 `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
///
/// Source: Documentation/admin-guide/cgroup-v2.rst, "io.stat".
pub fn io_stat(text: &[u8]) -> Vec<DiskIo> {
    let mut disks = Vec::new();
    for line in lines(text) {
        let mut words = words(line);
        let Some(device) = words.next().and_then(DeviceNumber::parse) else {
            continue;
        };
        let mut io = DiskIo::none(device);
        for word in words {
            let Some(equals) = word.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let Some(value) = number(&word[equals + 1..]) else {
                continue;
            };
            match &word[..equals] {
                b"rbytes" => io.read_bytes = value,
                b"wbytes" => io.written_bytes = value,
                b"rios" => io.reads = value,
                b"wios" => io.writes = value,
                b"dbytes" => io.discarded_bytes = value,
                b"dios" => io.discards = value,
                _ => {}
            }
        }
        disks.push(io);
    }
    disks
}

/// v1 `blkio.throttle.io_serviced_recursive` and `blkio.throttle.io_service_bytes_recursive`:
/// `8:0 Read 3` a line. The kernel counts there only while a throttle rule exists.
///
/// Source: Documentation/admin-guide/cgroup-v1/blkio-controller.rst.
pub fn throttle_recursive(serviced: &[u8], service_bytes: &[u8]) -> Vec<DiskIo> {
    let mut disks: Vec<DiskIo> = Vec::new();
    for (text, bytes) in [(serviced, false), (service_bytes, true)] {
        for line in lines(text) {
            let mut words = words(line);
            let (Some(device), Some(operation), Some(value)) = (
                words.next().and_then(DeviceNumber::parse),
                words.next(),
                words.next().and_then(number),
            ) else {
                continue;
            };
            let index = disks
                .iter()
                .position(|io| io.device == device)
                .unwrap_or_else(|| {
                    disks.push(DiskIo::none(device));
                    disks.len() - 1
                });
            let io = &mut disks[index];
            match (operation, bytes) {
                (b"Read", false) => io.reads = value,
                (b"Read", true) => io.read_bytes = value,
                (b"Write", false) => io.writes = value,
                (b"Write", true) => io.written_bytes = value,
                (b"Discard", false) => io.discards = value,
                (b"Discard", true) => io.discarded_bytes = value,
                _ => {}
            }
        }
    }
    disks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_io_has_no_counters() {
        // A line with the number alone is what Linux shows for a device the cgroup never used.
        let disks = io_stat(b"8:16 \n8:0 rbytes=90112 wbytes=0 rios=5 wios=0 dbytes=0 dios=0 cost.usage=7\nx:1 rios=1\n");
        assert_eq!(disks.len(), 2);
        assert!(!disks[0].any());
        assert_eq!((disks[1].reads, disks[1].read_bytes), (5, 90_112));
    }

    #[test]
    fn v1_counts_by_operation() {
        let disks = throttle_recursive(
            b"8:0 Read 5\n8:0 Write 2\n8:0 Sync 7\n8:0 Total 7\nTotal 7\n",
            b"8:0 Read 4096\n8:0 Write 512\nTotal 4608\n",
        );
        assert_eq!(disks.len(), 1);
        assert_eq!((disks[0].reads, disks[0].read_bytes), (5, 4096));
        assert_eq!((disks[0].writes, disks[0].written_bytes), (2, 512));
    }
}
