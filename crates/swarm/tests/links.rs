//! Links that break, are refused or could not be made are given back, and cost little while they are gone.

mod rig;

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use rig::{Mesh, Shape};
use swarm::HostId;

const LONG: Duration = Duration::from_secs(300);
/// What a run may cost more than the same without resets, in percent.
const COST_MAX: u32 = 30;

fn shape(hosts: u64, seed: u64) -> Shape {
    Shape {
        hosts,
        chunks: 256,
        seed,
        ..Shape::default()
    }
}

fn last(mesh: &Mesh) -> Duration {
    mesh.latencies().last().copied().unwrap_or_default()
}

fn undisturbed(hosts: u64, seed: u64) -> Duration {
    let mut mesh = Mesh::seeded(shape(hosts, seed));
    mesh.run_until_complete(LONG);
    last(&mesh)
}

/// Runs with `faults` at random moments of what the undisturbed run takes; the last host's time.
fn disturbed(hosts: u64, seed: u64, whole: Duration, faults: usize, mut fault: impl FnMut(&mut Mesh)) -> Duration {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut moments: Vec<Duration> = (0..faults).map(|_| whole.mul_f64(rng.random::<f64>())).collect();
    moments.sort_unstable();
    let mut mesh = Mesh::seeded(shape(hosts, seed));
    for moment in moments {
        let passed = mesh.now.since(mesh.started_at);
        mesh.run_for(moment.saturating_sub(passed));
        fault(&mut mesh);
    }
    mesh.run_until_complete(Duration::from_secs(4000));
    last(&mesh)
}

fn check_resets(hosts: u64) {
    for seed in 0..3 {
        let whole = undisturbed(hosts, seed);
        for resets in [1, 2, 4, 8] {
            let took = disturbed(hosts, seed, whole, resets, Mesh::reset_all);
            assert!(
                took <= whole * (100 + COST_MAX) / 100,
                "{hosts} hosts, seed {seed}, {resets} resets: {took:?}, without {whole:?}"
            );
        }
    }
}

#[test]
fn resets_of_all_links_of_two_three_and_five_hosts_cost_little() {
    [2, 3, 5].into_iter().for_each(check_resets);
}

#[test]
fn resets_of_all_links_of_twenty_hosts_cost_little() {
    check_resets(20);
}

#[test]
fn resets_of_all_links_of_sixty_hosts_cost_little() {
    check_resets(60);
}

#[test]
fn links_that_only_one_end_knows_to_be_gone_are_given_back() {
    for hosts in [2, 5, 20] {
        for seed in 0..3 {
            let whole = undisturbed(hosts, seed);
            let took = disturbed(hosts, seed, whole, 4, |mesh| {
                for (a, b) in mesh.links() {
                    if a.get() % 2 == 0 {
                        mesh.reset_half(a, b);
                    } else {
                        mesh.reset_half(b, a);
                    }
                }
            });
            // Who does not know waits for what the other will never send, as long as its patience is.
            assert!(
                took <= whole * 2,
                "{hosts} hosts, seed {seed}: {took:?}, without {whole:?}"
            );
        }
    }
}

#[test]
fn a_pair_that_is_reset_again_and_again_is_linked_again_each_time() {
    let (a, b) = (HostId::new(1), HostId::new(2));
    let mut mesh = Mesh::new(shape(2, 1));
    mesh.run_for(Duration::from_secs(5));
    for _ in 0..20 {
        assert_eq!(mesh.links(), [(a, b)]);
        mesh.reset(a, b);
        mesh.run_for(Duration::from_secs(3));
    }
}

#[test]
fn a_swarm_of_up_to_the_degree_and_one_is_a_complete_graph() {
    for hosts in 2..=13 {
        for seed in 0..3 {
            let mut mesh = Mesh::new(shape(hosts, seed));
            let all = (hosts * (hosts - 1) / 2) as usize;
            mesh.run_for(Duration::from_secs(35));
            assert_eq!(mesh.links().len(), all, "{hosts} hosts, seed {seed}, at first");
            mesh.reset_all();
            mesh.run_for(Duration::from_secs(3));
            assert!(
                mesh.peers
                    .values()
                    .all(|p| p.neighbour_count() >= (hosts as usize - 1).min(6)),
                "{hosts} hosts, seed {seed}, soon after a reset"
            );
            mesh.run_for(Duration::from_secs(35));
            assert_eq!(mesh.links().len(), all, "{hosts} hosts, seed {seed}, after a reset");
        }
    }
}

#[test]
fn hosts_whose_neighbours_vanish_without_a_word_find_others() {
    let mut mesh = Mesh::seeded(shape(60, 1));
    mesh.run_for(Duration::from_secs(2));
    (1..=40).for_each(|host| mesh.leave_silently(HostId::new(host)));
    mesh.run_until_complete(LONG);
    let ends: usize = mesh
        .links()
        .iter()
        .filter(|(a, b)| a.get() > 40 && b.get() > 40)
        .count();
    assert!(ends >= 20 * 6 / 2, "{ends} links among the twenty that are left");
}

#[test]
fn a_swarm_that_stands_still_is_quiet() {
    // Nobody can be had but the one neighbour that is there: it is not asked for without end.
    let mut mesh = Mesh::new(shape(2, 1));
    mesh.run_for(Duration::from_secs(60));
    let before = mesh.messages;
    mesh.run_for(Duration::from_secs(600));
    let a_second = (mesh.messages - before) as f64 / 600.0;
    assert!(a_second < 0.5, "{a_second} messages a second");
}

/// Hosts come, leave with and without a word, and links break at one end or both, in any order: who is there at the end is done
/// soon after the last of it.
#[test]
fn whatever_happens_to_hosts_and_links_those_who_stay_are_done_soon_after() {
    for seed in 0..60 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut next = rng.random_range(1..25);
        let mut mesh = Mesh::seeded(Shape {
            chunks: 64,
            ..shape(next, seed)
        });
        for _ in 0..rng.random_range(1..20) {
            mesh.run_for(Duration::from_millis(rng.random_range(0..1500)));
            let hosts: Vec<HostId> = mesh.peers.keys().copied().collect();
            let one = (!hosts.is_empty()).then(|| hosts[rng.random_range(0..hosts.len())]);
            match (rng.random_range(0..8), one) {
                (0 | 1, _) | (_, None) => {
                    for _ in 0..rng.random_range(1..6) {
                        next += 1;
                        mesh.join(HostId::new(next));
                    }
                }
                (2, Some(host)) => mesh.leave(host),
                (3, Some(host)) => mesh.leave_silently(host),
                (4, _) => mesh.restart_seeder(),
                (5, _) => mesh.reset_all(),
                (6, _) => {
                    let links = mesh.links();
                    links
                        .into_iter()
                        .filter(|_| rng.random_bool(0.3))
                        .for_each(|(a, b)| mesh.reset(a, b));
                }
                (_, _) => {
                    let links = mesh.links();
                    links
                        .into_iter()
                        .filter(|_| rng.random_bool(0.3))
                        .for_each(|(a, b)| mesh.reset_half(b, a));
                }
            }
        }
        if mesh.peers.is_empty() {
            continue;
        }
        // Ten seconds for the patience with those who went without a word; the bound of all is below five.
        mesh.run_until_complete(Duration::from_secs(25));
    }
}
