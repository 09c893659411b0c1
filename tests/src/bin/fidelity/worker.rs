//! Processes of this program inside of a container; see `inside` for what they can be asked for.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use procview_tests::cgroup::Group;

use crate::inside;

/// The arguments by which this program knows that it is a worker.
pub(crate) const OUTSIDE: &str = "--worker";
const INSIDE: &str = "--worker-inside";

/// A worker. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// CPU time as the view and as the kernel tell it at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Microseconds; only differences mean something.
    pub(crate) at: u64,
    /// What the cgroup used, microseconds.
    pub(crate) used: u64,
    /// The sum of the view's `cpu` line, and its idle time, in ticks of 10 ms.
    pub(crate) total: u64,
    pub(crate) idle: u64,
}

impl Worker {
    /// Starts a worker in `container`, the first process of its own pid namespace.
    pub(crate) fn start(container: &Group) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(OUTSIDE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().context("no pipe")?;
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut worker = Self {
            child,
            orders,
            answers,
        };
        container.add(worker.child.id())?;
        worker.ask("start")?;
        Ok(worker)
    }

    /// Asks for `order` and waits for the answer.
    pub(crate) fn ask(&mut self, order: &str) -> Result<String> {
        self.order(order)?;
        self.answer(order)
    }

    /// Asks for `order`; [`answer`](Self::answer) has to follow.
    pub(crate) fn order(&mut self, order: &str) -> Result<()> {
        writeln!(self.orders, "{order}")?;
        Ok(self.orders.flush()?)
    }

    /// The answer to `order`.
    pub(crate) fn answer(&mut self, order: &str) -> Result<String> {
        let mut head = String::new();
        self.answers.read_line(&mut head)?;
        let (result, length) = head
            .trim()
            .split_once(' ')
            .with_context(|| format!("the worker died of `{order}`"))?;
        let mut body = vec![0; length.parse()?];
        self.answers.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        match result {
            "ok" => Ok(body),
            _ => bail!("`{order}` in the container: {body}"),
        }
    }

    /// The text of a file as this process sees it.
    pub(crate) fn read(&mut self, path: &Path) -> Result<String> {
        self.ask(&format!("read {}", path.display()))
    }

    /// Keeps `threads` threads busy for `percent` of the time, instead of those before.
    pub(crate) fn load(&mut self, threads: u32, percent: u32) -> Result<()> {
        self.ask(&format!("load {threads} {percent}")).map(drop)
    }

    /// Reads the view's `stat` and `usage` together.
    pub(crate) fn sample(&mut self, stat: &Path, usage: &Path) -> Result<Sample> {
        let order = format!("sample {} {}", stat.display(), usage.display());
        let answer = self.ask(&order)?;
        let numbers: Vec<u64> = answer.split(' ').flat_map(str::parse).collect();
        match numbers[..] {
            [at, used, total, idle] => Ok(Sample {
                at,
                used,
                total,
                idle,
            }),
            _ => bail!("`{order}` gave {answer}"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both processes end by themselves when the pipe closes, but for one that is stuck.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a worker if the arguments ask for one.
pub(crate) fn run(argument: &str) -> Option<Result<()>> {
    match argument {
        OUTSIDE => Some(outside()),
        INSIDE => Some(inside::serve()),
        _ => None,
    }
}

/// Waits to be put into the container, then starts the process that does the work.
fn outside() -> Result<()> {
    // No buffer: what follows is for the other process.
    let mut byte = [0];
    while byte != *b"\n" {
        std::io::stdin().lock().read_exact(&mut byte)?;
    }
    unshare(CloneFlags::CLONE_NEWPID).context("cannot make a pid namespace")?;
    let mut child = Command::new(std::env::current_exe()?).arg(INSIDE).spawn()?;
    child.wait()?;
    Ok(())
}
