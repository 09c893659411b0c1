//! What the results were measured on, and with what.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::pods::total_memory;

/// The head of the report.
pub(crate) fn describe(agent: &Path, cgroups: &str, command: &str) -> String {
    let mut text = "# Benchmarks\n".to_owned();
    let _ = write!(
        text,
        "Measured by `tests/src/bin/bench`: procview, lxcfs and the kernel's own files read in \
         turn from one container, five cgroup levels deep, with memory limits on three levels and \
         CPU quotas on two. A read is open, read to the end with a 64 KiB buffer, close.\n\n\
         | | |\n| --- | --- |\n"
    );
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let cpus = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let memory = total_memory().map_or(0, |bytes| (bytes + (1 << 29)) >> 30);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    for (what, value) in [
        ("Date", output("date", &["-u", "+%Y-%m-%d"])),
        ("Command", format!("`{command}`")),
        ("Machine", format!("{cpus} CPUs ({model}), {memory} GiB")),
        ("Kernel", kernel.trim().to_owned()),
        ("Cgroups", cgroups.to_owned()),
        ("procview", output(agent, &["--version"])),
        ("lxcfs", output("lxcfs", &["--version"])),
        ("libfuse", fuse_version()),
    ] {
        let _ = writeln!(text, "| {what} | {value} |");
    }
    text
}

/// The version of the library that lxcfs is linked with.
fn fuse_version() -> String {
    output("dpkg-query", &["-W", "-f", "${Version}", "libfuse3-3"])
}

fn output(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
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
