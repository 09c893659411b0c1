//! Load averages: the view's against the kernel's arithmetic, and against the kernel's own.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use procview_tests::cgroup::Tree;

use crate::containers;
use crate::report::{Table, Verdict};
use crate::worker::Worker;

const BUSY: u32 = 4;
const SLEEPING: u32 = 8;
/// How far apart the load averages may be, in percent.
const MOST: f64 = 10.0;
/// With more of a CPU used by others the host's load average is not the container's.
const QUIET: f64 = 0.1;

/// Runs busy and sleeping threads in one container, nothing in another, and compares.
pub(crate) fn measure(tree: &Tree, view: &Path, quick: bool) -> Result<Table> {
    let mut table = Table::new(
        "Load average",
        &format!(
            "One-minute load of a container without a CPU quota in which {BUSY} busy and {SLEEPING} sleeping threads run. \
             `arithmetic` is {BUSY} * (1 - (1884/2048)^(t/5 s)), what the kernel's formula gives for that many runnable \
             threads; `host` is the host's own load average without what was left of its value from before. At most \
             {MOST} % apart. The steps of 5 s of agent, kernel and formula begin at different moments; half a step is up \
             to 4 %. A container with a quota cannot be compared with the host's: the kernel does not count throttled \
             threads, the view does, since they want to run.",
        ),
        &["After", "Compared with", "shown", "expected", "apart"],
    );
    let container = containers::container(tree, 2)?;
    let mut worker = Worker::start(&container)?;
    let mut idle = Worker::start(&containers::container(tree, 3)?)?;
    // So that the agent, which looks every 5 s, knows both.
    thread::sleep(Duration::from_secs(6));
    let path = view.join("proc/loadavg");

    let host_before = one_minute(&fs::read_to_string("/proc/loadavg")?)?;
    let (others_before, started) = (
        host_busy()? - seconds(container.cpu_usage()?),
        Instant::now(),
    );
    worker.ask(&format!("sleepers {SLEEPING}"))?;
    worker.load(BUSY, 100)?;
    for after in if quick { &[60][..] } else { &[30, 60, 90] } {
        thread::sleep(Duration::from_secs(*after).saturating_sub(started.elapsed()));
        let text = worker.read(&path)?;
        let host = one_minute(&fs::read_to_string("/proc/loadavg")?)?;
        let elapsed = started.elapsed().as_secs_f64();
        // Below 0 by errors of a kernel that counts the host's time by samples.
        let others = (host_busy()? - seconds(container.cpu_usage()?) - others_before) / elapsed;
        let others = others.max(0.0);
        let left = (1884.0_f64 / 2048.0).powf(elapsed / 5.0);
        let mut compare = |with: String, expected: f64, judged: bool| -> Result<()> {
            let shown = one_minute(&text)?;
            let apart = 100.0 * (shown - expected).abs() / expected;
            table.row(
                vec![
                    format!("{elapsed:.0} s"),
                    with,
                    format!("{shown:.2}"),
                    format!("{expected:.2}"),
                    format!("{apart:.1} %"),
                ],
                if judged {
                    Verdict::of(apart <= MOST)
                } else {
                    Verdict::NotJudged
                },
            );
            Ok(())
        };
        compare(
            "arithmetic".to_owned(),
            f64::from(BUSY) * (1.0 - left),
            true,
        )?;
        let quiet = others < QUIET;
        let with = format!("host (others used {others:.2} CPUs)");
        compare(with, host - host_before * left, quiet)?;
        threads(&mut table, &text, elapsed)?;
    }
    let text = idle.read(&path)?;
    let shown = one_minute(&text)?;
    table.row(
        vec![
            "-".to_owned(),
            "nothing: an idle container beside it".to_owned(),
            format!("{shown:.2}"),
            "0.00".to_owned(),
            String::new(),
        ],
        Verdict::of(shown < 0.1),
    );
    Ok(table)
}

/// The field with the number of runnable and of all threads.
fn threads(table: &mut Table, loadavg: &str, elapsed: f64) -> Result<()> {
    let shown = loadavg.split(' ').nth(3).context("no fourth field")?;
    // Those that work, and the two that start and steer them; one of these may run just now.
    let all = BUSY + SLEEPING + 2;
    let good = [BUSY, BUSY + 1].map(|running| format!("{running}/{all}"));
    table.row(
        vec![
            format!("{elapsed:.0} s"),
            "runnable/all threads".to_owned(),
            shown.to_owned(),
            good[0].clone(),
            String::new(),
        ],
        Verdict::of(good.iter().any(|good| good == shown)),
    );
    Ok(())
}

fn one_minute(loadavg: &str) -> Result<f64> {
    let first = loadavg.split(' ').next().unwrap_or_default();
    first
        .parse()
        .with_context(|| format!("no load in {loadavg}"))
}

/// CPU time in which the host was not idle, in seconds.
fn host_busy() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().flat_map(str::parse).collect();
    // Without idle and iowait; guest time is in user time already.
    let busy = ticks.iter().take(8).enumerate();
    let busy = busy.filter(|(field, _)| !matches!(field, 3 | 4));
    Ok(busy.map(|(_, ticks)| ticks).sum::<f64>() / 100.0)
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
