//! How peers reach each other: the four transports behind one type.

mod in_process;
mod muxer;
mod pipe;
#[cfg(feature = "quic")]
mod quic;

use std::time::Duration;

use libp2p::core::Transport;
use libp2p::core::multiaddr::Protocol;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, MemoryTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, noise, plaintext, tcp, yamux};

pub use in_process::InProcessNetwork;
pub(crate) use pipe::{Arrived, read_shared, write_shared};

/// Which transport a node uses.
#[derive(Clone, Debug)]
pub enum TransportKind {
    /// Ours, between the peers of one process: cheap, without encryption or proof of identity.
    InProcess(InProcessNetwork),
    /// libp2p's memory transport with plaintext and yamux: the reference for the one above.
    Memory,
    /// TCP with Noise and yamux.
    Tcp,
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

/// A transport could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// The identity does not make a Noise key.
    #[error("failed to make the Noise key of this peer")]
    Noise(#[from] noise::Error),
    /// The program is built without it.
    #[cfg(not(feature = "quic"))]
    #[error("this program is built without QUIC; expected TCP, or a build with `--features quic`")]
    NoQuic,
}

/// The transport of the peer with this identity.
pub(crate) fn build(
    kind: &TransportKind,
    keypair: &Keypair,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    Ok(match kind {
        TransportKind::InProcess(network) => {
            in_process::InProcessTransport::new(network.clone(), keypair.public().to_peer_id()).boxed()
        }
        TransportKind::Memory => MemoryTransport::default()
            .upgrade(Version::V1Lazy)
            .authenticate(plaintext::Config::new(keypair))
            .multiplex(yamux::Config::default())
            .timeout(UPGRADE_TIMEOUT)
            .boxed(),
        TransportKind::Tcp => tcp::tokio::Transport::new(tcp::Config::default().nodelay(true).listen_backlog(4096))
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(keypair)?)
            .multiplex(yamux::Config::default())
            .timeout(UPGRADE_TIMEOUT)
            .boxed(),
        #[cfg(feature = "quic")]
        TransportKind::Quic => quic::build(keypair),
        #[cfg(not(feature = "quic"))]
        TransportKind::Quic => return Err(TransportError::NoQuic),
    })
}

/// A handshake may wait this long: thousands of peers that start at once share a few cores.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(60);
