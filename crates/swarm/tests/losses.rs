//! Chunks whose bytes are gone where they were held, that are found where nobody sent them, and a seeder that sends wrong ones.

mod rig;

use std::time::Duration;

use proptest::prelude::*;
use rig::{Fault, Mesh, SEEDER, Shape};
use swarm::HostId;

const LONG: Duration = Duration::from_secs(300);

fn host(number: u64) -> HostId {
    HostId::new(number)
}

#[test]
fn a_chunk_that_is_lost_after_the_end_is_fetched_again_and_nobody_asks_for_it_twice() {
    let mut mesh = Mesh::seeded(Shape::default());
    mesh.run_until_complete(LONG);
    // It shows when somebody who comes late asks for it: of hosts that all have lost it but one, and not of the seeder.
    let chunk = mesh.chunk(3);
    (2..=20).for_each(|number| {
        mesh.gone.insert((host(number), chunk));
    });
    mesh.gone.insert((SEEDER, chunk));
    mesh.join(host(100));
    mesh.run_until_complete(LONG);
    mesh.run_for(Duration::from_secs(60));
    assert!(mesh.everybody_is_complete());
    assert!(mesh.losses > 0, "nobody noticed");
    // It is served to two at a time, who both find it gone.
    assert!(mesh.losses <= 40, "{} losses of 20 chunks", mesh.losses);
}

#[test]
fn a_chunk_that_everybody_has_lost_is_asked_for_patiently_and_comes_when_the_seeder_has_it_again() {
    let mut mesh = Mesh::seeded(Shape {
        hosts: 6,
        ..Shape::default()
    });
    mesh.run_until_complete(LONG);
    let chunk = mesh.chunk(7);
    for member in 0..=6 {
        mesh.gone.insert((host(member), chunk));
    }
    mesh.join(host(100));
    mesh.run_for(Duration::from_secs(20));
    assert_eq!(mesh.peers[&host(100)].progress(), Some((15, 16)));
    let (messages, losses) = (mesh.messages, mesh.losses);
    mesh.run_for(Duration::from_secs(60));
    let (messages, losses) = (mesh.messages - messages, mesh.losses - losses);
    // Seven hosts that ask each other what they have every eight seconds.
    assert!(messages < 1500, "{messages} messages in a minute of waiting");
    assert_eq!(losses, 0, "told of what was known to be lost");
    mesh.find(SEEDER, chunk);
    // It is offered: nobody has to ask for it first.
    mesh.run_for(Duration::from_secs(1));
    assert!(mesh.everybody_is_complete());
}

#[test]
fn nobody_is_asked_for_what_he_was_found_to_have_lost() {
    let mut mesh = Mesh::seeded(Shape {
        hosts: 6,
        ..Shape::default()
    });
    mesh.run_until_complete(LONG);
    mesh.run_for(Duration::from_secs(5));
    for number in 1..=4 {
        for index in 0..16 {
            let chunk = mesh.chunk(index);
            mesh.lose(host(number), chunk);
        }
    }
    let rejected = |mesh: &Mesh| -> u64 { mesh.peers.values().map(|peer| peer.stats().requests_rejected).sum() };
    let before = rejected(&mesh);
    // What was asked before the news came may have been turned down.
    mesh.run_for(Duration::from_millis(5));
    let crossed = rejected(&mesh) - before;
    mesh.run_until_complete(LONG);
    assert_eq!(rejected(&mesh) - before, crossed);
}

#[test]
fn who_gives_up_on_what_he_says_he_has_is_not_asked_for_ever() {
    let mut mesh = Mesh::new(Shape {
        hosts: 6,
        ..Shape::default()
    });
    mesh.faults.insert(host(1), Fault::GiveUp);
    mesh.run_for(Duration::from_secs(5));
    mesh.seed();
    mesh.run_for(Duration::from_secs(10));
    let requests: u64 = mesh.peers.values().map(|peer| peer.stats().requests_sent).sum();
    assert!(requests < 1000, "{requests} requests for {} chunks", 6 * 16);
    mesh.run_until_complete(LONG);
}

#[test]
fn a_seeder_that_loses_chunks_before_they_went_out_offers_the_others_and_them_when_they_are_back() {
    let mut mesh = Mesh::new(Shape::default());
    mesh.run_for(Duration::from_secs(5));
    for chunk in [0, 5, 15] {
        let chunk = mesh.chunk(chunk);
        mesh.gone.insert((SEEDER, chunk));
    }
    mesh.seed();
    mesh.run_for(Duration::from_secs(30));
    for peer in mesh.peers.values() {
        assert_eq!(peer.progress(), Some((13, 16)));
    }
    assert_eq!(mesh.losses, 3);
    for chunk in [0, 5, 15] {
        mesh.find(SEEDER, mesh.chunk(chunk));
    }
    mesh.run_until_complete(LONG);
}

#[test]
fn chunks_that_are_found_are_not_fetched() {
    let mut mesh = Mesh::new(Shape {
        hosts: 5,
        ..Shape::default()
    });
    mesh.run_for(Duration::from_secs(5));
    mesh.seed();
    while mesh.peers[&host(1)].progress().is_none() {
        mesh.run_for(Duration::from_millis(5));
    }
    (0..16).for_each(|chunk| mesh.find(host(1), mesh.chunk(chunk)));
    assert!(mesh.peers[&host(1)].is_complete());
    mesh.run_until_complete(LONG);
    mesh.run_for(Duration::from_secs(5));
    assert!(mesh.sent[&host(1)] > 0, "what was found is served");
}

#[test]
fn a_seeder_that_sends_corrupt_chunks_hears_of_it_once() {
    let mut mesh = Mesh::new(Shape::default());
    mesh.faults.insert(SEEDER, Fault::Corrupt);
    mesh.run_for(Duration::from_secs(5));
    mesh.seed();
    mesh.run_for(Duration::from_secs(60));
    assert!(mesh.seeders[&SEEDER].stats().complaints_of_self > 1);
    assert_eq!(mesh.suspected, 1);
    assert!(mesh.peers.values().all(|peer| peer.banned().next().is_none()));
    mesh.faults.clear();
    mesh.run_until_complete(LONG);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever is lost wherever and whenever: as long as one member has each chunk, all end with all.
    #[test]
    fn whatever_is_lost_comes_back(
        seed in 0_u64..1000,
        loss_percent in prop::sample::select(vec![0_u32, 0, 5]),
        losses in prop::collection::vec((0_u64..=12, 0_u32..16, 0_u64..400), 1..60),
        late in prop::collection::vec(0_u64..3000, 0..4),
    ) {
        let mut mesh = Mesh::new(Shape { hosts: 12, seed, loss_percent, ..Shape::default() });
        mesh.run_for(Duration::from_secs(5));
        mesh.seed();
        let mut lost_by_seeder = Vec::new();
        for (member, chunk, wait) in losses {
            mesh.run_for(Duration::from_millis(wait / 8));
            let chunk = mesh.chunk(chunk);
            mesh.gone.insert((host(member), chunk));
            if member == 0 {
                lost_by_seeder.push(chunk);
            }
        }
        for (number, wait) in (100..).zip(late) {
            mesh.run_for(Duration::from_millis(wait));
            mesh.join(host(number));
        }
        mesh.run_for(Duration::from_secs(1));
        lost_by_seeder.into_iter().for_each(|chunk| mesh.find(SEEDER, chunk));
        mesh.run_until_complete(LONG);
        mesh.run_for(Duration::from_secs(1));
    }
}

/// Also where chunks are found to be gone while they are being sent, and come back while somebody still counts on what was on
/// its way.
#[test]
fn no_request_is_left_without_an_answer_where_everything_was_lost() {
    for seed in 0..50 {
        let mut mesh = Mesh::seeded(Shape {
            hosts: 1,
            chunks: 64,
            seed,
            // At the seeder some wait for longer than the least patience.
            peer: |peer| peer.patience_min = Duration::from_secs(10),
            ..Shape::default()
        });
        mesh.run_until_complete(LONG);
        (2..=6).for_each(|number| mesh.join(host(number)));
        mesh.run_for(Duration::from_millis(600 + 7 * seed));
        for index in 0..64 {
            let chunk = mesh.chunk(index);
            mesh.lose(host(1), chunk);
            if index % 3 == 0 {
                mesh.run_for(Duration::from_millis(1));
                mesh.find(host(1), chunk);
            }
        }
        mesh.run_until_complete(LONG);
        for (host, peer) in &mesh.peers {
            assert_eq!(peer.stats().requests_overdue, 0, "{host} of seed {seed}");
        }
    }
}
