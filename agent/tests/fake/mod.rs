//! A node made of plain files: procfs, sysfs and cgroup trees in a temporary directory.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "a module of test binaries")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use procview::cpu::Rounding;
use procview::file::File;
use procview_agent::serve::fs::{Caller, Fs, FsError};
use procview_agent::view::Container;
use procview_agent::view::HostProc;
use procview_agent::view::cgroup::Layout;
use procview_agent::view::{Choices, View};
use procview_agent::view::{Owner, Registry};

/// The cgroup of a pod's container, five levels deep.
pub const CONTAINER: &str = "kubelet/kubepods/burstable/pod1/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A process in that container.
pub const PID: u32 = 4711;
/// A process in the root cgroup.
pub const ROOT_PID: u32 = 1;

pub struct Node {
    root: tempfile::TempDir,
}

impl Node {
    /// A node with 8 CPUs, 16 GiB of memory and no cgroup files.
    pub fn new() -> Self {
        let node = Self {
            root: tempfile::tempdir().expect("a directory for the node"),
        };
        node.set("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:         8388608 kB\nMemAvailable:   12582912 kB\nBuffers:            1000 kB\nCached:          2000000 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\nFutureLine:           77 kB\nVmallocTotal:   34359738367 kB\nHugePages_Total:       0\nHugepagesize:       2048 kB\n");
        node.set(
            "proc/stat",
            "cpu  1 2 3 4 5 6 7 8 9 10\nintr 99\nbtime 1700000000\n",
        );
        let cpus: Vec<_> = (0..8).map(|cpu| format!("processor\t: {cpu}\nmodel name\t: Fake {cpu}\nphysical id\t: 1\nsiblings\t: 8\ncore id\t\t: {cpu}\ncpu cores\t: 8\napicid\t\t: {cpu}\n\n")).collect();
        node.set("proc/cpuinfo", &cpus.concat());
        node.set("proc/loadavg", "9.00 9.00 9.00 9/999 99999\n");
        node.set("proc/uptime", "1000000.00 7000000.00\n");
        node.set(
            "proc/swaps",
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
        );
        node.set("proc/diskstats", "   8       0 sda 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27\n 259       0 nvme0n1 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47\n");
        node.set(
            "proc/vmstat",
            "nr_free_pages 5555\npgfault 6666\nfuture_key 7777\n",
        );
        node.set(
            "proc/slabinfo",
            "slabinfo - version: 2.1\n# name            <active_objs>\nkmalloc-8 1 2 3\n",
        );
        for resource in ["cpu", "io", "memory"] {
            node.set(
                &format!("proc/pressure/{resource}"),
                "some avg10=9.99 avg60=9.99 avg300=9.99 total=999\n",
            );
        }
        for name in ["online", "present", "possible"] {
            node.set(&format!("sys/devices/system/cpu/{name}"), "0-7\n");
        }
        node.set("sys/devices/system/cpu/kernel_max", "8191\n");
        for cpu in 0..8 {
            node.set(
                &format!("sys/devices/system/cpu/cpu{cpu}/topology/core_id"),
                "5\n",
            );
            node.set(
                &format!("sys/devices/system/cpu/cpu{cpu}/cache/index0/size"),
                &format!("{cpu}K\n"),
            );
        }
        for name in [
            "online",
            "possible",
            "has_cpu",
            "has_memory",
            "has_normal_memory",
        ] {
            node.set(&format!("sys/devices/system/node/{name}"), "0-1\n");
        }
        for (number, cpus, mask) in [(0, "0-3", "0f"), (1, "4-7", "f0")] {
            let file = |name: &str| format!("sys/devices/system/node/node{number}/{name}");
            node.set(&file("cpulist"), &format!("{cpus}\n"));
            node.set(&file("cpumap"), &format!("{mask}\n"));
            node.set(&file("distance"), ["10 21\n", "21 10\n"][number]);
            node.set(&file("meminfo"), &format!("Node {number} MemTotal:        8388608 kB\nNode {number} MemFree:         4194304 kB\nNode {number} FilePages:        999999 kB\n"));
            node.set(&file("numastat"), "numa_hit 4711\n");
            node.set(&file("vmstat"), "nr_free_pages 4711\nnuma_hit 4711\n");
            node.set(&file("compact"), "");
        }
        node.set(&format!("proc/{ROOT_PID}/cgroup"), "0::/\n");
        node
    }

    /// Adds a cgroup v2 tree with a container of 512 MiB, 1.5 CPUs, used CPU time and I/O.
    pub fn with_v2(self) -> Self {
        self.set("cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
        self.set("cgroup/cgroup.procs", "1\n");
        let mut dir = PathBuf::from("cgroup");
        for part in Path::new(CONTAINER) {
            dir.push(part);
            let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
            self.set(&file("memory.max"), "max\n");
            self.set(&file("memory.current"), "0\n");
            self.set(&file("memory.stat"), "anon 0\nfile 0\n");
            self.set(&file("cpu.max"), "max 100000\n");
            self.set(&file("cgroup.procs"), "");
            self.set(&file("cgroup.threads"), "");
        }
        self.cgroup("memory.max", "536870912\n");
        self.cgroup("memory.current", "104857600\n");
        self.cgroup("memory.stat", "anon 62914560\nfile 31457280\nfile_mapped 4096\nactive_file 10485760\ninactive_file 20971520\nslab_reclaimable 1048576\nslab_unreclaimable 2097152\npgfault 1234\nfuture 5\n");
        self.cgroup("cpu.max", "150000 100000\n");
        self.cgroup(
            "cpu.stat",
            "usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\nnice_usec 500000\n",
        );
        self.cgroup("cpuset.cpus.effective", "2-7\n");
        self.cgroup(
            "io.stat",
            "259:0 rbytes=1048576 wbytes=4096 rios=10 wios=1 dbytes=0 dios=0\n",
        );
        self.cgroup("pids.current", "7\n");
        self.cgroup(
            "cpu.pressure",
            "some avg10=1.00 avg60=0.50 avg300=0.10 total=12345\n",
        );
        self.cgroup("cgroup.procs", &format!("{PID}\n"));
        self.cgroup("cgroup.threads", &format!("{PID}\n"));
        self.set(&format!("proc/{PID}/cgroup"), &format!("0::/{CONTAINER}\n"));
        self.process(PID, "app", 'S');
        self
    }

    /// Writes `proc/<pid>/{stat,status,comm}` of a process that started with the node.
    pub fn process(&self, pid: u32, comm: &str, state: char) {
        self.set(
            &format!("proc/{pid}/task/{pid}/stat"),
            &format!("{pid} ({comm}) {state} 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0\n"),
        );
        self.set(
            &format!("proc/{pid}/status"),
            &format!("Name:\t{comm}\nNSpid:\t{pid}\t12\nCapEff:\t0000000000000000\n"),
        );
        self.set(&format!("proc/{pid}/comm"), &format!("{comm}\n"));
    }

    /// Writes a file of the container's own cgroup.
    pub fn cgroup(&self, name: &str, text: &str) {
        self.set(&format!("cgroup/{CONTAINER}/{name}"), text);
    }

    pub fn set(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("its directory");
        // In place: a kernel file keeps its inode.
        fs::write(path, text).expect("the file");
    }

    pub fn remove(&self, path: &str) {
        let path = self.path(path);
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub fn serve(&self) -> Fs {
        self.serve_files(&File::ALL)
    }

    /// With the cgroups that are at `cgroup`.
    pub fn serve_cgroup(&self, cgroup: &str) -> Fs {
        let (registry, host) = self.registry_of(cgroup);
        Self::fs(View::new(registry, host, Choices::default()), &File::ALL)
    }

    /// As an operator may choose.
    pub fn serve_choices(&self, choices: Choices) -> Fs {
        let (registry, host) = self.registry();
        Self::fs(View::new(registry, host, choices), &File::ALL)
    }

    fn fs(view: View, files: &[File]) -> Fs {
        Fs::new(view, files).expect("the trigger threads")
    }

    pub fn serve_files(&self, files: &[File]) -> Fs {
        let (registry, host) = self.registry();
        let choices = Choices {
            uptime_host_readers: vec!["ps".to_owned()],
            ..Choices::default()
        };
        Self::fs(View::new(registry, host, choices), files)
    }

    /// The container that [`PID`] is in.
    pub fn container(&self) -> (Arc<Registry>, Arc<HostProc>, Arc<Container>) {
        let (registry, host) = self.registry();
        match registry.owner_of(PID) {
            Ok(Owner::Container(container)) => (registry, host, container),
            other => panic!("{PID} is in no container: {other:?}"),
        }
    }

    fn registry(&self) -> (Arc<Registry>, Arc<HostProc>) {
        self.registry_of("cgroup")
    }

    fn registry_of(&self, cgroup: &str) -> (Arc<Registry>, Arc<HostProc>) {
        let proc = self.path("proc");
        let host = HostProc::new(&proc, &self.path("sys")).expect("a host's files");
        let host = Arc::new(host);
        let layout = Layout::detect(&self.path(cgroup)).expect("a cgroup file system");
        let (registry, _) = Registry::new(layout, &proc, Arc::clone(&host), Rounding::Ceil, 100);
        (Arc::new(registry), host)
    }
}

/// The inode number of `path` for `pid`.
pub fn inode(fs: &Fs, pid: u32, path: &str) -> Result<u64, FsError> {
    path.split('/').try_fold(1, |ino, name| {
        fs.lookup(&Caller::Thread(pid), ino, name)
            .map(|entry| entry.ino)
    })
}

/// The whole text of `path` as `pid` sees it.
pub fn read(fs: &Fs, pid: u32, path: &str) -> Result<String, FsError> {
    let ino = inode(fs, pid, path)?;
    let caller = Caller::Thread(pid);
    let handle = fs.open(&caller, ino, false)?;
    let text = fs.read(&caller, ino, handle, 0, u32::MAX)?;
    fs.release(handle);
    Ok(String::from_utf8_lossy(text.as_bytes()).into_owned())
}
