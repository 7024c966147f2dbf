//! What members do that they should not. Each runs the core like any other, and what goes in or comes out is changed: so it has
//! its place in the overlay, and its neighbours see what they would see.

use std::num::NonZeroU32;

use rand::RngExt;
use swarm::wire::{ChunkList, LinkReport, RejectReason, Waited};
use swarm::{Bitfield, BuildInfo, ChunkIndex, Contact, Hash, HostId, Message, ZoneId};

use super::conns::{Item, Piece};
use super::{Index, What, World};
use crate::day::{Flood, MILLISECOND, Nanos, Role, SECOND};

impl World<'_> {
    /// Whether a member does something else than to serve a chunk.
    pub(super) fn serves_otherwise(&mut self, member: Index, to: HostId, chunk: ChunkIndex) -> bool {
        match self.members[member].role {
            Role::Stall => true,
            Role::Trickle { .. } => {
                self.members[member].trickles.push((to, chunk.get(), 0));
                true
            }
            _ => false,
        }
    }

    /// What a member says instead of `message`, if anything.
    pub(super) fn says_otherwise(&self, member: Index, message: Message) -> Option<Message> {
        match (self.members[member].role, message) {
            (Role::Liar | Role::BusyLiar, Message::Have(_) | Message::HaveSet(_)) => Some(Message::HaveAll),
            (Role::Liar, Message::Reject { .. } | Message::Decline(_) | Message::Lost { .. }) => None,
            (_, message) => Some(message),
        }
    }

    /// Whether a member does something else with `message` than its core would.
    pub(super) fn answers_otherwise(&mut self, member: Index, from: HostId, message: &Message) -> bool {
        match (self.members[member].role, message) {
            (Role::BusyLiar, Message::Request { chunk, .. }) => {
                let reason = RejectReason::QueueFull;
                self.slip(member, from, Message::Reject { chunk: *chunk, reason });
                true
            }
            (Role::Liar, Message::Request { chunk, .. }) => {
                let chunk = self.manifest.chunk(*chunk);
                chunk.is_none_or(|chunk| !self.members[member].store.contains(chunk))
            }
            _ => false,
        }
    }

    /// Says something that the core knows nothing of.
    fn slip(&mut self, member: Index, to: HostId, message: Message) {
        let end = self.place(to).and_then(|to| self.end_with(member, to));
        if let Some((conn, side)) = end {
            self.transmit(conn, side, Item::Message(message));
        }
    }

    pub(super) fn mischief(&mut self, member: Index, life: u32) {
        if self.members[member].life != life
            || self.members[member].core.is_none()
            || self.now > MISCHIEF_ENDS
            || (self.seeded && self.everything_is_over())
        {
            return;
        }
        let again = match self.members[member].role {
            Role::Trickle { bytes } => {
                self.trickle(member, bytes);
                SECOND / 2
            }
            Role::Flood(flood) => {
                self.flood(member, flood);
                // On slow days it is not to be all that happens.
                if self.now < FLOODS_UNTIL {
                    10 * MILLISECOND
                } else {
                    200 * MILLISECOND
                }
            }
            Role::Unsolicited => {
                self.send_unasked(member);
                50 * MILLISECOND
            }
            Role::Honest | Role::Corrupt | Role::Stall | Role::Liar | Role::BusyLiar => return,
        };
        self.queue.push(self.now + again, What::Mischief(member, life));
    }

    fn trickle(&mut self, member: Index, bytes: bool) {
        let mut trickles = std::mem::take(&mut self.members[member].trickles);
        trickles.retain(|(to, _, _)| self.place(*to).is_some_and(|to| self.end_with(member, to).is_some()));
        for (to, chunk, sent) in &mut trickles {
            let chunk_index = self.chunk(*chunk);
            let (to, chunk) = (*to, *chunk);
            if !bytes {
                self.slip(
                    member,
                    to,
                    Message::Serving {
                        chunk,
                        waited: Waited::NONE,
                    },
                );
            } else if *sent + 1 < self.manifest.length(chunk_index)
                && let Some((conn, side)) = self.place(to).and_then(|to| self.end_with(member, to))
            {
                let piece = Piece {
                    chunk: chunk_index,
                    offset: *sent,
                    length: 1,
                    corrupt: true,
                };
                *sent += 1;
                self.transmit(conn, side, Item::Piece(piece));
            }
        }
        self.members[member].trickles = trickles;
    }

    fn flood(&mut self, member: Index, flood: Flood) {
        let others: Vec<Index> = self.members[member].ends.keys().copied().collect();
        for other in others {
            let to = self.members[other].id;
            let message = self.message_of(member, flood);
            self.slip(member, to, message);
        }
    }

    fn message_of(&mut self, member: Index, flood: Flood) -> Message {
        let chunks = self.manifest.chunk_count();
        // Now and then one that is not there.
        let any = self.chance.random_range(0..chunks + 1 + chunks / 64);
        let chunk = any.min(chunks - 1);
        let others = self.members.len();
        let other = self.members[self.chance.random_range(0..others)].id;
        match flood {
            Flood::Have => Message::Have(ChunkList::from_slice(&[chunk])),
            Flood::HaveAll => Message::HaveAll,
            Flood::HaveSet => Message::HaveSet(Box::new(Bitfield::full(chunks))),
            Flood::HaveRequest => Message::HaveRequest,
            Flood::Request => Message::Request { chunk: any, held: 0 },
            Flood::Serving => Message::Serving {
                chunk: any,
                waited: Waited::NONE,
            },
            Flood::Busy => Message::Busy {
                waiting: chunk.is_multiple_of(2),
            },
            Flood::Zone => {
                let number = self.chance.random_range(1..u32::MAX);
                Message::Zone(ZoneId::new(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)))
            }
            Flood::Invite => Message::Invite { chunk },
            Flood::Cancel => Message::Cancel { chunk: any },
            Flood::Reject => Message::Reject {
                chunk,
                reason: RejectReason::NotHeld,
            },
            Flood::ManifestRequest => Message::ManifestRequest,
            Flood::Announce => Message::Announce {
                address: format!("{}", self.members[member].id).into_bytes().into(),
                wanted: 64,
                complete: false,
                zone: None,
                links: Box::new(LinkReport::default()),
            },
            Flood::Complete => Message::Complete,
            Flood::Complaint => Message::Complaint { host: other, chunk },
            Flood::NotServing => Message::NotServing { host: other, chunk },
            Flood::Neighbours => Message::Neighbours(vec![Contact {
                host: other,
                address: format!("{other}").into_bytes().into(),
            }]),
            Flood::Build => Message::Build(Box::new(BuildInfo {
                build_id: "another".to_owned(),
                root: Hash::of(&any.to_le_bytes()),
                signature: bytes::Bytes::new(),
            })),
        }
    }

    fn send_unasked(&mut self, member: Index) {
        let ends: Vec<_> = self.members[member].ends.values().copied().collect();
        if ends.is_empty() {
            return;
        }
        let (conn, side) = ends[self.chance.random_range(0..ends.len())];
        let number = self.chance.random_range(0..self.manifest.chunk_count());
        let chunk = self.chunk(number);
        let length = self.manifest.length(chunk).min(64 << 10);
        let piece = Piece {
            chunk,
            offset: 0,
            length,
            corrupt: true,
        };
        self.transmit(conn, side, Item::Piece(piece));
    }
}

/// Who means harm begins so long after it came: it is known by then.
pub(super) const BEGINS_AFTER: Nanos = 200 * MILLISECOND;
/// Until then a flood is one.
const FLOODS_UNTIL: Nanos = 8 * SECOND;
/// And has had enough after this.
const MISCHIEF_ENDS: Nanos = 900 * SECOND;
