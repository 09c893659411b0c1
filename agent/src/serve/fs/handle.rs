//! Open files.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::budget::{Budget, Place};
use super::trigger::Trigger;
use super::{FsError, Node};
use crate::lock::lock;
use crate::view::Owner;

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
        // Dropped after the lock.
        let file = lock(&self.open).remove(&handle);
        drop(file);
    }
}

/// One open file: what it is, whose it is, and what was last rendered.
#[derive(Debug)]
pub(super) struct OpenFile {
    node: Node,
    owner: Owner,
    snapshot: Mutex<Option<Arc<Vec<u8>>>>,
    trigger: OnceLock<Arc<Trigger>>,
    /// Whether a trigger was written, which the kernel may not have answered yet.
    asked: Mutex<bool>,
    budget: Arc<Budget>,
    /// Held as long as the file is open.
    _place: Option<Place>,
}

impl OpenFile {
    /// One that is kept until it is closed.
    ///
    /// # Errors
    /// EMFILE or ENFILE if there are too many.
    pub(super) fn new(node: Node, owner: Owner, budget: Arc<Budget>) -> Result<Self, FsError> {
        let place = Some(budget.file()?);
        Ok(Self::with(node, owner, budget, place))
    }

    /// One of another process, for a single read.
    pub(super) fn passing(node: Node, owner: Owner, budget: Arc<Budget>) -> Self {
        Self::with(node, owner, budget, None)
    }

    fn with(node: Node, owner: Owner, budget: Arc<Budget>, place: Option<Place>) -> Self {
        Self {
            node,
            owner,
            snapshot: Mutex::default(),
            trigger: OnceLock::new(),
            asked: Mutex::default(),
            budget,
            _place: place,
        }
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    pub(super) fn snapshot(&self) -> Option<Arc<Vec<u8>>> {
        lock(&self.snapshot).clone()
    }

    /// Keeps what was rendered for the other parts of the file, if there is room; then what was kept
    /// before is of no use either.
    pub(super) fn keep(&self, text: &Arc<Vec<u8>>) {
        let mut snapshot = lock(&self.snapshot);
        let old = snapshot.take().map_or(0, |text| text.capacity());
        if self.budget.exchange_text(text.capacity(), old) {
            *snapshot = Some(Arc::clone(text));
        } else {
            self.budget.exchange_text(0, old);
        }
    }

    pub(super) fn trigger(&self) -> Option<&Arc<Trigger>> {
        self.trigger.get()
    }

    /// Takes the only place for a trigger that a file has, as in the kernel; `false` if it is taken.
    pub(super) fn ask(&self) -> bool {
        !std::mem::replace(&mut *lock(&self.asked), true)
    }

    /// What came of it: without a trigger the place is free again.
    pub(super) fn answer(&self, trigger: Option<Arc<Trigger>>) {
        match trigger {
            // Set once, since asking was.
            Some(trigger) => drop(self.trigger.set(trigger)),
            None => *lock(&self.asked) = false,
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(text) = lock(&self.snapshot).take() {
            self.budget.exchange_text(0, text.capacity());
        }
    }
}
