//! Hedges: a second request for what comes late, or slowly.

use smallvec::SmallVec;

use super::Planner;
use crate::bitfield::Bitfield;
use crate::holdings::Holdings;
use crate::peer::ledger::{Ask, Why};
use crate::peer::planner::Known;
use crate::units::{ChunkIndex, HostId, Time};

impl<H: Holdings> Planner<'_, H> {
    /// [`Why::Hedge`]: what somebody is late with is asked of another neighbour too, and the first copy wins. When all that is missing is
    /// on its way, who is idle is asked for what takes long as well.
    pub(super) fn hedge(&mut self) {
        let ledger = self.known.ledger;
        if ledger.has_late() {
            self.hedge_late(self.order.parked);
        }
        if !self.has_wanted() {
            self.hedge_slow();
        }
    }

    /// Asks for what everybody is late with who was asked for it, but not of these neighbours.
    pub(super) fn hedge_late(&mut self, except: u64) {
        let ledger = self.known.ledger;
        let mut late: SmallVec<[(Time, ChunkIndex); 4]> = ledger.late().collect();
        late.sort_unstable();
        for (_, chunk) in late {
            if self.asks.iter().any(|ask| ask.chunk == chunk) {
                continue;
            }
            let why = Why::Hedge;
            // Once it may have been a bad moment. When a second one is late many may be: twice as many are asked, among them a seeder.
            let is_first = ledger.late_sources(chunk) < 2;
            let seeder = self.seeder_for(chunk);
            let asks_seeder = seeder.filter(|_| !is_first);
            let more = if is_first { 1 } else { ledger.room(chunk) };
            for _ in 0..more - usize::from(asks_seeder.is_some()) {
                if let Some(host) = self.other_source(chunk, except) {
                    self.asks.push(Ask { host, chunk, why });
                }
            }
            let is_asked = self.asks.iter().any(|ask| ask.chunk == chunk);
            if let Some(host) = asks_seeder.or_else(|| seeder.filter(|_| !is_asked)) {
                self.asks.push(Ask { host, chunk, why });
            }
        }
    }

    /// A seeder that has everything and was not asked for `chunk`, nor for as much as one neighbour is.
    fn seeder_for(&self, chunk: ChunkIndex) -> Option<HostId> {
        let seeder = self.complete_seeder()?.host;
        let has_room =
            self.outstanding(seeder) < self.known.limits.requests_per_neighbour_max && self.may_wait_at(seeder);
        (has_room && !self.known.ledger.is_asked(seeder, chunk)).then_some(seeder)
    }

    /// Who else can send `chunk`, but for these: those first that have delivered before, and of them those that are idle.
    fn other_source(&mut self, chunk: ChunkIndex, except: u64) -> Option<HostId> {
        let Known {
            ledger,
            neighbours,
            limits,
            ..
        } = self.known;
        let is_import = self.is_bordered && ledger.sources_of(chunk).any(|from| neighbours.is_remote_host(from));
        let (mut best, mut is_elsewhere) = (None, false);
        for offset in 0..self.order.len() {
            let index = self.order.index(offset);
            let bit = 1 << offset;
            let host = neighbours.hosts()[index];
            let may_ask = (self.order.seeders | except) & bit == 0;
            if !may_ask || self.is_asked(host, chunk) || !neighbours.holdings(index, self.known.table).contains(chunk) {
                continue;
            }
            is_elsewhere = true;
            // What was to come from another zone may come from another host of one.
            let is_closed = self.is_closed(index);
            if is_closed && !is_import && self.imports_left == 0 {
                continue;
            }
            let outstanding = self.outstanding(host);
            if outstanding < limits.requests_per_neighbour_max {
                let is_idle = outstanding == 0 && !self.order.is_busy(offset);
                let rank = (is_closed, !ledger.has_delivered(host), !is_idle);
                best = best.into_iter().chain([(rank, offset, index)]).min();
            }
        }
        if best.is_none() && !is_elsewhere {
            self.unserved.push(chunk);
        }
        let ((is_closed, ..), _, index) = best?;
        self.imports_left -= u32::from(is_closed && !is_import);
        self.order.asked(index);
        Some(neighbours.hosts()[index])
    }

    /// In the order of their distance, those of other zones last.
    fn hedge_slow(&mut self) {
        let Known { ledger, neighbours, .. } = self.known;
        let hedges_max = ledger.hedges_left();
        if hedges_max == 0 {
            return;
        }
        for offset in self.order.idle() {
            let index = self.order.index(offset as usize);
            let host = neighbours.hosts()[index];
            if (self.order.seeders | self.order.parked) >> offset & 1 == 1 || self.is_closed(index) {
                continue;
            }
            if self.hedges >= hedges_max {
                break;
            }
            let theirs = neighbours.holdings(index, self.known.table);
            if let Some(chunk) = self.slowest_of(host, theirs) {
                self.order.asked(index);
                self.add(host, chunk, Why::Hedge);
            }
        }
    }

    /// [`Why::Hedge`], of a seeder: when all that is missing is on its way, what everybody is late with and has sent hardly a byte of is
    /// asked of a seeder that may be idle, however many were asked. Where it is far faster than hosts it would else stand by while the last
    /// chunks wait for their turn there.
    pub(super) fn hedge_at_seeder(&mut self) {
        let Known { ledger, limits, .. } = self.known;
        if self.has_wanted() || !ledger.has_late() {
            return;
        }
        let Some(seeder) = self.complete_seeder().map(|seeder| seeder.host) else {
            return;
        };
        let mut late: SmallVec<[(Time, ChunkIndex); 8]> = ledger.late_without_bytes().collect();
        late.retain(|(_, chunk)| !ledger.is_asked(seeder, *chunk) && !ledger.is_recalled(seeder, *chunk));
        late.sort_unstable();
        for (_, chunk) in late {
            if self.outstanding(seeder) >= limits.requests_to_seeder_max(seeder) || !self.may_wait_at(seeder) {
                return;
            }
            if self.asks.iter().all(|ask| ask.chunk != chunk) {
                self.add(seeder, chunk, Why::Hedge);
            }
        }
    }

    /// The chunk that has been slow for longest, of those that `host` has and was not asked for.
    fn slowest_of(&self, host: HostId, theirs: &Bitfield) -> Option<ChunkIndex> {
        let ledger = self.known.ledger;
        let is_planned = |chunk| self.asks.iter().any(|ask| ask.chunk == chunk);
        let slow = ledger.slow().filter(|(at, _)| *at <= self.known.now);
        let was_asked = |chunk| ledger.is_asked(host, chunk) || ledger.is_recalled(host, chunk);
        let slow = slow.filter(|(_, chunk)| theirs.contains(*chunk) && !was_asked(*chunk) && !is_planned(*chunk));
        slow.min().map(|(_, chunk)| chunk)
    }
}
