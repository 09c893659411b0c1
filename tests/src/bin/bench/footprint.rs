//! Memory, open files and the tick on a node with many containers.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use procview_tests::cgroup::{Group, Tree};

use crate::pods;
use crate::report::{Table, Verdict};
use crate::server::Server;
use crate::worker::{self, Workers};

/// Containers in which every file is read, and the most memory of the agent after that. Half of it is there from the
/// start, and most of that are pages of the program's own file, which the kernel reads 16 at a time: the client of the
/// API server, for Events, has added 2.4 MiB of them.
const READING: usize = 200;
const MOST_RSS_KIB: u64 = 10 << 10;

/// Containers that sleep, threads in each, and the most CPU time of a tick over them.
const SLEEPING: usize = 100;
const THREADS: usize = 50;
const MOST_TICK_MICROS: f64 = 1000.0;

const TICK: Duration = Duration::from_secs(5);

/// Measures a fresh agent each time, at `agent`, over `ticks` ticks.
pub(crate) fn measure(tree: &Tree, agent: &std::path::Path, ticks: u32) -> Result<Table> {
    let mut table = Table::new(
        "Memory and tick",
        "Open files are cgroup files that are kept open; they are closed when a container was not \
         read for five minutes. The tick counts every container's load once in five seconds.",
        &["What", "procview", "At most", ""],
    );
    memory(tree, agent, &mut table)?;
    tick(tree, agent, ticks, &mut table)?;
    Ok(table)
}

fn memory(tree: &Tree, agent: &std::path::Path, table: &mut Table) -> Result<()> {
    eprintln!("bench: memory with {READING} containers");
    let server = Server::agent(agent)?;
    let fresh = server.kib("status", "VmRSS:")?;
    table.row(
        ["RSS after the start, KiB", &fresh.to_string(), "", ""],
        None,
    );
    let containers: Vec<_> = (0..READING)
        .map(|index| start(tree, index, 1))
        .collect::<Result<_>>()?;
    let (_groups, mut workers): (Vec<_>, Vec<_>) = containers.into_iter().unzip();
    let mut reads = 0;
    for worker in &mut workers {
        let answers = worker.ask(1, &worker::walk(server.mount()))?;
        reads += answers.iter().map(|answer| answer.reads).sum::<u64>();
    }
    let rss = server.kib("status", "VmRSS:")?;
    let verdict = Verdict::of(rss <= MOST_RSS_KIB);
    let what = format!(
        "RSS after each of {READING} containers read all {} files, KiB",
        reads / READING as u64
    );
    let most = MOST_RSS_KIB.to_string();
    table.row(
        [&what, &rss.to_string(), &most, verdict.text()],
        Some(verdict),
    );
    let pss = server.kib("smaps_rollup", "Pss:")?;
    table.row(["PSS then, KiB", &pss.to_string(), "", ""], None);
    let open = server.open_files()?.to_string();
    table.row(["Open files then", &open, "", ""], None);
    drop(workers);
    tree.clear()
}

fn tick(tree: &Tree, agent: &std::path::Path, ticks: u32, table: &mut Table) -> Result<()> {
    eprintln!("bench: {ticks} ticks, without and with {SLEEPING} containers");
    let server = Server::agent(agent)?;
    let measure = || {
        // The first ticks find the containers and count their threads.
        thread::sleep(TICK * 2 + TICK / 2);
        let before = server.thread_cpu_nanos("count")?;
        for _ in 0..ticks {
            crate::go_on()?;
            thread::sleep(TICK);
        }
        let nanos = server.thread_cpu_nanos("count")? - before;
        anyhow::Ok(nanos as f64 / f64::from(ticks) / 1000.0)
    };
    let empty = measure()?;
    let sleeping = (0..SLEEPING)
        .map(|index| start(tree, index, THREADS))
        .collect::<Result<Vec<_>>>()?;
    let full = measure()?;
    let verdict = Verdict::of(full <= MOST_TICK_MICROS);
    let what = format!(
        "CPU time of a tick with {SLEEPING} idle containers and {} threads, us",
        SLEEPING * THREADS
    );
    let most = format!("{MOST_TICK_MICROS}");
    table.row(
        [&what, &format!("{full:.0}"), &most, verdict.text()],
        Some(verdict),
    );
    let what = "CPU time of a tick without them, us";
    table.row([what, &format!("{empty:.0}"), "", ""], None);
    drop(sleeping);
    tree.clear()
}

/// A container with one process.
fn start(tree: &Tree, index: usize, threads: usize) -> Result<(Group, Workers)> {
    // Number 0 is the readers' own.
    let container = pods::container(tree, index + 1)?;
    let workers = Workers::spawn(&container, 1, threads)?;
    Ok((container, workers))
}
