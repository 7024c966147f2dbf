//! Two seeders of one region on the whole pipeline, as they are shipped: each has a queue of its own, hears of every build, and hosts of
//! either get it.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

#[path = "../../lambdas/tests/rig/mod.rs"]
mod rig;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rig::Stack;

const BUILDS: [&str; 4] = ["one.zip", "two.zip", "three.zip", "four.zip"];
const SOON: Duration = Duration::from_secs(60);

/// A shipped binary, ended with the test, and the lines that it prints.
struct Program {
    process: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Program {
    fn start(stack: &Stack, name: &str, arguments: &[&str], log: PathBuf) -> Self {
        let mut process = command(stack, name)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let (told, lines) = channel();
        let stdout = process.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Self { process, lines, log }
    }

    fn line(&self, within: Duration) -> String {
        let line = self.lines.recv_timeout(within);
        line.unwrap_or_else(|_| panic!("it says nothing more: {}", std::fs::read_to_string(&self.log).unwrap()))
    }

    /// The keys of the lines `KEY …` that it prints, until there are as many as builds.
    fn keys(&self) -> BTreeSet<String> {
        let (began, mut keys) = (Instant::now(), BTreeSet::new());
        while keys.len() < BUILDS.len() {
            let line = self.line(SOON.saturating_sub(began.elapsed()));
            keys.extend(line.split_once(' ').map(|(key, _)| key.to_owned()));
        }
        keys
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(stack: &Stack, name: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_harness")).with_file_name(name));
    command
        .env("AWS_ENDPOINT_URL", &stack.endpoint)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// What `harness` prints, which does what it is asked to.
fn harness(stack: &Stack, arguments: &[&str]) -> String {
    let ended = command(stack, "harness").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{arguments:?}: {said}");
    String::from_utf8(ended.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_seeders_of_a_region_both_seed_each_build_and_the_hosts_of_either_get_it() {
    let binaries = Path::new(env!("CARGO_BIN_EXE_harness")).parent().unwrap();
    let stack = rig::stack(binaries).await;
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let place = ["--stage", "two", "--regions", "region-a"];
    let packages = stack.packages().to_str().unwrap().to_owned();
    let made = ["bootstrap", "--seeders-per-region", "2", "--packages", &packages];
    harness(stack, &[&made[..], &place[..]].concat());
    let looked_at = harness(stack, &[&["doctor"], &place[..]].concat());
    let queues = ["region-a-builds-events-two", "region-a-builds-events-seeder-2-two"];
    for queue in queues {
        assert!(looked_at.contains(&format!("ok       queue {queue}\n")), "{looked_at}");
    }

    let seeders = queues.map(|queue| {
        let folder = at(&format!("spool-of-{queue}"));
        let listen = "/ip4/127.0.0.1/tcp/0";
        let arguments = ["--queue", queue, "--folder", &folder, "--listen", listen];
        Program::start(stack, "seeder", &arguments, home.path().join(format!("{queue}.log")))
    });
    let hosts = seeders.each_ref().map(|seeder| {
        let (directory, folder) = (seeder.line(SOON), at(&format!("builds-{}", seeder.process.id())));
        let arguments = ["--directory", &directory, "--folder", &folder];
        Program::start(stack, "peer", &arguments, PathBuf::from(format!("{folder}.log")))
    });
    for build in BUILDS {
        std::fs::write(at(build), build.repeat(10_000)).unwrap();
        harness(stack, &["upload", &at(build), "--build-id", build, "--stage", "two"]);
    }
    let expected: BTreeSet<String> = BUILDS.map(str::to_owned).into();
    for program in seeders.iter().chain(&hosts) {
        assert_eq!(program.keys(), expected, "{}", program.log.display());
    }
    for (seeder, host) in seeders.iter().zip(&hosts) {
        let folder = PathBuf::from(at(&format!("builds-{}", seeder.process.id())));
        for build in BUILDS {
            let there = std::fs::read_to_string(folder.join(build)).unwrap();
            assert!(there == build.repeat(10_000), "{build} of {}", host.log.display());
        }
    }
}
