//! The host's own files, parsed once and used as templates.
//!
//! A view has the lines of the host's file in the host's order, so a line that a future kernel
//! adds is there too, with 0 for a value.

mod cpuinfo;
mod diskstats;
mod meminfo;

pub use cpuinfo::HostCpuinfo;
pub(crate) use cpuinfo::{CpuBlock, CpuValue, Paragraph, key_value};
pub use diskstats::{HostDisk, HostDiskstats};
pub use meminfo::{HostMeminfo, MeminfoLine};

use crate::parse::{lines, number, words};

/// The boot time from the host's `/proc/stat`, seconds since the epoch; 0 if there is none.
pub fn boot_time(stat: &[u8]) -> u64 {
    lines(stat)
        .find_map(|line| line.strip_prefix(b"btime "))
        .and_then(|value| number(value.trim_ascii()))
        .unwrap_or(0)
}

/// MemTotal of a memory node's `meminfo`, `Node 0 MemTotal: 1 kB`, in bytes; 0 if there is none.
pub fn node_total(meminfo: &[u8]) -> u64 {
    let total = lines(meminfo).find_map(|line| {
        let mut words = words(line).skip(2);
        (words.next()? == b"MemTotal:").then(|| number(words.next()?))?
    });
    total.unwrap_or(0).saturating_mul(1024)
}

/// The first `count` lines of `text`, newlines included: the header of `/proc/slabinfo`.
pub fn head(text: &[u8], count: usize) -> &[u8] {
    let end = text
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(count.saturating_sub(1))
        .map_or(text.len(), |(index, _)| index + 1);
    &text[..end]
}

/// The keys of a `key value` file such as `/proc/vmstat`, in order.
pub fn keys(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines(text).filter_map(|line| {
        let mut words = words(line);
        let key = words.next()?;
        number(words.next()?)?;
        Some(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_is_found() {
        assert_eq!(
            boot_time(b"cpu 1 2\nbtime 1795366241\nprocesses 1\n"),
            1_795_366_241
        );
        assert_eq!(boot_time(b"cpu 1 2\nbtime"), 0);
    }

    #[test]
    fn a_nodes_memory_is_found() {
        assert_eq!(
            node_total(b"Node 0 MemTotal:        8 kB\nNode 0 MemFree: 1 kB\n"),
            8192
        );
        assert_eq!(node_total(b"Node 0 MemTotal:\n"), 0);
    }

    #[test]
    fn a_head_is_cut_at_lines() {
        assert_eq!(head(b"a\nb\nc\n", 2), b"a\nb\n");
        assert_eq!(head(b"a", 2), b"a");
    }
}
