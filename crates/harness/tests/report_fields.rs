//! The table of fields holds against real reports, both ways. Aim: whoever adds a field to a report and not to the table, or
//! the other way round, finds out here; and a threshold on any number of a report is a threshold that is understood.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::collections::BTreeSet;
use std::process::Command;

use scenario::{REPORT_FIELDS, REPORT_LISTS, ReportField, Unit, find_in_report};
use serde_json::Value;

/// The report of a command on a fleet of some 30 hosts in two regions.
fn report(command: &str, sets: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/smoke.toml");
    let small = ["regions.region-a.hosts=20", "regions.region-b.hosts=10"];
    let mut run = Command::new(env!("CARGO_BIN_EXE_harness"));
    run.args([command, scenario, "--out"]).arg(&out);
    for set in small.iter().chain(sets) {
        run.args(["--set", set]);
    }
    let output = run.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = std::fs::read_to_string(out.join("report.json")).unwrap_or_else(|_| panic!("{stderr}"));
    serde_json::from_str(&text).unwrap()
}

/// The paths of everything that is a number, a text or null, regions by their names, without what is listed one by one.
fn leaves(path: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    if REPORT_LISTS.contains(&path) {
        return;
    }
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                leaves(&below(key), inner, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                let name = item.get("name").or_else(|| item.get("region")).and_then(Value::as_str);
                leaves(
                    &below(name.unwrap_or_else(|| panic!("{path} has items without names"))),
                    item,
                    found,
                );
            }
        }
        Value::Bool(_) => {}
        leaf => {
            found.push((path.to_owned(), leaf.clone()));
        }
    }
}

/// Whether the table's unit is right for what the report has.
fn suits(field: &ReportField, value: &Value) -> bool {
    match (field.unit, value) {
        (_, Value::Null) => true,
        (Unit::Text, value) => value.is_string(),
        (Unit::Words(words), value) => value.as_str().is_some_and(|word| words.contains(&word)),
        (Unit::Count, value) => value.is_u64(),
        (Unit::Bytes, value) => value.is_u64() && field.pattern.ends_with("bytes"),
        (Unit::Milliseconds, value) => value.is_number() && field.pattern.contains("_ms"),
        (Unit::Seconds, value) => value.is_number() && field.pattern.ends_with("_seconds"),
        (Unit::Ratio | Unit::Percent | Unit::Dollars, value) => value.is_number(),
    }
}

#[test]
fn every_number_of_a_report_is_in_the_table_and_everything_in_the_table_is_in_a_report() {
    let forecast = report("plan", &["regions.region-a.zones=2", "network.zones.usd_per_gib=0.02"]);
    let stuck = report("plan", &["deadline=1s"]);
    let kernel = report("plan", &["fidelity=kernel"]);
    let live = report("run", &[]);
    let mut seen = BTreeSet::new();
    for report in [&forecast, &stuck, &kernel, &live] {
        let mut found = Vec::new();
        leaves("", report, &mut found);
        for (path, value) in found {
            let field = ReportField::at(&path);
            // A null that others have something below is not a leaf of theirs.
            if field.is_none() && value.is_null() {
                let below = format!("{path}.");
                let whole = REPORT_FIELDS.iter().any(|field| field.pattern.starts_with(&below));
                assert!(whole, "{path} is null, and in no row of REPORT_FIELDS");
                continue;
            }
            let field = field.unwrap_or_else(|| panic!("{path} = {value} is in no row of REPORT_FIELDS"));
            assert!(suits(field, &value), "{path} = {value} is no {:?}", field.unit);
            assert_eq!(find_in_report(report, &path), Some(&value), "{path}");
            seen.insert(field.pattern);
        }
    }
    // The pipeline's stages are in reports of runs by it; its own test looks at them.
    let missing: Vec<_> = REPORT_FIELDS
        .iter()
        .map(|field| field.pattern)
        .filter(|pattern| !seen.contains(pattern) && !pattern.starts_with("stages."))
        .collect();
    assert!(missing.is_empty(), "in REPORT_FIELDS and in no report: {missing:?}");
}
