//! Stretch in forecasts: never below 1, whatever the fleet; and the time limit knows who comes late and what lies between.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::process::{Command, Output};

use serde_json::Value;

/// The forecast of `shaped-1k.toml` with 100 hosts and these settings, without thresholds.
fn plan(sets: &[&str]) -> (Output, Value) {
    let folder = tempfile::tempdir().unwrap();
    let scenario = format!("{}/../../scenarios/shaped-1k.toml", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.args(["plan", &scenario, "--out"]).arg(folder.path());
    let hosts = ["regions.region-a.hosts=100"];
    for set in hosts.iter().chain(sets) {
        command.args(["--set", set]);
    }
    let output = command.output().unwrap();
    let report = std::fs::read(folder.path().join("report.json"));
    let report = report.map_or(Value::Null, |report| serde_json::from_slice(&report).unwrap());
    (output, report)
}

/// That forecast's report, which every expected host is in.
fn report(sets: &[&str]) -> Value {
    let (output, report) = plan(sets);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1 | 5)), "{sets:?}: {said}");
    assert_eq!(report["hosts"]["pending"], 0, "{sets:?}: {said}");
    for stretch in [&report["stretch"], &report["regions"][0]["stretch"]] {
        for field in ["p50", "p90", "p99", "p999", "max", "last"] {
            assert!(
                stretch[field].as_f64().unwrap() >= 1.0,
                "{sets:?}: {field} of {stretch}"
            );
        }
    }
    report
}

fn stretch(report: &Value, field: &str) -> f64 {
    report["stretch"][field].as_f64().unwrap()
}

#[test]
fn receivers_are_the_hosts_of_which_something_is_expected() {
    // The slow host leaves (seeds 2, 3 and 5) or stays.
    for seed in ["seed=1", "seed=2", "seed=3", "seed=5"] {
        let report = report(&[
            seed,
            "regions.region-a.hosts=20",
            "network.classes.slow.hosts=1",
            "network.classes.slow.uplink=200 kbit/s",
            "network.classes.slow.downlink=200 kbit/s",
            "faults.gone.kind=leave",
            "faults.gone.hosts=50%",
            "faults.gone.at=1ms",
        ]);
        assert!(stretch(&report, "last") < 2.0, "{seed}: {}", report["stretch"]);
    }
}

#[test]
fn one_byte_more_hardly_moves_stretch() {
    let whole = stretch(&report(&["build.size=4194304 B"]), "last");
    let more = stretch(&report(&["build.size=4194305 B"]), "last");
    assert!((whole - more).abs() < 0.05, "{whole} and {more}");
}

#[test]
fn a_seeder_that_is_faster_than_hosts_is_bounded_by_its_copies_and_by_the_ramp() {
    for (size, uplink) in [
        ("64 KiB", "20 Mbit/s"),
        ("256 KiB", "32 Mbit/s"),
        ("4 MiB", "20 Mbit/s"),
    ] {
        let (size, uplink) = (format!("build.size={size}"), format!("network.seeder.uplink={uplink}"));
        report(&[
            &size,
            &uplink,
            "network.seeder.downlink=40 Mbit/s",
            "regions.region-a.hosts=12",
        ]);
    }
}

#[test]
fn what_lies_between_is_in_the_bound_as_it_is_in_the_latency() {
    let plain = stretch(&report(&[]), "last");
    let bucket = stretch(&report(&["network.bucket.rate=1 Mbit/s"]), "last");
    assert!(bucket <= plain, "{bucket} with a bucket, {plain} without");
    let far = stretch(&report(&["network.latency=20ms"]), "last");
    assert!(far < plain * 1.3, "{far} with a delay, {plain} without");
    let zones = report(&["regions.region-a.zones=3", "network.zones.uplink=2 Mbit/s"]);
    // The build has to come into each zone over this.
    assert!(zones["lower_bound_ms"].as_f64().unwrap() >= 4_194_304.0 * 8.0 / 2_000.0 * 0.999);
    report(&["network.racks.hosts=10", "network.racks.uplink=2 Mbit/s"]);
    report(&["regions.region-a.zones=2", "network.zones.latency=50ms"]);
}

/// Requests wait in honest queues there for far longer than usual, and nobody is to be given up for that.
#[test]
fn zones_behind_a_very_thin_link_converge() {
    let zones = report(&["regions.region-a.zones=3", "network.zones.uplink=1 Mbit/s"]);
    assert!(zones["lower_bound_ms"].as_f64().unwrap() >= 4_194_304.0 * 8.0 / 1_000.0 * 0.999);
}

#[test]
fn percentiles_are_of_each_hosts_own_bound() {
    let report = report(&[
        "network.classes.slow.hosts=5%",
        "network.classes.slow.uplink=300 kbit/s",
        "network.classes.slow.downlink=300 kbit/s",
    ]);
    assert!(stretch(&report, "p50") < 2.0, "{}", report["stretch"]);
    let (last, max) = (stretch(&report, "last"), stretch(&report, "max"));
    assert!(last <= max && last < 1.5, "{}", report["stretch"]);
}

#[test]
fn a_host_that_joins_after_ten_minutes_converges_and_counts_from_then() {
    let late = report(&["faults.l.kind=join-late", "faults.l.hosts=1", "faults.l.at=10m"]);
    assert!(late["deadline_seconds"].as_f64().unwrap() > 600.0);
    report(&["faults.l.kind=join-late", "faults.l.hosts=100%", "faults.l.at=1h"]);
    report(&["network.latency=1s"]);
    let (output, _) = plan(&[
        "deadline=5m",
        "faults.l.kind=join-late",
        "faults.l.hosts=1",
        "faults.l.at=10m",
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("faults.l.at") && said.contains("not before the deadline"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(2), "{said}");
}

#[test]
fn a_build_of_one_byte_of_a_chunk_and_of_chunks_and_a_byte() {
    for size in ["1 B", "65536 B", "131072 B", "131073 B"] {
        let size = format!("build.size={size}");
        let report = report(&[&size]);
        assert!(report["lower_bound_ms"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn where_nothing_is_expected_nothing_is_claimed() {
    let (output, report) = plan(&["faults.gone.kind=leave", "faults.gone.hosts=100%", "faults.gone.at=1ms"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("nothing is expected of any host"), "{said}");
    assert!(!said.contains("> 0 s"), "{said}");
    assert_eq!(report["lower_bound_ms"], Value::Null);
    assert_eq!(report["stretch"]["max"], Value::Null);
}

#[test]
fn the_kernel_fidelity_is_bounded_likewise() {
    let report = report(&["fidelity=kernel", "network.host.spread=30%", "build.size=4194305 B"]);
    assert!(stretch(&report, "last") < 1.5);
}
