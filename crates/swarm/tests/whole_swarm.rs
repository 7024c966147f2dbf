//! A whole fleet that fetches a build, without faults: it converges, near the bound, and wastes nothing.

mod rig;

use std::time::Duration;

use rig::{Mesh, SEEDER, Shape};
use swarm::{Hash, HostId};

#[test]
fn hundreds_of_hosts_converge_near_the_lower_bound() {
    // One seed says little: they are between 1.38 and 1.45.
    const SEEDS: u64 = 6;
    let mut last = 0.0;
    for seed in 1..=SEEDS {
        let mut mesh = Mesh::seeded(Shape {
            hosts: 300,
            chunks: 64,
            seed,
            ..Shape::default()
        });
        mesh.run_until_complete(Duration::from_secs(120));
        let latencies = mesh.latencies();
        let bound = mesh.lower_bound().as_secs_f64();
        assert_eq!(latencies.len(), 300);
        let first = latencies[0].as_secs_f64() / bound;
        assert!(first >= 0.8, "too good to be true: {first}");
        last += latencies[299].as_secs_f64() / bound;
        let build = mesh.manifest.size().get();
        let sent = mesh.sent[&SEEDER];
        assert!(sent <= 2 * build, "the seeder sent {sent}");
        let delivered = build * 300;
        let wasted = mesh.wasted;
        assert!(wasted * 100 <= delivered * 2, "{wasted} of {delivered} wasted");
    }
    let last = last / SEEDS as f64;
    assert!(last < 1.46, "last host at {last}");
}

#[test]
fn one_host_alone_gets_everything_from_the_seeder() {
    let mut mesh = Mesh::seeded(Shape {
        hosts: 1,
        chunks: 10,
        ..Shape::default()
    });
    mesh.run_until_complete(Duration::from_secs(60));
    assert_eq!(mesh.sent[&SEEDER], mesh.manifest.size().get());
}

#[test]
fn a_build_of_one_chunk_reaches_everybody() {
    let mut mesh = Mesh::seeded(Shape {
        hosts: 50,
        chunks: 1,
        ..Shape::default()
    });
    mesh.run_until_complete(Duration::from_secs(60));
}

#[test]
fn equal_seeds_give_equal_runs_and_other_seeds_other_runs() {
    let run = |seed| {
        let mut mesh = Mesh::seeded(Shape {
            hosts: 60,
            seed,
            ..Shape::default()
        });
        mesh.run_until_complete(Duration::from_secs(60));
        let fingerprint = format!("{:?} {:?} {}", mesh.completed_at, mesh.sent, mesh.messages);
        Hash::of(fingerprint.as_bytes())
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn every_policy_converges() {
    for &policy in swarm::ChunkPolicy::ALL {
        let mut mesh = Mesh::seeded(Shape {
            hosts: 40,
            chunks: 32,
            policy,
            ..Shape::default()
        });
        mesh.run_until_complete(Duration::from_secs(60));
    }
}

#[test]
fn a_host_that_joins_when_all_others_are_complete_gets_the_build_too() {
    let mut mesh = Mesh::seeded(Shape::default());
    mesh.run_until_complete(Duration::from_secs(60));
    let late = HostId::new(1000);
    mesh.join(late);
    mesh.run_until_complete(Duration::from_secs(60));
    assert!(mesh.completed_at.contains_key(&late));
}

/// Not a test of right or wrong: prints the stretch of larger swarms, to tune with.
/// `cargo test --release -p swarm --test whole_swarm -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
fn stretch_of_larger_swarms() {
    use swarm::ByteRate;
    for (hosts, chunks, down) in [
        (1000, 64, 1),
        (1000, 64, 2),
        (1000, 256, 1),
        (1000, 256, 2),
        (5000, 64, 2),
    ] {
        let mut mesh = Mesh::seeded(Shape {
            hosts,
            chunks,
            uplink: ByteRate::from_bytes_per_second(187_500).unwrap(),
            downlink: ByteRate::from_bytes_per_second(187_500 * down).unwrap(),
            ..Shape::default()
        });
        mesh.run_until_complete(Duration::from_secs(600));
        let latencies = mesh.latencies();
        let bound = mesh.lower_bound().as_secs_f64();
        let at = |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize].as_secs_f64() / bound;
        let delivered = (mesh.manifest.size().get() * hosts) as f64;
        println!(
            "{hosts} hosts, {chunks} chunks, D={down}U: stretch p50 {:.3} p99 {:.3} max {:.3}; seeder {:.2} builds, wasted {:.2}%, {:.1} messages a chunk",
            at(0.5),
            at(0.99),
            at(1.0),
            mesh.sent[&SEEDER] as f64 / mesh.manifest.size().get() as f64,
            mesh.wasted as f64 / delivered * 100.0,
            mesh.messages as f64 / (f64::from(chunks) * hosts as f64),
        );
    }
}
