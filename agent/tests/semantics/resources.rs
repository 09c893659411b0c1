//! Memory, swap, I/O, pressure and the rest.

use super::fake::{Node, PID, inode, read};
use super::text;
use procview_agent::serve::fs::Caller;

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
fn siblings_under_a_shared_swap_limit_count() {
    let node = Node::new().with_v2();
    node.set(
        "proc/meminfo",
        "MemTotal: 16777216 kB\nSwapTotal:      4194304 kB\nSwapFree:       4000000 kB\n",
    );
    let pod = super::fake::CONTAINER.rsplit_once('/').expect("a pod").0;
    node.set(&format!("cgroup/{pod}/memory.swap.max"), "1073741824\n");
    node.set(&format!("cgroup/{pod}/memory.swap.current"), "805306368\n");
    node.cgroup("memory.swap.max", "max\n");
    node.cgroup("memory.swap.current", "268435456\n");
    let fs = node.serve();
    let meminfo = read(&fs, PID, "proc/meminfo").expect("meminfo");
    assert!(
        meminfo.contains("SwapTotal:       1048576 kB\nSwapFree:         262144 kB\n"),
        "{meminfo}"
    );
    assert!(
        read(&fs, PID, "proc/swaps")
            .expect("swaps")
            .contains("\t1048576\t\t786432\t")
    );
}

#[test]
fn memory_high_is_a_limit_of_what_is_free() {
    let node = Node::new().with_v2();
    let pod = super::fake::CONTAINER.rsplit_once('/').expect("a pod").0;
    node.set(&format!("cgroup/{pod}/memory.high"), "209715200\n");
    node.set(&format!("cgroup/{pod}/memory.current"), "104857600\n");
    let meminfo = text(&node, "proc/meminfo");
    assert!(
        meminfo.starts_with("MemTotal:         524288 kB\nMemFree:          102400 kB\n"),
        "{meminfo}"
    );
}

#[test]
fn a_limit_above_the_hosts_memory_hides_no_usage() {
    let node = Node::new().with_v2();
    node.cgroup("memory.max", "42949672960\n");
    let meminfo = text(&node, "proc/meminfo");
    assert!(
        meminfo.starts_with("MemTotal:       16777216 kB\nMemFree:        16674816 kB\n"),
        "{meminfo}"
    );
}

#[test]
fn huge_pages_are_shared_with_the_host_or_limited() {
    let node = Node::new().with_v2();
    node.set("proc/meminfo", "MemTotal: 16777216 kB\nHugePages_Total:     100\nHugePages_Free:       10\nHugePages_Rsvd:        5\nHugepagesize:       2048 kB\nHugetlb:          204800 kB\n");
    let lines = |node: &Node| {
        let text = text(node, "proc/meminfo");
        text.lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
            .collect::<Vec<u64>>()
    };
    // Without the controller there are none; without a limit of it they are the node's.
    assert_eq!(lines(&node), [0, 0, 0, 2048, 0]);
    node.set(
        "cgroup/cgroup.controllers",
        "cpuset cpu io memory hugetlb pids\n",
    );
    assert_eq!(lines(&node), [100, 10, 0, 2048, 204_800]);
    node.cgroup("hugetlb.2MB.max", "8388608\n");
    node.cgroup("hugetlb.2MB.current", "2097152\n");
    assert_eq!(lines(&node), [4, 3, 0, 2048, 8192]);
}

#[test]
fn every_disk_is_listed_and_what_the_container_used_counts() {
    let node = Node::new().with_v2();
    node.set("proc/diskstats", "   7       0 loop0 1 2 3 4 5 6 7 8 9 10 11\n   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n   8       1 sda1 1 2 3 4 5 6 7 8 9 10 11\n 259       0 nvme0n1 1 2 3 4 5 6 7 8 9 10 11\n");
    let disks =
        |used| format!("   8       0 sda 0 0 0 0 0 0 0 0 0 0 0\n 259       0 nvme0n1 {used}\n");
    assert_eq!(
        text(&node, "proc/diskstats"),
        disks("10 0 2048 0 1 0 8 0 0 0 0")
    );
    node.cgroup(
        "io.stat",
        "259:0 rbytes=0 wbytes=0 rios=0 wios=0 dbytes=0 dios=0\n",
    );
    assert_eq!(
        text(&node, "proc/diskstats"),
        disks("0 0 0 0 0 0 0 0 0 0 0")
    );
    // A partition that it used itself.
    node.cgroup(
        "io.stat",
        "8:1 rbytes=512 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
    );
    assert!(text(&node, "proc/diskstats").contains(" sda1 1 0 1 0 "));
}

#[test]
fn a_memory_node_has_the_containers_part() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    let file =
        |name: &str| read(&fs, PID, &format!("sys/devices/system/node/{name}")).expect("a file");
    // CPUs 2 and 3 of node 0, memory of both.
    for (name, shown) in [
        ("online", "0-1\n"),
        ("possible", "0-1\n"),
        ("has_cpu", "0\n"),
        ("has_memory", "0-1\n"),
        ("node0/cpulist", "2-3\n"),
        ("node0/cpumap", "0c\n"),
        ("node1/cpulist", "\n"),
        ("node0/distance", "10 21\n"),
        ("node0/numastat", "numa_hit 0\n"),
        ("node0/vmstat", "nr_free_pages 52736\nnuma_hit 0\n"),
    ] {
        assert_eq!(file(name), shown, "{name}");
    }
    let total = |text: &str| -> u64 {
        text.split_whitespace()
            .nth(3)
            .and_then(|word| word.parse().ok())
            .expect("MemTotal")
    };
    assert_eq!(
        total(&file("node0/meminfo")) + total(&file("node1/meminfo")),
        524_288
    );

    node.cgroup("cpuset.mems.effective", "0\n");
    node.cgroup(
        "memory.numa_stat",
        "anon N0=62914560 N1=0\nfile N0=31457280 N1=0\n",
    );
    // A file that was not there is looked for again after a while.
    let fs = node.serve();
    let file =
        |name: &str| read(&fs, PID, &format!("sys/devices/system/node/{name}")).expect("a file");
    assert_eq!(
        (file("online").as_str(), file("node0/distance").as_str()),
        ("0\n", "10\n")
    );
    assert_eq!(
        file("node0/meminfo"),
        "Node 0 MemTotal:         524288 kB\nNode 0 MemFree:          421888 kB\nNode 0 FilePages:         30720 kB\n"
    );
    let top = inode(&fs, PID, "sys/devices/system/node").expect("the directory");
    let caller = Caller::Thread(PID);
    let names = |ino| -> Vec<_> {
        fs.entries(&caller, ino)
            .expect("a directory")
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    };
    assert_eq!(
        names(top),
        [
            "online",
            "possible",
            "has_cpu",
            "has_memory",
            "has_normal_memory",
            "node0"
        ]
    );
    let node0 = inode(&fs, PID, "sys/devices/system/node/node0").expect("a node");
    assert_eq!(
        names(node0),
        [
            "cpulist", "cpumap", "distance", "meminfo", "numastat", "vmstat", "cpu2", "cpu3"
        ]
    );
    let link = inode(&fs, PID, "sys/devices/system/node/node0/cpu3").expect("a link");
    assert_eq!(
        fs.link_target(&caller, link).expect("its target"),
        b"../../cpu/cpu3"
    );
    for other in [
        "node1",
        "node0/compact",
        "node0/cpu0",
        "node0/online",
        "cpulist",
    ] {
        assert!(
            inode(&fs, PID, &format!("sys/devices/system/node/{other}")).is_err(),
            "{other}"
        );
    }
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
