//! What the readers of one container may make the agent keep: no more of it than leaves enough for all others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::lock::lock;
use crate::view::Owner;

/// Files that one container may have open; the next one gets EMFILE.
const MOST_FILES: usize = 1024;
/// Files that all may have open together; the next one gets ENFILE.
const MOST_FILES_OF_ALL: usize = 64 * 1024;

/// Bytes of text that are kept of the open files of one container. Beyond that each part of a file is
/// rendered anew.
const MOST_TEXT: usize = 1 << 20;
/// The same for all together. A container that keeps little may go on.
const MOST_TEXT_OF_ALL: usize = 64 << 20;
const LITTLE_TEXT: usize = 64 << 10;

/// Pressure triggers that one container may have, and all together. Each costs the kernel work ten times a
/// window, and its end a wait.
const MOST_TRIGGERS: usize = 16;
const MOST_TRIGGERS_OF_ALL: usize = 1024;

/// What is counted.
#[derive(Debug, Default)]
struct Use {
    files: AtomicUsize,
    text: AtomicUsize,
    triggers: AtomicUsize,
}

/// What one container uses.
#[derive(Debug, Default)]
pub(super) struct Budget {
    own: Use,
    all: Arc<Use>,
}

/// What of a [`Use`] a place is in.
type Counter = fn(&Use) -> &AtomicUsize;

/// One place, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    budget: Arc<Budget>,
    counter: Counter,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// The container has as many as one may have.
    #[error("the container has too many")]
    Own,
    /// There are as many as all containers may have together.
    #[error("all containers together have too many")]
    All,
}

impl Budget {
    fn place(
        self: &Arc<Self>,
        counter: Counter,
        most: usize,
        most_of_all: usize,
    ) -> Result<Place, Exhausted> {
        let take = |used: &AtomicUsize, most| {
            let took = used.fetch_add(1, Ordering::Relaxed) < most;
            if !took {
                used.fetch_sub(1, Ordering::Relaxed);
            }
            took
        };
        if !take(counter(&self.own), most) {
            return Err(Exhausted::Own);
        }
        if !take(counter(&self.all), most_of_all) {
            counter(&self.own).fetch_sub(1, Ordering::Relaxed);
            return Err(Exhausted::All);
        }
        Ok(Place {
            budget: Arc::clone(self),
            counter,
        })
    }

    /// A place for one more open file.
    pub(super) fn file(self: &Arc<Self>) -> Result<Place, Exhausted> {
        self.place(|used| &used.files, MOST_FILES, MOST_FILES_OF_ALL)
    }

    /// A place for one more trigger.
    pub(super) fn trigger(self: &Arc<Self>) -> Result<Place, Exhausted> {
        self.place(|used| &used.triggers, MOST_TRIGGERS, MOST_TRIGGERS_OF_ALL)
    }

    /// Counts `added` more bytes of text and `removed` less, if there is room for that.
    pub(super) fn exchange_text(&self, added: usize, removed: usize) -> bool {
        // Several at once may go beyond by a text each.
        let after =
            |used: &Use| (used.text.load(Ordering::Relaxed) + added).saturating_sub(removed);
        let own = after(&self.own);
        let has_room = own <= LITTLE_TEXT
            || own <= MOST_TEXT && after(&self.all) <= MOST_TEXT_OF_ALL
            || added <= removed;
        if has_room {
            for used in [&self.own, &*self.all] {
                used.text.fetch_add(added, Ordering::Relaxed);
                used.text.fetch_sub(removed, Ordering::Relaxed);
            }
        }
        has_room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for used in [&self.budget.own, &*self.budget.all] {
            (self.counter)(used).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The budgets of all containers that use anything.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    all: Arc<Use>,
    by_account: Mutex<HashMap<Box<[u8]>, Weak<Budget>>>,
}

impl Budgets {
    /// The budget that pays for `owner`.
    pub(super) fn of(&self, owner: &Owner) -> Arc<Budget> {
        let account = match owner {
            Owner::Container(container) => container.account(),
            Owner::Host => b"",
        };
        let mut known = lock(&self.by_account);
        if let Some(budget) = known.get(account).and_then(Weak::upgrade) {
            return budget;
        }
        // Now and then, so that it costs little and nothing is left of those who used something once.
        if known.len() == known.capacity() {
            known.retain(|_, budget| budget.strong_count() > 0);
        }
        let budget = Arc::new(Budget {
            own: Use::default(),
            all: Arc::clone(&self.all),
        });
        known.insert(account.into(), Arc::downgrade(&budget));
        budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets() -> [Arc<Budget>; 2] {
        let all = Arc::new(Use::default());
        [(); 2].map(|()| {
            Arc::new(Budget {
                own: Use::default(),
                all: Arc::clone(&all),
            })
        })
    }

    #[test]
    fn who_takes_all_of_his_takes_nothing_of_others() {
        let [hog, other] = budgets();
        let places: Vec<_> = (0..MOST_FILES)
            .map(|_| hog.file().expect("a place"))
            .collect();
        assert_eq!(hog.file().err(), Some(Exhausted::Own));
        let triggers: Vec<_> = (0..MOST_TRIGGERS)
            .map(|_| hog.trigger().expect("a place"))
            .collect();
        assert_eq!(hog.trigger().err(), Some(Exhausted::Own));
        assert!(other.file().is_ok() && other.trigger().is_ok());
        drop((places, triggers));
        assert!(hog.file().is_ok() && hog.trigger().is_ok());
    }

    #[test]
    fn all_together_have_an_end_too() {
        let [one, other] = budgets();
        one.all
            .triggers
            .store(MOST_TRIGGERS_OF_ALL, Ordering::Relaxed);
        assert_eq!(other.trigger().err(), Some(Exhausted::All));
        assert_eq!(other.own.triggers.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn text_has_a_limit_and_everybody_a_little() {
        let [hog, other] = budgets();
        assert!(hog.exchange_text(MOST_TEXT, 0));
        assert!(!hog.exchange_text(1, 0));
        assert!(hog.exchange_text(10, 20));
        hog.all.text.store(MOST_TEXT_OF_ALL, Ordering::Relaxed);
        assert!(other.exchange_text(LITTLE_TEXT, 0));
        assert!(!other.exchange_text(1, 0));
    }
}
