//! When no seeder can be reached, hosts find each other by themselves, and finish if every chunk is somewhere.

mod rig;

use std::collections::BTreeSet;
use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use rig::{Mesh, SEEDER, Shape};
use swarm::wire::LinkReport;
use swarm::{Action, Contact, Event, HostId, Message, Peer, PeerConfig, Time};

fn shape(hosts: u64, seed: u64) -> Shape {
    Shape {
        hosts,
        chunks: 64,
        seed,
        ..Shape::default()
    }
}

/// A swarm whose seeder has gone for good, as soon as its hosts have every chunk together.
fn left_alone(hosts: u64, seed: u64) -> Mesh {
    let mut mesh = Mesh::seeded(shape(hosts, seed));
    let has_all = |mesh: &Mesh| {
        let held = |chunk| mesh.peers.values().any(|peer| peer.acquired().contains(&chunk));
        mesh.manifest.chunks().all(held)
    };
    while !has_all(&mesh) {
        mesh.run_for(Duration::from_millis(50));
    }
    assert!(!mesh.everybody_is_complete(), "there is something left to do");
    mesh.lose_seeder();
    mesh
}

#[test]
fn hosts_whose_links_all_break_link_again_and_finish() {
    for hosts in [2, 3, 5, 20, 60] {
        for seed in 0..5 {
            let mut mesh = left_alone(hosts, seed);
            mesh.reset_all();
            mesh.run_until_complete(Duration::from_secs(15));
        }
    }
}

#[test]
fn links_that_break_at_the_moment_when_the_seeder_goes_are_made_again() {
    for hosts in [2, 20] {
        for seed in 0..5 {
            let mut mesh = Mesh::seeded(shape(hosts, seed));
            mesh.run_for(Duration::from_secs(3));
            mesh.reset_all();
            mesh.lose_seeder();
            mesh.run_for(Duration::from_secs(5));
            let enough = usize::try_from(hosts - 1).unwrap().min(4);
            let few = mesh
                .peers
                .values()
                .filter(|peer| peer.neighbour_count() < enough)
                .count();
            assert_eq!(few, 0, "{hosts} hosts, seed {seed}");
        }
    }
}

#[test]
fn hosts_that_lose_most_of_their_neighbours_find_others_through_those_who_are_left() {
    for seed in 0..10 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut mesh = left_alone(60, seed);
        mesh.run_for(Duration::from_secs(1));
        let mut leaving: Vec<HostId> = mesh.peers.keys().copied().collect();
        leaving.shuffle(&mut rng);
        // What one of those who leave alone has, goes with it: what is looked at is who is linked with whom.
        leaving.into_iter().take(40).for_each(|host| mesh.leave(host));
        for (seconds, least) in [(5, 4), (20, 6)] {
            mesh.run_for(Duration::from_secs(seconds));
            let counts = mesh.peers.values().map(Peer::neighbour_count);
            let few: Vec<usize> = counts.filter(|count| *count < least).collect();
            assert!(few.is_empty(), "seed {seed}: {few:?}");
        }
    }
}

#[test]
fn a_seeder_that_comes_back_is_the_tracker_again() {
    let mut mesh = left_alone(30, 1);
    mesh.reset_all();
    mesh.run_for(Duration::from_secs(1));
    mesh.restart_seeder();
    mesh.run_until_complete(Duration::from_secs(30));
    let before = mesh.messages;
    mesh.run_for(Duration::from_secs(300));
    let a_host_and_minute = (mesh.messages - before) as f64 / (30.0 * 5.0);
    assert!(
        a_host_and_minute < 5.0,
        "{a_host_and_minute} messages a host and minute"
    );
}

#[test]
fn a_swarm_without_a_seeder_is_quiet() {
    for hosts in [1, 2, 30] {
        let mut mesh = left_alone(hosts.max(2), 1);
        if hosts == 1 {
            mesh.leave(HostId::new(2));
        }
        mesh.run_for(Duration::from_secs(60));
        let before = mesh.messages;
        mesh.run_for(Duration::from_secs(600));
        let a_host_and_second = (mesh.messages - before) as f64 / (600.0 * hosts as f64);
        assert!(
            a_host_and_second < 0.5,
            "{hosts} hosts: {a_host_and_second} messages a host and second"
        );
    }
}

const ONE: HostId = HostId::new(1);

fn contact(host: u64) -> Contact {
    Contact {
        host: HostId::new(host),
        address: format!("address of {host}").into(),
    }
}

fn actions(peer: &mut Peer) -> Vec<Action> {
    std::iter::from_fn(|| peer.poll_action()).collect()
}

fn dialled(actions: &[Action]) -> Vec<HostId> {
    let connect = |action: &Action| match action {
        Action::Connect(contact) if contact.host != SEEDER => Some(contact.host),
        _ => None,
    };
    actions.iter().filter_map(connect).collect()
}

fn named(actions: &[Action], to: HostId) -> Option<Vec<HostId>> {
    actions.iter().find_map(|action| match action {
        Action::Send(host, Message::Neighbours(contacts)) if *host == to => {
            Some(contacts.iter().map(|contact| contact.host).collect())
        }
        _ => None,
    })
}

fn asked(actions: &[Action]) -> Vec<HostId> {
    let announce = |action: &Action| match action {
        Action::Send(host, Message::Announce { .. }) => Some(*host),
        _ => None,
    };
    actions.iter().filter_map(announce).collect()
}

fn announce(wanted: u16, up: &[u64]) -> Message {
    Message::Announce {
        address: "address of its own".into(),
        wanted,
        complete: false,
        zone: None,
        links: Box::new(LinkReport {
            up: up.iter().map(|host| HostId::new(*host)).collect(),
            ..LinkReport::default()
        }),
    }
}

/// A host with a seeder and these neighbours.
struct Lone {
    peer: Peer,
    now: Time,
}

impl Lone {
    fn with(neighbours: &[u64]) -> Self {
        let seeder = Contact {
            host: SEEDER,
            address: "seeder".into(),
        };
        let config = PeerConfig::new(HostId::new(100), "here".into(), seeder);
        let mut lone = Self {
            peer: Peer::new(config, 1, Time::ZERO),
            now: Time::ZERO,
        };
        while lone.peer.poll_action().is_some() {}
        lone.tell(Event::Connected(SEEDER));
        for host in neighbours {
            lone.tell(Event::Connected(HostId::new(*host)));
        }
        lone
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.peer.handle_event(self.now, event);
        actions(&mut self.peer)
    }

    fn hear(&mut self, from: u64, message: Message) -> Vec<Action> {
        self.tell(Event::Message(HostId::new(from), message))
    }

    /// Everything that it does on its own account for so long.
    fn wait(&mut self, duration: Duration) -> Vec<Action> {
        let end = self.now + duration;
        let mut all = Vec::new();
        while let Some(at) = self.peer.next_wakeup().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            all.extend(self.tell(Event::Wakeup));
        }
        self.now = end;
        all
    }
}

#[test]
fn who_has_a_seeder_asks_no_neighbour_and_takes_no_contact_from_one() {
    let mut lone = Lone::with(&[1]);
    assert_eq!(
        asked(&lone.wait(Duration::from_secs(60)))
            .iter()
            .filter(|host| **host == ONE)
            .count(),
        0
    );
    assert!(dialled(&lone.hear(1, Message::Neighbours(vec![contact(2)]))).is_empty());
}

#[test]
fn who_has_lost_its_seeder_asks_and_dials_whom_it_is_told_of() {
    let mut lone = Lone::with(&[1]);
    assert_eq!(asked(&lone.tell(Event::Disconnected(SEEDER))), [ONE]);
    let told = (2..100).map(contact).collect();
    let dials = dialled(&lone.hear(1, Message::Neighbours(told)));
    assert!(
        (1..=16).contains(&dials.len()),
        "one neighbour does not fill the host with its own: {dials:?}"
    );
    let again = (200..300).map(contact).collect();
    assert!(
        dialled(&lone.hear(1, Message::Neighbours(again))).is_empty(),
        "it was asked once"
    );
}

#[test]
fn who_is_asked_names_whom_it_knows_but_not_whom_the_other_has_nor_itself() {
    let mut lone = Lone::with(&[1, 2, 3, 4]);
    for host in [2, 3, 4] {
        assert_eq!(
            named(&lone.hear(host, announce(0, &[])), HostId::new(host)),
            None,
            "it asks for nobody"
        );
    }
    let mut names = named(&lone.hear(1, announce(6, &[3])), ONE).unwrap();
    names.sort_unstable();
    assert_eq!(names, [2, 4].map(HostId::new));
    assert_eq!(
        named(&lone.hear(1, announce(6, &[])), ONE),
        None,
        "a moment later it is not told again"
    );
    lone.wait(Duration::from_secs(2));
    assert!(named(&lone.hear(1, announce(6, &[])), ONE).is_some());
}

#[test]
fn of_two_hosts_one_that_moves_is_dialled_where_it_is_now() {
    let mut lone = Lone::with(&[1]);
    let at = |address: &'static str| Message::Announce {
        address: address.into(),
        wanted: 0,
        complete: false,
        zone: None,
        links: Box::default(),
    };
    lone.hear(1, at("there"));
    lone.hear(1, at("elsewhere"));
    lone.tell(Event::Disconnected(SEEDER));
    let mut seen = lone.tell(Event::Disconnected(ONE));
    seen.extend(lone.wait(Duration::from_secs(3)));
    let addresses: Vec<_> = seen
        .iter()
        .filter_map(|action| match action {
            Action::Connect(contact) if contact.host == ONE => Some(contact.address.clone()),
            _ => None,
        })
        .collect();
    assert!(
        !addresses.is_empty() && addresses.iter().all(|address| address == "elsewhere"),
        "{addresses:?}"
    );
}

#[test]
fn neighbours_hear_where_a_host_moves_that_lacks_nobody() {
    let all: Vec<u64> = (1..=12).collect();
    let mut lone = Lone::with(&all);
    lone.tell(Event::Disconnected(SEEDER));
    assert_eq!(asked(&lone.wait(Duration::from_secs(60))), [], "they know where it is");
    lone.peer.set_address(lone.now, "elsewhere".into());
    let hears = |action: &Action| match action {
        Action::Send(host, Message::Announce { address, .. }) if address == "elsewhere" => Some(*host),
        _ => None,
    };
    let heard: BTreeSet<HostId> = lone.wait(Duration::from_secs(1)).iter().filter_map(hears).collect();
    assert_eq!(heard.len(), all.len());
}

#[test]
fn a_member_that_names_strangers_without_end_fills_nothing() {
    let mut lone = Lone::with(&[1]);
    lone.tell(Event::Disconnected(SEEDER));
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut dials = 0;
    for _ in 0..2_000 {
        let strangers = (0..200).map(|_| contact(rng.random_range(1_000..1_000_000))).collect();
        let told = lone.hear(1, Message::Neighbours(strangers));
        dials += dialled(&told).len();
        for host in dialled(&told) {
            dials += dialled(&lone.tell(Event::Disconnected(host))).len();
        }
        dials += dialled(&lone.wait(Duration::from_millis(300))).len();
    }
    // Ten minutes, in which it asks ever more seldom.
    assert!(dials < 1_000, "{dials} dials");
}
