//! The view in real containers, by each runtime.

use anyhow::{Context, Result, ensure};
use procview_tests::agent::Agent;
use procview_tests::cgroup::{Limits, Pod};
use procview_tests::container::{Container, Runtime};
use procview_tests::containerd::Containerd;
use procview_tests::machine::{Machine, Need};

const MIB: u64 = 1 << 20;

fn shown_by(runtime: Runtime, program: &str) -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root, Need::Program(program)]) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let limits = |memory, cpus| Limits {
        memory: Some(memory),
        cpus: Some(cpus),
        ..Limits::default()
    };
    let view = agent.view();
    let container = Container::start(
        runtime,
        &machine,
        &pod,
        &limits(100 * MIB, 0.5),
        Some(&view),
    )?;
    let total = || -> Result<u64> {
        let text = container.exec("awk '/^MemTotal/ {print $2}' /proc/meminfo")?;
        text.trim().parse().context(text)
    };
    assert_eq!(total()?, 100 * 1024);
    assert_eq!(container.exec("getconf _NPROCESSORS_ONLN")?.trim(), "1");
    container.update(&limits(200 * MIB, 64.0))?;
    assert_eq!(total()?, 200 * 1024);
    let cpus = machine.cpus()?.to_string();
    assert_eq!(container.exec("getconf _NPROCESSORS_ONLN")?.trim(), cpus);
    let seen = container.exec("touch /proc/meminfo 2>&1 || true")?;
    ensure!(seen.contains("Read-only"), "{seen}");
    // The agent tells it from the outside as well.
    let rendered = Agent::render("meminfo", container.pid()?)?;
    ensure!(rendered.contains("204800 kB"), "{rendered}");
    Ok(())
}

#[test]
fn runc_shows_the_view() -> Result<()> {
    shown_by(Runtime::Runc, "runc")
}

#[test]
fn crun_shows_the_view() -> Result<()> {
    shown_by(Runtime::Crun, "crun")
}

/// The reason for the webhook's mount of the parent directory.
#[test]
fn a_view_that_is_mounted_later_arrives_in_containers() -> Result<()> {
    let Some(machine) = Machine::with(&[Need::Root, Need::Program("runc")]) else {
        return Ok(());
    };
    let mut agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let limits = Limits {
        memory: Some(100 * MIB),
        ..Limits::default()
    };
    let view = agent.view();
    let container = Container::start(Runtime::Runc, &machine, &pod, &limits, Some(&view))?;
    let read = || container.exec("cat /var/lib/procview/view/proc/meminfo");
    ensure!(read()?.contains("102400 kB"));
    agent.restart()?;
    ensure!(read()?.contains("102400 kB"));
    let written = container.exec("touch /var/lib/procview/new 2>&1 || true")?;
    ensure!(written.contains("Read-only"), "{written}");
    Ok(())
}

#[test]
fn containerd_shows_the_view() -> Result<()> {
    let needs = [
        Need::Root,
        Need::Program("containerd"),
        Need::Program("ctr"),
    ];
    let Some(machine) = Machine::with(&needs) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let pod = Pod::new(machine.layout())?;
    let containerd = Containerd::start()?;
    let limits = Limits {
        memory: Some(100 * MIB),
        cpus: Some(0.5),
        ..Limits::default()
    };
    let task = containerd.run(&machine, &pod, &limits, Some(&agent.view()))?;
    let meminfo = task.exec("cat /proc/meminfo")?;
    ensure!(meminfo.contains("102400 kB"), "{meminfo}");
    assert_eq!(task.exec("getconf _NPROCESSORS_ONLN")?.trim(), "1");
    task.group().set(&Limits {
        memory: Some(200 * MIB),
        ..Limits::default()
    })?;
    let meminfo = task.exec("cat /proc/meminfo")?;
    ensure!(meminfo.contains("204800 kB"), "{meminfo}");
    Ok(())
}
