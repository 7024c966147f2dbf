//! Seeder and host by their binaries as README starts them: keys, certificates, trust. What has no certificate gets nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod rig;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rig::{S3, data};
use signing::{Member, MemberTerms, Moment, SecretKey, Terms};
use swarm::Manifest;

const SOON: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);

fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32])
}

/// The folder of a machine: its key, its certificate, and the keys of the region.
struct Machine(PathBuf);

impl Machine {
    fn new(at: &Path, program: &str) -> Self {
        std::fs::create_dir(at).unwrap();
        let machine = Self(at.to_owned());
        let printed = run(program, &["--identity", &machine.file("own.key"), "--print-id"]);
        assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
        let peer = String::from_utf8(printed.stdout).unwrap().trim().to_owned();
        let now = Moment::now();
        let member = Member::new(MemberTerms {
            peer,
            host: at.file_name().unwrap().to_str().unwrap().to_owned(),
            zone: None,
            groups: Vec::new(),
            addresses: Vec::new(),
            not_before: now,
            not_after: now.plus(HOUR),
        });
        machine.write("certificate", &key(1).certify(member.unwrap()).to_string());
        machine.write("members", &key(1).public().to_string());
        machine.write("trusted", &key(2).public().to_string());
        machine
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), format!("{text}\n")).unwrap();
    }

    fn arguments(&self) -> Vec<String> {
        let files = [
            ("--identity", "own.key"),
            ("--members", "members"),
            ("--certificate", "certificate"),
            ("--trust", "trusted"),
        ];
        let arguments = files
            .iter()
            .flat_map(|(option, file)| [(*option).to_owned(), self.file(file)]);
        arguments.collect()
    }
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The host's binary, which is built into the folder of the seeder's.
fn peer() -> String {
    let seeder = Path::new(env!("CARGO_BIN_EXE_seeder"));
    seeder.with_file_name("peer").to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeder_and_a_host_that_are_started_as_in_readme_are_closed_and_verify() {
    let s3 = S3::start().await;
    let build = data(3_000_000, 1);
    let manifest = Manifest::of("build-1.zip", &build, 256 << 10).unwrap();
    let signed = Moment::now();
    let terms = Terms {
        sequence: 1,
        signed,
        expires: Some(signed.plus(HOUR)),
    };
    let signature = key(2).sign(&manifest, terms).to_string();
    s3.put_signed("build-1.zip", &build, &signature).await;
    let folder = tempfile::tempdir().unwrap();
    let of_seeder = Machine::new(&folder.path().join("seeder-1"), env!("CARGO_BIN_EXE_seeder"));
    let of_host = Machine::new(&folder.path().join("host-1"), &peer());
    let arguments = of_seeder.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let seeder = s3.seeder("build-1.zip", &arguments);
    let address = seeder.line(SOON).unwrap();
    assert!(
        !seeder.log().contains("swarm is open") && !seeder.log().contains("believed"),
        "{}",
        seeder.log()
    );
    let out = of_host.file("app.zip");
    let base = ["--seeder", &address, "--out", &out];
    let arguments = of_host.arguments();
    let arguments: Vec<&str> = base
        .iter()
        .copied()
        .chain(arguments.iter().map(String::as_str))
        .collect();
    let fetched = run(&peer(), &arguments);
    assert_eq!(fetched.status.code(), Some(0), "{}", stderr(&fetched));
    assert!(std::fs::read(&out).unwrap() == build);
    assert!(!stderr(&fetched).contains("swarm is open") && !stderr(&fetched).contains("believed"));
    // A stranger hears nothing, and says that it is open itself.
    let stolen = of_host.file("stolen.zip");
    let stranger = run(&peer(), &["--seeder", &address, "--out", &stolen, "--timeout", "3"]);
    assert_eq!(stranger.status.code(), Some(3), "{}", stderr(&stranger));
    assert!(stderr(&stranger).contains("this swarm is open") && stderr(&stranger).contains("0 of 0 chunks"));
    assert!(!Path::new(&stolen).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeder_says_that_it_is_open_and_refuses_what_makes_it_no_member() {
    let s3 = S3::start().await;
    s3.put("build-1.zip", &data(100_000, 1)).await;
    let open = s3.seeder("build-1.zip", &[]);
    assert!(open.line(SOON).is_some());
    assert!(open.log().contains("this swarm is open"), "{}", open.log());
    open.kill();
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::new(&folder.path().join("seeder-1"), env!("CARGO_BIN_EXE_seeder"));
    let refused = |s3: &S3, why: &str| {
        let arguments = machine.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut seeder = s3.seeder("build-1.zip", &arguments);
        assert_eq!(seeder.exit(SOON), Some(2), "{}", seeder.log());
        assert!(seeder.log().contains(why), "{} and not {why}", seeder.log());
    };
    machine.write("members", &key(3).public().to_string());
    refused(&s3, "whose word on members is not taken here");
    machine.write("certificate", "");
    refused(&s3, "has no certificate in it");
    // Its key is never among what it has pulled.
    let within = s3.spool().join("own.key");
    let mut seeder = s3.seeder("build-1.zip", &["--identity", within.to_str().unwrap()]);
    assert_eq!(seeder.exit(SOON), Some(2), "{}", seeder.log());
    assert!(seeder.log().contains("is in the folder of builds"), "{}", seeder.log());
}
