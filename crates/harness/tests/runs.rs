//! `harness runs`: what was run is listed, shown again, and removed where it is asked for; nothing else is.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod program;

use std::path::Path;

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
