//! Lost messages, hosts that leave or come late, hosts that corrupt or stall, and nonsense: the healthy ones converge.

mod rig;

use std::sync::Arc;
use std::time::Duration;

use rig::{Fault, Mesh, SEEDER, Shape};
use swarm::wire::{ChunkList, RejectReason};
use swarm::{Bitfield, HostId, Manifest, Message, SwarmId, ZoneId};

const LONG: Duration = Duration::from_secs(300);

#[test]
fn a_swarm_survives_the_loss_of_every_tenth_message() {
    for seed in 0..5 {
        let mut mesh = Mesh::seeded(Shape {
            hosts: 60,
            loss_percent: 10,
            seed,
            ..Shape::default()
        });
        mesh.run_until_complete(LONG);
    }
}

#[test]
fn hosts_that_leave_in_mid_transfer_are_replaced_by_others() {
    let mut mesh = Mesh::seeded(Shape {
        hosts: 200,
        chunks: 32,
        ..Shape::default()
    });
    mesh.run_for(Duration::from_millis(800));
    assert!(!mesh.everybody_is_complete(), "nobody is to leave after the end");
    for host in (1..=200).step_by(4) {
        mesh.leave(HostId::new(host));
    }
    mesh.run_until_complete(LONG);
    assert!(mesh.peers.values().all(|peer| peer.neighbour_count() >= 3));
}

#[test]
fn hosts_that_come_late_catch_up() {
    let mut mesh = Mesh::seeded(Shape {
        hosts: 50,
        chunks: 32,
        ..Shape::default()
    });
    mesh.run_for(Duration::from_millis(500));
    (1000..1020).for_each(|host| mesh.join(HostId::new(host)));
    mesh.run_until_complete(LONG);
    assert_eq!(mesh.completed_at.len(), 70);
}

#[test]
fn hosts_that_were_there_before_the_seeder_had_anything_and_after_it_did_all_converge() {
    let mut mesh = Mesh::new(Shape {
        hosts: 30,
        ..Shape::default()
    });
    // Seeded while the first joiners still wait for their neighbours.
    mesh.seed();
    mesh.run_until_complete(LONG);
}

#[test]
fn a_host_that_corrupts_is_banned_expelled_and_costs_little() {
    let mut mesh = Mesh::new(Shape {
        hosts: 100,
        chunks: 32,
        ..Shape::default()
    });
    let bad = HostId::new(50);
    mesh.faults.insert(bad, Fault::Corrupt);
    mesh.run_for(Duration::from_secs(5));
    mesh.seed();
    mesh.run_until_complete(LONG);
    let accusers = mesh
        .peers
        .values()
        .filter(|peer| peer.banned().any(|host| host == bad))
        .count();
    assert!(accusers > 0, "nobody noticed");
    let corrupt: u64 = mesh.peers.values().map(|peer| peer.stats().chunks_corrupt).sum();
    assert!(
        corrupt <= 2 * accusers as u64,
        "{corrupt} corrupt chunks for {accusers} who banned it"
    );
    assert!(
        mesh.peers.values().all(|peer| peer.banned().all(|host| host == bad)),
        "an innocent host is banned"
    );
}

#[test]
fn stalled_hosts_are_hedged_and_asked_for_nothing_more() {
    let mut mesh = Mesh::new(Shape {
        hosts: 100,
        chunks: 64,
        ..Shape::default()
    });
    for host in (1..=100).step_by(10) {
        mesh.faults.insert(HostId::new(host), Fault::Stall);
    }
    mesh.run_for(Duration::from_secs(5));
    mesh.seed();
    mesh.run_until_complete(LONG);
    let bound = mesh.lower_bound();
    // A tenth of all first copies went to hosts that keep them to themselves; the seeder sends those again in its second
    // pass, after the patience of everybody who asked for them.
    let last = *mesh.latencies().last().unwrap();
    assert!(last < bound * 4, "{last:?}, bound {bound:?}");
}

#[test]
fn a_dead_first_client_does_not_take_a_chunk_with_it() {
    // Whoever the seeder serves first goes before it can pass anything on.
    let mut mesh = Mesh::seeded(Shape {
        hosts: 30,
        ..Shape::default()
    });
    mesh.run_for(Duration::from_millis(200));
    let holders: Vec<HostId> = mesh
        .peers
        .iter()
        .filter(|(_, peer)| peer.progress().is_some_and(|(held, _)| held > 0))
        .map(|(host, _)| *host)
        .collect();
    assert!(!holders.is_empty());
    holders.into_iter().for_each(|host| mesh.leave(host));
    mesh.run_until_complete(LONG);
}

#[test]
fn nonsense_from_a_neighbour_ends_in_a_counter_or_a_disconnect_and_never_in_a_panic() {
    let mut mesh = Mesh::seeded(Shape::default());
    mesh.run_for(Duration::from_millis(300));
    let (victim, bad) = (HostId::new(1), HostId::new(2));
    let other = Arc::new(Manifest::of("other", &[1, 2, 3], 16).unwrap());
    let nonsense = [
        Message::Hello { swarm: SwarmId::ONLY },
        Message::Announce {
            address: "x".into(),
            wanted: u16::MAX,
            complete: true,
            zone: Some(ZoneId::named("nowhere")),
            links: Box::default(),
        },
        Message::Zone(ZoneId::named("nowhere")),
        Message::Invite { chunk: u32::MAX },
        Message::Neighbours(Vec::new()),
        Message::Build(other.info().into()),
        Message::Manifest(other),
        Message::Have(ChunkList::from_slice(&[60_000])),
        Message::HaveSet(Bitfield::full(9999).into()),
        Message::Request {
            chunk: u32::MAX,
            held: 0,
        },
        Message::Cancel { chunk: u32::MAX },
        Message::Reject {
            chunk: u32::MAX,
            reason: RejectReason::QueueFull,
        },
        Message::Offer(ChunkList::from_slice(&[60_000])),
        Message::Decline(ChunkList::from_slice(&[60_000])),
        Message::Lost { chunk: u32::MAX },
        Message::Complete,
        Message::Complaint { host: victim, chunk: 9 },
    ];
    for message in nonsense {
        for from in [bad, SEEDER, HostId::new(777)] {
            mesh.inject(victim, from, message.clone());
            mesh.inject(SEEDER, from, message.clone());
        }
    }
    mesh.run_until_complete(LONG);
}
