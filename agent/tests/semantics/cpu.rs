//! CPUs, `/proc/stat` and `/proc/uptime`.

use super::fake::{Node, PID, inode, read};
use super::{lines_of, text};
use procview_agent::serve::fs::{Caller, FsError};

#[test]
fn n_is_the_smaller_of_quota_and_cpuset() {
    for (quota, cpuset, online) in [
        ("150000 100000", "2-7", "2-3\n"),
        ("max 100000", "2-7", "2-7\n"),
        ("400000 100000", "3,5", "3,5\n"),
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
    let dir = |name: &str| format!("sys/devices/system/cpu/{name}");
    node.set(&dir("possible"), "0-15\n");
    node.set(&dir("enabled"), "0-15\n");
    node.set(&dir("offline"), "8-15\n");
    node.set(&dir("isolated"), "3,6-7\n");
    for policy in [0, 2, 4] {
        let list = format!("{policy} {}\n", policy + 1);
        node.set(&dir(&format!("cpufreq/policy{policy}/related_cpus")), &list);
    }
    let fs = node.serve();
    let file = |name: &str| read(&fs, PID, &dir(name));
    for (name, text) in [
        ("online", "2-3\n"),
        ("present", "2-3\n"),
        ("enabled", "2-3\n"),
        ("possible", "0-15\n"),
        ("kernel_max", "8191\n"),
        ("offline", "0-1,4-15\n"),
        ("isolated", "3\n"),
        ("cpufreq/policy2/related_cpus", "2 3\n"),
    ] {
        assert_eq!(file(name).expect("a file"), text, "{name}");
    }
    assert!(file("cpu2/topology/core_id").is_ok());
    for other in [
        "cpu1/topology/core_id",
        "cpu4/topology/core_id",
        "cpufreq/policy0/related_cpus",
    ] {
        assert!(matches!(file(other), Err(FsError::NotFound)), "{other}");
    }
    let policies = inode(&fs, PID, &dir("cpufreq")).expect("a directory");
    let policies = fs
        .entries(&Caller::Thread(PID), policies)
        .expect("its entries");
    let names: Vec<_> = policies.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["policy2"]);
}

#[test]
fn a_cpu_without_a_directory_on_the_host_has_one() {
    let node = Node::new().with_v2();
    node.remove("sys/devices/system/cpu/cpu3");
    let core = "sys/devices/system/cpu/cpu3/topology/core_id";
    assert_eq!(text(&node, core), "1\n");
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
        inode(&fs, PID, "sys/devices/system/cpu/cpu2/crash_notes"),
        Err(FsError::NotFound)
    ));
    let online = inode(&fs, PID, "sys/devices/system/cpu/cpu2/online").expect("readable by all");
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
        text(&node, "sys/devices/system/cpu/cpu2/cpuidle/state0/usage"),
        "0\n"
    );
    assert_eq!(
        text(&node, "sys/devices/system/cpu/cpu2/cpuidle/state0/name"),
        "POLL\n"
    );
}

#[test]
fn the_cpu_line_is_the_sum() {
    let node = Node::new().with_v2();
    let stat = text(&node, "proc/stat");
    let sum = &lines_of(&stat, "cpu ")[0];
    let cpus = [lines_of(&stat, "cpu2"), lines_of(&stat, "cpu3")].concat();
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
