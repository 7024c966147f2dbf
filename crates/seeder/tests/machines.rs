//! Seeder and hosts on machines of their own, as network namespaces are: each has its addresses and nothing in common with the
//! others but a switch. On one loopback everything connects; here what is advertised has to be true.
//!
//! Needs root and iproute2. Elsewhere these tests say that they were left out, and pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "machines/rig.rs"]
mod rig;

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::{Duration, Instant};

use cloud::EmbeddedCloud;

use rig::{Families, Machines};

const HOSTS: usize = 5;
const BUILD: usize = 16 << 20;
/// So that a build takes seconds and hosts meet while they fetch.
const LINK_MBIT: u32 = 60;

/// Not a test: the S3 of a machine, which another test starts there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a server, started by the other tests in a machine of its own"]
async fn serve_s3() {
    let folder = std::env::var_os(rig::S3_FOLDER).unwrap();
    let cloud = EmbeddedCloud::start(folder.as_ref()).await.unwrap();
    let buckets = cloud::Cloud::connect(cloud.config()).await.buckets();
    buckets.create_if_missing("builds").await.unwrap();
    let build: Vec<u8> = (0..BUILD as u32 / 4).flat_map(u32::to_le_bytes).collect();
    buckets.put_bytes("builds", "app.zip", build.into()).await.unwrap();
    rig::tell_s3(folder.as_ref(), cloud.config());
    // Until whoever started it has gone.
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let _ = end.await.unwrap();
}

/// So that a transfer lasts long enough for something to happen in its middle.
const SLOW_LINK_MBIT: u32 = 16;

/// How late an interface comes up: by then attempts to reach a seeder are seconds apart.
const LATE_BY: Duration = Duration::from_secs(9);

/// What became of the hosts.
#[derive(Debug)]
struct Outcome {
    took: Duration,
    /// Of each host: its links (the seeder's among them) a second after its first.
    links: Vec<usize>,
}

/// A seeder on the first machine, hosts on the others; `at` makes what hosts are given of what the seeder prints.
fn distribute(
    machines: &Machines,
    seeder: &[&str],
    at: impl Fn(&[String]) -> Vec<String>,
    host: impl Fn(usize) -> Vec<String>,
) -> Outcome {
    let s3 = machines.serve_s3(0);
    let mut command = machines.command(0, env!("CARGO_BIN_EXE_seeder"));
    command.args([
        "--bucket",
        "builds",
        "--key",
        "app.zip",
        "--endpoint-url",
        &s3.endpoint,
        "--folder",
    ]);
    s3.let_in(&mut command);
    command.arg(machines.folder(0).join("spool")).args(seeder);
    let mut seeding = machines.start(command);
    // All that it prints is there before it pulls.
    let mut printed = Vec::new();
    let mut lines = BufReader::new(seeding.stdout()).lines();
    let expected = at(&[]).len().max(1);
    while printed.len() < expected {
        printed.push(lines.next().unwrap().unwrap());
    }
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    let mut hosts = Vec::new();
    for machine in 1..=HOSTS {
        let mut command = machines.command(machine, rig::peer_binary());
        for address in at(&printed) {
            command.args(["--seeder", &address]);
        }
        command.arg("--out").arg(machines.folder(machine).join("app.zip"));
        // Nobody leaves before all have met.
        command.args(["--linger", "20", "--timeout", "60"]).args(host(machine));
        command.env("RUST_LOG", "peer=debug");
        hosts.push(machines.start(command));
    }
    let build = |machine| machines.folder(machine).join("app.zip");
    while !(1..=HOSTS).all(|machine| build(machine).exists()) {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "not all hosts have the build: {} and {}",
            seeding.said(),
            hosts[0].said()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = begun.elapsed();
    let links = hosts
        .iter()
        .map(|host| rig::links_within(&host.said(), Duration::from_secs(1)))
        .collect();
    Outcome { took, links }
}

fn printed(lines: &[String]) -> Vec<String> {
    lines.iter().take(1).cloned().collect()
}

/// With defaults hosts must find each other as soon, and be done nearly as soon, as with addresses that somebody wrote by hand.
fn hosts_find_each_other(families: Families) {
    let Some(machines) = Machines::new(HOSTS + 1, families, LINK_MBIT) else {
        return;
    };
    let by_hand = {
        let seeder = machines.address(0, 4001);
        let listen = |machine| vec!["--listen".to_owned(), machines.address(machine, 0)];
        distribute(&machines, &["--listen", &seeder], printed, listen)
    };
    machines.clear();
    let by_default = distribute(&machines, &[], printed, |_| Vec::new());
    for outcome in [&by_hand, &by_default] {
        // The seeder is one of them.
        assert!(
            outcome.links.iter().all(|links| *links > 3),
            "{by_hand:?} {by_default:?}"
        );
    }
    let ratio = by_default.took.as_secs_f64() / by_hand.took.as_secs_f64();
    assert!(ratio < 1.3, "{by_hand:?} {by_default:?}");
}

#[test]
fn hosts_find_each_other_with_defaults() {
    hosts_find_each_other(Families::V4);
}

#[test]
fn hosts_find_each_other_with_defaults_where_there_is_no_ipv4() {
    hosts_find_each_other(Families::V6);
}

#[test]
fn a_seeder_is_found_by_a_name_that_leads_to_a_dead_address_too() {
    let Some(machines) = Machines::new(HOSTS + 1, Families::Both, LINK_MBIT) else {
        return;
    };
    machines.name(0, "seeder.test", &["10.88.0.250"]);
    let by_name = |lines: &[String]| {
        let peer = lines.first().and_then(|line| line.rsplit_once("/p2p/"));
        vec![format!(
            "/dns/seeder.test/tcp/4001/p2p/{}",
            peer.map_or("", |(_, peer)| peer)
        )]
    };
    let listen = ["--listen", "/ip4/0.0.0.0/tcp/4001", "--listen", "/ip6/::/tcp/4001"];
    let outcome = distribute(&machines, &listen, by_name, |_| Vec::new());
    assert!(outcome.links.iter().all(|links| *links > 3), "{outcome:?}");
}

#[test]
fn an_interface_that_leads_nowhere_keeps_nobody_from_being_found() {
    let Some(machines) = Machines::new(HOSTS + 1, Families::V4, LINK_MBIT) else {
        return;
    };
    // As the bridge of a container runtime, which is the same on all machines.
    for machine in 0..=HOSTS {
        machines.add_dead_end(machine, "172.17.0.1/16");
    }
    let outcome = distribute(&machines, &[], printed, |_| Vec::new());
    assert!(outcome.links.iter().all(|links| *links > 3), "{outcome:?}");
}

#[test]
fn a_host_whose_address_changes_in_mid_transfer_goes_on_from_the_new_one() {
    let Some(machines) = Machines::new(HOSTS + 1, Families::V4, SLOW_LINK_MBIT) else {
        return;
    };
    let moves = std::thread::scope(|scope| {
        let moving = scope.spawn(|| {
            machines.wait_for_part(1);
            machines.move_to(1, "10.88.0.101");
        });
        let outcome = distribute(&machines, &[], printed, |_| Vec::new());
        moving.join().unwrap();
        outcome
    });
    assert!(moves.took < Duration::from_secs(40), "{moves:?}");
}

#[test]
fn a_host_whose_interface_comes_up_late_joins_when_it_is_there() {
    let Some(machines) = Machines::new(HOSTS + 1, Families::V4, LINK_MBIT) else {
        return;
    };
    machines.take_address(1);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(LATE_BY);
            machines.address_up(1);
        });
        distribute(&machines, &[], printed, |_| Vec::new())
    });
    // Then it takes no longer than the others did, and does not sit out a wait that has grown meanwhile.
    assert!(outcome.took < LATE_BY + Duration::from_secs(4), "{outcome:?}");
}
