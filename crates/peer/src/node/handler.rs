//! The libp2p side of a connection: opens its stream, has a task carry its bytes, and says when that has ended.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use libp2p::PeerId;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{ConnectionId, Stream, StreamProtocol, SubstreamProtocol};
use swarm::wire;
use tokio::task::JoinHandle;

use super::carrier::Carrier;
use super::endpoint::Hub;
use super::greeting::{Greeted, greet};
use super::link::PeerMark;
use super::shared::Shared;

/// What a handler tells its behaviour: this connection is of no more use.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(super) reason: &'static str,
}

/// Who made the connection.
pub(super) enum Side {
    /// A member of this process.
    Dialled { member: Arc<Shared> },
    /// Somebody else, for one of the members here.
    Accepted { hub: Arc<Hub> },
}

pub(crate) struct Handler {
    connection: (ConnectionId, PeerMark),
    side: Side,
    phase: Phase,
}

/// How far a connection has come.
enum Phase {
    /// Whoever has made it is to ask for its stream.
    Asks,
    /// Its stream is on its way.
    Awaits,
    /// Somebody else has made it, and is about to say what for.
    Greeted(Task<Result<Greeted, &'static str>>),
    /// Its bytes are carried.
    Carried(Task<&'static str>),
    /// It is of no more use, which the behaviour is to be told.
    Ends(&'static str),
    /// The behaviour has been told.
    Ended,
}

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

impl<T> Task<Result<T, &'static str>> {
    /// What it has come to, or why not.
    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, &'static str>> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|ended| ended.unwrap_or(Err(PANICKED)))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Handler {
    /// Of a connection with who has proven to be this peer.
    pub(super) fn new(connection: ConnectionId, peer: PeerId, side: Side) -> Self {
        let phase = match side {
            Side::Dialled { .. } => Phase::Asks,
            Side::Accepted { .. } => Phase::Awaits,
        };
        Self {
            connection: (connection, PeerMark::of(peer)),
            side,
            phase,
        }
    }

    fn hub(&self) -> &Hub {
        match &self.side {
            Side::Dialled { member } => &member.hub,
            Side::Accepted { hub } => hub,
        }
    }

    /// The connection has its stream; one is enough.
    fn carry(&mut self, stream: Stream) {
        if !matches!(self.phase, Phase::Asks | Phase::Awaits) {
            return;
        }
        self.phase = match &self.side {
            Side::Dialled { member } => {
                let carrier = Carrier::new(Arc::clone(member), self.connection, stream);
                Phase::Carried(Task(self.hub().spawn(carrier.carry())))
            }
            Side::Accepted { hub } => {
                let (connection, _) = self.connection;
                let greeting = greet(Arc::clone(hub), connection, stream);
                Phase::Greeted(Task(self.hub().spawn(greeting)))
            }
        };
    }

    /// Carries on with who has said what the connection is for.
    fn greeted(&self, greeted: Result<Greeted, &'static str>) -> Phase {
        let carrier = greeted.and_then(|greeted| {
            let Greeted { member, stream, hello } = greeted;
            Carrier::new(member, self.connection, stream).greeted(hello)
        });
        match carrier {
            Ok(carrier) => Phase::Carried(Task(self.hub().spawn(carrier.carry()))),
            Err(reason) => Phase::Ends(reason),
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
        let patience = match &self.side {
            Side::Dialled { .. } => NEGOTIATION_TIMEOUT,
            Side::Accepted { hub } => hub.first_message,
        };
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ()).with_timeout(patience)
    }

    fn connection_keep_alive(&self) -> bool {
        match (&self.phase, &self.side) {
            (Phase::Ended, _) => false,
            // Who opens no stream, here or of the directory, is not waited for longer than an idle connection is.
            (Phase::Awaits, Side::Accepted { .. }) => false,
            _ => true,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        loop {
            self.phase = match &mut self.phase {
                Phase::Asks => {
                    self.phase = Phase::Awaits;
                    return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                        protocol: self.listen_protocol(),
                    });
                }
                Phase::Greeted(task) => {
                    let greeted = ready!(task.poll_result(cx));
                    self.greeted(greeted)
                }
                Phase::Carried(task) => {
                    let ended = ready!(Pin::new(&mut task.0).poll(cx));
                    Phase::Ends(ended.unwrap_or(PANICKED))
                }
                Phase::Ends(reason) => {
                    let reason = *reason;
                    self.phase = Phase::Ended;
                    return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Closing { reason }));
                }
                Phase::Awaits | Phase::Ended => return Poll::Pending,
            };
        }
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
            ConnectionEvent::DialUpgradeError(_) => {
                self.phase = Phase::Ends("the other side does not speak the protocol");
            }
            _ => {}
        }
    }
}

/// Why a connection ends whose task is gone.
const PANICKED: &str = "its task has panicked";
/// A stream may be negotiated this late on a busy machine.
const NEGOTIATION_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

const PROTOCOL: StreamProtocol = StreamProtocol::new(wire::PROTOCOL_NAME);
