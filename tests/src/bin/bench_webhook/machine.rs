//! What the results were measured on, and with what.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use procview_tests::webhook::review::{Review, Size};

use crate::load::CONNECTIONS;
use crate::rounds::{Plan, RATE};

/// The head of the report.
pub(crate) fn describe(ours: &Path, peer: Option<&Path>, plan: &Plan, command: &str) -> String {
    let sizes = Size::ALL.map(|size| Review::new(size, 0).body().len());
    let mut text = format!(
        "# Benchmark of the webhook\n\
         Measured by `tests/src/bin/bench_webhook`: {RATE} reviews a second over {CONNECTIONS} \
         kept TLS connections, of three pods in turn (bodies of {sizes:?} bytes), from a client \
         on the same CPUs. Each is sent when it is due, whether or not earlier ones are answered, \
         and its time counts from then. Every answer is checked. {} rounds of {} s each, servers \
         in turn; percentiles are medians of the rounds.\n\n| | |\n| --- | --- |\n",
        plan.rounds,
        plan.paced.as_secs(),
    );
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').nth(2).unwrap_or("unknown");
    for (what, value) in [
        ("Date", output("date", &["-u", "+%Y-%m-%d"])),
        ("Command", format!("`{command}`")),
        ("Machine", format!("{} CPUs ({model})", cpus.count())),
        ("Load in the 15 minutes before the end", load.to_owned()),
        ("Kernel", kernel.trim().to_owned()),
        ("procview", output(ours, &["--version"])),
        ("peer", peer.map_or("none".to_owned(), version)),
    ] {
        let _ = writeln!(text, "| {what} | {value} |");
    }
    text.push('\n');
    text
}

/// The peer has no option for it, but Go writes it into each program.
fn version(peer: &Path) -> String {
    let text = output("go", &["version".as_ref(), "-m".as_ref(), peer.as_os_str()]);
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

fn output(program: impl AsRef<OsStr>, arguments: &[impl AsRef<OsStr>]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().trim().to_owned()
}
