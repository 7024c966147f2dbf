//! Strangers that speak the wire format and mean harm, against nodes over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod rig;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Transport};
use libp2p::{identity, noise, tcp, yamux};
use peer::{Addresses, Multiaddr, TransportKind};
use rig::{Fleet, data};
use swarm::wire::{self, Frame};
use swarm::{BuildInfo, Manifest, Message, SwarmId};
use tokio::task::JoinHandle;

/// Who has a connection and no part in the fleet.
struct Stranger {
    stream: SubstreamBox,
    connection: JoinHandle<()>,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Stranger {
    /// One with a key of its own, at a node that listens there.
    async fn at(address: &Multiaddr) -> Self {
        Self::speaking(address, wire::PROTOCOL_NAME, wire::PROTOCOL_NAME).await
    }

    async fn connected(address: &Multiaddr) -> Self {
        let keypair = identity::Keypair::generate_ed25519();
        let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&keypair).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let opts = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let place = Addresses::of([address]).unwrap().at()[0].clone();
        let (_peer, mut muxer): (_, StreamMuxerBox) = transport.dial(place, opts).unwrap().await.unwrap();
        let stream = std::future::poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap();
        // A connection moves when its muxer is polled.
        let connection = tokio::spawn(async move {
            _ = std::future::poll_fn(|cx| Pin::new(&mut muxer).poll(cx)).await;
        });
        Self { stream, connection }
    }

    /// One that asks for a protocol, and is answered this.
    async fn speaking(address: &Multiaddr, protocol: &str, answer: &str) -> Self {
        let mut stranger = Self::connected(address).await;
        stranger.negotiate(protocol, answer).await;
        stranger
    }

    /// Agrees on a protocol, by hand: there is a length before each line.
    async fn negotiate(&mut self, protocol: &str, answer: &str) {
        for (name, answer) in [("/multistream/1.0.0", "/multistream/1.0.0"), (protocol, answer)] {
            let line = format!("{name}\n");
            let mut bytes = vec![u8::try_from(line.len()).unwrap()];
            bytes.extend_from_slice(line.as_bytes());
            self.stream.write_all(&bytes).await.unwrap();
            self.stream.flush().await.unwrap();
            let mut answered = vec![0; answer.len() + 2];
            self.stream.read_exact(&mut answered).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&answered[1..]).trim_end(), answer);
        }
    }

    async fn say(&mut self, message: Message) {
        let mut bytes = BytesMut::new();
        wire::encode(&Frame::Message(message), &mut bytes);
        // Whoever is shown the door may not be able to say more.
        _ = self.stream.write_all(&bytes).await;
        _ = self.stream.flush().await;
    }
}

/// Strangers that ask for the manifest as fast as they can, and read nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_the_manifest_without_end_and_does_not_read_fills_no_memory() {
    const STRANGERS: u64 = 20;
    const ASKS: usize = 2_000;
    let mut fleet = Fleet::start(TransportKind::Tcp).await;
    let manifest = fleet.seed(&data(8 << 20), 1 << 10);
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        let mut stranger = Stranger::at(&fleet.seeders[0].1.address()).await;
        stranger.say(Message::Hello { swarm: SwarmId::ONLY }).await;
        for _ in 0..ASKS {
            stranger.say(Message::ManifestRequest).await;
        }
        strangers.push(stranger);
    }
    // Those who are to have it do.
    fleet.add_many(1..=3).await;
    fleet.wait_complete(3).await;
    let sent = fleet.seeders[0].1.report().traffic.control_sent;
    // What the system's buffers of a connection take, and one more.
    let of_stranger = 4 * (1 << 20) + 2 * 32 * u64::from(manifest.chunk_count());
    assert!(
        sent < STRANGERS * of_stranger,
        "{} MiB were prepared for them",
        sent >> 20
    );
}

/// Strangers that ask for chunks, as those who hold nothing, and read none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_chunks_and_does_not_read_keeps_nobody_from_them() {
    let mut fleet = Fleet::start(TransportKind::Tcp).await;
    let manifest = fleet.seed(&data(16 << 20), 256 << 10);
    let mut strangers = Vec::new();
    for _ in 0..8 {
        let mut stranger = Stranger::at(&fleet.seeders[0].1.address()).await;
        stranger.say(Message::Hello { swarm: SwarmId::ONLY }).await;
        for chunk in 0..manifest.chunk_count() {
            stranger.say(Message::Request { chunk, held: 0 }).await;
        }
        strangers.push(stranger);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    fleet.add_many(1..=3).await;
    fleet.wait_complete(3).await;
    let took = began.elapsed();
    // A serving that moves nothing yields its slot after seconds, and not after two minutes.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// Neighbours that say they know the build and are silent about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_it_knows_the_build_and_does_not_tell_keeps_nobody_from_it() {
    let mut fleet = Fleet::start(TransportKind::Tcp).await;
    fleet.add_many(1..=3).await;
    fleet.wait_joined(3).await;
    let mut strangers = Vec::new();
    for host in fleet.hosts.values() {
        for _ in 0..8 {
            let mut stranger = Stranger::at(&host.address()).await;
            stranger.say(Message::Hello { swarm: SwarmId::ONLY }).await;
            stranger.say(Message::HaveAll).await;
            strangers.push(stranger);
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    fleet.seed(&data(1 << 20), 64 << 10);
    fleet.wait_complete(3).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(fleet.seen.banned.lock().is_empty());
}

/// Who speaks an older version would hear of builds without their signatures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_an_older_version_of_the_wire_format_is_told_that_nobody_does() {
    let fleet = Fleet::start(TransportKind::Tcp).await;
    let seeder = fleet.seeders[0].1.address();
    assert_eq!(wire::PROTOCOL_NAME, "/fleetcast/swarm/6");
    Stranger::speaking(&seeder, "/fleetcast/swarm/5", "na").await;
    Stranger::at(&seeder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_a_seeder_who_does_not_have_its_key() {
    let mut fleet = Fleet::start(TransportKind::Tcp).await;
    let (_, seeder) = fleet.seeders.remove(0);
    let mut contact = seeder.address();
    // The host does not find its seeder, and anybody finds the host.
    seeder.stop();
    drop(seeder);
    fleet.seeders.clear();
    let at = Addresses::of([&contact]).unwrap().encode();
    fleet.add_with_lost_seeder(1, &at).await;
    let host = fleet.hosts.values().next().unwrap();
    contact = host.address();
    let mut stranger = Stranger::at(&contact).await;
    stranger.say(Message::Hello { swarm: SwarmId::ONLY }).await;
    let forged = Manifest::of("build-1.zip", &data(100_000), 16 << 10).unwrap();
    let info = BuildInfo {
        root: forged.root(),
        build_id: forged.build_id().into(),
        signature: bytes::Bytes::new(),
    };
    stranger.say(Message::Build(Box::new(info))).await;
    stranger.say(Message::Manifest(Arc::new(forged))).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(host.root(), None, "it believes a stranger");
}
