//! CPU time of the servers and reads a second, with several readers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::report::{Table, Verdict};
use crate::server::Server;
use crate::worker::{self, Workers};
use crate::{Bench, FILES};

/// Files whose CPU time and reads a second have targets.
const COSTLY: [&str; 3] = ["proc/meminfo", "proc/stat", "proc/cpuinfo"];
const FAST: [&str; 5] = [
    "proc/meminfo",
    "proc/stat",
    "proc/cpuinfo",
    "proc/loadavg",
    "proc/uptime",
];

/// lxcfs must need so many times the agent's CPU time, and the agent serve so many times the
/// reads.
const CPU_RATIO: f64 = 5.0;
const READS_RATIO: f64 = 4.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Agent,
    Lxcfs,
    Native,
}

/// Source, file, number of readers.
type Case = (Source, &'static str, usize);

/// What one sample found.
#[derive(Debug, Clone, Copy)]
struct Sample {
    reads_per_second: f64,
    server_micros: f64,
    reader_micros: f64,
}

/// Medians of every case.
#[derive(Debug)]
pub(crate) struct Load(HashMap<Case, Sample>);

impl Load {
    /// Runs all cases of `files` in turn, round by round: what else the machine does hits all
    /// alike.
    pub(crate) fn measure(
        bench: &mut Bench,
        files: &[&'static str],
        rounds: usize,
        time: Duration,
    ) -> Result<Self> {
        let cases = cases(bench, files);
        let mut samples: HashMap<Case, Vec<Sample>> = HashMap::new();
        for round in 0..rounds {
            eprintln!("bench: load, round {} of {rounds}", round + 1);
            for case in &cases {
                crate::go_on()?;
                let Some(path) = path(bench, *case) else {
                    continue;
                };
                let server = match case.0 {
                    Source::Agent => Some(&bench.agent),
                    Source::Lxcfs => bench.lxcfs.as_ref(),
                    Source::Native => None,
                };
                let sample = sample(server, &mut bench.readers, case.2, &path, time)?;
                samples.entry(*case).or_default().push(sample);
            }
        }
        let medians = samples.into_iter().map(|(case, samples)| {
            let of = |pick: fn(&Sample) -> f64| median(samples.iter().map(pick).collect());
            let sample = Sample {
                reads_per_second: of(|sample| sample.reads_per_second),
                server_micros: of(|sample| sample.server_micros),
                reader_micros: of(|sample| sample.reader_micros),
            };
            (case, sample)
        });
        Ok(Self(medians.collect()))
    }

    fn get(&self, source: Source, file: &'static str, readers: usize) -> Option<Sample> {
        self.0.get(&(source, file, readers)).copied()
    }

    /// Server CPU time a read.
    pub(crate) fn cpu_table(&self) -> Table {
        let mut table = Table::new(
            "CPU time of the server for one read, in microseconds",
            "All threads of the server, by its CPU clock. The column *procfs* is the CPU time of \
             a reader of the host's own file, where the reader does all the work itself.",
            &[
                "File", "Readers", "procview", "lxcfs", "Ratio", "At least", "", "procfs",
            ],
        );
        for file in FILES.iter().copied() {
            for readers in [1, 4] {
                let Some(agent) = self.get(Source::Agent, file, readers) else {
                    continue;
                };
                let lxcfs = self.get(Source::Lxcfs, file, readers);
                let native = self.get(Source::Native, file, readers);
                let ratio = lxcfs.map(|lxcfs| lxcfs.server_micros / agent.server_micros);
                let gated = COSTLY.contains(&file);
                let verdict = ratio
                    .filter(|_| gated)
                    .map(|ratio| Verdict::of(ratio >= CPU_RATIO));
                table.row(
                    [
                        file,
                        &readers.to_string(),
                        &format!("{:.1}", agent.server_micros),
                        &number(lxcfs.map(|lxcfs| lxcfs.server_micros)),
                        &number(ratio),
                        if gated { "5" } else { "" },
                        verdict.map_or("", Verdict::text),
                        &number(native.map(|native| native.reader_micros)),
                    ],
                    verdict,
                );
            }
        }
        if !self.has_lxcfs() {
            table.skip("there is no lxcfs on this machine to compare with");
        }
        table
    }

    /// Reads a second.
    pub(crate) fn reads_table(&self) -> Table {
        let mut table = Table::new(
            "Reads a second, in thousands",
            "Depends on the machine and on what else it does: readers and server share its CPUs, \
             and readers are held to the container's quota.",
            &[
                "File", "Readers", "procview", "lxcfs", "procfs", "Ratio", "At least", "",
            ],
        );
        table.never_fails();
        for file in FAST {
            for readers in [1, 4, 16] {
                let Some(agent) = self.get(Source::Agent, file, readers) else {
                    continue;
                };
                let thousands = |sample: Option<Sample>| {
                    number(sample.map(|one| one.reads_per_second / 1000.0))
                };
                let lxcfs = self.get(Source::Lxcfs, file, readers);
                let ratio = lxcfs.map(|lxcfs| agent.reads_per_second / lxcfs.reads_per_second);
                let gated = readers > 1;
                let verdict = ratio
                    .filter(|_| gated)
                    .map(|ratio| Verdict::of(ratio >= READS_RATIO));
                table.row(
                    [
                        file,
                        &readers.to_string(),
                        &thousands(Some(agent)),
                        &thousands(lxcfs),
                        &thousands(self.get(Source::Native, file, readers)),
                        &number(ratio),
                        if gated { "4" } else { "" },
                        verdict.map_or("", Verdict::text),
                    ],
                    verdict,
                );
            }
        }
        if !self.has_lxcfs() {
            table.skip("there is no lxcfs on this machine to compare with");
        }
        table
    }

    fn has_lxcfs(&self) -> bool {
        self.0.keys().any(|(source, _, _)| *source == Source::Lxcfs)
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.1}"))
}

/// The servers take turns within each file and number of readers.
fn cases(bench: &Bench, files: &[&'static str]) -> Vec<Case> {
    let mut cases = Vec::new();
    for file in files.iter().copied() {
        for readers in [1, 4, bench.readers.count()] {
            if readers > 4 && !FAST.contains(&file) {
                continue;
            }
            let sources = [Source::Agent, Source::Lxcfs, Source::Native];
            cases.extend(sources.map(|source| (source, file, readers)));
        }
    }
    cases
}

/// The file of a case, if that source has it.
fn path(bench: &Bench, (source, file, _): Case) -> Option<PathBuf> {
    let path = match source {
        Source::Agent => bench.agent.mount().join(file),
        Source::Lxcfs => bench.lxcfs.as_ref()?.mount().join(file),
        Source::Native => PathBuf::from("/").join(file),
    };
    path.exists().then_some(path)
}

fn sample(
    server: Option<&Server>,
    readers: &mut Workers,
    count: usize,
    path: &std::path::Path,
    time: Duration,
) -> Result<Sample> {
    let cpu = || server.map_or(Ok(0), Server::cpu_nanos);
    let before = cpu()?;
    let answers = readers.ask(count, &worker::during(path, time))?;
    let server_nanos = cpu()? - before;
    let reads: u64 = answers.iter().map(|answer| answer.reads).sum();
    let reader_nanos: u64 = answers.iter().map(|answer| answer.cpu_nanos).sum();
    let per_read = |nanos: u64| nanos as f64 / reads as f64 / 1000.0;
    let rates = answers
        .iter()
        .map(|answer| answer.reads as f64 * 1e9 / answer.nanos as f64);
    Ok(Sample {
        reads_per_second: rates.sum(),
        server_micros: per_read(server_nanos),
        reader_micros: per_read(reader_nanos),
    })
}

/// The middle of `values`, which are not empty.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
