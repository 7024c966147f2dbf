//! Runs over several machines, here over loopback with real processes: they agree with runs on one, and whoever is missing, has another key or
//! another build, or goes, is named in a sentence, with a partial report, an exit code and no process left.
//!
//! Method: a small fleet on limited links, so that a debug build on a busy machine is not the limit; a slow one where something goes
//! wrong in the fan-out.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

#[path = "spread/machines.rs"]
mod machines;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use machines::{Machines, no_namespaces};
use serde_json::Value;

const QUICK: &str = "uplink = \"16 Mbit/s\"\ndownlink = \"32 Mbit/s\"\n";
/// A build takes eight seconds at least.
const SLOW: &str = "uplink = \"1 Mbit/s\"\ndownlink = \"1 Mbit/s\"\n";

const FLEET: &str = r#"
description = "a small fleet"
deadline = "60s"
[regions.region-a]
hosts = 12
[regions.region-b]
hosts = 8
[build]
size = "1 MiB"
chunk_size = "32 KiB"
[swarm]
degree = 4
[network]
transport = "tcp"
latency = "0ms"
[network.host]
"#;

/// A process, with what it has said on stderr. It ends with the test.
struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Process {
    fn start(program: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::of(Command::new(program).args(arguments).envs(variables.iter().copied()))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, all) = (child.stderr.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *all.lock().unwrap() += &(line + "\n");
            }
        });
        Self { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said this; the rest of the line.
    fn says(&self, what: &str) -> String {
        until(&format!("it says {what:?}"), || {
            let said = self.said();
            let after = said.split_once(what)?.1;
            Some(after.split_once('\n')?.0.to_owned())
        })
        .unwrap_or_else(|why| panic!("{why}; it has said:\n{}", self.said()))
    }

    /// Its exit code, and all that it has said.
    fn ends(&mut self) -> (Option<i32>, String) {
        let ended = until("its end", || self.child.try_wait().unwrap());
        let status = ended.unwrap_or_else(|why| panic!("{why}; it has said:\n{}", self.said()));
        // Its last words are read by a thread.
        std::thread::sleep(Duration::from_millis(50));
        (status.code(), self.said())
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
    let limit = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() > limit {
            return Err(format!("waited 90 s until {what}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A run that awaits workers, and what they need to come.
struct Run {
    folder: tempfile::TempDir,
    process: Process,
    address: String,
}

impl Run {
    fn of(links: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (file, key) = (folder.path().join("small.toml"), folder.path().join("key"));
        std::fs::write(&file, format!("{FLEET}{links}")).unwrap();
        write_key(&key, "a key that nobody else has");
        let (file, key) = (file.display().to_string(), key.display().to_string());
        let out = folder.path().join("run").display().to_string();
        let mut arguments = vec![
            "run",
            &file,
            "--out",
            &out,
            "--key-file",
            &key,
            "--listen",
            "127.0.0.1:0",
        ];
        arguments.extend(["--workers", "2"]);
        arguments.extend(more);
        let process = Process::start(harness(), &arguments, &[]);
        let address = process.says("workers are awaited at ");
        Self {
            folder,
            process,
            address,
        }
    }

    fn key(&self) -> String {
        self.folder.path().join("key").display().to_string()
    }

    fn worker(&self, more: &[&str], variables: &[(&str, &str)]) -> Process {
        let key = self.key();
        let mut arguments = vec!["worker", "--connect", &self.address, "--key-file", &key];
        arguments.extend(more);
        Process::start(harness(), &arguments, variables)
    }

    fn workers(&self) -> [Process; 2] {
        ["0", "1"].map(|index| self.worker(&["--index", index], &[]))
    }

    /// Waits until hosts have begun to fetch the build.
    fn is_under_way(&self) {
        let begun = self.folder.path().join("run/cloud/s3/region-b-builds");
        until("the build is in the regions", || {
            std::fs::read_dir(&begun).ok()?.next().map(drop)
        })
        .unwrap_or_else(|why| panic!("{why}; it has said:\n{}", self.process.said()));
        // It has begun a moment later.
        std::thread::sleep(Duration::from_millis(700));
    }

    fn report(&self) -> Value {
        let path = self.folder.path().join("run/report.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

/// Of this build, or of the one in the folder that `FLEETCAST_AGENTS` names.
fn harness() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = std::env::var_os("FLEETCAST_AGENTS").map(PathBuf::from);
        folder.map_or_else(|| env!("CARGO_BIN_EXE_harness").into(), |folder| folder.join("harness"))
    });
    &PROGRAM
}

fn write_key(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The program as another revision of it would be.
fn another_revision(folder: &Path) -> PathBuf {
    let own = concat!("0.1.0 ", env!("FLEETCAST_GIT_REVISION")).as_bytes();
    let mut program = std::fs::read(harness()).unwrap();
    let places: Vec<usize> = program
        .windows(own.len())
        .enumerate()
        .filter_map(|(at, found)| (found == own).then_some(at))
        .collect();
    assert!(!places.is_empty(), "the program does not say of which revision it is");
    for at in places {
        program[at + own.len() - 1] ^= 1;
    }
    let path = folder.join("another");
    std::fs::write(&path, program).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn lost(report: &Value) -> String {
    report["lost"][0].as_str().unwrap_or_default().to_owned()
}

#[test]
fn workers_that_come_by_tcp_run_all_hosts_and_their_rows_are_written_here() {
    let run = &mut Run::of(QUICK, &[]);
    // Whoever else finds the port is no worker.
    let mut stranger = TcpStream::connect(&run.address).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let one = &mut run.worker(&[], &[("JOB_COMPLETION_INDEX", "1")]);
    let zero = &mut run.worker(&[], &[("SLURM_PROCID", "0")]);
    assert!(one.says("harness: worker ").starts_with("1 of 2"));
    assert!(zero.says("harness: worker ").starts_with("0 of 2"));
    let (code, said) = run.process.ends();
    assert_eq!(code, Some(0), "{said}");
    for worker in [one, zero] {
        let (code, said) = worker.ends();
        assert_eq!(code, Some(0), "{said}");
    }
    let report = run.report();
    assert_eq!(
        (&report["hosts"]["verified"], &report["hosts"]["lost"]),
        (&20.into(), &0.into())
    );
    assert_eq!(report["logs"]["rows"], 20);
    assert_eq!(
        report["machine"]["cores"],
        std::thread::available_parallelism().unwrap().get()
    );
    for (index, worker) in report["workers"].as_array().unwrap().iter().enumerate() {
        assert_eq!(worker["name"], format!("worker {index} of 2 (127.0.0.1)"));
        assert_eq!((&worker["hosts"], &worker["not_done"]), (&10.into(), &0.into()));
        assert!(worker["clock_offset_ms"].as_f64().unwrap().abs() > 1.0, "{worker}");
    }
    assert!(report["clock_uncertainty_ms"].as_f64().unwrap() > 0.0);
    // Each host has the build later than its links allow, by the one clock of the run.
    assert!(
        report["stretch"]["p50"].as_f64().unwrap() >= 1.0,
        "{}",
        report["stretch"]
    );
    drop(stranger);
}

#[test]
fn a_worker_that_does_not_come_is_named_and_all_hosts_are_lost() {
    let run = &mut Run::of(QUICK, &["--workers-within", "2"]);
    let there = &mut run.worker(&["--index", "1"], &[]);
    let (code, said) = run.process.ends();
    assert_eq!(code, Some(4), "{said}");
    let report = run.report();
    assert_eq!(lost(&report), "worker 0 of 2 has not come within 2 s");
    assert_eq!(
        (&report["hosts"]["lost"], &report["hosts"]["pending"]),
        (&20.into(), &20.into())
    );
    assert_eq!(report["fanout_latency_ms"]["p50"], Value::Null);
    let (code, said) = there.ends();
    assert_eq!(code, Some(4), "{said}");
    let expected = format!(
        "worker 1 of 2: the run at {} is gone: the connection was closed",
        run.address
    );
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_worker_with_another_key_is_told_so_and_the_run_says_who_came() {
    let run = &mut Run::of(QUICK, &["--workers-within", "3"]);
    let other = run.folder.path().join("other");
    write_key(&other, "a key that somebody else has");
    let other = other.display().to_string();
    let stranger = &mut Process::start(
        harness(),
        &["worker", "--connect", &run.address, "--key-file", &other],
        &[],
    );
    let (code, said) = stranger.ends();
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains(&format!("the run at {} has another key", run.address)),
        "{said}"
    );
    let (code, said) = run.process.ends();
    assert_eq!(code, Some(4), "{said}");
    let expected = "worker 0, 1 of 2 has not come within 3 s; one that came from 127.0.0.1 has another key";
    assert_eq!(lost(&run.report()), expected);
}

#[test]
fn a_worker_of_another_revision_is_turned_away_and_both_say_why() {
    // Made first: that takes seconds where the program is large and the machine busy.
    let folder = tempfile::tempdir().unwrap();
    let program = another_revision(folder.path());
    let run = &mut Run::of(QUICK, &["--workers-within", "30"]);
    let key = run.key();
    let other = &mut Process::start(
        &program,
        &["worker", "--connect", &run.address, "--key-file", &key],
        &[],
    );
    let (code, said) = other.ends();
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("has turned this worker away: the worker is of revision 0.1.0 "),
        "{said}"
    );
    let says = run.process.says("of the workers one was turned away: ");
    assert!(says.contains("expected one build of harness for all"), "{says}");
    // It goes on without.
    let workers = run.workers();
    let (code, said) = run.process.ends();
    assert_eq!(code, Some(0), "{said}");
    drop(workers);
}

#[test]
fn a_part_that_is_taken_or_not_there_is_not_given_again() {
    let run = &mut Run::of(QUICK, &[]);
    let zero = run.worker(&["--index", "0"], &[]);
    zero.says("harness: worker ");
    let again = &mut run.worker(&["--index", "0", "--within", "1"], &[]);
    let (code, said) = again.ends();
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("was not reached within 1 s: worker 0 is there already"),
        "{said}"
    );
    let beyond = &mut run.worker(&["--index", "2"], &[]);
    let (code, said) = beyond.ends();
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("the run has 2 workers, 0 to 1, and this one is to be 2"),
        "{said}"
    );
    let one = run.worker(&[], &[]);
    assert!(one.says("harness: worker ").starts_with("1 of 2"));
    assert_eq!(run.process.ends().0, Some(0));
}

#[test]
fn a_worker_that_is_killed_before_the_run_begins_is_replaced() {
    let run = &mut Run::of(QUICK, &[]);
    let killed = run.worker(&["--index", "0"], &[]);
    killed.says("harness: worker ");
    killed.signal("-KILL");
    let one = run.worker(&["--index", "1"], &[]);
    run.process
        .says("worker 0 of 2 (127.0.0.1) is gone: the connection was closed; another one is awaited");
    let again = run.worker(&["--index", "0"], &[]);
    let (code, said) = run.process.ends();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(run.report()["hosts"]["verified"], 20);
    drop((one, again));
}

#[test]
fn a_worker_that_is_killed_before_the_run_begins_and_not_replaced_is_named() {
    let run = &mut Run::of(QUICK, &["--workers-within", "4"]);
    let killed = run.worker(&["--index", "0"], &[]);
    killed.says("harness: worker ");
    killed.signal("-KILL");
    let one = &mut run.worker(&["--index", "1"], &[]);
    let (code, said) = run.process.ends();
    assert_eq!(code, Some(4), "{said}");
    let report = run.report();
    let expected =
        "worker 0 of 2 (127.0.0.1) is gone: the connection was closed; worker 0 of 2 has not come within 4 s";
    assert!(
        report["lost"].as_array().unwrap().iter().any(|lost| lost == expected),
        "{}",
        report["lost"]
    );
    assert_eq!(report["fanout_latency_ms"]["max"], Value::Null);
    assert_eq!(one.ends().0, Some(0));
}

#[test]
fn a_worker_that_is_killed_in_the_fan_out_ends_the_run_or_is_counted() {
    for (policy, code) in [("fail", 4), ("count", 3)] {
        let run = &mut Run::of(SLOW, &["--on-lost-worker", policy]);
        let [zero, mut one] = run.workers();
        run.is_under_way();
        zero.signal("-KILL");
        let (ended, said) = run.process.ends();
        assert_eq!(ended, Some(code), "{policy}: {said}");
        let report = run.report();
        assert_eq!(
            lost(&report),
            "worker 0 of 2 (127.0.0.1) is gone: the connection was closed",
            "{policy}"
        );
        assert_eq!(report["hosts"]["lost"], 10, "{policy}");
        assert_eq!(
            report["hosts"]["verified"] == 10,
            policy == "count",
            "{policy}: {}",
            report["hosts"]
        );
        // Half of the hosts are infinitely late, and none is left out.
        assert_eq!(report["fanout_latency_ms"]["p90"], Value::Null, "{policy}");
        let (ended, said) = one.ends();
        assert_eq!(ended, Some(0), "{policy}: {said}");
    }
}

#[test]
fn a_worker_that_stands_still_is_lost_when_nothing_was_heard_of_it() {
    let run = &mut Run::of(SLOW, &[]);
    let [zero, one] = run.workers();
    run.is_under_way();
    zero.signal("-STOP");
    let (code, said) = run.process.ends();
    assert_eq!(code, Some(4), "{said}");
    let lost = lost(&run.report());
    assert_eq!(lost, "worker 0 of 2 (127.0.0.1) is gone: nothing was heard for 15 s");
    drop(one);
}

#[test]
fn workers_end_with_a_run_that_is_killed_and_a_run_says_which_worker_was_told_to_end() {
    let run = &mut Run::of(SLOW, &[]);
    let [mut zero, mut one] = run.workers();
    run.is_under_way();
    run.process.signal("-KILL");
    for (index, worker) in [&mut zero, &mut one].into_iter().enumerate() {
        let (code, said) = worker.ends();
        assert_eq!(code, Some(4), "{said}");
        assert!(
            said.contains(&format!("worker {index} of 2: the run at ")) && said.contains(" is gone: "),
            "{said}"
        );
    }
    let run = &mut Run::of(SLOW, &[]);
    let [mut zero, _one] = run.workers();
    run.is_under_way();
    zero.signal("-TERM");
    let (code, said) = zero.ends();
    assert_eq!(code, Some(143), "{said}");
    assert!(said.contains("worker 0 of 2 was told to end by SIGTERM"), "{said}");
    assert_eq!(run.process.ends().0, Some(4));
    assert!(
        lost(&run.report()).contains("worker 0 of 2 (127.0.0.1) was told to end"),
        "{}",
        lost(&run.report())
    );
}

#[test]
fn a_run_that_is_stopped_while_it_waits_leaves_a_report() {
    let run = &mut Run::of(QUICK, &[]);
    run.process.signal("-INT");
    let (code, said) = run.process.ends();
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(run.report()["interrupted"], true);
}

#[test]
fn a_worker_without_a_run_says_how_long_it_has_tried() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    write_key(&key, "a key that nobody else has");
    let key = key.display().to_string();
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let worker = &mut Process::start(
        harness(),
        &["worker", "--connect", &free, "--key-file", &key, "--within", "1"],
        &[],
    );
    let (code, said) = worker.ends();
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains(&format!("the run at {free} was not reached within 1 s")),
        "{said}"
    );
    // Seen with Slurm: a job that is cancelled before its run is there.
    let worker = &mut Process::start(harness(), &["worker", "--connect", &free, "--key-file", &key], &[]);
    worker.says("is not reached yet");
    worker.signal("-TERM");
    let (code, said) = worker.ends();
    assert_eq!(code, Some(143), "{said}");
}

#[test]
fn keys_that_are_no_secret_and_scenarios_without_sockets_are_refused_before_anything_begins() {
    let folder = tempfile::tempdir().unwrap();
    let (key, file) = (folder.path().join("key"), folder.path().join("small.toml"));
    std::fs::write(&file, format!("{FLEET}{QUICK}")).unwrap();
    let refused = |key: &Path, more: &[&str]| {
        let out = folder.path().join("run").display().to_string();
        let output = Command::new(harness())
            .arg("run")
            .arg(&file)
            .args(["--workers", "2", "--listen", "127.0.0.1:0", "--out", &out, "--key-file"])
            .arg(key)
            .args(more)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        said
    };
    assert!(refused(&key, &[]).contains("No such file"));
    write_key(&key, "short");
    assert!(refused(&key, &[]).contains("5 bytes; expected 16 or more"));
    write_key(&key, "a key that nobody else has");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&key, &[]).contains("expected chmod 600"));
    write_key(&key, "a key that nobody else has");
    let said = refused(&key, &["--set", "network.transport=in-process"]);
    assert!(
        said.contains("the in-process transport works within one process"),
        "{said}"
    );
    assert!(!folder.path().join("run").exists());
}

#[test]
fn workers_in_namespaces_with_addresses_and_clocks_of_their_own_reach_each_other() {
    if let Some(why) = no_namespaces() {
        eprintln!("left out: there are no network and time namespaces here: {why}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("small.toml");
    std::fs::write(&file, format!("{FLEET}{QUICK}")).unwrap();
    let report = Machines::new(4).run(folder.path(), &[&file.display().to_string()]);
    assert_eq!(
        (&report["hosts"]["verified"], &report["logs"]["rows"]),
        (&20.into(), &20.into())
    );
    // Their loopback is not the run's, so that hosts have reached each other and the seeders by these addresses.
    for (index, worker) in report["workers"].as_array().unwrap().iter().enumerate() {
        assert_eq!(worker["name"], format!("worker {index} of 4 (10.77.0.{})", 10 + index));
        assert_eq!(worker["not_done"], 0);
        assert!(worker["clock_uncertainty_ms"].as_f64().unwrap() < 1_000.0, "{worker}");
    }
    assert!(report["traffic"]["from_peers_bytes"].as_f64().unwrap() > 0.0);
    // A shift of a thousand seconds, or of fifty milliseconds, is in no latency: each is later than its links allow, and before the deadline.
    assert!(report["stretch"]["p50"].as_f64().unwrap() >= 1.0);
    assert!(report["fanout_latency_ms"]["max"].as_f64().unwrap() < 60_000.0);
    // What it costs to be spread is a part of all.
    let machine = |key: &str| report["machine"][key].as_f64().unwrap();
    let (coordination, all) = (machine("coordination_cpu_seconds"), machine("cpu_seconds"));
    assert!(coordination > 0.0 && coordination < all, "{coordination} of {all}");
}

/// `FLEETCAST_AGENTS=$PWD/target/release cargo test -p harness --test spread -- --ignored --nocapture against` prints what two thousand hosts take in four
/// namespaces, and in four processes.
#[test]
#[ignore = "a measurement of minutes, which is for a machine that does nothing else"]
fn four_workers_in_namespaces_against_four_processes() {
    if let Some(why) = no_namespaces() {
        eprintln!("left out: there are no network and time namespaces here: {why}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fleet.toml");
    std::fs::write(
        &file,
        format!("{FLEET}uplink = \"1 Mbit/s\"\ndownlink = \"2 Mbit/s\"\n"),
    )
    .unwrap();
    let file = file.display().to_string();
    let scenario = [
        &*file,
        "--set",
        "regions.region-a.hosts=1200",
        "--set",
        "regions.region-b.hosts=800",
        "--set",
        "deadline=600s",
    ];
    let spread = Machines::new(4).run(folder.path(), &scenario);
    let out = folder.path().join("here").display().to_string();
    let mut here = vec!["run"];
    here.extend(scenario);
    here.extend(["--set", "workers.processes=4", "--out", &out]);
    let ended = Command::new(harness()).args(&here).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let here: Value = serde_json::from_slice(&std::fs::read(format!("{out}/report.json")).unwrap()).unwrap();
    for report in [&spread, &here] {
        assert_eq!(
            (&report["hosts"]["verified"], &report["logs"]["rows"]),
            (&2000.into(), &2000.into())
        );
    }
    for percentile in ["p50", "p90", "p99", "max"] {
        let of = |report: &Value| report["fanout_latency_ms"][percentile].as_f64().unwrap();
        let (spread, here) = (of(&spread), of(&here));
        let more = (spread / here - 1.0) * 100.0;
        println!("{percentile}: {spread:.0} ms in namespaces, {here:.0} ms in processes: {more:+.1} %");
    }
    for (name, report) in [("namespaces", &spread), ("processes", &here)] {
        let machine = |key: &str| report["machine"][key].as_f64().unwrap();
        let (coordination, all) = (machine("coordination_cpu_seconds"), machine("cpu_seconds"));
        let share = coordination / all * 100.0;
        println!(
            "{name}: coordination {coordination:.2} of {all:.1} CPU seconds, {share:.2} %; limited by {}",
            report["limited_by"]
        );
    }
    println!("clocks are known to {} ms", spread["clock_uncertainty_ms"]);
}
