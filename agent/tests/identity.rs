//! Whose view a reader gets, whatever becomes of containers and whatever cannot be read, on a node of plain
//! files.

mod fake;

use std::fs;

use fake::{CONTAINER, Node, PID, inode, read};
use procview_agent::serve::fs::{Caller, FsError};
use proptest::prelude::*;

/// Another container takes the path of [`CONTAINER`].
fn replace(node: &Node, limit: &str) {
    let path = node.path(&format!("cgroup/{CONTAINER}"));
    // The old one keeps its inode number until then, as the kernel gives none twice.
    fs::rename(&path, node.path("cgroup/old")).expect("it goes");
    node.cgroup("memory.max", limit);
    node.cgroup("memory.current", "0\n");
    node.cgroup("cgroup.procs", &format!("{PID}\n"));
    node.cgroup("cgroup.threads", &format!("{PID}\n"));
}

fn total(text: &str) -> &str {
    text.lines().next().expect("a first line")
}

#[test]
fn a_new_container_at_an_old_path_is_another() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    let meminfo = || read(&fs, PID, "proc/meminfo").expect("meminfo");
    assert_eq!(total(&meminfo()), "MemTotal:         524288 kB");
    let idle = |text: &str| -> u64 {
        text.split_whitespace()
            .nth(4)
            .and_then(|word| word.parse().ok())
            .expect("idle")
    };
    let before = idle(&read(&fs, PID, "proc/stat").expect("stat"));
    node.process(PID, "app", 'S');
    replace(&node, "268435456\n");
    node.set(
        &format!("proc/{PID}/task/{PID}/stat"),
        &format!(
            "{PID} (app) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {} 0 0\n",
            procview_agent::clock::boottime() / 10_000
        ),
    );
    // From the first read on.
    assert_eq!(total(&meminfo()), "MemTotal:         262144 kB");
    assert!(idle(&read(&fs, PID, "proc/stat").expect("stat")) < before / 2);
}

#[test]
fn an_open_file_of_a_container_that_ended_keeps_its_last_text() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    let caller = Caller::Thread(PID);
    let ino = inode(&fs, PID, "proc/meminfo").expect("meminfo");
    let [read_before, unread] = [(); 2].map(|()| fs.open(&caller, ino, false).expect("a handle"));
    let text = |handle| {
        fs.read(&caller, ino, handle, 0, u32::MAX)
            .map(|part| part.as_bytes().to_vec())
    };
    let before = text(read_before).expect("a text");
    replace(&node, "268435456\n");
    assert_eq!(text(read_before).expect("the last text"), before);
    assert_eq!(text(unread).expect_err("nobody's").errno(), libc::ENODEV);
    node.remove(&format!("cgroup/{CONTAINER}"));
    assert_eq!(text(read_before).expect("the last text"), before);
}

#[test]
fn a_caller_that_cannot_be_told_is_not_the_host() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    read(&fs, PID, "proc/meminfo").expect("meminfo");
    // It ended, or its cgroup did.
    let errno = |tid| read(&fs, tid, "proc/meminfo").expect_err("nobody").errno();
    assert_eq!(errno(999_999), libc::ESRCH);
    node.remove(&format!("cgroup/{CONTAINER}"));
    assert_eq!(errno(PID), libc::ESRCH);
    for path in ["cpu0", "online"] {
        let found = read(&fs, PID, &format!("sys/devices/system/cpu/{path}"));
        assert_eq!(found.expect_err("nobody's").errno(), libc::ESRCH, "{path}");
    }
}

#[test]
fn a_cgroup_file_that_goes_for_a_while_is_no_end() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    let idle = || -> u64 {
        let stat = read(&fs, PID, "proc/stat").expect("stat");
        stat.split_whitespace()
            .nth(4)
            .and_then(|word| word.parse().ok())
            .expect("a number")
    };
    let before = idle();
    read(&fs, PID, "proc/pressure/cpu").expect("pressure");
    for name in ["cpu.stat", "cpu.pressure", "memory.stat", "cgroup.threads"] {
        node.remove(&format!("cgroup/{CONTAINER}/{name}"));
        read(&fs, PID, "proc/meminfo").expect("meminfo");
        read(&fs, PID, "proc/pressure/cpu").expect("pressure");
        assert!(idle() >= before, "{name}");
    }
}

#[test]
fn an_exec_from_another_cgroup_is_in_the_container() {
    let node = Node::new().with_v2();
    let id = CONTAINER.rsplit_once('/').expect("an id").1;
    let v1 = |name: &str, text: &str| node.set(&format!("hybrid/memory/docker/{id}/{name}"), text);
    v1("memory.limit_in_bytes", "134217728\n");
    v1("memory.usage_in_bytes", "0\n");
    v1("cgroup.procs", "7\n");
    for unified in ["system.slice/containerd.service", "user.slice"] {
        let dir = format!("hybrid/unified/{unified}");
        node.set(
            &format!("{dir}/cpu.pressure"),
            "some avg10=99.00 avg60=0.00 avg300=0.00 total=9\n",
        );
    }
    node.set("hybrid/unified/cgroup.controllers", "\n");
    node.process(7, "app", 'S');
    node.process(8, "sh", 'S');
    node.set(
        "proc/7/cgroup",
        &format!("4:memory:/docker/{id}\n0::/system.slice/containerd.service\n"),
    );
    node.set(
        "proc/8/cgroup",
        &format!("4:memory:/docker/{id}\n0::/user.slice\n"),
    );
    let fs = node.serve_cgroup("hybrid");
    for pid in [7, 8] {
        let meminfo = read(&fs, pid, "proc/meminfo").expect("meminfo");
        assert_eq!(total(&meminfo), "MemTotal:         131072 kB");
        // Not everybody's.
        let pressure = read(&fs, pid, "proc/pressure/cpu").expect("pressure");
        assert!(pressure.starts_with("some avg10=0.00 "), "{pressure}");
    }
    let age = |pid| -> f64 {
        let uptime = read(&fs, pid, "proc/uptime").expect("uptime");
        uptime
            .split(' ')
            .next()
            .and_then(|word| word.parse().ok())
            .expect("seconds")
    };
    assert!((age(7) - age(8)).abs() < 0.1);
}

#[test]
fn a_container_seen_while_its_runtime_joins_it_is_known_whole_afterwards() {
    let node = Node::new();
    let id = CONTAINER.rsplit_once('/').expect("an id").1;
    let v1 = |name: &str, text: &str| node.set(&format!("v1/{name}"), text);
    v1(
        &format!("memory/docker/{id}/memory.limit_in_bytes"),
        "134217728\n",
    );
    v1(&format!("memory/docker/{id}/memory.usage_in_bytes"), "0\n");
    v1(&format!("memory/docker/{id}/cgroup.procs"), "7\n");
    v1("cpu,cpuacct/cpu.shares", "1024\n");
    v1(
        &format!("cpu,cpuacct/docker/{id}/cpu.cfs_quota_us"),
        "100000\n",
    );
    v1(
        &format!("cpu,cpuacct/docker/{id}/cpu.cfs_period_us"),
        "100000\n",
    );
    node.process(7, "runc:[2:INIT]", 'S');
    let joined = |cpu: &str| {
        node.set(
            "proc/7/cgroup",
            &format!("5:cpu,cpuacct:{cpu}\n4:memory:/docker/{id}\n"),
        );
    };
    joined("/");
    let fs = node.serve_cgroup("v1");
    let seen = || {
        let meminfo = read(&fs, 7, "proc/meminfo").expect("meminfo");
        let online = read(&fs, 7, "sys/devices/system/cpu/online").expect("online");
        (total(&meminfo).to_owned(), online)
    };
    let memory = "MemTotal:         131072 kB".to_owned();
    let (total, online) = seen();
    assert_eq!(total, memory);
    assert_ne!(online, "0\n");
    joined(&format!("/docker/{id}"));
    assert_eq!(seen(), (memory.clone(), "0\n".to_owned()));
    // One that left a hierarchy takes nothing from the container.
    joined("/");
    assert_eq!(seen(), (memory, "0\n".to_owned()));
}

#[test]
fn what_a_host_file_says_is_kept_while_it_cannot_be_read() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    let lines = |path| read(&fs, PID, path).expect("a file").lines().count();
    let files = [
        "proc/meminfo",
        "proc/vmstat",
        "proc/cpuinfo",
        "proc/diskstats",
        "proc/slabinfo",
    ];
    let before = files.map(lines);
    for file in files {
        node.remove(file);
    }
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(files.map(lines), before);
    assert!(before.iter().all(|lines| *lines > 0));
}

#[test]
fn a_cpu_that_was_taken_away_is_not_the_hosts() {
    let node = Node::new().with_v2();
    node.cgroup("cpu.max", "max 100000\n");
    let fs = node.serve();
    let caller = Caller::Thread(PID);
    let path = "sys/devices/system/cpu/cpu7/cache/index0/size";
    let ino = inode(&fs, PID, path).expect("a CPU of the container's");
    let handle = fs.open(&caller, ino, false).expect("a handle");
    node.cgroup("cpu.max", "200000 100000\n");
    let error = fs
        .read(&caller, ino, handle, 0, 100)
        .expect_err("it is gone");
    assert!(matches!(error, FsError::NotFound));
}

#[test]
fn open_files_have_a_limit_for_each_container() {
    let node = Node::new().with_v2();
    let other = CONTAINER.replace("0123", "fedc");
    node.set(&format!("cgroup/{other}/memory.max"), "268435456\n");
    node.set("proc/4713/cgroup", &format!("0::/{other}\n"));
    let fs = node.serve();
    let ino = inode(&fs, PID, "proc/meminfo").expect("meminfo");
    let open = |pid| fs.open(&Caller::Thread(pid), ino, false);
    let handles: Vec<_> = (0..1024).map(|_| open(PID).expect("a handle")).collect();
    assert_eq!(open(PID).expect_err("one too many").errno(), libc::EMFILE);
    open(4713).expect("its neighbour may");
    fs.release(handles[0]);
    open(PID).expect("there is room again");
}

/// What may happen to a container.
#[derive(Debug, Clone)]
enum Event {
    Quota(u32),
    Cpuset(&'static str),
    Used(u32),
    StatGone,
    MemoryGone,
    Replaced,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1_u32..900_000).prop_map(Event::Quota),
        proptest::sample::select(vec!["0-7", "2-3", "5", "0,7", ""]).prop_map(Event::Cpuset),
        (0_u32..5_000_000).prop_map(Event::Used),
        Just(Event::StatGone),
        Just(Event::MemoryGone),
        Just(Event::Replaced),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// No counter falls, whatever happens to a container, but in a new one that takes its path.
    #[test]
    fn counters_fall_in_a_new_container_alone(events in proptest::collection::vec(event(), 1..30)) {
        let node = Node::new().with_v2();
        let fs = node.serve();
        let mut used = 3_000_000_u64;
        let counters = || -> Vec<u64> {
            let stat = read(&fs, PID, "proc/stat").expect("stat");
            let line = stat.lines().next().expect("a line").split_whitespace().skip(1);
            line.map(|word| word.parse().expect("a number")).collect()
        };
        let mut before = counters();
        for (turn, event) in events.iter().enumerate() {
            let mut is_new = false;
            match event {
                Event::Quota(quota) => node.cgroup("cpu.max", &format!("{quota} 100000\n")),
                Event::Cpuset(list) => node.cgroup("cpuset.cpus.effective", &format!("{list}\n")),
                Event::Used(more) => {
                    used += u64::from(*more);
                    node.cgroup("cpu.stat", &format!("usage_usec {used}\nuser_usec {used}\nsystem_usec 0\n"));
                }
                Event::StatGone => node.remove(&format!("cgroup/{CONTAINER}/cpu.stat")),
                Event::MemoryGone => node.remove(&format!("cgroup/{CONTAINER}/memory.stat")),
                Event::Replaced => {
                    is_new = true;
                    let path = node.path(&format!("cgroup/{CONTAINER}"));
                    fs::rename(path, node.path(&format!("cgroup/old-{turn}"))).expect("it goes");
                    node.cgroup("cpu.stat", "usage_usec 0\nuser_usec 0\nsystem_usec 0\n");
                    node.cgroup("cgroup.procs", "");
                    used = 0;
                }
            }
            let after = counters();
            if is_new {
                prop_assert_eq!(&after[..3], [0, 0, 0]);
                prop_assert!(after[3] < 100, "{event:?}: {after:?}");
            } else {
                let is_less = after.iter().zip(&before).any(|(after, before)| after < before);
                prop_assert!(!is_less, "{event:?}: {before:?} {after:?}");
            }
            before = after;
        }
    }
}
