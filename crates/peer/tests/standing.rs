//! Members of a closed swarm as time goes on: certificates that end and are renewed, deny lists, files that cannot be read.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod rig;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peer::{MemberFiles, Members, NodeIdentity, Shaping, TransportKind};
use rig::{Fleet, Letting, certificate, data, identity, key};
use signing::{MemberTerms, Moment};
use swarm::ByteRate;
use tempfile::TempDir;

/// What is honoured within a minute, with a busy machine in mind.
const MINUTE: Duration = Duration::from_secs(60);

/// The files of a fleet: the keys that certify and the deny list are everybody's.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        std::fs::write(files.at("members"), format!("{}\n", key(1).public())).unwrap();
        std::fs::write(files.at("deny"), "").unwrap();
        files
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn certify(&self, place: u64, change: impl FnOnce(&mut MemberTerms)) {
        certify(self.0.path(), &identity(place), change);
    }

    /// Members that go by these files; those that have no certificate yet get one for an hour.
    fn letting(&self) -> Letting {
        let folder = self.0.path().to_owned();
        Box::new(move |identity| {
            let certificate = certificate_of(&folder, identity);
            if !certificate.exists() {
                certify(&folder, identity, |_| {});
            }
            let files = MemberFiles {
                members: folder.join("members"),
                certificate,
                deny: Some(folder.join("deny")),
                groups: Vec::new(),
            };
            Arc::new(Members::from_files(identity.peer_id(), files).unwrap())
        })
    }
}

fn certificate_of(folder: &Path, identity: &NodeIdentity) -> PathBuf {
    folder.join(identity.peer_id().to_base58())
}

fn certify(folder: &Path, identity: &NodeIdentity, change: impl FnOnce(&mut MemberTerms)) {
    let text = certificate(&key(1), identity.peer_id(), change).to_string();
    peer::replace_file(&certificate_of(folder, identity), text.as_bytes()).unwrap();
}

async fn within_a_minute(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < MINUTE, "not so: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_put_on_the_deny_list_is_gone_within_a_minute_and_a_broken_list_changes_nothing() {
    let files = Files::new();
    let mut fleet = Fleet::letting_in(TransportKind::Tcp, Shaping::default(), files.letting()).await;
    fleet.add_many(1..=3).await;
    fleet.wait_joined(3).await;
    let denied = &fleet.hosts[&rig::member(2)];
    let seeder = &fleet.seeders[0].1;
    assert!(denied.endpoint().connections() >= 1);
    // What cannot be read is told, and nobody is denied by it, nor let in.
    std::fs::write(files.at("deny"), "not;a;name\n").unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(seeder.member_count(), 3);
    let name = identity(2).peer_id().to_base58();
    std::fs::write(files.at("deny"), format!("{name} # stolen\n")).unwrap();
    within_a_minute("the denied host is alone", || denied.endpoint().connections() == 0).await;
    // And stays so, while the others go on.
    let began = Instant::now();
    fleet.seed(&data(1 << 20), 64 << 10);
    fleet.wait_complete(2).await;
    while began.elapsed() < Duration::from_secs(8) {
        assert_eq!(denied.report().chunks_held, 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A list that is gone altogether is one that cannot be read.
    std::fs::remove_file(files.at("deny")).unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(denied.report().chunks_held, 0);
    // Who is taken off it comes back.
    std::fs::write(files.at("deny"), "").unwrap();
    fleet.wait_complete(3).await;
}

/// A host's certificate ends while its neighbours and it are in the middle of a build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_ends_in_mid_transfer_ends_the_host_s_part_and_a_new_one_takes_it_up_again() {
    let files = Files::new();
    let now = Moment::now();
    files.certify(2, |terms| terms.not_after = now.plus(Duration::from_secs(8)));
    let rate = ByteRate::from_bytes_per_second(200_000);
    let shaping = Shaping {
        uplink: rate,
        ..Shaping::default()
    };
    let mut fleet = Fleet::letting_in(TransportKind::Tcp, shaping, files.letting()).await;
    fleet.add_many(1..=2).await;
    fleet.wait_joined(2).await;
    // Some twenty seconds of the seeder's uplink.
    let manifest = fleet.seed(&data(4 << 20), 64 << 10);
    let ending = &fleet.hosts[&rig::member(2)];
    within_a_minute("it has begun", || ending.report().chunks_held > 2).await;
    within_a_minute("it is alone", || ending.endpoint().connections() == 0).await;
    assert!(
        ending.report().chunks_held < manifest.chunk_count(),
        "too fast for this test"
    );
    let (sent, held) = (ending.report().traffic.sent, ending.report().chunks_held);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        (ending.report().traffic.sent, ending.report().chunks_held),
        (sent, held)
    );
    // Without a restart.
    files.certify(2, |_| {});
    fleet.wait_complete(2).await;
}

/// Certificates are renewed before they end, and nothing is seen of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_renewed_in_time_costs_no_connection() {
    for kind in [TransportKind::Tcp, TransportKind::Quic] {
        let files = Files::new();
        let ends = Moment::now().plus(Duration::from_secs(14));
        for place in 0..=2 {
            files.certify(place, |terms| terms.not_after = ends);
        }
        let mut fleet = Fleet::letting_in(kind, Shaping::default(), files.letting()).await;
        fleet.add_many(1..=2).await;
        fleet.wait_joined(2).await;
        fleet.seed(&data(1 << 20), 64 << 10);
        fleet.wait_complete(2).await;
        for place in 0..=2 {
            files.certify(place, |_| {});
        }
        let nodes = || {
            fleet
                .hosts
                .values()
                .chain(fleet.seeders.iter().map(|(_, seeder)| seeder))
        };
        while Moment::now() < ends.plus(Duration::from_secs(7)) {
            assert!(
                nodes().all(|node| node.endpoint().connections() == 2),
                "a connection was lost"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// One key takes the place of another, on one member after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_key_takes_the_place_of_another_both_certify_and_then_the_new_one_alone() {
    let files = Files::new();
    let mut fleet = Fleet::letting_in(TransportKind::Tcp, Shaping::default(), files.letting()).await;
    fleet.add_many(1..=2).await;
    fleet.wait_joined(2).await;
    let both = format!("{} old\n{} new\n", key(1).public(), key(2).public());
    std::fs::write(files.at("members"), both).unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    for place in 0..=1 {
        let identity = identity(place);
        let text = certificate(&key(2), identity.peer_id(), |terms| {
            terms.not_after = terms.not_after.plus(Duration::from_secs(60));
        });
        std::fs::write(certificate_of(files.0.path(), &identity), text.to_string()).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(fleet.seeders[0].1.endpoint().connections(), 2);
    std::fs::write(files.at("members"), format!("{}\n", key(2).public())).unwrap();
    let left_behind = &fleet.hosts[&rig::member(2)];
    within_a_minute("who has the old one only is alone", || {
        left_behind.endpoint().connections() == 0
    })
    .await;
    fleet.seed(&data(1 << 20), 64 << 10);
    fleet.wait_complete(1).await;
    assert_eq!(left_behind.report().chunks_held, 0);
}
