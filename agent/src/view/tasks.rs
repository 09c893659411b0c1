//! The tasks of a cgroup and of all cgroups below it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use procview::parse::{lines, number};

/// How much may be read for one container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// Tasks.
    pub(super) tasks: usize,
    /// Cgroups.
    pub(super) cgroups: usize,
}

/// For a thread that serves others as well.
pub(super) const A_FEW: Most = Most {
    tasks: 64,
    cgroups: 8,
};

/// For one that does not.
pub(super) const ALL: Most = Most {
    tasks: usize::MAX,
    cgroups: usize::MAX,
};

/// The numbers that the files called `name` list in `dir` and all cgroups below it. `None` if there are more
/// than `most`.
pub(super) fn collect(dir: &Path, name: &str, most: Most) -> Option<Vec<u32>> {
    let mut tasks = Vec::new();
    let mut pending = vec![dir.to_path_buf()];
    let mut cgroups = 0;
    while let Some(dir) = pending.pop() {
        cgroups += 1;
        if cgroups > most.cgroups {
            return None;
        }
        read(&dir.join(name), most, &mut tasks)?;
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        pending.extend(entries.filter(is_dir).map(|entry| entry.path()));
    }
    Some(tasks)
}

fn read(path: &Path, most: Most, tasks: &mut Vec<u32>) -> Option<()> {
    /// A number and its newline.
    const LONGEST: usize = 11;
    let left = most.tasks - tasks.len();
    let bytes = left.saturating_add(1).saturating_mul(LONGEST);
    let mut text = Vec::new();
    if let Ok(file) = File::open(path) {
        // A list cut short by a cgroup that goes away is as good as one read a moment later.
        let _ = file.take(bytes as u64).read_to_end(&mut text);
    }
    let numbers = lines(&text).filter_map(number);
    tasks.extend(numbers.filter_map(|task| u32::try_from(task).ok()));
    (tasks.len() <= most.tasks).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_wanted_is_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        let inner = root.path().join("inner");
        fs::create_dir(&inner).expect("a cgroup");
        let list = |dir: &Path, tasks: &[u32]| {
            let text: String = tasks.iter().map(|task| format!("{task}\n")).collect();
            fs::write(dir.join("tasks"), text).expect("a list");
        };
        list(root.path(), &[1, 2]);
        list(&inner, &[4_000_000_000, 3]);
        let collected = |tasks, cgroups| collect(root.path(), "tasks", Most { tasks, cgroups });
        assert_eq!(collected(4, 2), Some(vec![1, 2, 4_000_000_000, 3]));
        assert_eq!(collected(3, 2), None);
        assert_eq!(collected(1, 2), None);
        assert_eq!(collected(4, 1), None);
    }
}
