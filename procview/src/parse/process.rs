//! `/proc/<pid>/cgroup`, `/proc/<pid>/stat` and the `NSpid` line of `/proc/<pid>/status`.

use super::keyed::{lines, number, words};

/// A line of `/proc/<pid>/cgroup`: `4:memory:/a/b` (v1), `1:name=systemd:/a` or `0::/a/b` (v2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgroupLine<'a> {
    /// Controllers, comma separated; empty for the v2 hierarchy.
    pub controllers: &'a [u8],
    /// Path within the hierarchy.
    pub path: &'a [u8],
}

impl CgroupLine<'_> {
    /// Whether the line is that of v1 hierarchy `controller`.
    pub fn has(&self, controller: &[u8]) -> bool {
        self.controllers
            .split(|byte| *byte == b',')
            .any(|word| word == controller)
    }

    /// Whether the line is that of the v2 hierarchy.
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }
}

/// The lines of `/proc/<pid>/cgroup`. A path ending in ` (deleted)` (since Linux 4.13) is that of a
/// removed cgroup; the suffix is cut.
///
/// Source: cgroups(7), "/proc/pid/cgroup".
pub fn cgroup_lines(text: &[u8]) -> impl Iterator<Item = CgroupLine<'_>> {
    lines(text).filter_map(|line| {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        number(parts.next()?)?;
        let controllers = parts.next()?;
        let path = parts.next()?;
        path.starts_with(b"/").then(|| CgroupLine {
            controllers,
            path: path.strip_suffix(b" (deleted)").unwrap_or(path),
        })
    })
}

/// What `/proc/<tid>/stat` tells of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadStat {
    /// State letter: `R`, `S`, `D`, `I`, ...
    pub state: u8,
    /// Start in clock ticks after boot.
    pub start_ticks: u64,
}

impl ThreadStat {
    /// Whether the thread is runnable.
    pub fn is_running(self) -> bool {
        self.state == b'R'
    }

    /// Whether the thread is in uninterruptible sleep, which counts as load.
    pub fn is_blocked(self) -> bool {
        self.state == b'D'
    }
}

/// Parses `/proc/<tid>/stat`. The command in parentheses may hold any byte, `)` included, so
/// fields count from its last `)`.
///
/// Source: proc_pid_stat(5), fields 3 and 22.
pub fn thread_stat(text: &[u8]) -> Option<ThreadStat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = words(text[end + 1..].trim_ascii());
    let state = *fields.next()?.first()?;
    let start_ticks = number(fields.nth(18)?)?;
    Some(ThreadStat { state, start_ticks })
}

/// The pid in the innermost pid namespace, from the `NSpid` line (since Linux 4.1) of
/// `/proc/<pid>/status`.
///
/// Source: proc_pid_status(5).
pub fn innermost_pid(status: &[u8]) -> Option<u64> {
    let line = lines(status).find_map(|line| line.strip_prefix(b"NSpid:"))?;
    words(line).last().and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn v1_and_v2_lines() {
        let text = b"12:cpu,cpuacct:/kubepods/pod1/abc\n1:name=systemd:/x\n0::/a:b (deleted)\nrubbish\n3:memory:rel\n";
        let found: Vec<_> = cgroup_lines(text).collect();
        assert_eq!(found.len(), 3);
        assert!(found[0].has(b"cpuacct") && !found[0].has(b"cpus"));
        assert_eq!(found[0].path, b"/kubepods/pod1/abc");
        assert!(found[2].is_v2());
        assert_eq!(found[2].path, b"/a:b");
    }

    #[test]
    fn a_command_may_hold_parentheses() {
        let text = b"42 (a) R (b) D 1 42 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 987654 0 0\n";
        let stat = thread_stat(text).expect("a well-formed line");
        assert!(stat.is_blocked() && !stat.is_running());
        assert_eq!(stat.start_ticks, 987_654);
        assert_eq!(thread_stat(b"42 (cut) S 1 2"), None);
    }

    #[test]
    fn the_innermost_pid_is_the_last() {
        assert_eq!(innermost_pid(b"Name:\tx\nNSpid:\t4711\t12\t1\n"), Some(1));
        assert_eq!(innermost_pid(b"Name:\tx\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = cgroup_lines(&text).count();
            let _ = thread_stat(&text);
            let _ = innermost_pid(&text);
        }
    }
}
