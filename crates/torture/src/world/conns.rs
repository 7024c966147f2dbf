//! A connection: two ends that need not know the same of it, and what is on its way between them.
//!
//! What is sent one way comes out in that order. Between two connections there is no order.

use std::collections::VecDeque;

use swarm::{ChunkIndex, Message};

use super::Index;
use crate::day::Nanos;

/// A connection's place among all that there ever were.
pub(super) type ConnId = usize;
/// Which end: 0 dialled, 1 was dialled.
pub(super) type Side = usize;

/// A connection.
pub(super) struct Conn {
    pub(super) members: [Index; 2],
    /// Whether the end is there, as far as its member knows.
    pub(super) up: [bool; 2],
    pub(super) since: Nanos,
    /// One-way delay.
    pub(super) latency: Nanos,
    /// What goes from each side.
    pub(super) ways: [Way; 2],
}

impl Conn {
    pub(super) fn new(members: [Index; 2], since: Nanos, latency: Nanos) -> Self {
        Self {
            members,
            up: [false; 2],
            since,
            latency,
            ways: [Way::default(), Way::default()],
        }
    }
}

/// One direction of a connection.
#[derive(Default)]
pub(super) struct Way {
    /// Chunks to be sent.
    pub(super) servings: VecDeque<Serving>,
    /// When the last of what is on its way arrives.
    pub(super) arrives: Nanos,
    /// What waits because nothing passes.
    pub(super) held: Waiting,
    /// What waits at the receiver, which does not read.
    pub(super) unread: Waiting,
    /// What is there at the receiver of chunks that are being received.
    pub(super) receiving: Vec<(ChunkIndex, u32)>,
    /// Whether somebody waits for the sender to find out that nobody is there.
    pub(super) gives_up: bool,
}

/// What waits, in its order.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) items: VecDeque<Item>,
    /// Payload bytes of them.
    pub(super) bytes: u64,
}

impl Waiting {
    pub(super) fn push(&mut self, item: Item) {
        self.bytes += item.bytes();
        self.items.push_back(item);
    }
}

/// A chunk that is being sent.
pub(super) struct Serving {
    pub(super) chunk: ChunkIndex,
    pub(super) length: u32,
    pub(super) sent: u32,
    pub(super) ticket: u64,
}

/// What goes over a connection.
pub(super) enum Item {
    /// A control message.
    Message(Message),
    /// A part of a chunk.
    Piece(Piece),
    /// The sender gives up on a chunk.
    Abort(ChunkIndex),
    /// The sender has closed the connection.
    Fin,
}

/// A part of a chunk.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) chunk: ChunkIndex,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) corrupt: bool,
}

impl Item {
    /// Payload bytes of it.
    pub(super) const fn bytes(&self) -> u64 {
        match self {
            Self::Piece(piece) => piece.length as u64,
            Self::Message(_) | Self::Abort(_) | Self::Fin => 0,
        }
    }
}
