//! The `serve` command with a real FUSE mount: directories it can and cannot use, and its end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;

mod mounts;
use mounts::{can_mount, end};

fn agent() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_procview-agent"));
    command
        .env_remove("RUST_BACKTRACE")
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// A running agent; ended on drop.
struct Serving(Child, PathBuf);

impl Serving {
    fn at(dir: &Path) -> Self {
        let child = agent()
            .args(["serve", "--view"])
            .arg(dir)
            .spawn()
            .expect("the agent starts");
        let mut serving = Self(child, dir.to_owned());
        let log = serving.0.stderr.take().expect("its log");
        let first = BufReader::new(log).lines().find_map(|line| {
            let line = line.expect("text");
            (!line.contains(" WARN ")).then_some(line)
        });
        let first = first.unwrap_or_default();
        assert!(first.contains("serving"), "{first}");
        serving
    }

    fn end(&mut self, signal: Signal) -> std::process::ExitStatus {
        end(&mut self.0, signal)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        // Only there after a kill; a dead mount must not outlive the test.
        let _ = umount2(&self.1, MntFlags::MNT_DETACH);
    }
}

/// The error of an agent that cannot serve.
fn refusal(command: &mut Command, dir: &Path) -> String {
    let Output { status, stderr, .. } = command
        .args(["serve", "--view"])
        .arg(dir)
        .output()
        .expect("the agent starts");
    assert!(!status.success());
    String::from_utf8_lossy(&stderr).into_owned()
}

fn is_mounted(dir: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mount table");
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == dir.to_str())
}

#[test]
fn signals_unmount_and_end_with_0() {
    if !can_mount() {
        return;
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let parent = tempfile::tempdir().expect("a directory");
        // A directory that is not there is made.
        let dir = parent.path().join("a/view");
        let mut serving = Serving::at(&dir);
        assert!(is_mounted(&dir));
        let meminfo = fs::read_to_string(dir.join("proc/meminfo")).expect("meminfo");
        assert!(meminfo.starts_with("MemTotal:"));
        assert!(serving.end(signal).success());
        assert!(!is_mounted(&dir));
        fs::remove_dir(&dir).expect("an empty directory");
    }
}

#[test]
fn a_served_directory_is_refused_and_goes_on_being_served() {
    if !can_mount() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut serving = Serving::at(dir.path());
    let error = refusal(&mut agent(), dir.path());
    assert!(
        error.contains("already a mounted view: stop the agent"),
        "{error}"
    );
    fs::read(dir.path().join("proc/stat")).expect("still served");
    assert!(serving.end(Signal::SIGTERM).success());
}

#[test]
fn the_dead_mount_of_a_killed_agent_is_replaced() {
    if !can_mount() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut killed = Serving::at(dir.path());
    assert!(!killed.end(Signal::SIGKILL).success());
    let error = fs::read_dir(dir.path()).expect_err("nobody serves it");
    assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
    let mut serving = Serving::at(dir.path());
    fs::read(dir.path().join("proc/stat")).expect("served again");
    assert!(serving.end(Signal::SIGTERM).success());
    assert!(!is_mounted(dir.path()));
}

#[test]
fn a_directory_in_use_is_refused() {
    if !can_mount() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("precious"), "data").expect("a file");
    let error = refusal(&mut agent(), dir.path());
    assert!(
        error.contains("is not empty, it holds `precious`"),
        "{error}"
    );
    let error = refusal(&mut agent(), &dir.path().join("precious"));
    assert!(error.contains("is not a directory"), "{error}");
    // Placeholders of the view's own names may lie beneath it.
    let beneath = dir.path().join("beneath");
    fs::create_dir_all(beneath.join("proc")).expect("a placeholder");
    assert!(Serving::at(&beneath).end(Signal::SIGTERM).success());
}

#[test]
fn without_root_it_says_so() {
    if !can_mount() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("its mode");
    let copy = dir.path().join("agent");
    fs::copy(env!("CARGO_BIN_EXE_procview-agent"), &copy).expect("a copy that all can run");
    let mut command = Command::new(copy);
    command.uid(65_534).gid(65_534).env_remove("RUST_BACKTRACE");
    let error = refusal(&mut command, &dir.path().join("view"));
    assert!(error.contains("takes root"), "{error}");
}

#[test]
fn without_fuse_it_says_so() {
    if !can_mount() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    // In a mount namespace of its own, where /dev is empty.
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c"]);
    command
        .arg("mount -t tmpfs none /dev && exec \"$@\"")
        .arg("sh");
    command.arg(env!("CARGO_BIN_EXE_procview-agent"));
    let error = refusal(&mut command, dir.path());
    assert!(
        error.contains("cannot open /dev/fuse") && error.contains("modprobe fuse"),
        "{error}"
    );
}

#[test]
fn without_cgroups_it_says_so() {
    if !can_mount() {
        return;
    }
    let (dir, empty) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("another"),
    );
    let mut command = agent();
    command
        .arg("serve")
        .arg("--cgroup")
        .arg(empty.path())
        .arg("--view")
        .arg(dir.path());
    let output = command.output().expect("the agent starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success()
            && error.contains("no cgroup hierarchy at")
            && error.contains("--cgroup"),
        "{error}"
    );
    assert!(!is_mounted(dir.path()));
}

#[test]
fn a_view_is_no_source_of_a_view() {
    if !can_mount() {
        return;
    }
    let (first, second) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("another"),
    );
    let mut serving = Serving::at(first.path());
    let mut command = agent();
    command
        .arg("serve")
        .arg("--proc")
        .arg(first.path().join("proc"))
        .arg("--view")
        .arg(second.path());
    let output = command.output().expect("the agent starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && error.contains("is a FUSE file"),
        "{error}"
    );
    assert!(serving.end(Signal::SIGTERM).success());
}

#[test]
fn an_unmount_by_somebody_else_ends_it_with_an_error() {
    if !can_mount() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut serving = Serving::at(dir.path());
    umount2(dir.path(), MntFlags::empty()).expect("a mounted view");
    let start = Instant::now();
    let status = loop {
        match serving.0.try_wait().expect("its status") {
            Some(status) => break status,
            None => assert!(start.elapsed() < Duration::from_secs(30), "it still runs"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(!status.success());
}

#[test]
fn bad_flags_are_named() {
    for (arguments, named) in [
        (&["serve"][..], "--view"),
        (
            &["serve", "--view", "/x", "--files", "meminfo,memory"][..],
            "no file is called `memory`",
        ),
        (
            &["serve", "--view", "/x", "--cpu-rounding", "up"][..],
            "ceil, floor, round",
        ),
        (&["render", "meminfo", "--pid", "-1"][..], "--pid"),
        (
            &["render", "meminfo", "--pid", "4194305"][..],
            "no process 4194305",
        ),
        (
            &["render", "version", "--pid", "1"][..],
            "the view has no file version",
        ),
    ] {
        let output = agent().args(arguments).output().expect("the agent starts");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && error.contains(named),
            "{arguments:?}: {error}"
        );
    }
}

#[test]
fn a_log_that_nobody_drains_stops_no_reader() {
    if !can_mount() {
        return;
    }
    let parent = tempfile::tempdir().expect("a directory");
    let view = parent.path().join("view");
    let mut child = agent()
        .args(["serve", "--log", "debug", "--view"])
        .arg(&view)
        .spawn()
        .expect("the agent starts");
    // Held open, and not read.
    let log = child.stderr.take();
    let serving = Serving(child, view.clone());
    let deadline = Instant::now() + Duration::from_secs(20);
    while !view.join("proc/meminfo").exists() {
        assert!(Instant::now() < deadline, "it does not serve");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Each of these is an error, and a line of the log; a pipe holds 64 KiB.
    for _ in 0..5000 {
        fs::write(view.join("proc/meminfo"), "x").expect_err("nobody writes that");
    }
    fs::read(view.join("proc/meminfo")).expect("a reader after them");
    drop((serving, log));
}
