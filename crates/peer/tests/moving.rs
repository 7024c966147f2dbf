//! Hosts of a directory whose machines sleep, move to another address, or do not know the directory's name yet. Each is on a machine of its own, as
//! network namespaces are: where no network leads is tried with networks, and not with a stand-in.
//!
//! Needs root and iproute2. Elsewhere these tests say that they were left out, and pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;
#[path = "../../seeder/tests/machines/rig.rs"]
mod rig;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use peer::{Multiaddr, NodeIdentity};
use region::{Seeder, Seeding, binary, data, limit};
use rig::{Families, Machines, Process};
use rustix::process::{Pid, Signal, kill_process};
use swarm::HostId;

const LINK_MBIT: u32 = 60;
/// Where the directory is, on its machine: nobody else is there.
const PORT: u16 = 4001;
const LISTEN: &str = "FLEETCAST_TEST_LISTEN";

/// Not a test: a directory and seeders of builds, whose keys come on stdin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a server, started by the other tests on a machine of its own"]
async fn serve_directory() {
    let listen = std::env::var(LISTEN).unwrap();
    // The same each time that it is started.
    let identity = NodeIdentity::from_seed(1, HostId::new(1));
    let directory = region::directory(&identity, &listen).await;
    directory.publish(Vec::new());
    println!("directory {}", directory.endpoint().addresses()[0]);
    let any_port: Multiaddr = listen.replace(&PORT.to_string(), "0").parse().unwrap();
    let mut seeders = Vec::new();
    loop {
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|_| line)
        });
        // Until whoever started it has gone.
        let key = line.await.unwrap().unwrap();
        if key.is_empty() {
            return;
        }
        let seeding = Seeding {
            listen: Some(any_port.clone()),
            ..Seeding::default()
        };
        let key = key.trim_end();
        seeders.push(Seeder::with(key, "v1", &data(key.len() as u64, 300_000), seeding).await);
        directory.publish(seeders.iter().map(Seeder::listed).collect());
    }
}

/// The directory of the first machine. Dropping it kills it.
struct Directory {
    child: Child,
    stdin: ChildStdin,
    address: String,
}

impl Directory {
    fn on(machines: &Machines) -> Self {
        let mut command = machines.command(0, std::env::current_exe().unwrap());
        command
            .args(["--exact", "serve_directory", "--ignored", "--nocapture"])
            .env(LISTEN, machines.address(0, PORT))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the directory comes up").unwrap();
            if let Some((_, address)) = line.split_once("directory ") {
                break address.to_owned();
            }
        };
        Self { child, stdin, address }
    }

    fn seed(&mut self, key: &str) {
        writeln!(self.stdin, "{key}").unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A host of the directory on the second machine.
fn host(machines: &Machines, directory: &str) -> Process {
    let mut command = machines.command(1, binary());
    command.args(["--directory", directory, "--folder"]);
    command.arg(machines.folder(1).join("builds"));
    machines.start(command)
}

/// Waits for the line of a build.
fn has(host: &Process, key: &str, patience: Duration) {
    let line = host.line_within(patience);
    let line = line.unwrap_or_else(|| panic!("{key} is not there after {patience:?}: {}", host.said()));
    assert!(line.starts_with(&format!("{key} ")), "{line}");
}

fn signal(process: &Process, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn says(process: &Process, what: &str) {
    let began = Instant::now();
    while !process.said().contains(what) {
        assert!(began.elapsed() < QUICK, "it does not say {what:?}: {}", process.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What takes moments takes this long at most.
const QUICK: Duration = Duration::from_secs(30);
/// A question is given up after three quarters of a minute, and asked again.
const A_QUESTION: Duration = Duration::from_secs(75);

fn an_idle_host_that_moves_hears_of_the_next_build(families: Families, to: &str) {
    let Some(machines) = Machines::new(2, families, LINK_MBIT) else {
        return;
    };
    let mut directory = Directory::on(&machines);
    directory.seed("one.zip");
    let host = host(&machines, &directory.address);
    has(&host, "one.zip", QUICK);
    machines.move_to(1, to);
    directory.seed("second.zip");
    has(&host, "second.zip", A_QUESTION);
}

#[test]
fn an_idle_host_that_gets_another_address_hears_of_the_next_build() {
    an_idle_host_that_moves_hears_of_the_next_build(Families::V4, "10.88.0.101/24");
}

#[test]
fn and_so_does_one_that_has_addresses_of_ipv6_only() {
    an_idle_host_that_moves_hears_of_the_next_build(Families::V6, "fd00:88::101/64");
}

#[test]
fn a_directory_whose_name_is_not_known_yet_is_found_when_it_is() {
    let Some(machines) = Machines::new(2, Families::V4, LINK_MBIT) else {
        return;
    };
    // A machine whose resolver knows other names only.
    machines.name(0, "another.test", &[]);
    let mut directory = Directory::on(&machines);
    directory.seed("one.zip");
    let (_, peer) = directory.address.rsplit_once("/p2p/").unwrap();
    let host = host(&machines, &format!("/dns/directory.test/tcp/{PORT}/p2p/{peer}"));
    says(&host, "the name is not known");
    machines.name(0, "directory.test", &[]);
    has(&host, "one.zip", QUICK);
    says(&host, "the directory answers again");
}

/// While it sleeps nothing of it runs, and all others go on: its connections end, the directory is restarted, and it wakes up elsewhere.
#[test]
fn a_machine_that_has_slept_goes_on_where_it_wakes_up() {
    let Some(machines) = Machines::new(2, Families::V4, LINK_MBIT) else {
        return;
    };
    let mut directory = Directory::on(&machines);
    directory.seed("one.zip");
    let host = host(&machines, &directory.address);
    has(&host, "one.zip", QUICK);
    signal(&host, Signal::STOP);
    drop(directory);
    machines.move_to(1, "10.88.0.101/24");
    let mut directory = Directory::on(&machines);
    directory.seed("one.zip");
    directory.seed("second.zip");
    signal(&host, Signal::CONT);
    has(&host, "second.zip", A_QUESTION);
}
