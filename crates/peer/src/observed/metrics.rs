//! The text format of Prometheus.

use std::fmt::Write as _;

/// Metrics that were written so far; the name of each begins with `fleetcast_`.
#[derive(Debug, Default)]
pub struct MetricsText(String);

/// A name, what it is, and its value.
pub type Metric = (&'static str, &'static str, f64);

impl MetricsText {
    /// A metric with its samples: their labels in braces, or nothing, and their values.
    pub fn add(&mut self, name: &str, kind: &str, help: &str, samples: &[(&str, f64)]) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP fleetcast_{name} {help}\n# TYPE fleetcast_{name} {kind}");
        for (labels, value) in samples {
            let _ = match value {
                value if value.is_infinite() => writeln!(self.0, "fleetcast_{name}{labels} +Inf"),
                value => writeln!(self.0, "fleetcast_{name}{labels} {value}"),
            };
        }
    }

    /// Metrics of this kind without labels.
    pub fn add_all(&mut self, kind: &str, metrics: impl IntoIterator<Item = Metric>) {
        for (name, help, value) in metrics {
            self.add(name, kind, help, &[("", value)]);
        }
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.0
    }
}
