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
    let schema = scenario::report_schema();
    for report in [&forecast, &stuck, &kernel, &live] {
        let mut problems = Vec::new();
        validate("report", report, &schema, &mut problems);
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
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

/// What of `value` is not as `schema` has it. Knows the words that the schema of reports uses, and no others.
fn validate(path: &str, value: &Value, schema: &Value, problems: &mut Vec<String>) {
    const WORDS: [&str; 12] = [
        "$schema",
        "title",
        "description",
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "minimum",
        "examples",
    ];
    for word in schema.as_object().unwrap().keys() {
        assert!(WORDS.contains(&word.as_str()), "{path}: {word}");
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        kind => panic!("{path}: {kind}"),
    };
    let fits = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
        other => panic!("{path}: {other}"),
    };
    if !fits {
        problems.push(format!("{path} = {value} is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value))
        || schema.get("const").is_some_and(|only| only != value)
    {
        problems.push(format!(
            "{path} = {value} is none of {} {}",
            schema["enum"], schema["const"]
        ));
    }
    if value
        .as_f64()
        .zip(schema["minimum"].as_f64())
        .is_some_and(|(value, least)| value < least)
    {
        problems.push(format!("{path} = {value} is less than {}", schema["minimum"]));
    }
    for item in value.as_array().into_iter().flatten() {
        validate(&format!("{path}[]"), item, &schema["items"], problems);
    }
    let Some(fields) = value.as_object() else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap()) {
            problems.push(format!("{path} lacks {name}"));
        }
    }
    for (name, inner) in fields {
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Object(_)) => {
                validate(
                    &format!("{path}.{name}"),
                    inner,
                    &schema["additionalProperties"],
                    problems,
                );
            }
            (Value::Null, _) => problems.push(format!("{path}.{name} is not in the schema")),
            (known, _) => validate(&format!("{path}.{name}"), inner, known, problems),
        }
    }
}

#[test]
fn the_published_schema_is_the_programs() {
    for (of, file) in [("report", "report.schema.json"), ("scenario", "scenario.schema.json")] {
        let output = Command::new(env!("CARGO_BIN_EXE_harness"))
            .args(["schema", of])
            .output()
            .unwrap();
        let path = format!("{}/../../docs/{file}", env!("CARGO_MANIFEST_DIR"));
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published.as_bytes() == output.stdout,
            "docs/{file} is another; `harness schema {of} > docs/{file}` makes it anew"
        );
    }
}
