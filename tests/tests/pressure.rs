//! Pressure triggers through the view, on a real kernel.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use procview_tests::agent::Agent;
use procview_tests::cgroup::{Limits, Pod};
use procview_tests::machine::{Machine, Need};
use procview_tests::process::{Process, run_in};

/// Names the pressure file for the test that runs within the container.
const INSIDE: &str = "PROCVIEW_TEST_PRESSURE_FILE";

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.with_context(|| format!("cannot open {}", path.display()))
}

fn events(file: &File, milliseconds: u16) -> Result<PollFlags> {
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
    poll(&mut fds, PollTimeout::from(milliseconds))?;
    fds[0].revents().context("unknown events")
}

/// The errno of writing `text` as a trigger.
fn refusal(file: &mut File, text: &str) -> Option<i32> {
    file.write_all(text.as_bytes()).err()?.raw_os_error()
}

/// A trigger that is written to a pressure file can be polled, with the kernel's grammar, errors
/// and limits.
#[test]
fn a_trigger_fires_through_the_view() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    // Half a CPU, so that two busy processes wait for each other.
    let group = pod.container(&Limits {
        cpus: Some(0.5),
        ..Limits::default()
    })?;
    let busy = [Process::busy(&group)?, Process::busy(&group)?];
    let program = env::current_exe()?;
    let output = run_in(
        &group,
        &[
            "env".as_ref(),
            format!("{INSIDE}={}", agent.file("/proc/pressure/cpu").display()).as_ref(),
            program.as_os_str(),
            "--exact".as_ref(),
            "inside_the_container".as_ref(),
            "--nocapture".as_ref(),
        ],
    )?;
    drop(busy);
    ensure!(output.contains("1 passed"), "{output}");
    Ok(())
}

/// Run by the test above, in the container; by itself it has nothing to do.
#[test]
fn inside_the_container() -> Result<()> {
    let Some(path) = env::var_os(INSIDE).map(PathBuf::from) else {
        return Ok(());
    };
    let mut file = open(&path)?;
    // As for the kernel's own file: polling one without a trigger is an error.
    assert!(events(&file, 100)?.contains(PollFlags::POLLERR));
    for text in [
        "rubbish",
        "some 100000",
        "some 150000 100000",
        "some 1 10",
        "most 150000 2000000",
    ] {
        assert_eq!(
            refusal(&mut file, text),
            Some(Errno::EINVAL as i32),
            "{text}"
        );
    }
    assert_eq!(refusal(&mut file, "some 50000 2000000\0"), None);
    assert_eq!(
        refusal(&mut file, "some 50000 2000000\0"),
        Some(Errno::EBUSY as i32)
    );
    // Two of them in a row: an event is told once, and told again.
    for _ in 0..2 {
        assert_eq!(events(&file, 30_000)?, PollFlags::POLLPRI);
    }
    // Without CAP_SYS_RESOURCE a window is a multiple of 2 s.
    let capable = nix::unistd::geteuid().is_root() && {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:\t"));
        u64::from_str_radix(line.context("no CapEff")?, 16)? >> 24 & 1 == 1
    };
    let expected = if capable {
        None
    } else {
        Some(Errno::EINVAL as i32)
    };
    assert_eq!(refusal(&mut open(&path)?, "some 50000 1500000\0"), expected);
    Ok(())
}
