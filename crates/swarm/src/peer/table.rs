//! The face of a peer for a driver of very many, which keeps one table of what all of them hold.
//!
//! Such a driver carries [`crate::Action::Gossip`] out by an entry in its table, lends the table with each event, and tells who looks
//! into it that it has grown. All else is as for any driver.

use std::collections::VecDeque;

use super::download::Download;
use super::planner::beside;
use super::{Peer, PeerConfig};
use crate::event::{Action, Event};
use crate::holdings::{Heard, Holdings, Source};
use crate::units::{ChunkIndex, Time};

impl Peer {
    /// [`Peer::new`] for a peer that goes by a table. With a policy that counts who holds what it goes by messages all the same, since
    /// it has to be told of each chunk.
    pub fn with_table(config: PeerConfig, seed: u64, now: Time) -> Self {
        let source = if config.policy.counts_holders() {
            Source::Messages
        } else {
            Source::Table
        };
        Self::going_by(source, config, seed, now)
    }

    /// [`Peer::handle_event`] with the table as it is now.
    pub fn handle_event_with(&mut self, now: Time, event: Event, table: &impl Holdings) {
        event.check_order(self.config.host, &self.actions);
        let now = self.begin(now);
        self.take_in(now, event);
        self.follow_up(now, table);
    }

    /// The entry of a neighbour has grown. May be left out where [`Peer::is_hungry`] is not true.
    pub fn handle_growth_with(&mut self, now: Time, table: &impl Holdings) {
        debug_assert!(
            self.actions.is_empty(),
            "{} is told while actions wait",
            self.config.host
        );
        let now = self.begin(now);
        self.look_for_more(false);
        self.follow_up(now, table);
    }

    /// What follows from what happened, whatever it was.
    fn follow_up(&mut self, now: Time, table: &impl Holdings) {
        match self.source {
            Source::Messages => self.act_on(now, &Heard),
            Source::Table => self.act_on(now, table),
        }
        if self.is_busy() != self.told_busy {
            self.schedule_flush(now);
        }
        if cfg!(debug_assertions) {
            self.check_now_and_then();
        }
    }

    /// What follows from what neighbours hold.
    #[inline]
    fn act_on(&mut self, now: Time, holdings: &impl Holdings) {
        let invite = std::mem::take(&mut self.invite);
        if invite > 0 {
            self.invite_other_zones(now, invite, holdings);
        }
        if std::mem::take(&mut self.refill) {
            self.fill_requests(now, holdings);
        }
    }

    /// Whether it would ask for more if a neighbour had it: for what it lacks, or a second one for what is late.
    #[inline]
    pub fn is_hungry(&self) -> bool {
        self.download().is_some_and(|Download { ledger, .. }| {
            let has_room = || {
                let of_each = self.requests_per_neighbour_max();
                let beside = beside(ledger, &self.neighbours, &self.config.seeders, of_each);
                ledger.chunks_in_flight().saturating_sub(ledger.late_chunks() + beside) < self.window
            };
            ledger.has_late() || (ledger.wanted_count() > 0 && has_room())
        })
    }

    /// The chunks held, in the order in which they came; empty before the manifest is here.
    #[inline]
    pub fn acquired(&self) -> &[ChunkIndex] {
        self.download().map_or(&[], |download| &download.acquired)
    }

    /// Lends the peer a queue for its actions, or takes it back. A driver of very many peers lends each the same one around
    /// [`Peer::handle_event_with`], so that it stays in the processor's cache; the queue it takes back holds the actions.
    #[inline]
    pub fn swap_actions(&mut self, actions: &mut VecDeque<Action>) {
        std::mem::swap(&mut self.actions, actions);
    }
}
