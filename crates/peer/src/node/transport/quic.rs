//! QUIC. A feature, since its TLS library takes as long to compile as the rest of the network.

use std::time::Duration;

use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::identity::Keypair;
use libp2p::{PeerId, quic};

use super::UPGRADE_TIMEOUT;

/// The transport of the peer with this identity.
pub(super) fn build(keypair: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    quic::tokio::Transport::new(configuration(keypair))
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .boxed()
}

/// libp2p's defaults give a handshake 5 s and a silent peer 10 s, which a machine with thousands of peers outlasts.
fn configuration(keypair: &Keypair) -> quic::Config {
    let mut config = quic::Config::new(keypair);
    config.handshake_timeout = UPGRADE_TIMEOUT;
    config.max_idle_timeout = IDLE_MS_MAX;
    config.keep_alive_interval = KEEP_ALIVE;
    config.max_stream_data = WINDOW;
    // A connection has one stream, and a few bytes of others that are refused.
    config.max_connection_data = WINDOW;
    config
}

/// Milliseconds of silence after which a connection is given up. A handshake has no longer than this either.
/// Less finds a dead host sooner; the core's own timeouts have long asked another by then.
const IDLE_MS_MAX: u32 = 60_000;
/// Bytes that may be on their way on a connection, and so what either side may have to hold for it: at 1 ms of round trip 2 Gbit/s.
/// libp2p's default of 10 MB a stream took 20 MiB of each host of a busy fleet.
const WINDOW: u32 = 256 << 10;
/// Keeps a connection without traffic open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const _: () = assert!(IDLE_MS_MAX as u128 >= UPGRADE_TIMEOUT.as_millis());
const _: () = assert!(KEEP_ALIVE.as_millis() * 3 < IDLE_MS_MAX as u128);
