//! `harness runs`: what was run is listed, shown again, and removed where it is asked for; nothing else is.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod program;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use program::{harness, scenario, text};
use serde_json::Value;

fn plan(folder: &Path, name: &str, seed: &str) {
    let out = folder.join(name).display().to_string();
    let sets = [
        "--set",
        "regions.region-a.hosts=10",
        "--set",
        "regions.region-b.hosts=5",
        "--set",
        "thresholds.quick=stretch.max <= 1",
        "--set",
        "thresholds.everyone=hosts.verified == 15",
    ];
    let output = harness(
        &[
            &["plan", &scenario("smoke.toml"), "--out", &out, "--seed", seed],
            &sets[..],
        ]
        .concat(),
    );
    assert!(
        folder.join(name).join("report.json").is_file(),
        "{}",
        text(&output.stderr)
    );
}

fn runs(folder: &Path, more: &[&str]) -> (Option<i32>, String) {
    let output = harness(&[&["runs", "--in", &folder.display().to_string()], more].concat());
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn runs_are_listed_shown_and_removed_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let runs_folder = folder.path().join("runs");
    assert_eq!(runs(&runs_folder, &[]), (Some(0), "0 runs, 0 B\n".to_owned()));
    for (name, seed) in [("c-first", "1"), ("b-second", "2"), ("a-third", "3")] {
        plan(&runs_folder, name, seed);
    }
    // Under way, somebody's own, and a link to what is elsewhere.
    std::fs::create_dir_all(runs_folder.join("under-way/cloud")).unwrap();
    std::fs::create_dir_all(runs_folder.join("notes")).unwrap();
    std::fs::write(runs_folder.join("notes/report.json"), "{\"mine\": 1}").unwrap();
    plan(folder.path(), "elsewhere", "9");
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), runs_folder.join("link")).unwrap();

    let (code, listed) = runs(&runs_folder, &["list"]);
    assert_eq!(code, Some(0), "{listed}");
    let names: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names, ["c-first", "b-second", "a-third", "3"], "{listed}");
    assert!(
        listed.contains("15 of 15 verified") && listed.contains("missed quick"),
        "{listed}"
    );
    let (_, json) = runs(&runs_folder, &["list", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (json[0]["seed"].clone(), json[2]["missed"][0].clone()),
        (1.into(), "quick".into())
    );

    let (_, newest) = runs(&runs_folder, &["show"]);
    assert!(
        newest.contains("seed 3") && newest.contains("MISSED quick") && newest.contains("last: region-"),
        "{newest}"
    );
    let (_, named) = runs(&runs_folder, &["show", "b-second"]);
    assert!(
        named.contains("seed 2") && named.contains("replay: harness plan"),
        "{named}"
    );
    let (code, none) = runs(&runs_folder, &["show", "notes"]);
    assert_eq!(code, Some(2), "{none}");

    let (_, would) = runs(&runs_folder, &["prune", "--keep", "1", "--dry-run"]);
    assert!(
        would.contains("would be removed") && runs_folder.join("c-first").is_dir(),
        "{would}"
    );
    let (code, pruned) = runs(&runs_folder, &["prune", "--keep", "1"]);
    assert!(code == Some(0) && pruned.contains("2 runs removed"), "{pruned}");
    let mut left: Vec<String> = std::fs::read_dir(&runs_folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["a-third", "link", "notes", "under-way"]);
    assert!(folder.path().join("elsewhere/report.json").is_file());
}

#[test]
fn a_ci_is_told_what_held_and_what_did_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (out, junit, markdown) = (at("out"), at("junit.xml"), at("summary.md"));
    let path = scenario("smoke.toml");
    let sets = [
        "--set",
        "thresholds.everyone=hosts.verified == 200",
        "--set",
        "thresholds.soon=stretch.max <= 1",
    ];
    let files = ["--junit", &junit, "--markdown", &markdown];
    let output = harness(&[&["plan", &path, "--out", &out], &sets[..], &files[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let junit = std::fs::read_to_string(junit).unwrap();
    // Every host, two thresholds, and one that says nothing of a forecast.
    assert!(
        junit.contains("tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"1\""),
        "{junit}"
    );
    assert!(
        junit.contains("name=\"soon: stretch.max &lt;= 1\"><failure message=\"it is 1."),
        "{junit}"
    );
    assert_eq!(junit.matches("<testcase").count(), 4);
    let markdown = std::fs::read_to_string(markdown).unwrap();
    assert!(
        markdown.contains("200 of 200 hosts verified") && markdown.contains("| **MISSED** | soon |"),
        "{markdown}"
    );
    assert!(
        markdown.contains("- region-a-") && markdown.contains("```\nharness plan"),
        "{markdown}"
    );
    let refused = harness(&["plan", &path, "--seeds", "1..3", "--junit", &at("x.xml")]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    let nowhere = harness(&["plan", &path, "--out", &at("two"), "--junit", &at("no/such/folder.xml")]);
    assert_eq!(nowhere.status.code(), Some(4), "{}", text(&nowhere.stderr));
    assert!(
        text(&nowhere.stderr).contains("folder.xml"),
        "{}",
        text(&nowhere.stderr)
    );
}

#[test]
fn a_run_that_is_repeated_says_how_far_its_runs_are_apart() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let path = scenario("smoke.toml");
    let sets = [
        "regions.region-a.hosts=6",
        "regions.region-b.hosts=4",
        "thresholds.everyone=hosts.verified == 10",
        "thresholds.logged=logs.rows == 9",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let output = harness(
        &[
            &[
                "run", &path, "--repeat", "2", "--seed", "7", "--out", &out, "--format", "json",
            ],
            &sets[..],
        ]
        .concat(),
    );
    // Each misses a threshold, and so do both.
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (told["runs"].clone(), told["seeds"][0].clone()),
        (2.into(), 7.into()),
        "{told:#}"
    );
    assert_eq!(told["spread"][0]["runs"], 2);
    for seed in [7, 8] {
        let report = folder.path().join(format!("out/seed-{seed}/report.json"));
        let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
        assert_eq!(
            (report["seed"].clone(), report["hosts"]["verified"].clone()),
            (seed.into(), 10.into())
        );
    }
    let compared = harness(&["compare", &out, &out]);
    assert!(
        text(&compared.stdout).contains("2 pairs") || compared.status.code() == Some(5),
        "{}",
        text(&compared.stdout)
    );
    let refused = harness(&["run", &path, "--repeat", "2", "--junit", "x.xml"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
}

#[test]
fn hosts_that_are_alike_have_percentiles_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let sets = [
        "regions.region-a.zones=2",
        "network.classes.old.hosts=4",
        "network.classes.old.uplink=\"200 kB/s\"",
        "network.classes.old.downlink=\"200 kB/s\"",
        "faults.gone.kind=leave",
        "faults.gone.hosts=3",
        "faults.gone.at=\"1s\"",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let output = harness(&[&["plan", &scenario("smoke.toml"), "--out", &out], &sets[..]].concat());
    let report =
        std::fs::read(folder.path().join("out/report.json")).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let report: Value = serde_json::from_slice(&report).unwrap();
    let groups = report["groups"].as_array().unwrap();
    let find = |region: &str, by: &str, name: &str| {
        groups
            .iter()
            .find(|of| of["region"] == region && of["by"] == by && of["name"] == name)
    };
    let (old, most) = (
        find("region-a", "class", "old").unwrap(),
        find("region-a", "class", "most").unwrap(),
    );
    assert_eq!(old["hosts"], 4);
    assert!(
        old["fanout_latency_ms"]["p50"].as_f64() > most["fanout_latency_ms"]["p50"].as_f64(),
        "{groups:#?}"
    );
    assert!(
        find("region-a", "zone", "region-a-zone-1").is_some() && find("region-b", "zone", "region-b-zone-0").is_none()
    );
    let gone = find("region-b", "fault", "leave").unwrap();
    assert_eq!(
        (gone["hosts"].clone(), gone["fanout_latency_ms"]["max"].clone()),
        (3.into(), Value::Null)
    );
    assert!(
        text(&output.stdout).contains("class old (4)"),
        "{}",
        text(&output.stdout)
    );
}

/// The harness with this on its standard input.
fn told(arguments: &[&str], input: &str) -> Output {
    let mut harness = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    harness.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    harness.wait_with_output().unwrap()
}

#[test]
fn a_scenario_can_come_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let base = scenario("smoke.toml");
    let text_of = |more: &str| {
        format!(
            "extends = {base:?}\n[regions.region-a]\nhosts = 4\n[regions.region-b]\nhosts = 3\n[thresholds]\neveryone = \"hosts.verified == 7\"\n{more}"
        )
    };
    let output = told(&["plan", "-", "--out", &out], &text_of(""));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).starts_with("stdin (virtual"),
        "{}",
        text(&output.stdout)
    );
    let out = folder.path().join("seeds").display().to_string();
    let seeds = told(&["plan", "-", "--seeds", "1..3", "--out", &out], &text_of(""));
    assert!(
        text(&seeds.stdout).contains("2 of 2 forecasts"),
        "{}",
        text(&seeds.stderr)
    );
    let wrong = told(&["check", "-"], &text_of("[swarm]\ndegree = 0\n"));
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        text(&wrong.stderr).contains("standard input:9: swarm.degree = 0"),
        "{}",
        text(&wrong.stderr)
    );
}
