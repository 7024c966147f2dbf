//! `harness explain`: of forecasts and of live runs, and on bad days.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn harness() -> Command {
    Command::new(env!("CARGO_BIN_EXE_harness"))
}

/// A scenario of this text, in a folder of its own.
fn scenario(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("planted.toml");
    std::fs::write(&file, text).unwrap();
    (folder, file)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a scenario, and gives the folder of it.
fn ran(command: &str, file: &Path, more: &[&str]) -> PathBuf {
    let out = file.with_file_name(format!("{command}-out"));
    let output = harness()
        .arg(command)
        .arg(file)
        .arg("--out")
        .arg(&out)
        .args(more)
        .output()
        .unwrap();
    assert!(out.join("report.json").is_file(), "{}", said(&output));
    out
}

fn explained(run: &Path, more: &[&str]) -> Value {
    let output = harness()
        .arg("explain")
        .arg(run)
        .args(["--format", "json"])
        .args(more)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Links that two cores can fill for all hosts at once, and 24 chunks.
const SMALL: &str = "[regions.region-a]\nhosts = 20\n[build]\nsize = \"3 MiB\"\nchunk_size = \"128 KiB\"\n\
                     [network.host]\nuplink = \"1 MB/s\"\ndownlink = \"2 MB/s\"\n";

/// The last host is told of this cause in a forecast, or of one of these that follow from it. Live it may be on its path only; where the
/// run says that the machine was busy it may be anything.
fn both_name(cause: &str, follows: &[&str], more: &str) {
    // A region of `more` is instead of the one of `SMALL`.
    let small = if more.contains("[regions.") {
        SMALL.split_once("[build]").unwrap().1
    } else {
        SMALL
    };
    let head = if more.contains("[regions.") { "[build]" } else { "" };
    let (_folder, file) = scenario(&format!("{head}{small}{more}"));
    for command in ["plan", "run"] {
        for seed in ["1", "2"] {
            let run = ran(command, &file, &["--seed", seed]);
            let told = explained(&run, &[]);
            let named = told["hosts"][0]["cause"].as_str().unwrap();
            let report: Value = serde_json::from_slice(&std::fs::read(run.join("report.json")).unwrap()).unwrap();
            // Live much else may hold up the last host as well: it is on its path.
            let path = told["hosts"][0]["path"].as_array().unwrap();
            let is_on_path = path.iter().any(|step| step["cause"] == cause);
            let is_busy = report["limited_by"] == "machine";
            assert!(
                named == cause || follows.contains(&named) || (command == "run" && (is_on_path || is_busy)),
                "{command}, seed {seed}: {:#}",
                told["hosts"][0]["sentence"]
            );
            assert!(report["last_hosts"][0]["sentence"].is_string(), "{report:#}");
            assert!(!report["causes"].as_array().unwrap().is_empty());
            std::fs::remove_dir_all(run).unwrap();
        }
    }
}

#[test]
fn a_slow_class_is_named_live_and_in_a_forecast() {
    both_name(
        "own-link",
        &[],
        "[network.classes.old]\nhosts = 2\nuplink = \"1 MB/s\"\ndownlink = \"400 kB/s\"\n",
    );
}

#[test]
fn a_seeder_that_is_away_is_named_live_and_in_a_forecast() {
    both_name(
        "seeder-away",
        &[],
        "[faults.away]\nkind = \"seeder-restart\"\nat = \"0s\"\nfor = \"8s\"\n",
    );
}

#[test]
fn a_host_that_comes_late_is_named_live_and_in_a_forecast() {
    both_name(
        "came-late",
        &[],
        "[faults.late]\nkind = \"join-late\"\nhosts = 1\nat = \"9s\"\n",
    );
}

#[test]
fn neighbours_with_slow_uplinks_are_named_live_and_in_a_forecast() {
    // Whose uplink is full has a queue that is full, and turns others down.
    both_name(
        "sender-link",
        &["refused"],
        "[network.classes.thin]\nhosts = \"90%\"\nuplink = \"200 kB/s\"\ndownlink = \"2 MB/s\"\n",
    );
}

#[test]
fn neighbours_that_stall_are_named_live_and_in_a_forecast() {
    // What only a neighbour that stalls has is a chunk that no neighbour of this host's has.
    both_name(
        "silence",
        &["no-neighbour", "refused"],
        "[faults.stalling]\nkind = \"stall\"\nhosts = \"50%\"\n",
    );
}

#[test]
fn a_window_that_starves_is_named_live_and_in_a_forecast() {
    both_name(
        "window",
        &[],
        "[network]\nlatency = \"60ms\"\n[swarm]\nchunks_in_flight = 1\n",
    );
}

#[test]
fn a_slow_bucket_is_named_live_and_in_a_forecast() {
    // The seeder pulls for six seconds what it could send in three.
    both_name("bucket", &[], "[network.bucket]\nrate = \"500 kB/s\"\n");
}

#[test]
fn a_cold_zone_behind_a_narrow_link_is_named_live_and_in_a_forecast() {
    // The seeder is in one zone, and half of the hosts in another, which gets the build once, in eight seconds.
    both_name(
        "shared-link",
        &[],
        "[regions.region-a]\nhosts = 20\nzones = 2\n[network.zones]\nuplink = \"400 kB/s\"\n",
    );
}

#[test]
fn a_throttled_table_of_logs_is_named_live_and_in_a_forecast() {
    both_name("log", &[], "[network.logs]\nrows_per_second = 3\n");
}

#[test]
fn a_seeder_with_too_few_slots_is_named_live_and_in_a_forecast() {
    let fast = "[network.seeder]\nuplink = \"20 MB/s\"\ndownlink = \"20 MB/s\"\n";
    // Hosts that receive at a tenth of what they send: whoever is sent to keeps a slot for long.
    let (_folder, file) = scenario(
        &(SMALL
            .replace("downlink = \"2 MB/s\"", "downlink = \"400 kB/s\"")
            .replace("uplink = \"1 MB/s\"", "uplink = \"4 MB/s\"")
            + fast
            + "[swarm]\nseeder_slots = 1\nupload_slots = 8\n"),
    );
    for command in ["plan", "run"] {
        let told = explained(&ran(command, &file, &[]), &[]);
        let named = &told["hosts"][0]["cause"];
        assert!(
            named == "seeder-slots" || (command == "run" && named == "machine"),
            "{command}: {:#}",
            told["hosts"][0]["sentence"]
        );
    }
}

/// As many threads as cores that want all of them, so that the hosts of a run get what is left.
#[test]
fn a_machine_that_is_busy_is_named() {
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let cores = std::thread::available_parallelism().unwrap().get();
    let busy: Vec<_> = (0..cores * 4)
        .map(|_| {
            let is_over = std::sync::Arc::clone(&is_over);
            std::thread::spawn(move || {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            })
        })
        .collect();
    let fast = "[regions.region-a]\nhosts = 100\n[build]\nsize = \"16 MiB\"\n[network.host]\nuplink = \"100 MB/s\"\ndownlink = \"200 MB/s\"\n";
    let (_folder, file) = scenario(fast);
    let run = ran("run", &file, &[]);
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
    let report: Value = serde_json::from_slice(&std::fs::read(run.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["limited_by"], "machine", "{:#}", report["machine"]);
    let told = explained(&run, &[]);
    assert_eq!(
        told["hosts"][0]["cause"], "machine",
        "{:#}",
        told["hosts"][0]["sentence"]
    );
    assert_eq!(report["last_hosts"][0]["cause"], "machine");
}

#[test]
fn two_regions_over_worker_processes_are_told_of_both() {
    let text = SMALL.replace("[build]", "[regions.region-b]\nhosts = 12\n[build]");
    let (_folder, file) = scenario(&(text + "[network]\ntransport = \"tcp\"\n[workers]\nprocesses = 2\n"));
    let run = ran("run", &file, &[]);
    let told = explained(&run, &["--last", "2"]);
    let hosts = told["hosts"].as_array().unwrap();
    let regions: Vec<&str> = hosts.iter().map(|host| host["region"].as_str().unwrap()).collect();
    assert_eq!(regions, ["region-a", "region-a", "region-b", "region-b"]);
    for host in hosts {
        // From the seeder on, without a hole, through both processes.
        let path = host["path"].as_array().unwrap();
        assert!(path.iter().any(|step| step["with"] == "the seeder"), "{host:#}");
        let steps: f64 = path
            .iter()
            .filter(|step| step["cause"] != "log")
            .map(|step| step["seconds"].as_f64().unwrap())
            .sum();
        assert!((steps - host["seconds"].as_f64().unwrap()).abs() < 1e-6, "{host:#}");
        assert!(
            path.iter().all(|step| step["with"] != "a member that is not known"),
            "{host:#}"
        );
    }
    let named = explained(&run, &["--host", "region-b-000003"]);
    assert_eq!(named["hosts"][0]["host"], "region-b-000003");
}

#[test]
fn a_host_that_is_never_done_is_told_what_it_waited_for() {
    // Nobody serves but the seeder, which goes for good when it has sent half.
    let stuck = "deadline = \"6s\"\n".to_owned()
        + SMALL
        + "[faults.stalling]\nkind = \"stall\"\nhosts = \"100%\"\n[faults.gone]\nkind = \"seeder-lost\"\nat = \"500ms\"\n";
    let (_folder, file) = scenario(&stuck);
    for command in ["plan", "run"] {
        let told = explained(&ran(command, &file, &[]), &["--last", "3"]);
        for host in told["hosts"].as_array().unwrap() {
            let sentence = host["sentence"].as_str().unwrap();
            assert!(
                sentence.contains("did not have the build after"),
                "{command}: {sentence}"
            );
            let cause = host["cause"].as_str().unwrap();
            assert!(
                ["silence", "no-neighbour", "refused", "seeder-away"].contains(&cause),
                "{command}: {host:#}"
            );
        }
    }
}

#[test]
fn runs_without_records_say_why_there_are_none() {
    let (_folder, file) = scenario(SMALL);
    let refused = |run: &Path, said_of: &[&str]| {
        let output = harness().arg("explain").arg(run).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        for word in said_of {
            assert!(said(&output).contains(word), "{}", said(&output));
        }
    };
    let without = ran("plan", &file, &["--no-records"]);
    assert!(!without.join("records.bin").exists());
    refused(&without, &["--no-records", "records.bin"]);
    std::fs::write(without.join("records.bin"), "fleetcast records 99\n{}\n").unwrap();
    refused(&without, &["its format is 99", "reads 1"]);
    std::fs::write(without.join("records.bin"), "something else").unwrap();
    refused(&without, &["no file of a run's records"]);
    refused(&file.with_file_name("not-there/at-all"), &["expected a run's folder"]);
    let run = ran("run", &file, &[]);
    let whole = std::fs::read(run.join("records.bin")).unwrap();
    std::fs::write(run.join("records.bin"), &whole[..whole.len() - 200]).unwrap();
    refused(&run, &["cut off or changed", "region-a"]);
    std::fs::write(run.join("records.bin"), &whole).unwrap();
    let output = harness()
        .arg("explain")
        .arg(&run)
        .args(["--host", "region-a-000020"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("expected a name such as region-a-000000"),
        "{}",
        said(&output)
    );
}

#[test]
fn of_a_run_that_is_interrupted_what_was_recorded_is_told() {
    let slow = SMALL.replace("1 MB/s", "100 kB/s").replace("2 MB/s", "200 kB/s");
    let (_folder, file) = scenario(&slow);
    let out = file.with_file_name("out");
    let mut running = harness()
        .arg("run")
        .arg(&file)
        .arg("--out")
        .arg(&out)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Its fan-out takes half a minute.
    std::thread::sleep(std::time::Duration::from_secs(8));
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(130));
    let output = harness().arg("explain").arg(&out).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("did not have the build after") && said.contains("the run was stopped before it was done"),
        "{said}"
    );
}
