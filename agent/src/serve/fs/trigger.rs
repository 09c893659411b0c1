//! Pressure triggers: written to the kernel's file of the container's cgroup, polled through FUSE.
//!
//! ```text
//!   write(2)  serving thread -> arm: opens, writes, answers            (may wait for the kernel's cgroup lock)
//!   poll(2)   serving thread -> what `watch` remembered
//!             watch: epoll on all of them -> wakes who polls
//!   close(2)  serving thread -> end: closes                            (waits for a grace period of RCU)
//! ```
//!
//! Source: Documentation/accounting/psi.rst, "Monitoring for pressure thresholds".

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Instant;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::FsError;
use super::budget::Place;
use super::handle::OpenFile;
use crate::lock::lock;
use crate::view::PressureTarget;

/// Orders that wait to be armed; whoever comes when there are so many is refused.
const MOST_WAITING: usize = 64;

/// Called once, when a trigger fires.
pub type Wake = Box<dyn FnOnce() + Send>;

/// Called once, with what became of a write.
pub type Answer = Box<dyn FnOnce(Result<(), FsError>) + Send>;

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

/// A trigger that is to be set.
pub(super) struct Order {
    /// The kernel's pressure file.
    pub(super) target: PressureTarget,
    /// As the container wrote it.
    pub(super) text: Vec<u8>,
    /// Whether the writer has CAP_SYS_RESOURCE towards the host.
    pub(super) is_privileged: bool,
    /// Where it was written.
    pub(super) file: Arc<OpenFile>,
    /// What the container pays with.
    pub(super) place: Place,
    /// Who waits for it.
    pub(super) answer: Answer,
}

/// One trigger. Dropping it takes it back from the kernel, soon.
#[derive(Debug)]
pub(super) struct Trigger {
    id: u64,
    fired: AtomicBool,
    gone: AtomicBool,
    wake: Mutex<Option<WakeSlot>>,
    /// Until it is dropped.
    kernels: Option<Kernels>,
    shared: Arc<Shared>,
}

/// What there is of a trigger in the kernel.
#[derive(Debug)]
struct Kernels {
    file: File,
    _place: Place,
}

struct WakeSlot(Wake);

impl std::fmt::Debug for WakeSlot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("WakeSlot")
    }
}

/// All triggers.
#[derive(Debug)]
pub(super) struct Triggers {
    orders: SyncSender<Order>,
}

#[derive(Debug)]
struct Shared {
    epoll: Epoll,
    next: AtomicU64,
    armed: Mutex<HashMap<u64, Weak<Trigger>>>,
    ends: Sender<Kernels>,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Order")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Triggers {
    /// Starts the threads that wait for the kernel.
    ///
    /// # Errors
    /// Those of epoll_create1(2) and of starting a thread.
    pub(super) fn start() -> io::Result<Self> {
        let (orders, ordered) = mpsc::sync_channel(MOST_WAITING);
        let (ends, ended) = mpsc::channel();
        let shared = Arc::new(Shared {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            next: AtomicU64::new(0),
            armed: Mutex::default(),
            ends,
        });
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(work)
        };
        let watching = Arc::clone(&shared);
        spawn("trigger-watch", Box::new(move || watch(&watching)))?;
        spawn(
            "trigger-arm",
            Box::new(move || arm_for_ever(&shared, &ordered)),
        )?;
        spawn("trigger-end", Box::new(move || end_for_ever(&ended)))?;
        Ok(Self { orders })
    }

    /// Sets a trigger, in a while.
    ///
    /// # Errors
    /// The order, if too many wait already.
    pub(super) fn order(&self, order: Order) -> Result<(), Order> {
        self.orders.try_send(order).map_err(|error| match error {
            mpsc::TrySendError::Full(order) | mpsc::TrySendError::Disconnected(order) => order,
        })
    }
}

fn arm_for_ever(shared: &Arc<Shared>, orders: &Receiver<Order>) {
    let is_capable = caps::has_cap(None, CapSet::Permitted, Capability::CAP_SYS_RESOURCE);
    let is_capable = is_capable.unwrap_or(false);
    for order in orders {
        let Order {
            target,
            text,
            is_privileged,
            file,
            place,
            answer,
        } = order;
        let armed = set_right(is_capable && is_privileged)
            .and_then(|()| arm(shared, &target, &text, place));
        answer(match armed {
            Ok(trigger) => {
                file.answer(Some(trigger));
                Ok(())
            }
            Err(error) => {
                file.answer(None);
                Err(FsError::Trigger(error))
            }
        });
    }
}

/// Gives this thread the right to set any window, or takes it. The kernel judges by who opens the file
/// (since Linux 6.5; before it lets nobody without the right have a trigger at all).
fn set_right(wanted: bool) -> io::Result<()> {
    let set = (CapSet::Effective, Capability::CAP_SYS_RESOURCE);
    let has = caps::has_cap(None, set.0, set.1).map_err(io::Error::other)?;
    match (has, wanted) {
        (false, true) => caps::raise(None, set.0, set.1).map_err(io::Error::other),
        (true, false) => caps::drop(None, set.0, set.1).map_err(io::Error::other),
        _ => Ok(()),
    }
}

fn arm(
    shared: &Arc<Shared>,
    target: &PressureTarget,
    text: &[u8],
    place: Place,
) -> io::Result<Arc<Trigger>> {
    let mut file = target.open()?;
    file.write_all(text)?;
    let id = shared.next.fetch_add(1, Ordering::Relaxed);
    let trigger = Arc::new(Trigger {
        id,
        fired: AtomicBool::new(false),
        gone: AtomicBool::new(false),
        wake: Mutex::default(),
        kernels: Some(Kernels {
            file,
            _place: place,
        }),
        shared: Arc::clone(shared),
    });
    lock(&shared.armed).insert(id, Arc::downgrade(&trigger));
    if let Some(kernels) = &trigger.kernels {
        let event = EpollEvent::new(EpollFlags::EPOLLPRI, id);
        shared.epoll.add(kernels.file.as_fd(), event)?;
    }
    Ok(trigger)
}

impl Trigger {
    /// What the trigger has to tell; that it fired it tells once. `wake` replaces the one given
    /// before.
    pub(super) fn poll(&self, wake: Option<Wake>) -> Readiness {
        if let Some(wake) = wake {
            *lock(&self.wake) = Some(WakeSlot(wake));
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
        if let Some(WakeSlot(wake)) = wake {
            wake();
        }
    }
}

impl Drop for Trigger {
    fn drop(&mut self) {
        lock(&self.shared.armed).remove(&self.id);
        if let Some(kernels) = self.kernels.take() {
            // The thread lives as long as the process.
            let _ = self.shared.ends.send(kernels);
        }
    }
}

/// Closes triggers, one after the other. The kernel holds a lock on other cgroup files meanwhile, so half of
/// the time is left to those.
fn end_for_ever(ended: &Receiver<Kernels>) {
    for kernels in ended {
        let begin = Instant::now();
        drop(kernels);
        thread::sleep(begin.elapsed());
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
                .get(&event.data())
                .and_then(Weak::upgrade);
            let Some(trigger) = trigger else {
                continue;
            };
            if event.events().contains(EpollFlags::EPOLLERR) {
                trigger.gone.store(true, Ordering::Release);
                if let Some(kernels) = &trigger.kernels {
                    // Closing the file does the same.
                    let _ = shared.epoll.delete(kernels.file.as_fd());
                }
            } else {
                trigger.fired.store(true, Ordering::Release);
            }
            trigger.wake();
        }
    }
}
