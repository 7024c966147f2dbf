//! The same small fleet over every transport: everybody gets the whole build and nobody wastes much.

mod rig;

use peer::{StoreOpener, TransportKind};
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

/// Reading a chunk from a disk is not done under the node's lock, so it goes another way than from memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_keep_their_builds_on_disk_serve_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let build = data(2 << 20);
    let spooled = folder.path().join("spooled");
    std::fs::write(&spooled, &build).unwrap();
    let mut fleet = Fleet::start(TransportKind::Tcp).await;
    for number in 1..=4 {
        let out = folder.path().join(number.to_string());
        fleet.add(number, StoreOpener::on_disk(out)).await;
    }
    fleet.wait_joined(4).await;
    fleet.seed_file(&spooled, 16 << 10);
    fleet.wait_complete(4).await;
    for number in 1..=4 {
        assert!(std::fs::read(folder.path().join(number.to_string())).unwrap() == build);
    }
}
