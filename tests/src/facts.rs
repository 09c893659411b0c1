//! What a measurement was made on: the head of a report.

use std::fmt::Write as _;
use std::process::Command;
use std::{ffi::OsStr, path::Path};

use anyhow::{Context, Result};

use crate::cgroup::Layout;
use crate::machine::read;

/// Name and value.
pub type Fact = (&'static str, String);

/// When, by which command, on what, and with which agent.
///
/// # Errors
/// If the machine does not tell.
pub fn facts(agent: &Path, command: &str) -> Result<Vec<Fact>> {
    let cpuinfo = read("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let gib = (total_memory()? + (1 << 29)) >> 30;
    Ok(vec![
        ("Date", output("date", &["-u", "+%Y-%m-%d"])),
        ("Command", format!("`{command}`")),
        ("Machine", format!("{} CPUs ({model}), {gib} GiB", cpus())),
        ("Kernel", read("/proc/sys/kernel/osrelease")?.trim().into()),
        ("Cgroups", Layout::detect()?.describe()),
        ("procview", output(agent, &["--version"])),
    ])
}

/// A Markdown table of facts.
#[must_use]
pub fn table(facts: &[Fact]) -> String {
    let mut text = "| | |\n| --- | --- |\n".to_owned();
    for (what, value) in facts {
        let _ = writeln!(text, "| {what} | {value} |");
    }
    text
}

/// What a program prints; `not there` if it does not run.
pub fn output(program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    // lxcfs writes its version to stderr.
    let text = output
        .map(|output| [output.stdout, output.stderr].concat())
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .unwrap_or_default();
    match text.trim().trim_matches('"') {
        "" => "not there".to_owned(),
        text => text.to_owned(),
    }
}

/// How many CPUs are online.
#[must_use]
pub fn cpus() -> u32 {
    let list = read("/sys/devices/system/cpu/online").unwrap_or_default();
    let count: u32 = list
        .trim()
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(last.parse::<u32>().ok()? - first.parse::<u32>().ok()? + 1)
        })
        .sum();
    count.max(1)
}

/// The host's memory in bytes.
///
/// # Errors
/// If /proc/meminfo does not tell.
pub fn total_memory() -> Result<u64> {
    let text = read("/proc/meminfo")?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .context("no MemTotal in /proc/meminfo")?;
    Ok(kib << 10)
}
