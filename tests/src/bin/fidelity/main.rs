//! How exact the view is: CPU usage, load averages, counters that never fall, nothing of the host.
//!
//! `fidelity [--quick] [--reads N] [--only SECTION] [--agent FILE] [--write FILE]`, as root. It needs nothing but the
//! agent, /dev/fuse and cgroups of either version. Ends with an error if something is out of bounds.

mod containers;
mod counters;
mod cpu;
mod inside;
mod leak;
mod load;
mod numbers;
mod report;
mod steps;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use procview_tests::agent::Agent;
use procview_tests::facts;

const HEAD: &str = "# Fidelity\n\nHow exact the view is. Measured by `tests/src/bin/fidelity`, which makes cgroups, \
    runs processes in them that read the view, and reads the kernel's own counters beside it.\n\n";

const SECTIONS: [&str; 4] = ["cpu", "load", "steps", "leak"];

/// The command line.
#[derive(Debug, Default)]
struct Arguments {
    quick: bool,
    reads: Option<u64>,
    only: Option<String>,
    agent: Option<PathBuf>,
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let result = match words.peek().map(String::as_str) {
        // A short life, to make forks.
        Some("--nothing") => return ExitCode::SUCCESS,
        Some(first) => worker::run(first).map(|result| result.map(|()| true)),
        None => None,
    };
    match result.unwrap_or_else(|| parse(words).and_then(run)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fidelity: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .with_context(|| format!("{word} needs a value"))
        };
        match word.as_str() {
            "--quick" => arguments.quick = true,
            "--reads" => arguments.reads = Some(value()?.parse().context("--reads")?),
            "--only" => arguments.only = Some(value()?),
            "--agent" => arguments.agent = Some(value()?.into()),
            "--write" => arguments.write = Some(value()?.into()),
            _ => bail!(
                "unknown argument {word}: [--quick] [--reads N] [--only {}] [--agent FILE] [--write FILE]",
                SECTIONS.join("|")
            ),
        }
    }
    if let Some(only) = &arguments.only
        && !SECTIONS.contains(&only.as_str())
    {
        bail!("no section {only}: there are {}", SECTIONS.join(", "));
    }
    Ok(arguments)
}

/// Measures, prints, and says whether all is within bounds.
fn run(arguments: Arguments) -> Result<bool> {
    let Arguments {
        quick,
        reads,
        only,
        agent,
        write,
    } = arguments;
    if !nix::unistd::geteuid().is_root() {
        bail!("run it as root: it makes cgroups and a mount");
    }
    let path = match agent {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("procview-agent"),
    };
    if !path.exists() {
        bail!(
            "no agent at {}: build it with `cargo build --release -p procview-agent`, or name it with --agent",
            path.display()
        );
    }
    // Dropped last: what still runs in the cgroups ends then.
    let tree = containers::tree()?;
    let mut agent = Agent::start_program(&path, &[])?;
    let mut command = "cargo run --release -p procview-tests --bin fidelity".to_owned();
    match (quick, reads) {
        (false, None) => {}
        (true, None) => command.push_str(" -- --quick"),
        (false, Some(reads)) => command.push_str(&format!(" -- --reads {reads}")),
        (true, Some(reads)) => command.push_str(&format!(" -- --quick --reads {reads}")),
    }
    let reads = reads.unwrap_or(if quick { 100_000 } else { 1_000_000 });
    let mut text = format!("{HEAD}{}", facts::table(&facts::facts(&path, &command)?));
    let mut failed = 0;
    for section in SECTIONS {
        if only.as_ref().is_some_and(|only| only != section) {
            continue;
        }
        eprintln!("fidelity: {section}");
        let view = &agent.view();
        let table = match section {
            "cpu" => cpu::measure(&tree, view, quick),
            "load" => load::measure(&tree, view, quick),
            "steps" => steps::measure(&tree, view, reads),
            _ => leak::measure(&tree, view),
        };
        // A dead agent explains all else.
        agent.check()?;
        let table = table.with_context(|| format!("cannot measure {section}"))?;
        failed += table.failed();
        text.push('\n');
        text.push_str(&table.markdown());
    }
    println!("{text}");
    if let Some(path) = write {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if failed > 0 {
        eprintln!("fidelity: {failed} of the values are out of bounds");
    }
    Ok(failed == 0)
}
