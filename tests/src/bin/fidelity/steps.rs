//! Counters never fall, whatever limits and load do.

use std::fmt::Write;
use std::fs::{self, File};
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use procview_tests::cgroup::{Group, Layout, Tree};
use procview_tests::facts;

use crate::containers;
use crate::counters::{self, Counters};
use crate::report::{Table, Verdict};
use crate::worker::Worker;

const FILES: [&str; 3] = ["proc/stat", "proc/uptime", "proc/diskstats"];
const READERS: usize = 4;
/// The readers go on for so long at least: the agent counts threads, and by that forks, every 5 s.
const LEAST: Duration = Duration::from_secs(15);
/// Quotas, in CPUs, and between them none.
const QUOTAS: [f64; 6] = [2.0, 0.7, 1.5, 0.3, 1.0, 1.9];

/// Reads one container's counters `reads` times, and for some time at least, while its limits change all the time.
pub(crate) fn measure(tree: &Tree, view: &Path, reads: u64) -> Result<Table> {
    let container = containers::container(tree, 4)?;
    let scratch = Scratch::find()?;
    if *container.layout() != Layout::V2 {
        // A v1 kernel counts I/O only while there is a rule.
        let rule = format!("{} 1000000000000", scratch.disk);
        container.write("blkio", "blkio.throttle.write_bps_device", &rule)?;
    }
    let mut load = Worker::start(&container)?;
    let mut reader = Worker::start(&container)?;
    load.ask(&format!("everything {}", scratch.dir.display()))?;

    let done = AtomicBool::new(false);
    let started = Instant::now();
    let order = format!("steps {} {reads} {READERS}", view.display());
    let (answer, changes, swings) = thread::scope(|scope| {
        let changes = scope.spawn(|| change_limits(&container, &done));
        let swings = scope.spawn(|| swing_load(&mut load, &done));
        let answer = reader.ask(&order);
        done.store(true, Ordering::Relaxed);
        let panicked = |_| anyhow::anyhow!("a thread panicked");
        let changes = changes.join().map_err(panicked)??;
        let swings = swings.join().map_err(panicked)??;
        anyhow::Ok((answer?, changes, swings))
    })?;
    let elapsed = started.elapsed().as_secs_f64();

    let mut table = Table::new(
        "Backward steps",
        &format!(
            "{READERS} threads in one container read the files, half of the time through an open file from its start, \
             while its quota and its cpuset changed {changes} times, its load {swings} times, and it wrote to a disk; \
             {elapsed:.0} s. A step back is a counter of any line below the highest value that any reader had read before \
             the read began, also after the line (a CPU, a device) was away for some time. `lines` is how many different \
             lines there were, `grew` whether each line's counters moved."
        ),
        &["File", "reads", "lines", "grew", "steps back"],
    );
    for line in answer.lines().filter(|line| !line.starts_with("! ")) {
        let cells: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let moved = cells.get(3).is_some_and(|grew| grew == "yes");
        let back = cells.last().is_none_or(|steps| steps != "0");
        table.row(cells, Verdict::of(moved && !back));
    }
    for example in answer.lines().filter_map(|line| line.strip_prefix("! ")) {
        table.say(&format!("STEP BACK: `{example}`."));
    }
    Ok(table)
}

fn change_limits(container: &Group, done: &AtomicBool) -> Result<u64> {
    let last = facts::cpus() - 1;
    let sets = [format!("0-{last}"), "0".to_owned(), last.to_string()];
    let mut changes = 0;
    for (turn, quota) in QUOTAS.iter().cycle().enumerate() {
        if done.load(Ordering::Relaxed) {
            break;
        }
        if turn % 7 == 0 {
            container.unlimited()?;
        } else {
            containers::set_quota(container, *quota)?;
        }
        changes += 1;
        if turn % 3 == 0 {
            container.write("cpuset", "cpuset.cpus", &sets[turn / 3 % sets.len()])?;
            changes += 1;
        }
        thread::sleep(Duration::from_millis(7));
    }
    container.unlimited()?;
    Ok(changes)
}

fn swing_load(load: &mut Worker, done: &AtomicBool) -> Result<u64> {
    let mut swings = 0;
    for (threads, percent) in [(3, 100), (0, 0), (2, 40)].into_iter().cycle() {
        if done.load(Ordering::Relaxed) {
            break;
        }
        load.load(threads, percent)?;
        swings += 1;
        thread::sleep(Duration::from_millis(400));
    }
    load.load(0, 0)?;
    Ok(swings)
}

/// A directory on a disk.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) dir: PathBuf,
    /// The disk's numbers.
    disk: String,
}

impl Scratch {
    /// The first of some usual places that is on a real disk.
    pub(crate) fn find() -> Result<Self> {
        for dir in ["/scratch", "/var/tmp", "/tmp", "."] {
            let Ok(metadata) = fs::metadata(dir) else {
                continue;
            };
            let (major, minor) = (
                libc::major(metadata.st_dev()),
                libc::minor(metadata.st_dev()),
            );
            let Ok(device) = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")) else {
                continue;
            };
            // v1 takes rules for whole disks only.
            let disk = match device.parent() {
                Some(disk) if device.join("partition").exists() => disk.join("dev"),
                _ => device.join("dev"),
            };
            return Ok(Self {
                dir: fs::canonicalize(dir)?,
                disk: fs::read_to_string(disk)?.trim().to_owned(),
            });
        }
        bail!("no directory on a disk to write to")
    }
}

/// The highest counters that some reader has read, of one file.
#[derive(Debug, Default)]
struct Seen {
    highest: Mutex<Arc<Counters>>,
    reads: AtomicU64,
    steps: AtomicU64,
}

impl Seen {
    fn highest(&self) -> std::sync::MutexGuard<'_, Arc<Counters>> {
        self.highest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The order `steps`: what the readers do, in the container.
pub(crate) fn read_in(view: &Path, reads: &str, threads: &str) -> Result<String> {
    let (reads, threads): (u64, u64) = (reads.parse()?, threads.parse()?);
    let seen: [Seen; FILES.len()] = Default::default();
    let first: Vec<Counters> = FILES
        .iter()
        .map(|file| Ok(counters::parse(file, &fs::read(view.join(file))?)))
        .collect::<Result<_>>()?;
    let examples = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| read_often(view, reads / threads, &seen, &examples)))
            .collect();
        readers.into_iter().try_for_each(|reader| {
            let panicked = |_| anyhow::anyhow!("a reader panicked");
            reader.join().map_err(panicked)?
        })
    })?;
    let mut answer = String::new();
    for ((file, seen), first) in FILES.iter().zip(&seen).zip(&first) {
        let highest = seen.highest();
        let grew = highest.grew_since(first);
        let _ = writeln!(
            answer,
            "{file} {} {} {} {}",
            seen.reads.load(Ordering::Relaxed),
            highest.lines(),
            if grew { "yes" } else { "no" },
            seen.steps.load(Ordering::Relaxed),
        );
    }
    for example in examples
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        let _ = writeln!(answer, "! {example}");
    }
    Ok(answer)
}

fn read_often(view: &Path, reads: u64, seen: &[Seen], examples: &Mutex<Vec<String>>) -> Result<()> {
    let paths = FILES.map(|file| view.join(file));
    let open: Vec<_> = paths.iter().map(File::open).collect::<Result<_, _>>()?;
    let mut buffer = vec![0; 64 << 10];
    let started = Instant::now();
    for number in 0.. {
        if number >= reads && started.elapsed() >= LEAST {
            break;
        }
        let which = number as usize % FILES.len();
        let before = Arc::clone(&seen[which].highest());
        let again = (number as usize / FILES.len()).is_multiple_of(2);
        let length = if again {
            open[which].read_at(&mut buffer, 0)
        } else {
            File::open(&paths[which]).and_then(|file| file.read_at(&mut buffer, 0))
        };
        let length = length.with_context(|| format!("cannot read {}", FILES[which]))?;
        let now = counters::parse(FILES[which], &buffer[..length]);
        seen[which].reads.fetch_add(1, Ordering::Relaxed);
        let mut steps = now.steps_back(&before);
        if !steps.is_empty() {
            seen[which]
                .steps
                .fetch_add(steps.len() as u64, Ordering::Relaxed);
            let mut examples = examples.lock().unwrap_or_else(PoisonError::into_inner);
            steps.truncate(5_usize.saturating_sub(examples.len()));
            examples.extend(steps.iter().map(|step| format!("{} {step}", FILES[which])));
        }
        let mut highest = seen[which].highest();
        *highest = Arc::new(highest.merged(now));
    }
    Ok(())
}
