//! `harness check`, and what `run` and `plan` refuse before they begin.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod program;

use program::{harness, scenario, text};
use serde_json::Value;

#[test]
fn every_scenario_that_is_shipped_is_checked_in_a_moment() {
    let folder = scenario("");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path().display().to_string();
        if !path.ends_with(".toml") {
            continue;
        }
        let output = harness(&["check", &path, "--format", "json"]);
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{path}: {}",
            text(&output.stderr)
        );
        let checked: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(checked["problems"], serde_json::json!([]), "{path}");
        assert!(checked["values"].as_array().unwrap().len() > 20, "{path}");
    }
}

#[test]
fn a_check_says_values_with_their_places_thresholds_bounds_and_what_it_takes() {
    let path = scenario("smoke.toml");
    let output = harness(&["check", &path, "--set", "swarm.degree=7"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in [
        "swarm.degree",
        "--set swarm.degree=7",
        "smoke.toml:",
        "region-a: 100 hosts, the last is done after 2.",
        "logs.rows == 200  (live runs only)",
        "by default; --all shows them",
        "of memory, 3 MiB of disk",
        "transfers on",
    ] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    let all = text(&harness(&["check", &path, "--all"]).stdout);
    assert!(
        all.lines()
            .any(|line| line.contains("network.latency") && line.ends_with("default")),
        "{all}"
    );
    let bad = harness(&["check", &path, "--set", "swarm.degre=7"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad.stderr).contains("did you mean swarm.degree?"));
}

#[test]
fn a_scenario_of_ones_own_is_one_and_those_of_the_program_are_files_to_begin_with() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my fleet.toml").display().to_string();
    let arguments = [
        "--hosts",
        "2000",
        "--size",
        "5GB",
        "--uplink",
        "10 Gbit/s",
        "--regions",
        "north,south",
        "--out",
        &file,
    ];
    let init = [&["init"][..], &arguments].concat();
    let made = harness(&init);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let check = harness(&["check", &file]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    let stdout = text(&check.stdout);
    assert!(
        stdout.contains("north: 1000 hosts") && stdout.contains("2000 hosts, 5GB"),
        "{stdout}"
    );
    assert_eq!(harness(&init).status.code(), Some(4), "what is there stays");
    assert_eq!(harness(&["init", "--uplink", "100 Mbps"]).status.code(), Some(2));

    let listed = text(&harness(&["scenarios"]).stdout);
    assert!(
        listed.contains("canary ") && listed.contains("10 canaries of 1,000 hosts"),
        "{listed}"
    );
    let printed = harness(&["scenarios", "smoke"]);
    assert_eq!(printed.stdout, std::fs::read(scenario("smoke.toml")).unwrap());
    let none = harness(&["scenarios", "smok"]);
    assert_eq!(none.status.code(), Some(2));
    let help = text(&harness(&["--help"]).stdout);
    assert!(
        help.contains("fleetcast") && help.contains("harness explain excused"),
        "{help}"
    );
}

/// A fleet whose build nobody has room for, by whatever there is.
#[test]
fn what_has_no_room_is_refused_before_it_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.toml");
    let regions: String = (0..200)
        .map(|region| format!("[regions.region-{region}]\nhosts = 1\n"))
        .collect();
    std::fs::write(&file, format!("[build]\nsize = \"64 GiB\"\n{regions}")).unwrap();
    let (file, out) = (file.display().to_string(), folder.path().join("out"));
    let run = harness(&["run", &file, "--out", &out.display().to_string()]);
    assert_eq!(run.status.code(), Some(4), "{}", text(&run.stderr));
    let stderr = text(&run.stderr);
    assert!(
        stderr.contains("holds the build 201 times") && stderr.contains("are free under"),
        "{stderr}"
    );
    assert!(!out.exists(), "it leaves nothing");
    let check = harness(&["check", &file]);
    assert!(text(&check.stdout).contains("run   not here: the run's cloud holds the build 201 times"));
}

/// By what forecasts and runs took, within what is said of them: a check that is wrong by ten times helps nobody.
#[test]
fn estimates_are_of_the_size_of_what_it_takes() {
    let path = scenario("canary.toml");
    let check = harness(&["check", &path, "--format", "json"]);
    let checked: Value = serde_json::from_slice(&check.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("plan");
    harness(&["plan", &path, "--threads", "1", "--out", &out.display().to_string()]);
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    let timing: Value = serde_json::from_slice(&std::fs::read(out.join("timing.json")).unwrap()).unwrap();
    let of = |value: &Value| value.as_f64().unwrap();
    let (told, did) = (
        of(&checked["plan"]["transfers"]),
        of(&report["simulation"]["transfers"]),
    );
    assert!((told / did - 1.0).abs() < 0.1, "{told} {did}");
    let cpu = of(&timing["cpu_seconds"]);
    let (least, most) = (
        of(&checked["plan"]["seconds_least"]),
        of(&checked["plan"]["seconds_most"]),
    );
    assert!(
        least / 3.0 < cpu && cpu < 3.0 * most,
        "{least} to {most}, and it took {cpu}"
    );
    assert_eq!(
        checked["regions"][0]["lower_bound_ms"],
        report["regions"][0]["lower_bound_ms"]
    );
}
