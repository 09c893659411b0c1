//! Open files.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{FsError, Node};
use crate::lock::lock;
use crate::registry::Owner;
use crate::trigger::Trigger;

/// Bits of a handle that count; those above tell the process that gave it out.
const COUNTER_BITS: u32 = 32;

/// The files open now.
#[derive(Debug)]
pub struct Handles {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<OpenFile>>>,
}

impl Handles {
    /// `started` is a time at which no other process with the same mount started, microseconds:
    /// handles of two processes never collide.
    pub fn new(started: u64) -> Self {
        let generation = (started / 1000) << COUNTER_BITS;
        Self {
            next: AtomicU64::new(generation + 1),
            open: Mutex::default(),
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
        let _file = lock(&self.open).remove(&handle);
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

    pub(super) fn keep(&self, text: Arc<Vec<u8>>) {
        *lock(&self.snapshot) = Some(text);
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
