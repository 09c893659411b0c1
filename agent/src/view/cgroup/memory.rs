//! What both versions do alike: limit, usage and `memory.stat` of every cgroup of a chain.

use std::sync::Arc;

use procview::memory::{MemoryLevel, MemoryStat};

use super::{Chain, Dir, MemoryFiles};

/// How old an ancestor's usage may be, microseconds. Containers share it, and the kernel's own
/// sums in `memory.stat` are up to 2 s old. Limits are read each time.
const ANCESTOR_AGE: u64 = 100_000;

/// How a version names the files, and what its `memory.stat` looks like.
pub(super) struct Names {
    pub(super) limit: &'static str,
    pub(super) usage: &'static str,
    pub(super) parse: fn(&[u8]) -> MemoryStat,
}

impl Names {
    fn level(&self, dir: &Dir, stat: &MemoryStat) -> MemoryLevel {
        MemoryLevel {
            limit: 0,
            usage: dir.number(self.usage).unwrap_or(0),
            reclaimable: stat.reclaimable(),
        }
    }
}

/// Levels and counters of `chain`, and the container's own directory: the innermost one with the
/// controller.
pub(super) fn levels<'a>(
    chain: &'a Chain,
    now: u64,
    names: &Names,
) -> (MemoryFiles, Option<&'a Arc<Dir>>) {
    let mut text = Vec::new();
    let read_stat = |dir: &Dir, text: &mut Vec<u8>| {
        let read = dir.read("memory.stat", text);
        read.ok().map(|()| (names.parse)(text))
    };
    let mut files = MemoryFiles::default();
    let mut own = None;
    for dir in chain.dirs.iter() {
        let stat = if own.is_none() {
            read_stat(dir, &mut text)
        } else {
            None
        };
        let is_own = stat.is_some();
        if let Some(stat) = stat {
            files.stat = stat;
            files.stat_text = std::mem::take(&mut text);
            own = Some(dir);
        }
        let Some(limit) = dir.limit(names.limit, now) else {
            continue;
        };
        let used = if is_own {
            names.level(dir, &files.stat)
        } else {
            dir.recent_memory(now, ANCESTOR_AGE, || {
                names.level(dir, &read_stat(dir, &mut text).unwrap_or_default())
            })
        };
        files.levels.push(MemoryLevel { limit, ..used });
    }
    (files, own)
}
