//! How peers reach each other: the four transports behind one type.

mod admission;
mod delayed;
mod handover;
mod in_process;
mod large_reads;
mod muxer;
mod one_stream;
mod path;
mod path_faults;
mod pipe;
#[cfg(feature = "quic")]
mod quic;
mod socket;
mod tls;

use std::io;
use std::time::Duration;

use crate::traffic_class::TrafficClass;
use libp2p::core::Transport;
use libp2p::core::multiaddr::Protocol;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, MemoryTransport};
use libp2p::core::upgrade::{SelectUpgrade, Version};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, noise, plaintext, tcp, yamux};

use admission::Admitting;
use delayed::Delayed;
use large_reads::LargeReads;
use one_stream::OneStream;
use socket::Socket;
use tls::{Security, SecurityError};

pub(crate) use admission::Admission;
pub(crate) use handover::{Arrived, read_shared, write_shared};
pub use in_process::InProcessNetwork;
pub use path::PathDelay;
pub use path_faults::{PathFaults, PathState};
pub(crate) use socket::poll_through;

/// Which transport a node uses.
#[derive(Clone, Debug)]
pub enum TransportKind {
    /// Ours, between the peers of one process: cheap, without encryption or proof of identity.
    InProcess(InProcessNetwork),
    /// libp2p's memory transport with plaintext and yamux: the reference for the one above.
    Memory,
    /// TCP with TLS 1.3, one stream a connection; with Noise and yamux where the other side knows nothing else.
    Tcp,
    /// TCP with TLS 1.3, streams as they are needed: for who follows a directory.
    TcpStreams,
    /// TCP with Noise and yamux alone, as members were that knew nothing else.
    TcpNoise,
    /// QUIC.
    Quic,
}

impl TransportKind {
    /// What an address of a host on the network is for: QUIC where it says so, else TCP.
    pub fn of(address: &Multiaddr) -> Self {
        let is_quic = address.iter().any(|part| matches!(part, Protocol::QuicV1));
        if is_quic { Self::Quic } else { Self::Tcp }
    }
}

impl TransportKind {
    /// Whether connections are secured by us, on one stream of bytes.
    const fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp | Self::TcpStreams | Self::TcpNoise)
    }

    /// Any port of `ip`, which is written as a multiaddr, such as `/ip4/127.0.0.1`.
    ///
    /// # Panics
    /// Where that is none.
    pub(crate) fn any_port(&self, ip: &str) -> Multiaddr {
        let address = match self {
            Self::InProcess(_) | Self::Memory => "/memory/0".to_owned(),
            Self::Tcp | Self::TcpStreams | Self::TcpNoise => format!("{ip}/tcp/0"),
            Self::Quic => format!("{ip}/udp/0/quic-v1"),
        };
        address.parse().expect("written as a multiaddr by the caller")
    }
}

/// A transport could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// The identity does not make a Noise key.
    #[error("failed to make the Noise key of this peer")]
    Noise(#[from] noise::Error),
    /// The identity makes no key for TLS, or none for Noise.
    #[error("failed to make the keys of this peer")]
    Security(#[from] SecurityError),
    /// The program is built without it.
    #[cfg(not(feature = "quic"))]
    #[error("this program is built without QUIC; expected TCP, or a build with `--features quic`")]
    NoQuic,
}

/// The transport of the peer with this identity, to hosts that are a delay away where a path is given, and over paths that may break
/// where these are.
pub(crate) fn build(
    kind: &TransportKind,
    keypair: &Keypair,
    admission: Option<&Admission>,
    class: Option<TrafficClass>,
    path: Option<&PathDelay>,
    faults: Option<&PathFaults>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    let mut transport = over_path(kind, keypair, admission, class, path)?;
    if let Some(admission) = admission.filter(|_| !kind.is_tcp()).cloned() {
        let admitted = transport.and_then(move |(peer, muxer), point| admission.pass(peer, muxer, point));
        transport = admitted.boxed();
    }
    let Some(faults) = faults.cloned() else {
        return Ok(transport);
    };
    let local = keypair.public().to_peer_id();
    let crossed = transport.and_then(move |(remote, muxer), _| async move {
        let crossed = faults.pass(local, remote, muxer).await?;
        Ok::<_, io::Error>((remote, StreamMuxerBox::new(crossed)))
    });
    Ok(crossed.boxed())
}

fn over_path(
    kind: &TransportKind,
    keypair: &Keypair,
    admission: Option<&Admission>,
    class: Option<TrafficClass>,
    path: Option<&PathDelay>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    let transport = match kind {
        TransportKind::InProcess(network) => {
            let peer = keypair.public().to_peer_id();
            // Its pipes delay by themselves, at less cost.
            return Ok(in_process::InProcessTransport::new(network.clone(), peer, path.cloned()).boxed());
        }
        TransportKind::Memory => MemoryTransport::default()
            .upgrade(Version::V1Lazy)
            .authenticate(plaintext::Config::new(keypair))
            .multiplex(yamux::Config::default())
            .timeout(UPGRADE_TIMEOUT)
            .boxed(),
        TransportKind::Tcp => over_tcp(keypair, admission.cloned(), class, UPGRADE_TIMEOUT)?,
        TransportKind::TcpStreams => tcp_connections(class)
            .upgrade(Version::V1Lazy)
            .authenticate(Admitting::new(Security::new(keypair)?, admission.cloned()))
            .multiplex(yamux::Config::default())
            .timeout(UPGRADE_TIMEOUT)
            .boxed(),
        TransportKind::TcpNoise => tcp_connections(class)
            .upgrade(Version::V1Lazy)
            .authenticate(Admitting::new(noise::Config::new(keypair)?, admission.cloned()))
            .multiplex(yamux::Config::default())
            .timeout(UPGRADE_TIMEOUT)
            .boxed(),
        #[cfg(feature = "quic")]
        TransportKind::Quic => quic::build(keypair),
        #[cfg(not(feature = "quic"))]
        TransportKind::Quic => return Err(TransportError::NoQuic),
    };
    Ok(match path.cloned() {
        Some(path) => transport
            .map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(Delayed::new(muxer, path.clone()))))
            .boxed(),
        None => transport,
    })
}

/// How members of today connect, with the time that a connection has to become one.
fn over_tcp(
    keypair: &Keypair,
    admission: Option<Admission>,
    class: Option<TrafficClass>,
    patience: Duration,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    let transport = tcp_connections(class)
        .map(|stream, _| LargeReads::new(stream))
        .upgrade(Version::V1Lazy)
        .authenticate(Admitting::new(Security::new(keypair)?, admission))
        .multiplex(SelectUpgrade::new(OneStream, yamux::Config::default()))
        .timeout(patience);
    Ok(transport.boxed())
}

fn tcp_connections(
    class: Option<TrafficClass>,
) -> impl Transport<Output = Socket, Error = io::Error, Dial: Send, ListenerUpgrade: Send> + Send + Unpin + 'static {
    let config = tcp::Config::default().nodelay(true).listen_backlog(4096);
    tcp::tokio::Transport::new(config).map(move |stream, _| Socket::new(stream, class))
}

/// A handshake may wait this long: thousands of peers that start at once share a few cores.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
