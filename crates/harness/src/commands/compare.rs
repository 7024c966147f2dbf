//! `harness compare`: two reports side by side, and whether the second is worse.
//!
//! Invariant: exit 0 means that both reports have figures of the same job on the same fleet, that no more hosts are left
//! behind in B than in A, and that nothing regressed. What cannot be compared has no verdict, which is not a good one.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use scenario::{ReportField, Unit, find_in_report};
use serde::Serialize;
use serde_json::Value;

use super::print;
use crate::cli::{CompareArguments, Format};
use crate::exit::Exit;

/// What is compared: a name, the field of the report, and which way is worse.
const ROWS: [(&str, &str, Worse); 18] = [
    ("fan-out p50", "fanout_latency_ms.p50", Worse::Later),
    ("fan-out p90", "fanout_latency_ms.p90", Worse::Later),
    ("fan-out p99", "fanout_latency_ms.p99", Worse::Later),
    ("fan-out p99.9", "fanout_latency_ms.p999", Worse::Later),
    ("makespan", "fanout_latency_ms.max", Worse::Later),
    ("lower bound", "lower_bound_ms", Worse::Neither),
    ("stretch p50", "stretch.p50", Worse::Later),
    ("stretch p99", "stretch.p99", Worse::Later),
    ("stretch max", "stretch.max", Worse::Later),
    ("hosts verified", "hosts.verified", Worse::Neither),
    ("hosts pending", "hosts.pending", Worse::More),
    ("hosts failed", "hosts.failed", Worse::More),
    ("from seeders", "traffic.from_seeder_bytes", Worse::Neither),
    ("from peers", "traffic.from_peers_bytes", Worse::Neither),
    ("wasted", "traffic.wasted_bytes", Worse::Neither),
    ("wall", "wall_seconds", Worse::Neither),
    ("CPU", "machine.cpu_seconds", Worse::Neither),
    ("peak memory", "machine.peak_rss_bytes", Worse::Neither),
];

/// Which change of a row is a regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worse {
    /// B is later than A by more than is allowed.
    Later,
    /// B has more than A: of hosts that did not get the build none is allowed.
    More,
    /// None is.
    Neither,
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
}

/// What comes of a comparison, with a sentence for each reason.
#[derive(Debug, Default, Serialize)]
struct Judgement {
    /// B is worse.
    worse: Vec<String>,
    /// There is no saying whether it is.
    incomparable: Vec<String>,
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
    let judgement = judge(&a, &b, &rows);
    match arguments.format {
        Format::Text => {
            print(&table(&a, &b, &rows));
            for worse in &judgement.worse {
                print(&format!("worse: {worse}\n"));
            }
            for incomparable in &judgement.incomparable {
                print(&format!("no verdict: {incomparable}\n"));
            }
        }
        Format::Json => {
            let comparison = serde_json::json!({
                "a": title(&a), "b": title(&b), "rows": rows, "regressed": !judgement.worse.is_empty(),
                "worse": judgement.worse, "incomparable": judgement.incomparable,
                "max_regression_percent": arguments.max_regression,
            });
            print(&format!("{comparison:#}\n"));
        }
    }
    judgement.exit()
}

impl Judgement {
    /// Hosts left behind are worse in whatever else cannot be compared.
    fn exit(&self) -> Exit {
        match (self.worse.is_empty(), self.incomparable.is_empty()) {
            (false, _) => Exit::No,
            (true, false) => Exit::NoVerdict,
            (true, true) => Exit::Well,
        }
    }
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
        .map(|&(name, field, worse)| {
            let (of_a, of_b) = (number(a, field), number(b, field));
            let difference_percent = of_a
                .zip(of_b)
                .and_then(|(a, b)| (a != 0.0).then(|| (b / a - 1.0) * 100.0));
            let regressed = match worse {
                Worse::Later => max_regression.is_some_and(|allowed| match (of_a, of_b) {
                    (Some(a), Some(b)) => b > a * (1.0 + allowed / 100.0),
                    // A percentile that fell among hosts which did not finish is later than any.
                    (Some(_), None) => true,
                    (None, _) => false,
                }),
                Worse::More => of_b.unwrap_or_default() > of_a.unwrap_or_default(),
                Worse::Neither => false,
            };
            Row {
                name,
                field,
                a: of_a,
                b: of_b,
                difference_percent,
                regressed,
            }
        })
        .collect()
}

fn judge(a: &Value, b: &Value, rows: &[Row]) -> Judgement {
    let mut judgement = Judgement::default();
    for row in rows.iter().filter(|row| row.regressed) {
        let (of_a, of_b) = (show(row.a, row.field), show(row.b, row.field));
        let text = match (row.difference_percent, row.b) {
            (_, None) => format!("{} was {of_a} in A and is not reached in B", row.name),
            (Some(percent), _) => format!("{} went from {of_a} to {of_b}, {percent:+.1} %", row.name),
            (None, _) => format!("{} went from {of_a} to {of_b}", row.name),
        };
        judgement.worse.push(text);
    }
    // Where links are not limited there is no bound, and no stretch on either side: that is no gap.
    let latencies = |row: &&Row| row.field.starts_with("fanout_latency_ms.");
    for (report, name) in [(a, "A"), (b, "B")] {
        if rows
            .iter()
            .filter(latencies)
            .all(|row| number(report, row.field).is_none())
        {
            let text = format!("{name} has no latencies: none of its hosts is known to have the build");
            judgement.incomparable.push(text);
        }
    }
    if judgement.incomparable.is_empty() {
        // What A did not reach and B did is better, by however much.
        for row in rows
            .iter()
            .filter(latencies)
            .filter(|row| row.a.is_none() && row.b.is_none())
        {
            let text = format!("{} was not reached in either", row.name);
            judgement.incomparable.push(text);
        }
    }
    for (field, what) in [("hosts.total", "hosts"), ("build.bytes", "bytes of build")] {
        let (of_a, of_b) = (number(a, field), number(b, field));
        if of_a != of_b {
            let text = format!(
                "A has {} {what} and B {}: not the same job",
                shown_count(of_a),
                shown_count(of_b)
            );
            judgement.incomparable.push(text);
        }
    }
    if let Some(text) = fewer_expected(a, b) {
        judgement.incomparable.push(text);
    }
    judgement
}

/// Percentiles are of the hosts of which the build was expected. Where these are others, so are the percentiles.
fn fewer_expected(a: &Value, b: &Value) -> Option<String> {
    let (of_a, of_b) = (number(a, "hosts.excused")?, number(b, "hosts.excused")?);
    let hosts = number(b, "hosts.total")?;
    ((of_a - of_b).abs() > hosts * EXCUSED_SHARE_MAX).then(|| {
        format!("nothing was expected of {of_a:.0} hosts in A and of {of_b:.0} in B: the figures are of other hosts")
    })
}

/// A field of a report by its dotted path.
pub(super) fn number(report: &Value, field: &str) -> Option<f64> {
    find_in_report(report, field).and_then(Value::as_f64)
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
        let (a, b) = (show(row.a, row.field), show(row.b, row.field));
        let _ = writeln!(text, "{:<16} {a:>14} {b:>14} {difference:>10}{verdict}", row.name);
    }
    text
}

fn show(value: Option<f64>, field: &str) -> String {
    let (Some(value), Some(field)) = (value, ReportField::at(field)) else {
        return "-".to_owned();
    };
    match field.unit {
        Unit::Milliseconds if value < 1000.0 => format!("{value:.0} ms"),
        Unit::Milliseconds => format!("{:.2} s", value / 1000.0),
        Unit::Seconds => format!("{value:.1} s"),
        Unit::Bytes => swarm::Bytes::new(value as u64).to_string(),
        Unit::Count => shown_count(Some(value)),
        Unit::Percent => format!("{value:.1} %"),
        Unit::Dollars => format!("${value:.2}"),
        Unit::Ratio | Unit::Text | Unit::Words(_) => format!("{value:.3}"),
    }
}

fn shown_count(value: Option<f64>) -> String {
    value.map_or_else(|| "no".to_owned(), |value| format!("{value:.0}"))
}

/// A percentage of the command line, such as `5%`.
pub(crate) fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    match number {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err("expected a percentage, such as 5%".to_owned()),
    }
}

/// Hosts that serve corrupt chunks are excused or, where they happen to get the build before they are banned, verified; so
/// two runs of one file differ by some of them. By more than this part of all hosts it is another file.
const EXCUSED_SHARE_MAX: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A report of 100 hosts.
    fn report() -> Value {
        json!({"schema_version": 1,
            "fanout_latency_ms": {"p50": 100.0, "p90": 150.0, "p99": 200.0, "p999": 200.0, "max": 200.0},
            "stretch": {"p50": 1.1, "p99": 1.2, "max": 1.2}, "build": {"bytes": 1000},
            "hosts": {"total": 100, "verified": 100, "failed": 0, "pending": 0, "excused": 0}})
    }

    fn with(changes: &[(&str, Value)]) -> Value {
        let mut report = report();
        for (path, value) in changes {
            *report.pointer_mut(path).unwrap() = value.clone();
        }
        report
    }

    fn judged(a: &Value, b: &Value, allowed: Option<f64>) -> (Exit, Judgement) {
        let judgement = judge(a, b, &rows(a, b, allowed));
        (judgement.exit(), judgement)
    }

    #[test]
    fn what_is_later_than_allowed_has_regressed_and_a_percentile_that_was_not_reached_too() {
        let regressed = |b: Value, allowed: Option<f64>| {
            let rows = rows(&report(), &with(&[("/fanout_latency_ms/p99", b)]), allowed);
            let regressed = rows.iter().filter(|row| row.regressed);
            regressed.map(|row| row.name).collect::<Vec<_>>()
        };
        assert_eq!(regressed(json!(209.0), Some(5.0)), Vec::<&str>::new());
        assert_eq!(regressed(json!(211.0), Some(5.0)), ["fan-out p99"]);
        assert_eq!(regressed(Value::Null, Some(5.0)), ["fan-out p99"]);
        assert_eq!(regressed(json!(900.0), None), Vec::<&str>::new());
    }

    #[test]
    fn equal_reports_are_well() {
        for allowed in [None, Some(0.0)] {
            assert_eq!(judged(&report(), &report(), allowed).0, Exit::Well);
        }
        // Without limits there is no bound, and no stretch.
        let flat_out = with(&[("/stretch", json!({"p50": null, "p99": null, "max": null}))]);
        assert_eq!(judged(&flat_out, &flat_out, Some(5.0)).0, Exit::Well);
    }

    #[test]
    fn a_report_without_figures_has_no_verdict() {
        let empty = with(&[("/fanout_latency_ms", json!({"p50": null, "p90": null, "max": null}))]);
        for (a, b) in [(&empty, &report()), (&empty, &empty), (&report(), &empty)] {
            let (exit, judgement) = judged(a, b, None);
            assert_eq!(exit, Exit::NoVerdict, "{judgement:?}");
            assert!(judgement.incomparable[0].contains("has no latencies"), "{judgement:?}");
        }
        // Of one that was to be compared it is worse, too.
        assert_eq!(judged(&report(), &empty, Some(5.0)).0, Exit::No);
        let gap = with(&[
            ("/fanout_latency_ms/p99", Value::Null),
            ("/fanout_latency_ms/max", Value::Null),
        ]);
        assert_eq!(judged(&gap, &gap, Some(5.0)).0, Exit::NoVerdict);
        assert_eq!(judged(&gap, &report(), Some(5.0)).0, Exit::Well, "it became better");
    }

    #[test]
    fn hosts_that_are_gone_are_worse_or_make_it_another_fleet() {
        for left_behind in ["/hosts/pending", "/hosts/failed"] {
            let b = with(&[("/hosts/verified", json!(99)), (left_behind, json!(1))]);
            let (exit, judgement) = judged(&report(), &b, None);
            assert_eq!(exit, Exit::No);
            assert!(judgement.worse[0].contains("went from 0 to 1"), "{judgement:?}");
            assert_eq!(judged(&b, &report(), Some(5.0)).0, Exit::Well, "it became better");
        }
        let fewer = with(&[("/hosts/total", json!(10)), ("/hosts/verified", json!(10))]);
        let (exit, judgement) = judged(&report(), &fewer, Some(5.0));
        assert_eq!(exit, Exit::NoVerdict);
        assert!(
            judgement.incomparable[0].contains("A has 100 hosts and B 10"),
            "{judgement:?}"
        );
        let excused = with(&[("/hosts/excused", json!(90)), ("/hosts/verified", json!(10))]);
        assert_eq!(judged(&report(), &excused, Some(5.0)).0, Exit::NoVerdict);
        let some = with(&[("/hosts/excused", json!(1)), ("/hosts/verified", json!(99))]);
        assert_eq!(judged(&report(), &some, Some(5.0)).0, Exit::Well);
    }

    #[test]
    fn another_build_is_another_job() {
        let (exit, judgement) = judged(&report(), &with(&[("/build/bytes", json!(10))]), Some(5.0));
        assert_eq!(exit, Exit::NoVerdict, "{judgement:?}");
    }

    #[test]
    fn every_row_is_a_field_of_reports() {
        for (name, field, _) in ROWS {
            assert!(ReportField::at(field).is_some(), "{name}");
        }
    }

    #[test]
    fn a_percentage_may_have_its_sign_and_no_other() {
        assert_eq!(parse_percent("5%"), Ok(5.0));
        assert_eq!(parse_percent(" 2.5 % "), Ok(2.5));
        assert!(parse_percent("-1%").is_err() && parse_percent("x").is_err());
    }
}
