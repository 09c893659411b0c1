//! Interleaved rounds, so that ratios hold on a machine that does other things, too.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::load::{self, Pace, Reviews, Sample};
use crate::server::{Kind, Server};

/// Reviews a second, unless as many as possible are asked for.
pub(crate) const RATE: u32 = 1000;

/// How much is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Time of a round at a rate, and at the most.
    pub(crate) paced: Duration,
    pub(crate) flat_out: Duration,
    /// How often each server is started.
    pub(crate) starts: usize,
}

/// What was measured of one server.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) starts: Vec<Duration>,
    pub(crate) paced: Vec<Sample>,
    pub(crate) flat_out: Vec<Sample>,
    /// Resident memory in KiB: after the start, after the rounds at a rate, and the most ever.
    pub(crate) rss_idle: u64,
    pub(crate) rss_paced: u64,
    pub(crate) rss_most: u64,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) ours: Measured,
    pub(crate) peer: Option<Measured>,
}

impl Plan {
    /// Measures both in turn.
    pub(crate) async fn run(&self, ours: &Path, peer: Option<&Path>) -> Result<Results> {
        let mut programs = vec![(Kind::Ours, ours)];
        programs.extend(peer.map(|peer| (Kind::Peer, peer)));
        let mut all = Vec::new();
        for (kind, program) in programs {
            all.push(Subject::start(kind, program).await?);
        }
        eprintln!("bench_webhook: starts");
        for _ in 1..self.starts {
            for subject in &mut all {
                let again = Server::start(subject.kind, &subject.program).await?;
                subject.measured.starts.push(again.started());
            }
        }
        for round in 1..=self.rounds {
            eprintln!("bench_webhook: round {round} of {}", self.rounds);
            for subject in &mut all {
                let sample = subject.load(Pace::Rate(RATE), self.paced).await?;
                subject.measured.paced.push(sample);
            }
        }
        for subject in &mut all {
            subject.measured.rss_paced = subject.server.kib("VmRSS")?;
        }
        for round in 1..=self.rounds {
            eprintln!("bench_webhook: flat out, round {round} of {}", self.rounds);
            for subject in &mut all {
                let sample = subject.load(Pace::FlatOut, self.flat_out).await?;
                subject.measured.flat_out.push(sample);
            }
        }
        for subject in &mut all {
            subject.measured.rss_most = subject.server.kib("VmHWM")?;
        }
        let mut measured = all.into_iter().map(|subject| subject.measured);
        Ok(Results {
            ours: measured.next().context("nothing measured")?,
            peer: measured.next(),
        })
    }
}

/// A server under measurement.
#[derive(Debug)]
struct Subject {
    kind: Kind,
    program: std::path::PathBuf,
    server: Server,
    reviews: std::rc::Rc<Reviews>,
    measured: Measured,
}

impl Subject {
    async fn start(kind: Kind, program: &Path) -> Result<Self> {
        let server = Server::start(kind, program).await?;
        let measured = Measured {
            starts: vec![server.started()],
            paced: Vec::new(),
            flat_out: Vec::new(),
            rss_idle: server.kib("VmRSS")?,
            rss_paced: 0,
            rss_most: 0,
        };
        let subject = Self {
            kind,
            program: program.to_owned(),
            server,
            reviews: Reviews::new(),
            measured,
        };
        // What is done once, and answers to compare with.
        subject
            .load(Pace::Rate(RATE), Duration::from_secs(1))
            .await?;
        Ok(subject)
    }

    async fn load(&self, pace: Pace, time: Duration) -> Result<Sample> {
        let sample = load::run(&self.server, &self.reviews, pace, time).await;
        sample.with_context(|| format!("{:?} under load", self.kind))
    }
}
