//! The view as plain processes in cgroups see it. Runs on this machine and, by `guest.rs`, in guests
//! with cgroup v2.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use procview::parse::CpuList;
use procview_tests::agent::Agent;
use procview_tests::cgroup::{Group, Limits, Pod};
use procview_tests::machine::{Machine, Need, read, wait_for};
use procview_tests::process::{Process, read_in, run_in};

const MIB: u64 = 1 << 20;

fn limits(memory: u64, cpus: f64) -> Limits {
    Limits {
        memory: Some(memory),
        cpus: Some(cpus),
        ..Limits::default()
    }
}

/// The number in a line such as `MemTotal: 1 kB` or `cpu 1 2 3`.
fn number(text: &str, key: &str, column: usize) -> Result<u64> {
    let line = text
        .lines()
        .find(|line| line.split([':', ' ']).next() == Some(key));
    let line = line.with_context(|| format!("no {key} in {text}"))?;
    let word = line.split_whitespace().nth(column);
    Ok(word.with_context(|| line.to_owned())?.parse()?)
}

/// Kilobytes in a line of meminfo.
fn kilobytes(group: &Group, agent: &Agent, key: &str) -> Result<u64> {
    number(&read_in(group, agent.file("/proc/meminfo"))?, key, 1)
}

/// The CPUs that every file shows; an error if they do not agree.
fn cpus(group: &Group, agent: &Agent) -> Result<CpuList> {
    let list = |path: &str| {
        Ok::<_, anyhow::Error>(CpuList::parse(read_in(group, agent.file(path))?.as_bytes()))
    };
    let stat = read_in(group, agent.file("/proc/stat"))?;
    let info = read_in(group, agent.file("/proc/cpuinfo"))?;
    let dir = |path: &str| {
        let path = agent.file(path);
        run_in(group, &["ls".as_ref(), path.as_os_str()])
    };
    let numbers = |names: &mut dyn Iterator<Item = &str>| -> CpuList {
        names
            .filter_map(|name| name.strip_prefix("cpu")?.parse().ok())
            .collect()
    };
    let online = list("/sys/devices/system/cpu/online")?;
    let processors = info.lines().filter_map(|line| {
        line.strip_prefix("processor")?
            .split(": ")
            .nth(1)?
            .parse()
            .ok()
    });
    for (what, cpus) in [
        ("present", list("/sys/devices/system/cpu/present")?),
        (
            "directories",
            numbers(&mut dir("/sys/devices/system/cpu")?.lines()),
        ),
        (
            "stat",
            numbers(&mut stat.lines().filter_map(|line| line.split(' ').next())),
        ),
        ("cpuinfo", processors.collect()),
        ("node0", list("/sys/devices/system/node/node0/cpulist")?),
    ] {
        ensure!(cpus == online, "online {online:?}, {what} {cpus:?}");
    }
    ensure!(
        list("/sys/devices/system/cpu/possible")?
            == CpuList::parse(read("/sys/devices/system/cpu/possible")?.as_bytes()),
        "possible is not the kernel's"
    );
    // The kernel says the same of where a process may run.
    let status = run_in(group, &["grep", "Cpus_allowed_list", "/proc/self/status"])?;
    let mask = CpuList::parse(
        status
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .as_bytes(),
    );
    ensure!(
        online.without(&mask).is_empty(),
        "online {online:?}, mask {mask:?}"
    );
    Ok(online)
}

#[test]
fn each_container_sees_its_own() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let small = pod.container(&limits(100 * MIB, 1.0))?;
    let large = pod.container(&limits(200 * MIB, 1.0))?;
    assert_eq!(kilobytes(&small, &agent, "MemTotal")?, 100 * 1024);
    assert_eq!(kilobytes(&large, &agent, "MemTotal")?, 200 * 1024);
    // Whatever a container makes within its group has its size.
    let within = small.child("init.scope");
    within.make()?;
    assert_eq!(kilobytes(&within, &agent, "MemTotal")?, 100 * 1024);
    Ok(())
}

#[test]
fn the_root_group_sees_the_machine() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let root = Group::root(machine.layout());
    let total = number(&read("/proc/meminfo")?, "MemTotal", 1)?;
    assert_eq!(kilobytes(&root, &agent, "MemTotal")?, total);
    assert_eq!(cpus(&root, &agent)?.len(), machine.cpus()?);
    let cpuinfo = read_in(&root, agent.file("/proc/cpuinfo"))?;
    assert_eq!(
        cpuinfo.lines().count(),
        read("/proc/cpuinfo")?.lines().count()
    );
    Ok(())
}

#[test]
fn meminfo_has_the_hosts_lines_and_sane_numbers() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&limits(64 * MIB, 1.0))?;
    let text = read_in(&group, agent.file("/proc/meminfo"))?;
    let keys = |text: &str| -> Vec<_> {
        let keys = text.lines().map(|line| line.split(':').next());
        keys.map(|key| key.unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(keys(&text), keys(&read("/proc/meminfo")?));
    let free = number(&text, "MemFree", 1)?;
    let available = number(&text, "MemAvailable", 1)?;
    ensure!(free <= available && available <= 64 * 1024, "{text}");
    ensure!(free > 32 * 1024, "an idle container uses little: {text}");
    let swap = number(&text, "SwapTotal", 1)?;
    ensure!(number(&text, "SwapFree", 1)? <= swap, "{text}");
    Ok(())
}

#[test]
fn used_memory_shows() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&limits(256 * MIB, 1.0))?;
    let before = kilobytes(&group, &agent, "MemFree")?;
    // A shell that holds 32 MiB of text, and then waits.
    let script = "x=$(head -c 33554432 /dev/zero | tr '\\0' x); read y";
    let _user = Process::start(&group, &["sh", "-c", script])?;
    wait_for("memory to be used", || {
        Ok((group.memory_usage()? > 32 * MIB).then_some(()))
    })?;
    wait_for("MemFree to show it", || {
        let free = kilobytes(&group, &agent, "MemFree")?;
        Ok((free + 30 * 1024 < before).then_some(()))
    })
}

#[test]
fn a_limit_of_the_pod_is_a_limit_of_its_containers() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    pod.group().set(&limits(100 * MIB, 1.0))?;
    let group = pod.container(&Limits::default())?;
    let sibling = pod.container(&Limits::default())?;
    assert_eq!(kilobytes(&group, &agent, "MemTotal")?, 100 * 1024);
    assert_eq!(cpus(&group, &agent)?.len(), 1);
    // What one uses the other has not.
    let before = kilobytes(&group, &agent, "MemFree")?;
    let script = "x=$(head -c 33554432 /dev/zero | tr '\\0' x); read y";
    let _user = Process::start(&sibling, &["sh", "-c", script])?;
    wait_for("the sibling's memory to show in MemFree", || {
        let free = kilobytes(&group, &agent, "MemFree")?;
        Ok((free + 30 * 1024 < before).then_some(()))
    })
}

#[test]
fn cpus_are_quota_and_cpuset() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let host = machine.cpus()?;
    let group = pod.container(&Limits::default())?;
    assert_eq!(cpus(&group, &agent)?.len(), host);
    for (quota, expected) in [(0.1, 1), (1.0, 1), (1.5, 2.min(host)), (64.0, host)] {
        group.set(&limits(64 * MIB, quota))?;
        assert_eq!(cpus(&group, &agent)?.len(), expected, "{quota} CPUs");
    }
    let last = host.saturating_sub(1).to_string();
    group.set(&Limits {
        cpuset: Some(last.clone()),
        ..Limits::default()
    })?;
    // Under its own number.
    assert_eq!(cpus(&group, &agent)?, CpuList::parse(last.as_bytes()));
    Ok(())
}

#[test]
fn a_resize_shows_at_once() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&limits(64 * MIB, 1.0))?;
    for memory in [64, 128, 32, 256, 33] {
        group.set(&limits(memory * MIB, 1.0))?;
        assert_eq!(kilobytes(&group, &agent, "MemTotal")?, memory * 1024);
    }
    group.unlimited()?;
    let total = number(&read("/proc/meminfo")?, "MemTotal", 1)?;
    assert_eq!(kilobytes(&group, &agent, "MemTotal")?, total);
    Ok(())
}

#[test]
fn swap_is_the_groups() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&Limits {
        memory: Some(64 * MIB),
        swap: Some(16 * MIB),
        ..Limits::default()
    })?;
    let host = number(&read("/proc/meminfo")?, "SwapTotal", 1)?;
    // Guests have some.
    ensure!(host > 0 || !machine.is_guest(), "no swap to be shown");
    let expected = host.min(16 * 1024);
    assert_eq!(kilobytes(&group, &agent, "SwapTotal")?, expected);
    let swaps = read_in(&group, agent.file("/proc/swaps"))?;
    let lines = if expected == 0 { 1 } else { 2 };
    assert_eq!(swaps.lines().count(), lines, "{swaps}");
    Ok(())
}

#[test]
fn used_swap_shows() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    if number(&read("/proc/meminfo")?, "SwapTotal", 1)? == 0 {
        ensure!(!machine.is_guest(), "no swap to be used");
        return Ok(());
    }
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    pod.group().set(&Limits {
        memory: Some(256 * MIB),
        swap: Some(32 * MIB),
        ..Limits::default()
    })?;
    let group = pod.container(&limits(24 * MIB, 1.0))?;
    let sibling = pod.container(&Limits::default())?;
    let script = "x=$(head -c 33554432 /dev/zero | tr '\\0' x); read y";
    let _user = Process::start(&group, &["sh", "-c", script])?;
    let current = || -> Result<u64> {
        Ok(pod
            .group()
            .read("memory", "memory.swap.current")?
            .trim()
            .parse::<u64>()?
            / 1024)
    };
    wait_for("some of it to be swapped out", || {
        Ok((current()? > 4096).then_some(()))
    })?;
    // To the one that uses it, and to its sibling under the same limit.
    wait_for("SwapFree to show it", || {
        let (before, seen) = (
            current()?,
            [
                kilobytes(&group, &agent, "SwapFree")?,
                kilobytes(&sibling, &agent, "SwapFree")?,
            ],
        );
        let expected = 32 * 1024 - before;
        Ok((before == current()? && seen == [expected; 2]).then_some(()))
    })?;
    assert_eq!(kilobytes(&sibling, &agent, "SwapTotal")?, 32 * 1024);
    Ok(())
}

#[test]
fn stat_counts_the_groups_time() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&limits(64 * MIB, 0.5))?;
    let idle = pod.container(&limits(64 * MIB, 0.5))?;
    let _waits = Process::idle(&idle)?;
    let _works = Process::busy(&group)?;
    let sum = |text: &str| -> Result<(u64, u64)> {
        let used = number(text, "cpu", 1)? + number(text, "cpu", 2)? + number(text, "cpu", 3)?;
        Ok((used, number(text, "cpu", 4)?))
    };
    let stat = |group: &Group| sum(&read_in(group, agent.file("/proc/stat"))?);
    let idle_before = stat(&idle)?;
    // Reading takes a while: what the view counts lies between what the kernel counts within and
    // around the two readings.
    let around_from = group.cpu_usage()?;
    let busy_before = stat(&group)?;
    let within_from = group.cpu_usage()?;
    thread::sleep(Duration::from_secs(4));
    let within = (group.cpu_usage()? - within_from) / 10_000;
    let busy = stat(&group)?;
    let around = (group.cpu_usage()? - around_from) / 10_000;
    let idle = stat(&idle)?;
    let used = busy.0.checked_sub(busy_before.0).context("falls")?;
    ensure!(
        (within.saturating_sub(10)..=around + 10).contains(&used),
        "{used} ticks, the kernel counted {within} to {around}"
    );
    busy.1.checked_sub(busy_before.1).context("idle falls")?;
    let rest = idle.1.checked_sub(idle_before.1).context("idle falls")?;
    let used = idle.0.checked_sub(idle_before.0).context("falls")?;
    // Readers in it use a little; its neighbour's time is not its own.
    ensure!(used <= 200 && rest >= used, "{used} used, {rest} idle");
    Ok(())
}

#[test]
fn load_is_the_groups() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let busy = pod.container(&limits(64 * MIB, 1.0))?;
    let idle = pod.container(&limits(64 * MIB, 1.0))?;
    let _works = Process::busy(&busy)?;
    let _waits = Process::idle(&idle)?;
    let load = |group: &Group| -> Result<f64> {
        let text = read_in(group, agent.file("/proc/loadavg"))?;
        let fields: Vec<_> = text.split_whitespace().collect();
        ensure!(fields.len() == 5, "{text}");
        Ok(fields.first().unwrap_or(&"").parse()?)
    };
    wait_for(
        "the load to rise",
        || Ok((load(&busy)? > 0.1).then_some(())),
    )?;
    ensure!(load(&busy)? < 2.0, "one process is a load of 1");
    ensure!(load(&idle)? < 0.1, "a neighbour's load is not its own");
    Ok(())
}

#[test]
fn uptime_is_the_containers() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&limits(64 * MIB, 1.0))?;
    let _first = Process::idle(&group)?;
    thread::sleep(Duration::from_secs(1));
    let uptime = || -> Result<f64> {
        let text = read_in(&group, agent.file("/proc/uptime"))?;
        Ok(text.split(' ').next().unwrap_or_default().parse()?)
    };
    let first = uptime()?;
    ensure!((0.5..60.0).contains(&first), "{first}");
    ensure!(uptime()? >= first);
    Ok(())
}

#[test]
fn render_prints_what_the_view_shows() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let group = pod.container(&limits(64 * MIB, 1.0))?;
    let process = Process::idle(&group)?;
    for path in [
        "/proc/cpuinfo",
        "/proc/swaps",
        "/sys/devices/system/cpu/online",
    ] {
        let shown = read_in(&group, agent.file(path))?;
        assert_eq!(Agent::render(path, process.pid())?, shown, "{path}");
    }
    let total = number(&Agent::render("meminfo", process.pid())?, "MemTotal", 1)?;
    assert_eq!(total, 64 * 1024);
    Ok(())
}
