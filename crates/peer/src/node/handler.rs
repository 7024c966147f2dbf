//! The libp2p side of a connection: opens its stream, has a task carry its bytes, and says when that has ended.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{ConnectionId, Stream, StreamProtocol, SubstreamProtocol};
use swarm::{HostId, wire};
use tokio::task::JoinHandle;

use super::carrier::Carrier;
use super::shared::Shared;

/// What a handler tells its behaviour: this connection is of no more use.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) reason: &'static str,
}

pub(super) struct Handler {
    shared: Arc<Shared>,
    connection: ConnectionId,
    /// Whom we dialled, where we did.
    expected: Option<HostId>,
    open_stream: bool,
    carrier: Option<JoinHandle<&'static str>>,
    closing: Option<&'static str>,
    closed: bool,
}

impl Handler {
    pub(super) fn new(shared: Arc<Shared>, connection: ConnectionId, expected: Option<HostId>, dialler: bool) -> Self {
        Self {
            shared,
            connection,
            expected,
            open_stream: dialler,
            carrier: None,
            closing: None,
            closed: false,
        }
    }

    /// The connection has its stream; one is enough.
    fn carry(&mut self, stream: Stream) {
        if self.carrier.is_none() {
            let carrier = Carrier::new(Arc::clone(&self.shared), self.connection, self.expected, stream);
            self.carrier = Some(tokio::spawn(carrier.carry()));
        }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
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
