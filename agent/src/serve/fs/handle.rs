//! Open files.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::trigger::Trigger;
use super::{FsError, Node};
use crate::lock::lock;
use crate::view::Owner;

/// Bits of a handle that count; those above tell the process that gave it out.
const COUNTER_BITS: u32 = 32;

/// All texts that are kept for open files take no more bytes. Beyond that each part of a file is
/// rendered anew: whoever opens files without end costs others nothing but that.
const MOST_KEPT: usize = 64 << 20;

/// The files open now.
#[derive(Debug)]
pub struct Handles {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<OpenFile>>>,
    /// The bytes of all kept texts.
    kept: AtomicUsize,
}

impl Handles {
    /// `started` is a time at which no other process with the same mount started, microseconds:
    /// handles of two processes never collide.
    pub fn new(started: u64) -> Self {
        let generation = (started / 1000) << COUNTER_BITS;
        Self {
            next: AtomicU64::new(generation + 1),
            open: Mutex::default(),
            kept: AtomicUsize::new(0),
        }
    }

    pub(super) fn insert(&self, file: OpenFile) -> u64 {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.open).insert(handle, Arc::new(file));
        handle
    }

    pub(super) fn get(&self, handle: u64) -> Option<Arc<OpenFile>> {
        lock(&self.open).get(&handle).cloned()
    }

    pub(super) fn remove(&self, handle: u64) {
        // Dropped after the lock: a trigger closes its file.
        let file = lock(&self.open).remove(&handle);
        if let Some(file) = file {
            self.exchange(&file, None);
        }
    }

    /// Keeps what was rendered of `file`, one of these, for its other parts; as far as there is room.
    pub(super) fn keep(&self, file: &OpenFile, text: Arc<Vec<u8>>) {
        self.exchange(file, None);
        // Several at once may go beyond it by a text each.
        let room = self.kept.load(Ordering::Relaxed) + text.capacity() <= MOST_KEPT;
        if room {
            self.exchange(file, Some(text));
        }
    }

    fn exchange(&self, file: &OpenFile, text: Option<Arc<Vec<u8>>>) {
        let size = |text: &Option<Arc<Vec<u8>>>| text.as_ref().map_or(0, |text| text.capacity());
        self.kept.fetch_add(size(&text), Ordering::Relaxed);
        let old = std::mem::replace(&mut *lock(&file.snapshot), text);
        self.kept.fetch_sub(size(&old), Ordering::Relaxed);
    }
}

/// One open file: what it is, whose it is, and what was last rendered.
#[derive(Debug)]
pub(super) struct OpenFile {
    node: Node,
    owner: Owner,
    snapshot: Mutex<Option<Arc<Vec<u8>>>>,
    trigger: Mutex<Option<Arc<Trigger>>>,
}

impl OpenFile {
    pub(super) fn new(node: Node, owner: Owner) -> Self {
        Self {
            node,
            owner,
            snapshot: Mutex::default(),
            trigger: Mutex::default(),
        }
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    pub(super) fn snapshot(&self) -> Option<Arc<Vec<u8>>> {
        lock(&self.snapshot).clone()
    }

    pub(super) fn trigger(&self) -> Option<Arc<Trigger>> {
        lock(&self.trigger).clone()
    }

    pub(super) fn has_trigger(&self) -> bool {
        lock(&self.trigger).is_some()
    }

    /// One file takes one trigger, as in the kernel.
    pub(super) fn set_trigger(&self, trigger: Arc<Trigger>) -> Result<(), FsError> {
        let mut slot = lock(&self.trigger);
        if slot.is_some() {
            let busy = std::io::Error::from_raw_os_error(libc::EBUSY);
            return Err(FsError::Trigger(busy));
        }
        *slot = Some(trigger);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use procview::file::File;

    use super::*;

    #[test]
    fn what_is_kept_has_a_limit() {
        let handles = Handles::new(1_000_000);
        let open = || handles.insert(OpenFile::new(Node::File(File::Meminfo), Owner::Host));
        let kept = |handle| {
            handles
                .get(handle)
                .is_some_and(|file| file.snapshot().is_some())
        };
        let keep = |handle, size| {
            let file = handles.get(handle).expect("an open file");
            handles.keep(&file, Arc::new(vec![0; size]));
        };
        let [large, small] = [open(), open()];
        keep(large, MOST_KEPT - 100);
        keep(small, 200);
        assert!(kept(large) && !kept(small));
        // A rendering takes the place of the one before.
        keep(small, 50);
        keep(small, 60);
        assert!(kept(small));
        handles.remove(large);
        keep(small, 200);
        assert!(kept(small));
        handles.remove(small);
        assert_eq!(handles.kept.load(Ordering::Relaxed), 0);
    }
}
