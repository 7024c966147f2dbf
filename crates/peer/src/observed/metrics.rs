//! The text format of Prometheus.

use std::fmt::{self, Write as _};

/// Metrics that were written so far; the name of each begins with `fleetcast_`.
#[derive(Debug, Default)]
pub struct MetricsText(String);

/// A name, what it is, and its value.
pub type Metric = (&'static str, &'static str, f64);

impl MetricsText {
    /// What the samples that follow are.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP fleetcast_{name} {help}"));
        self.line(format_args!("# TYPE fleetcast_{name} {kind}"));
    }

    /// One sample, with the names and values of its labels.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        if value.is_infinite() {
            self.line(format_args!("fleetcast_{name}{labels} +Inf"));
        } else {
            self.line(format_args!("fleetcast_{name}{labels} {value}"));
        }
    }

    /// A metric whose samples differ in one label.
    pub fn add_by<'a>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        label: &str,
        samples: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        self.family(name, kind, help);
        for (word, value) in samples {
            self.sample(name, &[(label, word)], value);
        }
    }

    /// Metrics of this kind without labels.
    pub fn add_all(&mut self, kind: &str, metrics: impl IntoIterator<Item = Metric>) {
        for (name, help, value) in metrics {
            self.family(name, kind, help);
            self.sample(name, &[], value);
        }
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// A label's value as the format has it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
