//! What has been asked of whom and since when. Invariant: nobody is asked for a chunk twice, and nobody new where
//! [`SOURCES_MAX`] are asked in time already. Does not choose chunks and does not send.
//!
//! Two things keep a host from waiting. *Tied requests*: a chunk that nobody has begun to send may be asked of a second
//! neighbour; who begins first wins and the other is cancelled before it has cost a byte (Dean and Barroso, "The Tail at
//! Scale", CACM 2013). *Hedging*: a request without progress for longer than what this host has seen to be usual is
//! overdue; its chunk may be asked of somebody else, and whoever stalled is asked for nothing more until it delivers.

use std::time::Duration;

use smallvec::SmallVec;

use super::pace::Pace;
use crate::units::{ChunkIndex, HostId, Time};

/// Neighbours that need not send a chunk any more.
pub(in crate::peer) type Losers = SmallVec<[HostId; 2]>;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) chunk: ChunkIndex,
    pub(super) from: HostId,
    asked_at: Time,
    progress_at: Time,
    state: State,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its neighbour has not begun.
    Asked,
    /// Its neighbour has begun.
    Sending { since: Time },
    /// Its neighbour has not begun for too long.
    Overdue,
    /// Its neighbour has begun, and nothing has come for too long.
    Stopped { since: Time },
}

/// The requests of one host.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    list: SmallVec<[Request; 4]>,
    /// What is asked after every event, counted when requests change.
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Requests that are in time, and different chunks of them.
    live: usize,
    chunks: usize,
    overdue: usize,
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
    pub(super) fn ask(&mut self, now: Time, from: HostId, chunk: ChunkIndex) {
        debug_assert!(!self.is_asked(from, chunk), "{from} is asked for {chunk} twice");
        debug_assert!(self.sources(chunk) < SOURCES_MAX, "{chunk} is asked of too many");
        self.list.push(Request {
            chunk,
            from,
            asked_at: now,
            progress_at: now,
            state: State::Asked,
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

    /// Requests to `from` that are in time.
    #[inline]
    pub(super) fn outstanding(&self, from: HostId) -> usize {
        self.live().filter(|r| r.from == from).count()
    }

    #[inline]
    pub(super) fn is_stalled(&self, from: HostId) -> bool {
        self.list.iter().any(|r| r.from == from && r.is_overdue())
    }

    /// Whether somebody has let a request become overdue and not sent anything since.
    #[inline]
    pub(super) const fn has_overdue(&self) -> bool {
        self.counts.overdue > 0
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

    /// The chunks that one neighbour is sending, and when each is late by `pace`.
    pub(super) fn late(&self, pace: &Pace) -> impl Iterator<Item = (Time, ChunkIndex)> {
        let late_after = pace.late_after();
        self.live().filter_map(move |request| {
            let State::Sending { since } = request.state else {
                return None;
            };
            (self.sources(request.chunk) == 1).then_some((since + late_after?, request.chunk))
        })
    }

    /// Bytes of `chunk` came from `from`. Where they are the first of it: the neighbours to cancel it at.
    pub(super) fn progress(&mut self, now: Time, from: HostId, chunk: ChunkIndex, pace: &mut Pace) -> Losers {
        let Some(request) = self.list.iter_mut().find(|r| r.from == from && r.chunk == chunk) else {
            return Losers::new();
        };
        request.progress_at = now;
        match request.state {
            State::Sending { .. } => return Losers::new(),
            State::Stopped { since } => {
                request.state = State::Sending { since };
                self.count();
                return Losers::new();
            }
            State::Asked | State::Overdue => request.state = State::Sending { since: now },
        }
        pace.begun(now.since(request.asked_at));
        let mut losers = Losers::new();
        self.list.retain(|r| {
            let loses = r.chunk == chunk && r.from != from && r.state == State::Asked;
            if loses {
                losers.push(r.from);
            }
            !loses
        });
        self.count();
        losers
    }

    /// `chunk` is here, from `from`. The neighbours to cancel it at.
    pub(super) fn complete(&mut self, now: Time, from: HostId, chunk: ChunkIndex, pace: &mut Pace) -> Losers {
        let mut losers = Losers::new();
        self.list.retain(|r| {
            if r.chunk != chunk {
                return true;
            }
            if r.from == from {
                pace.completed(now, r.asked_at, r.started_at());
            } else {
                losers.push(r.from);
            }
            false
        });
        self.count();
        losers
    }

    /// `chunk` is here without any of those that were asked for it: the neighbours to cancel it at.
    pub(super) fn withdraw(&mut self, chunk: ChunkIndex) -> Losers {
        let asked = self.list.iter().filter(|r| r.chunk == chunk);
        let asked = asked.map(|r| r.from).collect();
        self.list.retain(|r| r.chunk != chunk);
        self.count();
        asked
    }

    /// `from` will not send `chunk`. Tells whether it was asked and nobody else is now.
    pub(super) fn drop_request(&mut self, from: HostId, chunk: ChunkIndex) -> bool {
        let before = self.list.len();
        self.list.retain(|r| !(r.from == from && r.chunk == chunk));
        self.count();
        before != self.list.len() && self.sources(chunk) == 0
    }

    /// `from` has gone. The chunks that nobody is asked for any more.
    pub(super) fn drop_host(&mut self, from: HostId) -> Vec<ChunkIndex> {
        let theirs = self.list.iter().filter(|r| r.from == from);
        let mut theirs: Vec<ChunkIndex> = theirs.map(|r| r.chunk).collect();
        self.list.retain(|r| r.from != from);
        self.count();
        theirs.retain(|chunk| self.sources(*chunk) == 0);
        theirs
    }

    /// Everybody that stalled may be asked again.
    pub(super) fn forgive(&mut self) {
        self.list.retain(|r| !r.is_overdue());
        self.count();
    }

    /// This host stood still for `pause`, so that nobody is late who was not before.
    pub(super) fn excuse(&mut self, pause: Duration) {
        for request in &mut self.list {
            request.progress_at = request.progress_at + pause;
        }
    }

    /// Marks what has been without progress for longer than `patience` at `now`.
    pub(super) fn expire(&mut self, now: Time, patience: Duration) -> Expired {
        let (mut free, mut hosts) = (Vec::new(), Vec::new());
        for request in &mut self.list {
            if !request.is_overdue() && now >= request.progress_at + patience {
                request.state = match request.state {
                    State::Sending { since } | State::Stopped { since } => State::Stopped { since },
                    State::Asked | State::Overdue => State::Overdue,
                };
                free.push(request.chunk);
                if !hosts.contains(&request.from) {
                    hosts.push(request.from);
                }
            }
        }
        self.count();
        let requests = free.len();
        free.sort_unstable();
        free.dedup();
        free.retain(|chunk| self.sources(*chunk) == 0);
        Expired { requests, free, hosts }
    }

    /// When the next request becomes overdue.
    #[inline]
    pub(super) fn next_expiry(&self, patience: Duration) -> Option<Time> {
        self.live().map(|r| r.progress_at + patience).min()
    }

    /// What of this module's invariant is broken.
    pub(super) fn check(&self) -> Result<(), String> {
        let counted = Counts::of(&self.list);
        if counted != self.counts {
            return Err(format!("there are {counted:?} and not {:?}", self.counts));
        }
        for (index, request) in self.list.iter().enumerate() {
            let Request { chunk, from, .. } = *request;
            let is_same = |other: &Request| other.from == from && other.chunk == chunk;
            if self.list[..index].iter().any(is_same) {
                return Err(format!("{from} is asked for {chunk} twice"));
            }
            // One that was overdue and comes after all is one more, and has begun.
            let asked = self.list.iter().filter(|r| r.chunk == chunk && r.state == State::Asked);
            if asked.count() > SOURCES_MAX {
                return Err(format!("{chunk} is asked of more than {SOURCES_MAX}"));
            }
        }
        Ok(())
    }

    #[inline]
    fn count(&mut self) {
        self.counts = Counts::of(&self.list);
    }
}

impl Counts {
    #[inline]
    fn of(requests: &[Request]) -> Self {
        let mut counts = Self::default();
        for (index, request) in requests.iter().enumerate() {
            if request.is_overdue() {
                counts.overdue += 1;
                continue;
            }
            counts.live += 1;
            let is_same = |other: &Request| other.chunk == request.chunk && !other.is_overdue();
            counts.chunks += usize::from(!requests[..index].iter().any(is_same));
        }
        counts
    }
}

impl Request {
    #[inline]
    const fn is_overdue(&self) -> bool {
        matches!(self.state, State::Overdue | State::Stopped { .. })
    }

    #[inline]
    const fn has_begun(&self) -> bool {
        self.started_at().is_some()
    }

    #[inline]
    const fn started_at(&self) -> Option<Time> {
        match self.state {
            State::Asked | State::Overdue => None,
            State::Sending { since } | State::Stopped { since } => Some(since),
        }
    }
}

/// Neighbours that are asked for the same chunk at a time, at most.
pub(super) const SOURCES_MAX: usize = 2;
/// A tie takes its chunk off the candidates.
const _: () = assert!(SOURCES_MAX == 2);
