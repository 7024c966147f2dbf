//! What is worse, what is not, and of what there is no saying.

use scenario::ReportField;
use serde_json::json;

use super::*;

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

/// So many pairs, each the same.
fn pairs(count: usize, a: &Value, b: &Value) -> Vec<Pair> {
    let pair = |_| Pair {
        a: a.clone(),
        b: b.clone(),
    };
    (0..count).map(pair).collect()
}

fn judged(a: &Value, b: &Value, allowed: Option<f64>) -> (Exit, Judgement) {
    judged_pairs(&pairs(6, a, b), allowed)
}

fn judged_pairs(pairs: &[Pair], allowed: Option<f64>) -> (Exit, Judgement) {
    let judgement = judge(pairs, &mut rows(pairs), allowed);
    (judgement.exit(), judgement)
}

#[test]
fn fewer_than_six_pairs_say_nothing_but_of_what_is_equal() {
    let later = with(&[("/fanout_latency_ms/p99", json!(201.0))]);
    for count in 1..6 {
        for (a, b) in [(&report(), &later), (&later, &report())] {
            let (exit, judgement) = judged_pairs(&pairs(count, a, b), Some(5.0));
            assert_eq!(exit, Exit::NoVerdict);
            assert!(
                judgement.incomparable[0].starts_with("not enough runs"),
                "{judgement:?}"
            );
        }
        assert_eq!(
            judged_pairs(&pairs(count, &report(), &report()), Some(0.0)).0,
            Exit::Success
        );
    }
    assert_eq!(judged_pairs(&pairs(6, &report(), &later), Some(5.0)).0, Exit::Success);
}

#[test]
fn one_that_is_late_among_many_is_no_regression_and_no_proof_that_there_is_none() {
    let late = |p99: f64| with(&[("/fanout_latency_ms/p99", json!(p99))]);
    let of = |late_ones: usize, count: usize| -> Vec<Pair> {
        let pair = |index| Pair {
            a: report(),
            b: late(if index < late_ones { 300.0 } else { 201.0 }),
        };
        (0..count).map(pair).collect()
    };
    assert_eq!(judged_pairs(&of(1, 6), Some(5.0)).0, Exit::NoVerdict);
    assert_eq!(judged_pairs(&of(1, 9), Some(5.0)).0, Exit::Success);
    assert_eq!(judged_pairs(&of(4, 9), Some(5.0)).0, Exit::NoVerdict);
    assert_eq!(judged_pairs(&of(8, 9), Some(5.0)).0, Exit::No);
}

#[test]
fn what_is_later_than_allowed_has_regressed_and_a_percentile_that_was_not_reached_too() {
    let regressed = |b: Value, allowed: Option<f64>| {
        let pairs = pairs(6, &report(), &with(&[("/fanout_latency_ms/p99", b)]));
        let mut rows = rows(&pairs);
        judge(&pairs, &mut rows, allowed);
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
        assert_eq!(judged(&report(), &report(), allowed).0, Exit::Success);
    }
    // Without limits there is no bound, and no stretch.
    let flat_out = with(&[("/stretch", json!({"p50": null, "p99": null, "max": null}))]);
    assert_eq!(judged(&flat_out, &flat_out, Some(5.0)).0, Exit::Success);
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
    assert_eq!(judged(&gap, &report(), Some(5.0)).0, Exit::Success, "it became better");
}

#[test]
fn hosts_that_are_gone_are_worse_or_make_it_another_fleet() {
    for left_behind in ["/hosts/pending", "/hosts/failed"] {
        let b = with(&[("/hosts/verified", json!(99)), (left_behind, json!(1))]);
        let (exit, judgement) = judged(&report(), &b, None);
        assert_eq!(exit, Exit::No);
        assert!(judgement.worse[0].contains("went from 0 to 6"), "{judgement:?}");
        assert_eq!(judged(&b, &report(), Some(5.0)).0, Exit::Success, "it became better");
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
    assert_eq!(judged(&report(), &some, Some(5.0)).0, Exit::Success);
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
fn a_percentage_has_its_sign_and_no_other() {
    assert_eq!(parse_percent("5%"), Ok(5.0));
    assert_eq!(parse_percent(" 2.5 % "), Ok(2.5));
    assert!(parse_percent("-1%").is_err() && parse_percent("x").is_err() && parse_percent("0.05").is_err());
}
