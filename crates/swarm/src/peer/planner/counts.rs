//! What is on its way with what is planned, as if it had been asked already.

use super::Planner;
use crate::neighbours::Neighbours;
use crate::peer::ledger::Ledger;
use crate::units::HostId;
use crate::upload_queue::UPLOAD_QUEUE_PER_HOST_MAX;
use crate::wire::Contact;

/// Of what is on its way, how much is asked of seeders that have shown all they have: that comes beside the limit, since they send it when
/// they have nothing better to do, and nobody else is to be asked for less.
#[inline]
pub(in crate::peer) fn beside(ledger: &Ledger, neighbours: &Neighbours, seeders: &[Contact], of_each: usize) -> usize {
    let asked = |seeder: &Contact| ledger.outstanding(seeder.host).min(of_each);
    let has_all = |seeder: &Contact| neighbours.get(seeder.host).is_some_and(|known| known.has.is_full());
    // Most often nothing is asked of it, and what it has shown, which is far away in memory, need not be looked at.
    let counts = |seeder: &&Contact| asked(seeder) > 0 && has_all(seeder);
    seeders.iter().filter(counts).map(asked).sum()
}

impl<H> Planner<'_, H> {
    #[inline]
    pub(super) fn has_wanted(&self) -> bool {
        self.known.ledger.wanted_count() > self.chunks.len()
    }

    #[inline]
    pub(super) fn in_flight(&self) -> usize {
        self.known.ledger.in_flight() + self.asks.len()
    }

    /// What counts towards the limit. What everybody is late with does not, since it may never come; but there is an end to that too.
    #[inline]
    pub(super) fn chunks_in_flight(&self) -> usize {
        let late = self
            .known
            .ledger
            .late_chunks()
            .min(self.known.limits.chunks_in_flight_max);
        let asked = self.known.ledger.chunks_in_flight() + self.chunks.len();
        asked.saturating_sub(late + self.beside)
    }

    /// Whether anything is to come of those that are not late.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.known.ledger.is_waiting() || !self.asks.is_empty()
    }

    pub(super) fn outstanding(&self, host: HostId) -> usize {
        let planned = self.asks.iter().filter(|ask| ask.host == host).count();
        self.known.ledger.outstanding(host) + planned
    }

    /// Whether one request more may wait at `host`. What it is overdue with waits there as well: it would turn down what is too much, and
    /// be asked again and again.
    pub(super) fn may_wait_at(&self, host: HostId) -> bool {
        let overdue = self.known.ledger.overdue_of(host).count();
        self.outstanding(host) + overdue < UPLOAD_QUEUE_PER_HOST_MAX
    }
}
