//! `/proc/loadavg`, and counters that are kept.

use super::fake::{CONTAINER, Node, PID};
use super::text;
use procview_agent::{clock, view::load};

#[test]
fn load_counts_runnable_and_blocked_threads() {
    let node = Node::new().with_v2();
    node.set(
        &format!("cgroup/{CONTAINER}/inner/deeper/cgroup.threads"),
        "21\n22\n23\n",
    );
    node.process(21, "runs", 'R');
    node.process(22, "waits for a disk", 'D');
    node.process(23, "sleeps", 'S');
    node.remove(&format!("cgroup/{CONTAINER}/pids.current"));
    assert_eq!(text(&node, "proc/loadavg"), "0.00 0.00 0.00 1/4 12\n");
    assert!(text(&node, "proc/stat").contains("procs_running 1\nprocs_blocked 1\n"));
}

#[test]
fn the_newest_pid_is_the_containers_own() {
    let node = Node::new().with_v2();
    node.cgroup("cgroup.threads", &format!("{PID}\n4800\n"));
    node.set(
        "proc/4800/task/4800/stat",
        "4800 (new) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9999 0 0\n",
    );
    node.set("proc/4800/status", "Name:\tnew\nNSpid:\t4800\t77\n");
    assert_eq!(text(&node, "proc/loadavg"), "0.00 0.00 0.00 1/7 77\n");
}

#[test]
fn an_idle_container_keeps_its_count() {
    let node = Node::new().with_v2();
    node.process(PID, "app", 'R');
    let (registry, host, container) = node.container();
    let tick = |second: u64| {
        load::tick(
            &container,
            registry.callers(),
            &host,
            clock::boottime() + second * 1_000_000,
        );
        container.load()
    };
    assert_eq!(tick(0).threads.running, 1);
    // Without CPU time used since, the thread that now sleeps is not looked at again.
    node.process(PID, "app", 'S');
    let kept = tick(5);
    assert_eq!(kept.threads.running, 1);
    assert_eq!(kept.average.hundredths()[0], (0, 8));
    node.cgroup(
        "cpu.stat",
        "usage_usec 3000001\nuser_usec 2000001\nsystem_usec 1000000\n",
    );
    assert_eq!(tick(10).threads.running, 0);
}

#[test]
fn counters_continue_in_another_process() {
    let node = Node::new().with_v2();
    let (registry, host, old) = node.container();
    load::tick(
        &old,
        registry.callers(),
        &host,
        clock::boottime() + 60_000_000,
    );
    let text = serde_json::to_string(&old.counters()).expect("plain numbers serialise");
    let (_, _, new) = node.container();
    new.restore(serde_json::from_str(&text).expect("what was just written"));
    assert_eq!(new.load().ticked_at, old.load().ticked_at);
    assert_eq!(new.counters().cpu, old.counters().cpu);
}
