//! The host's `/proc/meminfo`.

use crate::parse::{lines, number, words};

/// One line: `MemTotal:       24684092 kB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeminfoLine {
    /// The key, without its colon.
    pub key: Box<str>,
    /// The host's value, in the line's unit.
    pub value: u64,
    /// Whether the line counts kB; huge pages are counted by number.
    pub is_kb: bool,
}

/// The host's `/proc/meminfo` with every line in its order.
///
/// Source: proc_meminfo(5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostMeminfo {
    lines: Vec<MeminfoLine>,
}

impl HostMeminfo {
    /// Parses the file; lines of another shape are left out.
    pub fn parse(text: &[u8]) -> Self {
        let parse_line = |line| {
            let mut words = words(line);
            let key = std::str::from_utf8(words.next()?.strip_suffix(b":")?).ok()?;
            Some(MeminfoLine {
                key: key.into(),
                value: number(words.next()?)?,
                is_kb: words.next() == Some(b"kB"),
            })
        };
        Self {
            lines: lines(text).filter_map(parse_line).collect(),
        }
    }

    /// The lines in the host's order.
    pub fn lines(&self) -> &[MeminfoLine] {
        &self.lines
    }

    /// The host's value of `key` in bytes (or pages, for a line that counts them), 0 if the
    /// kernel does not have it.
    pub fn get(&self, key: &str) -> u64 {
        self.lines
            .iter()
            .find(|line| &*line.key == key)
            .map_or(0, |line| {
                line.value.saturating_mul(if line.is_kb { 1024 } else { 1 })
            })
    }
}
