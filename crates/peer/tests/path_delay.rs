//! Hosts that are a delay away from each other, over every transport: nothing arrives earlier, and everything arrives.
//!
//! Method: a host that has joined can have the build three delays after it is seeded at the earliest: the news, the request, the
//! chunk. What it has without a path is less than one of them on any machine, or this would be a test of nothing; so the delay is
//! long.

mod rig;

use std::time::Duration;

use peer::TransportKind;
use rig::{Fleet, data, in_process};

const DELAY: Duration = Duration::from_millis(150);

async fn nothing_arrives_before_the_delay_over(transport: TransportKind) {
    let mut fleet = Fleet::over_a_path(transport, DELAY).await;
    let began = fleet.now();
    fleet.add_many(1..=6).await;
    fleet.wait_joined(6).await;
    // The connection to the seeder, who it is, and which neighbours there are.
    assert!(fleet.now().since(began) >= DELAY * 2);
    let build = data(1_000_003);
    let seeded = fleet.now();
    fleet.seed(&build, 64 << 10);
    fleet.wait_complete(6).await;
    for (host, at) in &*fleet.seen.complete_at.lock() {
        let after = at.since(seeded);
        assert!(after >= DELAY * 3, "{host} has it after {after:?}");
    }
    let complete = fleet.seen.complete.lock().clone();
    for traffic in complete.values() {
        assert_eq!(traffic.from_seeder + traffic.from_peers, build.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_arrives_before_the_delay_over_the_in_process_transport() {
    nothing_arrives_before_the_delay_over(in_process()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_arrives_before_the_delay_over_the_memory_transport() {
    nothing_arrives_before_the_delay_over(TransportKind::Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_arrives_before_the_delay_over_tcp() {
    nothing_arrives_before_the_delay_over(TransportKind::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_arrives_before_the_delay_over_quic() {
    nothing_arrives_before_the_delay_over(TransportKind::Quic).await;
}
