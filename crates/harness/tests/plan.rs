//! `plan`, `compare` and `sweep` as a user has them, and a forecast held against a live run.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod program;

use std::path::Path;
use std::process::{Command, Output};

use program::{harness, scenario, text};
use serde_json::Value;

fn plan(out: &Path, name: &str, more: &[&str]) -> Output {
    let (path, out) = (scenario(name), out.display().to_string());
    let mut arguments = vec!["plan", &path, "--out", &out];
    arguments.extend(more);
    harness(&arguments)
}

#[test]
fn a_forecast_is_the_same_byte_for_byte_on_one_and_two_threads() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    for (out, threads) in [(&one, "1"), (&two, "2")] {
        let output = plan(
            out,
            "10k-hosts.toml",
            &[
                "--threads",
                threads,
                "--set",
                "regions.region-a.hosts=300",
                "--set",
                "regions.region-b.hosts=200",
                "--set",
                "thresholds.everyone=hosts.verified == 500",
                "--set",
                "thresholds.logged=logs.rows == 500",
            ],
        );
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let stdout = text(&output.stdout);
        assert!(stdout.contains("virtual, faithful"), "{stdout}");
        assert!(
            stdout.contains("left out logged: logs.rows == 500 (a forecast writes no rows"),
            "{stdout}"
        );
        assert!(!stdout.contains("deployment log rows"), "{stdout}");
    }
    let read = |folder: &Path| std::fs::read(folder.join("report.json")).unwrap();
    assert_eq!(read(&one), read(&two));
    let report: Value = serde_json::from_slice(&read(&one)).unwrap();
    assert_eq!(report["mode"], "virtual");
    assert_eq!(report["limited_by"], "model");
    assert_eq!(report["hosts"]["verified"], 500);
    assert!(report["stretch"]["p50"].as_f64().unwrap() >= 1.0);
    // What a forecast does not know is null and not 0, and what is asked of it is left out with its reason.
    for unknown in [
        &report["logs"]["rows"],
        &report["traffic"]["control_bytes"],
        &report["wall_seconds"],
    ] {
        assert_eq!(*unknown, Value::Null);
    }
    let left_out = report["thresholds_left_out"].as_array().unwrap();
    let names: Vec<&str> = left_out
        .iter()
        .map(|left_out| left_out["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["logged", "memory", "shaped", "wall-clock"]);
    assert!(
        left_out
            .iter()
            .all(|left_out| left_out["reason"].as_str().unwrap().starts_with("a forecast"))
    );
    let timing: Value = serde_json::from_slice(&std::fs::read(one.join("timing.json")).unwrap()).unwrap();
    assert!(timing["transfers_per_second"].as_f64().unwrap() > 0.0);
}

/// By how many percent a forecast is later than a live run, at p50, p99 and the last host, in processes of their own.
fn forecast_later_than_live(sets: &[&str]) -> [f64; 3] {
    // Slow links, so that a debug build on a busy machine is not the limit.
    let common = [
        "build.size=2 MiB",
        "build.chunk_size=32 KiB",
        "network.host.uplink=2 Mbit/s",
    ];
    let folder = tempfile::tempdir().unwrap();
    let of = |command: &str| {
        let out = folder.path().join(command).display().to_string();
        let path = scenario("shaped-1k.toml");
        let mut arguments = vec![command, &path, "--out", &out];
        common
            .iter()
            .chain(sets)
            .for_each(|set| arguments.extend(["--set", set]));
        let output = harness(&arguments);
        assert!(
            matches!(output.status.code(), Some(0 | 1 | 5)),
            "{}",
            text(&output.stderr)
        );
        out
    };
    let (live, forecast) = (of("run"), of("plan"));
    let output = harness(&["compare", &live, &forecast, "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = comparison["rows"].as_array().unwrap();
    ["fan-out p50", "fan-out p99", "makespan"].map(|name| {
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        row["difference_percent"].as_f64().unwrap()
    })
}

/// A busy machine makes a live run later, by any amount, and never earlier. So what is held is that a live run is not earlier
/// than its forecast, and that both are about as long.
fn assert_close(sets: &[&str]) {
    for later in forecast_later_than_live(sets) {
        assert!(
            (-25.0..6.0).contains(&later),
            "the forecast is {later} % later than the live run"
        );
    }
}

#[test]
fn a_forecast_is_close_to_what_a_live_run_measures() {
    assert_close(&[
        "regions.region-a.hosts=60",
        "network.transport=in-process",
        "network.host.downlink=4 Mbit/s",
        "thresholds.everyone=hosts.verified == 60",
        "thresholds.logged=logs.rows == 60",
    ]);
}

/// With few slots on equal links a sender that runs ahead of its receiver makes a run a tenth shorter.
#[test]
fn a_live_run_on_equal_links_is_not_earlier_than_its_forecast() {
    assert_close(&[
        "regions.region-a.hosts=80",
        "network.transport=in-process",
        "network.host.downlink=2 Mbit/s",
        "swarm.upload_slots=2",
        "swarm.chunks_in_flight=3",
    ]);
}

/// Everything that a host does takes several delays: a run without them would be over by a third earlier.
#[test]
fn a_live_run_waits_for_the_latency_of_its_scenario() {
    assert_close(&[
        "regions.region-a.hosts=20",
        "network.transport=tcp",
        "network.host.downlink=4 Mbit/s",
        "network.latency=100ms",
    ]);
}

#[test]
fn a_comparison_fails_where_it_became_worse_and_refuses_what_is_no_report() {
    let folder = tempfile::tempdir().unwrap();
    let (fast, slow) = (folder.path().join("fast"), folder.path().join("slow"));
    let small = [
        "--set",
        "regions.region-a.hosts=40",
        "--set",
        "regions.region-b.hosts=20",
        "--seeds",
        "1..7",
    ];
    plan(&fast, "smoke.toml", &small);
    plan(
        &slow,
        "smoke.toml",
        &[&small[..], &["--set", "network.host.uplink=1 Mbit/s"]].concat(),
    );
    let (fast, slow) = (fast.display().to_string(), slow.display().to_string());
    let worse = harness(&["compare", &fast, &slow, "--max-regression", "5%"]);
    assert_eq!(worse.status.code(), Some(1), "{}", text(&worse.stdout));
    assert!(text(&worse.stdout).contains("REGRESSED"));
    assert_eq!(
        harness(&["compare", &slow, &fast, "--max-regression", "5%"])
            .status
            .code(),
        Some(0)
    );
    let missing = harness(&["compare", &fast, "/nowhere/at/all"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        text(&missing.stderr).contains("/nowhere/at/all"),
        "{}",
        text(&missing.stderr)
    );
    let foreign = folder.path().join("foreign.json");
    std::fs::write(&foreign, "{}").unwrap();
    let foreign = harness(&["compare", &fast, &foreign.display().to_string()]);
    assert_eq!(foreign.status.code(), Some(2));
    assert!(
        text(&foreign.stderr).contains("not a report"),
        "{}",
        text(&foreign.stderr)
    );
}

#[test]
fn a_sweep_tries_every_combination_and_sorts_them() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sweep").display().to_string();
    let path = scenario("smoke.toml");
    let output = harness(&[
        "sweep",
        &path,
        "--vary",
        "swarm.degree=3,12",
        "--vary",
        "build.chunk_size=16KiB,64KiB",
        "--set",
        "regions.region-a.hosts=40",
        "--set",
        "thresholds.everyone=hosts.pending == 0",
        "--out",
        &out,
        "--format",
        "json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let sweep: Value = serde_json::from_slice(&output.stdout).unwrap();
    let metrics: Vec<f64> = sweep["cells"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["metric"].as_f64().unwrap())
        .collect();
    assert_eq!(metrics.len(), 4);
    assert!(metrics.is_sorted(), "{metrics:?}");
    assert!(Path::new(&out).join("sweep.json").is_file());
    let wrong = harness(&["sweep", &path, "--vary", "swarm.degree"]);
    assert_eq!(wrong.status.code(), Some(2));
    let unknown = harness(&["sweep", &path, "--vary", "swarm.degre=3"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        text(&unknown.stderr).contains("swarm.degree"),
        "{}",
        text(&unknown.stderr)
    );
}

#[test]
fn what_does_not_converge_is_exit_3_with_the_command_that_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = plan(
        &folder.path().join("stuck"),
        "smoke.toml",
        &[
            "--seed",
            "7",
            "--set",
            "deadline=1s",
            "--set",
            "network.host.uplink=1 kbit/s",
        ],
    );
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("replay: harness plan") && stdout.contains("--seed 7"),
        "{stdout}"
    );
    assert!(stdout.contains("ended by: deadline"), "{stdout}");
}

#[test]
fn what_cannot_be_done_is_told_before_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let huge = plan(
        &folder.path().join("huge"),
        "1m-hosts.toml",
        &[
            "--set",
            "regions.region-a.hosts=1000000",
            "--set",
            "build.chunk_size=1MiB",
            "--set",
            "swarm.degree=64",
        ],
    );
    assert_eq!(huge.status.code(), Some(2), "{}", text(&huge.stdout));
    assert!(
        text(&huge.stderr).contains("of memory are free"),
        "{}",
        text(&huge.stderr)
    );
    let flat_out = plan(&folder.path().join("flat"), "10k-hosts-flat-out.toml", &[]);
    assert_eq!(flat_out.status.code(), Some(2));
    assert!(
        text(&flat_out.stderr).contains("network.host"),
        "{}",
        text(&flat_out.stderr)
    );
    let out = folder.path().join("live").display().to_string();
    let zones = [
        "--set",
        "regions.region-a.zones=3",
        "--set",
        "network.zones.latency=20ms",
    ];
    let live = harness(&[&["run", &scenario("smoke.toml"), "--out", &out][..], &zones].concat());
    assert_eq!(live.status.code(), Some(2), "{}", text(&live.stderr));
    assert!(
        text(&live.stderr).contains("network.zones.latency"),
        "{}",
        text(&live.stderr)
    );
    // Hosts of several processes share no link.
    let shared = [
        "--set",
        "regions.region-a.zones=3",
        "--set",
        "network.zones.uplink=1 Gbit/s",
        "--set",
        "network.transport=tcp",
        "--set",
        "workers.processes=2",
    ];
    let live = harness(&[&["run", &scenario("smoke.toml"), "--out", &out][..], &shared].concat());
    assert_eq!(live.status.code(), Some(2), "{}", text(&live.stderr));
    for word in ["network.zones.uplink", "worker processes: 2"] {
        assert!(text(&live.stderr).contains(word), "{}", text(&live.stderr));
    }
    let stays_up = harness(&["up", &scenario("bad-day.toml")]);
    assert_eq!(stays_up.status.code(), Some(2), "{}", text(&stays_up.stderr));
    assert!(
        text(&stays_up.stderr).contains("of seeders are for `harness run`"),
        "{}",
        text(&stays_up.stderr)
    );
}

#[test]
fn a_key_that_is_varied_has_one_place_that_says_so() {
    let path = scenario("smoke.toml");
    for (more, named) in [
        (
            &["--vary", "seed=1,2", "--seed", "7"][..],
            ["--vary seed=1,2", "--seed 7"],
        ),
        (
            &["--vary", "swarm.degree=3,4", "--set", "swarm.degree=5"],
            ["--vary swarm.degree=3,4", "--set swarm.degree=5"],
        ),
        (
            &["--vary", "swarm.degree=3,4", "--set", "swarm={degree=5}"],
            ["--vary swarm.degree=3,4", "--set swarm={degree=5}"],
        ),
        (
            &["--vary", "swarm.degree=3", "--vary", "swarm.degree=4"],
            ["--vary swarm.degree=3", "--vary swarm.degree=4"],
        ),
        (
            &["--vary", "swarm.degree=3", "--metric", "foo.bar"],
            ["--metric foo.bar", "no field of a report"],
        ),
        (
            &["--vary", "swarm.degree=3", "--metric", "wall_seconds"],
            ["--metric wall_seconds", "does not measure a machine"],
        ),
    ] {
        let refused = harness(&[&["sweep", &path][..], more].concat());
        assert_eq!(refused.status.code(), Some(2), "{more:?}");
        let stderr = text(&refused.stderr);
        assert!(named.iter().all(|name| stderr.contains(name)), "{stderr}");
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sweep").display().to_string();
    let seeds = ["sweep", &path, "--vary", "seed=1,2", "--out", &out, "--format", "json"];
    let output = harness(&[&seeds[..], &["--metric", "regions.region-a.stretch.max"]].concat());
    let sweep: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(sweep["seed"], Value::Null, "the rows have two");
    assert_ne!(sweep["cells"][0]["metric"], sweep["cells"][1]["metric"]);
}

#[test]
fn forecasts_that_begin_in_one_second_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_harness"))
            .args(["plan", &scenario("smoke.toml"), "--set", "regions.region-a.hosts=5"])
            .current_dir(folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let started: Vec<_> = (0..4).map(|_| start()).collect();
    for mut forecast in started {
        forecast.wait().unwrap();
    }
    let runs = std::fs::read_dir(folder.path().join("runs")).unwrap();
    let reports = runs.filter(|run| run.as_ref().unwrap().path().join("report.json").is_file());
    assert_eq!(reports.count(), 4);
}

#[test]
fn what_is_hardly_meant_is_told_and_is_in_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = plan(&out, "smoke.toml", &["--set", "swarm.degree=1", "--set", "deadline=1s"]);
    assert!(
        text(&output.stderr).contains("harness: warning: swarm.degree = 1 is few neighbours"),
        "{}",
        text(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    let warnings = report["warnings"].as_array().unwrap();
    assert!(
        warnings[0].as_str().unwrap().starts_with("swarm.degree = 1"),
        "{warnings:?}"
    );
}

#[test]
fn the_kernel_does_not_tell_what_crosses_zones() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let kernel = ["--set", "fidelity=kernel", "--set", "regions.region-a.zones=3"];
    let output = plan(&out, "smoke.toml", &kernel);
    assert!(
        text(&output.stdout).contains("what crosses zones is not known"),
        "{}",
        text(&output.stdout)
    );
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["simulation"]["cross_zone_bytes"], Value::Null);
    assert_eq!(report["simulation"]["cross_zone_usd"], Value::Null);
    let refused = plan(
        &folder.path().join("refused"),
        "smoke.toml",
        &[&kernel[..], &["--set", "swarm.policy=random"]].concat(),
    );
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("swarm.policy"),
        "{}",
        text(&refused.stderr)
    );
    assert!(!folder.path().join("refused").exists());
}

#[test]
fn a_comparison_with_hosts_that_are_gone_does_not_end_well() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, sets: &[&str]| {
        let out = folder.path().join(name);
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        plan(&out, "smoke.toml", &sets);
        out.display().to_string()
    };
    let (all, ten) = (of("all", &[]), of("ten", &["regions.region-a.hosts=10"]));
    let late = of("late", &["deadline=1s"]);
    let gone = ["faults.gone.kind=leave", "faults.gone.hosts=90", "faults.gone.at=100ms"];
    let gone = of("gone", &gone);
    for (b, code, said) in [
        (&all, 0, ""),
        (&ten, 5, "no verdict: A has 200 hosts and B 110"),
        (&late, 1, "worse: hosts pending went from 0 to"),
        (
            &gone,
            5,
            "no verdict: nothing was expected of 0 hosts in A and of 180 in B",
        ),
    ] {
        let compared = harness(&["compare", &all, b]);
        assert_eq!(compared.status.code(), Some(code), "{b}: {}", text(&compared.stdout));
        assert!(text(&compared.stdout).contains(said), "{}", text(&compared.stdout));
    }
    let compared = harness(&["compare", &late, &late]);
    assert_eq!(compared.status.code(), Some(5), "{}", text(&compared.stdout));
}
