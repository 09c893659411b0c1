//! Beside Debian's lxcfs: the same numbers where both should agree, and the kernel's where lxcfs
//! has others.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procview_tests::agent::Agent;
use procview_tests::cgroup::{Group, Layout, Limits, Pod};
use procview_tests::machine::{Machine, Need, wait_for};
use procview_tests::process::{Process, read_in};

const MIB: u64 = 1 << 20;

/// A running lxcfs with CPU and load views; ended on drop.
struct Lxcfs {
    child: Child,
    dir: tempfile::TempDir,
}

impl Lxcfs {
    fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let view = dir.path().join("view");
        fs::create_dir(&view)?;
        let child = Command::new("lxcfs")
            .args(["-f", "-l", "--enable-cfs", "-p"])
            .arg(dir.path().join("pid"))
            .arg(&view)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start lxcfs")?;
        let lxcfs = Self { child, dir };
        wait_for("lxcfs to mount", || {
            Ok(lxcfs.file("/proc/meminfo").exists().then_some(()))
        })?;
        Ok(lxcfs)
    }

    fn file(&self, path: &str) -> PathBuf {
        self.dir
            .path()
            .join("view")
            .join(path.trim_start_matches('/'))
    }
}

impl Drop for Lxcfs {
    fn drop(&mut self) {
        // Nothing is left to do where one of these fails.
        let _ = kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        );
        let _ = self.child.wait();
        let _ = umount2(&self.dir.path().join("view"), MntFlags::MNT_DETACH);
    }
}

struct Both {
    agent: Agent,
    lxcfs: Lxcfs,
    pod: Pod,
    machine: Machine,
}

impl Both {
    fn start() -> Result<Option<Self>> {
        let Some(machine) = Machine::with(&[Need::Root, Need::Program("lxcfs")]) else {
            return Ok(None);
        };
        Ok(Some(Self {
            agent: Agent::start(&[])?,
            lxcfs: Lxcfs::start()?,
            pod: Pod::new(machine.layout())?,
            machine,
        }))
    }

    fn layout(&self) -> &Layout {
        self.machine.layout()
    }

    /// What a reader in `group` finds: with the agent, with lxcfs.
    fn read(&self, group: &Group, path: &str) -> Result<(String, String)> {
        Ok((
            read_in(group, self.agent.file(path))?,
            read_in(group, self.lxcfs.file(path))?,
        ))
    }
}

fn kilobytes(meminfo: &str, key: &str) -> Result<u64> {
    let line = meminfo
        .lines()
        .find(|line| line.split(':').next() == Some(key));
    let word = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(word
        .with_context(|| format!("no {key} in {meminfo}"))?
        .parse()?)
}

#[test]
fn sizes_agree() -> Result<()> {
    let Some(both) = Both::start()? else {
        return Ok(());
    };
    for (memory, cpus) in [(64, 0.5), (100, 1.0), (512, 1.5), (1 << 20, 64.0)] {
        let group = both.pod.container(&Limits {
            memory: Some(memory * MIB),
            cpus: Some(cpus),
            ..Limits::default()
        })?;
        let _process = Process::idle(&group)?;
        let (ours, theirs) = both.read(&group, "/proc/meminfo")?;
        for key in ["MemTotal", "SwapTotal", "Buffers"] {
            assert_eq!(
                kilobytes(&ours, key)?,
                kilobytes(&theirs, key)?,
                "{key} at {memory} MiB"
            );
        }
        let amounts = ["MemFree", "Cached", "AnonPages", "Shmem"];
        wait_for(&format!("the same amounts in both at {memory} MiB"), || {
            // They are read one after the other, and above the host's size they are the
            // host's own, which others change meanwhile.
            let (ours, theirs) = both.read(&group, "/proc/meminfo")?;
            for key in amounts {
                let (ours, theirs) = (kilobytes(&ours, key)?, kilobytes(&theirs, key)?);
                if ours.abs_diff(theirs) >= 1024 {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })?;
        let processors = |text: &str| {
            text.lines()
                .filter(|line| line.starts_with("processor"))
                .count()
        };
        let (ours, theirs) = both.read(&group, "/proc/cpuinfo")?;
        assert_eq!(processors(&ours), processors(&theirs), "{cpus} CPUs");
        let (ours, theirs) = both.read(&group, "/sys/devices/system/cpu/online")?;
        // Only one of them ends its line.
        assert_eq!(ours.trim_end(), theirs.trim_end(), "{cpus} CPUs");
    }
    Ok(())
}

/// Percentage of idle time on the `cpu` line between two texts of /proc/stat.
fn idle(before: &str, after: &str) -> Result<f64> {
    let numbers = |text: &str| -> Result<Vec<f64>> {
        let line = text.lines().next().context("no cpu line")?;
        Ok(line
            .split_whitespace()
            .skip(1)
            .take(8)
            .map(str::parse)
            .collect::<Result<_, _>>()?)
    };
    let (before, after) = (numbers(before)?, numbers(after)?);
    let gained: Vec<_> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| after - before)
        .collect();
    let all: f64 = gained.iter().sum();
    ensure!(all > 0.0, "no time passed: {gained:?}");
    Ok(100.0 * gained[3] / all)
}

/// Lets a group and all above it come first where CPUs are scarce.
fn prefer(group: &Group, layout: &Layout) -> Result<()> {
    let mut level = Group::root(layout);
    for name in group.path().split('/').filter(|name| !name.is_empty()) {
        level = level.child(name);
        match layout {
            Layout::V1(_) => level.write("cpu", "cpu.shares", "262144")?,
            Layout::V2 => level.write("cpu", "cpu.weight", "10000")?,
        }
    }
    Ok(())
}

/// At a fractional limit a container has nothing left: the kernel's own counters say so. What
/// lxcfs shows depends on the rest of the machine, so it is printed and not compared.
#[test]
fn idle_time_is_the_kernels() -> Result<()> {
    let Some(both) = Both::start()? else {
        return Ok(());
    };
    let group = both.pod.container(&Limits {
        cpus: Some(1.5),
        ..Limits::default()
    })?;
    prefer(&group, both.layout())?;
    let _busy = [Process::busy(&group)?, Process::busy(&group)?];
    thread::sleep(Duration::from_secs(1));
    // On a busy machine the container may not get its 1.5 CPUs: then look again.
    for _ in 0..12 {
        let before = both.read(&group, "/proc/stat")?;
        let (start, used) = (Instant::now(), group.cpu_usage()?);
        thread::sleep(Duration::from_secs(5));
        let used = group.cpu_usage()?.abs_diff(used) as f64;
        let kernel = 100.0 - 100.0 * used / (1.5 * start.elapsed().as_micros() as f64);
        let after = both.read(&group, "/proc/stat")?;
        let ours = idle(&before.0, &after.0)?;
        let theirs = idle(&before.1, &after.1)?;
        println!("idle: kernel {kernel:.1} %, with the view {ours:.1} %, with lxcfs {theirs:.1} %");
        ensure!(
            (ours - kernel.max(0.0)).abs() < 5.0,
            "{ours} % idle, kernel {kernel} %"
        );
        if kernel < 10.0 {
            return Ok(());
        }
    }
    anyhow::bail!("the machine is too busy: a container with 1.5 CPUs did not get them in a minute")
}

/// What a sibling uses of the pod's limit is not free.
#[test]
fn lxcfs_does_not_count_siblings() -> Result<()> {
    let Some(both) = Both::start()? else {
        return Ok(());
    };
    both.pod.group().set(&Limits {
        memory: Some(100 * MIB),
        ..Limits::default()
    })?;
    let group = both.pod.container(&Limits::default())?;
    let sibling = both.pod.container(&Limits::default())?;
    let script = "x=$(head -c 33554432 /dev/zero | tr '\\0' x); read y";
    let _user = Process::start(&sibling, &["sh", "-c", script])?;
    wait_for("the sibling's memory", || {
        Ok((sibling.memory_usage()? > 32 * MIB).then_some(()))
    })?;
    thread::sleep(Duration::from_millis(300));
    let left = (100 * MIB - both.pod.group().memory_usage()?) / 1024;
    let (ours, theirs) = both.read(&group, "/proc/meminfo")?;
    let (ours, theirs) = (kilobytes(&ours, "MemFree")?, kilobytes(&theirs, "MemFree")?);
    println!("free: kernel {left} kB, with the view {ours} kB, with lxcfs {theirs} kB");
    ensure!(
        ours.abs_diff(left) < 4096,
        "{ours} kB free, kernel {left} kB"
    );
    ensure!(
        theirs > left + 16 * 1024,
        "lxcfs has learned it: {theirs} kB free, kernel {left} kB"
    );
    Ok(())
}
