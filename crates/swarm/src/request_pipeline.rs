//! What has been asked of whom and since when. Invariant: a chunk is asked of at most [`SOURCES_MAX`] neighbours that
//! are not overdue, and of none twice. Does not choose chunks and does not send.
//!
//! Two things keep a host from waiting. *Tied requests*: a chunk that nobody has begun to send may be asked of a second
//! neighbour; who begins first wins and the other is cancelled before it has cost a byte (Dean and Barroso, "The Tail at
//! Scale", CACM 2013). *Hedging*: a request without progress for longer than what this host has seen to be usual is
//! overdue; its chunk may be asked of somebody else, and whoever stalled is asked for nothing more until it delivers.

use std::time::Duration;

use smallvec::SmallVec;

use crate::units::{ChunkIndex, HostId, Time};

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) chunk: ChunkIndex,
    pub(crate) from: HostId,
    asked_at: Time,
    progress_at: Time,
    /// [`NOT_BEGUN`] until it has: without a word of its own for that, a peer's few requests are in few cache lines.
    started_at: Time,
    overdue: bool,
}

/// The requests of one host and how long such requests take.
#[derive(Clone, Debug)]
pub(crate) struct RequestPipeline {
    requests: SmallVec<[Request; 4]>,
    /// What is asked after every event, counted when requests change.
    counts: Counts,
    usual: ServiceTime,
    /// How long the last few requests waited until their neighbour began; at first, what the first exchange of messages
    /// took. The least of them is what a message takes where nobody is busy.
    waits_nanos: [u64; WAITS_KEPT],
    waits_seen: usize,
    /// Mean time from the beginning of a chunk to its end.
    transfer: Option<Duration>,
    ties: u32,
    completed: u32,
    /// Times that payload came which was not wanted any more.
    ties_doubled: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Requests that are not overdue, and different chunks of them.
    live: usize,
    chunks: usize,
    overdue: usize,
}

impl RequestPipeline {
    /// For a host to whom nobody is late before `patience_min`, and whose messages took `round_trip`.
    pub(crate) fn new(patience_min: Duration, round_trip: Duration) -> Self {
        Self {
            requests: SmallVec::new_const(),
            counts: Counts::default(),
            usual: ServiceTime::new(patience_min),
            waits_nanos: [nanos(round_trip); WAITS_KEPT],
            waits_seen: 0,
            transfer: None,
            ties: 0,
            completed: 0,
            ties_doubled: 0,
        }
    }

    /// Whether asking a second neighbour pays. It does not where chunks pass as fast as messages: both would have sent
    /// theirs before either could be cancelled. Nor where no neighbour has begun at once for a while.
    #[inline]
    pub(crate) fn may_tie(&self) -> bool {
        self.takes_round_trips(TIE_FROM_ROUND_TRIPS)
    }

    /// Whether asking a second neighbour for a late chunk pays.
    pub(crate) fn may_hedge(&self) -> bool {
        self.takes_round_trips(HEDGE_FROM_ROUND_TRIPS)
    }

    /// Whether a chunk takes at least so many round trips, and payload has rarely come twice.
    #[inline]
    fn takes_round_trips(&self, count: u32) -> bool {
        let round_trip = Duration::from_nanos(self.waits_nanos.iter().min().copied().unwrap_or_default());
        self.transfer.is_some_and(|transfer| transfer >= round_trip * count)
            && (self.ties_doubled + 1) * TIES_PER_DOUBLED <= self.ties + self.completed
    }

    /// Payload has come that nobody waits for: two neighbours have sent the same.
    pub(crate) fn doubled(&mut self) {
        self.ties_doubled += 1;
    }

    /// Asks a second neighbour for a chunk that nobody has begun.
    pub(crate) fn tie(&mut self, now: Time, from: HostId, chunk: ChunkIndex) {
        self.ties += 1;
        self.ask(now, from, chunk);
    }

    #[inline]
    pub(crate) fn ask(&mut self, now: Time, from: HostId, chunk: ChunkIndex) {
        debug_assert!(!self.is_asked(from, chunk));
        self.requests.push(Request {
            chunk,
            from,
            asked_at: now,
            progress_at: now,
            started_at: NOT_BEGUN,
            overdue: false,
        });
        self.count();
    }

    /// Whether `from` was asked for `chunk` and may still send it.
    #[inline]
    pub(crate) fn is_asked(&self, from: HostId, chunk: ChunkIndex) -> bool {
        self.requests.iter().any(|r| r.from == from && r.chunk == chunk)
    }

    /// Whether somebody is asked for `chunk` and not overdue.
    pub(crate) fn is_on_its_way(&self, chunk: ChunkIndex) -> bool {
        self.live().any(|r| r.chunk == chunk)
    }

    /// Everybody that stalled may be asked again.
    pub(crate) fn forgive(&mut self) {
        self.requests.retain(|r| !r.overdue);
        self.count();
    }

    /// Requests to `from` that are not overdue.
    pub(crate) fn outstanding(&self, from: HostId) -> usize {
        self.live().filter(|r| r.from == from).count()
    }

    #[inline]
    pub(crate) fn is_stalled(&self, from: HostId) -> bool {
        self.requests.iter().any(|r| r.from == from && r.overdue)
    }

    /// Whether somebody has let a request become overdue and not sent anything since.
    #[inline]
    pub(crate) const fn has_overdue(&self) -> bool {
        self.counts.overdue > 0
    }

    /// Different chunks on their way.
    #[inline]
    pub(crate) const fn chunks_in_flight(&self) -> usize {
        self.counts.chunks
    }

    /// Requests that are not overdue.
    #[inline]
    pub(crate) const fn in_flight(&self) -> usize {
        self.counts.live
    }

    #[inline]
    fn count(&mut self) {
        let requests = &self.requests[..];
        let mut counts = Counts::default();
        for (index, request) in requests.iter().enumerate() {
            if request.overdue {
                counts.overdue += 1;
                continue;
            }
            counts.live += 1;
            let is_same = |other: &Request| other.chunk == request.chunk && !other.overdue;
            counts.chunks += usize::from(!requests[..index].iter().any(is_same));
        }
        self.counts = counts;
    }

    /// The chunks that nobody has begun to send and that have room for one more source, oldest first.
    pub(crate) fn tie_candidates(&self) -> SmallVec<[ChunkIndex; 8]> {
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
        let candidates = self.live().filter(|r| !r.has_begun() && untied(r.chunk));
        let mut candidates: SmallVec<[(Time, ChunkIndex); 8]> = candidates.map(|r| (r.asked_at, r.chunk)).collect();
        candidates.sort_unstable();
        candidates.into_iter().map(|(_, chunk)| chunk).collect()
    }

    /// The chunk whose only sender has been at it for longest, and for longer than usual, of those that `may_ask` allows.
    pub(crate) fn late_candidate(&self, now: Time, may_ask: impl Fn(ChunkIndex) -> bool) -> Option<ChunkIndex> {
        let late = self.late().filter(|(_, at)| *at <= now);
        let late = late.filter(|(request, _)| may_ask(request.chunk));
        late.min_by_key(|(request, at)| (*at, request.chunk))
            .map(|(request, _)| request.chunk)
    }

    /// When the first of the chunks on their way will be later than usual.
    pub(crate) fn next_late(&self) -> Option<Time> {
        self.late().map(|(_, at)| at).min()
    }

    /// The chunks that one neighbour is sending, and when each is later than usual.
    fn late(&self) -> impl Iterator<Item = (&Request, Time)> {
        let usual = self.transfer.map(|transfer| transfer * LATE_AFTER.0 / LATE_AFTER.1);
        let is_alone = |request: &Request| self.live().filter(|r| r.chunk == request.chunk).count() == 1;
        let late = self.live().filter(move |request| is_alone(request));
        let late = late.filter(|request| request.has_begun());
        late.filter_map(move |request| Some((request, request.started_at + usual?)))
    }

    /// Bytes of `chunk` came from `from`. Where they are the first of it: the neighbours to cancel it at.
    pub(crate) fn progress(&mut self, now: Time, from: HostId, chunk: ChunkIndex) -> Vec<HostId> {
        let Some(request) = self.requests.iter_mut().find(|r| r.from == from && r.chunk == chunk) else {
            return Vec::new();
        };
        request.progress_at = now;
        let was_overdue = std::mem::replace(&mut request.overdue, false);
        if request.has_begun() {
            if was_overdue {
                self.count();
            }
            return Vec::new();
        }
        request.started_at = now;
        self.waits_nanos[self.waits_seen % WAITS_KEPT] = nanos(now.since(request.asked_at));
        self.waits_seen += 1;
        let mut losers = Vec::new();
        self.requests.retain(|r| {
            let loses = r.chunk == chunk && r.from != from && !r.has_begun() && !r.overdue;
            if loses {
                losers.push(r.from);
            }
            !loses
        });
        self.count();
        losers
    }

    /// `chunk` is here, from `from`. The neighbours to cancel it at.
    pub(crate) fn complete(&mut self, now: Time, from: HostId, chunk: ChunkIndex) -> Vec<HostId> {
        let mut losers = Vec::new();
        let (usual, transfer, completed) = (&mut self.usual, &mut self.transfer, &mut self.completed);
        self.requests.retain(|r| {
            if r.chunk != chunk {
                return true;
            }
            if r.from == from {
                usual.observe(now.since(r.asked_at));
                *completed += 1;
                if r.has_begun() {
                    let taken = now.since(r.started_at);
                    *transfer = Some(transfer.map_or(taken, |mean| mean * 7 / 8 + taken / 8));
                }
            } else {
                losers.push(r.from);
            }
            false
        });
        self.count();
        losers
    }

    /// `chunk` is here without any of those that were asked for it: the neighbours to cancel it at.
    pub(crate) fn withdraw(&mut self, chunk: ChunkIndex) -> Vec<HostId> {
        let asked = self.requests.iter().filter(|r| r.chunk == chunk);
        let asked = asked.map(|r| r.from).collect();
        self.requests.retain(|r| r.chunk != chunk);
        self.count();
        asked
    }

    /// `from` will not send `chunk`. Tells whether nobody else is asked for it now.
    pub(crate) fn drop_request(&mut self, from: HostId, chunk: ChunkIndex) -> bool {
        let before = self.requests.len();
        self.requests.retain(|r| !(r.from == from && r.chunk == chunk));
        self.count();
        before != self.requests.len() && self.live().all(|r| r.chunk != chunk)
    }

    /// `from` has gone. The chunks that nobody is asked for any more.
    pub(crate) fn drop_host(&mut self, from: HostId) -> Vec<ChunkIndex> {
        let theirs: Vec<ChunkIndex> = self
            .requests
            .iter()
            .filter(|r| r.from == from)
            .map(|r| r.chunk)
            .collect();
        self.requests.retain(|r| r.from != from);
        self.count();
        theirs
            .into_iter()
            .filter(|chunk| self.live().all(|r| r.chunk != *chunk))
            .collect()
    }

    /// This host stood still for `pause`, so that nobody is late who was not before.
    pub(crate) fn excuse(&mut self, pause: Duration) {
        for request in &mut self.requests {
            request.progress_at = request.progress_at + pause;
        }
    }

    /// Marks what is overdue at `now`.
    pub(crate) fn expire(&mut self, now: Time) -> Expired {
        let patience = self.usual.patience();
        let mut expired = Vec::new();
        let mut hosts = Vec::new();
        for request in &mut self.requests {
            if !request.overdue && now >= request.progress_at + patience {
                request.overdue = true;
                expired.push(request.chunk);
                if !hosts.contains(&request.from) {
                    hosts.push(request.from);
                }
            }
        }
        if !expired.is_empty() {
            self.usual.back_off();
            self.count();
        }
        expired.sort_unstable();
        expired.dedup();
        expired.retain(|chunk| self.live().all(|r| r.chunk != *chunk));
        Expired { free: expired, hosts }
    }

    /// When the next request becomes overdue.
    #[inline]
    pub(crate) fn next_expiry(&self) -> Option<Time> {
        let patience = self.usual.patience();
        self.live().map(|r| r.progress_at + patience).min()
    }

    /// How long a chunk usually takes from its first byte to its last; `None` before the first one came.
    #[inline]
    pub(crate) const fn transfer(&self) -> Option<Duration> {
        self.transfer
    }

    #[inline]
    pub(crate) fn live(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|r| !r.overdue)
    }
}

impl Request {
    #[inline]
    const fn has_begun(&self) -> bool {
        self.started_at.as_nanos() != NOT_BEGUN.as_nanos()
    }
}

/// What has become overdue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    /// Chunks that nobody is asked for in time any more.
    pub(crate) free: Vec<ChunkIndex>,
    /// Who let something become overdue.
    pub(crate) hosts: Vec<HostId>,
}

/// Mean and deviation of the time from asking to having, after RFC 6298 (gains 1/8 and 1/4, four deviations).
#[derive(Clone, Copy, Debug)]
struct ServiceTime {
    mean_nanos: u64,
    deviation_nanos: u64,
    seen: bool,
    doublings: u32,
    /// Less than this is the noise of a busy machine and not a stall.
    least: Duration,
}

impl ServiceTime {
    const fn new(least: Duration) -> Self {
        Self {
            least,
            mean_nanos: 0,
            deviation_nanos: 0,
            seen: false,
            doublings: 0,
        }
    }

    fn observe(&mut self, taken: Duration) {
        let taken = nanos(taken);
        if self.seen {
            let error = taken.abs_diff(self.mean_nanos);
            self.deviation_nanos = self.deviation_nanos / 4 * 3 + error / 4;
            self.mean_nanos = self.mean_nanos / 8 * 7 + taken / 8;
        } else {
            self.mean_nanos = taken;
            self.deviation_nanos = taken / 2;
            self.seen = true;
        }
        self.doublings = 0;
    }

    /// Nothing came in time: wait longer for the next, so that a link that has become slow is not asked ever more.
    fn back_off(&mut self) {
        self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
    }

    fn patience(&self) -> Duration {
        let base = if self.seen {
            let usual = Duration::from_nanos(self.mean_nanos.saturating_add(4 * self.deviation_nanos));
            usual.max(2 * Duration::from_nanos(self.mean_nanos)).max(self.least)
        } else {
            self.least * PATIENCE_AT_FIRST / 2
        };
        base * (1 << self.doublings)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 16)
}

/// Of a request that nobody has begun to serve.
const NOT_BEGUN: Time = Time::MAX;
/// A chunk is late after this multiple of what a chunk usually takes.
const LATE_AFTER: (u32, u32) = (3, 2);
/// Neighbours that are asked for the same chunk at a time, at most.
pub(crate) const SOURCES_MAX: usize = 2;
/// A tie takes its chunk off the candidates.
const _: () = assert!(SOURCES_MAX == 2);
/// Requests whose wait is remembered.
const WAITS_KEPT: usize = 8;
/// A chunk takes at least so many round trips where ties pay.
const TIE_FROM_ROUND_TRIPS: u32 = 16;
/// Likewise where asking for a late chunk twice pays: a second copy has yet to come.
const HEDGE_FROM_ROUND_TRIPS: u32 = 1;
/// Ties and chunks that must go well for each tie that does not.
const TIES_PER_DOUBLED: u32 = 12;
/// While nothing is known about the links a request is overdue after so many halves of the least patience without progress.
const PATIENCE_AT_FIRST: u32 = 5;

/// Doublings of the patience at most: four times the usual.
const DOUBLINGS_MAX: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const A: HostId = HostId::new(1);
    const B: HostId = HostId::new(2);
    const PATIENCE: Duration = Duration::from_secs(2);

    fn chunk(index: u32) -> ChunkIndex {
        ChunkIndex::new(index)
    }

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn of_two_tied_neighbours_the_one_that_begins_wins() {
        let mut pipeline = RequestPipeline::new(PATIENCE, Duration::from_millis(1));
        pipeline.ask(at(0), A, chunk(7));
        assert_eq!(pipeline.tie_candidates().as_slice(), [chunk(7)]);
        pipeline.ask(at(1), B, chunk(7));
        assert!(pipeline.tie_candidates().is_empty(), "two sources are enough");
        assert_eq!(pipeline.chunks_in_flight(), 1);
        assert_eq!(pipeline.progress(at(2), B, chunk(7)), [A]);
        assert!(!pipeline.is_asked(A, chunk(7)));
        assert_eq!(pipeline.progress(at(3), B, chunk(7)), []);
    }

    #[test]
    fn a_request_without_progress_becomes_overdue_and_its_neighbour_stalled() {
        let mut pipeline = RequestPipeline::new(PATIENCE, Duration::from_millis(1));
        pipeline.ask(at(0), A, chunk(0));
        assert_eq!(pipeline.complete(at(1000), A, chunk(0)), []);
        pipeline.ask(at(1000), A, chunk(1));
        let expiry = pipeline.next_expiry().unwrap();
        assert_eq!(expiry, at(1000) + Duration::from_secs(3), "mean plus four deviations");
        assert_eq!(pipeline.expire(at(3999)).free, []);
        let expired = pipeline.expire(expiry);
        assert_eq!((expired.free, expired.hosts), (vec![chunk(1)], vec![A]));
        assert!(pipeline.is_stalled(A));
        assert_eq!(pipeline.in_flight(), 0);
        assert!(pipeline.is_asked(A, chunk(1)), "late bytes are still welcome");
        pipeline.progress(at(5000), A, chunk(1));
        assert!(!pipeline.is_stalled(A));
    }

    #[test]
    fn a_chunk_that_one_neighbour_takes_long_for_is_late_until_another_is_asked_as_well() {
        let mut pipeline = RequestPipeline::new(PATIENCE, Duration::from_millis(1));
        pipeline.ask(at(0), A, chunk(0));
        pipeline.progress(at(0), A, chunk(0));
        pipeline.complete(at(100), A, chunk(0));
        pipeline.ask(at(100), A, chunk(1));
        assert_eq!(
            pipeline.next_late(),
            None,
            "it has not begun: that is what ties are for"
        );
        pipeline.progress(at(200), A, chunk(1));
        assert_eq!(pipeline.next_late(), Some(at(350)), "half as long again as usual");
        assert_eq!(pipeline.late_candidate(at(349), |_| true), None);
        assert_eq!(pipeline.late_candidate(at(350), |_| false), None);
        assert_eq!(pipeline.late_candidate(at(350), |_| true), Some(chunk(1)));
        pipeline.ask(at(350), B, chunk(1));
        assert_eq!(pipeline.late_candidate(at(400), |_| true), None, "two are enough");
        assert_eq!(pipeline.progress(at(360), B, chunk(1)), [], "both go on");
        assert_eq!(pipeline.complete(at(420), B, chunk(1)), [A], "and the first copy wins");
    }

    #[test]
    fn a_pause_of_this_host_makes_nobody_overdue() {
        let mut pipeline = RequestPipeline::new(PATIENCE, Duration::from_millis(1));
        pipeline.ask(at(0), A, chunk(0));
        let due = pipeline.next_expiry().unwrap();
        let woken = due + Duration::from_secs(14);
        pipeline.excuse(Duration::from_secs(14));
        assert_eq!(pipeline.expire(due + Duration::from_secs(13)).free, []);
        assert_eq!(pipeline.expire(woken).free, [chunk(0)], "but it is not forgotten");
    }

    #[test]
    fn a_chunk_is_free_again_only_when_nobody_is_asked_for_it() {
        let mut pipeline = RequestPipeline::new(PATIENCE, Duration::from_millis(1));
        pipeline.ask(at(0), A, chunk(3));
        pipeline.ask(at(0), B, chunk(3));
        assert!(!pipeline.drop_request(A, chunk(3)));
        assert_eq!(pipeline.drop_host(B), [chunk(3)]);
        assert!(!pipeline.drop_request(B, chunk(3)), "it was not there any more");
    }

    #[test]
    fn patience_doubles_while_nothing_comes_and_recovers() {
        let mut usual = ServiceTime::new(PATIENCE);
        usual.observe(Duration::from_secs(1));
        let first = usual.patience();
        usual.back_off();
        assert_eq!(usual.patience(), first * 2);
        (0..100).for_each(|_| usual.back_off());
        assert_eq!(usual.patience(), first * (1 << DOUBLINGS_MAX));
        usual.observe(Duration::from_secs(1));
        assert!(usual.patience() <= first);
    }
}
