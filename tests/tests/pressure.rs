//! Pressure triggers through the view, on a real kernel. Runs in guests too.

use std::env;
use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use procview_tests::agent::Agent;
use procview_tests::cgroup::{Group, Limits, Pod};
use procview_tests::machine::{Machine, Need, kernel, wait_for};
use procview_tests::process::{Process, run_in};

/// Names the pressure file, and for one of them the kernel's own, for the tests that run within the container.
const INSIDE: &str = "PROCVIEW_TEST_PRESSURE_FILE";
const NATIVE: &str = "PROCVIEW_TEST_NATIVE_FILE";

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
fn refusal(file: &mut File, text: &str) -> Option<Errno> {
    let error = file.write_all(text.as_bytes()).err()?;
    error.raw_os_error().map(Errno::from_raw)
}

/// The errno of opening the file for writing and writing `text` as a trigger.
fn refusal_of_new(path: &Path, text: &str) -> Option<Errno> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(mut file) => refusal(&mut file, text),
        Err(error) => error.raw_os_error().map(Errno::from_raw),
    }
}

/// Runs `test`, one of this program, in the group as this user or as somebody without rights, and gives what
/// it prints.
fn run_inside(
    group: &Group,
    test: &str,
    variables: &[(&str, &Path)],
    is_root: bool,
) -> Result<String> {
    // Where anybody may run it.
    let scratch = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o755))
        .tempdir()?;
    let program = scratch.path().join("pressure");
    std::fs::copy(env::current_exe()?, &program)?;
    let mut line = vec!["env".to_owned()];
    for (name, path) in variables {
        line.push(format!("{name}={}", path.display()));
    }
    if !is_root {
        line.extend(
            [
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
            ]
            .map(str::to_owned),
        );
    }
    line.push(program.display().to_string());
    line.extend(["--exact", test, "--nocapture"].map(str::to_owned));
    let output = run_in(group, &line)?;
    ensure!(output.contains("1 passed"), "{output}");
    Ok(output)
}

fn busy_group(pod: &Pod) -> Result<(Group, [Process; 2])> {
    // Half a CPU, so that two busy processes wait for each other.
    let group = pod.container(&Limits {
        cpus: Some(0.5),
        ..Limits::default()
    })?;
    let busy = [Process::busy(&group)?, Process::busy(&group)?];
    Ok((group, busy))
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
    let (group, _busy) = busy_group(&pod)?;
    let file = agent.file("/proc/pressure/cpu");
    run_inside(&group, "inside_it_fires", &[(INSIDE, &file)], true)?;
    Ok(())
}

/// Run by the test above, in the container; by itself it has nothing to do.
#[test]
fn inside_it_fires() -> Result<()> {
    let Some(path) = env::var_os(INSIDE).map(PathBuf::from) else {
        return Ok(());
    };
    let mut file = open(&path)?;
    // As for the kernel's own file: polling one without a trigger is an error.
    assert!(events(&file, 100)?.contains(PollFlags::POLLERR));
    if refusal_of_new(&path, "some 50000 2000000\0") == Some(Errno::EPERM) {
        // Linux before 6.5, for a root without CAP_SYS_RESOURCE.
        ensure!(kernel()? < (6, 5) && !has_sys_resource()?);
        return Ok(());
    }
    for text in [
        "rubbish",
        "some 100000",
        "some 150000 100000",
        "most 150000 2000000",
    ] {
        assert_eq!(refusal(&mut file, text), Some(Errno::EINVAL), "{text}");
    }
    assert_eq!(refusal(&mut file, "some 50000 2000000\0"), None);
    assert_eq!(
        refusal(&mut file, "some 50000 2000000\0"),
        Some(Errno::EBUSY)
    );
    // Two of them in a row: an event is told once, and told again.
    for _ in 0..2 {
        assert_eq!(events(&file, 30_000)?, PollFlags::POLLPRI);
    }
    Ok(())
}

fn has_sys_resource() -> Result<bool> {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("CapEff:\t"));
    Ok(u64::from_str_radix(line.context("no CapEff")?, 16)? >> CAP_SYS_RESOURCE & 1 == 1)
}

/// A writer without CAP_SYS_RESOURCE towards the host may set what the kernel lets it set, whatever the agent
/// may set itself.
#[test]
fn the_kernel_judges_who_may_set_a_trigger() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&Limits::default())?;
    let native = group.file("unified", "cpu.pressure")?;
    // So that somebody without rights gets as far as the kernel's judgement there, too.
    std::fs::set_permissions(&native, Permissions::from_mode(0o666))?;
    let files = [(INSIDE, agent.file("/proc/pressure/cpu")), (NATIVE, native)];
    let files = files.each_ref().map(|(name, path)| (*name, path.as_path()));
    for (is_root, user) in [(true, "user 0\n"), (false, "user 65534\n")] {
        let output = run_inside(&group, "inside_it_is_judged_alike", &files, is_root)?;
        ensure!(output.contains(user), "{output}");
    }
    Ok(())
}

/// Run by the test above.
#[test]
fn inside_it_is_judged_alike() -> Result<()> {
    let Some((view, native)) = env::var_os(INSIDE).zip(env::var_os(NATIVE)) else {
        return Ok(());
    };
    let (view, native) = (PathBuf::from(view), PathBuf::from(native));
    println!("user {}", nix::unistd::geteuid());
    let texts = [
        "some 150000 2000000",
        "some 150000 2000000\0",
        "full 150000 4000000\n",
        // Not a multiple of 2 s, in forms that a guess may take for one.
        "some 50000 500000",
        "some 50000 500000\0",
        "some 50000 500000x",
        "some 50000\n500000",
        "some 50000 \t 500000 2000000",
        "some  50000 500000 ",
        "some 50000 -500000",
        "some 50000 18446744073709051616",
        "some 1 10",
        "some 1 20000000",
        "some 0x100 500000",
        "",
        "\0",
    ];
    for text in texts {
        let (shown, kernels) = (refusal_of_new(&view, text), refusal_of_new(&native, text));
        // An empty write gets nowhere on either side.
        assert_eq!(shown, kernels, "{text:?}");
    }
    if kernel()? >= (6, 5) {
        let fine = refusal_of_new(&view, "some 50000 500000\0");
        let expected = (!has_sys_resource()?).then_some(Errno::EINVAL);
        assert_eq!(
            fine, expected,
            "the kernel itself judges by the right to do so"
        );
    }
    Ok(())
}

/// A container can have 16 triggers; the next write fails with ENOSPC, for this container alone.
#[test]
fn a_container_has_16_triggers() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let file = agent.file("/proc/pressure/cpu");
    let (hog, neighbour) = (
        pod.container(&Limits::default())?,
        pod.container(&Limits::default())?,
    );
    if kernel()? < (6, 5) && !has_sys_resource()? {
        return Ok(());
    }
    run_inside(&hog, "inside_there_are_16", &[(INSIDE, &file)], true)?;
    // The kernel takes a while to end them; meanwhile its neighbour has its own.
    run_inside(&neighbour, "inside_there_are_16", &[(INSIDE, &file)], true)?;
    wait_for("the triggers of who has gone to end", || {
        thread::sleep(Duration::from_secs(3));
        Ok(run_inside(&hog, "inside_there_are_16", &[(INSIDE, &file)], true).ok())
    })?;
    Ok(())
}

/// Run by the test above.
#[test]
fn inside_there_are_16() -> Result<()> {
    let Some(path) = env::var_os(INSIDE).map(PathBuf::from) else {
        return Ok(());
    };
    let mut files = Vec::new();
    for number in 0..16 {
        let mut file = open(&path)?;
        assert_eq!(
            refusal(&mut file, "some 150000 2000000\0"),
            None,
            "{number}"
        );
        files.push(file);
    }
    assert_eq!(
        refusal_of_new(&path, "some 150000 2000000\0"),
        Some(Errno::ENOSPC)
    );
    Ok(())
}
