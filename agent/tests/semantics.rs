//! Sentences of SEMANTICS.md that a node of plain files can show. The others are tests beside the
//! code, in `fs.rs`, or on real kernels.

mod fake;

use fake::{CONTAINER, Node, PID, inode, read};
use procview_agent::fs::{Caller, FsError, Kind};
use procview_agent::{clock, load};

fn text(node: &Node, path: &str) -> String {
    read(&node.serve(), PID, path).expect("a file of the view")
}

fn lines_of(text: &str, start: &str) -> Vec<Vec<u64>> {
    let numbers = |line: &str| {
        line.split_whitespace()
            .skip(1)
            .map(|word| word.parse().expect("a number"))
            .collect()
    };
    text.lines()
        .filter(|line| line.starts_with(start))
        .map(numbers)
        .collect()
}

#[test]
fn a_reader_below_the_container_sees_the_container() {
    let node = Node::new().with_v2();
    for inner in ["init.scope", "system.slice/app.service"] {
        let path = format!("{CONTAINER}/{inner}");
        node.set(&format!("cgroup/{path}/memory.max"), "1048576\n");
        node.set("proc/4712/cgroup", &format!("0::/{path}\n"));
        node.process(4712, "inner", 'S');
        let seen = read(&node.serve(), 4712, "proc/meminfo").expect("meminfo");
        assert!(
            seen.starts_with("MemTotal:         524288 kB\n"),
            "{inner}:\n{seen}"
        );
    }
}

#[test]
fn a_reader_that_moves_sees_where_it_is() {
    let node = Node::new().with_v2();
    let other = CONTAINER.replace("0123", "fedc");
    node.set(&format!("cgroup/{other}/memory.max"), "268435456\n");
    let fs = node.serve();
    let total = || read(&fs, PID, "proc/meminfo").expect("meminfo")[..24].to_owned();
    let mine = "MemTotal:         524288";
    let others = "MemTotal:         262144";
    let put = |cpuset: &str, rest: &str| {
        let text = format!("4:cpuset:/{cpuset}\n0::/{rest}\n");
        node.set(&format!("proc/{PID}/cgroup"), &text);
        node.set(&format!("proc/{PID}/cpuset"), &format!("/{cpuset}\n"));
    };
    // Often enough for whatever is kept of a reader.
    let read_often = || (0..5).map(|_| total()).next_back().expect("a text");
    assert_eq!(read_often(), mine);
    put(&other, &other);
    assert_eq!(read_often(), others);
    put(CONTAINER, CONTAINER);
    assert_eq!(total(), mine);
    assert_eq!(read_often(), mine);
    put(CONTAINER, &other);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(total(), others);
    // A cpuset that is no container's tells nothing.
    put("shared", &other);
    assert_eq!(read_often(), others);
    put("shared", CONTAINER);
    assert_eq!(total(), mine);
    // Another process has the number.
    node.set(&format!("proc/{PID}/cpuset"), "/\n");
    node.set(&format!("proc/{PID}/cgroup"), "0::/\n");
    assert_eq!(total(), "MemTotal:       16777216");
}

#[test]
fn two_containers_see_different_files_at_one_path() {
    let node = Node::new().with_v2();
    let other = CONTAINER.replace("0123", "fedc");
    node.set(&format!("cgroup/{other}/memory.max"), "268435456\n");
    node.set("proc/4713/cgroup", &format!("0::/{other}\n"));
    node.process(4713, "other", 'S');
    let fs = node.serve();
    let total = |pid| read(&fs, pid, "proc/meminfo").expect("meminfo")[..24].to_owned();
    assert_eq!(total(PID), "MemTotal:         524288");
    assert_eq!(total(4713), "MemTotal:         262144");
    assert_eq!(
        inode(&fs, PID, "proc/meminfo").ok(),
        inode(&fs, 4713, "proc/meminfo").ok()
    );
}

#[test]
fn files_look_like_those_of_procfs() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    let caller = Caller::Thread(PID);
    for (path, mode) in [
        ("proc/meminfo", 0o444),
        ("proc/slabinfo", 0o400),
        ("proc/pressure/io", 0o666),
        ("sys/devices/system/cpu/online", 0o444),
    ] {
        let ino = inode(&fs, PID, path).expect("a file");
        let attributes = fs.attributes(&caller, ino).expect("its attributes");
        assert_eq!(
            (attributes.kind, attributes.mode),
            (Kind::File, mode),
            "{path}"
        );
    }
}

#[test]
fn an_unknown_name_is_not_there() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    for path in [
        "etc",
        "proc/version",
        "proc/pressure/net",
        "sys/devices/system/cpu/cpu2",
        "sys/devices/system/cpu/cpu01",
    ] {
        assert!(
            matches!(inode(&fs, PID, path), Err(FsError::NotFound)),
            "{path}"
        );
    }
    assert!(matches!(
        fs.attributes(&Caller::Thread(PID), 12_345),
        Err(FsError::NotFound)
    ));
}

#[test]
fn n_is_the_smaller_of_quota_and_cpuset() {
    for (quota, cpuset, online) in [
        ("150000 100000", "2-7", "0-1\n"),
        ("max 100000", "2-7", "0-5\n"),
        ("400000 100000", "3,5", "0-1\n"),
        ("1000 100000", "0-7", "0\n"),
        ("max 100000", "", "0-7\n"),
        ("max 100000", "64-99", "0-7\n"),
        ("9999999999 1", "0-7", "0-7\n"),
    ] {
        let node = Node::new().with_v2();
        node.cgroup("cpu.max", quota);
        node.cgroup("cpuset.cpus.effective", cpuset);
        assert_eq!(
            text(&node, "sys/devices/system/cpu/online"),
            online,
            "{quota} {cpuset}"
        );
    }
}

#[test]
fn all_files_agree_on_the_cpus() {
    let node = Node::new().with_v2();
    for quota in [
        "50000 100000",
        "100000 100000",
        "250000 100000",
        "max 100000",
    ] {
        node.cgroup("cpu.max", quota);
        let fs = node.serve();
        let read = |path| read(&fs, PID, path).expect("a file");
        let cpuinfo = read("proc/cpuinfo")
            .lines()
            .filter(|line| line.starts_with("processor"))
            .count();
        let stat = lines_of(&read("proc/stat"), "cpu").len() - 1;
        let directory = inode(&fs, PID, "sys/devices/system/cpu").expect("the directory");
        let entries = fs
            .entries(&Caller::Thread(PID), directory)
            .expect("its entries");
        let is_cpu = |name: &str| {
            name.strip_prefix("cpu")
                .is_some_and(|rest| rest.parse::<u32>().is_ok())
        };
        let listed = entries.iter().filter(|(name, _)| is_cpu(name)).count();
        assert!(
            cpuinfo == stat && stat == listed && listed > 0,
            "{quota}: {cpuinfo} {stat} {listed}"
        );
    }
}

#[test]
fn the_cpu_directory_has_no_other_cpu() {
    let node = Node::new().with_v2();
    for name in ["offline", "isolated"] {
        node.set(&format!("sys/devices/system/cpu/{name}"), "6-7\n");
    }
    let fs = node.serve();
    let file = |name: &str| read(&fs, PID, &format!("sys/devices/system/cpu/{name}"));
    for name in ["online", "present", "possible"] {
        assert_eq!(file(name).expect("a list"), "0-1\n");
    }
    for name in ["offline", "isolated"] {
        assert_eq!(file(name).expect("a list"), "\n");
    }
    assert_eq!(file("kernel_max").expect("the host's"), "8191\n");
    assert!(file("cpu1/topology/core_id").is_ok());
    assert!(matches!(
        file("cpu2/topology/core_id"),
        Err(FsError::NotFound)
    ));
}

#[test]
fn what_the_world_may_not_read_is_not_there() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::new().with_v2();
    let secret = "sys/devices/system/cpu/cpu2/crash_notes";
    node.set(secret, "12ab\n");
    node.set("sys/devices/system/cpu/cpu2/online", "1\n");
    let mode = |path: &str, mode| {
        std::fs::set_permissions(node.path(path), std::fs::Permissions::from_mode(mode))
    };
    mode(secret, 0o400).expect("a mode");
    mode("sys/devices/system/cpu/cpu2/online", 0o644).expect("a mode");
    let fs = node.serve();
    assert!(matches!(
        inode(&fs, PID, "sys/devices/system/cpu/cpu0/crash_notes"),
        Err(FsError::NotFound)
    ));
    let online = inode(&fs, PID, "sys/devices/system/cpu/cpu0/online").expect("readable by all");
    assert_eq!(
        fs.attributes(&Caller::Thread(PID), online)
            .expect("its mode")
            .mode,
        0o444
    );
}

#[test]
fn the_hosts_activity_in_sysfs_is_0() {
    let node = Node::new().with_v2();
    node.set("sys/devices/system/cpu/cpu2/cpuidle/state0/usage", "4711\n");
    node.set("sys/devices/system/cpu/cpu2/cpuidle/state0/name", "POLL\n");
    assert_eq!(
        text(&node, "sys/devices/system/cpu/cpu0/cpuidle/state0/usage"),
        "0\n"
    );
    assert_eq!(
        text(&node, "sys/devices/system/cpu/cpu0/cpuidle/state0/name"),
        "POLL\n"
    );
}

#[test]
fn the_cpu_line_is_the_sum() {
    let node = Node::new().with_v2();
    let stat = text(&node, "proc/stat");
    let sum = &lines_of(&stat, "cpu ")[0];
    let cpus = [lines_of(&stat, "cpu0"), lines_of(&stat, "cpu1")].concat();
    for (column, sum) in sum.iter().enumerate() {
        assert_eq!(
            *sum,
            cpus.iter().map(|cpu| cpu[column]).sum::<u64>(),
            "{stat}"
        );
    }
    // 1.5 s user and 0.5 s nice of 2 s in user mode, 1 s in the kernel; each CPU's part of a tick
    // is cut, as the kernel cuts it.
    assert_eq!(sum[..3], [150, 49, 99], "{stat}");
}

#[test]
fn what_the_container_has_no_value_for_is_0() {
    let stat = text(&Node::new().with_v2(), "proc/stat");
    for cpu in lines_of(&stat, "cpu") {
        assert_eq!(cpu[4..], [0; 6], "{stat}");
    }
    for line in ["intr 0\n", "ctxt 0\n", "softirq 0 0 0 0 0 0 0 0 0 0 0\n"] {
        assert!(stat.contains(line), "{stat}");
    }
}

#[test]
fn btime_is_the_hosts() {
    assert!(text(&Node::new().with_v2(), "proc/stat").contains("\nbtime 1700000000\n"));
}

#[test]
fn uptime_is_the_age_of_the_container() {
    let node = Node::new().with_v2();
    // The container's process started 1 s after boot.
    let boottime = || procview_agent::clock::boottime() as f64 / 1e6 - 1.0;
    let before = boottime();
    let uptime = text(&node, "proc/uptime");
    let fields: Vec<f64> = uptime
        .split_whitespace()
        .map(|field| field.parse().expect("seconds"))
        .collect();
    assert!(
        (before - 0.02..=boottime()).contains(&fields[0]),
        "{before} {uptime}"
    );
    // 1.5 CPUs, of which 3 s were used.
    assert!(
        (fields[1] - (fields[0] * 1.5 - 3.0)).abs() < 0.1,
        "{uptime}"
    );
}

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
        "proc/4800/stat",
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
