//! Nothing of the host in the view of an idle container beside a busy neighbour.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use procview_tests::cgroup::{Limits, Tree};
use procview_tests::facts;

use crate::containers;
use crate::numbers::{self, Check};
use crate::report::{Table, Verdict};
use crate::steps::Scratch;
use crate::worker::Worker;

const FILES: [&str; 12] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/pressure/cpu",
    "proc/pressure/io",
    "proc/pressure/memory",
    "proc/slabinfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/vmstat",
];
/// Files in which a busy host always has something to be found.
const TELLING: [&str; 7] = [
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/pressure/cpu",
    "proc/stat",
    "proc/uptime",
    "proc/vmstat",
];
const CPU_DIR: &str = "sys/devices/system/cpu";
/// Files in the CPU directory that may move: a clock rate is the hardware's, as in cpuinfo.
const RATES: [&str; 3] = ["scaling_cur_freq", "cpuinfo_cur_freq", "cpuinfo_avg_freq"];
const MEMORY: u64 = 256 << 20;
const BETWEEN: Duration = Duration::from_secs(3);

/// Files and what was in them.
type Texts = BTreeMap<&'static str, String>;

/// Compares every file with the host's.
pub(crate) fn measure(tree: &Tree, view: &Path) -> Result<Table> {
    let mut table = Table::new(
        "Nothing of the host",
        &format!(
            "A container with one CPU and {} MiB does nothing for {} s, while a neighbour uses CPU time, forks, takes page faults \
             and writes to a disk. A number in the view counts as the host's if (1) it is at least {} and between the values that \
             the host's own file had before and after in the same place (line and column, decimals without their point); or (2) it \
             is at least {} and anywhere in the host's file; or (3) it moved by more than a tenth of what the host's moved in the \
             same place, if that is at least {}. Idle times of `stat` and `uptime` run by themselves and are free of (3). \
             Allowed to be equal: {}; everything in cpuinfo but the numbers of processors, packages and cores, which must be a \
             machine of one CPU; keys and names. In the CPU directory no file may move, but for clock rates. The last column is \
             how many numbers the same rules find if the host's own file is taken for the view: what the check can see.",
            MEMORY >> 20,
            BETWEEN.as_secs(),
            numbers::SMALLEST,
            numbers::LARGE,
            numbers::MOVED,
            numbers::ALLOWED.join(", "),
        ),
        &[
            "File",
            "numbers",
            "allowed",
            "the host's",
            "in the host's own",
        ],
    );
    let container = containers::container(tree, 5)?;
    container.set(&Limits {
        memory: Some(MEMORY),
        cpus: Some(1.0),
        ..Limits::default()
    })?;
    let mut idle = Worker::start(&container)?;
    let mut neighbour = Worker::start(&containers::group(tree, "neighbour")?)?;
    neighbour.load(facts::cpus(), 60)?;
    neighbour.ask(&format!("everything {}", Scratch::find()?.dir.display()))?;
    // Until the agent has looked at both, and both have settled.
    thread::sleep(Duration::from_secs(6));

    let files: Vec<_> = FILES
        .into_iter()
        .chain(["proc/pressure/irq"])
        .filter(|file| Path::new("/").join(file).exists())
        .collect();
    let host_texts = || -> Result<Texts> {
        let texts = files.iter().map(|file| {
            let text = fs::read_to_string(Path::new("/").join(file))?;
            anyhow::Ok((*file, text))
        });
        texts.collect()
    };
    let mut texts = || -> Result<Texts> {
        let texts = files
            .iter()
            .map(|file| Ok((*file, idle.read(&view.join(file))?)));
        texts.collect()
    };
    let (host_before, before) = (host_texts()?, texts()?);
    thread::sleep(BETWEEN);
    let (after, host_after) = (texts()?, host_texts()?);
    let (view_texts, host) = ([before, after], [host_before, host_after]);
    for file in &files {
        let texts = |of: &[Texts; 2]| [of[0][file].clone(), of[1][file].clone()];
        let check = |view| Check {
            file,
            view: texts(view),
            host: texts(&host),
        };
        let found = match *file {
            "proc/cpuinfo" => numbers::one_cpu(&view_texts[1][file]),
            _ => check(&view_texts).run(),
        };
        let caught = check(&host).run().leaks.len();
        for leak in &found.leaks {
            table.say(&format!("FOUND in {file}: `{leak}`."));
        }
        let blind = TELLING.contains(file) && caught == 0;
        table.row(
            vec![
                (*file).to_owned(),
                found.numbers.to_string(),
                found.allowed.to_string(),
                found.leaks.len().to_string(),
                caught.to_string(),
            ],
            Verdict::of(found.leaks.is_empty() && !blind),
        );
    }
    cpu_dir(&mut table, view, &mut idle)?;
    Ok(table)
}

/// All files of the CPU directory, twice.
fn cpu_dir(table: &mut Table, view: &Path, idle: &mut Worker) -> Result<()> {
    let list = idle.ask(&format!("list {}", view.join(CPU_DIR).display()))?;
    let paths: Vec<_> = list.lines().collect();
    ensure!(!paths.is_empty(), "the view's CPU directory is empty");
    let mut texts = || -> Vec<Option<String>> {
        // Some of these files have nothing to say on some hardware: EINVAL, ENODATA.
        let texts = paths.iter().map(|path| idle.read(Path::new(path)).ok());
        texts.collect()
    };
    let before = texts();
    thread::sleep(BETWEEN);
    let after = texts();
    let mut moved = 0;
    for ((path, before), after) in paths.iter().zip(&before).zip(&after) {
        if before != after && !RATES.iter().any(|rate| path.ends_with(rate)) {
            moved += 1;
            let path = path.trim_start_matches(&*view.to_string_lossy());
            table.say(&format!("FOUND: `{path}` moved."));
        }
    }
    table.row(
        vec![
            format!("{CPU_DIR}, {} files", paths.len()),
            String::new(),
            String::new(),
            moved.to_string(),
            String::new(),
        ],
        Verdict::of(moved == 0),
    );
    Ok(())
}
