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

#[test]
fn a_run_over_several_machines_is_told_in_dollars_as_far_as_prices_are_known() {
    let path = scenario("shaped-1k.toml");
    let tcp = "network.transport=tcp";
    let check = |more: &[&str]| {
        let flags = [
            "check",
            &path,
            "--set",
            tcp,
            "--workers",
            "4",
            "--node-memory",
            "64GiB",
            "--node-files",
            "1048576",
        ];
        harness(&flags.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let one = check(&[]);
    assert_eq!(one.status.code(), Some(0), "{}", text(&one.stderr));
    let said = text(&one.stdout);
    assert!(
        said.contains("bytes within one zone cost nothing") && said.contains("--node-price says"),
        "{said}"
    );
    let priced = check(&["--node-zones", "2", "--node-price", "0.5", "--format", "json"]);
    let checked: Value = serde_json::from_slice(&priced.stdout).unwrap();
    let dollars = &checked["spread"]["dollars"];
    let number = |key: &str| dollars[key].as_f64().unwrap_or_else(|| panic!("{key}: {dollars}"));
    // The half of what a thousand hosts receive, at two cents.
    assert!(
        (number("cross_zone_usd") - number("cross_zone_gb") * 0.02).abs() < 1e-9,
        "{dollars}"
    );
    assert!(number("cross_zone_gb") > 1.0);
    let machines = 5.0 * 0.5 * number("machine_seconds") / 3600.0;
    assert!((number("machines_usd") - machines).abs() < 1e-9, "{dollars}");
    for (more, expected) in [
        (["--node-price", "dear"], "expected dollars an hour"),
        (["--prices", "/no/such/prices.toml"], "/no/such/prices.toml"),
    ] {
        let refused = check(&more);
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused.stderr).contains(expected), "{}", text(&refused.stderr));
    }
}
