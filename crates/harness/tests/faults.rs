//! Faults of a scenario file in small live runs: what they do to their hosts is seen, and the others get the build all the same.
//!
//! Method: half a second of shaped work; what goes wrong begins after a part of it and lasts longer than all of it. Times are held from
//! below only, since a busy machine makes them later.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::process::Command;

use serde_json::Value;

const BASE: &str = r#"
description = "a small fleet"
deadline = "60s"
[regions.region-a]
hosts = 12
[build]
size = "1 MiB"
chunk_size = "32 KiB"
[network]
latency = "0ms"
[network.host]
uplink = "16 Mbit/s"
downlink = "32 Mbit/s"
"#;

const BUILD: f64 = 1_048_576.0;

/// The report of a run in which everybody of whom that is expected got the build.
fn run(faults: &str, sets: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("small.toml"), folder.path().join("run"));
    std::fs::write(&path, format!("{BASE}{faults}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.arg("run").arg(&path).arg("--out").arg(&out);
    for set in sets {
        command.args(["--set", set]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{faults}: {said}");
    let text = std::fs::read_to_string(out.join("report.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn number(report: &Value, field: &str) -> f64 {
    let value = field.split('.').fold(report, |value, key| &value[key]);
    value.as_f64().unwrap_or_else(|| panic!("{field} of {report}"))
}

/// When the first, the middle and the last host had the build, in milliseconds.
fn times(report: &Value) -> [f64; 2] {
    ["p50", "max"].map(|at| number(report, &format!("fanout_latency_ms.{at}")))
}

fn counts(report: &Value) -> [f64; 3] {
    ["begun", "ended", "connections_cut"].map(|of| number(report, &format!("faults.{of}")))
}

fn received(report: &Value) -> f64 {
    number(report, "traffic.from_seeder_bytes") + number(report, "traffic.from_peers_bytes")
}

#[test]
fn connections_that_are_reset_are_made_anew() {
    let resets = "[faults.all]\nkind = \"reset\"\nhosts = \"100%\"\nat = \"100ms\"\n\
                  [faults.pair]\nkind = \"reset\"\nhosts = 1\nconnections = 1\nat = \"300ms\"\n";
    let report = run(resets, &[]);
    let [begun, ended, cut] = counts(&report);
    assert_eq!([begun, ended], [2.0, 0.0]);
    assert!((20.0..80.0).contains(&cut), "{cut} of 66 pairs, and one");
    assert_eq!(number(&report, "hosts.verified"), 12.0);
}

#[test]
fn a_partition_holds_its_hosts_back_until_it_heals_in_process_and_in_workers_over_tcp() {
    let split = "[faults.split]\nkind = \"partition\"\nhosts = 4\nat = \"50ms\"\nfor = \"4s\"\n";
    for sets in [&[][..], &["network.transport=tcp", "workers.processes=2"]] {
        let report = run(split, sets);
        let [median, last] = times(&report);
        assert!(median < 4_050.0 && last > 4_050.0, "{sets:?}: {median} and {last}");
        let [begun, ended, cut] = counts(&report);
        assert_eq!([begun, ended], [1.0, 1.0], "{sets:?}");
        assert!(cut >= 8.0, "{sets:?}: {cut}");
    }
}

#[test]
fn a_silent_cut_one_way_or_both_holds_its_hosts_back_and_no_connection_is_lost() {
    for way in ["both", "out", "in"] {
        let cut =
            format!("[faults.cut]\nkind = \"silent-cut\"\nhosts = 3\nway = \"{way}\"\nat = \"50ms\"\nfor = \"4s\"\n");
        let report = run(&cut, &[]);
        let last = times(&report)[1];
        assert!(last > 4_050.0, "{way}: {last}");
        assert_eq!(counts(&report), [1.0, 1.0, 0.0], "{way}");
        assert_eq!(number(&report, "protocol.neighbours_banned"), 0.0);
    }
}

#[test]
fn a_host_that_stands_still_goes_on_and_the_others_do_not_wait_for_it() {
    let pause = "[faults.still]\nkind = \"pause\"\nhosts = 2\nat = \"100ms\"\nfor = \"8s\"\n";
    let report = run(pause, &[]);
    let [median, last] = times(&report);
    assert!(median < 8_100.0 && last >= 8_100.0, "{median} and {last}");
    assert_eq!(counts(&report), [2.0, 2.0, 0.0]);
    assert_eq!(number(&report, "protocol.neighbours_banned"), 0.0);
}

#[test]
fn a_host_that_crashes_comes_back_with_what_it_kept_and_gets_again_what_it_lost() {
    let crash = "[faults.down]\nkind = \"crash\"\nhosts = 3\nat = \"400ms\"\nfor = \"3s\"\nstore = \"STORE\"\n";
    for (store, again) in [("kept", false), ("lost", true)] {
        let report = run(&crash.replace("STORE", store), &["network.transport=tcp"]);
        assert_eq!(counts(&report), [3.0, 3.0, 0.0], "{store}");
        assert!(times(&report)[1] >= 3_400.0, "{store}");
        assert_eq!(
            received(&report) > 12.0 * BUILD,
            again,
            "{store}: {}",
            received(&report) / BUILD
        );
    }
}

#[test]
fn links_that_slow_down_get_their_rates_back() {
    let slow = "[faults.slow]\nkind = \"slow-down\"\nhosts = 2\nat = \"50ms\"\nfor = \"5s\"\nto = \"0.1%\"\n";
    let report = run(slow, &[]);
    let [median, last] = times(&report);
    assert!(median < 5_050.0 && last >= 5_050.0, "{median} and {last}");
    assert_eq!(counts(&report), [2.0, 2.0, 0.0]);
}

#[test]
fn seeders_go_and_come_back_or_not() {
    // Before a copy of the build has left it, so that nobody can be done while it is away.
    let away = "[faults.away]\nkind = \"seeder-restart\"\nat = \"100ms\"\nfor = \"4s\"\n";
    for transport in ["network.transport=in-process", "network.transport=tcp"] {
        let report = run(away, &[transport]);
        assert!(number(&report, "fanout_latency_ms.p50") >= 4_100.0, "{transport}");
        assert_eq!(counts(&report), [1.0, 1.0, 0.0], "{transport}");
    }
    let lost = "[faults.lost]\nkind = \"seeder-lost\"\nseeder = 1\nat = \"100ms\"\n";
    let report = run(lost, &["regions.region-a.seeders=2"]);
    assert_eq!(counts(&report), [1.0, 0.0, 0.0]);
}

#[test]
fn members_that_lie_or_trickle_keep_nobody_from_the_build() {
    let lies = "[faults.claim]\nkind = \"claim\"\nhosts = 1\n[faults.busy]\nkind = \"busy\"\nhosts = 1\n\
                [faults.trickle]\nkind = \"trickle\"\nhosts = 1\n";
    let report = run(lies, &[]);
    assert_eq!(number(&report, "hosts.excused"), 2.0);
    assert_eq!(number(&report, "hosts.verified"), 10.0);
    // Those two took nothing.
    assert!(
        (received(&report) - 10.0 * BUILD).abs() < 1.0,
        "{}",
        received(&report) / BUILD
    );
}
