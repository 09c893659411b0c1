//! Work on what may never answer.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What `work` gives in a thread of its own.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if that takes longer than `limit`: the thread stays behind until the
/// process ends. Or why there is no thread.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        // Nobody listens to one that is late.
        let _ = sender.send(work());
    })?;
    receiver
        .recv_timeout(limit)
        .map_err(|_| io::ErrorKind::TimedOut.into())
}
