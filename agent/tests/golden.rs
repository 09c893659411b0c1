//! Every file of the view, rendered from captures of real kernels.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use procview::cpu::Rounding;
use procview::file::File;
use procview_agent::serve::fs::{Caller, Fs, Kind};
use procview_agent::view::HostProc;
use procview_agent::view::cgroup::Layout;
use procview_agent::view::{Choices, View};
use procview_agent::view::{Owner, Registry};

/// The captured nodes: `<kernel>-<cgroup version>`.
fn captures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../procview/tests/fixtures");
    let entries = fs::read_dir(root).expect("the captures");
    let mut captures: Vec<_> = entries
        .map(|entry| entry.expect("a capture").path())
        .collect();
    captures.sort();
    assert!(captures.len() >= 4, "{captures:?}");
    captures
}

/// The view of the captured container; its reader was in a cgroup below it.
fn serve(capture: &Path) -> (Fs, Caller) {
    let proc = capture.join("proc");
    let host = HostProc::new(&proc, &capture.join("sys")).expect("a host's files");
    let host = Arc::new(host);
    let layout = Layout::detect(&capture.join("cgroup")).expect("a captured cgroup tree");
    let (registry, _) = Registry::new(layout, &proc, Arc::clone(&host), Rounding::Ceil, 1000);
    let text = fs::read(proc.join("self/cgroup")).expect("the reader's cgroups");
    let owner = registry.owner_by_text(&text).expect("captured cgroups");
    assert!(matches!(owner, Owner::Container(_)));
    let fs = Fs::new(
        View::new(Arc::new(registry), host, Choices::default()),
        &File::ALL,
    )
    .expect("a file system");
    (fs, Caller::Of(owner))
}

fn inode(fs: &Fs, caller: &Caller, path: &str) -> Option<u64> {
    path.split('/').try_fold(1, |ino, name| {
        fs.lookup(caller, ino, name).ok().map(|entry| entry.ino)
    })
}

fn read(fs: &Fs, caller: &Caller, path: &str) -> Option<String> {
    let ino = inode(fs, caller, path)?;
    let handle = fs.open(caller, ino, false).expect("a handle");
    let part = fs.read(caller, ino, handle, 0, u32::MAX).expect("a text");
    Some(String::from_utf8_lossy(part.as_bytes()).into_owned())
}

fn name_of(capture: &Path) -> String {
    capture
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned()
}

/// What does not depend on the time of reading.
const STEADY: [&str; 10] = [
    "proc/meminfo",
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/swaps",
    "proc/loadavg",
    "proc/slabinfo",
    "proc/vmstat",
    "proc/pressure/cpu",
    "proc/pressure/memory",
    "sys/devices/system/cpu/online",
];

#[test]
fn steady_files() {
    for capture in captures() {
        let (fs, caller) = serve(&capture);
        for path in STEADY {
            let text = read(&fs, &caller, path).expect("a file of the view");
            let name = format!("{}__{}", name_of(&capture), path.replace('/', "_"));
            insta::assert_snapshot!(name, text);
        }
    }
}

/// The lines and keys are the host's, whatever the kernel.
#[test]
fn templates_are_kept() {
    let keys = |text: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.split([':', ' ', '\t']).next())
            .map(str::to_owned)
            .collect()
    };
    for capture in captures() {
        let (fs, caller) = serve(&capture);
        for path in ["proc/meminfo", "proc/vmstat"] {
            let host = fs::read_to_string(capture.join(path)).expect("the host's file");
            let view = read(&fs, &caller, path).expect("the view's file");
            assert_eq!(keys(&view), keys(&host), "{} {path}", name_of(&capture));
        }
        let host = fs::read_to_string(capture.join("proc/stat")).expect("the host's file");
        let view = read(&fs, &caller, "proc/stat").expect("the view's file");
        let no_cpus = |text: &str| -> Vec<_> {
            keys(text)
                .into_iter()
                .filter(|key| key == "cpu" || !key.starts_with("cpu"))
                .collect()
        };
        assert_eq!(no_cpus(&view), no_cpus(&host), "{}", name_of(&capture));
    }
}

/// Everything below `/sys/devices/system/cpu` with its text.
#[test]
fn cpu_directories() {
    for capture in captures() {
        let (fs, caller) = serve(&capture);
        let top = inode(&fs, &caller, "sys/devices/system/cpu").expect("the directory");
        let mut pending = vec![(String::new(), top)];
        let mut lines = Vec::new();
        while let Some((path, ino)) = pending.pop() {
            for (name, entry) in fs.entries(&caller, ino).expect("its entries") {
                let path = if path.is_empty() {
                    name
                } else {
                    format!("{path}/{name}")
                };
                match entry.kind {
                    Kind::Directory => pending.push((path, entry.ino)),
                    Kind::Link => {
                        let target = fs.link_target(&caller, entry.ino).expect("a target");
                        lines.push(format!("{path} -> {}", String::from_utf8_lossy(&target)));
                    }
                    Kind::File => {
                        let text = read(&fs, &caller, &format!("sys/devices/system/cpu/{path}"));
                        lines.push(format!("{path} {:?}", text.expect("a text")));
                    }
                }
            }
        }
        lines.sort();
        insta::assert_snapshot!(
            format!("{}__cpu_directory", name_of(&capture)),
            lines.join("\n")
        );
    }
}
