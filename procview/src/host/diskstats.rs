//! The host's `/proc/diskstats`.

use std::collections::HashSet;

use crate::parse::{DeviceNumber, lines, words};

/// A device, a line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDisk {
    /// Its number.
    pub device: DeviceNumber,
    /// Its kernel name, such as `nvme0n1`.
    pub name: Box<[u8]>,
    /// How many counters follow the name: 11, 15 (since Linux 4.18) or 17 (since 5.5).
    pub counters: usize,
    /// Whether it is a whole disk: no partition, no memory or file that only looks like a disk, no network
    /// block device that never did anything.
    pub is_disk: bool,
}

/// The devices of the host in its order.
///
/// Source: Documentation/admin-guide/iostats.rst.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostDiskstats(Vec<HostDisk>);

impl HostDiskstats {
    /// Parses the file; lines of another shape are left out.
    pub fn parse(text: &[u8]) -> Self {
        let parsed = lines(text).filter_map(|line| {
            let mut words = words(line);
            let device = DeviceNumber::from_words(words.next()?, words.next()?)?;
            Some((device, words.next()?, words.collect::<Vec<_>>()))
        });
        let parsed: Vec<_> = parsed.collect();
        let names: HashSet<_> = parsed.iter().map(|(_, name, _)| *name).collect();
        let disk = |(device, name, counters): &(DeviceNumber, &[u8], Vec<&[u8]>)| {
            let is_part = whole_of(name).is_some_and(|whole| names.contains(whole));
            let is_idle = counters.iter().all(|counter| *counter == b"0");
            HostDisk {
                device: *device,
                name: (*name).into(),
                counters: counters.len(),
                is_disk: !is_part && !is_made_up(name, is_idle),
            }
        };
        Self(parsed.iter().map(disk).collect())
    }

    /// The devices.
    pub fn disks(&self) -> &[HostDisk] {
        &self.0
    }
}

/// The disk that `name` would be a partition of: `sda` of `sda1`, and `nvme0n1` of `nvme0n1p1`, since its
/// own name ends with a digit.
fn whole_of(name: &[u8]) -> Option<&[u8]> {
    let stem = &name[..=name.iter().rposition(|byte| !byte.is_ascii_digit())?];
    if stem.len() == name.len() {
        return None;
    }
    let numbered = stem.strip_suffix(b"p");
    let numbered = numbered.filter(|disk| disk.last().is_some_and(u8::is_ascii_digit));
    Some(numbered.unwrap_or(stem))
}

fn is_made_up(name: &[u8], is_idle: bool) -> bool {
    let numbered = |prefix: &[u8]| {
        let number = name.strip_prefix(prefix);
        number.is_some_and(|number| number.first().is_some_and(u8::is_ascii_digit))
    };
    numbered(b"loop") || numbered(b"ram") || numbered(b"zram") || numbered(b"nbd") && is_idle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_disks_are_told_from_the_rest() {
        let devices = [
            ("loop0", 9, false),
            ("ram0", 0, false),
            ("zram0", 9, false),
            ("nbd0", 0, false),
            ("nbd1", 5, true),
            ("sda", 5, true),
            ("sda1", 5, false),
            ("sda12", 5, false),
            ("sdaa", 0, true),
            ("nvme0n1", 5, true),
            ("nvme0n1p1", 5, false),
            ("mmcblk0", 5, true),
            ("mmcblk0boot0", 5, true),
            ("dm-0", 5, true),
            ("md127", 5, true),
            ("sr0", 0, true),
        ];
        let line = |(name, reads, _)| format!(" 259       0 {name} {reads} 0 0 0 0 0 0 0 0 0 0\n");
        let text = devices.map(line).concat() + "broken\n";
        let host = HostDiskstats::parse(text.as_bytes());
        assert_eq!(host.disks().len(), devices.len());
        for (disk, (name, _, is_disk)) in host.disks().iter().zip(devices) {
            assert_eq!(
                (&*disk.name, disk.is_disk),
                (name.as_bytes(), is_disk),
                "{name}"
            );
            assert_eq!(disk.counters, 11);
        }
    }
}
