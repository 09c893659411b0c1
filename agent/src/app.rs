//! Puts the parts together.

mod node;
mod render;
mod run;
mod serve;

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use crate::args::{Cli, Command, Log, LogFormat};

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// With a text that names what is wrong and what helps.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Run(arguments) => run::run(arguments),
            Command::Check(arguments) => run::check(arguments),
            Command::Serve(arguments) => serve::serve(arguments),
            Command::Render(arguments) => render::render(arguments),
        }
    }
}

/// What ends an agent.
enum End {
    Signal(Signal),
    Unmounted(io::Result<()>),
}

/// Where all ends arrive.
struct Ends {
    sender: Sender<End>,
    receiver: Receiver<End>,
}

impl Ends {
    /// Waits for SIGTERM and SIGINT from now on. Before any other thread starts, so that only the
    /// thread that waits for them gets them.
    fn new() -> Result<Self> {
        let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
        signals.thread_block().context("cannot block signals")?;
        let (sender, receiver) = mpsc::channel();
        let signalled = sender.clone();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                if let Ok(signal) = signals.wait() {
                    // Nobody listens any more once the process is ending.
                    let _ = signalled.send(End::Signal(signal));
                }
            })?;
        Ok(Self { sender, receiver })
    }
}

/// Starts the log, which ends with what is returned. A thread of its own writes it: where nobody drains what
/// stderr leads to, lines are lost, and no reader waits.
fn start_log(log: &Log) -> WorkerGuard {
    /// Lines that may wait to be written.
    const MOST_WAITING: usize = 1024;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MOST_WAITING)
        .thread_name("log")
        .finish(io::stderr());
    let builder = tracing_subscriber::fmt()
        .with_max_level(log.level)
        .with_writer(writer)
        // A log that nobody reads any more must not end the agent: complaining goes to stderr too.
        .log_internal_errors(false)
        .with_target(false);
    match log.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic)));
    guard
}
