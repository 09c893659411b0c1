//! What Prometheus is told.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::mutate::Outcome;

/// All metrics of the webhook.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reviews: Family<ReviewLabels, Counter>,
    seconds: Histogram,
    /// When the certificate that is served expires, in seconds since 1970; 0 without one.
    pub certificate_expiry: Gauge,
    /// Connections that are open.
    pub connections: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    outcome: Outcome,
    reason: &'static str,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.name().encode(encoder)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("procview_webhook");
        let reviews = Family::default();
        registry.register(
            "reviews",
            "Reviews by what became of them and why",
            reviews.clone(),
        );
        let bounds = [
            0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0,
        ];
        let seconds = Histogram::new(bounds);
        registry.register_with_unit(
            "review_duration",
            "From the last byte of a review to its answer",
            Unit::Seconds,
            seconds.clone(),
        );
        let certificate_expiry = Gauge::default();
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the certificate that is served expires, since 1970; 0 without one",
            Unit::Seconds,
            certificate_expiry.clone(),
        );
        let connections = Gauge::default();
        registry.register(
            "connections",
            "Connections that are open",
            connections.clone(),
        );
        Self {
            registry,
            reviews,
            seconds,
            certificate_expiry,
            connections,
        }
    }
}

impl Metrics {
    /// Counts a review.
    pub fn reviewed(&self, outcome: Outcome, reason: &'static str, took: Duration) {
        let labels = ReviewLabels { outcome, reason };
        self.reviews.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
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
