//! What is rendered for Slurm, run: `sbatch` is bash here and `srun` a script that starts so many copies with an index each, as Slurm does.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod program;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use program::{harness, scenario, text};
use serde_json::Value;

const SRUN: &str = r#"#!/bin/bash
tasks=0
while [[ $1 == --* ]]; do
  case $1 in --ntasks=*) tasks=${1#--ntasks=} ;; esac
  shift
done
pids=
trap 'kill -TERM $pids' TERM
for ((index = 0; index < tasks; index++)); do
  SLURM_PROCID=$index "$@" &
  pids+=" $!"
done
wait
wait
"#;

/// With values that a shell would take for several words.
const SMALL: [&str; 4] = [
    "regions.region-a.hosts=20",
    "regions.region-b.hosts=10",
    "thresholds.everyone=hosts.verified == 30",
    "thresholds.logged=logs.rows == 30",
];

/// A folder with a script that was rendered, and what it takes for Slurm.
struct Job {
    folder: tempfile::TempDir,
    id: u16,
}

impl Job {
    fn of(sets: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = scenario("smoke.toml");
        let mut arguments = vec![
            "render",
            "slurm",
            &file,
            "--workers",
            "3",
            "--program",
            env!("CARGO_BIN_EXE_harness"),
        ];
        for set in ["network.transport=tcp", "swarm.degree=4"]
            .iter()
            .chain(&SMALL)
            .chain(sets)
        {
            arguments.extend(["--set", set]);
        }
        let rendered = harness(&arguments);
        assert_eq!(rendered.status.code(), Some(0), "{}", text(&rendered.stderr));
        std::fs::write(folder.path().join("script"), &rendered.stdout).unwrap();
        let srun = folder.path().join("srun");
        std::fs::write(&srun, SRUN).unwrap();
        std::fs::set_permissions(&srun, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self { folder, id: free() }
    }

    /// What a job prints goes into a file, as `--output` has it.
    fn start(&self) -> Child {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        Command::new("bash")
            .arg("script")
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("SLURM_JOB_ID", self.id.to_string())
            .env("FLEETCAST_HOST", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn own_folder(&self) -> PathBuf {
        self.folder.path().join(format!("fleetcast-smoke-{}", self.id))
    }

    fn report(&self) -> Value {
        let text = std::fs::read(self.own_folder().join("run/report.json"));
        serde_json::from_slice(&text.unwrap_or_else(|_| panic!("no report:\n{}", self.log()))).unwrap()
    }

    fn ends(&self, job: &mut Child) -> Option<i32> {
        self.until("its end", || job.try_wait().unwrap()).code()
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let limit = Instant::now() + Duration::from_secs(90);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < limit, "waited 90 s for {what}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Processes that have this job's folder on their command line.
    fn processes(&self) -> Vec<String> {
        let own = self.own_folder().display().to_string();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = all.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
        lines
            .map(|line| text(&line))
            .filter(|line| line.contains(&own))
            .collect()
    }
}

/// A job's number of which the script makes a port that is free.
fn free() -> u16 {
    let is_free = |id: &u16| std::net::TcpListener::bind(("0.0.0.0", 20_000 + id)).is_ok();
    // Each test of this process looks at others.
    static TESTS: AtomicU32 = AtomicU32::new(0);
    let test = TESTS.fetch_add(1, Ordering::Relaxed);
    let from = u16::try_from((std::process::id() + test * 997) % 9_000).unwrap();
    (from..10_000).find(is_free).unwrap()
}

fn exists(path: &Path) -> Option<()> {
    path.exists().then_some(())
}

#[test]
fn the_script_for_slurm_runs_all_hosts_and_ends_as_the_run_does() {
    let job = Job::of(&[]);
    let code = job.ends(&mut job.start());
    assert_eq!(code, Some(0), "{}", job.log());
    let report = job.report();
    assert_eq!(report["hosts"]["verified"], 30);
    let workers = report["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 3);
    assert!(workers.iter().all(|worker| worker["hosts"] == 10), "{workers:?}");
    assert!(!job.own_folder().join("run.key").exists());
    assert_eq!(job.processes(), Vec::<String>::new());
}

#[test]
fn a_job_that_is_cancelled_leaves_a_report_and_no_process() {
    // Nobody is done for minutes.
    let job = Job::of(&[
        "network.host.uplink=20 kB/s",
        "network.host.downlink=20 kB/s",
        "deadline=10m",
    ]);
    let mut running = job.start();
    let begun = job.own_folder().join("run/cloud/s3/region-b-builds/build-smoke.zip");
    job.until("the fan-out", || exists(&begun));
    std::thread::sleep(Duration::from_millis(500));
    let id = running.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let code = job.ends(&mut running);
    assert_eq!(code, Some(143), "{}", job.log());
    assert_eq!(job.report()["interrupted"], true, "{}", job.log());
    job.until("the end of all processes", || job.processes().is_empty().then_some(()));
}
