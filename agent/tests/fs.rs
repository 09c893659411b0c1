//! The file system without FUSE and without a kernel: what a container reads, on a node of plain
//! files.

mod fake;

use fake::{CONTAINER, Node, PID, ROOT_PID, inode, read};
use procview::file::File;
use procview_agent::serve::fs::{Caller, FsError, Kind};
use procview_agent::view::Choices;

fn value(text: &str, key: &str) -> u64 {
    let line = text
        .lines()
        .find(|line| line.split([':', ' ']).next() == Some(key));
    let word = line.and_then(|line| line.split_whitespace().nth(1));
    word.and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no {key} in:\n{text}"))
}

#[test]
fn meminfo_has_the_hosts_lines_and_the_containers_values() {
    let node = Node::new().with_v2();
    let text = read(&node.serve(), PID, "proc/meminfo").expect("meminfo");
    insta::assert_snapshot!(text);
}

#[test]
fn the_tightest_ancestor_counts() {
    let node = Node::new().with_v2();
    let pod = CONTAINER.rsplit_once('/').expect("a parent").0;
    node.set(&format!("cgroup/{pod}/memory.max"), "268435456\n");
    node.set(&format!("cgroup/{pod}/memory.current"), "262144000\n");
    node.set(&format!("cgroup/{pod}/cpu.max"), "50000 100000\n");
    let fs = node.serve();
    let text = read(&fs, PID, "proc/meminfo").expect("meminfo");
    assert_eq!(value(&text, "MemTotal"), 262_144);
    assert_eq!(value(&text, "MemFree"), 6_144);
    assert_eq!(
        read(&fs, PID, "sys/devices/system/cpu/online").expect("online"),
        "2\n"
    );
}

#[test]
fn a_limit_that_changes_shows_at_once() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    assert_eq!(
        value(
            &read(&fs, PID, "proc/meminfo").expect("meminfo"),
            "MemTotal"
        ),
        524_288
    );
    node.cgroup("memory.max", "1073741824\n");
    node.cgroup("cpu.max", "400000 100000\n");
    assert_eq!(
        value(
            &read(&fs, PID, "proc/meminfo").expect("meminfo"),
            "MemTotal"
        ),
        1_048_576
    );
    assert_eq!(
        read(&fs, PID, "sys/devices/system/cpu/online").expect("online"),
        "2-5\n"
    );
}

#[test]
fn every_controller_may_be_missing() {
    // What a file shows once one of the cgroup's is missing: the next enclosing limit, then 0.
    let meminfo = |line: &str| ("proc/meminfo", line.to_owned());
    for (name, (file, line)) in [
        ("memory.max", meminfo("MemTotal:        1048576 kB")),
        ("memory.current", meminfo("MemFree:          524288 kB")),
        ("memory.stat", meminfo("Cached:                0 kB")),
        (
            "cpu.max",
            ("sys/devices/system/cpu/online", "2-4".to_owned()),
        ),
        (
            "cpuset.cpus.effective",
            ("sys/devices/system/cpu/online", "4-5".to_owned()),
        ),
        ("cpu.stat", ("proc/stat", "cpu  0 0 0 ".to_owned())),
        (
            "io.stat",
            (
                "proc/diskstats",
                format!(" 259       0 nvme0n1{}", " 0".repeat(17)),
            ),
        ),
        (
            "pids.current",
            ("proc/loadavg", "0.00 0.00 0.00 1/1 12".to_owned()),
        ),
        (
            "cpu.pressure",
            (
                "proc/pressure/cpu",
                "some avg10=0.00 avg60=0.00 avg300=0.00 total=0".to_owned(),
            ),
        ),
    ] {
        let node = Node::new().with_v2();
        let pod = CONTAINER.rsplit_once('/').expect("a parent").0;
        node.set(&format!("cgroup/{pod}/memory.max"), "1073741824\n");
        node.set(&format!("cgroup/{pod}/cpu.max"), "300000 100000\n");
        node.set(&format!("cgroup/{pod}/cpuset.cpus.effective"), "4-7\n");
        node.set(
            &format!("cgroup/{pod}/memory.stat"),
            "anon 77000\nfile 78000\n",
        );
        let seen = |node: &Node| read(&node.serve(), PID, file).expect("a view");
        let has = |text: &str| text.lines().any(|shown| shown.starts_with(&line));
        assert!(!has(&seen(&node)), "{name}: {line} is shown in any case");
        node.remove(&format!("cgroup/{CONTAINER}/{name}"));
        let text = seen(&node);
        assert!(has(&text), "{name}: no {line} in:\n{text}");
        // All the others are there as well.
        let fs = node.serve();
        for file in File::ALL {
            if !file.is_dir() {
                let text = read(&fs, PID, file.path()).expect("a view");
                assert!(!text.is_empty(), "{name} {file}");
            }
        }
    }
}

#[test]
fn garbled_cgroup_files_give_a_view_all_the_same() {
    for garbage in [
        "",
        "\0\0\0",
        "max",
        "-9",
        "99999999999999999999999",
        "a b c\nd",
        "8:0 rbytes=x",
    ] {
        let node = Node::new().with_v2();
        for name in [
            "memory.max",
            "memory.current",
            "memory.stat",
            "cpu.max",
            "cpu.stat",
            "cpuset.cpus.effective",
            "io.stat",
            "pids.current",
        ] {
            node.cgroup(name, garbage);
        }
        let fs = node.serve();
        let text = read(&fs, PID, "proc/meminfo").expect("meminfo");
        let (total, available, free) = (
            value(&text, "MemTotal"),
            value(&text, "MemAvailable"),
            value(&text, "MemFree"),
        );
        assert!(
            total >= available && available >= free && total > 0,
            "{garbage:?}:\n{text}"
        );
        assert!(
            read(&fs, PID, "proc/stat")
                .expect("stat")
                .starts_with("cpu  ")
        );
        assert!(
            read(&fs, PID, "proc/cpuinfo")
                .expect("cpuinfo")
                .starts_with("processor\t: ")
        );
    }
}

#[test]
fn cpus_keep_the_kernels_numbers() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    let cpuinfo = read(&fs, PID, "proc/cpuinfo").expect("cpuinfo");
    insta::assert_snapshot!(cpuinfo);
    let size = |cpu| {
        read(
            &fs,
            PID,
            &format!("sys/devices/system/cpu/cpu{cpu}/cache/index0/size"),
        )
    };
    assert_eq!(size(2).expect("size"), "2K\n");
    assert_eq!(size(3).expect("size"), "3K\n");
    assert!(matches!(size(0), Err(FsError::NotFound)));
    assert!(matches!(size(4), Err(FsError::NotFound)));
    let core = read(&fs, PID, "sys/devices/system/cpu/cpu3/topology/core_id").expect("core_id");
    assert_eq!(core, "1\n");
    let stat = read(&fs, PID, "proc/stat").expect("stat");
    let names = stat.lines().filter_map(|line| line.split(' ').next());
    let names: Vec<_> = names.filter(|name| name.starts_with("cpu")).collect();
    assert_eq!(names, ["cpu", "cpu2", "cpu3"]);
}

#[test]
fn a_directory_lists_what_can_be_opened() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    let caller = Caller::Thread(PID);
    let mut pending = vec![(String::new(), 1)];
    let mut seen = Vec::new();
    while let Some((path, ino)) = pending.pop() {
        for (name, entry) in fs.entries(&caller, ino).expect("a directory") {
            let path = format!("{path}/{name}");
            assert_eq!(
                fs.lookup(&caller, ino, &name).expect("what is listed").ino,
                entry.ino
            );
            match entry.kind {
                Kind::Directory => pending.push((path, entry.ino)),
                Kind::Link => {
                    fs.link_target(&caller, entry.ino).expect("what is listed");
                    seen.push(path);
                }
                Kind::File => {
                    let handle = fs.open(&caller, entry.ino, false).expect("what is listed");
                    fs.read(&caller, entry.ino, handle, 0, 65_536)
                        .expect("what is listed");
                    seen.push(path);
                }
            }
        }
    }
    seen.sort();
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn nothing_but_pressure_can_be_written() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    let caller = Caller::Thread(PID);
    for path in [
        "proc/meminfo",
        "proc/slabinfo",
        "sys/devices/system/cpu/online",
    ] {
        let ino = inode(&fs, PID, path).expect("a file");
        let error = fs.open(&caller, ino, true).expect_err("it is read-only");
        assert_eq!(error.errno(), libc::EACCES);
    }
    let pressure = inode(&fs, PID, "proc/pressure/cpu").expect("a file");
    fs.open(&caller, pressure, true)
        .expect("pressure takes triggers");
}

#[test]
fn one_open_is_one_rendering() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    let caller = Caller::Thread(PID);
    let ino = inode(&fs, PID, "proc/meminfo").expect("meminfo");
    let handle = fs.open(&caller, ino, false).expect("a handle");
    let read = |offset, size| {
        let part = fs.read(&caller, ino, handle, offset, size).expect("a part");
        String::from_utf8_lossy(part.as_bytes()).into_owned()
    };
    // pread(2) at an offset needs no read before it.
    assert_eq!(read(17, 7), " 524288");
    node.cgroup("memory.max", "1073741824\n");
    assert_eq!(read(17, 7), " 524288");
    // A read at 0 renders anew.
    assert!(read(0, 30).contains("1048576"));
    assert_eq!(read(17, 7), "1048576");
    assert_eq!(read(1 << 40, 10), "");
    assert_eq!(read(u64::MAX, 10), "");
    let whole = read(0, u32::MAX);
    let bytes: String = (0..whole.len() as u64)
        .map(|offset| read(offset, 1))
        .collect();
    assert_eq!(bytes, whole);
}

#[test]
fn a_handle_of_another_process_renders_anew() {
    let node = Node::new().with_v2();
    let (old, new) = (node.serve(), node.serve());
    let caller = Caller::Thread(PID);
    let ino = inode(&old, PID, "proc/meminfo").expect("meminfo");
    let handle = old.open(&caller, ino, false).expect("a handle");
    // The inode number means the same, the handle is unknown.
    let part = new.read(&caller, ino, handle, 17, 7).expect("a rendering");
    assert_eq!(part.as_bytes(), b" 524288");
    // So does one below a directory of sysfs that the new process never looked up.
    let ino = inode(&old, PID, "sys/devices/system/cpu/cpu3/cache/index0/size").expect("size");
    let part = new.read(&caller, ino, 1, 0, 100).expect("a rendering");
    assert_eq!(part.as_bytes(), b"3K\n");
    new.release(handle);
}

#[test]
fn a_caller_in_the_root_cgroup_sees_the_hosts_files() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    for tid in [ROOT_PID, 0] {
        let text = read(&fs, tid, "proc/meminfo").expect("meminfo");
        assert_eq!(value(&text, "MemTotal"), 16_777_216);
        assert_eq!(
            read(&fs, tid, "sys/devices/system/cpu/online").expect("online"),
            "0-7\n"
        );
        read(&fs, tid, "sys/devices/system/cpu/cpu7/topology/core_id").expect("the host's CPU 7");
    }
}

#[test]
fn listed_readers_get_the_hosts_uptime() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    assert!(
        !read(&fs, PID, "proc/uptime")
            .expect("uptime")
            .starts_with("1000000.00")
    );
    let everybody = node.serve_choices(Choices {
        uptime_host_readers: vec!["*".to_owned()],
        ..Choices::default()
    });
    let uptime = read(&everybody, PID, "proc/uptime").expect("uptime");
    assert!(uptime.starts_with("1000000.00"));
    node.process(PID, "ps", 'S');
    assert!(
        read(&fs, PID, "proc/uptime")
            .expect("uptime")
            .starts_with("1000000.00")
    );
}

#[test]
fn only_the_files_asked_for_are_there() {
    let node = Node::new().with_v2();
    let fs = node.serve_files(&[File::Meminfo]);
    read(&fs, PID, "proc/meminfo").expect("meminfo");
    assert!(matches!(
        inode(&fs, PID, "proc/stat"),
        Err(FsError::NotFound)
    ));
    assert!(matches!(inode(&fs, PID, "sys"), Err(FsError::NotFound)));
}

#[test]
fn small_files_have_their_layout() {
    let node = Node::new().with_v2();
    let fs = node.serve();
    let read = |path| read(&fs, PID, path).expect("a file");
    assert_eq!(
        read("proc/diskstats"),
        "   8       0 sda 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n 259       0 nvme0n1 10 0 2048 0 1 0 8 0 0 0 0 0 0 0 0 0 0\n"
    );
    assert_eq!(
        read("proc/swaps"),
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    );
    assert_eq!(
        read("proc/slabinfo"),
        "slabinfo - version: 2.1\n# name            <active_objs>\n"
    );
    assert_eq!(
        read("proc/vmstat"),
        "nr_free_pages 105472\npgfault 1234\nfuture_key 0\n"
    );
    assert_eq!(read("proc/loadavg"), "0.00 0.00 0.00 1/7 12\n");
    assert_eq!(
        read("proc/pressure/cpu"),
        "some avg10=1.00 avg60=0.50 avg300=0.10 total=12345\n"
    );
    assert_eq!(
        read("proc/pressure/io"),
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    );
}
