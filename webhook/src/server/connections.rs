//! The connections that are open, and which of them can go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    open: Mutex<HashMap<u64, Arc<State>>>,
    /// Orders events: connections opened, requests begun and finished.
    events: AtomicU64,
    closed: Notify,
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct State {
    /// Requests under way.
    busy: AtomicUsize,
    /// The last event.
    last: AtomicU64,
    evict: Notify,
}

/// A connection for as long as it is open.
#[derive(Debug)]
pub(super) struct Connection {
    all: Arc<Connections>,
    number: u64,
    state: Arc<State>,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Busy {
    all: Arc<Connections>,
    state: Arc<State>,
}

impl Connections {
    pub(super) fn new(most: usize, gauge: Gauge) -> Self {
        Self {
            most,
            open: Mutex::default(),
            events: AtomicU64::new(0),
            closed: Notify::new(),
            gauge,
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<State>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self) -> u64 {
        self.events.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a connection. Closes another one if there are too many: the one that did nothing for
    /// longest. It may have a request under way, which then waits for its client: a review takes
    /// less than a millisecond once its body is there.
    pub(super) fn add(all: &Arc<Self>) -> Connection {
        let mut open = all.open();
        if open.len() >= all.most {
            let last = |state: &State| state.last.load(Ordering::Relaxed);
            let first = open.iter().min_by_key(|(_, state)| last(state));
            let number = first.map(|(number, _)| *number);
            // Taken out at once: the next one must not choose the same.
            if let Some(state) = number.and_then(|number| open.remove(&number)) {
                state.evict.notify_one();
            }
        }
        let number = all.event();
        let state = Arc::new(State {
            last: number.into(),
            ..State::default()
        });
        open.insert(number, Arc::clone(&state));
        all.gauge.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        Connection {
            all: Arc::clone(all),
            number,
            state,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.open().len()
    }

    /// Closes the connections without a request.
    pub(super) fn evict_idle(&self) {
        for state in self.open().values().filter(|state| state.is_idle()) {
            state.evict.notify_one();
        }
    }

    /// Waits until there is none.
    pub(super) async fn empty(&self) {
        loop {
            let closed = self.closed.notified();
            if self.len() == 0 {
                return;
            }
            closed.await;
        }
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Relaxed) == 0
    }
}

impl Connection {
    /// Waits until the connection has to make room.
    pub(super) async fn evicted(&self) {
        self.state.evict.notified().await;
    }

    /// Marks a request under way, until the value is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.state.last.store(self.all.event(), Ordering::Relaxed);
        self.state.busy.fetch_add(1, Ordering::Relaxed);
        Busy {
            all: Arc::clone(&self.all),
            state: Arc::clone(&self.state),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.all.open();
        open.remove(&self.number);
        self.all
            .gauge
            .set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        drop(open);
        self.all.closed.notify_waiters();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.state.last.store(self.all.event(), Ordering::Relaxed);
        self.state.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_evicted(connection: &Connection) -> bool {
        use std::task::{Context, Waker};
        let evicted = std::pin::pin!(connection.evicted());
        evicted
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn the_longest_idle_makes_room() {
        let all = Arc::new(Connections::new(3, Gauge::default()));
        let [used, busy, never] = [0; 3].map(|_| Connections::add(&all));
        drop(used.busy());
        let request = busy.busy();
        let next = Connections::add(&all);
        assert!(is_evicted(&never));
        assert!(!is_evicted(&used) && !is_evicted(&busy) && !is_evicted(&next));
        assert_eq!(all.len(), 3);
        drop(never);
        assert_eq!(all.len(), 3);
        drop((request, used, busy, next));
        assert_eq!(all.len(), 0);
    }

    #[test]
    fn the_longest_busy_makes_room_too() {
        let all = Arc::new(Connections::new(2, Gauge::default()));
        let [slow, used] = [0; 2].map(|_| Connections::add(&all));
        let _request = slow.busy();
        drop(used.busy());
        let next = Connections::add(&all);
        assert!(is_evicted(&slow));
        assert!(!is_evicted(&used) && !is_evicted(&next));
    }
}
