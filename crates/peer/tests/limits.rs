//! What a process may send and receive is held for all its swarms together.
//!
//! Method: two builds move at once between two processes' worth of nodes, one side of which shares a limit. Bytes of verified chunks are
//! counted at the hosts between two moments ten seconds apart, after what buffers hold has filled them. No window may have more than the
//! rate and two percent. A machine that is busy with other things may keep bytes back, so one window of three has to have as much
//! as the rate less two percent.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod limit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use limit::{Limit, until};
use peer::{
    Addresses, ChunkPool, ChunkStore, Clock, Endpoint, EndpointConfig, Limits, MemoryStore, Node, NodeConfig,
    NodeIdentity, Observer, Role, Shaping, SharedLink, StoreOpener, TransportKind, host_of,
};
use swarm::{ByteRate, Contact, Manifest, PeerConfig, SeederConfig, SwarmId};

const CHUNK: u32 = 64 << 10;
const RATE: u64 = 4_000_000;
/// Of each build: both have not come after three windows.
const BUILD: usize = 80_000_000;
const WINDOW: Duration = Duration::from_secs(10);
/// What sockets and muxers hold at most before anything else is held back.
const BUFFERED: u64 = 8_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

struct Deaf;

impl Observer for Deaf {}

fn links(up: Option<&SharedLink>, down: Option<&SharedLink>) -> Shaping {
    Shaping {
        shared_up: up.cloned(),
        shared_down: down.cloned(),
        ..Shaping::default()
    }
}

async fn endpoint() -> Endpoint {
    let config = EndpointConfig::on_loopback(NodeIdentity::random(), TransportKind::Tcp);
    Endpoint::start(config).await.unwrap()
}

fn join(endpoint: &Endpoint, swarm: SwarmId, shaping: Shaping, role: Role) -> Node {
    endpoint.join(NodeConfig {
        swarm,
        shaping,
        limits: Limits::default(),
        store: StoreOpener::in_memory(ChunkPool::default()),
        role,
        seed: 1,
        clock: Clock::start(),
        observer: Arc::new(Deaf),
    })
}

/// Two swarms that share both endpoints; their hosts.
async fn swarms(up: Option<&SharedLink>, down: Option<&SharedLink>) -> (Vec<Node>, Vec<Node>) {
    let (of_seeders, of_hosts) = (endpoint().await, endpoint().await);
    let (mut seeders, mut hosts) = (Vec::new(), Vec::new());
    for key in ["a.zip", "b.zip"] {
        let swarm = SwarmId::of_build(key, "1");
        let number = host_of(of_seeders.peer_id());
        let seeder = join(
            &of_seeders,
            swarm,
            links(up, None),
            Role::Seeder(SeederConfig::new(number)),
        );
        let build = vec![key.as_bytes()[0]; BUILD];
        let manifest = Arc::new(Manifest::of(key, &build, CHUNK).unwrap());
        let store = MemoryStore::new(ChunkPool::default(), Arc::clone(&manifest));
        for (chunk, bytes) in manifest.chunks().zip(build.chunks(CHUNK as usize)) {
            store.keep(chunk, Bytes::copy_from_slice(bytes)).unwrap();
        }
        seeder.seed(manifest, Arc::new(store));
        let at = Addresses::new(of_seeders.peer_id(), of_seeders.addresses());
        let contact = Contact {
            host: number,
            address: at.encode(),
        };
        let configure = move |host, address| PeerConfig::with_seeders(host, address, vec![contact]);
        hosts.push(join(
            &of_hosts,
            swarm,
            links(None, down),
            Role::Host(Box::new(configure)),
        ));
        seeders.push(seeder);
    }
    (seeders, hosts)
}

fn received(hosts: &[Node]) -> u64 {
    hosts.iter().map(|host| host.report().traffic.from_seeder).sum()
}

/// Bytes a second in a window from now on.
async fn rate(hosts: &[Node]) -> f64 {
    let (from, before) = (Instant::now(), received(hosts));
    until(PATIENCE, "the window is over", || from.elapsed() >= WINDOW).await;
    let (bytes, seconds) = (received(hosts) - before, from.elapsed().as_secs_f64());
    bytes as f64 / seconds
}

async fn holds(hosts: &[Node], limit: u64) {
    until(PATIENCE, "buffers are full", || received(hosts) >= BUFFERED).await;
    for left in (0..3).rev() {
        let share = rate(hosts).await / limit as f64;
        assert!(share <= 1.02, "{share:.4} of the rate");
        if share >= 0.98 {
            return;
        }
        assert!(left > 0, "{share:.4} of the rate in the last of three windows");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_sends_is_held_within_two_percent_over_ten_seconds() {
    let _limit = Limit::start(None);
    let up = SharedLink::new(ByteRate::from_bytes_per_second(RATE));
    let (_seeders, hosts) = swarms(Some(&up), None).await;
    holds(&hosts, RATE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_receives_is_held_within_two_percent_over_ten_seconds() {
    let _limit = Limit::start(None);
    let down = SharedLink::new(ByteRate::from_bytes_per_second(RATE));
    let (_seeders, hosts) = swarms(None, Some(&down)).await;
    holds(&hosts, RATE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_lifted_holds_nothing_back() {
    let _limit = Limit::start(None);
    let down = SharedLink::new(ByteRate::from_bytes_per_second(RATE));
    let (_seeders, hosts) = swarms(None, Some(&down)).await;
    until(PATIENCE, "some of it has come", || received(&hosts) > 1_000_000).await;
    down.set_rate(None);
    // At the rate it was, that would take as long as this waits, and more.
    until(Duration::from_secs(30), "all of it has come", || {
        received(&hosts) >= 2 * BUILD as u64
    })
    .await;
}
