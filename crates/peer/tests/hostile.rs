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
use peer::{Addresses, DirectoryServer, EndpointConfig, Multiaddr, NodeIdentity, TransportKind};
use rig::{Fleet, data};
use swarm::wire::{self, DataHeader, Frame};
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
        Self::as_peer(address, &identity::Keypair::generate_ed25519()).await
    }

    async fn as_peer(address: &Multiaddr, keypair: &identity::Keypair) -> Self {
        let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(keypair).unwrap())
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
    assert_eq!(wire::PROTOCOL_NAME, "/fleetcast/swarm/7");
    Stranger::speaking(&seeder, "/fleetcast/swarm/6", "na").await;
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

/// Bytes that a stranger gets rid of until the connection ends, of so many at most.
async fn pour(stranger: &mut Stranger, bytes: &[u8], most: usize) -> usize {
    let mut sent = 0;
    while sent < most {
        match tokio::time::timeout(Duration::from_secs(5), stranger.stream.write_all(bytes)).await {
            Ok(Ok(())) => sent += bytes.len(),
            Ok(Err(_ended)) => break,
            Err(_stuck) => panic!("it is neither read nor ended after {sent} bytes"),
        }
    }
    sent
}

/// Chunks that nobody asked for use the downlink whether they are kept or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_chunks_that_nobody_asked_for_is_shown_the_door() {
    const MOST: usize = 256 << 20;
    let mut fleet = Fleet::start(TransportKind::Tcp).await;
    fleet.add_many(1..=2).await;
    let manifest = fleet.seed(&data(8 << 20), 256 << 10);
    fleet.wait_complete(2).await;
    let nodes = fleet
        .hosts
        .values()
        .chain(fleet.seeders.iter().map(|(_, seeder)| seeder));
    for node in nodes {
        let mut stranger = Stranger::at(&node.address()).await;
        stranger.say(Message::Hello { swarm: SwarmId::ONLY }).await;
        stranger.say(Message::HaveAll).await;
        let mut segment = BytesMut::new();
        let length = 64 << 10;
        let header = DataHeader {
            chunk: manifest.chunk_count() - 1,
            offset: 0,
            length,
        };
        wire::encode(&Frame::Data(header), &mut segment);
        segment.extend_from_slice(&vec![7; length as usize]);
        let sent = pour(&mut stranger, &segment, MOST).await;
        // What the buffers of a connection take on both sides.
        assert!(sent < 16 << 20, "{} MiB were taken", sent >> 20);
    }
}

/// A frame may be as long as a manifest, where one was asked for; nobody keeps the beginning of one from anybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_a_long_frame_without_having_been_asked_is_shown_the_door() {
    let mut fleet = Fleet::start(TransportKind::Tcp).await;
    fleet.add_many(1..=1).await;
    fleet.seed(&data(1 << 20), 64 << 10);
    fleet.wait_complete(1).await;
    let nodes = fleet
        .hosts
        .values()
        .chain(fleet.seeders.iter().map(|(_, seeder)| seeder));
    let long = u32::try_from(wire::FRAME_LENGTH_MAX).unwrap().to_le_bytes();
    for node in nodes {
        // Before the hello, and after it.
        for says_hello in [false, true] {
            let mut stranger = Stranger::at(&node.address()).await;
            if says_hello {
                stranger.say(Message::Hello { swarm: SwarmId::ONLY }).await;
            }
            let before = Instant::now();
            _ = stranger.stream.write_all(&long).await;
            _ = stranger.stream.write_all(&[6; 1000]).await;
            _ = stranger.stream.flush().await;
            let mut answered = [0; 4096];
            let ended = async { while let Ok(1..) = stranger.stream.read(&mut answered).await {} };
            let ended = tokio::time::timeout(Duration::from_secs(5), ended).await;
            assert!(
                ended.is_ok(),
                "after {:?} it is still there, hello {says_hello}",
                before.elapsed()
            );
        }
    }
}

/// Connections without a stream, and with one on which nothing is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_on_a_connection_is_gone_after_ten_seconds() {
    let fleet = Fleet::start(TransportKind::Tcp).await;
    let node = &fleet.seeders[0].1;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(Stranger::connected(&node.address()).await);
        silent.push(Stranger::at(&node.address()).await);
    }
    assert!(node.endpoint().connections() >= 19);
    let began = Instant::now();
    while node.endpoint().connections() > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{}",
            node.endpoint().connections()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(7), "{:?}", began.elapsed());
}

/// One key, and connections without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_peer_has_so_many_connections_and_no_more() {
    let fleet = Fleet::start(TransportKind::Tcp).await;
    let node = &fleet.seeders[0].1;
    let keypair = identity::Keypair::generate_ed25519();
    let mut connections = Vec::new();
    for _ in 0..300 {
        connections.push(Stranger::as_peer(&node.address(), &keypair).await);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let there = node.endpoint().connections();
    assert!((64..200).contains(&there), "{there} connections of one peer");
}

/// A member says that it is where somebody else is: on an address that is not the one from which it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_sent_to_a_bystander() {
    let mut fleet = Fleet::start(TransportKind::Tcp).await;
    let bystander = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = bystander.local_addr().unwrap().port();
    let mut strangers = Vec::new();
    for number in 0..4 {
        let keypair = identity::Keypair::generate_ed25519();
        let mut stranger = Stranger::as_peer(&fleet.seeders[0].1.address(), &keypair).await;
        stranger.negotiate(wire::PROTOCOL_NAME, wire::PROTOCOL_NAME).await;
        stranger.say(Message::Hello { swarm: SwarmId::ONLY }).await;
        let at = [
            format!("/ip4/127.0.0.2/tcp/{port}"),
            format!("/dns4/localhost{number}/tcp/{port}"),
            format!("/ip4/169.254.1.1/tcp/{port}"),
        ];
        let at = at.iter().map(|address| address.parse().unwrap());
        let address = Addresses::new(keypair.public().to_peer_id(), at).encode();
        let announce = Message::Announce {
            address,
            wanted: 0,
            complete: false,
            zone: None,
            links: Box::default(),
        };
        stranger.say(announce).await;
        strangers.push(stranger);
    }
    fleet.add_many(1..=4).await;
    fleet.wait_joined(4).await;
    fleet.seed(&data(1 << 20), 64 << 10);
    fleet.wait_complete(4).await;
    let came = tokio::time::timeout(Duration::from_secs(2), bystander.accept()).await;
    assert!(came.is_err(), "somebody was sent to the bystander: {came:?}");
}

/// A question to a directory is a number and a certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_a_directory_at_length_is_not_heard_out() {
    let directory = EndpointConfig::on_loopback(NodeIdentity::random(), TransportKind::Tcp);
    let directory = DirectoryServer::start(directory).await.unwrap();
    directory.publish(Vec::new());
    let address = directory.endpoint().addresses().remove(0);
    let mut stranger = Stranger::speaking(&address, "/fleetcast/builds/1", "/fleetcast/builds/1").await;
    stranger.stream.write_all(b"{\"known\":null,\"more\":\"").await.unwrap();
    let sent = pour(&mut stranger, &[b'x'; 4096], 64 << 20).await;
    assert!(sent < 2 << 20, "{} KiB were taken", sent >> 10);
    assert_eq!(directory.followers(), 0);
    // Who asks as it is meant is answered all the same.
    let mut follower = Stranger::speaking(&address, "/fleetcast/builds/1", "/fleetcast/builds/1").await;
    follower.stream.write_all(b"{\"known\":null}").await.unwrap();
    follower.stream.close().await.unwrap();
    let mut answer = String::new();
    follower.stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\"builds\":[]"), "{answer}");
}
