//! All cgroup directories in use.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::dir::Dir;
use super::watch::Watch;
use crate::lock::lock;

/// All directories in use, so that containers share those of their common ancestors.
#[derive(Debug)]
pub struct Dirs {
    budget: Arc<Budget>,
    watch: Arc<Watch>,
    known: Mutex<HashMap<PathBuf, Weak<Dir>>>,
}

impl Dirs {
    /// `most_open` files are kept open at most, over all directories.
    pub fn new(most_open: usize) -> Self {
        Self {
            budget: Arc::new(Budget {
                open: AtomicUsize::new(0),
                most: most_open,
            }),
            watch: Arc::new(Watch::new()),
            known: Mutex::default(),
        }
    }

    /// The directory at `path`. One that was removed is not given out again, since another may
    /// have its name by now.
    pub fn get(&self, path: PathBuf) -> Arc<Dir> {
        let mut known = lock(&self.known);
        if let Some(dir) = known.get(&path).and_then(Weak::upgrade)
            && !dir.is_gone()
        {
            return dir;
        }
        let dir = Arc::new(Dir::new(
            path.clone(),
            Arc::clone(&self.budget),
            Arc::clone(&self.watch),
        ));
        known.insert(path, Arc::downgrade(&dir));
        dir
    }

    /// Looks for limits that were written since the last call; one system call if there are none.
    pub fn refresh(&self) {
        self.watch.poll();
    }

    /// Forgets directories that no container uses any more.
    pub fn sweep(&self) {
        lock(&self.known).retain(|_, dir| dir.strong_count() > 0);
    }

    /// How many files are kept open.
    pub fn open_files(&self) -> usize {
        self.budget.open.load(Ordering::Relaxed)
    }

    /// Whether more files would be kept open if they were allowed to.
    pub fn is_full(&self) -> bool {
        self.open_files() >= self.budget.most
    }
}

/// How many files may be kept open. Each takes a descriptor and 4.4 KiB of kernel memory.
#[derive(Debug)]
pub(super) struct Budget {
    open: AtomicUsize,
    most: usize,
}

impl Budget {
    pub(super) fn take(&self) -> bool {
        let took = self.open.fetch_add(1, Ordering::Relaxed) < self.most;
        if !took {
            self.give_back(1);
        }
        took
    }

    pub(super) fn give_back(&self, count: usize) {
        self.open.fetch_sub(count, Ordering::Relaxed);
    }
}
