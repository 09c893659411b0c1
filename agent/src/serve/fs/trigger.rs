//! Pressure triggers: written to the kernel's file of the container's cgroup, polled through FUSE.
//!
//! Source: Documentation/accounting/psi.rst, "Monitoring for pressure thresholds".

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::lock::lock;

/// Called once, when a trigger fires.
pub type Wake = Box<dyn FnOnce() + Send>;

/// What poll(2) shall say of a pressure file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It is no pressure file: always ready.
    Always,
    /// No trigger was written to it.
    NoTrigger,
    /// The trigger did not fire since the last time.
    Quiet,
    /// It fired.
    Fired,
    /// The cgroup is gone.
    Gone,
}

/// One trigger. Dropping it takes it back from the kernel.
pub(super) struct Trigger {
    id: u64,
    file: File,
    fired: AtomicBool,
    gone: AtomicBool,
    wake: Mutex<Option<Wake>>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Trigger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Trigger")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// All triggers, watched by one thread.
#[derive(Debug)]
pub(super) struct Triggers {
    shared: Arc<Shared>,
}

struct Shared {
    epoll: Epoll,
    next: AtomicU64,
    armed: Mutex<Vec<(u64, Weak<Trigger>)>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Triggers {
    /// Starts the thread that waits for the kernel.
    ///
    /// # Errors
    /// Those of epoll_create1(2) and of starting a thread.
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            next: AtomicU64::new(0),
            armed: Mutex::default(),
        });
        let watching = Arc::clone(&shared);
        thread::Builder::new()
            .name("triggers".to_owned())
            .spawn(move || watch(&watching))?;
        Ok(Self { shared })
    }

    /// Writes `text` to the pressure file at `path`.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn arm(&self, path: &Path, text: &[u8]) -> io::Result<Arc<Trigger>> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        file.write_all(text)?;
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let trigger = Arc::new(Trigger {
            id,
            file,
            fired: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            wake: Mutex::default(),
            shared: Arc::clone(&self.shared),
        });
        lock(&self.shared.armed).push((id, Arc::downgrade(&trigger)));
        let event = EpollEvent::new(EpollFlags::EPOLLPRI, id);
        self.shared.epoll.add(trigger.file.as_fd(), event)?;
        Ok(trigger)
    }
}

impl Trigger {
    /// What the trigger has to tell; that it fired it tells once. `wake` replaces the one given
    /// before.
    pub(super) fn poll(&self, wake: Option<Wake>) -> Readiness {
        if let Some(wake) = wake {
            *lock(&self.wake) = Some(wake);
        }
        if self.fired.swap(false, Ordering::AcqRel) {
            return Readiness::Fired;
        }
        if self.gone.load(Ordering::Acquire) {
            return Readiness::Gone;
        }
        Readiness::Quiet
    }

    fn wake(&self) {
        let wake = lock(&self.wake).take();
        if let Some(wake) = wake {
            wake();
        }
    }
}

impl Drop for Trigger {
    fn drop(&mut self) {
        // Closing the file ends the trigger in any case.
        let _ = self.shared.epoll.delete(self.file.as_fd());
        lock(&self.shared.armed).retain(|(id, _)| *id != self.id);
    }
}

/// Waits for the kernel for ever. Polling a trigger file clears the kernel's event, so it is
/// remembered here until the container polls.
fn watch(shared: &Shared) {
    let mut events = [EpollEvent::empty(); 16];
    loop {
        let count = match shared.epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(Errno::EINTR) => continue,
            Err(error) => {
                tracing::error!(%error, "pressure triggers cannot be watched any more");
                return;
            }
        };
        for event in &events[..count] {
            let trigger = lock(&shared.armed)
                .iter()
                .find(|(id, _)| *id == event.data())
                .and_then(|(_, trigger)| trigger.upgrade());
            let Some(trigger) = trigger else {
                continue;
            };
            if event.events().contains(EpollFlags::EPOLLERR) {
                trigger.gone.store(true, Ordering::Release);
                let _ = shared.epoll.delete(trigger.file.as_fd());
            } else {
                trigger.fired.store(true, Ordering::Release);
            }
            trigger.wake();
        }
    }
}
