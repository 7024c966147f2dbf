//! The `peer` binary as a host runs it: a seeder's address in, a file out, exit codes that a script can use.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;

use std::time::{Duration, Instant};

use peer::{Multiaddr, NodeIdentity, SeededBuild, TransportKind};
use region::limit::Limit;
use region::{Host, Seeder, Seeding, data, directory};
use swarm::{Part, SwarmId};

/// A seeder of one build, as `seeder --key` is.
async fn seeder(transport: TransportKind, build: &[u8], part: Part) -> Seeder {
    let seeding = Seeding {
        transport: Some(transport),
        part: Some(part),
        swarm: Some(SwarmId::ONLY),
        ..Seeding::default()
    };
    Seeder::with("build-1.zip", "only", build, seeding).await
}

async fn a_peer_fetches_over(transport: TransportKind) {
    let _limit = Limit::start(None);
    let folder = tempfile::tempdir().unwrap();
    let build = data(1, 700_001);
    let seeder = seeder(transport, &build, Part::WHOLE).await;
    let out = folder.path().join("app.zip");
    let mut host = Host::single(&[&seeder], &out, &[]);
    assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
    assert!(std::fs::read(&out).unwrap() == build);
    assert!(!folder.path().join("app.zip.part").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_fetches_over_tcp() {
    a_peer_fetches_over(TransportKind::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_fetches_over_quic() {
    a_peer_fetches_over(TransportKind::Quic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_fetches_from_two_seeders_and_from_the_one_that_is_left() {
    let _limit = Limit::start(None);
    let folder = tempfile::tempdir().unwrap();
    let build = data(1, 2_000_001);
    let first = seeder(TransportKind::Tcp, &build, Part::new(0, 2).unwrap()).await;
    let second = seeder(TransportKind::Tcp, &build, Part::new(1, 2).unwrap()).await;
    for name in ["both.zip", "one.zip"] {
        let out = folder.path().join(name);
        let mut host = Host::single(&[&first, &second], &out, &[]);
        assert_eq!(host.ends().await.0, Some(0), "{name}: {}", host.said());
        assert!(std::fs::read(&out).unwrap() == build, "{name}");
        first.node.stop();
    }
    assert!(
        second.node.report().traffic.sent > build.len() as u64,
        "it sent all of the second"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_follows_a_directory_and_keeps_every_build_that_is_listed() {
    let _limit = Limit::start(None);
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("state/directory.key");
    let first_directory = directory(&NodeIdentity::kept_in(&key).unwrap(), "/ip4/127.0.0.1/tcp/0").await;
    let address = first_directory.endpoint().addresses().remove(0);
    let builds = folder.path().join("builds");
    let mut host = Host::start(&[
        "--directory",
        &address.to_string(),
        "--folder",
        builds.to_str().unwrap(),
    ]);
    let (first, second) = (data(1, 300_000), data(2, 200_000));
    let of_first = Seeder::start("one.zip", "1", &first).await;
    let of_second = Seeder::start("apps/two.zip", "1", &second).await;
    let escaping = SeededBuild {
        key: "../out.zip".to_owned(),
        ..of_second.listed()
    };
    first_directory.publish(vec![of_first.listed(), escaping]);
    host.until("the first has come", |_| builds.join("one.zip").exists())
        .await;
    assert!(std::fs::read(builds.join("one.zip")).unwrap() == first);
    // The directory is restarted where it was, with the key that was kept, and lists another build.
    drop(first_directory);
    let listen = address.to_string().rsplit_once("/p2p/").unwrap().0.to_owned();
    let second_directory = directory(&NodeIdentity::kept_in(&key).unwrap(), &listen).await;
    assert_eq!(second_directory.endpoint().addresses(), [address]);
    second_directory.publish(vec![of_second.listed()]);
    host.until("two lines", |host| host.lines().len() == 2).await;
    let lines = host.lines();
    assert!(
        lines[0].starts_with("one.zip ") && lines[0].ends_with("builds/one.zip"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("apps/two.zip "), "{lines:?}");
    assert!(std::fs::read(builds.join("apps/two.zip")).unwrap() == second);
    assert!(!folder.path().join("out.zip").exists(), "a key led out of the folder");
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_that_is_not_there_and_an_address_without_an_identity_are_told_apart() {
    let _limit = Limit::start(None);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("app.zip");
    let fetch = |seeder: &str| Host::start(&["--seeder", seeder, "--out", out.to_str().unwrap(), "--timeout", "1"]);
    let nobody: Multiaddr = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", NodeIdentity::random().peer_id())
        .parse()
        .unwrap();
    let mut host = fetch(&nobody.to_string());
    assert_eq!(host.ends().await.0, Some(3));
    assert!(host.said().contains("not complete after 1 s"), "{}", host.said());
    let mut host = fetch("/ip4/127.0.0.1/tcp/1");
    assert_eq!(host.ends().await.0, Some(2));
    assert!(host.said().contains("/p2p/"), "{}", host.said());
    assert!(!out.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_no_faster_than_it_is_told() {
    let _limit = Limit::start(None);
    let folder = tempfile::tempdir().unwrap();
    let build = data(1, 3_000_000);
    let seeder = seeder(TransportKind::Tcp, &build, Part::WHOLE).await;
    let out = folder.path().join("app.zip");
    let begun = Instant::now();
    let mut host = Host::single(&[&seeder], &out, &["--download-rate", "8 Mbit/s"]);
    assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
    // Three seconds, less the twentieth of one that the limit makes up for; how much longer it takes is of no matter.
    assert!(begun.elapsed() >= Duration::from_millis(2_900), "{:?}", begun.elapsed());
    let mut host = Host::single(&[&seeder], &out, &["--download-rate", "fast"]);
    assert_eq!(host.ends().await.0, Some(2));
    assert!(
        host.said().contains("expected a rate of at least 512 kbit/s"),
        "{}",
        host.said()
    );
}
