//! What a worker does inside of a container. Orders come as lines; an answer is `ok` or `error`, the
//! length of a text, and the text.

use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use procview_tests::cgroup::cpu_usage_at;

use crate::steps;

/// Threads that run until they are told to stop.
#[derive(Debug, Default)]
struct Threads {
    stop: Arc<AtomicBool>,
    running: Vec<JoinHandle<()>>,
}

/// Answers orders until there are no more.
pub(crate) fn serve() -> Result<()> {
    let started = Instant::now();
    let mut load = Threads::default();
    // Dropped with the process.
    let mut others = Threads::default();
    let mut output = std::io::stdout().lock();
    output.write_all(b"ok 0\n")?;
    output.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<_> = line.split(' ').collect();
        let answer = match words[..] {
            ["load", count, percent] => load.replace(count, percent),
            ["sleepers", count] => others.sleepers(count),
            ["everything", dir] => others.everything(dir),
            ["sample", stat, usage] => sample(started, stat, usage),
            ["read", path] => fs::read_to_string(path).context(line),
            ["list", dir] => list(Path::new(dir)),
            ["steps", view, reads, threads] => steps::read_in(Path::new(view), reads, threads),
            _ => bail!("no such order: {line}"),
        };
        let (result, text) = match answer {
            Ok(text) => ("ok", text),
            Err(error) => ("error", format!("{error:#}")),
        };
        write!(output, "{result} {}\n{text}", text.len())?;
        output.flush()?;
    }
    Ok(())
}

impl Threads {
    /// Starts a thread that calls `work` again and again.
    fn start(&mut self, mut work: impl FnMut() + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        self.running.push(thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                work();
            }
        }));
    }

    fn replace(&mut self, count: &str, percent: &str) -> Result<String> {
        let (count, percent): (u32, u32) = (count.parse()?, percent.parse()?);
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.running.drain(..) {
            if thread.join().is_err() {
                bail!("a busy thread panicked");
            }
        }
        self.stop = Arc::default();
        for _ in 0..count {
            self.start(move || duty(percent));
        }
        Ok(String::new())
    }

    fn sleepers(&mut self, count: &str) -> Result<String> {
        for _ in 0..count.parse::<u32>()? {
            self.start(|| thread::sleep(Duration::from_secs(3600)));
        }
        Ok(String::new())
    }

    /// Everything that makes a host's counters grow: CPU time, context switches, page faults,
    /// forks, and I/O on the disk that has `dir`.
    fn everything(&mut self, dir: &str) -> Result<String> {
        let file = PathBuf::from(dir).join(format!("procview-fidelity.{}", std::process::id()));
        fs::write(&file, "").with_context(|| format!("cannot write to {dir}"))?;
        self.start(|| duty(30));
        self.start(move || {
            // A full disk or a dead one shows up as a counter that does not move.
            let _ = disk_io(&file);
            thread::sleep(Duration::from_millis(2));
        });
        self.start(|| {
            let pages = vec![1_u8; 4 << 20];
            std::hint::black_box(&pages);
            let this = std::env::current_exe();
            let child =
                this.and_then(|this| std::process::Command::new(this).arg("--nothing").spawn());
            if let Ok(mut child) = child {
                let _ = child.wait();
            }
            thread::sleep(Duration::from_millis(10));
        });
        Ok(String::new())
    }
}

/// 20 ms of life, `percent` of it busy.
fn duty(percent: u32) {
    let period = Duration::from_millis(20);
    let busy = period * percent / 100;
    let started = Instant::now();
    while started.elapsed() < busy {
        std::hint::spin_loop();
    }
    if percent < 100 {
        thread::sleep(period - busy);
    }
}

fn disk_io(file: &Path) -> std::io::Result<()> {
    let mut out = fs::File::create(file)?;
    // Without a name nothing has to be cleaned up.
    fs::remove_file(file)?;
    out.write_all(&[1; 64 << 10])?;
    out.sync_all()
}

/// Reads the view between two readings of the kernel's counter, and takes the middle of those. A
/// reading that took long, since the container is at its limit, is tried again.
fn sample(started: Instant, stat: &str, usage: &str) -> Result<String> {
    const SHORT: Duration = Duration::from_millis(2);
    // No more: an idle container is to stay idle.
    const TRIES: usize = 10;
    let usage = Path::new(usage);
    let mut best: Option<(Duration, String)> = None;
    let begun = Instant::now();
    for _ in 0..TRIES {
        let (before, at) = (cpu_usage_at(usage)?, Instant::now());
        let text = fs::read_to_string(stat)?;
        let took = at.elapsed();
        let after = cpu_usage_at(usage)?;
        if best.as_ref().is_none_or(|(shortest, _)| took < *shortest) {
            let middle = (at + took / 2).duration_since(started).as_micros();
            let ticks = cpu_line(&text)?;
            let total: u64 = ticks.iter().sum();
            let idle = ticks.get(3).context("no idle time")?;
            let sample = format!("{middle} {} {total} {idle}", u64::midpoint(before, after));
            best = Some((took, sample));
        }
        if took < SHORT || begun.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    best.map(|(_, sample)| sample).context("no sample")
}

/// The numbers of the line `cpu` of `/proc/stat`.
fn cpu_line(stat: &str) -> Result<Vec<u64>> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
    let words = line.context("no line `cpu`")?.split_whitespace();
    Ok(words.map(str::parse).collect::<Result<_, _>>()?)
}

/// The files below `dir`, without following links.
fn list(dir: &Path) -> Result<String> {
    let mut text = String::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(dir) = pending.pop() {
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() {
                text.push_str(&entry.path().to_string_lossy());
                text.push('\n');
            }
        }
    }
    Ok(text)
}
