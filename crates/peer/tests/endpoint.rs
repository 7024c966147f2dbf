//! One listener for several swarms: who dials says which one it means, a stranger is turned away, and who leaves is gone.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod rig;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peer::{
    Addresses, ChunkPool, ChunkStore, Clock, Endpoint, EndpointConfig, Limits, MemoryStore, Node, NodeConfig,
    NodeIdentity, Role, Shaping, StoreOpener, TransportKind, host_of,
};
use rig::{Seen, data};
use swarm::{Contact, Manifest, PeerConfig, SeederConfig, SwarmId};

const CHUNK: u32 = 16 << 10;
const BUILDS: u8 = 20;

async fn endpoint(transport: TransportKind) -> Endpoint {
    let identity = NodeIdentity::random();
    Endpoint::start(EndpointConfig::on_loopback(identity, transport))
        .await
        .unwrap()
}

fn swarm(build: u8) -> SwarmId {
    SwarmId::of_build("build.zip", &build.to_string())
}

fn bytes_of(build: u8) -> Vec<u8> {
    let mut bytes = data(200_000);
    bytes[0] = build;
    bytes
}

fn join(endpoint: &Endpoint, swarm: SwarmId, role: Role, store: StoreOpener, seen: &Arc<Seen>) -> Node {
    endpoint.join(NodeConfig {
        swarm,
        shaping: Shaping::default(),
        limits: Limits::default(),
        store,
        role,
        seed: 1,
        clock: Clock::start(),
        observer: Arc::<Seen>::clone(seen),
    })
}

fn seed(endpoint: &Endpoint, build: u8) -> Node {
    let role = Role::Seeder(SeederConfig::new(host_of(endpoint.peer_id())));
    let store = StoreOpener::in_memory(ChunkPool::default());
    let node = join(endpoint, swarm(build), role, store, &Arc::default());
    let bytes = bytes_of(build);
    let manifest = Arc::new(Manifest::of("build.zip", &bytes, CHUNK).unwrap());
    let store = MemoryStore::new(ChunkPool::default(), Arc::clone(&manifest));
    for (chunk, bytes) in manifest.chunks().zip(bytes.chunks(CHUNK as usize)) {
        store.keep(chunk, Bytes::copy_from_slice(bytes)).unwrap();
    }
    node.seed(manifest, Arc::new(store));
    node
}

fn fetch(endpoint: &Endpoint, seeder: &Endpoint, swarm: SwarmId, store: StoreOpener, seen: &Arc<Seen>) -> Node {
    let contact = Contact {
        host: host_of(seeder.peer_id()),
        address: Addresses::of(&seeder.addresses()).unwrap().encode(),
    };
    let role = Role::Host(Box::new(move |host, address| PeerConfig::new(host, address, contact)));
    join(endpoint, swarm, role, store, seen)
}

/// Each of two hosts fetches many builds from one seeder, all of them at one port a process.
async fn many_builds_share_a_port(transport: TransportKind) {
    let folder = tempfile::tempdir().unwrap();
    let seeder = endpoint(transport.clone()).await;
    let _seeding: Vec<Node> = (0..BUILDS).map(|build| seed(&seeder, build)).collect();
    let mut fetching = Vec::new();
    for host in 0..2 {
        let own = endpoint(transport.clone()).await;
        for build in 0..BUILDS {
            let out = folder.path().join(format!("{host}-{build}"));
            let (seen, store) = (Arc::<Seen>::default(), StoreOpener::on_disk(out.clone()));
            let node = fetch(&own, &seeder, swarm(build), store, &seen);
            fetching.push((node, seen, out, build));
        }
        assert_eq!(own.addresses().len(), 1, "one port, whatever the number of builds");
    }
    assert_eq!(seeder.addresses().len(), 1);
    for (_node, seen, out, build) in &fetching {
        seen.eventually("a build has come", |seen| !seen.complete.lock().is_empty())
            .await;
        assert!(std::fs::read(out).unwrap() == bytes_of(*build), "build {build}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_builds_share_a_port_over_tcp() {
    many_builds_share_a_port(TransportKind::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_builds_share_a_port_over_quic() {
    many_builds_share_a_port(TransportKind::Quic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_for_a_swarm_that_is_not_here_is_turned_away_and_comes_again_when_it_is() {
    let (seeder, own) = (endpoint(TransportKind::Tcp).await, endpoint(TransportKind::Tcp).await);
    let _other = seed(&seeder, 1);
    let seen = Arc::<Seen>::default();
    let store = StoreOpener::in_memory(ChunkPool::default());
    let _node = fetch(&own, &seeder, swarm(2), store, &seen);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(seen.complete.lock().is_empty(), "it was given another build");
    let _seeding = seed(&seeder, 2);
    seen.eventually("its build has come", |seen| !seen.complete.lock().is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_leaves_frees_its_place_and_its_connections() {
    let (seeder, own) = (endpoint(TransportKind::Tcp).await, endpoint(TransportKind::Tcp).await);
    let seeding = seed(&seeder, 1);
    let store = || StoreOpener::in_memory(ChunkPool::default());
    for round in 0..3 {
        let seen = Arc::<Seen>::default();
        let node = fetch(&own, &seeder, swarm(1), store(), &seen);
        seen.eventually("it has come", |seen| !seen.complete.lock().is_empty())
            .await;
        drop(node);
        let begun = tokio::time::Instant::now();
        while own.connections() + seeder.connections() > 0 {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "round {round}: connections are left"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    drop(seeding);
}
