//! The binary as a user has it: good runs, bad input, faults, Ctrl-C. Reports are read as other programs read them.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod program;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use program::{harness, scenario, text};
use serde_json::Value;

struct Run {
    folder: tempfile::TempDir,
    output: Output,
}

impl Run {
    fn of(name: &str, sets: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let (path, out) = (scenario(name), out.display().to_string());
        let mut arguments = vec!["run", &path, "--out", &out];
        for set in sets {
            arguments.extend(["--set", set]);
        }
        let output = harness(&arguments);
        Self { folder, output }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn report(&self) -> Value {
        read_report(&self.out())
    }

    fn stderr(&self) -> String {
        text(&self.output.stderr)
    }
}

fn read_report(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("report.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Small enough that a debug build on a busy machine is not the limit.
const SMALL: [&str; 4] = [
    "regions.region-a.hosts=30",
    "regions.region-b.hosts=20",
    "thresholds.everyone=hosts.verified == 50",
    "thresholds.logged=logs.rows == 50",
];

#[test]
fn a_run_verifies_every_host_logs_it_and_reports_it() {
    let run = Run::of("smoke.toml", &SMALL);
    assert_eq!(run.output.status.code(), Some(0), "{}", run.stderr());
    let report = run.report();
    assert_eq!(report["schema_version"], 2);
    assert_eq!(report["mode"], "live");
    assert_eq!(report["hosts"]["verified"], 50);
    assert_eq!(report["logs"]["rows"], 50);
    assert_eq!(report["build"]["chunks"], 64);
    for path in ["fanout_latency_ms", "end_to_end_latency_ms", "stretch"] {
        for percentile in ["p50", "p99", "max"] {
            assert!(report[path][percentile].as_f64().unwrap() > 0.0, "{path}.{percentile}");
        }
    }
    let megabyte = 1_048_576.0;
    let delivered = report["traffic"]["from_seeder_bytes"].as_f64().unwrap()
        + report["traffic"]["from_peers_bytes"].as_f64().unwrap();
    assert!((delivered - 50.0 * megabyte).abs() < 1.0, "{delivered}");
    assert!(report["lower_bound_ms"].as_f64().unwrap() <= report["fanout_latency_ms"]["max"].as_f64().unwrap());
    assert!(report["regions"][0]["seeder_copies"].as_f64().unwrap() <= 3.0);
    assert!(report["histograms"]["fanout_latency_us"]["all"].as_str().unwrap().len() > 20);

    // The rows can be counted from the folder afterwards, and agree.
    let out = run.out().display().to_string();
    let id = report["build"]["id"].as_str().unwrap();
    let count = harness(&[
        "count",
        "--build-id",
        id,
        "--run",
        &out,
        "--format",
        "json",
        "--expect",
        "50",
    ]);
    assert_eq!(
        count.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&count.stderr)
    );
    let count: Value = serde_json::from_slice(&count.stdout).unwrap();
    assert_eq!(count["rows"], 50);
    let wrong = harness(&["count", "--build-id", id, "--run", &out, "--expect", "51"]);
    assert_eq!(wrong.status.code(), Some(1));
}

#[test]
fn a_run_over_tcp_in_worker_processes_agrees_with_one_in_process() {
    let mut sets = SMALL.to_vec();
    sets.extend(["network.transport=tcp", "workers.processes=2", "swarm.degree=4"]);
    sets.push("regions.region-a.seeders=2");
    let run = Run::of("smoke.toml", &sets);
    assert_eq!(run.output.status.code(), Some(0), "{}", run.stderr());
    let report = run.report();
    assert_eq!(
        (&report["hosts"]["verified"], &report["logs"]["rows"]),
        (&Value::from(50), &Value::from(50))
    );
    assert_eq!(report["transport"], "tcp");
}

#[test]
fn a_real_file_is_distributed_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let build = folder.path().join("app.zip");
    std::fs::write(&build, vec![7; 300_000]).unwrap();
    let out = folder.path().join("run").display().to_string();
    let build = build.display().to_string();
    let path = scenario("smoke.toml");
    let small = [
        "--set", SMALL[0], "--set", SMALL[1], "--set", SMALL[2], "--set", SMALL[3],
    ];
    let mut arguments = vec![
        "run",
        &path,
        "--build",
        &build,
        "--out",
        &out,
        "--format",
        "json",
        "--seed",
        "9",
        "--keep-cloud",
    ];
    arguments.extend(small);
    let output = harness(&arguments);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["build"]["bytes"], &report["seed"]),
        (&Value::from(300_000), &Value::from(9))
    );
    let stored = folder.path().join("run/cloud/s3/region-a-builds/build-smoke.zip");
    assert_eq!(std::fs::metadata(stored).unwrap().len(), 300_000);
}

#[test]
fn hosts_that_leave_come_late_corrupt_and_stall_do_not_keep_the_others() {
    let run = Run::of(
        "smoke.toml",
        &[
            SMALL[0],
            SMALL[1],
            "thresholds.everyone=hosts.pending == 0",
            "thresholds.logged=hosts.failed == 0",
            "faults.leavers.kind=leave",
            "faults.leavers.hosts=3",
            "faults.leavers.at=500ms",
            "faults.late.kind=join-late",
            "faults.late.hosts=3",
            "faults.late.at=1s",
            "faults.bad.kind=corrupt",
            "faults.bad.hosts=1",
            "faults.lazy.kind=stall",
            "faults.lazy.hosts=2",
        ],
    );
    assert_eq!(
        run.output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&run.output.stdout)
    );
    let report = run.report();
    assert_eq!(report["hosts"]["total"], 50);
    let (verified, excused) = (
        report["hosts"]["verified"].as_u64().unwrap(),
        report["hosts"]["excused"].as_u64().unwrap(),
    );
    assert_eq!(verified + excused, 50);
    assert!(excused <= 8, "{excused}");
    assert_eq!(report["logs"]["rows"].as_u64().unwrap(), verified);
    assert!(
        !report["banned"].as_array().unwrap().is_empty(),
        "the corrupt hosts went unnoticed"
    );
}

#[test]
fn payload_stays_within_zones_and_each_gets_a_copy_or_two() {
    let zones = ["regions.region-a.zones=3"];
    let report = |more: &[&str]| {
        let run = Run::of("smoke.toml", &[&zones[..], &SMALL, more].concat());
        assert_eq!(run.output.status.code(), Some(0), "{}", run.stderr());
        run.report()
    };
    let imported = report(&[])["protocol"]["chunks_imported"].as_u64().unwrap();
    assert!(
        (1..=3 * 3 * 64).contains(&imported),
        "{imported} chunks of 64, three zones"
    );
    let blind = report(&["swarm.locality=none"]);
    assert_eq!(blind["protocol"]["chunks_imported"], 0);
}

#[test]
fn hosts_that_do_not_converge_end_the_run_at_its_deadline_with_exit_3_and_are_named() {
    let mut sets = SMALL.to_vec();
    sets.extend(["deadline=300ms"]);
    let run = Run::of("smoke.toml", &sets);
    assert_eq!(run.output.status.code(), Some(3), "{}", run.stderr());
    let report = run.report();
    assert!(report["hosts"]["pending"].as_u64().unwrap() > 0);
    assert_eq!(report["fanout_latency_ms"]["max"], Value::Null);
    let stuck = &report["stuck"][0];
    assert!(stuck["host"].as_str().unwrap().starts_with("region-"));
    assert!(stuck["chunks_held"].as_u64().unwrap() < 64);
    let text = text(&run.output.stdout);
    assert!(text.contains("pending") && text.contains("not done: region-"), "{text}");
}

#[test]
fn a_missed_threshold_is_exit_1_one_without_data_5_and_one_of_no_field_2() {
    let mut sets = SMALL.to_vec();
    // No latency: on a busy machine that would have no verdict.
    sets.push("thresholds.fast=protocol.requests < 1");
    let run = Run::of("smoke.toml", &sets);
    assert_eq!(run.output.status.code(), Some(1), "{}", run.stderr());
    let text = text(&run.output.stdout);
    assert!(text.contains("MISSED  fast"), "{text}");
    sets.pop();
    sets.push("thresholds.by-pipeline=stages.last_row_ms < 2s");
    assert_eq!(Run::of("smoke.toml", &sets).output.status.code(), Some(5));
    sets.pop();
    // It took longer than a second: 1.2 s are not within 1,000.
    sets.push("thresholds.quick=wall_seconds <= 1s");
    let run = Run::of("smoke.toml", &sets);
    assert!(run.report()["wall_seconds"].as_f64().unwrap() > 1.0);
    // A machine that is busy leaves a time without a verdict.
    let code = run.output.status.code();
    assert!(matches!(code, Some(1 | 5)), "{code:?} {}", run.stderr());
    sets.pop();
    sets.push("thresholds.typo=stretch.p42 < 2");
    let typo = Run::of("smoke.toml", &sets);
    assert_eq!(typo.output.status.code(), Some(2));
    assert!(typo.stderr().contains("did you mean stretch.p50?"), "{}", typo.stderr());
    assert!(!typo.out().exists());
}

#[test]
fn bad_scenarios_are_exit_2_with_file_line_and_key() {
    let missing = harness(&["run", "scenarios/none.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("scenarios/none.toml: there is no such file"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    std::fs::write(&path, "[regions.region-a]\nhosts = 0\n[build]\nsise = \"1 MiB\"\n").unwrap();
    let bad = harness(&["run", &path.display().to_string()]);
    assert_eq!(bad.status.code(), Some(2));
    let stderr = text(&bad.stderr);
    for part in [
        "bad.toml:2: regions.region-a.hosts = 0",
        "bad.toml:4: build.sise",
        "did you mean build.size?",
    ] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
    let unit = Run::of("smoke.toml", &["build.size=4"]);
    assert_eq!(unit.output.status.code(), Some(2));
    assert!(unit.stderr().contains("--set build.size=4"), "{}", unit.stderr());
    assert!(!unit.out().exists(), "a bad scenario leaves nothing behind");
    let workers = Run::of("smoke.toml", &["workers.processes=2"]);
    assert_eq!(workers.output.status.code(), Some(2), "{}", workers.stderr());
}

#[test]
fn a_scenario_that_does_not_fit_the_file_limit_says_so() {
    let limited = format!(
        "ulimit -n 200 && exec {} run {} --out $0/run --set network.transport=tcp",
        env!("CARGO_BIN_EXE_harness"),
        scenario("smoke.toml")
    );
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", &limited])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("open files") && stderr.contains("ulimit -n"),
        "{stderr}"
    );
}

#[test]
fn a_folder_that_is_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("precious"), b"data").unwrap();
    let output = harness(&[
        "run",
        &scenario("smoke.toml"),
        "--out",
        &folder.path().display().to_string(),
    ]);
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("new or empty folder"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let count = harness(&[
        "count",
        "--build-id",
        "b",
        "--run",
        &folder.path().display().to_string(),
    ]);
    assert_eq!(count.status.code(), Some(2));
}

#[test]
fn ctrl_c_leaves_a_partial_report_and_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // So slow that it is certainly still running.
    let mut child = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["run", &scenario("smoke.toml"), "--out", &out.display().to_string()])
        .args([
            "--set",
            SMALL[0],
            "--set",
            SMALL[1],
            "--set",
            "network.host.uplink=100 kbit/s",
        ])
        .args([
            "--set",
            "network.transport=tcp",
            "--set",
            "workers.processes=2",
            "--set",
            "swarm.degree=4",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once the build is in a regional bucket the fan-out has begun.
    let begun = out.join("cloud/s3/region-b-builds/build-smoke.zip");
    while !begun.exists() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it has ended before it was interrupted"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let workers = children_of(child.id());
    assert_eq!(workers.len(), 2);
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(130),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = read_report(&out);
    assert_eq!(report["interrupted"], true);
    assert!(report["hosts"]["pending"].as_u64().unwrap() > 0);
    for worker in workers {
        assert!(
            !Path::new(&format!("/proc/{worker}")).exists(),
            "worker {worker} is still there"
        );
    }
}

fn children_of(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let mut children: Vec<u32> = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let text = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    assert!(!children.is_empty(), "nothing in {path}");
    children
}

#[test]
fn the_schema_is_json_and_knows_the_keys() {
    let output = harness(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        schema["properties"]["swarm"]["properties"]["degree"]["description"]
            .as_str()
            .unwrap()
            .contains("Default: 12")
    );
}
