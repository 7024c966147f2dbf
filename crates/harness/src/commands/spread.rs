//! Figures of several runs: the middle one, and between which the middle of all such runs is.
//!
//! A run is one draw of what comes of its scenario: seeds 1 to 5 of one file ended at 1.02 to 1.51. So nothing is said of the
//! middle before there are six, the fewest for which it is between the least and the greatest of them 19 times of 20
//! (1 - 2/2^n; of more runs, between two that are further inside). It holds whatever the figures are distributed like.

use std::fmt::{self, Display, Formatter};

use scenario::{ReportField, Unit};
use serde::Serialize;
use serde_json::Value;

use super::compare::number;
use crate::report::Report;

/// Fewer say nothing.
pub(super) const RUNS_MIN: usize = 6;

/// Of an odd number the middle one, of an even one the mean of both. Nothing of nothing.
pub(super) fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted.get(middle).copied(),
        // Of infinite ones too.
        _ if sorted.get(middle)? == sorted.get(middle.checked_sub(1)?)? => sorted.get(middle).copied(),
        _ => Some(f64::midpoint(*sorted.get(middle - 1)?, *sorted.get(middle)?)),
    }
}

/// Between which of `sorted` the middle of all is, 19 times of 20; `None` where they are too few to say.
pub(super) fn interval(sorted: &[f64]) -> Option<(f64, f64)> {
    let n = sorted.len();
    if n < RUNS_MIN {
        return None;
    }
    // How many of n throws of a coin are heads: the middle is below the k-th least where fewer than k are.
    let (mut tail, mut term, mut inside) = (0.0, 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX)), 0);
    loop {
        tail += term;
        if 2.0 * tail > 0.05 || inside >= n / 2 {
            break;
        }
        term *= (n - inside) as f64 / (inside + 1) as f64;
        inside += 1;
    }
    let first = inside.saturating_sub(1);
    Some((sorted[first], sorted[n - 1 - first]))
}

/// How far runs are apart, in the fields that people look at first.
#[derive(Debug, Serialize)]
pub(super) struct Spread(Vec<Row>);

#[derive(Debug, Serialize)]
struct Row {
    field: &'static str,
    /// Runs that have it: in the others hosts were not done.
    runs: usize,
    least: Option<f64>,
    median: Option<f64>,
    /// Between these the middle of all such runs is, 19 times of 20.
    median_low: Option<f64>,
    median_high: Option<f64>,
    greatest: Option<f64>,
}

const SHOWN: [&str; 6] = [
    "fanout_latency_ms.p50",
    "fanout_latency_ms.p99",
    "fanout_latency_ms.max",
    "stretch.p50",
    "stretch.p99",
    "stretch.last",
];

impl Spread {
    pub(super) fn of(reports: &[Report]) -> Self {
        let reports = reports
            .iter()
            .map(|report| serde_json::to_value(report).expect("a report has only keys that are text"));
        Self::of_reports(&reports.collect::<Vec<Value>>())
    }

    /// Of reports as JSON.
    pub(super) fn of_reports(reports: &[Value]) -> Self {
        let row = |field: &'static str| {
            let mut figures: Vec<f64> = reports.iter().filter_map(|report| number(report, field)).collect();
            figures.sort_unstable_by(f64::total_cmp);
            let whole = interval(&figures).filter(|_| figures.len() == reports.len());
            Row {
                field,
                runs: figures.len(),
                least: figures.first().copied(),
                median: median(&figures),
                median_low: whole.map(|(low, _)| low),
                median_high: whole.map(|(_, high)| high),
                greatest: figures.last().copied(),
            }
        };
        Self(SHOWN.into_iter().map(row).collect())
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24} {:>9} {:>9} {:>9}   the middle of all is between",
            "", "least", "median", "greatest"
        )?;
        for row in &self.0 {
            let show = |value: Option<f64>| shown(value, row.field);
            let between = match (row.median_low, row.median_high) {
                (Some(low), Some(high)) => format!("{} and {}", show(Some(low)), show(Some(high))),
                _ => format!("not known: fewer than {RUNS_MIN} runs"),
            };
            let (least, median, greatest) = (show(row.least), show(row.median), show(row.greatest));
            writeln!(f, "{:<24} {least:>9} {median:>9} {greatest:>9}   {between}", row.field)?;
        }
        Ok(())
    }
}

/// A figure as people read it, by the unit of its field.
pub(super) fn shown(value: Option<f64>, field: &str) -> String {
    let (Some(value), Some(field)) = (value, ReportField::at(field)) else {
        return "-".to_owned();
    };
    match field.unit {
        Unit::Milliseconds => crate::report::time(Some(value)),
        Unit::Seconds => format!("{value:.1} s"),
        Unit::Bytes => swarm::Bytes::new(value as u64).to_string(),
        Unit::Count => format!("{value:.0}"),
        Unit::Percent => format!("{value:.1} %"),
        Unit::Dollars => format!("${value:.2}"),
        Unit::Ratio | Unit::Text | Unit::Words(_) => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_where_tables_of_the_sign_test_have_it() {
        let figures: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(interval(&figures[..5]), None);
        // From tables: n = 6 takes the least and the greatest, 9 the second, 20 the sixth, 100 the fortieth.
        for (n, first) in [(6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (50, 18), (100, 40)] {
            let (low, high) = interval(&figures[..n]).unwrap();
            assert_eq!(
                (low, high),
                (f64::from(first), (n + 1) as f64 - f64::from(first)),
                "{n}"
            );
        }
        assert_eq!(median(&figures[..4]), Some(2.5));
        assert_eq!(median(&figures[..5]), Some(3.0));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[f64::INFINITY, f64::INFINITY]), Some(f64::INFINITY));
    }

    /// By drawing: of what has a heavy tail, too.
    #[test]
    fn it_is_right_19_times_of_20_whatever_is_drawn() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1);
        for n in [6, 9, 20] {
            let right = (0..4000).filter(|_| {
                // The middle of 1/u is 2.
                let mut drawn: Vec<f64> = (0..n).map(|_| 1.0 / random.random::<f64>().max(1e-12)).collect();
                drawn.sort_unstable_by(f64::total_cmp);
                let (low, high) = interval(&drawn).unwrap();
                (low..=high).contains(&2.0)
            });
            assert!(right.count() >= 3780, "{n}");
        }
    }
}
