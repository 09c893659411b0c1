//! Programs that do not read a file by read(2): what they get of the view. Runs in guests too.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use procview_tests::agent::Agent;
use procview_tests::cgroup::{Limits, Pod};
use procview_tests::machine::{Machine, Need, kernel};
use procview_tests::process::run_in;

const READ: &str = include_str!("read.py");

const FILES: [&str; 4] = [
    "/proc/meminfo",
    "/proc/stat",
    "/proc/cpuinfo",
    "/sys/devices/system/cpu/online",
];

/// What `read.py` prints of a file, in a container.
fn read(machine: &Machine, how: &str, file: &Path) -> Result<String> {
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&Limits::default())?;
    let file = file.display().to_string();
    run_in(&group, &["python3", "-c", READ, how, &file])
}

/// For each way to read by io_uring, how many bytes read(2) gets of the file, and how many this way.
fn by_io_uring(machine: &Machine, file: &Path) -> Result<Vec<(u64, u64)>> {
    let text = read(machine, "uring", file)?;
    let pairs = text.lines().filter_map(|line| {
        let (plain, got) = line.split_once(' ')?;
        Some((plain.parse().ok()?, got.parse().ok()?))
    });
    let pairs: Vec<_> = pairs.collect();
    ensure!(pairs.len() == 4, "{text}");
    Ok(pairs)
}

#[test]
fn io_uring_reads_a_file_once() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root, Need::Program("python3")]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    for file in FILES {
        for (plain, got) in by_io_uring(&machine, &agent.file(file))?
            .into_iter()
            .step_by(2)
        {
            // Another rendering can be a few digits longer.
            ensure!(
                plain > 0 && plain.abs_diff(got) < 16,
                "{file}: {got} of {plain}"
            );
        }
    }
    Ok(())
}

#[test]
fn io_uring_does_not_move_the_file_position() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root, Need::Program("python3")]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let file = agent.file("/sys/devices/system/cpu/online");
    for (plain, got) in by_io_uring(&machine, &file)?.into_iter().skip(1).step_by(2) {
        // Four times the same text or, should a kernel do better, once.
        ensure!(got == 4 * plain || got == plain, "{got} of {plain}");
    }
    Ok(())
}

#[test]
fn a_file_cannot_be_mapped() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root, Need::Program("python3")]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let can_refuse = kernel()? >= (6, 9);
    for file in FILES {
        let mapped = read(&machine, "map", &agent.file(file));
        if can_refuse {
            assert_eq!(mapped?.trim(), libc::ENODEV.to_string(), "{file}");
        } else {
            // 128 + SIGBUS of a shell's child, or the signal itself.
            let said = format!("{:#}", mapped.err().context("it can be mapped")?);
            ensure!(said.contains("signal: 7"), "{file}: {said}");
        }
    }
    Ok(())
}

#[test]
fn who_trusts_the_size_pads_with_zeros() -> Result<()> {
    let Some(_machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let output = Command::new("tar")
        .args(["--create", "--file=-", "--directory"])
        .arg(agent.view())
        .args(["proc/swaps", "proc/cpuinfo"])
        .output()?;
    // It says so, and fails.
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("padding with zeros"), "{said}");
    Ok(())
}
