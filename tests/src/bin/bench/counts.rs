//! System calls of a server for one read of a file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procview_tests::cgroup::Layout;

use crate::report::{Table, Verdict};
use crate::server::Server;
use crate::worker::{self, Workers};
use crate::{Bench, FILES};

/// Calls by name.
type Calls = BTreeMap<String, f64>;

/// At most so many a read, by cgroup version.
const MOST_V1: f64 = 24.0;
const MOST_V2: f64 = 18.0;
const MOST_LOADAVG: f64 = 12.0;

/// How long an idle server is watched.
const IDLE: Duration = Duration::from_secs(10);

/// Counts all files of both servers.
pub(crate) fn measure(bench: &mut Bench) -> Result<Table> {
    let mut table = Table::new(
        "System calls of the server for one read",
        "Counted by `strace -c` on the serving threads over many reads in a row, less those of an \
         idle server. Eight belong to FUSE: a read and a write for each of OPEN, READ, READ at the end, RELEASE. \
         Fractions are work that is done once in a while, such as reading host files anew.",
        &[
            "File",
            "procview",
            "lxcfs",
            "Ratio",
            "At most",
            "",
            "Calls of procview",
        ],
    );
    if Command::new("strace").arg("-V").output().is_err() {
        table.skip("there is no strace on this machine");
        return Ok(table);
    }
    let agent_idle = idle(&bench.agent)?;
    let lxcfs_idle = bench.lxcfs.as_ref().map(idle).transpose()?;
    for file in FILES {
        crate::go_on()?;
        let agent = count(
            &bench.agent,
            file,
            &mut bench.readers,
            bench.counted,
            &agent_idle,
        )?;
        let Some(agent) = agent else {
            table.row([file, "not there", "", "", "", "", ""], None);
            continue;
        };
        let lxcfs = match (&bench.lxcfs, &lxcfs_idle) {
            (Some(server), Some(idle)) => {
                count(server, file, &mut bench.readers, bench.counted, idle)?
            }
            _ => None,
        };
        let total = total(&agent);
        let others = lxcfs.as_ref().map(self::total);
        let most = match *file {
            "proc/loadavg" => MOST_LOADAVG,
            _ if *bench.tree.top().layout() != Layout::V2 => MOST_V1,
            _ => MOST_V2,
        };
        // What is not done for each read is a fraction and does not count against the target.
        let verdict = Verdict::of(total.round() <= most);
        table.row(
            [
                file,
                &format!("{total:.1}"),
                &others.map_or("-".to_owned(), |others| format!("{others:.1}")),
                &others.map_or("-".to_owned(), |others| format!("{:.1}", others / total)),
                &format!("{most}"),
                verdict.text(),
                &breakdown(&agent),
            ],
            Some(verdict),
        );
    }
    Ok(table)
}

fn total(calls: &Calls) -> f64 {
    calls.values().sum()
}

/// The calls, most frequent first, without those that round to nothing.
fn breakdown(calls: &Calls) -> String {
    let mut calls: Vec<_> = calls.iter().filter(|(_, count)| **count >= 0.05).collect();
    calls.sort_by(|left, right| right.1.total_cmp(left.1));
    let texts: Vec<_> = calls
        .iter()
        .map(|(name, count)| format!("{name} {count:.1}"))
        .collect();
    texts.join(", ")
}

/// Calls a second of a server that nobody asks.
fn idle(server: &Server) -> Result<Calls> {
    let (seconds, mut calls) = traced(server, || {
        thread::sleep(IDLE);
        Ok(())
    })?;
    calls.values_mut().for_each(|count| *count /= seconds);
    Ok(calls)
}

/// Calls for one read of `file`; `None` if the server does not have it.
fn count(
    server: &Server,
    file: &str,
    readers: &mut Workers,
    reads: u64,
    idle: &Calls,
) -> Result<Option<Calls>> {
    let path = server.mount().join(file);
    if !path.exists() {
        return Ok(None);
    }
    readers.ask(1, &worker::count(&path, 20))?;
    let (seconds, mut calls) = traced(server, || {
        readers.ask(1, &worker::count(&path, reads)).map(drop)
    })?;
    for (name, count) in &mut calls {
        let idle = idle.get(name).unwrap_or(&0.0) * seconds;
        *count = (*count - idle).max(0.0) / reads as f64;
    }
    Ok(Some(calls))
}

/// Counts the calls of `server` during `work`, and how long that took.
fn traced(server: &Server, work: impl FnOnce() -> Result<()>) -> Result<(f64, Calls)> {
    let scratch = tempfile::tempdir()?;
    let out = scratch.path().join("counts");
    let mut command = Command::new("strace");
    command
        .args(["-c", "-o"])
        .arg(&out)
        .args(server.traced()?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut strace = crate::spawn(&mut command)?;
    let stderr = strace.stderr.take().context("strace without a pipe")?;
    let mut line = String::new();
    let mut stderr = BufReader::new(stderr);
    stderr.read_line(&mut line)?;
    if !line.contains("attached") {
        let _ = strace.kill();
        let _ = strace.wait();
        bail!("strace: {}", line.trim_end());
    }
    // It says so before it has stopped the last thread.
    thread::sleep(Duration::from_secs(1));
    let start = Instant::now();
    let worked = work();
    let seconds = start.elapsed().as_secs_f64();
    let ended = kill(Pid::from_raw(i32::try_from(strace.id())?), Signal::SIGINT);
    strace.wait()?;
    worked?;
    ended.context("strace ended early")?;
    Ok((seconds, parse(&out)?))
}

/// The table of `strace -c`: share, seconds, usecs/call, calls, errors if any, name.
fn parse(path: &Path) -> Result<Calls> {
    let text = fs::read_to_string(path)?;
    let rows = text.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let name = words.last().filter(|name| **name != "total")?;
        let calls = words.get(3)?.parse().ok()?;
        Some(((*name).to_owned(), calls))
    });
    Ok(rows.collect())
}
