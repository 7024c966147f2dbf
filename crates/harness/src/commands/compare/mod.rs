//! `harness compare`: two runs side by side, or several pairs of them, and whether the second is worse.
//!
//! Invariant: exit 0 with `--max-regression` means that both sides have figures of the same job on the same fleet, that no more
//! hosts are left behind in B than in A, and that nothing regressed by more, 19 times of 20. What cannot be compared has no
//! verdict, which is not a good one; neither has one run against one.

mod judging;
mod sides;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use scenario::find_in_report;
use serde::Serialize;
use serde_json::Value;

use super::print;
use super::run::watch_signals;
use super::spread::{interval, median, shown};
use crate::cli::{CompareArguments, Format};
use crate::exit::{Exit, of_stop, print_error};
use judging::judge;
use sides::{Pair, Sides};
pub(super) use sides::{read as read_reports, seed};

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
    #[serde(skip)]
    worse: Worse,
    /// The middle of A's runs, and of B's.
    a: Option<f64>,
    b: Option<f64>,
    /// How much `b` is above `a`: the middle of the pairs. Null where both are nothing, or one is not reached.
    difference_percent: Option<f64>,
    /// Between these the middle of all such pairs is, 19 times of 20; null for fewer than six pairs.
    difference_low_percent: Option<f64>,
    difference_high_percent: Option<f64>,
    /// Beyond what is allowed.
    regressed: bool,
    /// By pair, infinite where one side has not reached it.
    #[serde(skip)]
    differences: Vec<f64>,
    /// Of all pairs together.
    #[serde(skip)]
    more: bool,
}

/// A key whose value differs.
#[derive(Debug, Serialize)]
struct Changed {
    key: String,
    a: Value,
    b: Value,
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
    let stop = match watch_signals() {
        Ok(stop) => stop,
        Err(error) => {
            print_error("failed to listen for signals", &error);
            return Exit::Failed;
        }
    };
    let sides = match sides::both(arguments, &stop) {
        Ok(sides) => sides,
        Err(message) => {
            say!("harness: {message}");
            return Exit::Usage;
        }
    };
    if let Some(stopped) = *stop.borrow() {
        return of_stop(stopped);
    }
    let Some(first) = sides.pairs.first() else {
        say!("harness: there is no run of one side or the other; expected --seeds that both have");
        return Exit::Usage;
    };
    let mut rows = rows(&sides.pairs);
    let judgement = judge(&sides.pairs, &mut rows, arguments.max_regression);
    let changed = changed(first);
    match arguments.format {
        Format::Text => print(&text(&sides, first, &changed, &rows, &judgement)),
        Format::Json => {
            let comparison = serde_json::json!({
                "a": title(&first.a), "b": title(&first.b), "pairs": sides.pairs.len(),
                "seeds": sides.pairs.iter().map(|pair| [seed(&pair.a), seed(&pair.b)]).collect::<Vec<_>>(),
                "changed": changed, "rows": rows, "regressed": !judgement.worse.is_empty(),
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
            (true, true) => Exit::Success,
        }
    }
}

fn rows(pairs: &[Pair]) -> Vec<Row> {
    let row = |&(name, field, worse): &(&'static str, &'static str, Worse)| {
        let figures: Vec<(Option<f64>, Option<f64>)> = pairs
            .iter()
            .map(|pair| (number(&pair.a, field), number(&pair.b, field)))
            .collect();
        let mut differences: Vec<f64> = figures.iter().filter_map(difference).collect();
        differences.sort_unstable_by(f64::total_cmp);
        let (mut sum_a, mut sum_b) = (0.0, 0.0);
        for (a, b) in &figures {
            sum_a += a.unwrap_or_default();
            sum_b += b.unwrap_or_default();
        }
        let finite = |percent: f64| percent.is_finite().then_some(percent);
        let between = interval(&differences);
        Row {
            name,
            field,
            worse,
            a: middle(figures.iter().map(|(a, _)| *a)),
            b: middle(figures.iter().map(|(_, b)| *b)),
            difference_percent: median(&differences).and_then(finite),
            difference_low_percent: between.and_then(|(low, _)| finite(low)),
            difference_high_percent: between.and_then(|(_, high)| finite(high)),
            regressed: false,
            more: sum_b > sum_a,
            differences,
        }
    };
    ROWS.iter().map(row).collect()
}

/// By how many percent B is above A. What was not reached is above all.
fn difference(figures: &(Option<f64>, Option<f64>)) -> Option<f64> {
    match *figures {
        (Some(a), Some(b)) if a != 0.0 => Some((b / a - 1.0) * 100.0),
        (Some(_), None) => Some(f64::INFINITY),
        (None, Some(_)) => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// The middle of figures of which those that are not there are above all.
fn middle(figures: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.map(|figure| figure.unwrap_or(f64::INFINITY)).collect();
    figures.sort_unstable_by(f64::total_cmp);
    median(&figures).filter(|middle| middle.is_finite())
}

/// Keys of the scenario that differ; seeds do where they are not those of a pair.
fn changed(pair: &Pair) -> Vec<Changed> {
    let values = |report: &Value| Some(report.get("about")?.get("values")?.as_object()?.clone());
    let (Some(a), Some(b)) = (values(&pair.a), values(&pair.b)) else {
        return Vec::new();
    };
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let of = |key: &String| Changed {
        key: key.clone(),
        a: a.get(key).cloned().unwrap_or_default(),
        b: b.get(key).cloned().unwrap_or_default(),
    };
    keys.into_iter()
        .map(of)
        .filter(|changed| changed.a != changed.b)
        .collect()
}

/// A field of a report by its dotted path.
pub(super) fn number(report: &Value, field: &str) -> Option<f64> {
    find_in_report(report, field).and_then(Value::as_f64)
}

fn title(report: &Value) -> String {
    let text = |key: &str| report.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    let seed = seed(report);
    format!(
        "{} ({}, seed {seed}, {})",
        text("scenario"),
        text("mode"),
        text("git_revision")
    )
}

fn text(sides: &Sides, first: &Pair, changed: &[Changed], rows: &[Row], judgement: &Judgement) -> String {
    let mut text = format!("A: {}\nB: {}\n", title(&first.a), title(&first.b));
    if sides.pairs.len() > 1 || sides.alone != (0, 0) {
        let _ = write!(text, "{} pairs of runs", sides.pairs.len());
        if sides.alone != (0, 0) {
            let _ = write!(
                text,
                "; {} of A and {} of B have no partner",
                sides.alone.0, sides.alone.1
            );
        }
        text.push('\n');
    }
    for Changed { key, a, b } in changed.iter().take(CHANGED_SHOWN) {
        let _ = writeln!(text, "  {key}: {a} in A, {b} in B");
    }
    if changed.len() > CHANGED_SHOWN {
        let _ = writeln!(text, "  and {} keys more", changed.len() - CHANGED_SHOWN);
    }
    for worse in &judgement.worse {
        let _ = writeln!(text, "{}: {worse}", console::style("worse").red().bold());
    }
    for incomparable in &judgement.incomparable {
        let _ = writeln!(text, "{}: {incomparable}", console::style("no verdict").yellow().bold());
    }
    let _ = writeln!(text, "\n{:<16} {:>14} {:>14} {:>10}", "", "A", "B", "B to A");
    for row in rows.iter().filter(|row| row.a.is_some() || row.b.is_some()) {
        let percent =
            |percent: Option<f64>| percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.1} %"));
        let (a, b, difference) = (
            shown(row.a, row.field),
            shown(row.b, row.field),
            percent(row.difference_percent),
        );
        let _ = write!(text, "{:<16} {a:>14} {b:>14} {difference:>10}", row.name);
        if let (Some(low), Some(high)) = (row.difference_low_percent, row.difference_high_percent) {
            let _ = write!(text, "  {low:+.1} to {high:+.1} %");
        }
        let verdict = if row.regressed { "  REGRESSED" } else { "" };
        let _ = writeln!(text, "{}", console::style(verdict).red().bold());
    }
    text
}

/// A percentage of the command line, such as `5%`. Its sign is asked for: 0.05 may be meant as either.
pub(crate) fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').map(|number| number.trim().parse::<f64>());
    match number {
        Some(Ok(percent)) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err("expected a percentage with its sign, such as 5%".to_owned()),
    }
}

/// Keys that differ that are shown one by one.
const CHANGED_SHOWN: usize = 12;
