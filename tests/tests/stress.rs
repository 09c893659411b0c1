//! Many readers, many containers, and limits that change all the time.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use procview_tests::agent::Agent;
use procview_tests::cgroup::{Limits, Pod};
use procview_tests::machine::{Machine, Need, wait_for};
use procview_tests::process::{Process, read_in, run_in};

const FILES: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/vmstat",
    "/sys/devices/system/cpu/online",
];

fn small() -> Limits {
    Limits {
        memory: Some(64 << 20),
        cpus: Some(0.5),
        ..Limits::default()
    }
}

/// Open files of a process.
fn open_files(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let word = line.and_then(|line| line.split_whitespace().next());
    Ok(word.context("no VmRSS")?.parse()?)
}

#[test]
fn sixty_four_readers_at_once_read_whole_files() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&small())?;
    // Each reads every file twenty times and stops at the first one that is not whole.
    let files: Vec<_> = FILES
        .iter()
        .map(|file| agent.file(file).display().to_string())
        .collect();
    let script = format!(
        "for reader in $(seq 64); do (for turn in $(seq 20); do for file in {}; do \
         cat $file > /dev/null || exit 1; done; grep -q '^MemTotal: *65536 kB$' {} || exit 2; done) & \
         pids=\"$pids $!\"; done; for pid in $pids; do wait $pid || exit 1; done",
        files.join(" "),
        agent.file("/proc/meminfo").display()
    );
    // A half of a CPU would make this slow.
    group.set(&Limits {
        cpus: Some(64.0),
        ..Limits::default()
    })?;
    run_in(&group, &["sh", "-c", &script])?;
    Ok(())
}

#[test]
fn any_part_of_a_file_can_be_read() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&small())?;
    // Byte by byte it is the same as in one piece.
    let path = agent.file("/proc/cpuinfo").display().to_string();
    let whole = run_in(
        &group,
        &["dd", &format!("if={path}"), "bs=1M", "status=none"],
    )?;
    let bytes = run_in(
        &group,
        &["dd", &format!("if={path}"), "bs=1", "status=none"],
    )?;
    assert_eq!(without_clock(&whole), without_clock(&bytes));
    for file in FILES {
        let file = File::open(agent.file(file))?;
        let mut buffer = [0; 8];
        assert_eq!(file.read_at(&mut buffer, 1 << 40)?, 0);
        assert_eq!(file.read_at(&mut buffer, u64::try_from(i64::MAX)? - 8)?, 0);
        assert!(file.read_at(&mut buffer, 1)? > 0 || file.read_at(&mut buffer, 0)? == 0);
    }
    Ok(())
}

/// The text without the frequency, which the host changes.
fn without_clock(cpuinfo: &str) -> Vec<&str> {
    cpuinfo
        .lines()
        .filter(|line| !line.starts_with("cpu MHz"))
        .collect()
}

#[test]
fn containers_come_and_go_by_the_thousand() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    // A guest is slower by two orders of magnitude.
    let rounds = if machine.is_guest() { 50 } else { 500 };
    let before = open_files(agent.pid())?;
    let files: Vec<_> = FILES.iter().map(|file| agent.file(file)).collect();
    let mut arguments = vec!["cat".into()];
    arguments.extend(files.iter().map(|file| file.as_os_str().to_owned()));
    let come_and_go = || -> Result<u64> {
        for _ in 0..rounds / 50 {
            let pod = Pod::new(machine.layout())?;
            for _ in 0..50 {
                run_in(&pod.container(&small())?, &arguments)?;
            }
        }
        // The next tick frees what is left of them.
        wait_for(
            "the agent to close the files of containers that are gone",
            || Ok((open_files(agent.pid())? <= before + 16).then_some(())),
        )?;
        resident(agent.pid())
    };
    // The first ones leave room that the allocator keeps, and the others must do with it: what is
    // not freed would take 13 MiB.
    let first = come_and_go()?;
    let second = come_and_go()?;
    let grown = second.saturating_sub(first);
    ensure!(
        grown < 6144,
        "{rounds} more containers, and the agent has grown by {grown} KiB"
    );
    Ok(())
}

#[test]
fn a_container_that_goes_away_disturbs_no_other() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&small())?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let other = Pod::new(machine.layout()).expect("a pod");
                let group = other.container(&small()).expect("its container");
                let reader = Process::start(
                    &group,
                    &[
                        "sh",
                        "-c",
                        &format!(
                            "while :; do cat {} > /dev/null; done",
                            agent.file("/proc/meminfo").display()
                        ),
                    ],
                );
                drop((reader, other));
            }
        });
        let result = (0..50).try_for_each(|_| {
            let text = read_in(&group, agent.file("/proc/meminfo"))?;
            ensure!(text.starts_with("MemTotal:          65536 kB\n"), "{text}");
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        result
    })?;
    ensure!(!agent.log().contains("panicked"), "{}", agent.log());
    Ok(())
}
