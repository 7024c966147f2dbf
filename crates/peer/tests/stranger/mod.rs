//! Somebody who comes to a node of a closed swarm, over TCP or QUIC, and shows this or that there.

#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "helpers of tests, in a module of each"
)]
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::pin::Pin;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo, Version};
use libp2p::core::{Endpoint, Transport};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, quic, tcp, yamux};
use peer::{Addresses, Multiaddr, TransportKind};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What somebody shows who comes to a closed swarm.
#[derive(Clone, Debug)]
pub enum Shows {
    /// These bytes, behind their length.
    Text(Vec<u8>),
    /// These bytes alone.
    Raw(Vec<u8>),
    /// Nothing, without end.
    Nothing,
}

/// What came of it: the bytes that were answered until the connection ended.
pub type Answered = Vec<u8>;

/// Says when a connection is secured.
pub type Secured = mpsc::Sender<()>;

async fn show<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, shows: Shows, secured: &Secured) -> Answered {
    _ = secured.try_send(());
    let bytes = match shows {
        Shows::Text(text) => {
            let mut bytes = u16::try_from(text.len()).unwrap().to_le_bytes().to_vec();
            bytes.extend_from_slice(&text);
            bytes
        }
        Shows::Raw(bytes) => bytes,
        Shows::Nothing => Vec::new(),
    };
    // Who is shown the door may not be able to say all of it.
    _ = stream.write_all(&bytes).await;
    _ = stream.flush().await;
    let (mut answered, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        answered.extend_from_slice(&buffer[..count]);
        if answered[0] == LET_IN {
            break;
        }
    }
    answered
}

/// Noise as those of a closed swarm negotiate it, who shows something then and tells what is answered.
#[derive(Clone)]
struct ClosedNoise {
    noise: noise::Config,
    shows: Shows,
    secured: Secured,
    answered: mpsc::Sender<Answered>,
}

impl UpgradeInfo for ClosedNoise {
    type Info = &'static str;
    type InfoIter = [&'static str; 1];

    fn protocol_info(&self) -> Self::InfoIter {
        ["/noise/members/1"]
    }
}

type Upgrading<T> = Pin<Box<dyn Future<Output = Result<T, noise::Error>> + Send>>;

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for ClosedNoise {
    type Output = (PeerId, noise::Output<C>);
    type Error = noise::Error;
    type Future = Upgrading<Self::Output>;

    fn upgrade_outbound(self, socket: C, _name: &'static str) -> Self::Future {
        Box::pin(async move {
            let (peer, mut stream) = self.noise.upgrade_outbound(socket, "/noise").await?;
            let answered = show(&mut stream, self.shows, &self.secured).await;
            _ = self.answered.try_send(answered);
            Ok((peer, stream))
        })
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for ClosedNoise {
    type Output = (PeerId, noise::Output<C>);
    type Error = noise::Error;
    type Future = Upgrading<Self::Output>;

    fn upgrade_inbound(self, _socket: C, _name: &'static str) -> Self::Future {
        unreachable!("nobody dials a stranger")
    }
}

/// What those are answered first who are let in.
pub const LET_IN: u8 = 0;

const DIAL: DialOpts = DialOpts {
    role: Endpoint::Dialer,
    port_use: PortUse::New,
};

/// Comes with this key and shows that; what is answered until the connection ends.
pub async fn come(address: &Multiaddr, keypair: &Keypair, shows: Shows) -> Answered {
    let (secured, _) = mpsc::channel(1);
    come_and_tell(address, keypair, shows, secured).await
}

/// Comes with a key of its own and says nothing, for as long as it may. Returns when the connection is secured.
pub async fn come_silently(address: &Multiaddr) -> JoinHandle<Answered> {
    let (secured, mut is_secured) = mpsc::channel(1);
    let address = address.clone();
    let coming = tokio::spawn(async move {
        let keypair = Keypair::generate_ed25519();
        come_and_tell(&address, &keypair, Shows::Nothing, secured).await
    });
    is_secured.recv().await;
    coming
}

async fn come_and_tell(address: &Multiaddr, keypair: &Keypair, shows: Shows, secured: Secured) -> Answered {
    let place = Addresses::of([address]).unwrap().at()[0].clone();
    if matches!(TransportKind::of(address), TransportKind::Quic) {
        let mut transport = quic::tokio::Transport::new(quic::Config::new(keypair))
            .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
            .boxed();
        let (_, mut muxer) = transport.dial(place, DIAL).unwrap().await.unwrap();
        let Ok(mut stream) = std::future::poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await else {
            return Vec::new();
        };
        return show(&mut stream, shows, &secured).await;
    }
    let (answered, mut answers) = mpsc::channel(1);
    let security = ClosedNoise {
        noise: noise::Config::new(keypair).unwrap(),
        shows,
        secured,
        answered,
    };
    let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
        .upgrade(Version::V1)
        .authenticate(security)
        .multiplex(yamux::Config::default())
        .boxed();
    _ = transport.dial(place, DIAL).unwrap().await;
    answers.recv().await.unwrap_or_default()
}
