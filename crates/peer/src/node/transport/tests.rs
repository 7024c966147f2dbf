use super::*;
use futures::{AsyncReadExt, FutureExt, StreamExt};
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportEvent};
use std::future::poll_fn;

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

const DIAL: DialOpts = DialOpts {
    role: Endpoint::Dialer,
    port_use: PortUse::New,
};

fn connections(kind: &TransportKind) -> (PeerId, Connections) {
    let keypair = Keypair::generate_ed25519();
    (
        keypair.public().to_peer_id(),
        build(kind, &keypair, None, None, None, None).unwrap(),
    )
}

async fn listening(transport: &mut Connections) -> Multiaddr {
    let at = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
    transport.listen_on(ListenerId::next(), at).unwrap();
    match transport.select_next_some().await {
        TransportEvent::NewAddress { listen_addr, .. } => listen_addr,
        other => panic!("{other:?}"),
    }
}

/// The two ends of a connection, of who dials and of who accepts, and the stream that the first has opened.
async fn connected(near: &TransportKind, far: &TransportKind) -> (StreamMuxerBox, SubstreamBox, StreamMuxerBox) {
    let ((a, mut near), (b, mut far)) = (connections(near), connections(far));
    let dialled = near.dial(listening(&mut far).await, DIAL).unwrap();
    let accepted = tokio::spawn(async move {
        loop {
            if let TransportEvent::Incoming { upgrade, .. } = far.select_next_some().await {
                return upgrade.await.unwrap();
            }
        }
    });
    let (of_b, mut near) = dialled.await.unwrap();
    // Where there is one protocol to agree on it is named with the first that is sent.
    let first = poll_fn(|cx| near.poll_outbound_unpin(cx)).await.unwrap();
    let progress = poll_fn(|cx| near.poll_unpin(cx).map(|event| panic!("{event:?}")));
    let (of_a, far) = tokio::select! {
        accepted = accepted => accepted.unwrap(),
        () = progress => unreachable!(),
    };
    assert_eq!((of_a, of_b), (a, b));
    (near, first, far)
}

/// Whether a second stream can be opened, once there is one.
fn has_streams(muxer: &mut StreamMuxerBox) -> bool {
    let second = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).now_or_never();
    second.is_some_and(|opened| opened.is_ok())
}

#[tokio::test]
async fn two_members_of_today_have_one_stream_and_all_others_as_many_as_they_open() {
    use TransportKind::{Tcp, TcpNoise, TcpStreams};
    let all = [Tcp, TcpStreams, TcpNoise];
    for near in &all {
        for far in &all {
            let (mut muxer, _first, _far) = connected(near, far).await;
            let expected = !matches!((near, far), (Tcp, Tcp));
            assert_eq!(has_streams(&mut muxer), expected, "{near:?} dials {far:?}");
        }
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_given_up_by_both_sides() {
    let patience = Duration::from_millis(200);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port());
    let keypair = Keypair::generate_ed25519();
    let mut transport = over_tcp(&keypair, None, None, patience).unwrap();
    assert!(transport.dial(at.parse().unwrap(), DIAL).unwrap().await.is_err());
    // Who connects and says a part of what is to be said, and no more.
    let at = listening(&mut transport).await.to_string();
    let port: u16 = at.rsplit('/').next().unwrap().parse().unwrap();
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(
        &mut { stream },
        b"\x13/multistream/1.0.0\n\x11/fleetcast/tls/1\n\x16\x03",
    )
    .await
    .unwrap();
    let accepted = loop {
        if let TransportEvent::Incoming { upgrade, .. } = transport.select_next_some().await {
            break upgrade.await;
        }
    };
    assert!(accepted.is_err());
}

#[tokio::test]
async fn a_member_that_ends_ends_its_connections() {
    let (mut near, stream, mut far) = connected(&TransportKind::Tcp, &TransportKind::Tcp).await;
    let mut other = poll_fn(|cx| far.poll_inbound_unpin(cx)).await.unwrap();
    poll_fn(|cx| near.poll_close_unpin(cx)).await.unwrap();
    assert_eq!(other.read(&mut [0; 1]).await.unwrap(), 0);
    drop((stream, other));
    assert!(poll_fn(|cx| far.poll_unpin(cx)).await.is_err());
}
