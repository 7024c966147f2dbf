//! The `peer` binary as a host runs it: a seeder's address in, a file out, exit codes that a script can use.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod rig;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use peer::{
    ChunkPool, ChunkStore, Clock, DirectoryServer, EndpointConfig, Limits, MemoryStore, Multiaddr, Node, NodeConfig,
    NodeIdentity, Role, SeededBuild, Shaping, StoreOpener, TransportKind,
};
use rig::{Seen, data};
use swarm::{Manifest, SeederConfig, SwarmId};

async fn seeder(transport: TransportKind, build: &[u8]) -> Node {
    seeder_of(transport, build, (0, 1)).await
}

async fn seeder_of(transport: TransportKind, build: &[u8], part: (u32, u32)) -> Node {
    seeder_in(SwarmId::ONLY, transport, build, part).await
}

async fn seeder_in(swarm: SwarmId, transport: TransportKind, build: &[u8], part: (u32, u32)) -> Node {
    let identity = NodeIdentity::random();
    let host = identity.host();
    let listen = rig::listen(&transport, host);
    let node = Node::start(
        EndpointConfig::at(identity, transport, listen),
        NodeConfig {
            swarm,
            host,
            shaping: Shaping::default(),
            limits: Limits::default(),
            store: StoreOpener::in_memory(ChunkPool::default()),
            role: Role::Seeder(SeederConfig {
                part,
                ..SeederConfig::new(host)
            }),
            seed: 1,
            clock: Clock::start(),
            observer: Arc::new(Seen::default()),
        },
    )
    .await
    .unwrap();
    let manifest = Arc::new(Manifest::of("build-1.zip", build, 64 << 10).unwrap());
    let store = MemoryStore::new(ChunkPool::default(), Arc::clone(&manifest));
    for (chunk, bytes) in manifest.chunks().zip(build.chunks(64 << 10)) {
        store.keep(chunk, Bytes::copy_from_slice(bytes)).unwrap();
    }
    node.seed(manifest, Arc::new(store));
    node
}

async fn fetch(seeder: &Multiaddr, out: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
    command
        .args(["--seeder", &seeder.to_string(), "--out", &out.display().to_string()])
        .args(more);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

async fn a_peer_fetches_over(transport: TransportKind) {
    let folder = tempfile::tempdir().unwrap();
    let build = data(700_001);
    let seeder = seeder(transport, &build).await;
    let out = folder.path().join("app.zip");
    let output = fetch(&seeder.address(), &out, &["--timeout", "60"]).await;
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
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
    let folder = tempfile::tempdir().unwrap();
    let build = data(2_000_001);
    let first = seeder_of(TransportKind::Tcp, &build, (0, 2)).await;
    let second = seeder_of(TransportKind::Tcp, &build, (1, 2)).await;
    for name in ["both.zip", "one.zip"] {
        let out = folder.path().join(name);
        let more = ["--seeder", &second.address().to_string(), "--timeout", "60"];
        let output = fetch(&first.address(), &out, &more).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{name}: {said}");
        assert!(std::fs::read(&out).unwrap() == build, "{name}");
        first.stop();
    }
    assert!(
        second.report().traffic.sent > build.len() as u64,
        "it sent all of the second"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_follows_a_directory_and_keeps_every_build_that_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let identity = NodeIdentity::kept_in(&folder.path().join("state/directory.key")).unwrap();
    let listen: Multiaddr = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
    let directory = DirectoryServer::start(EndpointConfig::at(identity, TransportKind::Tcp, listen))
        .await
        .unwrap();
    let address = directory.endpoint().addresses().remove(0);
    let builds = folder.path().join("builds");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_peer"))
        .args(["--directory", &address.to_string(), "--folder"])
        .arg(&builds)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(agent.stdout.take().unwrap()).lines();
    let reading = tokio::task::spawn_blocking(move || lines.take(2).map(Result::unwrap).collect::<Vec<String>>());
    let listed = |key: &str, seeder: &Node, version: &str| SeededBuild {
        key: key.to_owned(),
        version: version.to_owned(),
        seeders: vec![seeder.address()],
        size: 0,
    };
    let (first, second) = (data(300_000), data(200_000));
    let of_first = seeder_in(SwarmId::of_build("one.zip", "1"), TransportKind::Tcp, &first, (0, 1)).await;
    let of_second = seeder_in(
        SwarmId::of_build("apps/two.zip", "1"),
        TransportKind::Tcp,
        &second,
        (0, 1),
    )
    .await;
    let escaping = listed("../out.zip", &of_second, "1");
    directory.publish(vec![listed("one.zip", &of_first, "1"), escaping]);
    let begun = Instant::now();
    while !builds.join("one.zip").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the first did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(std::fs::read(builds.join("one.zip")).unwrap() == first);
    // The directory is restarted where it was, with the key that was kept, and lists another build.
    drop(directory);
    let listen: Multiaddr = address.to_string().rsplit_once("/p2p/").unwrap().0.parse().unwrap();
    let identity = NodeIdentity::kept_in(&folder.path().join("state/directory.key")).unwrap();
    let directory = loop {
        match DirectoryServer::start(EndpointConfig::at(identity.clone(), TransportKind::Tcp, listen.clone())).await {
            Ok(directory) => break directory,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(directory.endpoint().addresses(), [address]);
    directory.publish(vec![listed("apps/two.zip", &of_second, "1")]);
    let lines = tokio::time::timeout(Duration::from_secs(60), reading)
        .await
        .unwrap()
        .unwrap();
    assert!(
        lines[0].starts_with("one.zip ") && lines[0].ends_with("builds/one.zip"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("apps/two.zip "), "{lines:?}");
    assert!(std::fs::read(builds.join("apps/two.zip")).unwrap() == second);
    assert!(!folder.path().join("out.zip").exists(), "a key led out of the folder");
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_that_is_not_there_and_an_address_without_an_identity_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("app.zip");
    let nobody = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", NodeIdentity::random().peer_id());
    let output = fetch(&nobody.parse().unwrap(), &out, &["--timeout", "1"]).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not complete after 1 s"));
    let output = fetch(&"/ip4/127.0.0.1/tcp/1".parse().unwrap(), &out, &[]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/p2p/"));
    assert!(!out.exists());
}
