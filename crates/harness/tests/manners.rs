//! What the harness says of its runs, and what it refuses to say: thresholds with their values, rows of hosts that failed,
//! comparisons of too few runs, and reports that know what they are reports of.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod program;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use program::{harness, scenario, text};
use serde_json::Value;

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// `command` of smoke.toml with 30 and 20 hosts, into `out`.
fn small(command: &str, out: &Path, more: &[&str]) -> Output {
    let (path, out) = (scenario("smoke.toml"), out.display().to_string());
    let mut arguments = vec![command, &path, "--out", &out];
    let sets = [
        "regions.region-a.hosts=30",
        "regions.region-b.hosts=20",
        "thresholds.everyone=hosts.verified == 50",
        "thresholds.logged=logs.rows == 50",
    ];
    for set in &sets {
        arguments.extend(["--set", set]);
    }
    arguments.extend(more);
    harness(&arguments)
}

#[test]
fn a_threshold_that_held_says_by_how_much() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = small("plan", &out, &["--set", "thresholds.early=stretch.max <= 5"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&out.join("report.json"));
    let thresholds = report["thresholds"].as_array().unwrap();
    let early = thresholds
        .iter()
        .find(|threshold| threshold["name"] == "early")
        .unwrap();
    assert_eq!(early["actual"], report["stretch"]["max"]);
    let (actual, margin) = (early["actual"].as_f64().unwrap(), early["margin"].as_f64().unwrap());
    assert!((actual + margin - 5.0).abs() < 1e-6, "{early}");
    let stdout = text(&output.stdout);
    assert!(stdout.contains("early: stretch.max <= 5 (it is "), "{stdout}");
}

#[test]
fn rows_of_hosts_that_failed_are_not_counted_as_logged() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = small(
        "run",
        &out,
        &["--set", "deadline=300ms", "--set", "network.host.uplink=100 kbit/s"],
    );
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let report = json(&out.join("report.json"));
    let verified = report["hosts"]["verified"].as_u64().unwrap();
    assert!(verified < 50);
    assert_eq!(report["logs"]["rows"], verified);
    assert_eq!(report["logs"]["rows_of_failures"], 50 - verified);
    let logged = report["thresholds"].as_array().unwrap();
    let logged = logged.iter().find(|threshold| threshold["name"] == "logged").unwrap();
    assert_eq!(logged["ok"], false);

    let (id, out) = (report["build"]["id"].as_str().unwrap(), out.display().to_string());
    let count = |expect: u64| {
        harness(&[
            "count",
            "--build-id",
            id,
            "--run",
            &out,
            "--expect",
            &expect.to_string(),
        ])
    };
    let all = count(50);
    assert_eq!(all.status.code(), Some(1), "{}", text(&all.stdout));
    let stderr = text(&all.stderr);
    assert!(stderr.contains("expected 50") && stderr.contains("FAILED"), "{stderr}");
    assert_eq!(count(verified).status.code(), Some(0));
}

#[test]
fn one_run_against_one_is_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    small("plan", &a, &["--seed", "3"]);
    small("plan", &b, &["--seed", "4"]);
    let (a, b) = (a.display().to_string(), b.display().to_string());
    for (a, b) in [(&a, &b), (&b, &a)] {
        let output = harness(&["compare", a, b, "--max-regression", "1%"]);
        assert_eq!(output.status.code(), Some(5), "{}", text(&output.stdout));
        let stdout = text(&output.stdout);
        assert!(stdout.contains("not enough runs"), "{stdout}");
        assert!(!stdout.contains("REGRESSED"), "{stdout}");
        // Without a limit nothing is judged, and both stand side by side.
        assert_eq!(harness(&["compare", a, b]).status.code(), Some(0));
    }
}

/// Forecasts of a range of seeds, in a folder.
fn seeds(out: &Path, more: &[&str]) -> String {
    let mut arguments = vec!["--seeds", "1..9"];
    arguments.extend(more);
    let output = small("plan", out, &arguments);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    out.display().to_string()
}

#[test]
fn runs_of_several_seeds_are_paired_by_seed_and_decide() {
    let folder = tempfile::tempdir().unwrap();
    let a = seeds(&folder.path().join("a"), &[]);
    let seed_5 = json(&folder.path().join("a/seed-5/report.json"));
    assert_eq!(seed_5["seed"], 5);
    let same = seeds(&folder.path().join("same"), &[]);
    let slow = seeds(&folder.path().join("slow"), &["--set", "network.host.uplink=3 Mbit/s"]);
    let compare = |b: &str| harness(&["compare", &a, b, "--max-regression", "5%", "--format", "json"]);
    let well = compare(&same);
    assert_eq!(well.status.code(), Some(0), "{}", text(&well.stdout));
    let worse = compare(&slow);
    assert_eq!(worse.status.code(), Some(1), "{}", text(&worse.stdout));
    let comparison: Value = serde_json::from_slice(&worse.stdout).unwrap();
    assert_eq!(comparison["pairs"], 8);
    let rows = comparison["rows"].as_array().unwrap();
    let makespan = rows.iter().find(|row| row["name"] == "makespan").unwrap();
    let (low, high) = (
        makespan["difference_low_percent"].as_f64().unwrap(),
        makespan["difference_high_percent"].as_f64().unwrap(),
    );
    let median = makespan["difference_percent"].as_f64().unwrap();
    assert!(5.0 < low && low <= median && median <= high, "{makespan}");
    assert_eq!(makespan["regressed"], true);
    let changed = comparison["changed"].as_array().unwrap();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(changed[0]["key"], "network.host.uplink");
}

#[test]
fn a_comparison_forecasts_scenarios_by_itself() {
    let path = scenario("smoke.toml");
    let output = harness(&[
        "compare",
        &path,
        &path,
        "--seeds",
        "1..8",
        "--set",
        "regions.region-a.hosts=30",
        "--set-b",
        "network.host.uplink=3 Mbit/s",
        "--max-regression",
        "5%",
    ]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}{}", text(&output.stderr));
    for part in ["7 pairs of runs", "network.host.uplink", "3 Mbit/s", "REGRESSED"] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }
    let without = harness(&["compare", &path, &path]);
    assert_eq!(without.status.code(), Some(2));
    assert!(text(&without.stderr).contains("--seeds"), "{}", text(&without.stderr));
}

#[test]
fn a_report_knows_what_it_is_a_report_of() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my fleet.toml");
    let base = scenario("smoke.toml");
    std::fs::write(&file, format!("extends = {base:?}\ndescription = \"it costs $5\"\n")).unwrap();
    let out = folder.path().join("out");
    let file = file.display().to_string();
    let quoted = "description=it's $HOME";
    let output = harness(&[
        "plan",
        &file,
        "--out",
        &out.display().to_string(),
        "--seed",
        "7",
        "--set",
        quoted,
        "--set",
        "regions.region-a.hosts=12",
        "--set",
        "thresholds=false",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&out.join("report.json"));
    assert_eq!(report["schema_version"], 2);
    let about = &report["about"];
    assert_eq!(about["values"]["regions.region-a.hosts"], 12);
    assert_eq!(about["values"]["swarm.degree"], 12);
    assert_eq!(about["values"]["seed"], 7);
    assert_eq!(
        about["set"],
        serde_json::json!([quoted, "regions.region-a.hosts=12", "thresholds=false"])
    );
    assert!(!about["harness_version"].as_str().unwrap().is_empty());
    // When and where it was made is beside it, since the report is the same everywhere.
    assert_eq!(about["made"], Value::Null);
    let timing = json(&out.join("timing.json"));
    assert!(timing["made"]["started_at"].as_str().unwrap().starts_with("20"));
    assert!(timing["made"]["host"]["cores"].as_u64().unwrap() >= 1);
    // A shell takes the line as it is, and comes to the same report.
    let replay = about["replay"].as_str().unwrap().to_owned();
    assert!(text(&output.stdout).contains(&format!("replay: {replay}")));
    let again = folder.path().join("again");
    let bin = PathBuf::from(env!("CARGO_BIN_EXE_harness"));
    let path = format!("{}:{}", bin.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let replayed = Command::new("sh")
        .args(["-c", &format!("{replay} --out \"$0\"")])
        .arg(&again)
        .env("PATH", path)
        .output()
        .unwrap();
    assert_eq!(replayed.status.code(), Some(0), "{replay}: {}", text(&replayed.stderr));
    assert_eq!(
        std::fs::read_to_string(out.join("report.json")).unwrap(),
        std::fs::read_to_string(again.join("report.json")).unwrap()
    );
}

#[test]
fn a_live_report_says_when_and_where_it_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = small("run", &out, &[]);
    let report = json(&out.join("report.json"));
    let made = &report["about"]["made"];
    assert!(
        made["started_at"].as_str().unwrap().starts_with("20"),
        "{made} {}",
        text(&output.stderr)
    );
    assert!(made["host"]["memory_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(made["host"]["load_average"].as_f64().unwrap() >= 0.0);
    let command = made["command"].as_array().unwrap();
    assert_eq!(command[1], "run");
}

#[test]
fn a_seed_that_is_none_is_told_what_is_one() {
    let path = scenario("smoke.toml");
    for seed in [
        &["--seed", "-1"][..],
        &["--seed=-1"],
        &["--seed", "9007199254740992"],
        &["--seed", "x"],
    ] {
        let output = harness(&[&["plan", &path][..], seed].concat());
        assert_eq!(output.status.code(), Some(2));
        let stderr = text(&output.stderr);
        assert!(stderr.contains("expected 0 to 9007199254740991"), "{stderr}");
        assert!(!stderr.contains("use '--"), "{stderr}");
    }
}

/// A command with nothing of AWS in its environment but what is given.
fn without_aws(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    for (name, _) in std::env::vars() {
        if name.starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    let home = tempfile::tempdir().unwrap();
    command
        .env("HOME", home.path())
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn an_endpoint_that_is_none_is_down_or_wants_credentials_is_told_at_once() {
    let smoke = scenario("smoke.toml");
    let commands: [&[&str]; 4] = [
        &["status"],
        &["watch", &smoke, "--build-id", "x.zip", "--timeout", "5"],
        &["upload", "--size", "1kB"],
        &["count", "--build-id", "x.zip"],
    ];
    let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    for command in commands {
        let ask = |url: &str, environment: &[(&str, &str)]| {
            let began = std::time::Instant::now();
            let output = without_aws(&[command, &["--endpoint-url", url]].concat(), environment);
            // The SDK's own patience is more than ten.
            assert!(began.elapsed().as_secs() < 8, "{command:?} {url}");
            (output.status.code(), text(&output.stderr))
        };
        let (code, said) = ask("notaurl", &keys);
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("\"notaurl\" is no URL; expected one such as http://"),
            "{said}"
        );
        // Nobody listens at a port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let url = format!("http://127.0.0.1:{port}");
        let (code, said) = ask(&url, &keys);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains(&format!("nothing answers at {url}")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let (code, said) = ask(&url, &[]);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("AWS_ACCESS_KEY_ID") && said.contains(&url), "{said}");
        assert!(!said.contains("IMDS"), "{said}");
    }
}

#[test]
fn where_stderr_is_no_terminal_a_run_says_how_it_stands_now_and_then() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    // Some eight seconds by its bound.
    let slow = [
        "--set",
        "network.host.uplink=1 Mbit/s",
        "--set",
        "build.chunk_size=16 KiB",
        "--set",
        "thresholds=false",
    ];
    let output = small("run", &out, &slow);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let stderr = text(&output.stderr);
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| line.starts_with("harness: fan-out "))
        .collect();
    assert!((1..=5).contains(&lines.len()), "{stderr}");
    assert!(
        lines.iter().any(|line| line.contains("/s, ") && line.contains(" left")),
        "{stderr}"
    );
    // Nobody is done yet, and yet it moves.
    let share = |line: &str| {
        line["harness: fan-out ".len()..]
            .split(' ')
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    assert!(
        lines
            .iter()
            .any(|line| (1..100).contains(&share(line)) && line.contains(" 0 of 50 hosts")),
        "{stderr}"
    );
    assert!(!stderr.contains('\x1b'), "{stderr}");
}

/// What `command` writes to a terminal of so many columns.
fn on_a_terminal(columns: u32, environment: &[(&str, &str)], command: &str) -> String {
    let harness = env!("CARGO_BIN_EXE_harness");
    let script = format!("stty cols {columns} rows 24; {} {command}", harness);
    let output = Command::new("script")
        .args(["-qec", &script, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .envs(environment.iter().copied())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    text(&output.stdout)
}

#[test]
fn a_terminal_has_colours_unless_it_wants_none_and_lines_of_60_columns() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |out: &str, more: &str| {
        let (path, out) = (scenario("smoke.toml"), folder.path().join(out).display().to_string());
        format!(
            "plan {path} --out {out} --set regions.region-a.hosts=20 --set 'thresholds.early=stretch.max <= 1' {more}"
        )
    };
    let coloured = on_a_terminal(60, &[], &plan("a", ""));
    assert!(
        coloured.contains("\x1b[31m") && coloured.contains("MISSED"),
        "{coloured}"
    );
    let plain = on_a_terminal(60, &[("NO_COLOR", "1")], &plan("b", ""));
    assert!(plain.contains("MISSED") && !plain.contains("\x1b[31m"), "{plain}");
    // What failed stands above the figures.
    let (missed, figures) = (plain.find("MISSED").unwrap(), plain.find("fan-out latency").unwrap());
    assert!(missed < figures, "{plain}");

    let run = format!(
        "run {} --out {} --set regions.region-a.hosts=30 --set regions.region-b.hosts=20 --set 'network.host.uplink=2 Mbit/s' \
         --set thresholds=false",
        scenario("smoke.toml"),
        folder.path().join("c").display()
    );
    let drawn = on_a_terminal(60, &[("NO_COLOR", "1")], &run);
    let moving: Vec<&str> = drawn
        .split(['\r', '\n'])
        .filter(|line| line.contains("fan-out ") && line.contains(" of 50 hosts"))
        .collect();
    assert!(moving.len() > 3, "{drawn:?}");
    // Lines are filled up with blanks to the width of the terminal, by one where they are a column shorter.
    for drawn in &moving {
        for line in drawn.replace(" region-", "  region-").split("  ").map(str::trim) {
            let visible = console_width(line.trim_end_matches("\x1b[2A").trim());
            assert!(visible < 60, "{visible}: {line:?}");
        }
    }
    assert!(
        moving
            .iter()
            .any(|line| line.contains("region-b") && line.contains(" left")),
        "{moving:?}"
    );
}

/// Characters of a line that take room.
fn console_width(line: &str) -> usize {
    let (mut width, mut in_sequence) = (0, false);
    for c in line.chars() {
        match c {
            '\x1b' => in_sequence = true,
            c if in_sequence && c.is_ascii_alphabetic() => in_sequence = false,
            _ if in_sequence => {}
            _ => width += 1,
        }
    }
    width
}
