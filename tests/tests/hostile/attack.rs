//! What a hostile container does, each until it is killed.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::sendfile::sendfile;

/// One of them.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// Does it, given the view and the own cgroup in one hierarchy.
    pub(crate) run: fn(&Path, &Path) -> Result<()>,
    /// Milliseconds until it is at full strength.
    pub(crate) warm_up: u64,
    /// The highest process number that it needs.
    pub(crate) pids: Option<u32>,
}

macro_rules! attacks {
    ($($name:ident, $run:ident;)*) => {
        $(pub(crate) const $name: Attack = Attack {
            name: stringify!($name),
            run: $run,
            ..PLAIN
        };)*

        /// All of them.
        pub(crate) const ALL: &[Attack] = &[THREADS, THREADS_ALONE, $($name),*];
    };
}

const PLAIN: Attack = Attack {
    name: "",
    run: |_, _| Ok(()),
    warm_up: 500,
    pids: None,
};

pub(crate) const THREADS: Attack = Attack {
    name: "THREADS",
    run: threads,
    warm_up: 10_000,
    pids: Some(131_072),
};

pub(crate) const THREADS_ALONE: Attack = Attack {
    name: "THREADS_ALONE",
    run: threads_alone,
    ..THREADS
};

attacks! {
    ARM_AND_LEAVE, arm_and_leave;
    ARM_AND_CLOSE, arm_and_close;
    RUBBISH, rubbish;
    POLL, poll_pressure;
    ERRORS, errors;
    OPEN_FILES, open_files;
    READERS, readers;
    BYTES, bytes;
    LOAD, load;
    LIST, list;
    UNKNOWN, unknown;
    ATTRIBUTES, attributes;
    WRITES, writes;
    COPIES, copies;
    KILLED, killed;
    FORKS, forks;
    CGROUPS, cgroups;
    WANDERER, wanderer;
    LIMITS, limits;
    NESTED, nested;
    NAMES, names;
    DIRECTORIES, directories;
    MEMORY, memory;
}

const TRIGGER: &[u8] = b"some 150000 2000000\0";

fn pressure(view: &Path) -> PathBuf {
    view.join("proc/pressure/cpu")
}

fn open_pressure(view: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(pressure(view));
    file.context("cannot open a pressure file")
}

/// Runs `work` in `count` threads for ever.
fn in_threads(count: usize, work: impl Fn(usize) + Sync) -> Result<()> {
    thread::scope(|scope| {
        let work = &work;
        for number in 0..count {
            scope.spawn(move || {
                loop {
                    work(number);
                }
            });
        }
    });
    Ok(())
}

/// Starts a shell that ends with this process.
fn shell(script: &str) -> Result<Child> {
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(child)
}

/// As many triggers as there can be, in a process that then ends; and the next one.
fn arm_and_leave(view: &Path, _: &Path) -> Result<()> {
    let file = pressure(view).display().to_string();
    let arm = "import os, sys\nfiles = []\nfor number in range(1000):\n    try:\n        file = os.open(sys.argv[1], os.O_RDWR)\n        files.append(file)\n        os.write(file, b'some 150000 2000000')\n    except OSError:\n        pass";
    loop {
        let status = Command::new("python3").args(["-c", arm, &file]).status()?;
        anyhow::ensure!(status.success(), "{status}");
    }
}

fn arm_and_close(view: &Path, _: &Path) -> Result<()> {
    in_threads(4, |_| {
        if let Ok(mut file) = open_pressure(view) {
            let _ = file.write_all(TRIGGER);
        }
    })
}

fn rubbish(view: &Path, _: &Path) -> Result<()> {
    let large = vec![b' '; 100_000];
    in_threads(4, |number| {
        if let Ok(mut file) = open_pressure(view) {
            let _ = file.write_all(if number % 2 == 0 { b"rubbish" } else { &large });
        }
    })
}

fn poll_pressure(view: &Path, _: &Path) -> Result<()> {
    let mut armed = open_pressure(view)?;
    // It may be refused; then there is no trigger to be polled.
    let _ = armed.write_all(TRIGGER);
    in_threads(8, |_| {
        let mut fds = [PollFd::new(armed.as_fd(), PollFlags::POLLPRI)];
        let _ = poll(&mut fds, PollTimeout::ZERO);
    })
}

/// How many threads [`threads`] has, and in how many processes: each may have 65,530 mappings.
pub(crate) const MANY: usize = 50_000;
const PROCESSES: usize = 4;
/// Tells a process that it is one of them.
const ONE_OF_MANY: &str = "PROCVIEW_TEST_ONE_OF_MANY";

/// That many threads, and somebody who makes the agent count them.
fn threads(view: &Path, cgroup: &Path) -> Result<()> {
    many_threads()?;
    load(view, cgroup)
}

/// That many threads, one of which runs now and then, so that each tick finds work.
fn threads_alone(_: &Path, _: &Path) -> Result<()> {
    many_threads()?;
    in_threads(1, |_| thread::sleep(Duration::from_millis(50)))
}

fn many_threads() -> Result<()> {
    if std::env::var_os(ONE_OF_MANY).is_some() {
        let sleepers = (0..MANY / PROCESSES).map(|_| {
            let thread = thread::Builder::new().stack_size(16 << 10);
            thread.spawn(|| thread::sleep(Duration::from_secs(1000)))
        });
        let sleepers: Vec<_> = sleepers.collect::<std::io::Result<_>>()?;
        drop(sleepers);
        thread::sleep(Duration::from_secs(1000));
    }
    for _ in 0..PROCESSES {
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(std::env::args_os())
            .env(ONE_OF_MANY, "1")
            .spawn()?;
    }
    Ok(())
}

fn errors(view: &Path, _: &Path) -> Result<()> {
    let dir = view.join("sys/devices/system/cpu");
    let file = dir.join("cpu0/power/autosuspend_delay_ms");
    in_threads(2, |_| {
        let _ = fs::read(&file);
        let _ = File::open(dir.join("cpu0/crash_notes"));
    })
}

/// Opens and reads, and closes nothing.
fn open_files(view: &Path, _: &Path) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let mut open = Vec::new();
    loop {
        for file in ["proc/cpuinfo", "proc/vmstat"] {
            match File::open(view.join(file)) {
                Ok(mut file) => {
                    let _ = file.read(&mut [0; 100]);
                    open.push(file);
                }
                // All that there can be: they are read, then.
                Err(_) => {
                    for file in &open {
                        let _ = file.read_at(&mut [0; 100], 0);
                    }
                }
            }
        }
    }
}

fn readers(view: &Path, _: &Path) -> Result<()> {
    in_threads(64, |_| {
        let _ = fs::read(view.join("proc/meminfo"));
    })
}

fn bytes(view: &Path, _: &Path) -> Result<()> {
    in_threads(4, |_| {
        let Ok(file) = File::open(view.join("proc/vmstat")) else {
            return;
        };
        for offset in 0..2000 {
            let _ = file.read_at(&mut [0], offset);
        }
        let _ = file.read_at(&mut [0; 10], u64::MAX >> 1);
    })
}

fn load(view: &Path, _: &Path) -> Result<()> {
    // More threads than are counted while somebody waits.
    in_threads(100, |number| {
        let _ = fs::read(view.join(if number % 2 == 0 {
            "proc/loadavg"
        } else {
            "proc/stat"
        }));
        thread::sleep(Duration::from_millis(10));
    })
}

fn list(view: &Path, _: &Path) -> Result<()> {
    in_threads(4, |_| {
        for dir in [
            "",
            "proc",
            "sys/devices/system/cpu",
            "sys/devices/system/cpu/cpu0",
            "sys/devices/system/node",
        ] {
            let _ = fs::read_dir(view.join(dir)).map(Iterator::count);
        }
    })
}

fn unknown(view: &Path, _: &Path) -> Result<()> {
    in_threads(4, |number| {
        for turn in 0..1000 {
            let name = format!("sys/devices/system/cpu/{turn}-{number}-{}", "x".repeat(200));
            let _ = fs::metadata(view.join(name));
        }
    })
}

fn attributes(view: &Path, _: &Path) -> Result<()> {
    in_threads(4, |_| {
        for name in [
            "proc/meminfo",
            "sys/devices/system/cpu/cpu0/topology/core_id",
            "sys/devices/system/node/node0/meminfo",
        ] {
            let _ = fs::metadata(view.join(name));
        }
        let _ = nix::sys::statfs::statfs(view);
    })
}

fn writes(view: &Path, _: &Path) -> Result<()> {
    in_threads(4, |_| {
        let _ = fs::write(view.join("proc/meminfo"), "x");
        let _ = fs::write(view.join("proc/new"), "x");
        let _ = fs::create_dir(view.join("sys/new"));
        let _ = fs::remove_file(view.join("proc/stat"));
        let _ = fs::rename(view.join("proc/stat"), view.join("proc/other"));
        let _ = File::options()
            .write(true)
            .truncate(true)
            .open(pressure(view));
    })
}

fn copies(view: &Path, _: &Path) -> Result<()> {
    let sink = OpenOptions::new().write(true).open("/dev/null")?;
    in_threads(4, |_| {
        if let Ok(file) = File::open(view.join("proc/meminfo")) {
            let _ = sendfile(&sink, &file, None, 65536);
        }
    })
}

/// Readers that are killed at any moment of it.
fn killed(view: &Path, _: &Path) -> Result<()> {
    let files = view.join("proc").display().to_string();
    let script = format!("while :; do cat {files}/meminfo {files}/stat > /dev/null; done");
    loop {
        let mut readers = [shell(&script)?, shell(&script)?, shell(&script)?];
        thread::sleep(Duration::from_millis(30));
        for reader in &mut readers {
            reader.kill()?;
            reader.wait()?;
        }
    }
}

fn forks(view: &Path, _: &Path) -> Result<()> {
    let files = view.join("proc").display().to_string();
    in_threads(8, |_| {
        let reader = Command::new("cat")
            .arg(format!("{files}/uptime"))
            .stdout(Stdio::null())
            .status();
        let _ = reader;
    })
}

/// Makes and removes cgroups below its own.
fn cgroups(_: &Path, cgroup: &Path) -> Result<()> {
    in_threads(2, |number| {
        let dir = cgroup.join(format!("x{number}"));
        let _ = fs::create_dir(&dir);
        let _ = fs::remove_dir(&dir);
    })
}

/// Reads from a thousand cgroups of its own, one after the other.
fn wanderer(view: &Path, cgroup: &Path) -> Result<()> {
    for turn in 0.. {
        let dir = cgroup.join(format!("wanderer-{:0>100}", turn % 1000));
        let _ = fs::create_dir(&dir);
        let _ = fs::write(dir.join("cgroup.procs"), std::process::id().to_string());
        fs::read(view.join("proc/meminfo"))?;
    }
    Ok(())
}

/// Writes to its own limits without end.
fn limits(view: &Path, cgroup: &Path) -> Result<()> {
    let files =
        ["cpu.shares", "cpu.cfs_quota_us", "cpu.weight", "cpu.max"].map(|name| cgroup.join(name));
    in_threads(4, |number| {
        for (file, value) in files.iter().zip(["512", "90000", "50", "90000 100000"]) {
            let _ = File::options()
                .write(true)
                .open(file)
                .and_then(|mut file| file.write_all(value.as_bytes()));
        }
        if number == 0 {
            let _ = fs::read(view.join("proc/stat"));
        }
    })
}

/// Cgroups within cgroups, with names that look like containers', and a reader in the innermost.
fn nested(view: &Path, cgroup: &Path) -> Result<()> {
    for turn in 0_u64.. {
        let mut dir = cgroup.to_path_buf();
        for depth in 0..20 {
            dir.push(format!("{:064x}", turn % 50 * 100 + depth));
            let _ = fs::create_dir(&dir);
        }
        let _ = fs::write(dir.join("cgroup.procs"), std::process::id().to_string());
        fs::read(view.join("proc/meminfo"))?;
        fs::read(view.join("proc/stat"))?;
    }
    Ok(())
}

/// Threads with names that a parser may fall for.
fn names(view: &Path, _: &Path) -> Result<()> {
    in_threads(16, |number| {
        let name = [
            "a) R (b",
            "ps",
            "\n",
            ") D 1 2 3",
            "a b c (((((",
            "\u{1b}[31m",
            "%s%n",
            "0::/",
        ][number % 8];
        if let Ok(name) = CString::new(name) {
            let _ = nix::sys::prctl::set_name(&name);
        }
        let _ = fs::read(view.join("proc/uptime"));
        let _ = fs::read(view.join("proc/loadavg"));
    })
}

fn directories(view: &Path, _: &Path) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let mut open = Vec::new();
    loop {
        match File::open(view.join("sys/devices/system/cpu/cpu0")) {
            Ok(dir) => open.push(dir),
            Err(_) => open.clear(),
        }
    }
}

/// Processes that are killed for want of memory while they read.
fn memory(view: &Path, _: &Path) -> Result<()> {
    let file = view.join("proc/meminfo").display().to_string();
    loop {
        // Its address space stands in for a memory limit, which would kill this process, too.
        let script = format!(
            "ulimit -v 100000; cat {file} > /dev/null; x=$(head -c 90000000 /dev/zero | tr '\\0' x); cat {file}"
        );
        let _ = shell(&script)?.wait()?;
    }
}
