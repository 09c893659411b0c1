//! Memory, swap, I/O, pressure and the rest.

use super::fake::{Node, PID, read};
use super::text;

#[test]
fn swap_shows_in_both_files() {
    let node = Node::new().with_v2();
    node.set(
        "proc/meminfo",
        "MemTotal: 16777216 kB\nSwapTotal:      4194304 kB\nSwapFree:       4000000 kB\n",
    );
    node.cgroup("memory.swap.max", "1073741824\n");
    node.cgroup("memory.swap.current", "268435456\n");
    let fs = node.serve();
    let meminfo = read(&fs, PID, "proc/meminfo").expect("meminfo");
    assert!(
        meminfo.contains("SwapTotal:       1048576 kB\nSwapFree:         786432 kB\n"),
        "{meminfo}"
    );
    let swaps = read(&fs, PID, "proc/swaps").expect("swaps");
    let line: Vec<_> = swaps
        .lines()
        .nth(1)
        .expect("a line")
        .split_whitespace()
        .collect();
    assert_eq!(line, ["none", "virtual", "1048576", "262144", "0"]);
}

#[test]
fn a_disk_shows_if_the_container_used_it() {
    let node = Node::new().with_v2();
    let used = " 259       0 nvme0n1 10 0 2048 0 1 0 8 0 0 0 0 0 0 0 0 0 0\n";
    assert_eq!(text(&node, "proc/diskstats"), used);
    node.cgroup(
        "io.stat",
        "259:0 rbytes=0 wbytes=0 rios=0 wios=0 dbytes=0 dios=0\n",
    );
    assert_eq!(text(&node, "proc/diskstats"), "");
}

#[test]
fn pressure_is_the_containers_own() {
    let node = Node::new().with_v2();
    assert_eq!(
        text(&node, "proc/pressure/cpu"),
        "some avg10=1.00 avg60=0.50 avg300=0.10 total=12345\n"
    );
    assert!(
        text(&node, "proc/pressure/io")
            .starts_with("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
    );
}

#[test]
fn vmstat_has_the_hosts_keys() {
    assert_eq!(
        text(&Node::new().with_v2(), "proc/vmstat"),
        "nr_free_pages 105472\npgfault 1234\nfuture_key 0\n"
    );
}

#[test]
fn slabinfo_is_the_header_alone() {
    assert_eq!(
        text(&Node::new().with_v2(), "proc/slabinfo"),
        "slabinfo - version: 2.1\n# name            <active_objs>\n"
    );
}
