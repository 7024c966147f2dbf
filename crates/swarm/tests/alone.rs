//! Hosts that have nobody but a seeder that has sent its share already: they get the build as fast as the link allows.

mod rig;

use std::time::Duration;

use rig::{Mesh, SEEDER, Shape};
use swarm::HostId;

const LONG: Duration = Duration::from_secs(600);

fn shape(hosts: u64) -> Shape {
    Shape {
        hosts,
        chunks: 128,
        ..Shape::default()
    }
}

/// What a host alone takes with a seeder that has sent nothing yet.
fn alone() -> Duration {
    let mut mesh = Mesh::seeded(shape(0));
    join_and_complete(&mut mesh, [1])
}

fn last(mesh: &Mesh) -> Duration {
    mesh.latencies().last().copied().unwrap_or_default()
}

/// These hosts join and get the build: the time of the last.
fn join_and_complete(mesh: &mut Mesh, hosts: impl IntoIterator<Item = u64>) -> Duration {
    let joined_at = mesh.now;
    hosts.into_iter().for_each(|host| mesh.join(HostId::new(host)));
    mesh.run_until_complete(LONG);
    let ended_at = mesh.completed_at.values().max().copied().unwrap_or_default();
    ended_at.since(joined_at)
}

#[test]
fn hosts_that_come_one_after_another_get_the_build_as_fast_as_the_first() {
    let alone = alone();
    // With half a second between them, and none.
    for pause in [500, 0] {
        let mut mesh = Mesh::seeded(shape(0));
        for host in 1..=6 {
            let took = join_and_complete(&mut mesh, [host]);
            assert!(took <= alone * 13 / 10, "host {host}: {took:?}, alone {alone:?}");
            mesh.leave(HostId::new(host));
            mesh.run_for(Duration::from_millis(pause));
        }
        assert!(mesh.refused <= 60, "{} refusals", mesh.refused);
    }
}

#[test]
fn hosts_that_leave_without_a_word_hold_up_the_next_by_a_moment_only() {
    let alone = alone();
    let mut mesh = Mesh::seeded(shape(0));
    for host in 1..=6 {
        let took = join_and_complete(&mut mesh, [host]);
        assert!(took <= alone * 15 / 10, "host {host}: {took:?}, alone {alone:?}");
        mesh.leave_silently(HostId::new(host));
    }
    assert!(mesh.refused <= 200, "{} refusals", mesh.refused);
}

#[test]
fn groups_that_leave_together_are_followed_by_others_that_are_as_fast() {
    let mut mesh = Mesh::seeded(shape(0));
    let first = join_and_complete(&mut mesh, 1..=10);
    for group in 1..6 {
        (1..=10).for_each(|host| mesh.leave(HostId::new(10 * (group - 1) + host)));
        let took = join_and_complete(&mut mesh, (1..=10).map(|host| 10 * group + host));
        assert!(took <= first * 13 / 10, "group {group}: {took:?}, the first {first:?}");
    }
    let builds = mesh.sent[&SEEDER] as f64 / mesh.manifest.size().get() as f64;
    assert!(builds <= 6.0 * 2.1, "{builds} builds sent for six groups");
}

#[test]
fn a_rolling_restart_goes_on_as_fast_as_it_began() {
    // Seven of ten leave when the group is done, three stay to serve for a while.
    let mut mesh = Mesh::seeded(shape(0));
    let first = join_and_complete(&mut mesh, 1..=10);
    let mut here: Vec<u64> = (1..=10).collect();
    for group in 1..6 {
        here.drain(..7).for_each(|host| mesh.leave(HostId::new(host)));
        let joiners: Vec<u64> = (1..=7).map(|host| 100 * group + host).collect();
        here.extend(&joiners);
        let took = join_and_complete(&mut mesh, joiners);
        assert!(took <= first * 13 / 10, "group {group}: {took:?}, the first {first:?}");
    }
}

#[test]
fn who_has_the_only_copies_may_leave_in_mid_transfer() {
    let alone = alone();
    let mut mesh = Mesh::seeded(shape(3));
    mesh.run_for(Duration::from_secs(4));
    assert!(!mesh.everybody_is_complete());
    let begun_at = mesh.now;
    (1..=3).for_each(|host| mesh.leave(HostId::new(host)));
    mesh.join(HostId::new(9));
    mesh.run_until_complete(LONG);
    let took = mesh.now.since(begun_at);
    assert!(took <= alone * 14 / 10, "{took:?}, alone {alone:?}");
}

#[test]
fn a_seeder_that_begins_anew_goes_on_with_hosts_that_hold_parts() {
    let mut whole = Mesh::seeded(shape(10));
    whole.run_until_complete(LONG);
    let whole = last(&whole);
    for part in [2, 4, 6] {
        let mut mesh = Mesh::seeded(shape(10));
        mesh.run_for(Duration::from_secs(part));
        mesh.restart_seeder();
        mesh.run_until_complete(LONG);
        let took = last(&mesh);
        let limit = whole * 13 / 10 + Duration::from_secs(1);
        assert!(took <= limit, "anew after {part} s: {took:?}, undisturbed {whole:?}");
    }
}

#[test]
fn two_hosts_that_cannot_reach_each_other_are_both_served() {
    let alone = alone();
    let mut mesh = Mesh::seeded(shape(0));
    join_and_complete(&mut mesh, [1]);
    join_and_complete(&mut mesh, [2]);
    // The first two stay, so all chunks are out, and are of no use to those who come.
    [1, 2].into_iter().for_each(|host| mesh.apart(HostId::new(host)));
    [3, 4].into_iter().for_each(|host| mesh.apart(HostId::new(host)));
    let took = join_and_complete(&mut mesh, [3, 4]);
    assert!(took <= alone * 27 / 10, "{took:?}, one alone {alone:?}");
}
