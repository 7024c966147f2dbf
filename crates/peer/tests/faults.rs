//! Hosts that corrupt, stall, leave, come late and restart: the healthy ones converge and keep no bad byte.

mod rig;

use std::sync::Arc;
use std::time::Duration;

use peer::{
    ChunkPool, CorruptStore, Node, NodeIdentity, PathFaults, PeerId, Shaping, StallingStore, StoreOpener, TransportKind,
};
use rig::limit::until;
use rig::{Fleet, data, in_process, member};
use swarm::{ByteRate, HostId};

/// What takes longer than this on a busy machine does not happen.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_sends_corrupt_chunks_is_banned_and_nobody_keeps_a_bad_byte() {
    let mut fleet = Fleet::start(in_process()).await;
    fleet.add_many(1..=10).await;
    let bad = member(11);
    let store = StoreOpener::in_memory(fleet.pool.clone());
    let corrupt = store.decorated(|store| Arc::new(CorruptStore::new(store)));
    fleet.add(11, corrupt).await;
    fleet.wait_joined(11).await;
    let build = data(2 << 20);
    let manifest = fleet.seed(&build, 16 << 10);
    // All but the bad one, with whom nobody talks any more.
    fleet.wait_complete(10).await;
    // Everybody shares one pool: had a bad chunk been kept anywhere, there would be more chunks than the build has.
    assert_eq!(fleet.pool.len(), manifest.chunk_count() as usize);
    let banned = fleet.seen.banned.lock().clone();
    assert!(
        !banned.is_empty() && banned.iter().all(|host| *host == bad),
        "{banned:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_take_requests_and_never_serve_are_worked_around() {
    let mut fleet = Fleet::start(in_process()).await;
    fleet.add_many(1..=10).await;
    for number in 11..=13 {
        let store = StoreOpener::in_memory(fleet.pool.clone());
        let stalling = store.decorated(|store| Arc::new(StallingStore::new(store)));
        fleet.add(number, stalling).await;
    }
    fleet.wait_joined(13).await;
    fleet.seed(&data(1 << 20), 16 << 10);
    fleet.wait_complete(13).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_leave_in_mid_transfer_do_not_keep_the_others_and_late_ones_catch_up() {
    let mut fleet = Fleet::start(in_process()).await;
    fleet.add_many(1..=20).await;
    fleet.wait_joined(20).await;
    fleet.seed(&data(8 << 20), 16 << 10);
    let begun = |seen: &rig::Seen| !seen.complete.lock().is_empty();
    for number in 1..=5 {
        fleet.hosts.remove(&member(number)).as_ref().map(Node::stop);
    }
    fleet.wait("the first is complete", begun).await;
    fleet.add_many(21..=23).await;
    let seen = Arc::clone(&fleet.seen);
    let survivors = || (6..=23).all(|number| seen.complete.lock().contains_key(&member(number)));
    fleet.wait("all that are left are complete", |_| survivors()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_seeders_share_the_first_copy_and_a_swarm_outlives_the_one_that_tracks_it() {
    for transport in [in_process(), TransportKind::Tcp] {
        let mut fleet = Fleet::with_seeders(transport, 2).await;
        fleet.add_many(1..=10).await;
        fleet.wait_joined(10).await;
        let build = data(4 << 20);
        fleet.seed(&build, 16 << 10);
        fleet.wait_complete(10).await;
        let sent: Vec<u64> = fleet
            .seeders
            .iter()
            .map(|(_, node)| node.report().traffic.sent)
            .collect();
        assert!(sent.iter().all(|sent| *sent >= build.len() as u64 / 4), "{sent:?}");
        let (_, first) = fleet.seeders.remove(0);
        first.stop();
        // Who comes now is introduced by the other, and its list begins with one that is gone.
        let gone = first.address().to_vec();
        fleet.add_with_lost_seeder(11, &gone).await;
        fleet.wait_complete(11).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_on_disk_ends_with_the_file_in_place_and_resumes_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("build.zip");
    let build = data(3_000_000);
    let mut fleet = Fleet::start(TransportKind::Tcp).await;
    let manifest = fleet.seed(&build, 64 << 10);
    // What an interrupted run left: the first half is right, the rest is not there.
    let mut part = build.clone();
    part[1_500_000..].fill(0);
    std::fs::write(folder.path().join("build.zip.part"), part).unwrap();
    fleet.add(1, StoreOpener::on_disk(target.clone())).await;
    fleet.wait_complete(1).await;
    assert_eq!(std::fs::read(&target).unwrap(), build);
    let traffic = fleet.seen.complete.lock()[&member(1)];
    let missing = build.len() as u64 - 1_500_000 + u64::from(manifest.chunk_size());
    assert!(traffic.from_seeder <= missing, "{} fetched again", traffic.from_seeder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_cannot_be_written_is_reported_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::start(in_process()).await;
    fleet.seed(&data(100_000), 16 << 10);
    fleet.add(1, StoreOpener::on_disk(folder.path().to_owned())).await;
    fleet
        .wait("the failure is reported", |seen| !seen.failed.lock().is_empty())
        .await;
    let failed = fleet.seen.failed.lock().clone();
    assert!(failed[0].contains(&folder.path().display().to_string()), "{failed:?}");
}

/// Faults are put around a store from outside. A node that knows one of them has a branch that no product needs.
#[test]
fn the_node_knows_no_fault() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src/node");
    let mut read = 0;
    for file in std::fs::read_dir(sources).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for fault in [
            "CorruptStore",
            "CorruptMemory",
            "StallingStore",
            "StallingMemory",
            "FaultyStore",
        ] {
            assert!(!text.contains(fault), "{} names {fault}", path.display());
        }
        read += 1;
    }
    assert!(read >= 5, "{read}");
}

/// The seeder is gone and so are all connections, in mid-transfer: hosts find each other again and finish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_whose_connections_all_break_when_the_seeder_has_gone_link_again() {
    const HOSTS: usize = 8;
    for transport in [in_process(), TransportKind::Tcp, TransportKind::Quic] {
        let paths = PathFaults::default();
        let rate = ByteRate::from_bytes_per_second(2 << 20).unwrap();
        let shaping = Shaping {
            uplink: Some(rate),
            ..Shaping::default()
        };
        let mut fleet = Fleet::breakable(transport, shaping, paths.clone()).await;
        // What is in it, hosts have between them.
        let out = ChunkPool::default();
        for number in 1..=HOSTS as u64 {
            fleet.add(number, StoreOpener::in_memory(out.clone())).await;
        }
        fleet.wait_joined(HOSTS).await;
        let chunks = fleet.seed(&data(4 << 20), 16 << 10).chunk_count();
        let (_, seeder) = fleet.seeders.remove(0);
        until(LONG, "every chunk is out", || out.len() == chunks as usize).await;
        seeder.stop();
        drop(seeder);
        let of_seeder = NodeIdentity::from_seed(1, HostId::new(0)).peer_id();
        let is_of_seeder = |ends: &(PeerId, PeerId)| ends.0 == of_seeder || ends.1 == of_seeder;
        until(LONG, "hosts see that it has gone", || {
            !paths.connections().iter().any(is_of_seeder)
        })
        .await;
        assert!(
            fleet.seen.complete.lock().len() < HOSTS,
            "{chunks} chunks were there at once"
        );
        paths.end(&paths.connections());
        fleet.wait_complete(HOSTS).await;
    }
}
