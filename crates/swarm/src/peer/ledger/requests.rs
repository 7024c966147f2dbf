//! What has been asked of whom and since when. Invariant: nobody is asked for a chunk twice, and nobody new where
//! [`SOURCES_MAX`] are asked in time already. Does not choose chunks and does not send.
//!
//! Three things keep a host from waiting (Dean and Barroso, "The Tail at Scale", CACM 2013). *Tied requests*: a chunk that nobody has
//! begun to send may be asked of a second neighbour; who begins first wins and the other is cancelled before it has cost a byte.
//! *Hedging*: a request that takes longer than what this host has seen to be usual is *late*; its chunk may be asked of somebody else
//! as well, and the first copy wins. *Expiry*: one without progress for longer than the patience is *overdue*; its chunk is wanted
//! again. Nobody is blamed: who is late or overdue loses its turn for a while, and is asked again after that.

mod late;

use smallvec::SmallVec;

use super::counts::Counts;
use super::lately::Lately;
use super::pace::Pace;
use super::request::{Request, Sign, State};
use crate::units::{ChunkIndex, HostId, Time};

/// Neighbours that need not send a chunk any more.
pub(in crate::peer) type Losers = SmallVec<[HostId; 2]>;

/// The requests of one host.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    list: SmallVec<[Request; 10]>,
    /// Neighbours that have ever delivered.
    delivered: SmallVec<[HostId; 8]>,
    /// What was taken back, or came to nothing: see [`Lately`].
    recalled: Lately,
    /// What is asked after every event, counted when requests change.
    counts: Counts,
}

/// What has become overdue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expired {
    /// How many requests.
    pub(super) requests: usize,
    /// Chunks that nobody is asked for in time any more.
    pub(super) free: Vec<ChunkIndex>,
    /// Who let something become overdue.
    pub(super) hosts: Vec<HostId>,
}

impl Requests {
    #[inline]
    pub(super) fn ask(&mut self, now: Time, from: HostId, chunk: ChunkIndex, struck: bool) {
        debug_assert!(!self.is_asked(from, chunk), "{from} is asked for {chunk} twice");
        debug_assert!(self.in_time(chunk) < SOURCES_MAX, "{chunk} is asked of too many");
        let after = self.late_before(chunk);
        self.list.push(Request {
            chunk,
            from,
            asked_at: now,
            progress_at: now,
            state: State::Asked,
            late: false,
            reported: false,
            trickles: false,
            again: self.recalled.contains(from, chunk),
            struck,
            after,
        });
        self.count();
    }

    /// Whether `from` was asked for `chunk` and may still send it.
    #[inline]
    pub(super) fn is_asked(&self, from: HostId, chunk: ChunkIndex) -> bool {
        self.list.iter().any(|r| r.from == from && r.chunk == chunk)
    }

    /// Neighbours that are asked for `chunk` in time.
    #[inline]
    pub(super) fn sources(&self, chunk: ChunkIndex) -> usize {
        self.live().filter(|r| r.chunk == chunk).count()
    }

    /// How many neighbours more may be asked for `chunk`.
    pub(super) fn room(&self, chunk: ChunkIndex) -> usize {
        let of_chunk = || self.live().filter(|r| r.chunk == chunk);
        let counted = of_chunk().filter(|r| !(r.late && r.struck)).count();
        // Where two trickle that have delivered before, it is this host's own link that is slow.
        if of_chunk().filter(|r| self.may_cost(r)).count() >= SOURCES_MAX {
            return 0;
        }
        let sends = |r: &Request| matches!(r.state, State::Sending { paid: true, .. });
        let max = if self.list.iter().any(sends) {
            SOURCES_WITH_LATE_MAX
        } else {
            SOURCES_OF_THE_SILENT_MAX
        };
        let more = SOURCES_MAX.saturating_sub(self.in_time(chunk));
        more.min(max.saturating_sub(counted))
    }

    /// Neighbours that are asked for `chunk` and are not late with it.
    fn in_time(&self, chunk: ChunkIndex) -> usize {
        self.live().filter(|r| r.chunk == chunk && !r.is_slow()).count()
    }

    /// Requests to `from` that are in time.
    #[inline]
    pub(super) fn outstanding(&self, from: HostId) -> usize {
        self.live().filter(|r| r.from == from).count()
    }

    /// The chunks of `from` that are overdue: they may come yet, and need not be asked for again.
    pub(super) fn overdue_of(&self, from: HostId) -> impl Iterator<Item = ChunkIndex> {
        let theirs = self.list.iter().filter(move |r| r.from == from && r.is_overdue());
        theirs.map(|r| r.chunk)
    }

    /// Whether any request is overdue.
    #[inline]
    pub(super) const fn has_overdue(&self) -> bool {
        self.counts.overdue > 0
    }

    /// Different chunks that everybody who is asked for them is late with, or sends a trickle of.
    #[inline]
    pub(super) const fn late_chunks(&self) -> usize {
        self.counts.late
    }

    /// Whether any request is late or trickles.
    #[inline]
    pub(super) const fn has_late(&self) -> bool {
        self.counts.slow > 0
    }

    /// Different chunks on their way.
    #[inline]
    pub(super) const fn chunks_in_flight(&self) -> usize {
        self.counts.chunks
    }

    /// Requests that are in time.
    #[inline]
    pub(super) const fn in_flight(&self) -> usize {
        self.counts.live
    }

    #[inline]
    pub(super) fn live(&self) -> impl Iterator<Item = &Request> {
        self.list.iter().filter(|r| !r.is_overdue())
    }

    /// All of them, overdue or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Request> {
        self.list.iter()
    }

    /// The chunks that nobody has begun to send and that have room for one more source, with when they were asked for.
    #[inline]
    pub(super) fn tie_candidates(&self) -> impl Iterator<Item = (Time, ChunkIndex)> {
        let untied = |chunk| {
            let mut sources = 0;
            for request in self.live().filter(|r| r.chunk == chunk) {
                if request.has_begun() {
                    return false;
                }
                sources += 1;
            }
            sources < SOURCES_MAX
        };
        let candidates = self.live().filter(move |r| !r.has_begun() && untied(r.chunk));
        candidates.map(|r| (r.asked_at, r.chunk))
    }

    /// Payload of `chunk` came from `from`, or its word that it begins. Where it is the first: the neighbours to cancel it at.
    pub(super) fn progress(
        &mut self,
        now: Time,
        from: HostId,
        chunk: ChunkIndex,
        sign: Sign,
        pace: &mut Pace,
    ) -> Losers {
        let pays = sign == Sign::Payload;
        // To say that one begins is easy. A neighbour that has delivered is believed: otherwise the chunk would be asked of a third one at the
        // moment the second is cancelled.
        let is_known = self.has_delivered(from);
        let is_believed = pays || is_known;
        let Some(request) = self.list.iter_mut().find(|r| r.from == from && r.chunk == chunk) else {
            return Losers::new();
        };
        match &mut request.state {
            State::Sending { since, paid } => {
                // To say that it begins once more is no progress.
                if pays {
                    request.progress_at = now;
                    let is_first = !std::mem::replace(paid, true);
                    if is_first && is_known && !request.again {
                        pace.pays(now.since(*since));
                    }
                    if is_first || request.late {
                        request.late = false;
                        self.count();
                        self.note_doubled(from, chunk, pace);
                    }
                }
                return Losers::new();
            }
            State::Stopped { .. } if !pays => return Losers::new(),
            // Too late to count on, and welcome when it is whole.
            State::Stopped { since } if now >= *since + pace.transfer_given_up() => {
                request.progress_at = now;
                return Losers::new();
            }
            State::Stopped { since } => {
                request.progress_at = now;
                request.state = State::Sending {
                    since: *since,
                    paid: true,
                };
                self.count();
                return Losers::new();
            }
            State::Asked | State::Overdue => {
                request.progress_at = now;
                request.late &= !is_believed;
                request.state = State::Sending { since: now, paid: pays };
            }
        }
        if !request.again {
            pace.begun(now.since(request.asked_at), sign.waited());
        }
        let losers = self.take_back(|r| r.chunk == chunk && r.from != from && r.state == State::Asked);
        self.count();
        if pays {
            self.note_doubled(from, chunk, pace);
        }
        losers
    }

    /// Counts where two neighbours send the same.
    fn note_doubled(&self, from: HostId, chunk: ChunkIndex, pace: &mut Pace) {
        let mut others = self.list.iter().filter(|r| r.chunk == chunk && r.from != from);
        if others.any(|r| self.may_cost(r)) {
            pace.twice_on_its_way();
        }
    }

    /// Whether as much as a chunk may have come with a request. Of who has never delivered, and is slow, it is hardly anything.
    fn may_cost(&self, request: &Request) -> bool {
        matches!(request.state, State::Sending { paid: true, .. })
            && (!request.is_slow() || self.has_delivered(request.from))
    }

    /// Whether `from` has ever delivered a chunk.
    pub(super) fn has_delivered(&self, from: HostId) -> bool {
        self.delivered.contains(&from)
    }

    /// `chunk` is here, from `from`. The neighbours to cancel it at, and when `from` began, where that is known.
    pub(super) fn complete(
        &mut self,
        now: Time,
        from: HostId,
        chunk: ChunkIndex,
        pace: &mut Pace,
    ) -> (Losers, Option<Time>) {
        let (mut losers, mut began) = (Losers::new(), None);
        self.list.retain(|r| {
            if r.chunk != chunk {
                return true;
            }
            if r.from == from {
                if !self.delivered.contains(&from) {
                    self.delivered.push(from);
                }
                began = r.answered_at();
                pace.completed(now, r.asked_at, began);
            } else {
                losers.push(r.from);
            }
            false
        });
        self.count();
        (losers, began)
    }

    /// `chunk` is here without any of those that were asked for it: the neighbours to cancel it at.
    pub(super) fn withdraw(&mut self, chunk: ChunkIndex) -> Losers {
        let asked = self.take_back(|r| r.chunk == chunk);
        self.count();
        asked
    }

    /// Whether `from` was asked for `chunk` a moment ago, and may answer that.
    pub(super) fn is_recalled(&self, from: HostId, chunk: ChunkIndex) -> bool {
        self.recalled.contains(from, chunk)
    }

    /// Forgets these requests, whose answers may be on their way. Whom they were asked of.
    fn take_back(&mut self, is_one: impl Fn(&Request) -> bool) -> Losers {
        let mut asked = Losers::new();
        self.list.retain(|r| {
            if !is_one(r) {
                return true;
            }
            self.recalled.note(r.from, r.chunk);
            asked.push(r.from);
            false
        });
        asked
    }

    /// `from` will not send `chunk`. Tells whether it was asked and nobody else is now.
    pub(super) fn drop_request(&mut self, from: HostId, chunk: ChunkIndex) -> bool {
        let asked = self.take_back(|r| r.from == from && r.chunk == chunk);
        self.count();
        !asked.is_empty() && self.sources(chunk) == 0
    }

    /// `from` has gone. The chunks that nobody is asked for any more.
    pub(super) fn drop_host(&mut self, from: HostId) -> Vec<ChunkIndex> {
        let theirs = self.list.iter().filter(|r| r.from == from);
        let mut theirs: Vec<ChunkIndex> = theirs.map(|r| r.chunk).collect();
        self.list.retain(|r| r.from != from);
        self.delivered.retain(|host| *host != from);
        self.count();
        theirs.retain(|chunk| self.sources(*chunk) == 0);
        theirs
    }

    /// What is overdue and has not begun is not expected any more. What has begun is: its neighbour may be slow, and to ask it anew would
    /// throw away what has come.
    pub(super) fn forgive(&mut self) {
        self.take_back(|r| r.state == State::Overdue);
        self.count();
    }

    /// This host stood still until `now`: whoever was asked before is not late for that.
    pub(super) fn excuse(&mut self, now: Time) {
        for request in &mut self.list {
            let still = now.since(request.progress_at);
            request.asked_at = request.asked_at + still;
            request.progress_at = now;
            if let State::Sending { since, .. } | State::Stopped { since } = &mut request.state {
                *since = *since + still;
            }
        }
    }

    /// Marks what has been without progress for longer than the patience, doubled as each was asked, at `now`, and what comes so slowly
    /// that nobody is to wait for it.
    pub(super) fn expire(&mut self, now: Time, pace: &mut Pace) -> Expired {
        let (mut free, mut hosts) = (Vec::new(), Vec::new());
        let mut any_moves = false;
        let limits = pace.limits();
        for request in &mut self.list {
            if !request.is_overdue() && now >= request.overdue_at(&limits) {
                any_moves |= !request.is_silent(now, &limits);
                request.state = match request.state {
                    State::Sending { since, .. } | State::Stopped { since } => State::Stopped { since },
                    State::Asked | State::Overdue => State::Overdue,
                };
                free.push(request.chunk);
                if !hosts.contains(&request.from) {
                    hosts.push(request.from);
                }
            }
        }
        if any_moves {
            pace.gave_up();
        }
        self.count();
        let requests = free.len();
        free.sort_unstable();
        free.dedup();
        free.retain(|chunk| self.sources(*chunk) == 0);
        Expired { requests, free, hosts }
    }

    /// When the next request becomes overdue, or late.
    #[inline]
    pub(super) fn next_expiry(&self, pace: &Pace) -> Option<Time> {
        let limits = pace.limits();
        let next = |r: &Request| {
            let late_at = if r.late { Time::MAX } else { r.late_at(&limits) };
            let trickles_at = if r.trickles { Time::MAX } else { r.trickles_at(&limits) };
            r.overdue_at(&limits).min(late_at).min(trickles_at)
        };
        self.live().map(next).min()
    }

    /// What of this module's invariant is broken.
    pub(super) fn check(&self) -> Result<(), String> {
        let counted = Counts::of(&self.list);
        if counted != self.counts {
            return Err(format!("there are {counted:?} and not {:?}", self.counts));
        }
        for (index, request) in self.list.iter().enumerate() {
            let Request { chunk, from, .. } = *request;
            if self.list[..index].iter().any(|r| r.from == from && r.chunk == chunk) {
                return Err(format!("{from} is asked for {chunk} twice"));
            }
            // One that was overdue and comes after all is one more, and has begun.
            let asked = || self.list.iter().filter(|r| r.chunk == chunk && r.state == State::Asked);
            let in_time = asked().filter(|r| !r.is_slow()).count();
            let counted = asked().filter(|r| !(r.late && r.struck)).count();
            let limits = [(in_time, SOURCES_MAX), (counted, SOURCES_WITH_LATE_MAX + SEEDERS_MAX)];
            if let Some((_, max)) = limits.iter().find(|(count, max)| count > max) {
                return Err(format!("{chunk} is asked of more than {max}"));
            }
        }
        Ok(())
    }

    #[inline]
    fn count(&mut self) {
        self.counts = Counts::of(&self.list);
    }
}

/// Neighbours that are asked for the same chunk at a time and are not late with it, at most.
pub(super) const SOURCES_MAX: usize = 2;
/// The same with those that are, while bytes come …
const SOURCES_WITH_LATE_MAX: usize = 8;
/// … and while none come of anybody: it may be this host that is cut off, and all of them send when it is not any more.
const SOURCES_OF_THE_SILENT_MAX: usize = 4;
/// Beside these the seeders are asked, when nothing else is left to do.
const SEEDERS_MAX: usize = 8;
/// A tie takes its chunk off the candidates.
const _: () = assert!(SOURCES_MAX == 2);

#[cfg(test)]
mod rules;
