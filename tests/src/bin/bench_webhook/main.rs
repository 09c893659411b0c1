//! Compares the webhook with another one at a fixed rate of reviews over TLS: how long answers
//! take, CPU time a review, memory, start; and how many reviews it answers at most.
//!
//! ```text
//! options  -> network (one of our own) -> server, server        the webhooks
//!                                           load   reviews posted at a rate, or one after another
//!                                           rounds interleaved; report: tables and targets
//! ```

mod load;
mod machine;
mod network;
mod pacer;
mod report;
mod rounds;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use report::Report;
use rounds::Plan;

const USAGE: &str = "\
Usage: bench_webhook [--quick] [--check] [--write FILE] [--peer PROGRAM]
  --quick         fewer and shorter rounds
  --check         fail if a target is missed; without --peer those beside it are left out
  --write FILE    write the tables to FILE as well
  --peer PROGRAM  a build of github.com/kubeservice-stack/lxcfs-webhook to compare with
The webhook is PROCVIEW_WEBHOOK, or else the one beside this program.";

#[derive(Debug, Default)]
struct Options {
    quick: bool,
    check: bool,
    write: Option<PathBuf>,
    peer: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let Some(options) = parse(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    network::enter_own()?;
    let ours = procview_tests::webhook::program()?;
    let plan = if options.quick {
        Plan {
            rounds: 2,
            paced: Duration::from_secs(4),
            flat_out: Duration::from_secs(1),
            starts: 3,
        }
    } else {
        Plan {
            rounds: 5,
            paced: Duration::from_secs(10),
            flat_out: Duration::from_secs(3),
            starts: 9,
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let results = runtime.block_on(plan.run(&ours, options.peer.as_deref()))?;
    let report = Report::new(&results);
    let mut text = machine::describe(&ours, options.peer.as_deref(), &plan, &command(&options))?;
    text.push_str(report.text());
    println!("{text}");
    if let Some(path) = &options.write {
        std::fs::write(path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for missed in report.missed() {
        eprintln!("bench_webhook: target missed: {missed}");
    }
    if options.peer.is_none() {
        eprintln!("bench_webhook: SKIPPED: no --peer, targets beside it are not checked");
    }
    let failed = options.check && !report.missed().is_empty();
    Ok(if failed {
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
            "--check" => options.check = true,
            "--write" => options.write = Some(arguments.next().context(USAGE)?.into()),
            "--peer" => options.peer = Some(arguments.next().context(USAGE)?.into()),
            "-h" | "--help" => return Ok(None),
            _ => bail!("unknown option {argument}\n{USAGE}"),
        }
    }
    Ok(Some(options))
}

/// The command that gave these results. Paths are of this machine and left out.
fn command(options: &Options) -> String {
    let mut command = "cargo run --release -p procview-tests --bin bench_webhook --".to_owned();
    for (given, option) in [
        (options.quick, " --quick"),
        (options.check, " --check"),
        (options.peer.is_some(), " --peer lxcfs-webhook"),
        (
            options.write.is_some(),
            " --write docs/benchmarks-webhook.md",
        ),
    ] {
        if given {
            command.push_str(option);
        }
    }
    command
}
