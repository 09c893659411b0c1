//! Whether the view works, found out by reading it as a container does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::statfs::{FUSE_SUPER_MAGIC, statfs};

use crate::clock;
use crate::lock::lock;

/// From one reading to the next.
const PERIOD: Duration = Duration::from_secs(5);
/// After so long without a good reading the agent is not ready; a read can wait for a busy host.
const LATE: Duration = Duration::from_secs(15);
/// After so long a new process is the remedy.
const DEAD: Duration = Duration::from_secs(60);

/// Why the view does not work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Sickness {
    /// Nothing was read yet.
    #[error("the view was not read yet")]
    Unread,
    /// Something else is at the view's path, most likely the placeholder beneath it.
    #[error("{0} is no file of the view: somebody unmounted it")]
    NotMounted(PathBuf),
    /// A read failed.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A read gave something else.
    #[error("{0} does not begin with MemTotal")]
    Garbled(PathBuf),
    /// A read takes long.
    #[error("no reading of the view for {} s", .0.as_secs())]
    Late(Duration),
}

/// The last readings of a view.
#[derive(Debug)]
pub struct Health {
    file: PathBuf,
    last: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    result: Result<(), Sickness>,
    /// The last good one, in microseconds since boot.
    good_at: u64,
}

impl Health {
    /// The health of the view mounted at `view`; it is not read yet.
    pub fn new(view: &Path) -> Self {
        Self {
            file: view.join("proc/meminfo"),
            last: Mutex::new(Reading {
                result: Err(Sickness::Unread),
                good_at: clock::boottime(),
            }),
        }
    }

    /// Reads the view and keeps what came of it. Waits as long as the view does.
    ///
    /// # Errors
    /// What is wrong with the view.
    pub fn read(&self) -> Result<(), Sickness> {
        let result = self.try_read();
        let mut last = lock(&self.last);
        if result.is_ok() {
            last.good_at = clock::boottime();
        }
        if let (Err(sickness), Ok(())) = (&result, &last.result) {
            tracing::error!(error = %sickness, "the view does not work");
        }
        last.result.clone_from(&result);
        result
    }

    fn try_read(&self) -> Result<(), Sickness> {
        let path = || self.file.clone();
        let failed = |source| Sickness::Read {
            path: path(),
            source: Arc::new(source),
        };
        let found = statfs(&self.file).map_err(|errno| failed(errno.into()))?;
        if found.filesystem_type() != FUSE_SUPER_MAGIC {
            return Err(Sickness::NotMounted(path()));
        }
        let text = fs::read(&self.file).map_err(failed)?;
        if text.starts_with(b"MemTotal:") {
            Ok(())
        } else {
            Err(Sickness::Garbled(path()))
        }
    }

    /// Starts a thread that reads the view again and again.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn watch(self: Arc<Self>) -> io::Result<()> {
        let work = move || loop {
            thread::sleep(PERIOD);
            // Kept and told there.
            let _ = self.read();
        };
        thread::Builder::new()
            .name("health".to_owned())
            .spawn(work)
            .map(drop)
    }

    /// Whether containers should be sent here.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), Sickness> {
        let last = lock(&self.last);
        last.result.clone()?;
        within(last.good_at, LATE)
    }

    /// Whether this process can still come right by itself.
    ///
    /// # Errors
    /// Why it should be started again.
    pub fn alive(&self) -> Result<(), Sickness> {
        let last = lock(&self.last);
        within(last.good_at, DEAD).map_err(|late| last.result.clone().err().unwrap_or(late))
    }
}

fn within(good_at: u64, limit: Duration) -> Result<(), Sickness> {
    let age = Duration::from_micros(clock::boottime().saturating_sub(good_at));
    if age <= limit {
        Ok(())
    } else {
        Err(Sickness::Late(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_no_view() {
        let dir = tempfile::tempdir().expect("a directory");
        let health = Health::new(dir.path());
        assert!(matches!(health.ready(), Err(Sickness::Unread)));
        assert!(matches!(health.read(), Err(Sickness::Read { .. })));
        fs::create_dir(dir.path().join("proc")).expect("a directory");
        fs::write(dir.path().join("proc/meminfo"), "MemTotal: 1 kB\n").expect("a file");
        assert!(matches!(health.read(), Err(Sickness::NotMounted(_))));
        assert!(matches!(health.ready(), Err(Sickness::NotMounted(_))));
        // It may come right.
        assert!(health.alive().is_ok());
    }

    #[test]
    fn a_reading_gets_old() {
        let long_ago = clock::boottime().saturating_sub(20_000_000);
        assert!(within(long_ago, LATE).is_err());
        assert!(within(long_ago, DEAD).is_ok());
    }
}
