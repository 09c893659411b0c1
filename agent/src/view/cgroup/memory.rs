//! What both versions do alike: limit, usage and `memory.stat` of every cgroup of a chain.

use procview::memory::{MemoryLevel, MemoryStat};

use super::{Chain, Dir, MemoryFiles};

/// How old an ancestor's usage may be, microseconds. Containers share it, and the kernel's own
/// sums in `memory.stat` are up to 2 s old. Limits are read each time.
const ANCESTOR_AGE: u64 = 100_000;

/// How a version names the files, and what its `memory.stat` looks like.
pub(super) struct Names {
    pub(super) limit: &'static str,
    /// Only v2 has it.
    pub(super) high: Option<&'static str>,
    pub(super) usage: &'static str,
    pub(super) parse: fn(&[u8]) -> MemoryStat,
}

impl Names {
    /// What `dir` uses; without its limits.
    fn level(&self, dir: &Dir, stat: &MemoryStat) -> MemoryLevel {
        MemoryLevel {
            usage: dir.number(self.usage).unwrap_or(0),
            reclaimable: stat.reclaimable(),
            ..MemoryLevel::default()
        }
    }
}

/// Levels of `chain`, and the counters of the container's own cgroup.
pub(super) fn levels(chain: &Chain, now: u64, names: &Names) -> MemoryFiles {
    let mut text = Vec::new();
    let mut read_stat = |dir: &Dir| {
        let read = dir.read("memory.stat", &mut text);
        read.map_or_else(|_| Vec::new(), |()| std::mem::take(&mut text))
    };
    let mut files = MemoryFiles::default();
    if let Some(own) = chain.own() {
        files.stat_text = read_stat(own);
        files.stat = (names.parse)(&files.stat_text);
    }
    for (step, dir) in chain.dirs.iter().enumerate() {
        let limit = dir.limit(names.limit, now);
        let high = names.high.and_then(|high| dir.limit(high, now));
        if limit.is_none() && high.is_none() {
            continue;
        }
        let used = if step == 0 && chain.is_own {
            names.level(dir, &files.stat)
        } else {
            dir.recent_memory(now, ANCESTOR_AGE, || {
                names.level(dir, &(names.parse)(&read_stat(dir)))
            })
        };
        files.levels.push(MemoryLevel {
            limit,
            high,
            ..used
        });
    }
    files
}

/// The smallest limit over `chain`, and what is left of the one that has least left: `limit` and `usage` are
/// the files of a directory.
pub(super) fn least_left(
    chain: &Chain,
    now: u64,
    limit: &'static str,
    usage: &'static str,
) -> (Option<u64>, Option<u64>) {
    let limited = chain.dirs.iter().filter_map(|dir| {
        let limit = dir.limit(limit, now)?;
        Some((limit, limit.saturating_sub(dir.number(usage).unwrap_or(0))))
    });
    limited.fold((None, None), |(smallest, least), (limit, left)| {
        let smaller =
            |known: Option<u64>, new: u64| Some(known.map_or(new, |known| known.min(new)));
        (smaller(smallest, limit), smaller(least, left))
    })
}
