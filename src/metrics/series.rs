//! Time series as Prometheus' text format 0.0.4 wants them.
//!
//! Receives values by labels, gives their lines in the order of the labels. Never adds a suffix to
//! a name: `prometheus-client`'s own counter is made for OpenMetrics, where the name on `# TYPE`
//! lacks the `_total` of its lines, and readers of 0.0.4 take such lines for untyped.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Label values, in the order of the names.
type Values = Vec<String>;

/// All series of one counter or gauge; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Series {
    counter: bool,
    names: &'static [&'static str],
    values: Arc<Mutex<BTreeMap<Values, f64>>>,
}

impl Series {
    /// A counter; each of its series begins at 0 with [`Series::start`].
    pub(super) fn counter(names: &'static [&'static str]) -> Self {
        Self { counter: true, names, values: Arc::default() }
    }

    /// A gauge.
    pub(super) fn gauge(names: &'static [&'static str]) -> Self {
        Self { counter: false, names, values: Arc::default() }
    }

    /// Shows a counter at 0, so that its first step is an increase.
    pub(super) fn start(&self, labels: &[&str]) {
        self.lock().entry(owned(labels)).or_insert(0.0);
    }

    /// One more.
    pub(super) fn add_one(&self, labels: &[&str]) {
        *self.lock().entry(owned(labels)).or_insert(0.0) += 1.0;
    }

    /// Sets a gauge; without a value its series is gone.
    pub(super) fn set(&self, labels: &[&str], value: Option<f64>) {
        match value {
            Some(value) => self.lock().insert(owned(labels), value),
            None => self.lock().remove(&owned(labels)),
        };
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Values, f64>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncodeMetric for Series {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, value) in self.lock().iter() {
            if self.names.is_empty() {
                encoder.encode_gauge(value)?;
            } else {
                encoder.encode_family(&pairs(self.names, labels))?.encode_gauge(value)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        if self.counter { MetricType::Counter } else { MetricType::Gauge }
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

/// All series of one histogram; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Histograms {
    names: &'static [&'static str],
    buckets: &'static [f64],
    series: Arc<Mutex<BTreeMap<Values, Histogram>>>,
}

impl Histograms {
    /// A histogram with these upper bounds.
    pub(super) fn new(names: &'static [&'static str], buckets: &'static [f64]) -> Self {
        Self { names, buckets, series: Arc::default() }
    }

    /// Shows a series with nothing in it.
    pub(super) fn start(&self, labels: &[&str]) {
        self.of(labels);
    }

    /// Counts one.
    pub(super) fn observe(&self, labels: &[&str], span: Duration) {
        self.of(labels).observe(span.as_secs_f64());
    }

    fn of(&self, labels: &[&str]) -> Histogram {
        let new = || Histogram::new(self.buckets.iter().copied());
        self.lock().entry(owned(labels)).or_insert_with(new).clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Values, Histogram>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncodeMetric for Histograms {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, histogram) in self.lock().iter() {
            histogram.encode(encoder.encode_family(&pairs(self.names, labels))?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        Histogram::TYPE
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

fn owned(labels: &[&str]) -> Values {
    labels.iter().map(|&label| label.to_owned()).collect()
}

fn pairs(names: &[&'static str], values: &Values) -> Vec<(&'static str, String)> {
    names.iter().copied().zip(values.iter().cloned()).collect()
}
