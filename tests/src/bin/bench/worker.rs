//! Processes in a container: this program again, told what to read over a pipe.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};
use procview_tests::cgroup::Group;

/// The first argument of a worker.
pub(crate) const MODE: &str = "--worker";

/// What a worker did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answer {
    /// Files read from open to close.
    pub(crate) reads: u64,
    /// Wall time.
    pub(crate) nanos: u64,
    /// CPU time of the reader.
    pub(crate) cpu_nanos: u64,
}

/// A process in a container. It ends when its pipe is closed, so also when this program is killed.
#[derive(Debug)]
struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The processes of one container, its process 1 first.
#[derive(Debug, Default)]
pub(crate) struct Workers(Vec<Worker>);

impl Workers {
    /// Starts `count` processes in `container`, in a pid namespace of their own as a runtime
    /// makes it, each with `threads` sleeping threads.
    pub(crate) fn spawn(container: &Group, count: usize, threads: usize) -> Result<Self> {
        let spawn = || {
            // Holds for children of this thread alone.
            unshare(CloneFlags::CLONE_NEWPID).context("cannot make a pid namespace")?;
            let mut workers = Self::default();
            for _ in 0..count {
                workers.0.push(Worker::spawn(container, threads)?);
            }
            Ok(workers)
        };
        thread::scope(|scope| scope.spawn(spawn).join())
            .map_err(|_| anyhow!("the thread that starts workers panicked"))?
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Has the first `count` of them do `command`, all at once, and waits for the answers.
    pub(crate) fn ask(&mut self, count: usize, command: &str) -> Result<Vec<Answer>> {
        let workers = &mut self.0[..count];
        for worker in workers.iter_mut() {
            worker.send(command)?;
        }
        workers.iter_mut().map(Worker::answer).collect()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Process 1 of a pid namespace ends when all others were waited for.
        while let Some(worker) = self.0.pop() {
            drop(worker);
        }
    }
}

impl Worker {
    fn spawn(container: &Group, threads: usize) -> Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command
            .args([MODE, &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = crate::spawn(&mut command)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.context("a worker without a pipe")?;
        let mut worker = Self {
            child,
            input,
            output: BufReader::new(output),
        };
        container.add(worker.child.id())?;
        // It answers when its threads run.
        worker.send("ready")?;
        worker.answer()?;
        Ok(worker)
    }

    fn send(&mut self, command: &str) -> Result<()> {
        let input = self.input.as_mut().context("the worker has ended")?;
        writeln!(input, "{command}").context("a worker died")
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(reads)), Some(Ok(nanos)), Some(Ok(cpu_nanos))) => Ok(Answer {
                reads,
                nanos,
                cpu_nanos,
            }),
            _ if line.is_empty() => bail!("a worker died"),
            _ => bail!("a worker: {}", line.trim_end()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.input.take());
        // It may hang in a read that is never answered.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads `path` `count` times.
pub(crate) fn count(path: &Path, count: u64) -> String {
    format!("count {count} {}", path.display())
}

/// Reads `path` again and again for `time`.
pub(crate) fn during(path: &Path, time: Duration) -> String {
    format!("time {} {}", time.as_millis(), path.display())
}

/// Reads every file below `dir`.
pub(crate) fn walk(dir: &Path) -> String {
    format!("walk 0 {}", dir.display())
}

/// What a worker runs.
pub(crate) fn run(threads: usize) -> Result<()> {
    for _ in 0..threads.saturating_sub(1) {
        thread::Builder::new().stack_size(64 << 10).spawn(|| {
            loop {
                thread::park();
            }
        })?;
    }
    let mut buffer = vec![0; 64 << 10];
    for line in std::io::stdin().lines() {
        let line = line?;
        let (start, cpu_start) = (Instant::now(), cpu_nanos());
        match obey(&line, &mut buffer) {
            Ok(reads) => {
                let (nanos, cpu_nanos) = (start.elapsed().as_nanos(), cpu_nanos() - cpu_start);
                println!("{reads} {nanos} {cpu_nanos}");
            }
            Err(error) => println!("{error:#}"),
        }
    }
    Ok(())
}

fn obey(line: &str, buffer: &mut [u8]) -> Result<u64> {
    let mut words = line.splitn(3, ' ');
    let command = words.next().unwrap_or_default();
    let number = words.next().unwrap_or_default().parse().unwrap_or(0);
    let path = Path::new(words.next().unwrap_or_default());
    match command {
        "ready" => Ok(0),
        "count" => {
            for _ in 0..number {
                read(path, buffer)?;
            }
            Ok(number)
        }
        "time" => {
            let deadline = Instant::now() + Duration::from_millis(number);
            let mut reads = 0;
            while Instant::now() < deadline {
                read(path, buffer)?;
                reads += 1;
            }
            Ok(reads)
        }
        "walk" => read_below(path, buffer),
        _ => bail!("no command {command}"),
    }
}

/// Open, read to the end, close. Empty is fine: a container without I/O has no diskstats.
fn read(path: &Path, buffer: &mut [u8]) -> Result<()> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(failed)?;
    while file.read(buffer).with_context(failed)? > 0 {}
    Ok(())
}

fn read_below(dir: &Path, buffer: &mut [u8]) -> Result<u64> {
    let mut reads = 0;
    for entry in fs::read_dir(dir)?.flatten() {
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            reads += read_below(&path, buffer)?;
        } else if kind.is_file() {
            // Some of sysfs' files are empty, or not for reading.
            reads += u64::from(read(&path, buffer).is_ok());
        }
    }
    Ok(reads)
}

fn cpu_nanos() -> u64 {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
    })
}
