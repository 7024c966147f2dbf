//! Runs that are kept under a name, and what is held against them.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn harness(at: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.args(arguments).current_dir(at).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn scenario(name: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
    format!("{root}/{name}.toml")
}

/// A forecast with each of six seeds.
fn plan(at: &TempDir, out: &str, more: &[&str]) -> PathBuf {
    let scenario = scenario("smoke");
    let mut arguments = vec!["plan", &scenario, "--seeds", "1..7", "--no-records", "--out", out];
    arguments.extend(more);
    let made = harness(at.path(), &arguments);
    assert!(
        made.status.success() || made.status.code() == Some(1),
        "{}",
        stderr(&made)
    );
    at.path().join(out)
}

#[test]
fn a_baseline_outlives_its_run_and_what_is_slower_is_worse_than_it() {
    let home = tempfile::tempdir().unwrap();
    let run = plan(&home, "run", &[]);
    let kept = harness(home.path(), &["baseline", "set", "main", "run"]);
    assert_eq!(kept.status.code(), Some(0), "{}", stderr(&kept));
    assert!(stdout(&kept).starts_with("kept: main"), "{}", stdout(&kept));
    std::fs::remove_dir_all(run).unwrap();
    plan(&home, "same", &[]);
    let same = harness(
        home.path(),
        &["compare", "--baseline", "main", "same", "--max-regression", "5%"],
    );
    assert_eq!(same.status.code(), Some(0), "{}\n{}", stdout(&same), stderr(&same));
    plan(&home, "slow", &["--set", "network.host.uplink=\"1 Mbit/s\""]);
    let slow = harness(
        home.path(),
        &["compare", "--baseline", "main", "slow", "--format", "json"],
    );
    let said: Value = serde_json::from_slice(&slow.stdout).unwrap();
    assert_eq!(said["pairs"], 6, "{said:#}");
    let makespan = said["rows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "makespan");
    assert!(
        makespan.unwrap()["difference_percent"].as_f64().unwrap() > 5.0,
        "{said:#}"
    );
    let worse = harness(
        home.path(),
        &["compare", "--baseline", "main", "slow", "--max-regression", "5%"],
    );
    assert_ne!(worse.status.code(), Some(0), "{}", stdout(&worse));
}

#[test]
fn baselines_are_listed_replaced_and_removed_and_nothing_else_is() {
    let home = tempfile::tempdir().unwrap();
    let listed = harness(home.path(), &["baseline", "list"]);
    assert_eq!(
        (listed.status.code(), stdout(&listed).as_str()),
        (Some(0), "0 baselines\n")
    );
    plan(&home, "run", &[]);
    for (name, expected) in [("main", "kept"), ("main", "replaced"), ("other.1", "kept")] {
        let set = harness(home.path(), &["baseline", "set", name, "run"]);
        assert!(stdout(&set).starts_with(expected), "{}{}", stdout(&set), stderr(&set));
    }
    let listed = harness(home.path(), &["baseline", "list", "--format", "json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["main", "other.1"]);
    assert_eq!(listed[0]["seeds"], serde_json::json!([1, 2, 3, 4, 5, 6]));
    // What somebody has put there is neither listed, replaced nor removed.
    let own = home.path().join("baselines/notes");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("text"), "precious").unwrap();
    for arguments in [&["baseline", "rm", "notes"][..], &["baseline", "set", "notes", "run"]] {
        let refused = harness(home.path(), arguments);
        assert_eq!(refused.status.code(), Some(2), "{}", stdout(&refused));
        assert!(stderr(&refused).contains("no baseline"), "{}", stderr(&refused));
    }
    assert!(own.join("text").exists());
    let removed = harness(home.path(), &["baseline", "rm", "main"]);
    assert_eq!(removed.status.code(), Some(0), "{}", stderr(&removed));
    let unknown = harness(home.path(), &["compare", "--baseline", "main", "run"]);
    assert_eq!(unknown.status.code(), Some(2));
    let said = stderr(&unknown);
    assert!(said.contains("there is no baseline main: there are other.1"), "{said}");
    for wrong in [
        &["baseline", "set", "../x", "run"][..],
        &["baseline", "set", "x", "nowhere"],
    ] {
        let refused = harness(home.path(), wrong);
        assert_eq!(refused.status.code(), Some(2), "{}", stdout(&refused));
    }
    assert!(!home.path().join("x").exists() && !home.path().join("baselines/x").exists());
    // Nothing half made is left.
    let left = std::fs::read_dir(home.path().join("baselines")).unwrap();
    let mut left: Vec<String> = left
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["notes", "other.1"]);
}

#[test]
fn a_baseline_or_a_second_run_is_wanted_and_not_both() {
    let home = tempfile::tempdir().unwrap();
    let neither = harness(home.path(), &["compare", "run"]);
    assert_eq!(neither.status.code(), Some(2));
    let both = harness(home.path(), &["compare", "run", "other", "--baseline", "main"]);
    assert_eq!(both.status.code(), Some(2));
}
