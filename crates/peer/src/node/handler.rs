//! The libp2p side of a connection: opens its stream, has a task carry its bytes, and says when that has ended.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::PeerId;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{ConnectionId, Stream, StreamProtocol, SubstreamProtocol};
use swarm::{HostId, wire};
use tokio::task::JoinHandle;

use super::carrier::{Carrier, Greeted, greet};
use super::endpoint::Hub;
use super::link::PeerMark;
use super::shared::Shared;

/// What a handler tells its behaviour: this connection is of no more use.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(super) reason: &'static str,
}

/// Who made the connection.
pub(super) enum Side {
    /// A member of this process, to reach this host.
    Dialled { member: Arc<Shared>, host: HostId },
    /// Somebody else, for one of the members here; where he was seen to come from.
    Accepted { hub: Arc<Hub>, seen_at: Option<IpAddr> },
}

pub(crate) struct Handler {
    connection: (ConnectionId, PeerMark),
    side: Side,
    open_stream: bool,
    /// Where somebody else made the connection, until he has said what for.
    greeting: Option<JoinHandle<Result<Greeted, &'static str>>>,
    carrier: Option<JoinHandle<&'static str>>,
    closing: Option<&'static str>,
    closed: bool,
}

impl Handler {
    /// Of a connection with who has proven to be this peer.
    pub(super) fn new(connection: ConnectionId, peer: PeerId, side: Side) -> Self {
        Self {
            connection: (connection, PeerMark::of(peer)),
            open_stream: matches!(side, Side::Dialled { .. }),
            side,
            greeting: None,
            carrier: None,
            closing: None,
            closed: false,
        }
    }

    /// The connection has its stream; one is enough.
    fn carry(&mut self, stream: Stream) {
        if self.carrier.is_none() && self.greeting.is_none() {
            match &self.side {
                Side::Dialled { member, host } => {
                    let carrier = Carrier::new(Arc::clone(member), self.connection, Some(*host), stream);
                    self.carrier = Some(tokio::spawn(carrier.carry()));
                }
                Side::Accepted { hub, seen_at } => {
                    let greeting = greet(Arc::clone(hub), self.connection.0, *seen_at, stream);
                    self.greeting = Some(tokio::spawn(greeting));
                }
            }
        }
    }
}

impl Handler {
    /// Carries on with who has said what the connection is for.
    fn poll_greeting(&mut self, cx: &mut Context<'_>) {
        let Some(greeting) = &mut self.greeting else {
            return;
        };
        let Poll::Ready(greeted) = Pin::new(greeting).poll(cx) else {
            return;
        };
        self.greeting = None;
        let carrier = greeted.unwrap_or(Err("its task has panicked")).and_then(|greeted| {
            let Greeted { member, stream, hello } = greeted;
            Carrier::new(member, self.connection, None, stream).greeted(hello)
        });
        match carrier {
            Ok(carrier) => self.carrier = Some(tokio::spawn(carrier.carry())),
            Err(reason) => self.closing = Some(reason),
        }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        if let Some(greeting) = &self.greeting {
            greeting.abort();
        }
        if let Some(carrier) = &self.carrier {
            carrier.abort();
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Closing;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ()).with_timeout(NEGOTIATION_TIMEOUT)
    }

    fn connection_keep_alive(&self) -> bool {
        !self.closed
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if std::mem::take(&mut self.open_stream) {
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: self.listen_protocol(),
            });
        }
        self.poll_greeting(cx);
        if !self.closed
            && let Some(carrier) = &mut self.carrier
            && let Poll::Ready(ended) = Pin::new(carrier).poll(cx)
        {
            self.closing = Some(ended.unwrap_or("its task has panicked"));
        }
        if let Some(reason) = self.closing.take() {
            self.closed = true;
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Closing { reason }));
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. })
            | ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.carry(protocol);
            }
            ConnectionEvent::DialUpgradeError(_) => self.closing = Some("the other side does not speak the protocol"),
            _ => {}
        }
    }
}

/// A stream may be negotiated this late on a busy machine.
const NEGOTIATION_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

const PROTOCOL: StreamProtocol = StreamProtocol::new(wire::PROTOCOL_NAME);
