//! Every bad scenario and the message it gets: file and line, key, what was expected.

mod rig;

use std::path::Path;

use proptest::prelude::*;
use rig::{GOOD, load, load_text};
use scenario::Scenario;

#[test]
fn every_problem_of_a_file_is_told_at_once_with_its_line() {
    let text = r#"
seed = -1
[regions.region-a]
hosts = 0
zoness = 2
[regions."Bad Name"]
[build]
size = 4
id = "a b"
chunk_size = "1 B"
[network]
transport = "carrier-pigeon"
[network.host]
uplink = "5 MiB"
[swarm]
degre = 12
upload_slots = 99
[faults.some]
kind = "explode"
hosts = "200%"
regions = ["region-z"]
[faults.leavers]
kind = "leave"
hosts = 1
[thresholds]
p99 = "fast please"
[nonsense]
a = 1
"#;
    insta::assert_snapshot!(load_text(text, &[]).unwrap_err());
}

#[test]
fn files_that_are_not_there_or_not_toml_are_named() {
    let missing = load(Path::new("scenarios/none.toml"), &[]).unwrap_err();
    insta::assert_snapshot!(missing, @"scenarios/none.toml: there is no such file; expected the path of a scenario, such as scenarios/smoke.toml");
    let broken = load_text("seed = 1\n[regions\nhosts = 1", &[]).unwrap_err();
    insta::assert_snapshot!(broken);
    let empty = load_text("", &[]).unwrap_err();
    insta::assert_snapshot!(empty);
    let build = load_text("[regions.a]\nhosts = 1\n[build]\npath = \"none.zip\"\n", &[]).unwrap_err();
    assert!(
        build.contains("x.toml:4: build.path = \"none.zip\"") && build.contains("cannot be read"),
        "{build}"
    );
}

#[test]
fn impossible_values_are_told_at_their_place() {
    let text = r#"
deadline = "0s"
[regions.region-a]
hosts = 3
[regions.region-b]
hosts = 30
[regions.""]
hosts = 1
[build]
size = "0 B"
chunk_size = "65 MiB"
[network.seeder]
uplink = "0 Mbit/s"
	downlink = "4"
[swarm]
have_interval = "600 years"
[faults.too-many]
kind = "stall"
hosts = 10
[faults.fewer]
kind = "corrupt"
hosts = 10
regions = ["region-b"]
at = "1s"
[faults.nobody]
hosts = -1
[faults.no-such-seeder]
kind = "seeder-restart"
seeder = 1
at = "1s"
for = "1s"
[thresholds]
unit = "fanout_latency_ms.max < 5 parsecs"
never = "stretch.max <= nan"
"#;
    insta::assert_snapshot!(load_text(text, &[]).unwrap_err());
}

#[test]
fn more_hosts_than_can_be_counted_are_refused() {
    let regions = (0..4300).map(|region| format!("[regions.r{region}]\nhosts = 1_000_000\n"));
    let text: String = regions.chain(["[build]\nsize = \"1 MiB\"\n".to_owned()]).collect();
    let error = load_text(&text, &[]).unwrap_err();
    assert!(
        error.contains("x.toml:1: regions — expected at most 4294967295 hosts in all"),
        "{error}"
    );
}

#[test]
fn lines_that_end_as_on_windows_are_marked_too() {
    let error = load_text("seed = 1\r\nx = \r\n", &[]).unwrap_err();
    assert!(
        error.starts_with("scenarios/x.toml:2: not valid TOML at column"),
        "{error}"
    );
    let read = |text: &str| {
        let mut scenario = load_text(text, &[]).unwrap();
        // Where they stand is another temporary folder each time.
        scenario.values.clear();
        scenario
    };
    assert_eq!(read(&GOOD.replace('\n', "\r\n")), read(GOOD));
}

proptest! {
    /// What is written by hand is wrong in every way; whatever it is, it gets a message.
    #[test]
    fn no_text_makes_the_reader_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "[", "]", "regions", ".", "a", "=", " ", "\n", "\r\n", "\r", "\t", "\"", "'", "\"\"\"", "ü", "#", "hosts", "5",
                "-", "1e400", "true", "{", "}", ",", "extends", "build", "size", "\"4 MiB\"", "faults", "%", "[[", "\\u", "0x",
                "[regions.a]\nhosts = 3\n", "[build]\nsize = \"1 B\"\n", "[faults.x]\r\n", "[swarm]\n", "degree",
            ]),
            0..24,
        ),
    ) {
        let text: String = parts.concat();
        match load_text(&text, &[]) {
            Ok(scenario) => prop_assert!(scenario.host_count() > 0),
            Err(error) => prop_assert!(error.starts_with("scenarios/"), "{}", error),
        }
    }
}

#[test]
fn a_scenario_survives_its_way_to_a_worker() {
    let sets = [
        "description=it says \"so\"",
        "deadline=1m30s",
        "network.host.uplink=1.5 Mbit/s",
        "network.host.downlink=3 Mbit/s",
        "build.chunk_size=64 KiB",
        "faults.late.kind=join-late",
        "faults.late.hosts=33.3%",
        "faults.late.at=3s",
        "thresholds.last=stretch.max <= 1.35",
        "thresholds.shaped=limited_by == shaping",
    ];
    let scenario = load_text(GOOD, &sets).unwrap();
    let json = serde_json::to_string(&scenario).unwrap();
    assert_eq!(serde_json::from_str::<Scenario>(&json).unwrap(), scenario);
}

#[test]
fn conditions_are_held_against_what_a_report_has_before_anything_runs() {
    let text = r#"
[regions.north]
hosts = 3
[build]
size = "1 MiB"
[thresholds]
misspelt = "fanout_latency.p99 <= 60s"
wrong-unit = "stretch.max <= 1s"
no-unit = "hosts.verified >= 20 ms"
shown-name = "makespan < 1ms"
elsewhere = "regions.south.stretch.max < 2"
beyond = "regions.1.stretch.max < 2"
listed = "stuck.0.chunks_held > 3"
no-such-word = "limited_by != machne"
good = "regions.north.stretch.max < 2"
"#;
    insta::assert_snapshot!(load_text(text, &[]).unwrap_err());
}

#[test]
fn a_region_cannot_have_a_name_that_something_else_has() {
    for name in ["all", "global"] {
        let error = load_text(
            &format!("[regions.{name}]\nhosts = 3\n[build]\nsize = \"1 MiB\"\n"),
            &[],
        )
        .unwrap_err();
        assert!(
            error.contains(&format!("x.toml:1: regions.{name} — names the")) && error.contains("already"),
            "{error}"
        );
    }
}

#[test]
fn nobody_is_taken_for_stalled_at_once() {
    let error = load_text(GOOD, &["swarm.patience=0s"]).unwrap_err();
    assert!(
        error.contains("--set swarm.patience=0s: swarm.patience = \"0s\" — expected more than nothing"),
        "{error}"
    );
    load_text(GOOD, &["swarm.patience=1us"]).unwrap();
}

#[test]
fn what_the_kernel_would_ignore_is_refused_where_it_was_given() {
    let text = "fidelity = \"kernel\"\n[regions.a]\nhosts = 9\nzones = 3\n[build]\nsize = \"1 MiB\"\n";
    for (given, key) in [
        ("swarm.policy=random", "swarm.policy = \"random\""),
        ("swarm.patience=2s", "swarm.patience = \"2s\""),
        ("swarm.have_interval=5ms", "swarm.have_interval = \"5ms\""),
        ("swarm.locality=zones", "swarm.locality = \"zones\""),
        ("network.zones.latency=2ms", "network.zones.latency = \"2ms\""),
        ("network.zones.uplink=2 Gbit/s", "network.zones.uplink = \"2 Gbit/s\""),
        ("network.zones.usd_per_gib=0.01", "network.zones.usd_per_gib = 0.01"),
        ("network.racks={hosts=3, uplink=\"1 Gbit/s\"}", "network.racks"),
        ("regions.a.seeders=2", "regions.a.seeders = 2"),
        ("faults.x={kind=\"stall\", hosts=1}", "faults"),
    ] {
        let error = load_text(text, &[given]).unwrap_err();
        assert!(
            error.contains(&format!("{key} — the fidelity \"kernel\"")),
            "{given}: {error}"
        );
        load_text(text, &[given, "fidelity=faithful"]).unwrap_or_else(|error| panic!("{given}: {error}"));
    }
    for given in [
        "swarm.policy=latest-useful",
        "swarm.locality=none",
        "swarm.chunks_in_flight=2",
        "swarm.degree=8",
        "network.latency=2ms",
        "regions.a.seeders=1",
    ] {
        load_text(text, &[given]).unwrap_or_else(|error| panic!("{given}: {error}"));
    }
    load_text(text, &["regions.a.zones=1", "network.zones.latency=2ms"]).unwrap();
}
