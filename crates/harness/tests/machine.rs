//! What a run says of the machine it ran on: beside programs that burn its cores, with it to itself, and within limits of
//! memory. What the figures mean is tested where they are made; here the binary is tested to look at all.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::process::{Child, Command, Output};

use serde_json::Value;

fn harness() -> Command {
    Command::new(env!("CARGO_BIN_EXE_harness"))
}

fn scenario(name: &str) -> String {
    format!("{}/../../scenarios/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Hosts that have next to nothing to do: a chunk takes a quarter of a second on their links.
const CALM: [&str; 7] = [
    "regions.region-a.hosts=12",
    "regions.region-b.hosts=8",
    "build.size=256 KiB",
    "network.host.uplink=512 kbit/s",
    "network.host.downlink=1 Mbit/s",
    "thresholds.everyone=hosts.verified == 20",
    "thresholds.logged=logs.rows == 20",
];

fn run(more: &[&str]) -> (Output, Value) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = harness();
    command.args(["run", &scenario("smoke.toml"), "--out"]).arg(&out);
    CALM.iter().chain(more).for_each(|set| {
        command.args(["--set", set]);
    });
    let output = command.output().unwrap();
    let report = std::fs::read(out.join("report.json"));
    let report = report.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output, serde_json::from_slice(&report).unwrap())
}

/// Programs that keep every core busy, until this is dropped.
struct Burners(Vec<Child>);

impl Burners {
    fn on_all_cores() -> Self {
        let cores = std::thread::available_parallelism().unwrap().get();
        let burn = |_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        // Two for each, so that no core is found free.
        Self((0..2 * cores).map(burn).collect())
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn beside_programs_that_burn_all_cores_the_machine_is_the_limit_and_latencies_have_no_verdict() {
    let burners = Burners::on_all_cores();
    let (output, report) = run(&[
        "thresholds.fast=fanout_latency_ms.max < 1ms",
        "thresholds.slow=fanout_latency_ms.p50 <= 1h",
        "thresholds.shaped=limited_by == shaping",
    ]);
    drop(burners);
    let because = report["limited_because"].as_str().unwrap();
    assert_eq!(report["limited_by"], "machine", "{because}: {:#}", report["machine"]);
    assert!(
        because.contains("run queue delay") && because.contains("other programs used"),
        "{because}"
    );
    let threshold = |name: &str| {
        let thresholds = report["thresholds"].as_array().unwrap();
        thresholds.iter().find(|threshold| threshold["name"] == name).unwrap()
    };
    for (name, ok) in [
        ("fast", Value::Null),
        ("shaped", Value::Null),
        ("slow", true.into()),
        ("everyone", true.into()),
    ] {
        assert_eq!(threshold(name)["ok"], ok, "{name}");
    }
    let why = threshold("fast")["no_verdict"].as_str().unwrap();
    assert_eq!(why, format!("the machine was busy: {because}"));
    assert!(threshold("fast")["actual"].as_f64().unwrap() >= 1.0);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("NO VERDICT  fast") && text.contains("the machine was busy"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(5), "{text}");
}

#[test]
fn with_the_machine_to_itself_a_run_is_limited_by_its_links() {
    let (output, report) = run(&["thresholds.fast=fanout_latency_ms.max < 1ms"]);
    let load = &report["machine"]["load"];
    // Other tests run beside this one, and other programs beside all of them. Then there is nothing to see here.
    let disturbed = ["other_busy_share", "steal_share"].map(|share| load[share].as_f64().unwrap_or(1.0));
    if report["limited_by"] == "machine" && disturbed.iter().any(|share| *share >= 0.05) {
        eprintln!("not tested: the machine is busy with something else: {load:#}");
        return;
    }
    assert_eq!(
        report["limited_by"], "shaping",
        "{}: {load:#}",
        report["limited_because"]
    );
    assert!(load["busiest_link_share"].as_f64().unwrap() > 0.8, "{load:#}");
    assert!(load["timer_lag_ms"]["p99"].is_number() && load["run_queue_delay_share"].is_number());
    // Missed it is, by who is to blame.
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_hosts_of_worker_processes_are_watched_too() {
    let (_, report) = run(&["network.transport=tcp", "workers.processes=2", "swarm.degree=4"]);
    let load = &report["machine"]["load"];
    // Each process has ticks of its own: two workers and this make more than one can.
    let ticks = load["timer_ticks"].as_u64().unwrap() as f64;
    let of_one = load["watched_seconds"].as_f64().unwrap() * 100.0;
    assert!(ticks > 1.5 * of_one, "{load:#}");
    assert!(load["busiest_link_share"].is_number() && load["own_share"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_forecast_that_does_not_fit_a_limit_of_memory_is_refused_and_not_aborted() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["plan", "sweep"] {
        let degree = if command == "sweep" {
            "--vary swarm.degree=63,64"
        } else {
            "--set swarm.degree=64"
        };
        let limited = format!(
            "ulimit -v 2000000 && exec {} {command} {} --out $0/{command} {degree} --set regions.region-a.hosts=1000000 \
             --set build.chunk_size=1MiB",
            env!("CARGO_BIN_EXE_harness"),
            scenario("1m-hosts.toml"),
        );
        let output = Command::new("sh")
            .args(["-c", &limited])
            .arg(folder.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {stderr}");
        assert!(stderr.contains("are free within the limit of"), "{command}: {stderr}");
        assert!(!folder.path().join(command).exists(), "{command} leaves nothing behind");
    }
}
