//! Bodies that are being read, and how much memory they take together.
//!
//! Each is limited, but a thousand clients could send all but the last byte of a large one. So there
//! is a limit on all of them; beyond it the one that began first is given up, which are those of
//! clients that never finish. What a client sends that behaves well is there within milliseconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::Notify;

/// Room for a body at first: most reviews fit.
const FIRST: usize = 16 << 10;

/// All bodies that are being read.
#[derive(Debug)]
pub struct Bodies {
    /// Of one body, and of all of them.
    most: usize,
    most_of_all: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    total: usize,
    bodies: BTreeMap<u64, (usize, Arc<Notify>)>,
}

/// A body's part of the memory, for as long as it is being read.
#[derive(Debug)]
struct Part<'a> {
    all: &'a Bodies,
    number: u64,
    give_up: Arc<Notify>,
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {} MiB", .0 >> 20)]
    TooLarge(usize),
    #[error("too many large bodies at once, this one has been coming for longest")]
    Crowded,
    #[error("{0}")]
    Broken(#[from] axum::Error),
}

impl Bodies {
    /// With a limit for one body and one for all that are being read.
    pub fn new(most: usize, most_of_all: usize) -> Self {
        Self {
            most,
            most_of_all,
            open: Mutex::default(),
        }
    }

    /// Reads a body to its end.
    ///
    /// # Errors
    /// If it breaks off, is too large, or has to make room for others.
    pub async fn read(&self, mut body: Body) -> Result<Bytes, BodyError> {
        let said = body.size_hint().lower();
        let said = usize::try_from(said).unwrap_or(usize::MAX);
        if said > self.most {
            return Err(BodyError::TooLarge(self.most));
        }
        let part = self.part();
        let mut bytes = Vec::with_capacity(said.min(FIRST));
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = part.give_up.notified() => return Err(BodyError::Crowded),
            };
            let Some(frame) = frame else {
                return Ok(bytes.into());
            };
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > self.most {
                return Err(BodyError::TooLarge(self.most));
            }
            bytes.extend_from_slice(&data);
            part.takes(bytes.capacity());
        }
    }

    fn part(&self) -> Part<'_> {
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        let give_up = Arc::new(Notify::new());
        open.bodies.insert(number, (0, Arc::clone(&give_up)));
        Part {
            all: self,
            number,
            give_up,
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part<'_> {
    /// Says how much the body takes now, and makes room for it.
    fn takes(&self, bytes: usize) {
        let mut open = self.all.open();
        // Not there any more if it has been given up already.
        let Some((had, _)) = open.bodies.get_mut(&self.number) else {
            return;
        };
        let grown = bytes - std::mem::replace(had, bytes);
        open.total += grown;
        while open.total > self.all.most_of_all {
            let Some((_, (bytes, give_up))) = open.bodies.pop_first() else {
                return;
            };
            open.total -= bytes;
            give_up.notify_one();
        }
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let mut open = self.all.open();
        if let Some((bytes, _)) = open.bodies.remove(&self.number) {
            open.total -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_given_up(part: &Part<'_>) -> bool {
        use std::task::{Context, Waker};
        let given_up = std::pin::pin!(part.give_up.notified());
        given_up
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn the_first_makes_room() {
        let all = Bodies::new(60, 100);
        let [first, second, third] = [0; 3].map(|_| all.part());
        second.takes(50);
        first.takes(40);
        third.takes(10);
        assert!(!is_given_up(&first));
        third.takes(11);
        assert!(is_given_up(&first));
        assert!(!is_given_up(&second) && !is_given_up(&third));
        assert_eq!(all.open().total, 61);
        first.takes(60);
        drop((first, second, third));
        assert_eq!(all.open().total, 0);
    }

    #[tokio::test]
    async fn a_body_has_a_limit() {
        let all = Bodies::new(10, 100);
        let read = |text: &'static str| all.read(Body::from(text));
        assert_eq!(read("0123456789").await.expect("fits"), "0123456789");
        let error = read("0123456789a").await.expect_err("too large");
        assert!(matches!(error, BodyError::TooLarge(10)), "{error}");
    }
}
