//! What Prometheus is told.

use procview::file::File;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

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
        let opens = Family::<FileLabel, Counter>::default();
        registry.register("opens", "Opened files of the view", opens.clone());
        let metrics = Self {
            opens: File::ALL.map(|file| {
                let label = FileLabel { file: file.name() };
                opens.get_or_create(&label).clone()
            }),
            failures: Counter::default(),
            fallbacks: Counter::default(),
            panics: Counter::default(),
            containers: Gauge::default(),
            ready: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "failures",
            "Requests that failed on the agent's side",
            metrics.failures.clone(),
        );
        registry.register(
            "fallbacks",
            "Reads answered from the host's own file",
            metrics.fallbacks.clone(),
        );
        registry.register(
            "panics",
            "Requests whose handling panicked",
            metrics.panics.clone(),
        );
        registry.register(
            "containers",
            "Containers that are known",
            metrics.containers.clone(),
        );
        registry.register(
            "ready",
            "1 if the view was read through its mount just now, else 0",
            metrics.ready.clone(),
        );
        let build = Family::<BuildLabel, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&BuildLabel { version }).set(1);
        registry.register("build_info", "The agent's version", build);
        Self {
            registry,
            ..metrics
        }
    }
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
