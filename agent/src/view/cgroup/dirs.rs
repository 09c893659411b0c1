//! All cgroup directories in use.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use super::budget::Budget;
use super::dir::{Dir, is_absence};
use super::watch::Watch;
use crate::lock::lock;

/// All directories in use, so that containers share those of their common ancestors.
#[derive(Debug)]
pub struct Dirs {
    budget: Arc<Budget>,
    watch: Arc<Watch>,
    known: Mutex<HashMap<Arc<Path>, Weak<Dir>>>,
}

impl Dirs {
    /// `most_open` files are kept open at most, over all directories.
    pub fn new(most_open: usize) -> Self {
        Self {
            budget: Arc::new(Budget::new(most_open)),
            watch: Arc::new(Watch::new()),
            known: Mutex::default(),
        }
    }

    /// The directory that is at `path` now, `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be told whether there is one.
    pub(super) fn get(&self, path: PathBuf) -> io::Result<Option<Arc<Dir>>> {
        let inode = match fs::metadata(&path) {
            Ok(found) => found.ino(),
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut known = lock(&self.known);
        if let Some(dir) = known.get(&*path).and_then(Weak::upgrade)
            && dir.inode() == inode
        {
            return Ok(Some(dir));
        }
        let (budget, watch) = (Arc::clone(&self.budget), Arc::clone(&self.watch));
        let path: Arc<Path> = path.into();
        let dir = Arc::new(Dir::new(Arc::clone(&path), inode, budget, watch));
        known.insert(path, Arc::downgrade(&dir));
        Ok(Some(dir))
    }

    /// Looks for limits that were written and directories that were removed since the last call; one
    /// system call if there are none.
    pub fn refresh(&self) {
        self.watch.poll();
    }

    /// Forgets directories that no container uses any more.
    pub fn sweep(&self) {
        lock(&self.known).retain(|_, dir| dir.strong_count() > 0);
        self.watch.sweep();
    }

    /// Whether more files would be kept open if they were allowed to.
    pub fn is_full(&self) -> bool {
        self.budget.is_full()
    }
}
