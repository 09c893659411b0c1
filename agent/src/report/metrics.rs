//! What Prometheus is told.

use procview::file::File;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

/// All metrics of the agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// By the file's place in [`File::ALL`]: an open costs one addition, not a search for a label.
    opens: [Counter; File::ALL.len()],
    /// Requests that failed, or were answered from the host's file, for a reason on our side.
    pub failures: Counter,
    /// Reads that were answered from the host's file, since the container's could not be rendered.
    pub fallbacks: Counter,
    /// Requests whose handling panicked.
    pub panics: Counter,
    /// Containers that are known.
    pub containers: Gauge,
    /// 1 if the view can be read, else 0.
    pub ready: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabel {
    file: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabel {
    version: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("procview_agent");
        let to = &mut registry;
        let opens: Family<FileLabel, Counter> = new(to, "opens", "Opened files of the view");
        let opens = File::ALL.map(|file| {
            let label = FileLabel { file: file.name() };
            opens.get_or_create(&label).clone()
        });
        let build: Family<BuildLabel, Gauge> = new(to, "build_info", "The agent's version");
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&BuildLabel { version }).set(1);
        Self {
            opens,
            failures: new(to, "failures", "Requests that failed on the agent's side"),
            fallbacks: new(to, "fallbacks", "Reads answered from the host's own file"),
            panics: new(to, "panics", "Requests whose handling panicked"),
            containers: new(to, "containers", "Containers that are known"),
            ready: new(
                to,
                "ready",
                "1 if the view was read through its mount just now, else 0",
            ),
            registry,
        }
    }
}

/// A metric that is told from now on.
fn new<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// Counts an open of `file` or, if it is a directory, of a file in it.
    pub fn opened(&self, file: File) {
        self.opens[file as usize].inc();
    }

    /// The metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// Never; the type is that of the writer.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_counter_from_the_start() {
        let metrics = Metrics::default();
        metrics.opened(File::Meminfo);
        metrics.opened(File::Cpu);
        metrics.panics.inc();
        let text = metrics.text().expect("text");
        // Labels come in no order.
        let mut values: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        values.sort_unstable();
        insta::assert_snapshot!(values.join("\n"));
    }
}
