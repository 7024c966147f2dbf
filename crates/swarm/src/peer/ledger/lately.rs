//! Which neighbour had to do with which chunk of late: requests that were taken back, or came to nothing, and payload that nobody had
//! asked for.
//!
//! A neighbour that is asked for a chunk once more may answer the first request, whose answer was on its way when that was taken back. How
//! long the second one took is not known then, as with a segment that TCP sends twice (P. Karn and C. Partridge, *Improving Round-Trip Time
//! Estimates in Reliable Transport Protocols*, SIGCOMM 1987): it is learned from those alone that were asked once.

use std::collections::VecDeque;

use crate::units::{ChunkIndex, HostId};

/// The last of them. Most hosts have none, and then there is nothing to look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Lately {
    last: VecDeque<(HostId, ChunkIndex)>,
}

impl Lately {
    #[inline]
    pub(super) fn note(&mut self, from: HostId, chunk: ChunkIndex) {
        if self.last.len() >= KEPT {
            self.last.pop_front();
        }
        self.last.push_back((from, chunk));
    }

    #[inline]
    pub(super) fn contains(&self, from: HostId, chunk: ChunkIndex) -> bool {
        self.last.contains(&(from, chunk))
    }

    #[inline]
    pub(super) fn forget(&mut self, from: HostId, chunk: ChunkIndex) {
        self.last.retain(|noted| *noted != (from, chunk));
    }
}

/// More requests are rarely taken back within a round trip, and more chunks rarely on their way that nobody waits for.
const KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::bitfield::Bitfield;
    use crate::chunk_scheduler::ChunkPolicy;
    use crate::peer::ledger::{Ask, Ledger, Why};
    use crate::units::{ChunkIndex, HostId, Time};
    use crate::wire::Waited;

    /// The answer to a request that was taken back came 1 ms after the neighbour was asked once more, and the host then asked for two chunks
    /// at a time where five pass in a round trip.
    #[test]
    fn who_answers_a_request_that_was_taken_back_shows_no_round_trip() {
        const ROUND_TRIP: Duration = Duration::from_millis(40);
        let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
        let (a, b, chunk) = (HostId::new(1), HostId::new(2), ChunkIndex::new(7));
        let mut ledger = Ledger::new(
            ChunkPolicy::LatestUseful,
            Bitfield::new(64),
            Duration::from_secs(2),
            ROUND_TRIP,
        );
        let ask = |ledger: &mut Ledger, millis, host, why| ledger.ask(at(millis), Ask { host, chunk, why }, 0);
        ask(&mut ledger, 0, a, Why::Want);
        ask(&mut ledger, 5, b, Why::Tie);
        assert_eq!(ledger.started(at(45), b, chunk, Waited::NONE).as_slice(), [a]);
        ask(&mut ledger, 45, a, Why::Hedge);
        ledger.started(at(46), a, chunk, Waited::NONE);
        assert_eq!(ledger.round_trip(), ROUND_TRIP);
    }
}
