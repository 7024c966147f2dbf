//! The same small fleet over every transport: everybody gets the whole build and nobody wastes much.

mod rig;

use peer::TransportKind;
use rig::{Fleet, data, in_process};

async fn a_fleet_converges_over(transport: TransportKind) {
    let mut fleet = Fleet::start(transport).await;
    fleet.add_many(1..=12).await;
    fleet.wait_joined(12).await;
    let build = data(1_000_003);
    fleet.seed(&build, 64 << 10);
    fleet.wait_complete(12).await;
    let complete = fleet.seen.complete.lock().clone();
    for traffic in complete.values() {
        assert_eq!(traffic.from_seeder + traffic.from_peers, build.len() as u64);
    }
    let from_peers: u64 = complete.values().map(|t| t.from_peers).sum();
    assert!(
        from_peers > build.len() as u64,
        "hosts hardly helped each other: {from_peers}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_converges_over_the_in_process_transport() {
    a_fleet_converges_over(in_process()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_converges_over_the_memory_transport() {
    a_fleet_converges_over(TransportKind::Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_converges_over_tcp() {
    a_fleet_converges_over(TransportKind::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_converges_over_quic() {
    a_fleet_converges_over(TransportKind::Quic).await;
}
