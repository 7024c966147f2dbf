//! The libp2p behaviour of a node: dials and closes what the core asks for.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use libp2p::connection_limits::Behaviour as OfAll;
use libp2p::core::Endpoint;
use libp2p::core::multiaddr::Protocol;
use libp2p::core::transport::{PortUse, TransportError};
use libp2p::core::upgrade::NegotiationError;
use libp2p::swarm::behaviour::ConnectionEstablished;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm,
    ListenFailure, NetworkBehaviour, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use swarm::HostId;

use super::addresses::{Addresses, ip_of};
use super::door::{Door, DoorLimits};
use super::endpoint::{Command, EndpointConfig, Hub};
use super::handler::{Closing, Handler, Side};
use super::shared::Shared;

pub(crate) struct Behaviour {
    hub: Arc<Hub>,
    door: Door,
    limits: OfAll,
    /// Dials under way and connections made by them: for which member, and to whom.
    dialled: HashMap<ConnectionId, (Arc<Shared>, HostId)>,
    peers: HashMap<ConnectionId, PeerId>,
    closing: Vec<ConnectionId>,
}

/// A connection that no member asked for.
#[derive(Debug, thiserror::Error)]
#[error("no member of this process has dialled")]
struct NobodyDialled;

impl Behaviour {
    pub(super) fn new(hub: Arc<Hub>, config: &EndpointConfig) -> Self {
        let limits = DoorLimits::of(config.connections);
        Self {
            hub,
            door: Door::new(limits),
            limits: limits.of_all(),
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
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.limits
            .handle_pending_inbound_connection(connection, local, remote)?;
        let all = self.hub.connections.load(Ordering::Relaxed);
        let begun = self.door.begin(connection, ip_of(remote), all);
        begun.map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        self.limits
            .handle_established_inbound_connection(connection, peer, local, remote)?;
        self.peers.insert(connection, peer);
        self.hub.saw(connection, ip_of(remote));
        let side = Side::Accepted {
            hub: Arc::clone(&self.hub),
        };
        Ok(Handler::new(connection, peer, side))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        let Some((member, _)) = self.dialled.get(&connection) else {
            return Err(ConnectionDenied::new(NobodyDialled));
        };
        self.peers.insert(connection, peer);
        self.hub.saw(connection, ip_of(remote));
        let side = Side::Dialled {
            member: Arc::clone(member),
        };
        Ok(Handler::new(connection, peer, side))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.limits.on_swarm_event(event);
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, .. }) => {
                self.door.made(connection_id);
                self.hub.connections.fetch_add(1, Ordering::Relaxed);
            }
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => self.door.ended(connection_id),
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.door.ended(connection_id);
                self.hub.connections.fetch_sub(1, Ordering::Relaxed);
                self.peers.remove(&connection_id);
                let accepted = self.hub.ended(connection_id);
                if let Some((member, host)) = self.dialled.remove(&connection_id) {
                    member.link_down(connection_id, Some(host));
                } else if let Some(member) = accepted {
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
                Some(Command::ClosePeer(peer)) => {
                    let with = self.peers.iter().filter(|(_, other)| **other == peer);
                    self.closing.extend(with.map(|(connection, _)| *connection));
                }
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
                TransportError::Other(error) => format!("{address}: {}", said_first(error)),
                TransportError::MultiaddrNotSupported(_) => {
                    format!("{address}: not reachable by the transport that is used; expected TCP or QUIC, as this process listens")
                }
            });
            reasons.collect::<Vec<_>>().join("; ")
        }
        DialError::WrongPeerId { obtained, address } => {
            format!("{address}: another peer answers there, {obtained}; is the address of an earlier run?")
        }
        other => said_first(other),
    }
}

/// What was said first: the errors around it tell which layer passed it on.
fn said_first(error: &(dyn std::error::Error + 'static)) -> String {
    let first = innermost(error).to_string();
    // By its text: the errors around it hide which one it is.
    if first == NegotiationError::Failed.to_string() {
        return "what is there speaks no protocol of this process; is one of the two started with --members and the other without, or of an \
                older version?"
            .to_owned();
    }
    first
}

fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut innermost = error;
    loop {
        let inner = innermost
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref())
            .map(|inner| -> &(dyn std::error::Error + 'static) { inner })
            .or_else(|| innermost.source());
        match inner {
            Some(inner) => innermost = inner,
            None => return innermost,
        }
    }
}
