//! What a plan is made of, and what it is.

use smallvec::SmallVec;

use crate::neighbours::Neighbours;
use crate::peer::ledger::{Ask, Ledger};
use crate::units::{ChunkIndex, HostId, Time};
use crate::wire::Contact;

/// What is to be asked, in this order.
pub(in crate::peer) type Asks = SmallVec<[Ask; 8]>;

/// What to do now.
pub(in crate::peer) struct Plan {
    pub(in crate::peer) asks: Asks,
    /// Chunks that everybody is late with who has them.
    pub(in crate::peer) unserved: SmallVec<[ChunkIndex; 2]>,
}

/// What a plan is made of.
pub(in crate::peer) struct Known<'a, H> {
    pub(in crate::peer) ledger: &'a Ledger,
    pub(in crate::peer) neighbours: &'a Neighbours,
    pub(in crate::peer) table: &'a H,
    pub(in crate::peer) limits: Limits<'a>,
    pub(in crate::peer) now: Time,
}

impl<H> Known<'_, H> {
    /// Whether others are asked before `host`: it has lost its turn, or is late with something, or sends a trickle. At a seeder many
    /// wait.
    #[inline]
    pub(super) fn is_out_of_turn(&self, host: HostId) -> bool {
        self.neighbours.is_parked_host(host, self.now)
            || (self.ledger.has_late() && self.ledger.is_late(host) && !self.limits.is_seeder(host))
    }
}

/// What a plan keeps to.
#[derive(Clone, Copy)]
pub(in crate::peer) struct Limits<'a> {
    /// Different chunks in flight.
    pub(in crate::peer) chunks_in_flight_max: usize,
    /// Requests to one neighbour in flight.
    pub(in crate::peer) requests_per_neighbour_max: usize,
    /// Who is asked only for what it offers, and for rescue.
    pub(in crate::peer) seeders: &'a [Contact],
    /// Seeders that turned down a request a moment ago.
    pub(in crate::peer) refused: &'a [HostId],
    /// Those that have sent nothing since: they are asked for one chunk.
    pub(in crate::peer) wary_of: &'a [HostId],
    /// Where this host has a zone and keeps to it.
    pub(in crate::peer) zone: Option<Border<'a>>,
}

/// How chunks come into this host's zone.
#[derive(Clone, Copy)]
pub(in crate::peer) struct Border<'a> {
    /// Who of another zone invites this host to fetch what.
    pub(in crate::peer) invitations: &'a [(HostId, ChunkIndex)],
    /// Chunks that may be fetched from other zones without invitation.
    pub(in crate::peer) open: u32,
}

impl Limits<'_> {
    /// How many requests at a time a seeder that has shown all it has may be asked beyond the limit.
    pub(super) fn requests_to_seeder_max(&self, seeder: HostId) -> usize {
        if self.wary_of.contains(&seeder) {
            1
        } else {
            self.requests_per_neighbour_max
        }
    }

    #[inline]
    pub(super) fn is_seeder(&self, host: HostId) -> bool {
        self.seeders.iter().any(|seeder| seeder.host == host)
    }
}
