//! What the results were measured on.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The head of the report.
pub(crate) fn describe(agent: &Path, cgroups: &str, command: &str) -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let machine = format!("{} CPUs ({model}), {} GiB", cpus(), memory_gib());
    let mut text = "# Fidelity\n\nHow exact the view is. Measured by `tests/src/bin/fidelity`, which makes cgroups, \
                    runs processes in them that read the view, and reads the kernel's own counters beside it.\n\n\
                    | | |\n| --- | --- |\n"
        .to_owned();
    for (what, value) in [
        ("Date", output("date", &["-u", "+%Y-%m-%d"])),
        ("Command", format!("`{command}`")),
        ("Machine", machine),
        ("Kernel", kernel.trim().to_owned()),
        ("Cgroups", cgroups.to_owned()),
        ("Agent", output(agent, &["--version"])),
    ] {
        let _ = writeln!(text, "| {what} | {value} |");
    }
    text
}

/// How many CPUs are online.
pub(crate) fn cpus() -> u32 {
    let list = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
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

fn memory_gib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    (kib.unwrap_or(0) + (1 << 19)) >> 20
}

fn output(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    if text.is_empty() {
        "unknown".to_owned()
    } else {
        text
    }
}
