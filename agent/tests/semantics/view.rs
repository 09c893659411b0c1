//! Whose view, and what files are.

use super::fake::{CONTAINER, Node, PID, inode, read};
use procview_agent::serve::fs::{Caller, FsError, Kind};

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
        "sys/devices/system/cpu/cpu1",
        "sys/devices/system/cpu/cpu02",
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
