//! Hosts that come one after another, each when the one before has gone: the `seeder` and `peer` binaries with their defaults.

#![expect(clippy::print_stdout, reason = "says how long they took")]

mod rig;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rig::{S3, data};

const BUILD: usize = 8 << 20;
const HOSTS: usize = 6;
/// Some tenths of a second on an idle machine; hosts that are turned down take minutes.
const SOON: Duration = Duration::from_secs(2);
/// For a process to start where other tests have the machine.
const TO_START: Duration = Duration::from_secs(20);
/// It gives up by itself after a minute.
const TO_END: Duration = Duration::from_secs(90);

/// Runs a host until it has ended, which it does when it has the build; how long that took.
fn fetch(address: &str, listen: &str, out: &Path) -> Duration {
    let binary = Path::new(env!("CARGO_BIN_EXE_seeder")).with_file_name("peer");
    assert!(
        binary.exists(),
        "{} is not built; run `cargo build -p peer`",
        binary.display()
    );
    let log = out.with_extension("log");
    let mut command = Command::new(binary);
    command.args([
        "--seeder",
        address,
        "--listen",
        listen,
        "--linger",
        "0",
        "--timeout",
        "60",
        "--out",
    ]);
    command
        .arg(out)
        .env("RUST_LOG", "peer=debug")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.stderr(std::fs::File::create(&log).expect("a log"));
    let began = Instant::now();
    let mut host = command.spawn().expect("the binary starts");
    let status = loop {
        match host.try_wait().expect("it is ours") {
            Some(status) => break Some(status),
            None if began.elapsed() > TO_END => break None,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let took = began.elapsed();
    // One that has not ended would be nobody's.
    let _ = host.kill();
    let _ = host.wait();
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(
        status.is_some_and(|status| status.success()),
        "{status:?} after {took:?}: {said}"
    );
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gets_the_build_at_once_over_tcp() {
    each_gets_the_build_at_once("/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gets_the_build_at_once_over_quic() {
    each_gets_the_build_at_once("/ip4/127.0.0.1/udp/0/quic-v1").await;
}

async fn each_gets_the_build_at_once(listen: &'static str) {
    let s3 = S3::start().await;
    let bytes = data(BUILD, 1);
    s3.put("build-1.zip", &bytes).await;
    let seeder = s3.seeder_at(listen, "build-1.zip");
    let address = seeder.line(TO_START).expect("it says where it is");
    let began = Instant::now();
    while !seeder.log().contains("seeding") {
        assert!(began.elapsed() < TO_START, "{}", seeder.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let folder = s3.folder.path().to_owned();
    let took = tokio::task::spawn_blocking(move || {
        let run = |number: usize| {
            let out = folder.join(format!("host-{number}.zip"));
            let took = fetch(&address, listen, &out);
            assert_eq!(std::fs::read(&out).ok().as_ref(), Some(&bytes), "host {number}");
            took
        };
        (1..=HOSTS).map(run).collect::<Vec<Duration>>()
    });
    let took = took.await.expect("all hosts have ended well");
    println!("{listen}: {took:?}");
    assert!(took.iter().all(|took| *took <= SOON), "{took:?}");
}
