//! What `examples/` shows works as it stands there.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod program;

use std::path::Path;
use std::process::Command;

use program::{harness, scenario, text};

/// What an example prints.
fn example(name: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let output = Command::new(&path)
        .args(arguments)
        .env("HARNESS", env!("CARGO_BIN_EXE_harness"))
        .output()
        .unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{name}: {stdout}\n{stderr}");
    stdout
}

#[test]
fn a_fleet_of_ones_own_is_forecast_and_explained() {
    let told = example("forecast.sh", &[]);
    for part in [
        "300 hosts",
        "hosts: 300 of 300 verified",
        "had the build after",
        "stretch",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_gate_says_whether_a_change_is_slower() {
    let told = example("gate.sh", &[]);
    assert!(told.contains("gate: slower"), "{told}");
    assert!(told.contains("smoke"), "{told}");
}

#[test]
fn a_report_is_read_by_a_program() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let output = harness(&["plan", &scenario("smoke.toml"), "--out", &out]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = example("report.py", &[&out]);
    for part in [
        "smoke (virtual): 200 of 200 hosts",
        "of the hosts' uplinks used",
        "came from the seeders",
        "was the last",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn each_example_is_in_the_list() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let list = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || list.contains(&format!("]({name})")), "{name}");
    }
}
