//! What this host holds and wants, and what it has asked of whom: one book for both, since neither is true without the other.
//!
//! Invariant, which [`Ledger::check`] tells of: every chunk is wanted, requested or held, and only one of these. It is requested exactly
//! where a neighbour is asked for it and in time. Nobody is asked for what is held.
//!
//! Each of the ways in keeps it, so that nothing outside can break it. Does not choose what to ask, and does not send.

mod counts;
mod lately;
mod pace;
mod request;
mod requests;

use std::time::Duration;

use rand::Rng;
use smallvec::SmallVec;

use crate::bitfield::Bitfield;
use crate::chunk_scheduler::{ChunkPolicy, ChunkScheduler};
use crate::units::{ChunkIndex, HostId, Time};
use crate::wire::Waited;
use lately::Lately;
use pace::Pace;
use request::Sign;
pub(super) use requests::Losers;
use requests::Requests;

/// One request to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) host: HostId,
    pub(super) chunk: ChunkIndex,
    pub(super) why: Why,
}

/// Why a chunk is asked of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is wanted, and the neighbour has it.
    Want,
    /// It is wanted, and is to come from another zone, by invitation or because this zone starves.
    Import,
    /// Another neighbour was asked and has not begun: whoever begins first is to send it.
    Tie,
    /// Another neighbour is late with it, or slow to send one of the last chunks.
    Hedge,
    /// It is wanted, and only a seeder sends it.
    Rescue,
}

/// Chunks and requests of one host.
pub(super) struct Ledger {
    chunks: ChunkScheduler,
    requests: Requests,
    pace: Pace,
    /// Slow chunks that a second neighbour was asked for.
    hedges: u32,
    /// Payload that nobody had asked for. It comes in many parts, and each chunk of it counts once.
    unasked: Lately,
}

/// What became of a chunk that is here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Whether it was not held before.
    pub(super) is_new: bool,
    /// Whoever else was asked for it.
    pub(super) losers: Losers,
    /// When its sender began, where that is known.
    pub(super) began: Option<Time>,
}

/// What has become overdue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overdue {
    /// How many requests.
    pub(super) requests: usize,
    /// Whose they are.
    pub(super) hosts: Vec<HostId>,
}

/// The ways in.
impl Ledger {
    /// Of a host that holds `held`, to whom nobody is late before `patience_min`, and whose messages took `round_trip`.
    pub(super) fn new(policy: ChunkPolicy, held: Bitfield, patience_min: Duration, round_trip: Duration) -> Self {
        Self {
            chunks: ChunkScheduler::new(policy, held),
            requests: Requests::default(),
            pace: Pace::new(patience_min, round_trip),
            hedges: 0,
            unasked: Lately::default(),
        }
    }

    /// A chunk is asked of a neighbour: one that is wanted, or of another neighbour one that is requested. A neighbour that has let
    /// requests become overdue `strikes` times since it last delivered is given more time.
    #[inline]
    pub(super) fn ask(&mut self, now: Time, ask: Ask, strikes: u32) {
        let Ask { host, chunk, why } = ask;
        match why {
            Why::Want | Why::Import | Why::Rescue => self.chunks.mark_requested(chunk),
            Why::Tie => self.pace.tied(),
            // What somebody is late with has hardly cost anything yet.
            Why::Hedge if self.requests.late_sources(chunk) > 0 => {}
            Why::Hedge => self.hedges += 1,
        }
        self.unasked.forget(host, chunk);
        self.requests.ask(now, host, chunk, strikes > 0);
    }

    /// `from` says that it begins to send `chunk`. Where it is the first to: the neighbours to cancel it at.
    pub(super) fn started(&mut self, now: Time, from: HostId, chunk: ChunkIndex, waited: Waited) -> Losers {
        self.progress(now, from, chunk, Sign::Begins(waited))
    }

    fn progress(&mut self, now: Time, from: HostId, chunk: ChunkIndex, sign: Sign) -> Losers {
        let losers = self.requests.progress(now, from, chunk, sign, &mut self.pace);
        // Somebody who was overdue comes after all.
        if self.requests.sources(chunk) > 0 {
            self.chunks.reclaim(chunk);
        }
        losers
    }

    /// Payload of `chunk` came from `from`, asked for or not.
    pub(super) fn received(&mut self, now: Time, from: HostId, chunk: ChunkIndex) -> Losers {
        if !self.requests.is_asked(from, chunk) && !self.unasked.contains(from, chunk) {
            self.unasked.note(from, chunk);
            self.pace.doubled();
        }
        self.progress(now, from, chunk, Sign::Payload)
    }

    /// `chunk` from `from` is verified and stored.
    pub(super) fn stored(&mut self, now: Time, from: HostId, chunk: ChunkIndex) -> Stored {
        let (losers, began) = self.requests.complete(now, from, chunk, &mut self.pace);
        Stored {
            losers,
            began,
            is_new: self.chunks.mark_held(chunk),
        }
    }

    /// `chunk` is held without anybody having sent it.
    pub(super) fn found(&mut self, chunk: ChunkIndex) -> Stored {
        Stored {
            began: None,
            losers: self.requests.withdraw(chunk),
            is_new: self.chunks.mark_held(chunk),
        }
    }

    /// The bytes of `chunk` are gone: it is wanted again. Tells whether it was held.
    pub(super) fn lost(&mut self, chunk: ChunkIndex) -> bool {
        self.chunks.mark_lost(chunk)
    }

    /// `from` will not send `chunk`: it is wanted again unless somebody else is asked for it.
    pub(super) fn give_up(&mut self, from: HostId, chunk: ChunkIndex) {
        if self.requests.drop_request(from, chunk) {
            self.chunks.release(chunk);
        }
    }

    /// What has been without progress for too long is wanted again, unless somebody else is asked for it. Late bytes stay welcome.
    pub(super) fn expire(&mut self, now: Time) -> Overdue {
        let expired = self.requests.expire(now, &mut self.pace);
        for chunk in &expired.free {
            self.chunks.release(*chunk);
        }
        Overdue {
            requests: expired.requests,
            hosts: expired.hosts,
        }
    }

    /// What takes longer than usual is late from now on. Whose it is.
    pub(super) fn mark_late(&mut self, now: Time) -> SmallVec<[HostId; 2]> {
        self.requests.mark_late(now, &mut self.pace)
    }

    /// Nobody else has `chunk`: who is late with it, each told once.
    pub(super) fn tell_late(&mut self, chunk: ChunkIndex) -> SmallVec<[HostId; 2]> {
        self.requests.tell_late(chunk)
    }

    /// This host was woken so late.
    pub(super) fn woken_late(&mut self, lag: Duration) {
        self.pace.woken_late(lag);
    }

    /// This host stood still until `now`: nobody who was asked before is late for that.
    pub(super) fn excuse(&mut self, now: Time) {
        self.requests.excuse(now);
    }

    /// What is overdue and has not begun is not expected any more, and may be asked for again wherever it was.
    pub(super) fn forgive(&mut self) {
        self.requests.forgive();
    }

    /// `host`, which has `theirs`, has gone.
    pub(super) fn neighbour_gone(&mut self, host: HostId, theirs: &Bitfield) {
        self.chunks.neighbour_gone(theirs);
        for chunk in self.requests.drop_host(host) {
            self.chunks.release(chunk);
        }
    }

    /// A neighbour now has `chunk` too.
    #[inline]
    pub(super) fn holder_gained(&mut self, chunk: ChunkIndex) {
        self.chunks.neighbour_gained(chunk);
    }

    /// A neighbour does not have `chunk` after all.
    pub(super) fn holder_lost(&mut self, chunk: ChunkIndex) {
        self.chunks.neighbour_lost(chunk);
    }

    /// A neighbour that held `had` is not taken to hold any of it from now on. What was asked of it stays asked.
    pub(super) fn holder_begins_anew(&mut self, had: &Bitfield) {
        self.chunks.neighbour_gone(had);
    }
}

/// What is in it.
impl Ledger {
    /// The chunks held.
    #[inline]
    pub(super) const fn held(&self) -> &Bitfield {
        self.chunks.held()
    }

    /// Whether every chunk is held.
    #[inline]
    pub(super) const fn is_complete(&self) -> bool {
        self.chunks.is_complete()
    }

    /// How many chunks are neither held nor requested.
    #[inline]
    pub(super) const fn wanted_count(&self) -> usize {
        self.chunks.wanted().count() as usize
    }

    /// Whether `chunk` is neither held nor requested.
    #[inline]
    pub(super) fn is_wanted(&self, chunk: ChunkIndex) -> bool {
        self.chunks.wanted().contains(chunk)
    }

    /// By the policy, the next chunk to ask of a neighbour that has `theirs`, but for `except`; `None` where nothing of theirs is wanted.
    #[inline]
    pub(super) fn choose(&self, theirs: &Bitfield, except: &[ChunkIndex], chance: &mut impl Rng) -> Option<ChunkIndex> {
        self.chunks.choose(theirs, except, chance)
    }

    /// Likewise by chance.
    pub(super) fn choose_by_chance(
        &self,
        theirs: &Bitfield,
        except: &[ChunkIndex],
        chance: &mut impl Rng,
    ) -> Option<ChunkIndex> {
        self.chunks.choose_by_chance(theirs, except, chance)
    }

    /// Whether `from` was asked for `chunk` and may still send it.
    #[inline]
    pub(super) fn is_asked(&self, from: HostId, chunk: ChunkIndex) -> bool {
        self.requests.is_asked(from, chunk)
    }

    /// Whether `from` was asked for `chunk` a moment ago, and may answer that.
    pub(super) fn is_recalled(&self, from: HostId, chunk: ChunkIndex) -> bool {
        self.requests.is_recalled(from, chunk)
    }

    /// Whether somebody is asked for `chunk` and in time.
    pub(super) fn is_requested(&self, chunk: ChunkIndex) -> bool {
        self.requests.sources(chunk) > 0
    }

    /// Requests that are in time.
    #[inline]
    pub(super) const fn in_flight(&self) -> usize {
        self.requests.in_flight()
    }

    /// Different chunks of them.
    #[inline]
    pub(super) const fn chunks_in_flight(&self) -> usize {
        self.requests.chunks_in_flight()
    }

    /// Whom they are asked of, one for each.
    #[inline]
    pub(super) fn asked(&self) -> impl Iterator<Item = HostId> {
        self.requests.live().map(|request| request.from)
    }

    /// How many of them are asked of `from`.
    #[inline]
    pub(super) fn outstanding(&self, from: HostId) -> usize {
        self.requests.outstanding(from)
    }

    /// The chunks of `from` that are overdue, and may come yet.
    pub(super) fn overdue_of(&self, from: HostId) -> impl Iterator<Item = ChunkIndex> {
        self.requests.overdue_of(from)
    }

    /// Whether `from` was asked for `chunk`, and is neither overdue with it nor sends a trickle.
    pub(super) fn is_counted_on(&self, from: HostId, chunk: ChunkIndex) -> bool {
        let mut live = self.requests.live();
        live.any(|r| r.from == from && r.chunk == chunk && !r.trickles)
    }

    /// Whether any request is overdue.
    #[inline]
    pub(super) const fn has_overdue(&self) -> bool {
        self.requests.has_overdue()
    }

    /// Whether anybody is late, or sends a trickle.
    #[inline]
    pub(super) const fn has_late(&self) -> bool {
        self.requests.has_late()
    }

    /// Whether `from` has ever delivered a chunk.
    pub(super) fn has_delivered(&self, from: HostId) -> bool {
        self.requests.has_delivered(from)
    }

    /// Whether `from` is late with something, or sends a trickle.
    pub(super) fn is_late(&self, from: HostId) -> bool {
        self.requests.live().any(|r| r.from == from && r.is_slow())
    }

    /// Whether anything is to come of neighbours that are not late with it.
    #[inline]
    pub(super) const fn is_waiting(&self) -> bool {
        self.requests.chunks_in_flight() > self.requests.late_chunks()
    }

    /// Whether anything is to come in time of those that `counts`, who are told whether they have begun with it.
    pub(super) fn is_waiting_for(&self, counts: impl Fn(HostId, bool) -> bool) -> bool {
        self.requests
            .live()
            .any(|r| !r.is_slow() && counts(r.from, r.has_begun()))
    }

    /// Different chunks that everybody who is asked for them is late with, or sends a trickle of.
    #[inline]
    pub(super) const fn late_chunks(&self) -> usize {
        self.requests.late_chunks()
    }

    /// When the next request becomes late or overdue.
    #[inline]
    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.requests.next_expiry(&self.pace)
    }

    /// How long neighbours may take to begin before they are late.
    pub(super) fn wait_max(&self) -> Duration {
        self.pace.wait_max()
    }

    /// How long a request may be without progress.
    pub(super) fn patience(&self) -> Duration {
        self.pace.patience()
    }

    /// Whether asking a second neighbour for what nobody has begun pays.
    #[inline]
    pub(super) fn may_tie(&self) -> bool {
        self.pace.may_tie()
    }

    /// The chunks that nobody has begun to send and that one more neighbour can be asked for, with when they were asked for.
    #[inline]
    pub(super) fn tie_candidates(&self) -> impl Iterator<Item = (Time, ChunkIndex)> {
        self.requests.tie_candidates()
    }

    /// How many more slow chunks a second neighbour may be asked for: each may cost a chunk.
    #[inline]
    pub(super) fn hedges_left(&self) -> u32 {
        if self.pace.may_hedge() {
            (self.held().len() / HEDGES_PART).saturating_sub(self.hedges)
        } else {
            0
        }
    }

    /// The chunks that one neighbour is sending, and when each takes longer than usual.
    #[inline]
    pub(super) fn slow(&self) -> impl Iterator<Item = (Time, ChunkIndex)> {
        self.requests.slow(&self.pace)
    }

    /// The chunks that everybody who is asked for them is late with and of which hardly a byte has come, however many were asked, with when
    /// they were first asked for.
    pub(super) fn late_without_bytes(&self) -> impl Iterator<Item = (Time, ChunkIndex)> {
        self.requests.late_without_bytes()
    }

    /// The chunks that everybody who is asked for them is late with, and of which one neighbour more may be asked, with when they
    /// were first asked for; where too many have been on their way twice, only those of which no byte has come.
    #[inline]
    pub(super) fn late(&self) -> impl Iterator<Item = (Time, ChunkIndex)> {
        self.requests.late(self.pace.twice_left(self.held().len()) > 0)
    }

    /// What passes from one chunk's end to the next.
    pub(super) fn between(&self) -> Duration {
        self.pace.between()
    }

    /// What a message takes there and back, as far as was seen of late.
    pub(super) fn round_trip(&self) -> Duration {
        self.pace.round_trip()
    }

    /// How many neighbours more may be asked for `chunk`.
    pub(super) fn room(&self, chunk: ChunkIndex) -> usize {
        self.requests.room(chunk)
    }

    /// Whoever was asked for `chunk` and is not overdue.
    pub(super) fn sources_of(&self, chunk: ChunkIndex) -> impl Iterator<Item = HostId> {
        self.requests.live().filter(move |r| r.chunk == chunk).map(|r| r.from)
    }

    /// Neighbours that are late with `chunk`, or send a trickle of it.
    pub(super) fn late_sources(&self, chunk: ChunkIndex) -> usize {
        self.requests.late_sources(chunk)
    }

    /// How long a chunk usually takes from its first byte to its last; `None` before the first one came.
    #[inline]
    pub(super) fn transfer(&self) -> Option<Duration> {
        self.pace.transfer()
    }

    /// What of the invariant is broken. Takes a look at every request and every 64th part of the chunks.
    pub(super) fn check(&self) -> Result<(), String> {
        let (wanted, held) = (self.chunks.wanted(), self.chunks.held());
        if let Some(chunk) = wanted.first_common(held) {
            return Err(format!("{chunk} is wanted and held"));
        }
        for request in self.requests.live() {
            if wanted.contains(request.chunk) {
                return Err(format!(
                    "{} is wanted though {} is asked for it",
                    request.chunk, request.from
                ));
            }
        }
        for request in self.requests.iter() {
            if held.contains(request.chunk) {
                return Err(format!(
                    "{} is held though {} is asked for it",
                    request.chunk, request.from
                ));
            }
        }
        let requested = held.len() - held.count() - wanted.count();
        if requested as usize != self.requests.chunks_in_flight() {
            let asked = self.requests.chunks_in_flight();
            return Err(format!(
                "{requested} chunks are requested, and somebody is asked for {asked}"
            ));
        }
        self.requests.check()
    }
}

/// Slow chunks are asked for twice for this part of the build at most: each may cost a chunk.
const HEDGES_PART: u32 = 64;

#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;
