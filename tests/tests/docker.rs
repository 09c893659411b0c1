//! Containers of a real Docker Engine.

use anyhow::Result;
use procview_tests::agent::Agent;
use procview_tests::docker::{Docker, IMAGE};
use procview_tests::machine::{Machine, Need, wait_for};

const NEEDS: [Need<'_>; 2] = [Need::Root, Need::Program("dockerd")];

/// `docker restart` keeps the id, and so the path of the cgroup: what its first command reads is the container's.
#[test]
fn the_first_command_after_a_restart_reads_the_containers_numbers() -> Result<()> {
    let Some(machine) = Machine::with(&NEEDS) else {
        return Ok(());
    };
    let agent = Agent::start(&[])?;
    let docker = Docker::start(machine.layout())?;
    let mount = |path: &str| format!("{}:{path}:ro", agent.file(path).display());
    let script = "head -n 1 /proc/meminfo; cat /sys/devices/system/cpu/online; exec sleep 1000";
    docker.run(&[
        "run",
        "--detach",
        "--name",
        "app",
        "--network",
        "none",
        "--memory",
        "64m",
        "--cpus",
        "0.5",
        "--volume",
        &mount("/proc/meminfo"),
        "--volume",
        &mount("/sys/devices/system/cpu"),
        IMAGE,
        "sh",
        "-c",
        script,
    ])?;
    for restarts in 1..=20 {
        let said = wait_for("the container's words", || {
            let said = docker.run(&["logs", "app"])?;
            Ok((said.lines().count() == 2 * restarts).then_some(said))
        })?;
        let last: Vec<_> = said.lines().skip(2 * (restarts - 1)).collect();
        assert_eq!(
            last,
            ["MemTotal:          65536 kB", "0"],
            "start {restarts}"
        );
        docker.run(&["restart", "--time", "0", "app"])?;
    }
    Ok(())
}
