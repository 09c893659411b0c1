//! Whose numbers a reader gets, on real cgroups: containers that start anew under their old path, system
//! containers, cgroup files that go away for a while. Runs in guests too.

use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use procview_tests::agent::Agent;
use procview_tests::cgroup::{Group, Layout, Limits, Pod, Tree};
use procview_tests::machine::{Machine, Need, wait_for};
use procview_tests::process::{Process, read_in, run_in};

const MIB: u64 = 1 << 20;

fn limits() -> Limits {
    Limits {
        memory: Some(64 * MIB),
        cpus: Some(1.0),
        ..Limits::default()
    }
}

/// The number in a column of the first line that starts so.
fn number(text: &str, start: &str, column: usize) -> Result<u64> {
    let line = text.lines().find(|line| line.starts_with(start));
    let word = line.and_then(|line| line.split_whitespace().nth(column));
    Ok(word.with_context(|| text.to_owned())?.parse()?)
}

#[test]
fn the_first_read_after_a_restart_is_the_containers() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let script = format!(
        "head -n 1 {}; cat {}",
        agent.file("/proc/meminfo").display(),
        agent.file("/sys/devices/system/cpu/online").display()
    );
    let group = pod.container(&limits())?;
    for turn in 0..8 {
        let first = run_in(&group, &["sh", "-c", &script])?;
        assert_eq!(first, "MemTotal:          65536 kB\n0\n", "turn {turn}");
        // At once, and after what is remembered of limits is no longer trusted.
        thread::sleep(Duration::from_millis(if turn % 2 == 0 { 1200 } else { 0 }));
        group.remake(&limits())?;
    }
    Ok(())
}

#[test]
fn a_container_that_starts_anew_starts_from_nothing() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&limits())?;
    let stat = || read_in(&group, agent.file("/proc/stat"));
    {
        let _busy = Process::busy(&group)?;
        wait_for("some time to be used", || {
            Ok((number(&stat()?, "cpu ", 1)? > 200).then_some(()))
        })?;
    }
    group.remake(&limits())?;
    let anew = stat()?;
    let used = number(&anew, "cpu ", 1)? + number(&anew, "cpu ", 4)?;
    ensure!(used < 200, "{anew}");
    // What runs in the new one is found and counted, though nobody reads.
    let busy = Process::busy(&group)?;
    group.remake_around(&limits(), || drop(busy))?;
    let _busy = [Process::busy(&group)?, Process::busy(&group)?];
    thread::sleep(Duration::from_secs(16));
    let load = read_in(&group, agent.file("/proc/loadavg"))?;
    let minute: f64 = load.split(' ').next().unwrap_or_default().parse()?;
    // Three ticks of two threads; from the first read on it would be nothing.
    ensure!((0.3..0.8).contains(&minute), "{load}");
    Ok(())
}

#[test]
fn an_open_file_of_a_removed_container_is_never_the_hosts() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&limits())?;
    // Opens in the container, leaves it, and reads on once it is told to.
    let leave: String = group
        .parent_procs()
        .iter()
        .map(|file| format!("echo 0 > {}; ", file.display()))
        .collect();
    let scratch = tempfile::tempdir()?;
    let out = scratch.path().join("out");
    let script = format!(
        "exec 3< {file} 4< {file}; head -n 1 <&3 > /dev/null; read x; {leave} read x; \
         (cat <&4 | head -n 1) > {out} 2>&1; echo end >> {out}; sleep 100",
        file = agent.file("/proc/meminfo").display(),
        out = out.display()
    );
    let mut reader = Process::start(&group, &["sh", "-c", &script])?;
    reader.say("leave\n")?;
    wait_for("the reader to leave", || {
        Ok(group.is_empty()?.then_some(()))
    })?;
    group.remake(&Limits {
        memory: Some(32 * MIB),
        ..limits()
    })?;
    reader.say("read\n")?;
    let said = wait_for("the reader's words", || {
        let text = fs::read_to_string(&out).unwrap_or_default();
        Ok(text.ends_with("end\n").then_some(text))
    })?;
    ensure!(said.contains("No such device"), "{said}");
    Ok(())
}

#[test]
fn switched_off_pressure_ends_no_container() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&limits())?;
    let first = Process::idle(&group)?;
    thread::sleep(Duration::from_secs(3));
    // It is as old as its first process was.
    let _second = Process::idle(&group)?;
    read_in(&group, agent.file("/proc/stat"))?;
    drop(first);
    let idle = || number(&read_in(&group, agent.file("/proc/stat"))?, "cpu ", 4);
    let pressure = || read_in(&group, agent.file("/proc/pressure/cpu"));
    pressure()?;
    let before = idle()?;
    // Since Linux 6.1.
    for value in ["0", "1"] {
        if group.write("unified", "cgroup.pressure", value).is_err() {
            break;
        }
        ensure!(pressure()?.starts_with("some avg10="));
        ensure!(idle()? >= before);
    }
    Ok(())
}

#[test]
fn a_system_container_is_one_container() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let tree = Tree::new(
        machine.layout(),
        &format!("lxc.payload.test-{}", std::process::id()),
    )?;
    let top = tree.top();
    top.make()?;
    top.set(&limits())?;
    let inner = |name: &str| -> Result<Group> {
        let group = top.child(name);
        group.make()?;
        Ok(group)
    };
    let _init = Process::idle(&inner("init.scope")?)?;
    let _busy = Process::busy(&inner("app.service")?)?;
    let session = inner("session-1.scope")?;
    let read = |path: &str| read_in(&session, agent.file(path));
    assert_eq!(number(&read("/proc/meminfo")?, "MemTotal:", 1)?, 64 * 1024);
    thread::sleep(Duration::from_secs(3));
    // A session that just begins shows the service's time, and the age of init.
    let stat = read("/proc/stat")?;
    ensure!(number(&stat, "cpu ", 1)? > 50, "{stat}");
    let uptime = read("/proc/uptime")?;
    ensure!(
        (2..600).contains(&number(&uptime.replace('.', " "), "", 0)?),
        "{uptime}"
    );
    Ok(())
}

#[test]
fn an_exec_from_another_v2_cgroup_is_the_same_container() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    // Only where there are hierarchies of both versions can a process be in one and not in the other.
    let Layout::V1(_) = machine.layout() else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&limits())?;
    let _busy = [Process::busy(&group)?, Process::busy(&group)?];
    thread::sleep(Duration::from_secs(3));
    let elsewhere = group.without("unified");
    let pressure = |group| read_in(group, agent.file("/proc/pressure/cpu"));
    let total = |text: &str| -> Result<u64> {
        let total = text
            .lines()
            .next()
            .and_then(|line| line.rsplit_once("total="));
        Ok(total.with_context(|| text.to_owned())?.1.parse()?)
    };
    // Its pressure is the container's, not none, and not that of everybody.
    let (before, seen, after) = (pressure(&group)?, pressure(&elsewhere)?, pressure(&group)?);
    let between = total(&before)?..=total(&after)?;
    let seen = total(&seen)?;
    ensure!(
        seen > 0 && between.contains(&seen),
        "{seen} is not in {between:?}"
    );
    Ok(())
}
