//! The libp2p behaviour of a node: dials and closes what the core asks for.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::multiaddr::Protocol;
use libp2p::core::transport::{PortUse, TransportError};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm,
    NetworkBehaviour, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use swarm::HostId;

use super::addresses::{Addresses, ip_of};
use super::endpoint::{Command, Hub};
use super::handler::{Closing, Handler, Side};
use super::shared::Shared;

pub(crate) struct Behaviour {
    hub: Arc<Hub>,
    connections_max: u32,
    /// Dials under way and connections made by them: for which member, and to whom.
    dialled: HashMap<ConnectionId, (Arc<Shared>, HostId)>,
    peers: HashMap<ConnectionId, PeerId>,
    closing: Vec<ConnectionId>,
}

/// There are more connections than the node takes.
#[derive(Debug, thiserror::Error)]
#[error("{limit} connections are the limit of this node")]
struct TooManyConnections {
    limit: u32,
}

/// A connection that no member asked for.
#[derive(Debug, thiserror::Error)]
#[error("no member of this process has dialled")]
struct NobodyDialled;

impl Behaviour {
    pub(super) fn new(hub: Arc<Hub>, connections_max: u32) -> Self {
        Self {
            hub,
            connections_max,
            dialled: HashMap::new(),
            peers: HashMap::new(),
            closing: Vec::new(),
        }
    }

    fn dial(&mut self, member: Arc<Shared>, host: HostId, addresses: &Addresses) -> ToSwarm<Infallible, Infallible> {
        // Several swarms may each want a connection to the same peer.
        let opts = DialOpts::peer_id(addresses.peer())
            .condition(PeerCondition::Always)
            .addresses(addresses.at().to_vec());
        // Two hosts that dial each other by TCP from the ports at which they listen meet in one connection. QUIC has its
        // connections at the socket that listens: another one for each takes more than a megabyte.
        let is_quic = addresses
            .at()
            .iter()
            .any(|address| address.iter().any(|part| part == Protocol::QuicV1));
        let opts: DialOpts = if is_quic {
            opts.build()
        } else {
            opts.allocate_new_port().build()
        };
        self.dialled.insert(opts.connection_id(), (member, host));
        ToSwarm::Dial { opts }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _connection: ConnectionId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.hub.connections.load(Ordering::Relaxed) >= self.connections_max {
            let limit = self.connections_max;
            return Err(ConnectionDenied::new(TooManyConnections { limit }));
        }
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        self.peers.insert(connection, peer);
        let side = Side::Accepted {
            hub: Arc::clone(&self.hub),
            seen_at: ip_of(remote),
        };
        Ok(Handler::new(connection, peer, side))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _addr: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        let Some((member, _)) = self.dialled.get(&connection) else {
            return Err(ConnectionDenied::new(NobodyDialled));
        };
        self.peers.insert(connection, peer);
        let side = Side::Dialled {
            member: Arc::clone(member),
        };
        Ok(Handler::new(connection, peer, side))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(_) => _ = self.hub.connections.fetch_add(1, Ordering::Relaxed),
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.hub.connections.fetch_sub(1, Ordering::Relaxed);
                self.peers.remove(&connection_id);
                if let Some((member, host)) = self.dialled.remove(&connection_id) {
                    member.link_down(connection_id, Some(host));
                } else if let Some(member) = self.hub.ended(connection_id) {
                    member.link_down(connection_id, None);
                }
            }
            FromSwarm::DialFailure(DialFailure {
                connection_id, error, ..
            }) => {
                if let Some((member, host)) = self.dialled.remove(&connection_id) {
                    tracing::debug!(host = %member.host, other = %host, %error, "dial failed");
                    member.dial_failed(connection_id, host, error);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        let Closing { reason } = event;
        tracing::debug!(?connection, reason, "closing a connection");
        self.closing.push(connection);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        loop {
            if let Some(connection) = self.closing.pop() {
                if let Some(peer_id) = self.peers.get(&connection).copied() {
                    let connection = CloseConnection::One(connection);
                    return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
                }
                continue;
            }
            match self.hub.next_command(cx) {
                Some(Command::Dial {
                    member,
                    host,
                    addresses,
                }) => return Poll::Ready(self.dial(member, host, &addresses)),
                Some(Command::Close(connection)) => self.closing.push(connection),
                Some(Command::CloseAll) => self.closing.extend(self.peers.keys().copied()),
                None => return Poll::Pending,
            }
        }
    }
}

/// Why a dial has failed, each address with its reason, as its operator wants it.
pub fn cause_of(error: &DialError) -> String {
    match error {
        DialError::Transport(failed) => {
            let reasons = failed.iter().map(|(address, error)| match error {
                TransportError::Other(error) => format!("{address}: {}", innermost(error)),
                TransportError::MultiaddrNotSupported(_) => {
                    format!("{address}: not reachable by the transport that is used; expected TCP or QUIC, as this process listens")
                }
            });
            reasons.collect::<Vec<_>>().join("; ")
        }
        DialError::WrongPeerId { obtained, address } => {
            format!("{address}: another peer answers there, {obtained}; is the address of an earlier run?")
        }
        other => innermost(other),
    }
}

/// What was said first: the errors around it tell which layer passed it on.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    loop {
        let inner = innermost
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref())
            .map(|inner| -> &(dyn std::error::Error + 'static) { inner })
            .or_else(|| innermost.source());
        match inner {
            Some(inner) => innermost = inner,
            None => return innermost.to_string(),
        }
    }
}
