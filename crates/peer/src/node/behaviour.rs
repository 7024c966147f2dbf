//! The libp2p behaviour of a node: dials and closes what the core asks for.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::multiaddr::Protocol;
use libp2p::core::transport::PortUse;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm, NetworkBehaviour,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use swarm::HostId;

use super::handler::{Closing, Handler};
use super::shared::{Command, Shared};

pub(super) struct Behaviour {
    shared: Arc<Shared>,
    connections: u32,
    connections_max: u32,
    /// Dials under way and connections made by them.
    dialled: HashMap<ConnectionId, HostId>,
    peers: HashMap<ConnectionId, PeerId>,
    closing: Vec<ConnectionId>,
}

/// There are more connections than the node takes.
#[derive(Debug, thiserror::Error)]
#[error("{limit} connections are the limit of this node")]
struct TooManyConnections {
    limit: u32,
}

impl Behaviour {
    pub(super) fn new(shared: Arc<Shared>, connections_max: u32) -> Self {
        Self {
            shared,
            connections: 0,
            connections_max,
            dialled: HashMap::new(),
            peers: HashMap::new(),
            closing: Vec::new(),
        }
    }

    fn dial(&mut self, host: HostId, address: Multiaddr) -> ToSwarm<Infallible, Infallible> {
        let peer = address.iter().find_map(|part| match part {
            Protocol::P2p(peer) => Some(peer),
            _ => None,
        });
        let opts: DialOpts = match peer {
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(vec![address])
                .allocate_new_port()
                .build(),
            None => DialOpts::unknown_peer_id().address(address).allocate_new_port().build(),
        };
        self.dialled.insert(opts.connection_id(), host);
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
        if self.connections >= self.connections_max {
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
        _remote: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        self.peers.insert(connection, peer);
        Ok(Handler::new(Arc::clone(&self.shared), connection, None, false))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _addr: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        self.peers.insert(connection, peer);
        let host = self.dialled.get(&connection).copied();
        Ok(Handler::new(Arc::clone(&self.shared), connection, host, true))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(_) => self.connections += 1,
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.connections = self.connections.saturating_sub(1);
                self.peers.remove(&connection_id);
                let host = self.dialled.remove(&connection_id);
                self.shared.link_down(connection_id, host);
            }
            FromSwarm::DialFailure(DialFailure {
                connection_id, error, ..
            }) => {
                tracing::debug!(host = %self.shared.host, %error, "dial failed");
                if let Some(host) = self.dialled.remove(&connection_id) {
                    self.shared.link_down(connection_id, Some(host));
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        let Closing { reason } = event;
        tracing::debug!(host = %self.shared.host, reason, "closing a connection");
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
            match self.shared.next_command(cx) {
                Some(Command::Dial { host, address }) => return Poll::Ready(self.dial(host, address)),
                Some(Command::Close(connection)) => self.closing.push(connection),
                None => return Poll::Pending,
            }
        }
    }
}
