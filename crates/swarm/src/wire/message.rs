//! What members of a swarm say to each other. Payload bytes are not among it: the driver sends them behind
//! a [`DataHeader`], and the core never sees them.

use std::sync::Arc;

use bytes::Bytes as ByteBuffer;
use smallvec::SmallVec;

use super::Waited;
use crate::bitfield::Bitfield;
use crate::manifest::{BuildInfo, Manifest};
use crate::units::{HostId, SwarmId, ZoneId};

/// How to reach a member: its id and an address that only the driver understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The member.
    pub host: HostId,
    /// The driver's address of it, at most [`super::ADDRESS_LENGTH_MAX`] bytes.
    pub address: ByteBuffer,
}

/// What a host tells of its links to other members, at most [`super::LINKS_MAX`] of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkReport {
    /// Whom it is connected with or dials at the moment: all of them.
    pub up: Vec<HostId>,
    /// Whom it was connected with, or was to dial, and is not any more: since it last told.
    pub lost: Vec<HostId>,
    /// Whom it does not talk to: no link to them is of use.
    pub barred: Vec<HostId>,
}

/// Chunk numbers, of which there are few: a HAVE is what hosts send and receive most, and needs no memory of its own.
pub type ChunkList = SmallVec<[u32; 4]>;

/// A control message. Chunk numbers are as they came over the wire: whoever handles one checks it against the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// First on every connection, both ways: who dialled says it first, so that the other knows which of its swarms is meant.
    /// Who is speaking the transport has proven: nobody says it.
    Hello {
        /// What the connection is for.
        swarm: SwarmId,
    },
    /// I prove anew that I belong here: at most [`super::PROOF_LENGTH_MAX`] bytes, which are between the drivers. The core does not read them.
    Proof(ByteBuffer),
    /// Host to seeder: I am here, reach me there. Repeated as a sign of life and when neighbours are lacking.
    Announce {
        /// Where others can dial this host.
        address: ByteBuffer,
        /// How many more neighbours it would like to dial.
        wanted: u16,
        /// Whether it holds the whole build.
        complete: bool,
        /// Where it is, if that is to matter.
        zone: Option<ZoneId>,
        /// What became of its links; says nothing to a seeder that it does not ask for neighbours.
        links: Box<LinkReport>,
    },
    /// Seeder to host: dial these. Empty where the host wanted none.
    Neighbours(Vec<Contact>),
    /// Seeder to host: this build is to be fetched.
    Build(Box<BuildInfo>),
    /// Send me the manifest.
    ManifestRequest,
    /// The manifest.
    Manifest(Arc<Manifest>),
    /// Host to host: I hold these chunks as well. The first one, possibly empty, also says that the sender has the manifest.
    Have(ChunkList),
    /// I hold exactly these chunks. Said to a seeder too that offers what is held here, since it was started anew; again when a quarter more is.
    HaveSet(Box<Bitfield>),
    /// I hold every chunk.
    HaveAll,
    /// Tell me what you hold: sent by a host that is starved, to survive lost messages.
    HaveRequest,
    /// Send me this chunk.
    Request {
        /// The chunk.
        chunk: u32,
        /// How many chunks the sender holds; who holds the fewest is served first.
        held: u32,
    },
    /// Your request is being served from now on: others that were asked for the chunk too can be told.
    Serving {
        /// The chunk.
        chunk: u32,
        /// How long the request has waited here for its turn: the rest of what it took is what messages take.
        waited: Waited,
    },
    /// Whether requests wait here. Whoever has a choice asks where none do.
    Busy {
        /// Whether a request would wait, because another one does.
        waiting: bool,
    },
    /// Where I am: the first thing that hosts with a zone tell each other.
    Zone(ZoneId),
    /// Your zone lacks this chunk as far as I know: fetch it from me.
    Invite {
        /// The chunk.
        chunk: u32,
    },
    /// Seeder to host: ask me for these chunks and for what I offered before, and for nothing else, whatever I showed you. None where
    /// there is nothing for you yet. Each is to be answered, by a request or a [`Message::Decline`].
    Offer(ChunkList),
    /// Host to seeder: of what you offered I hold these chunks, or they are on their way from somebody else.
    Decline(ChunkList),
    /// I no longer need this chunk from you.
    Cancel {
        /// The chunk.
        chunk: u32,
    },
    /// I hold this chunk no more. Who asked for it does not get it.
    Lost {
        /// The chunk.
        chunk: u32,
    },
    /// You asked for this chunk, and I will not send it.
    Reject {
        /// The chunk.
        chunk: u32,
        /// Why.
        reason: RejectReason,
    },
    /// Host to seeder: I hold the whole build.
    Complete,
    /// Host to seeder: of those I can ask only this host has the chunk, and it does not send it.
    NotServing {
        /// Who does not send.
        host: HostId,
        /// The chunk.
        chunk: u32,
    },
    /// Host to seeder: this host sent me a chunk whose hash was wrong.
    Complaint {
        /// Who sent it.
        host: HostId,
        /// The chunk.
        chunk: u32,
    },
}

/// Why a request was turned down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// The chunk is not held here.
    NotHeld,
    /// As many requests wait here as may; ask later or ask somebody else.
    QueueFull,
    /// A seeder that has just sent this chunk to somebody else, who can pass it on: ask there, or here a while later.
    SentElsewhere,
    /// A seeder that has sent its share: ask neighbours, and say so (HAVE_REQUEST) where they are of no use.
    Spent,
}

/// Goes before payload bytes on a connection: `length` bytes of `chunk` from `offset` follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataHeader {
    /// The chunk.
    pub chunk: u32,
    /// Where in the chunk the bytes belong.
    pub offset: u32,
    /// How many bytes follow. Zero means that the sender gives up on this chunk.
    pub length: u32,
}

/// One frame of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A control message.
    Message(Message),
    /// Payload bytes follow.
    Data(DataHeader),
}
