//! `harness compare`: two reports side by side.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::print;
use crate::cli::{CompareArguments, Format};
use crate::exit::Exit;

/// What is compared: a name, the field of the report, its unit, and whether a larger value is a regression.
const ROWS: [(&str, &str, Unit, bool); 17] = [
    ("fan-out p50", "fanout_latency_ms.p50", Unit::Milliseconds, true),
    ("fan-out p90", "fanout_latency_ms.p90", Unit::Milliseconds, true),
    ("fan-out p99", "fanout_latency_ms.p99", Unit::Milliseconds, true),
    ("fan-out p99.9", "fanout_latency_ms.p999", Unit::Milliseconds, true),
    ("makespan", "fanout_latency_ms.max", Unit::Milliseconds, true),
    ("lower bound", "lower_bound_ms", Unit::Milliseconds, false),
    ("stretch p50", "stretch.p50", Unit::Ratio, true),
    ("stretch p99", "stretch.p99", Unit::Ratio, true),
    ("stretch max", "stretch.max", Unit::Ratio, true),
    ("hosts verified", "hosts.verified", Unit::Count, false),
    ("hosts pending", "hosts.pending", Unit::Count, true),
    ("from seeders", "traffic.from_seeder_bytes", Unit::Bytes, false),
    ("from peers", "traffic.from_peers_bytes", Unit::Bytes, false),
    ("wasted", "traffic.wasted_bytes", Unit::Bytes, false),
    ("wall", "wall_seconds", Unit::Seconds, false),
    ("CPU", "machine.cpu_seconds", Unit::Seconds, false),
    ("peak memory", "machine.peak_rss_bytes", Unit::Bytes, false),
];

#[derive(Clone, Copy, Debug)]
enum Unit {
    Milliseconds,
    Seconds,
    Ratio,
    Count,
    Bytes,
}

/// One line of the comparison.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    field: &'static str,
    a: Option<f64>,
    b: Option<f64>,
    /// How much `b` is above `a`.
    difference_percent: Option<f64>,
    /// Beyond what is allowed.
    regressed: bool,
    #[serde(skip)]
    unit: Unit,
}

pub(crate) fn compare(arguments: &CompareArguments) -> Exit {
    let (a, b) = match (load(&arguments.a), load(&arguments.b)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(message), _) | (_, Err(message)) => {
            eprintln!("harness: {message}");
            return Exit::Usage;
        }
    };
    let rows = rows(&a, &b, arguments.max_regression);
    let regressed = rows.iter().any(|row| row.regressed);
    match arguments.format {
        Format::Text => print(&table(&a, &b, &rows)),
        Format::Json => {
            let comparison = serde_json::json!({
                "a": title(&a), "b": title(&b), "rows": rows, "regressed": regressed,
                "max_regression_percent": arguments.max_regression,
            });
            print(&format!("{comparison:#}\n"));
        }
    }
    if regressed { Exit::No } else { Exit::Well }
}

/// The report of a run's folder, or a report itself.
fn load(path: &Path) -> Result<Value, String> {
    let file: PathBuf = if path.is_dir() {
        path.join("report.json")
    } else {
        path.to_owned()
    };
    let text = std::fs::read_to_string(&file).map_err(|error| {
        format!(
            "{} cannot be read ({error}); expected a run's folder or a report.json",
            file.display()
        )
    })?;
    let report: Value =
        serde_json::from_str(&text).map_err(|error| format!("{} is not JSON: {error}", file.display()))?;
    let version = report.get("schema_version").and_then(Value::as_u64);
    match version {
        Some(1) if report.get("fanout_latency_ms").is_some() => Ok(report),
        Some(other) if other != 1 => Err(format!(
            "{} has schema_version {other}; this harness reads version 1",
            file.display()
        )),
        _ => Err(format!(
            "{} is not a report of this harness; expected one written by `harness run` or `harness plan`",
            file.display()
        )),
    }
}

fn rows(a: &Value, b: &Value, max_regression: Option<f64>) -> Vec<Row> {
    ROWS.iter()
        .map(|&(name, field, unit, larger_is_worse)| {
            let (of_a, of_b) = (number(a, field), number(b, field));
            let difference_percent = of_a
                .zip(of_b)
                .and_then(|(a, b)| (a != 0.0).then(|| (b / a - 1.0) * 100.0));
            let regressed = larger_is_worse
                && max_regression.is_some_and(|allowed| match (of_a, of_b) {
                    (Some(a), Some(b)) => b > a * (1.0 + allowed / 100.0),
                    // A percentile that fell among hosts which did not finish is later than any.
                    (Some(_), None) => true,
                    (None, _) => false,
                });
            Row {
                name,
                field,
                a: of_a,
                b: of_b,
                difference_percent,
                regressed,
                unit,
            }
        })
        .collect()
}

/// A field of a report by its dotted path.
pub(super) fn number(report: &Value, field: &str) -> Option<f64> {
    let found = field.split('.').try_fold(report, |value, key| value.get(key));
    found.and_then(Value::as_f64)
}

fn title(report: &Value) -> String {
    let text = |key: &str| report.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    let seed = report.get("seed").and_then(Value::as_u64).unwrap_or_default();
    format!(
        "{} ({}, seed {seed}, {})",
        text("scenario"),
        text("mode"),
        text("git_revision")
    )
}

fn table(a: &Value, b: &Value, rows: &[Row]) -> String {
    let mut text = format!("A: {}\nB: {}\n\n", title(a), title(b));
    let _ = writeln!(text, "{:<16} {:>14} {:>14} {:>10}", "", "A", "B", "B to A");
    for row in rows.iter().filter(|row| row.a.is_some() || row.b.is_some()) {
        let difference = row
            .difference_percent
            .map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.1} %"));
        let verdict = if row.regressed { "  REGRESSED" } else { "" };
        let (a, b) = (show(row.a, row.unit), show(row.b, row.unit));
        let _ = writeln!(text, "{:<16} {a:>14} {b:>14} {difference:>10}{verdict}", row.name);
    }
    text
}

fn show(value: Option<f64>, unit: Unit) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    match unit {
        Unit::Milliseconds if value < 1000.0 => format!("{value:.0} ms"),
        Unit::Milliseconds => format!("{:.2} s", value / 1000.0),
        Unit::Seconds => format!("{value:.1} s"),
        Unit::Ratio => format!("{value:.3}"),
        Unit::Count => format!("{value:.0}"),
        Unit::Bytes => swarm::Bytes::new(value as u64).to_string(),
    }
}

/// A percentage of the command line, such as `5%`.
pub(crate) fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    match number {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err("expected a percentage, such as 5%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(p99: Value) -> Value {
        json!({"schema_version": 1, "fanout_latency_ms": {"p50": 100.0, "p99": p99}, "stretch": {"p99": 1.2}})
    }

    #[test]
    fn what_is_later_than_allowed_has_regressed_and_a_percentile_that_was_not_reached_too() {
        let regressed = |b: Value, allowed: Option<f64>| {
            let rows = rows(&report(json!(200.0)), &report(b), allowed);
            rows.iter()
                .filter(|row| row.regressed)
                .map(|row| row.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(regressed(json!(209.0), Some(5.0)), Vec::<&str>::new());
        assert_eq!(regressed(json!(211.0), Some(5.0)), ["fan-out p99"]);
        assert_eq!(regressed(Value::Null, Some(5.0)), ["fan-out p99"]);
        assert_eq!(regressed(json!(900.0), None), Vec::<&str>::new());
    }

    #[test]
    fn a_percentage_may_have_its_sign_and_no_other() {
        assert_eq!(parse_percent("5%"), Ok(5.0));
        assert_eq!(parse_percent(" 2.5 % "), Ok(2.5));
        assert!(parse_percent("-1%").is_err() && parse_percent("x").is_err());
    }
}
