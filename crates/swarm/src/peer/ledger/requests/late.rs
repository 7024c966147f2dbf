//! Which requests are late: who takes longer than is usual, and of what another neighbour may be asked for that.

use smallvec::SmallVec;

use super::{Request, Requests};
use crate::peer::ledger::pace::Pace;
use crate::peer::ledger::request::State;
use crate::units::{ChunkIndex, HostId, Time};

impl Requests {
    /// Who is late with `chunk`, each told once.
    pub(in crate::peer::ledger) fn tell_late(&mut self, chunk: ChunkIndex) -> SmallVec<[HostId; 2]> {
        let late = self.list.iter_mut().filter(|r| r.chunk == chunk && r.late);
        late.filter_map(|r| (!std::mem::replace(&mut r.reported, true)).then_some(r.from))
            .collect()
    }

    /// Neighbours that are late with `chunk`, or send a trickle of it.
    pub(in crate::peer::ledger) fn late_sources(&self, chunk: ChunkIndex) -> usize {
        self.live().filter(|r| r.chunk == chunk && r.is_slow()).count()
    }

    /// The chunks that one neighbour is sending, and when each takes longer than a chunk usually does.
    pub(in crate::peer::ledger) fn slow(&self, pace: &Pace) -> impl Iterator<Item = (Time, ChunkIndex)> {
        let slow_after = pace.slow_after();
        self.live().filter_map(move |request| {
            let State::Sending { since, .. } = request.state else {
                return None;
            };
            (self.sources(request.chunk) == 1).then_some((since + slow_after?, request.chunk))
        })
    }

    /// The chunks that everybody who is asked for them is late with, or that only trickle in, and of which one
    /// neighbour more may be asked, with when they were first asked for. Where no more bytes may come twice, only those of which none
    /// has come.
    pub(in crate::peer::ledger) fn late(&self, may_double: bool) -> impl Iterator<Item = (Time, ChunkIndex)> {
        let late = self.all_of(move |request| request.is_slow() && (may_double || !self.may_cost(request)));
        late.filter(|(_, chunk)| self.room(*chunk) > 0)
    }

    /// Likewise those of which hardly a byte has come, however many were asked for them.
    pub(in crate::peer::ledger) fn late_without_bytes(&self) -> impl Iterator<Item = (Time, ChunkIndex)> {
        self.all_of(|request| request.is_slow() && !self.may_cost(request))
    }

    /// The chunks of which all live requests are so, with when they were first asked for.
    fn all_of(&self, is_so: impl Fn(&Request) -> bool) -> impl Iterator<Item = (Time, ChunkIndex)> {
        let all = self.live().enumerate().filter(move |(index, request)| {
            let before = self.live().take(*index);
            let of_chunk = |other: &&Request| other.chunk == request.chunk;
            is_so(request) && before.filter(of_chunk).count() == 0 && self.live().filter(of_chunk).all(&is_so)
        });
        all.map(|(_, request)| (request.asked_at, request.chunk))
    }

    /// Marks what takes longer than usual at `now`. Who sends no byte.
    pub(in crate::peer::ledger) fn mark_late(&mut self, now: Time, pace: &mut Pace) -> SmallVec<[HostId; 2]> {
        let mut hosts = SmallVec::new();
        let (mut any_trickles, mut are_late) = (false, 0);
        let limits = pace.limits();
        for request in &mut self.list {
            let trickles = !request.trickles && now >= request.trickles_at(&limits);
            any_trickles |= trickles;
            let late = !request.late && !request.is_overdue() && now >= request.late_at(&limits);
            are_late += u32::from(late);
            request.trickles |= trickles;
            request.late |= late;
            if (trickles || late) && !hosts.contains(&request.from) {
                hosts.push(request.from);
            }
        }
        if any_trickles {
            pace.trickles();
        }
        pace.are_late(are_late);
        self.count();
        hosts
    }

    /// How many were late with `chunk` before, for who is asked for it now. Of those that have never delivered each may be a liar, and others
    /// are not busy for that: they count as one.
    pub(super) fn late_before(&self, chunk: ChunkIndex) -> u8 {
        if !self.has_late() {
            return 0;
        }
        let late = self.late_sources(chunk);
        let is_known = |r: &&Request| r.chunk == chunk && r.is_slow() && self.has_delivered(r.from);
        let known = self.live().filter(is_known).count();
        u8::try_from(known + usize::from(late > known)).unwrap_or(u8::MAX)
    }
}
