//! Whether B is worse than A, or whether that cannot be said.

use super::super::spread::{RUNS_MIN, interval, shown};
use super::{Judgement, Pair, Row, Worse, number};

/// Marks the rows that regressed by more than `allowed` percent, and says what there is to say.
pub(super) fn judge(pairs: &[Pair], rows: &mut [Row], allowed: Option<f64>) -> Judgement {
    let mut judgement = Judgement::default();
    for row in rows.iter_mut().filter(|row| row.worse == Worse::More && row.more) {
        row.regressed = true;
        let (a, b) = (total(pairs, row.field, true), total(pairs, row.field, false));
        judgement.worse.push(format!("{} went from {a:.0} to {b:.0}", row.name));
    }
    if let Some(allowed) = allowed {
        hold_to(allowed, pairs.len(), rows, &mut judgement);
    }
    gaps(pairs, rows, &mut judgement);
    not_the_same(pairs, &mut judgement);
    judgement
}

fn total(pairs: &[Pair], field: &str, of_a: bool) -> f64 {
    let side = |pair: &Pair| number(if of_a { &pair.a } else { &pair.b }, field);
    pairs.iter().filter_map(side).sum()
}

/// What is later than allowed, by the interval that the middle of such pairs is in.
fn hold_to(allowed: f64, pairs: usize, rows: &mut [Row], judgement: &mut Judgement) {
    let mut undecided = Vec::new();
    let later = rows.iter_mut().filter(|row| row.worse == Worse::Later);
    for row in later.filter(|row| !row.differences.is_empty()) {
        let Some((low, high)) = interval(&row.differences) else {
            // One is to the other as that one is to it: nothing was drawn that differs.
            if row.differences.iter().any(|difference| *difference != 0.0) {
                undecided.push(row.name);
            }
            continue;
        };
        let (a, b) = (shown(row.a, row.field), shown(row.b, row.field));
        if low > allowed {
            row.regressed = true;
            judgement.worse.push(match row.b {
                Some(_) => format!("{} went from {a} to {b}, by {low:+.1} to {high:+.1} %", row.name),
                None => format!("{} was {a} in A and is not reached in B", row.name),
            });
        } else if high > allowed {
            judgement.incomparable.push(format!(
                "{} went by {low:+.1} to {high:+.1} %, and {allowed} % is between: more runs would tell",
                row.name
            ));
        }
    }
    if !undecided.is_empty() {
        judgement.incomparable.push(format!(
            "not enough runs: {pairs} {} nothing of {}, since runs of one scenario differ by their seeds; expected {RUNS_MIN} \
             pairs or more, such as `harness plan FILE --seeds 1..21` makes, or two FILEs and --seeds here",
            if pairs == 1 { "pair says" } else { "pairs say" },
            undecided.join(", ")
        ));
    }
}

/// Percentiles that fall among hosts which were not done.
fn gaps(pairs: &[Pair], rows: &[Row], judgement: &mut Judgement) {
    // Where links are not limited there is no bound, and no stretch on either side: that is no gap.
    let latencies: Vec<&Row> = rows
        .iter()
        .filter(|row| row.field.starts_with("fanout_latency_ms."))
        .collect();
    let found = judgement.incomparable.len();
    for (of_a, name) in [(true, "A"), (false, "B")] {
        let none = |pair: &Pair| {
            let report = if of_a { &pair.a } else { &pair.b };
            latencies.iter().all(|row| number(report, row.field).is_none())
        };
        if pairs.iter().any(none) {
            let text = format!("{name} has no latencies: none of its hosts is known to have the build");
            judgement.incomparable.push(text);
        }
    }
    if judgement.incomparable.len() > found {
        return;
    }
    // What A did not reach and B did is better, by however much.
    for row in latencies {
        let neither = |pair: &Pair| number(&pair.a, row.field).is_none() && number(&pair.b, row.field).is_none();
        if pairs.iter().any(neither) {
            judgement
                .incomparable
                .push(format!("{} was not reached in either", row.name));
        }
    }
}

/// Another fleet, another build, other hosts.
fn not_the_same(pairs: &[Pair], judgement: &mut Judgement) {
    let mut told = Vec::new();
    for Pair { a, b } in pairs {
        for (field, what) in [("hosts.total", "hosts"), ("build.bytes", "bytes of build")] {
            let (of_a, of_b) = (number(a, field), number(b, field));
            if of_a != of_b {
                let show = |count: Option<f64>| count.map_or_else(|| "no".to_owned(), |count| format!("{count:.0}"));
                told.push(format!(
                    "A has {} {what} and B {}: not the same job",
                    show(of_a),
                    show(of_b)
                ));
            }
        }
        told.extend(others_expected(a, b));
    }
    told.dedup();
    judgement.incomparable.extend(told);
}

/// Percentiles are of the hosts of which the build was expected. Where these are others, so are the percentiles.
fn others_expected(a: &serde_json::Value, b: &serde_json::Value) -> Option<String> {
    let (of_a, of_b) = (number(a, "hosts.excused")?, number(b, "hosts.excused")?);
    let hosts = number(b, "hosts.total")?;
    ((of_a - of_b).abs() > hosts * EXCUSED_SHARE_MAX).then(|| {
        format!("nothing was expected of {of_a:.0} hosts in A and of {of_b:.0} in B: the figures are of other hosts")
    })
}

/// Hosts that serve corrupt chunks are excused or, where they happen to get the build before they are banned, verified; so
/// two runs of one file differ by some of them. By more than this part of all hosts it is another file.
const EXCUSED_SHARE_MAX: f64 = 0.05;
