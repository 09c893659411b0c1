//! What the results were measured on, and with what.

use std::path::Path;

use anyhow::Result;
use procview_tests::facts::{self, output};
use procview_tests::machine::read;
use procview_tests::webhook::review::{Review, Size};

use crate::load::CONNECTIONS;
use crate::rounds::{Plan, RATE};

/// The head of the report.
pub(crate) fn describe(
    ours: &Path,
    peer: Option<&Path>,
    plan: &Plan,
    command: &str,
) -> Result<String> {
    let sizes = Size::ALL.map(|size| Review::new(size, 0).body().len());
    let mut text = format!(
        "# Benchmark of the webhook\n\
         Measured by `tests/src/bin/bench_webhook`: {RATE} reviews a second over {CONNECTIONS} \
         kept TLS connections, of three pods in turn (bodies of {sizes:?} bytes), from a client \
         on the same CPUs. Each is sent when it is due, whether or not earlier ones are answered, \
         and its time counts from then. Every answer is checked. {} rounds of {} s each, servers \
         in turn; percentiles are medians of the rounds.\n\n",
        plan.rounds,
        plan.paced.as_secs(),
    );
    let load = read("/proc/loadavg")?;
    let load = load.split(' ').nth(2).unwrap_or("unknown");
    let mut facts = facts::facts(ours, command)?;
    facts.push(("Load in the 15 minutes before the end", load.to_owned()));
    facts.push(("peer", peer.map_or("none".to_owned(), version)));
    text.push_str(&facts::table(&facts));
    text.push('\n');
    Ok(text)
}

/// The peer has no option for it, but Go writes it into each program.
fn version(peer: &Path) -> String {
    let text = output("go", &["version", "-m", &peer.to_string_lossy()]);
    let word = |line: &str, number: usize| line.split_whitespace().nth(number).map(str::to_owned);
    let go = text.lines().next().and_then(|line| word(line, 1));
    let module = text.lines().find(|line| line.trim().starts_with("mod"));
    let module = module.map(|line| {
        let name = word(line, 1).unwrap_or_default();
        format!("{name} {}", word(line, 2).unwrap_or_default())
    });
    format!(
        "{}, {}",
        module.unwrap_or_else(|| "unknown".to_owned()),
        go.unwrap_or_else(|| "Go unknown".to_owned())
    )
}
