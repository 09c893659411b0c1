//! Compares the agent with lxcfs and with procfs itself: system calls, CPU time, reads a second,
//! memory, the tick.
//!
//! Counts and CPU time mean the same on any machine; reads a second do not. All sources are
//! measured in turn within one run, so that their ratios hold on a busy machine, too.

mod counts;
mod footprint;
mod load;
mod pods;
mod report;
mod server;
mod worker;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use procview_tests::cgroup::Tree;
use procview_tests::facts::{self, output};

use load::Load;
use report::Table;
use server::Server;
use worker::Workers;

/// The files, by their path below a mount.
const FILES: &[&str] = &[
    "proc/meminfo",
    "proc/stat",
    "proc/cpuinfo",
    "proc/uptime",
    "proc/loadavg",
    "proc/diskstats",
    "proc/swaps",
    "proc/vmstat",
    "proc/slabinfo",
    "proc/pressure/cpu",
    "sys/devices/system/cpu/online",
];

const MOST_READERS: usize = 16;

const HEAD: &str = "# Benchmarks\n\
    Measured by `tests/src/bin/bench`: procview, lxcfs and the kernel's own files read in turn from \
    one container, five cgroup levels deep, with memory limits on three levels and CPU quotas on \
    two. A read is open, read to the end with a 64 KiB buffer, close.\n\n";

const USAGE: &str = "\
Usage: bench [--quick] [--counts-only] [--footprint-only] [--only FILE]... [--check] [--write FILE] [--agent PATH]
  --quick        fewer rounds and reads
  --counts-only  system calls only; works in a small guest
  --footprint-only  memory and the tick only
  --only FILE    CPU time and reads a second of this file only, such as proc/stat
  --check        fail if a target on counts, CPU time, memory or the tick is missed
  --write FILE   write the tables to FILE as well
  --agent PATH   the agent; by default the one beside this program
Run as root.";

/// Set by SIGINT and SIGTERM: the parts end between two steps, and everything is cleaned up.
static STOPPED: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Default)]
struct Options {
    quick: bool,
    counts_only: bool,
    footprint_only: bool,
    only: Vec<&'static str>,
    check: bool,
    write: Option<PathBuf>,
    agent: Option<PathBuf>,
}

/// What the parts measure with. Fields are dropped in this order.
#[derive(Debug)]
struct Bench {
    readers: Workers,
    agent: Server,
    lxcfs: Option<Server>,
    /// Reads a count is taken over.
    counted: u64,
    tree: Tree,
}

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if std::env::args().nth(1).as_deref() == Some(worker::MODE) {
        let threads = arguments.nth(1).context("a number of threads")?;
        worker::run(threads.parse()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(options) = parse(arguments)? else {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    if !nix::unistd::geteuid().is_root() {
        bail!("run as root: the measurements take cgroups and mounts");
    }
    stop_on_signals()?;
    let agent = match &options.agent {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("procview-agent"),
    };
    if !agent.exists() {
        bail!(
            "no agent at {}: build it with `cargo build --release -p procview-agent`, or name it with --agent",
            agent.display()
        );
    }
    let tables = run(&options, &agent)?;
    let mut facts = facts::facts(&agent, &command(&options))?;
    facts.push(("lxcfs", output("lxcfs", &["--version"])));
    // The version of the library that lxcfs is linked with.
    let fuse = output("dpkg-query", &["-W", "-f", "${Version}", "libfuse3-3"]);
    facts.push(("libfuse", fuse));
    let mut text = format!("{HEAD}{}", facts::table(&facts));
    for table in &tables {
        text.push('\n');
        text.push_str(&table.markdown());
    }
    println!("{text}");
    if let Some(path) = &options.write {
        std::fs::write(path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let complaints: Vec<_> = tables.iter().flat_map(Table::complaints).collect();
    for complaint in &complaints {
        eprintln!("bench: target missed: {complaint}");
    }
    Ok(if options.check && !complaints.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The options; `None` if help was asked for.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--counts-only" => options.counts_only = true,
            "--footprint-only" => options.footprint_only = true,
            "--only" => {
                let wanted = arguments.next().context(USAGE)?;
                let known = FILES.iter().find(|file| **file == wanted);
                options
                    .only
                    .push(known.with_context(|| format!("no file {wanted} to measure"))?);
            }
            "--check" => options.check = true,
            "--write" => options.write = Some(arguments.next().context(USAGE)?.into()),
            "--agent" => options.agent = Some(arguments.next().context(USAGE)?.into()),
            "-h" | "--help" => return Ok(None),
            _ => bail!("unknown option {argument}\n{USAGE}"),
        }
    }
    Ok(Some(options))
}

/// The command that gave these results. Paths are of this machine and left out.
fn command(options: &Options) -> String {
    let mut command = "cargo run --release -p procview-tests --bin bench --".to_owned();
    for (given, option) in [
        (options.quick, " --quick"),
        (options.counts_only, " --counts-only"),
        (options.footprint_only, " --footprint-only"),
        (options.write.is_some(), " --write docs/benchmarks.md"),
    ] {
        if given {
            command.push_str(option);
        }
    }
    for file in &options.only {
        command.push_str(" --only ");
        command.push_str(file);
    }
    command
}

fn stopping() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM].into_iter().collect()
}

fn stop_on_signals() -> Result<()> {
    let signals = stopping();
    signals.thread_block()?;
    std::thread::spawn(move || {
        // The servers get the terminal's signal, too, and the step under way fails.
        if signals.wait().is_ok() {
            STOPPED.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// Starts `command`, which would inherit the blocked signals and then not end by them.
fn spawn(command: &mut Command) -> Result<Child> {
    let signals = stopping();
    signals.thread_unblock()?;
    let child = command.spawn();
    signals.thread_block()?;
    child.with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// To be called between two steps.
fn go_on() -> Result<()> {
    if STOPPED.load(Ordering::Relaxed) {
        bail!("stopped by a signal");
    }
    Ok(())
}

fn run(options: &Options, agent: &Path) -> Result<Vec<Table>> {
    let tree = pods::tree()?;
    let ticks = if options.quick { 3 } else { 12 };
    if options.footprint_only {
        return Ok(vec![footprint::measure(&tree, agent, ticks)?]);
    }
    let container = pods::container(&tree, 0)?;
    let readers = Workers::spawn(&container, MOST_READERS, 1)?;
    let mut bench = Bench {
        readers,
        agent: Server::agent(agent)?,
        lxcfs: has_lxcfs().then(Server::lxcfs).transpose()?,
        counted: if options.quick { 200 } else { 1000 },
        tree,
    };
    let (rounds, time) = if options.quick { (3, 100) } else { (7, 300) };
    let time = Duration::from_millis(time);
    if !options.only.is_empty() {
        let load = Load::measure(&mut bench, &options.only, rounds, time)?;
        return Ok(vec![load.cpu_table(), load.reads_table()]);
    }
    eprintln!("bench: system calls");
    let mut tables = vec![counts::measure(&mut bench)?];
    go_on()?;
    if options.counts_only {
        return Ok(tables);
    }
    let load = Load::measure(&mut bench, FILES, rounds, time)?;
    tables.extend([load.cpu_table(), load.reads_table()]);
    // Nothing of it may be left when the memory of a fresh agent is measured.
    let Bench {
        readers,
        agent: server,
        lxcfs,
        tree,
        ..
    } = bench;
    drop((readers, server, lxcfs));
    tree.clear()?;
    tables.push(footprint::measure(&tree, agent, ticks)?);
    Ok(tables)
}

/// Without lxcfs there is nothing to compare with; what is missing is said in the tables.
fn has_lxcfs() -> bool {
    let found = Command::new("lxcfs").arg("--version").output().is_ok();
    if !found {
        eprintln!("bench: SKIPPED: no lxcfs on this machine, nothing to compare with");
    }
    found
}
