//! What goes into a state machine and what comes out of it: the same two enums for peers and seeders.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::bitfield::Bitfield;
use crate::manifest::Manifest;
use crate::units::{ChunkIndex, HostId};
use crate::wire::{Contact, Message};

/// Something that happened, told by the driver.
#[derive(Clone, Debug)]
pub enum Event {
    /// A time that `next_wakeup` named has come.
    Wakeup,
    /// There is a connection with this member, and it has said who it is.
    Connected(HostId),
    /// The connection with this member is gone, or could not be made.
    Disconnected(HostId),
    /// A control message.
    Message(HostId, Message),
    /// The chunk store that [`Action::OpenStore`] asked for is there; it holds these chunks already.
    StoreOpened {
        /// Chunks that are there and verified.
        held: Box<Bitfield>,
    },
    /// Payload bytes of a chunk came from a neighbour, expected or not. Told for every frame, or once for a whole chunk: it is how the core
    /// sees progress, and what comes though nobody asked for it, which it counts once for each chunk.
    ChunkProgress {
        /// Who sends it.
        from: HostId,
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// Payload bytes of a chunk went out to a neighbour. Told about every [`PROGRESS_INTERVAL`] while they do: a serving of
    /// which it is not told may end at any time, one that stops moving is given up.
    ServingProgress {
        /// Who gets it.
        to: HostId,
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// A chunk from a neighbour is verified and stored.
    ChunkStored {
        /// Who sent it.
        from: HostId,
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// A chunk from a neighbour has the wrong hash; nothing of it was kept.
    ChunkCorrupt {
        /// Who sent it.
        from: HostId,
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// A neighbour gave up on a chunk that it was sending.
    ChunkAborted {
        /// Who was sending it.
        from: HostId,
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// A chunk that was held is not any more: its bytes were changed, cut off or cannot be read. Servings of
    /// it end as told. Not where there is a table of holdings ([`crate::Peer::with_table`]): that only grows.
    ChunkLost {
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// A chunk is held that no neighbour has sent: it was found on this machine, or put back after it was lost.
    ChunkFound {
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// The last byte of a chunk is on its way to a neighbour, or the driver has stopped sending it as it was told to.
    ChunkServed {
        /// Who it is for.
        to: HostId,
        /// The chunk.
        chunk: ChunkIndex,
    },
}

impl Event {
    /// While actions of `host` wait, a driver may tell it only of what to carry one out brings about.
    pub(crate) fn check_order(&self, host: HostId, actions: &VecDeque<Action>) {
        let answers = matches!(
            self,
            Self::StoreOpened { .. } | Self::ChunkServed { .. } | Self::Disconnected(_)
        );
        debug_assert!(
            actions.is_empty() || answers,
            "{host} is told of {self:?} while actions wait"
        );
    }
}

/// How often at least a driver tells of bytes that go out or come in, while they do.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Something to do, carried out by the driver in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a connection. Answer with [`Event::Connected`] or [`Event::Disconnected`].
    Connect(Contact),
    /// End a connection. No [`Event::Disconnected`] is expected, and one does no harm.
    Disconnect {
        /// With whom.
        host: HostId,
        /// Why, for the log.
        reason: DisconnectReason,
    },
    /// Send a control message.
    Send(HostId, Message),
    /// Open the chunk store for this build. Answer with [`Event::StoreOpened`].
    OpenStore(Arc<Manifest>),
    /// Send a chunk. Answer with [`Event::ChunkServed`] unless the connection ends.
    ServeChunk {
        /// To whom.
        to: HostId,
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// Stop sending a chunk, and let the receiver know that the rest does not come, unless it said so itself: it tells its own core
    /// [`Event::ChunkAborted`] where it still expects it. Answer with [`Event::ChunkServed`] all the same.
    StopServing {
        /// To whom.
        to: HostId,
        /// The chunk.
        chunk: ChunkIndex,
    },
    /// All neighbours are to know this, once it has waited here for company and the way to them has passed. It stands for the HAVE and
    /// BUSY messages to all of them, and is for a table ([`crate::Peer::with_table`]): other peers send messages.
    Gossip(News),
    /// Tell the operator: a host says that what this seeder sent it was corrupt. Said once, of the first.
    Suspect {
        /// Who says so.
        by: HostId,
        /// The chunk.
        chunk: u32,
    },
    /// Tell the operator: a seeder announces a build that is not believed, and is not talked to for a while.
    Refuse {
        /// Who announces it.
        by: HostId,
        /// Which build.
        build_id: String,
        /// Why, as a sentence about "it".
        why: String,
    },
    /// Every chunk is held. Said once, also where one is lost and comes back.
    Complete,
}

/// What neighbours are to know of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// How many chunks it holds: so many of [`crate::Peer::acquired`].
    pub held: u32,
    /// The last of them, where there is one.
    pub latest: Option<ChunkIndex>,
    /// Whether requests wait there.
    pub busy: bool,
    /// How long the news waits for company before it is sent.
    pub after: Duration,
}

/// Why the core ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// It sent a chunk whose hash was wrong.
    CorruptChunk,
    /// It sent a manifest that is not the one the seeder announced.
    WrongManifest,
    /// It announced a build that nobody trusted has signed.
    UnprovenBuild,
    /// It said something that a correct member never says.
    ProtocolViolation,
    /// There are neighbours enough.
    TooManyNeighbours,
    /// It was banned before.
    Banned,
    /// It does not take the bytes that it asked for.
    NotReading,
    /// It takes requests and does not serve them.
    NotServing,
    /// It has given no sign of life.
    Silent,
}

impl DisconnectReason {
    /// Whether bytes that the member sent had the wrong hash: what reports count as a ban.
    pub const fn is_for_wrong_bytes(self) -> bool {
        match self {
            Self::CorruptChunk | Self::WrongManifest => true,
            Self::UnprovenBuild
            | Self::ProtocolViolation
            | Self::TooManyNeighbours
            | Self::Banned
            | Self::NotReading
            | Self::NotServing
            | Self::Silent => false,
        }
    }
}
