//! The tables, and the targets.

use std::fmt::Write as _;
use std::time::Duration;

use crate::load::Sample;
use crate::rounds::{Measured, RATE, Results};

/// A figure, by how it is worked out from what was measured of one server.
struct Figure {
    name: &'static str,
    of: fn(&Measured) -> f64,
    target: Option<Target>,
}

/// What ours has to be.
#[derive(Debug, Clone, Copy)]
enum Target {
    AtMost(f64),
    /// At most this part of the peer's.
    Part(f64, &'static str),
}

const FIGURES: &[Figure] = &[
    figure("p50, us", |it| percentile(it, 50.0), None),
    figure("p90, us", |it| percentile(it, 90.0), None),
    figure(
        "p99, us",
        |it| percentile(it, 99.0),
        Some(Target::Part(1.0 / 2.0, "half")),
    ),
    figure("the longest of all rounds, us", longest, None),
    figure(
        "CPU time a review, us",
        |it| a_review(&it.paced, |sample| sample.server),
        Some(Target::Part(1.0 / 3.0, "a third")),
    ),
    figure(
        "CPU time a review of the client, us",
        |it| a_review(&it.paced, |sample| sample.client),
        None,
    ),
    figure("RSS after the start, MiB", |it| mib(it.rss_idle), None),
    figure(
        "RSS after the rounds, MiB",
        |it| mib(it.rss_paced),
        Some(Target::AtMost(12.0)),
    ),
    figure(
        "RSS at most, all rounds below too, MiB",
        |it| mib(it.rss_most),
        None,
    ),
    figure(
        "start until ready over TLS, ms",
        |it| median(it.starts.iter().map(|start| micros(*start) / 1e3)),
        Some(Target::AtMost(300.0)),
    ),
    figure("reviews a second at most", rate, None),
    figure(
        "CPU time a review then, us",
        |it| a_review(&it.flat_out, |sample| sample.server),
        None,
    ),
    figure(
        "CPU time a review of the client then, us",
        |it| a_review(&it.flat_out, |sample| sample.client),
        None,
    ),
];

const fn figure(name: &'static str, of: fn(&Measured) -> f64, target: Option<Target>) -> Figure {
    Figure { name, of, target }
}

/// The tables as Markdown, and which targets were missed.
#[derive(Debug)]
pub(crate) struct Report {
    text: String,
    missed: Vec<String>,
}

impl Report {
    pub(crate) fn new(results: &Results) -> Self {
        let mut missed = Vec::new();
        let mut rows = vec![["", "procview", "peer", "Ratio", "Target", ""].map(str::to_owned)];
        for figure in FIGURES {
            let ours = (figure.of)(&results.ours);
            let peer = results.peer.as_ref().map(figure.of);
            let (target, met) = judge(figure.target, ours, peer);
            if met == Some(false) {
                missed.push(format!("{}: {}, {target}", figure.name, number(ours)));
            }
            rows.push([
                figure.name.to_owned(),
                number(ours),
                peer.map_or("-".to_owned(), number),
                peer.map_or("-".to_owned(), |peer| format!("{:.2}", ours / peer)),
                target,
                met.map_or("", |met| if met { "pass" } else { "**FAIL**" })
                    .to_owned(),
            ]);
        }
        let mut text = String::new();
        table(&mut text, &rows);
        spread(&mut text, results);
        overload(&mut text, results);
        Self { text, missed }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn missed(&self) -> &[String] {
        &self.missed
    }
}

fn judge(target: Option<Target>, ours: f64, peer: Option<f64>) -> (String, Option<bool>) {
    match (target, peer) {
        (None, _) => (String::new(), None),
        (Some(Target::AtMost(most)), _) => (format!("at most {most}"), Some(ours <= most)),
        (Some(Target::Part(part, name)), Some(peer)) => (
            format!("at most {name} of the peer's"),
            Some(ours <= peer * part),
        ),
        (Some(Target::Part(_, name)), None) => {
            (format!("at most {name} of the peer's, not checked"), None)
        }
    }
}

/// p99 of each round: how far the rounds are apart.
fn spread(text: &mut String, results: &Results) {
    let mut rows = vec![["p99 of each round, us".to_owned(), String::new()]];
    let all = [
        ("procview", Some(&results.ours)),
        ("peer", results.peer.as_ref()),
    ];
    for (name, measured) in all {
        let Some(measured) = measured else { continue };
        let rounds = measured
            .paced
            .iter()
            .map(|sample| number(quantile(sample, 99.0)));
        rows.push([name.to_owned(), rounds.collect::<Vec<_>>().join(", ")]);
    }
    text.push('\n');
    table(text, &rows);
}

/// A server that cannot keep up has a queue, which grows for as long as the round takes.
fn overload(text: &mut String, results: &Results) {
    let all = [
        ("procview", Some(&results.ours)),
        ("peer", results.peer.as_ref()),
    ];
    for (name, measured) in all {
        let most = measured.map_or(f64::INFINITY, rate);
        if most < 1.5 * f64::from(RATE) {
            let most = number(most);
            let _ = write!(
                text,
                "\nNo more than {most} reviews a second were answered by {name} on this machine, so that \
                 at {RATE} it was overloaded or nearly so: its latencies are those of a queue, and \
                 a ratio to them says that it cannot keep up, not how much faster an answer is.\n"
            );
        }
    }
}

/// A table whose columns are aligned: it is read as plain text, too.
fn table<const CELLS: usize>(text: &mut String, rows: &[[String; CELLS]]) {
    let mut widths = [3; CELLS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let rule = widths.map(|width| "-".repeat(width));
    for row in rows
        .iter()
        .take(1)
        .chain([&rule])
        .chain(rows.iter().skip(1))
    {
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
    }
}

fn number(value: f64) -> String {
    format!("{value:.*}", usize::from(value < 100.0))
}

/// The median over the rounds: a moment in which the machine did other things spoils one of them.
fn percentile(measured: &Measured, percent: f64) -> f64 {
    median(
        measured
            .paced
            .iter()
            .map(|sample| quantile(sample, percent)),
    )
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few thousand values"
)]
fn quantile(sample: &Sample, percent: f64) -> f64 {
    let rank = (sample.latencies.len() as f64 * percent / 100.0).ceil() as usize;
    let latency = sample.latencies.get(rank.saturating_sub(1));
    latency.map_or(f64::NAN, |latency| micros(*latency))
}

fn longest(measured: &Measured) -> f64 {
    let all = measured.paced.iter().map(|sample| quantile(sample, 100.0));
    all.fold(0.0, f64::max)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn a_review(samples: &[Sample], time: fn(&Sample) -> Duration) -> f64 {
    let reviews: usize = samples.iter().map(|sample| sample.latencies.len()).sum();
    micros(samples.iter().map(time).sum()) / reviews as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn rate(measured: &Measured) -> f64 {
    let rates = measured.flat_out.iter();
    median(rates.map(|sample| sample.latencies.len() as f64 / sample.time.as_secs_f64()))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
