//! Seeder and hosts on machines of their own, as network namespaces are: each has its addresses and nothing in common with the
//! others but a switch. On one loopback everything connects; here what is advertised has to be true.
//!
//! Needs root and iproute2. Elsewhere these tests say that they were left out, and pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "../../peer/tests/limit/mod.rs"]
mod limit;
#[path = "machines/rig.rs"]
mod rig;

use std::io::Read as _;
use std::time::{Duration, Instant};

use cloud::EmbeddedCloud;

use rig::{Families, Machines, Process};

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

/// A seeder on the first machine, and hosts on others.
struct Fleet<'a> {
    /// What the seeder is given.
    seeder: &'a [&'a str],
    /// Where a host is told that the seeder is, of the lines that it has printed.
    seeder_at: &'a dyn Fn(&[String], usize) -> Vec<String>,
    /// Where a host listens; at its defaults where there is nothing.
    listen: &'a dyn Fn(usize) -> Option<String>,
    machine_of: &'a dyn Fn(usize) -> usize,
}

impl Default for Fleet<'_> {
    fn default() -> Self {
        Self {
            seeder: &[],
            seeder_at: &|lines, _host| lines[..1].to_vec(),
            listen: &|_host| None,
            machine_of: &|host| host,
        }
    }
}

impl Fleet<'_> {
    fn distribute(&self, machines: &Machines) -> Outcome {
        let (seeding, address) = start_seeder(machines, self.seeder);
        let printed = [address];
        let begun = Instant::now();
        let build = |host| machines.folder((self.machine_of)(host)).join("app.zip");
        let mut hosts = Vec::new();
        for host in 1..=HOSTS {
            let mut command = machines.command((self.machine_of)(host), rig::peer_binary());
            for address in (self.seeder_at)(&printed, host) {
                command.args(["--seeder", &address]);
            }
            if let Some(listen) = (self.listen)(host) {
                command.args(["--listen", &listen]);
            }
            // Nobody leaves before all have met.
            command
                .args(["--linger", "20", "--timeout", "60", "--out"])
                .arg(build(host));
            command.env("RUST_LOG", "peer=debug");
            hosts.push(machines.start(command));
        }
        while !(1..=HOSTS).all(|host| build(host).exists()) {
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
}

/// The seeder of the build on the first machine, and the address that it prints.
fn start_seeder(machines: &Machines, more: &[&str]) -> (Process, String) {
    let s3 = machines.serve_s3(0);
    let mut command = machines.command(0, rig::seeder_binary());
    command.args(["--bucket", "builds", "--key", "app.zip", "--endpoint-url", &s3.endpoint]);
    s3.let_in(&mut command);
    let spool = machines.folder(0).join("spool");
    command.arg("--folder").arg(spool).args(more);
    let seeding = machines.start(command);
    let address = seeding.line();
    std::thread::sleep(Duration::from_millis(500));
    (seeding, address)
}

/// With defaults hosts must find each other as soon, and be done nearly as soon, as with addresses that somebody wrote by hand.
fn hosts_find_each_other(families: Families) {
    let Some(machines) = Machines::new(HOSTS + 1, families, LINK_MBIT) else {
        return;
    };
    let by_hand = {
        let seeder = machines.address(0, 4001);
        let fleet = Fleet {
            seeder: &["--listen", &seeder],
            listen: &|host| Some(machines.address(host, 0)),
            ..Fleet::default()
        };
        fleet.distribute(&machines)
    };
    machines.clear();
    let by_default = Fleet::default().distribute(&machines);
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
    machines.name(0, "seeder.test", &["10.88.0.250", "fd00:88::250", "fd00:88::1"]);
    let fleet = Fleet {
        seeder: &["--listen", "/ip4/0.0.0.0/tcp/4001", "--listen", "/ip6/::/tcp/4001"],
        seeder_at: &|lines: &[String], host| {
            let (_, peer) = lines[0].rsplit_once("/p2p/").unwrap();
            // Of either family, or of one: each has an address that leads nowhere.
            let family = ["dns", "dns4", "dns6"][host % 3];
            vec![format!("/{family}/seeder.test/tcp/4001/p2p/{peer}")]
        },
        ..Fleet::default()
    };
    let outcome = fleet.distribute(&machines);
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
    let outcome = Fleet::default().distribute(&machines);
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
            machines.move_to(1, "10.88.0.101/24");
        });
        let outcome = Fleet::default().distribute(&machines);
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
        Fleet::default().distribute(&machines)
    });
    // Then it takes no longer than the others did, and does not sit out a wait that has grown meanwhile.
    assert!(outcome.took < LATE_BY + Duration::from_secs(4), "{outcome:?}");
}

/// A host on the seeder's machine reaches it over loopback, where nobody else would find it.
#[test]
fn a_host_on_the_machine_of_the_seeder_and_those_on_others_find_each_other() {
    let Some(machines) = Machines::new(HOSTS + 1, Families::V4, LINK_MBIT) else {
        return;
    };
    let fleet = Fleet {
        seeder: &["--listen", "/ip4/0.0.0.0/tcp/4001"],
        seeder_at: &|lines: &[String], host| {
            let (address, peer) = lines[0].rsplit_once("/p2p/").unwrap();
            let address = if host == 1 { "/ip4/127.0.0.1/tcp/4001" } else { address };
            vec![format!("{address}/p2p/{peer}")]
        },
        // By default it would listen where its seeder is, on loopback.
        listen: &|host| (host == 1).then(|| "/ip4/0.0.0.0/tcp/0".to_owned()),
        machine_of: &|host| if host == 1 { 0 } else { host },
    };
    let outcome = fleet.distribute(&machines);
    assert!(outcome.links.iter().all(|links| *links > 3), "{outcome:?}");
}

/// A fleet that is restarted ten hosts at a time, of which none stays: each ten finds a seeder that has sent its copies long ago, and
/// nobody else. A host alone with that seeder would take its build at the rate of its link; so must these, nearly.
#[test]
fn hosts_that_come_in_tens_are_each_done_within_twice_the_bound_of_a_host_alone() {
    const AT_A_TIME: usize = 10;
    const LINK_MBIT: u32 = 30;
    // By hand 200.
    let wanted = std::env::var("FLEETCAST_HOSTS").map_or(40, |hosts| hosts.parse().unwrap());
    let Some(machines) = Machines::alone(AT_A_TIME + 1, Families::V4, LINK_MBIT) else {
        return;
    };
    let (seeding, address) = start_seeder(&machines, &[]);
    let mut took = Vec::new();
    while took.len() < wanted {
        let begun = Instant::now();
        let out = |machine| machines.folder(machine).join("app.zip");
        let start = |machine| {
            let mut command = machines.command(machine, rig::peer_binary());
            command
                .args(["--seeder", &address, "--timeout", "60", "--out"])
                .arg(out(machine));
            machines.start(command)
        };
        let mut hosts: Vec<(usize, Process)> = (1..=AT_A_TIME).map(|machine| (machine, start(machine))).collect();
        while !hosts.is_empty() {
            hosts.retain_mut(|(machine, host)| {
                let Some(status) = host.ended() else {
                    return true;
                };
                took.push(begun.elapsed());
                assert!(status.success(), "{}", host.said());
                let length = std::fs::metadata(out(*machine)).unwrap().len();
                assert_eq!(length, BUILD as u64);
                std::fs::remove_file(out(*machine)).unwrap();
                false
            });
            let late = !hosts.is_empty() && begun.elapsed() > Duration::from_secs(90);
            assert!(!late, "{took:?}\n{}\n{}", seeding.said(), hosts[0].1.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let bound = Duration::from_secs_f64(BUILD as f64 * 8.0 / (f64::from(LINK_MBIT) * 1e6));
    took.sort();
    let (median, last) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "bound {bound:?}, median {median:?}, last {last:?} of {} hosts",
        took.len()
    );
    assert!(last < bound * 2, "bound {bound:?}: {took:?}");
}
