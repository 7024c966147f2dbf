//! What people do to a program besides running it: close its pipe, fill its disk, end its group, kill a part of it, put its
//! folder away.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod program;

use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use program::{harness, scenario, text};
use serde_json::Value;

fn small(command: &str, out: &Path) -> Command {
    let mut harness = Command::new(env!("CARGO_BIN_EXE_harness"));
    harness.args([command, &scenario("smoke.toml"), "--out"]).arg(out);
    for set in [
        "regions.region-a.hosts=30",
        "regions.region-b.hosts=20",
        "thresholds=false",
    ] {
        harness.args(["--set", set]);
    }
    harness
}

#[test]
fn whoever_reads_no_further_changes_nothing_and_a_full_device_is_told() {
    let folder = tempfile::tempdir().unwrap();
    // A pipe that nobody reads from.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let closed = small("plan", &folder.path().join("a")).stdout(writer).output().unwrap();
    assert_eq!(closed.status.code(), Some(0), "{}", text(&closed.stderr));
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = small("plan", &folder.path().join("b")).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("cannot be printed"),
        "{}",
        text(&output.stderr)
    );
    let mut unheard = Command::new(env!("CARGO_BIN_EXE_harness"));
    let unheard = unheard.args(["plan", "no-such.toml"]).stderr(full()).output().unwrap();
    assert_eq!(unheard.status.code(), Some(2));
}

/// Waits for something that a program does.
fn wait_for(what: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !what() {
        assert!(Instant::now() < until, "it has not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_folder_that_is_full_or_gone_takes_nothing_of_the_result_away() {
    for (command, is_gone) in [("plan", false), ("plan", true), ("run", false), ("run", true)] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let mut made = small(command, &out);
        made.stdout(Stdio::piped()).stderr(Stdio::piped());
        let made = made.spawn().unwrap();
        let begun = match command {
            "run" => out.join("cloud/s3/region-b-builds/build-smoke.zip"),
            _ => out.clone(),
        };
        wait_for(|| begun.exists());
        if command == "run" {
            // All regions have it, and the seeders pull.
            std::thread::sleep(Duration::from_millis(500));
        }
        if is_gone {
            wait_for(|| std::fs::remove_dir_all(&out).is_ok());
        } else {
            // Nothing can be written where a folder stands.
            std::fs::create_dir(out.join("report.json.part")).unwrap();
        }
        let output = made.wait_with_output().unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let case = format!("{command}, gone: {is_gone}\n{stdout}\n{stderr}");
        assert_eq!(output.status.code(), Some(4), "{case}");
        assert!(stdout.contains("hosts: 50 of 50 verified"), "{case}");
        assert!(
            stdout.contains("fan-out latency") && !stdout.contains("report.json"),
            "{case}"
        );
        assert_eq!(stderr.matches("could not be written").count(), 1, "{case}");
        assert!(stderr.contains("report.json"), "{case}");
        assert_eq!(out.join("report.html").exists(), !is_gone, "{case}");
    }
}

/// A run over TCP in two processes, so slow that it is certainly under way, in a group of its own; begun when its fan-out has.
fn slow_run(out: &Path) -> Child {
    let mut run = small("run", out);
    for set in [
        "network.host.uplink=100 kbit/s",
        "network.transport=tcp",
        "workers.processes=2",
        "swarm.degree=4",
    ] {
        run.args(["--set", set]);
    }
    run.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = run.spawn().unwrap();
    let begun = out.join("cloud/s3/region-b-builds/build-smoke.zip");
    let until = Instant::now() + Duration::from_secs(60);
    while !begun.exists() {
        assert!(
            run.try_wait().unwrap().is_none() && Instant::now() < until,
            "it has not begun"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    // The workers have been told by then.
    std::thread::sleep(Duration::from_millis(700));
    run
}

fn signal(name: &str, process: &str) {
    assert!(
        Command::new("kill")
            .args([name, "--", process])
            .status()
            .unwrap()
            .success()
    );
}

fn report(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap()
}

/// Whether whoever has started this process, `nohup` for example, had it ignore SIGHUP.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 != 0
}

#[test]
fn a_group_that_is_ended_and_a_terminal_that_is_closed_leave_a_report() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["-TERM", "-HUP"] {
        if name == "-HUP" && ignores_hangups() {
            eprintln!("left out: these tests were started so that hangups are ignored, and so is what they start");
            continue;
        }
        let out = folder.path().join(name);
        let run = slow_run(&out);
        signal(name, &format!("-{}", run.id()));
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(143), "{name}: {}", text(&output.stderr));
        assert_eq!(report(&out)["interrupted"], true, "{name}");
        let stdout = text(&output.stdout);
        // Each region has its own number, and nobody is in trouble.
        assert!(
            stdout.contains("region-a (30)") && stdout.contains("(30 pending)"),
            "{stdout}"
        );
        assert!(
            stdout.contains("(20 pending)") && stdout.contains("(50 pending)"),
            "{stdout}"
        );
        assert!(
            stdout.matches("not done: region").count() <= 3 && stdout.contains("not done: 47 more"),
            "{stdout}"
        );
        assert!(!stdout.contains("none of them has"), "{stdout}");
    }
}

#[test]
fn a_worker_that_is_killed_is_named_with_its_signal_and_the_rest_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let run = slow_run(&out);
    let children = std::fs::read_dir(format!("/proc/{}/task", run.id())).unwrap();
    let children = children.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).unwrap());
    let workers: Vec<String> = children
        .flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(workers.len(), 2, "{workers:?}");
    signal("-KILL", &workers[0]);
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let report = report(&out);
    let lost = report["lost"][0].as_str().unwrap();
    assert!(
        lost.contains("was killed by signal 9 (was there no memory left?)"),
        "{lost}"
    );
    assert!(text(&output.stdout).contains(lost));
    assert_eq!(
        report["hosts"]["pending"].as_u64().unwrap() + report["hosts"]["failed"].as_u64().unwrap(),
        50
    );
}

#[test]
fn a_run_that_was_put_away_is_counted_and_its_copies_of_the_build_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    std::fs::create_dir_all(out.join("lost+found")).unwrap();
    let output = small("run", &out).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("copies of the build, 3 MiB") && stdout.contains("--keep-cloud"),
        "{stdout}"
    );
    assert!(!out.join("cloud/s3").exists() && out.join("cloud/dynamodb.sqlite").exists());
    let set_mode = |mode: u32| {
        for path in [out.join("cloud"), out.clone()] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set_mode(0o555);
    let before: Vec<_> = std::fs::read_dir(out.join("cloud"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    let run = out.display().to_string();
    let count = harness(&[
        "count",
        "--build-id",
        "build-smoke.zip",
        "--run",
        &run,
        "--expect",
        "50",
    ]);
    let after: Vec<_> = std::fs::read_dir(out.join("cloud"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    set_mode(0o755);
    assert_eq!(count.status.code(), Some(0), "{}", text(&count.stderr));
    assert_eq!(before, after);
}

#[test]
fn a_run_that_is_under_way_can_be_counted() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let run = slow_run(&out);
    let count = harness(&[
        "count",
        "--build-id",
        "build-smoke.zip",
        "--run",
        &out.display().to_string(),
    ]);
    signal("-INT", &run.id().to_string());
    let output = run.wait_with_output().unwrap();
    assert_eq!(count.status.code(), Some(0), "{}", text(&count.stderr));
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
}

#[test]
fn a_sweep_that_is_stopped_has_the_cells_that_were_done_and_ranks_no_fleet_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sweep");
    let seeds: Vec<String> = (1..200).map(|seed| seed.to_string()).collect();
    let mut sweep = Command::new(env!("CARGO_BIN_EXE_harness"));
    sweep.args([
        "sweep",
        &scenario("smoke.toml"),
        "--vary",
        &format!("seed={}", seeds.join(",")),
        "--out",
    ]);
    sweep.arg(&out).stdout(Stdio::piped()).stderr(Stdio::piped());
    let sweep = sweep.spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    signal("-INT", &sweep.id().to_string());
    let output = sweep.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let sweep: Value = serde_json::from_slice(&std::fs::read(out.join("sweep.json")).unwrap()).unwrap();
    let done = sweep["cells"].as_array().unwrap().len();
    assert!(0 < done && done < 199, "{done}");
    assert_eq!(sweep["cells_left_out"], 199 - done);

    let ranked = harness(&[
        "sweep",
        &scenario("smoke.toml"),
        "--vary",
        "deadline=1s,60s",
        "--metric",
        "hosts.verified",
        "--out",
        &folder.path().join("ranked").display().to_string(),
        "--format",
        "json",
    ]);
    let ranked: Value = serde_json::from_slice(&ranked.stdout).unwrap();
    assert_eq!(ranked["cells"][0]["values"][0], "60s");
    assert_eq!(ranked["cells"][1]["thresholds_missed"][0], "everyone");
}

/// Whoever has to use FIPS endpoints or dual stack on AWS has these set everywhere. The embedded cloud is none of AWS's endpoints.
#[test]
fn settings_of_awss_own_endpoints_do_not_keep_a_run_from_its_cloud() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = small("run", &folder.path().join("run"));
    for name in ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"] {
        run.env(name, "true");
    }
    let output = run.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}
