//! How a TCP connection becomes one between members: with those that know less, with those that are not who they should be, and
//! with those that break it off in the middle.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod rig;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use peer::{
    Addresses, ChunkPool, Clock, Endpoint, EndpointConfig, Limits, Multiaddr, Node, NodeConfig, NodeIdentity, Role,
    Shaping, StoreOpener, TransportKind, host_of,
};
use rig::{Fleet, Seen, data};
use swarm::{Contact, PeerConfig, SwarmId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Everybody is content, whoever of them knows nothing but Noise and yamux.
async fn generations_mix(seeder: TransportKind) {
    let mut fleet = Fleet::start(seeder).await;
    for number in 1..=8 {
        fleet.transport = if number % 2 == 0 {
            TransportKind::Tcp
        } else {
            TransportKind::TcpNoise
        };
        fleet.add(number, StoreOpener::in_memory(fleet.pool.clone())).await;
    }
    fleet.wait_joined(8).await;
    let build = data(1_000_003);
    fleet.seed(&build, 64 << 10);
    fleet.wait_complete(8).await;
    let from_peers: u64 = fleet.seen.complete.lock().values().map(|t| t.from_peers).sum();
    assert!(
        from_peers > build.len() as u64,
        "hosts hardly helped each other: {from_peers}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_know_nothing_but_noise_and_yamux_still_join() {
    generations_mix(TransportKind::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_join_a_seeder_that_knows_nothing_but_noise_and_yamux() {
    generations_mix(TransportKind::TcpNoise).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_when_it_has_connected_keeps_nobody_out() {
    let mut fleet = Fleet::start(TransportKind::Tcp).await;
    let at = socket(&fleet.seeders[0].1.address());
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        // Some begin the negotiation and leave it there, some begin something that is none.
        let begun: &[u8] = [
            &b""[..],
            b"\x13/multistream/1.0.0\n",
            b"\x13/multi",
            b"GET / HTTP/1.1\r\n\r\n",
        ][number % 4];
        stream.write_all(begun).await.unwrap();
        silent.push(stream);
    }
    fleet.add_many(1..=3).await;
    fleet.wait_joined(3).await;
    fleet.seed(&data(300_000), 64 << 10);
    fleet.wait_complete(3).await;
    drop(silent);
}

fn socket(address: &Multiaddr) -> SocketAddr {
    let text = address.to_string();
    let mut parts = text.split('/').skip(2).step_by(2);
    format!("{}:{}", parts.next().unwrap(), parts.next().unwrap())
        .parse()
        .unwrap()
}

/// A host alone that is told to find its seeder at `address`.
async fn host_of_seeder_at(address: &Multiaddr, seen: &Arc<Seen>) -> Node {
    host_of_seeder_over(TransportKind::Tcp, address, seen).await
}

async fn host_of_seeder_over(transport: TransportKind, address: &Multiaddr, seen: &Arc<Seen>) -> Node {
    let own = EndpointConfig::on_loopback(NodeIdentity::random(), transport);
    let own = Endpoint::start(own).await.unwrap();
    let seeder = Contact {
        host: host_of(Addresses::of([address]).unwrap().peer()),
        address: Addresses::of([address]).unwrap().encode(),
    };
    own.join(NodeConfig {
        swarm: SwarmId::ONLY,
        shaping: Shaping::default(),
        limits: Limits::default(),
        store: StoreOpener::in_memory(ChunkPool::default()),
        role: Role::Host(Box::new(move |host, address| PeerConfig::new(host, address, seeder))),
        seed: 1,
        clock: Clock::start(),
        observer: Arc::<Seen>::clone(seen),
    })
}

/// The same peer, and another place where it is to be.
fn at_place(address: &Multiaddr, place: SocketAddr) -> Multiaddr {
    let text = address.to_string();
    let peer = text.split("/p2p/").nth(1).unwrap();
    format!("/ip4/{}/tcp/{}/p2p/{peer}", place.ip(), place.port())
        .parse()
        .unwrap()
}

/// The same place, and another peer that is to be there.
fn with_peer(address: &Multiaddr, peer: &NodeIdentity) -> Multiaddr {
    let text = address.to_string();
    let place = text.split("/p2p/").next().unwrap();
    format!("{place}/p2p/{}", peer.peer_id()).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_another_than_was_dialled_gets_nothing_and_gives_nothing() {
    for transport in [TransportKind::Tcp, TransportKind::TcpNoise] {
        let fleet = Fleet::start(transport).await;
        let seeder = &fleet.seeders[0].1;
        let seen = Arc::<Seen>::default();
        let elsewhere = with_peer(&seeder.address(), &NodeIdentity::random());
        let host = host_of_seeder_at(&elsewhere, &seen).await;
        fleet.seed(&data(100_000), 16 << 10);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(seen.joined.lock().is_empty() && seen.complete.lock().is_empty());
        assert_eq!((seeder.member_count(), host.root()), (0, None));
    }
}

/// How a path between two ends is broken.
#[derive(Clone, Copy, Debug)]
enum Break {
    /// Both sides get a reset.
    Reset,
    /// Who dialled sees the end of what comes; what it sends goes nowhere.
    HalfClose,
    /// Nothing more passes, and nobody is told: later both ends are closed.
    Silence,
}

/// Passes connections on to `to`; each but the last breaks when so many bytes have come back from there.
async fn breaking_path(to: SocketAddr, breaks: Vec<(usize, Break)>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, made) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&made);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let number = count.fetch_add(1, Ordering::Relaxed);
            let far = TcpStream::connect(to).await.unwrap();
            tokio::spawn(pass_on(near, far, breaks.get(number).copied()));
        }
    });
    (at, made)
}

async fn pass_on(mut near: TcpStream, mut far: TcpStream, breaks: Option<(usize, Break)>) {
    let Some((after, how)) = breaks else {
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        return;
    };
    let (mut near_in, mut near_out) = near.split();
    let (mut far_in, mut far_out) = far.split();
    let there = tokio::io::copy(&mut near_in, &mut far_out);
    let back = async {
        let mut left = after;
        let mut buffer = [0; 4096];
        while left > 0 {
            let most = left.min(buffer.len());
            match far_in.read(&mut buffer[..most]).await {
                Ok(count @ 1..) if near_out.write_all(&buffer[..count]).await.is_ok() => left -= count,
                _ => break,
            }
        }
        if matches!(how, Break::HalfClose) {
            let _ = near_out.shutdown().await;
        }
    };
    tokio::select! {
        () = back => {}
        _ = there => {}
    }
    match how {
        Break::Reset => {
            for stream in [&near, &far] {
                stream.set_zero_linger().unwrap();
            }
        }
        Break::HalfClose | Break::Silence => tokio::time::sleep(Duration::from_millis(300)).await,
    }
}

/// A host comes by its build over a path that breaks so often.
async fn comes_over(breaks: Vec<(usize, Break)>) {
    let fleet = Fleet::start(TransportKind::Tcp).await;
    let seeder = fleet.seeders[0].1.address();
    let (at, made) = breaking_path(socket(&seeder), breaks.clone()).await;
    fleet.seed(&data(700_001), 64 << 10);
    let seen = Arc::<Seen>::default();
    let _host = host_of_seeder_at(&at_place(&seeder, at), &seen).await;
    let what = format!("the build has come over {breaks:?}");
    seen.eventually(&what, |seen| !seen.complete.lock().is_empty()).await;
    assert!(made.load(Ordering::Relaxed) > 1, "{breaks:?}: the path was hardly used");
    assert!(
        seen.banned.lock().is_empty(),
        "{breaks:?}: somebody was banned for a broken path"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_anywhere_is_made_anew() {
    // Within the negotiation, within the handshake, behind it, and in the middle of frames and records.
    let after = [[1, 30, 150], [90, 250, 600], [20_000, 90_001, 300_007]];
    let hows = [Break::Reset, Break::HalfClose, Break::Silence];
    let paths = hows
        .into_iter()
        .flat_map(|how| after.map(|after| after.map(|after| (after, how)).to_vec()));
    futures::future::join_all(paths.map(comes_over)).await;
}

/// What a host and its seeder say to each other before anything is secured.
async fn said_openly(host: TransportKind) -> String {
    let fleet = Fleet::start(TransportKind::Tcp).await;
    let seeder = fleet.seeders[0].1.address();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = at_place(&seeder, listener.local_addr().unwrap());
    let seen = Arc::<Seen>::default();
    let _host = host_of_seeder_over(host, &at, &seen).await;
    let (mut near, _) = listener.accept().await.unwrap();
    let mut far = TcpStream::connect(socket(&seeder)).await.unwrap();
    let mut said = Vec::new();
    while seen.joined.lock().is_empty() {
        let (mut there, mut back) = ([0; 4096], [0; 4096]);
        tokio::select! {
            count = near.read(&mut there) => {
                let there = &there[..count.unwrap()];
                said.extend_from_slice(there);
                far.write_all(there).await.unwrap();
            }
            count = far.read(&mut back) => {
                let back = &back[..count.unwrap()];
                said.extend_from_slice(back);
                near.write_all(back).await.unwrap();
            }
            () = seen.news.notified() => {}
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_today_agree_on_tls_and_with_older_ones_on_noise() {
    let (today, older) = (
        said_openly(TransportKind::Tcp).await,
        said_openly(TransportKind::TcpNoise).await,
    );
    let times = |said: &str, name: &str| said.matches(name).count();
    // Whoever dials proposes it, and the other side repeats it.
    assert_eq!((times(&today, "/fleetcast/tls/1"), times(&today, "/noise")), (2, 0));
    assert_eq!((times(&older, "/fleetcast/tls/1"), times(&older, "/noise")), (0, 2));
    for said in [today, older] {
        assert!(
            !said.contains("stream/1\n") && !said.contains("yamux"),
            "what comes behind is no secret"
        );
    }
}
