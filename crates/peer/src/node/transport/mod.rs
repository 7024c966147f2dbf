//! How peers reach each other: the four transports behind one type.

mod in_process;
mod pipe;

use std::time::Duration;

use libp2p::PeerId;
use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, MemoryTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{noise, plaintext, quic, tcp, yamux};

pub use in_process::InProcessNetwork;
pub(crate) use pipe::write_shared;

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

/// A transport could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// The identity does not make a Noise key.
    #[error("failed to make the Noise key of this peer")]
    Noise(#[from] noise::Error),
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
        TransportKind::Quic => quic::tokio::Transport::new(quic::Config::new(keypair))
            .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
            .boxed(),
    })
}

/// A handshake may wait this long: thousands of peers that start at once share a few cores.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(60);
