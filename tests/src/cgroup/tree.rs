//! A part of the cgroup tree that goes away again.

use std::fs;

use anyhow::{Result, bail};

use super::{Group, Layout, tree_of};

/// A group below the root. Dropping it kills what runs in it and removes it with all below it.
#[derive(Debug)]
pub struct Tree {
    top: Group,
}

impl Tree {
    /// The tree of that name. Remains of a run that was killed are removed.
    ///
    /// # Errors
    /// If processes are in it: those of another run.
    pub fn new(layout: &Layout, name: &str) -> Result<Self> {
        let top = Group::root(layout).child(name);
        for dir in layout.trees().iter().map(|tree| top.dir(tree)) {
            for dir in tree_of(&dir) {
                if dir.exists() && fs::remove_dir(&dir).is_err() {
                    bail!("{} is in use: wait for the other run to end", dir.display());
                }
            }
        }
        Ok(Self { top })
    }

    /// The group that all others are in, not yet made.
    #[must_use]
    pub fn top(&self) -> &Group {
        &self.top
    }

    /// Kills what runs in it and removes all groups.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn clear(&self) -> Result<()> {
        self.top.remove()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            // What comes later does not depend on it.
            eprintln!("cannot remove {}: {error:#}", self.top.path());
        }
    }
}
