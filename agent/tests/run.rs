//! The `run` and `check` commands with real mounts, each test in a mount namespace of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;

mod mounts;
use mounts::{can_mount, end};

const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that is a mount of its own, as the parent on a node: shared or not.
struct Parent(tempfile::TempDir);

impl Parent {
    fn new(propagation: MsFlags) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let none = None::<&str>;
        mount(Some(dir.path()), dir.path(), none, MsFlags::MS_BIND, none).expect("a mount");
        mount(none, dir.path(), none, propagation, none).expect("its propagation");
        Self(dir)
    }

    fn view(&self) -> PathBuf {
        self.0.path().join("view")
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        // One may be dead; the other is ours.
        for dir in [self.view(), self.0.path().to_path_buf()] {
            let _ = umount2(&dir, MntFlags::MNT_DETACH);
        }
    }
}

fn agent(command: &str, parent: &Path) -> Command {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_procview-agent"));
    agent
        .args([command, "--parent"])
        .arg(parent)
        .env_remove("RUST_BACKTRACE")
        .env_remove("NODE_NAME")
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    agent
}

/// A running agent; killed on drop.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    fn at(parent: &Parent) -> Self {
        let address = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free port");
        let log = File::create(parent.0.path().join("log")).expect("a log");
        let child = agent("run", parent.0.path())
            .arg("--listen")
            .arg(address.to_string())
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        let mut running = Self { child, address };
        let deadline = Instant::now() + PATIENCE;
        while running
            .get("/readyz")
            .is_none_or(|(status, _)| status != 200)
        {
            let ended = running.child.try_wait().expect("its status");
            let log = || fs::read_to_string(parent.0.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "the agent ended: {}", log());
            assert!(Instant::now() < deadline, "not ready: {}", log());
            thread::sleep(Duration::from_millis(20));
        }
        running
    }

    /// Status and body, if it answers.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    fn end(mut self, signal: Signal) -> std::process::ExitStatus {
        end(&mut self.child, signal)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref())
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn placeholders_lie_beneath_the_view() {
    if !can_mount() {
        return;
    }
    let parent = Parent::new(MsFlags::MS_SHARED);
    let running = Running::at(&parent);
    let meminfo = parent.view().join("proc/meminfo");
    assert!(read(&meminfo).starts_with("MemTotal:"));
    assert!(fs::write(&meminfo, "x").is_err());
    assert!(running.end(Signal::SIGTERM).success());

    // Now they are what is seen; a container may have mounted one.
    let seen = read(&meminfo);
    assert!(seen.starts_with("MemTotal:"), "{seen}");
    let stat = read(parent.view().join("proc/stat"));
    assert!(stat.starts_with("cpu "), "{stat}");
    // What the host's own said then. Numbers move, what they are of does not.
    for (file, column) in [
        ("cpuinfo", 0),
        ("swaps", 0),
        ("diskstats", 2),
        ("meminfo", 0),
    ] {
        let names = |path: PathBuf| -> Vec<String> {
            let text = read(path);
            let lines = text.lines().filter(|line| !line.is_empty());
            lines
                .filter_map(|line| Some(line.split_whitespace().nth(column)?.to_owned()))
                .collect()
        };
        let host = names(Path::new("/proc").join(file));
        assert!(!host.is_empty(), "{file}");
        assert_eq!(names(parent.view().join("proc").join(file)), host, "{file}");
    }
    let seconds = |path: PathBuf| -> f64 {
        let text = read(path);
        text.split(' ')
            .next()
            .and_then(|word| word.parse().ok())
            .expect("seconds")
    };
    let age = seconds("/proc/uptime".into()) - seconds(parent.view().join("proc/uptime"));
    assert!((0.0..60.0).contains(&age), "{age}");
    let load = read(parent.view().join("proc/loadavg"));
    assert_eq!(load.split_whitespace().count(), 5, "{load}");
    let cpus = parent.view().join("sys/devices/system/cpu");
    assert_eq!(
        read(cpus.join("online")),
        read("/sys/devices/system/cpu/online")
    );
    assert!(cpus.join("cpu0/topology/core_id").exists());
    let mounted = File::open(&meminfo).expect("a placeholder");

    // What a runtime made where it found nothing is replaced.
    fs::remove_file(parent.view().join("proc/stat")).expect("a placeholder");
    fs::create_dir(parent.view().join("proc/stat")).expect("a directory");
    assert!(Running::at(&parent).end(Signal::SIGINT).success());
    assert!(read(parent.view().join("proc/stat")).starts_with("cpu "));
    let mut kept = String::new();
    (&mounted).read_to_string(&mut kept).expect("its text");
    assert_eq!(kept, seen);
}

#[test]
fn a_dead_mount_is_replaced() {
    if !can_mount() {
        return;
    }
    let parent = Parent::new(MsFlags::MS_SHARED);
    let meminfo = parent.view().join("proc/meminfo");
    Running::at(&parent).end(Signal::SIGKILL);
    let error = fs::read(&meminfo).expect_err("a dead mount");
    assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
    // The directory around it can still be used, as a runtime does.
    assert!(fs::metadata(parent.0.path()).expect("a directory").is_dir());

    let running = Running::at(&parent);
    assert!(read(&meminfo).starts_with("MemTotal:"));
    let second = agent("run", parent.0.path())
        .args(["--listen", "127.0.0.1:0"])
        .output()
        .expect("an end");
    let error = error_of(&second);
    assert!(error.contains("is already a mounted view"), "{error}");
    assert!(running.end(Signal::SIGTERM).success());
}

/// What stands for a container: a process in a mount namespace of its own, with files of the view
/// mounted, that prints its memory's total for each line it gets.
fn container(view: &Path, propagation: &str) -> Child {
    let script = "mount --bind \"$0/proc/meminfo\" /proc/meminfo && \
        mount --bind \"$0/sys/devices/system/cpu\" /sys/devices/system/cpu && \
        mount --bind \"$0/proc/stat\" /proc/stat && mount --bind \"$0/proc/stat\" /proc/stat && \
        while echo $(head -n 1 /proc/meminfo; head -c 4 /proc/stat; stat -f -c %T /proc/meminfo) && read -r line; \
        do :; done";
    Command::new("unshare")
        .args(["--mount", "--propagation", propagation, "sh", "-c", script])
        .arg(view)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a container")
}

#[test]
fn running_containers_get_the_nodes_files_back() {
    if !can_mount() {
        return;
    }
    let parent = Parent::new(MsFlags::MS_SHARED);
    let running = Running::at(&parent);
    let mut containers = ["private", "slave"].map(|kind| container(&parent.view(), kind));
    let mut answers = containers.each_mut().map(|container| {
        let out = container.stdout.take().expect("its output");
        BufReader::new(out).lines()
    });
    let mut all = || {
        answers
            .each_mut()
            .map(|lines| lines.next().expect("a line").expect("text"))
    };
    for line in all() {
        assert!(line.starts_with("MemTotal:"), "{line}");
        assert!(line.ends_with("fuseblk"), "{line}");
    }
    assert!(running.end(Signal::SIGTERM).success());
    for container in &mut containers {
        let input = container.stdin.as_mut().expect("its input");
        writeln!(input).expect("it lives");
    }
    for line in all() {
        assert!(line.starts_with("MemTotal:"), "{line}");
        assert!(line.ends_with("cpu proc"), "{line}");
    }
    for mut container in containers {
        drop(container.stdin.take());
        container.wait().expect("its end");
    }
    let log = read(parent.0.path().join("log"));
    // Four files each, and the private one's copy of the view itself.
    assert!(log.contains("containers=2 mounts=9"), "{log}");
}

#[test]
fn health_is_what_a_reader_finds() {
    if !can_mount() {
        return;
    }
    let parent = Parent::new(MsFlags::MS_SHARED);
    let running = Running::at(&parent);
    let get = |path| running.get(path).expect("an answer");
    assert_eq!(get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get("/nothing").0, 404);
    let (status, metrics) = get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("procview_agent_ready 1\n"), "{metrics}");
    assert!(
        metrics.contains("procview_agent_opens_total{file=\"meminfo\"} 1\n"),
        "{metrics}"
    );
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");

    // Connections that others leave open keep nobody from being answered.
    let idle: Vec<_> = (0..300)
        .filter_map(|_| TcpStream::connect(running.address).ok())
        .collect();
    assert_eq!(idle.len(), 300);
    assert_eq!(get("/healthz").0, 200);

    // Somebody takes the view away, and a reader still uses it: the placeholder beneath is no view.
    let reader = File::open(parent.view().join("proc/stat")).expect("a file of the view");
    umount2(&parent.view(), MntFlags::MNT_DETACH).expect("a mount");
    let mut running = running;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, text) = running.get("/readyz").expect("it goes on for its reader");
        if status == 503 {
            assert!(text.contains("somebody unmounted it"), "{text}");
            break;
        }
        assert!(Instant::now() < deadline, "still ready");
        thread::sleep(Duration::from_millis(100));
    }
    // Without readers it ends, and says why.
    drop(reader);
    let status = loop {
        match running.child.try_wait().expect("its status") {
            Some(status) => break status,
            None => assert!(Instant::now() < deadline, "it serves nobody"),
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert!(!status.success());
    let log = read(parent.0.path().join("log"));
    assert!(log.contains("somebody unmounted"), "{log}");
}

#[test]
fn what_is_lacking_is_named_with_its_remedy() {
    if !can_mount() {
        return;
    }
    let private = Parent::new(MsFlags::MS_PRIVATE);
    for command in ["run", "check"] {
        let output = agent(command, private.0.path()).output().expect("an end");
        let error = error_of(&output);
        let remedy = format!("`mount --make-rshared {}`", private.0.path().display());
        assert!(error.contains("is not a shared mount"), "{error}");
        assert!(error.contains(&remedy), "{error}");
    }
    assert!(!private.view().join("proc").exists());

    let shared = Parent::new(MsFlags::MS_SHARED);
    let fine = agent("check", shared.0.path()).output().expect("an end");
    assert!(fine.status.success(), "{fine:?}");

    // A pid namespace of its own.
    let own = Command::new("unshare")
        .args(["--pid", "--fork", env!("CARGO_BIN_EXE_procview-agent")])
        .args(["check", "--parent"])
        .arg(shared.0.path())
        .output()
        .expect("unshare");
    assert!(error_of(&own).contains("hostPID: true"), "{own:?}");

    // No FUSE device.
    let hidden = Command::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg("mount -t tmpfs none /dev && exec \"$@\"")
        .args(["sh", env!("CARGO_BIN_EXE_procview-agent")])
        .args(["check", "--parent"])
        .arg(shared.0.path())
        .output()
        .expect("unshare");
    assert!(error_of(&hidden).contains("modprobe fuse"), "{hidden:?}");

    // Nobody answers at the API server: the log says both, in time.
    let begin = Instant::now();
    let alone = agent("check", private.0.path())
        .env("NODE_NAME", "node1")
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", "1")
        .output()
        .expect("an end");
    let error = error_of(&alone);
    assert!(
        error.contains("cannot write an Event on the node"),
        "{error}"
    );
    assert!(error.contains("is not a shared mount"), "{error}");
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn the_kernels_own_errors_pass_through() {
    /// Reads all below `dir` of the view; gives those that fail with their errno.
    fn failures(view: &Path, dir: &Path, found: &mut Vec<(PathBuf, Option<i32>)>) {
        for entry in fs::read_dir(view.join(dir)).expect("a directory").flatten() {
            let path = dir.join(entry.file_name());
            let kind = entry.file_type().expect("its kind");
            if kind.is_dir() {
                failures(view, &path, found);
            } else if kind.is_file()
                && let Err(error) = fs::read(view.join(&path))
            {
                found.push((path, error.raw_os_error()));
            }
        }
    }
    if !can_mount() {
        return;
    }
    let parent = Parent::new(MsFlags::MS_SHARED);
    let running = Running::at(&parent);
    let mut found = Vec::new();
    for _ in 0..20 {
        found.clear();
        failures(
            &parent.view(),
            Path::new("sys/devices/system/cpu"),
            &mut found,
        );
    }
    assert!(
        !found.is_empty(),
        "all of this kernel's attributes can be read"
    );
    for (path, errno) in &found {
        let host = fs::read(Path::new("/").join(path)).expect_err("it fails there, too");
        assert_eq!(host.raw_os_error(), *errno, "{}", path.display());
    }
    let (_, metrics) = running.get("/metrics").expect("metrics");
    for counter in ["failures", "fallbacks", "panics"] {
        assert!(
            metrics.contains(&format!("procview_agent_{counter}_total 0\n")),
            "{metrics}"
        );
    }
    let log = fs::read_to_string(parent.0.path().join("log")).expect("the log");
    assert!(log.lines().count() < 5, "{log}");
    assert!(running.end(Signal::SIGTERM).success());
}
