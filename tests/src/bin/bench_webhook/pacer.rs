//! Says when reviews are due. The runtime's timer counts in milliseconds, which is as long as an
//! answer takes, so that a thread sleeps instead.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::prctl::set_timerslack;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Gives the time at which each of `total` reviews was due, at that time, `rate` of them a second.
/// One that is told late was still due when it was.
pub(crate) fn pace(rate: u32, total: usize) -> Result<UnboundedReceiver<Instant>> {
    let (due, told) = unbounded_channel();
    let interval = Duration::from_secs(1) / rate;
    thread::Builder::new()
        .name("pacer".to_owned())
        .spawn(move || {
            // Else it would wake 50 us late; a kernel that refuses is late for both servers.
            let _ = set_timerslack(1);
            let mut next = Instant::now();
            for _ in 0..total {
                thread::sleep(next.saturating_duration_since(Instant::now()));
                if due.send(next).is_err() {
                    return;
                }
                next += interval;
            }
        })?;
    Ok(told)
}
