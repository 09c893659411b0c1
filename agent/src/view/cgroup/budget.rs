//! How many cgroup files may be kept open.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Each file kept open takes a descriptor and 4.4 KiB of kernel memory.
#[derive(Debug)]
pub(super) struct Budget {
    open: AtomicUsize,
    most: usize,
}

impl Budget {
    pub(super) fn new(most: usize) -> Self {
        Self {
            open: AtomicUsize::new(0),
            most,
        }
    }

    /// Takes a place for one more, if there is one.
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

    /// Whether more would be kept open if they were allowed to.
    pub(super) fn is_full(&self) -> bool {
        self.open.load(Ordering::Relaxed) >= self.most
    }
}
