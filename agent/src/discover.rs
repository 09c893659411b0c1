//! Finds containers in the cgroup tree, so that their load counts from their start and not from
//! the first read.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::caller::runtime_id;
use crate::load::collect_tasks;

/// Full listings are made at least once in so many searches.
const FULL_EVERY: u32 = 12;

/// What the last listing of each directory outside of containers found.
#[derive(Debug)]
pub struct Discovery {
    root: PathBuf,
    listed: HashMap<PathBuf, Listing>,
    searches: u32,
}

#[derive(Debug, Default)]
struct Listing {
    links: u64,
    below: Vec<PathBuf>,
    containers: Vec<PathBuf>,
    /// Containers that had no process yet.
    empty: bool,
}

impl Discovery {
    /// Searches below `root`, a hierarchy that every container is in.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            listed: HashMap::new(),
            searches: 0,
        }
    }

    /// Calls `found` with a process of each container that was not there at the last search.
    ///
    /// A directory whose number of links, which counts subdirectories, is as before is not
    /// listed again, unless `all` asks for it because a container went away: another may have
    /// taken its place.
    pub fn search(&mut self, all: bool, mut found: impl FnMut(u32)) {
        let all = all || self.searches.is_multiple_of(FULL_EVERY);
        self.searches = self.searches.wrapping_add(1);
        let mut before = std::mem::take(&mut self.listed);
        let mut pending = vec![self.root.clone()];
        while let Some(dir) = pending.pop() {
            let Ok(links) = fs::metadata(&dir).map(|metadata| metadata.nlink()) else {
                continue;
            };
            let known = before.remove(&dir).unwrap_or_default();
            let listing = if all || known.empty || known.links != links {
                list(&dir, links, &known.containers, &mut found)
            } else {
                known
            };
            pending.extend(listing.below.iter().cloned());
            self.listed.insert(dir, listing);
        }
    }
}

fn list(dir: &Path, links: u64, known: &[PathBuf], found: &mut impl FnMut(u32)) -> Listing {
    let mut listing = Listing {
        links,
        ..Listing::default()
    };
    let Ok(entries) = fs::read_dir(dir) else {
        return listing;
    };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if runtime_id(entry.file_name().as_bytes()).is_none() {
            listing.below.push(path);
        } else if known.contains(&path) {
            listing.containers.push(path);
        } else {
            let mut pids = Vec::new();
            collect_tasks(&path, "cgroup.procs", &mut pids);
            match pids.first() {
                Some(pid) => {
                    found(*pid);
                    listing.containers.push(path);
                }
                None => listing.empty = true,
            }
        }
    }
    listing
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_container_is_found_once_and_again_after_it_was_replaced() {
        let root = tempfile::tempdir().expect("a directory for the test");
        let container = root.path().join("kubepods/pod1").join(ID);
        fs::create_dir_all(&container).expect("a cgroup");
        let mut discovery = Discovery::new(root.path());
        let search = |discovery: &mut Discovery, all| {
            let mut found = Vec::new();
            discovery.search(all, |pid| found.push(pid));
            found
        };
        fs::write(container.join("cgroup.procs"), "").expect("no process yet");
        assert_eq!(search(&mut discovery, false), [0_u32; 0]);
        fs::write(container.join("cgroup.procs"), "7\n8\n").expect("two processes");
        assert_eq!(search(&mut discovery, false), [7]);
        assert_eq!(search(&mut discovery, true), [0_u32; 0]);
        fs::remove_dir_all(&container).expect("the container ends");
        assert_eq!(search(&mut discovery, true), [0_u32; 0]);
        fs::create_dir_all(&container).expect("another of the same name");
        fs::write(container.join("cgroup.procs"), "9\n").expect("its process");
        assert_eq!(search(&mut discovery, true), [9]);
    }
}
