//! Whom to serve next. Invariant: at most `slots` chunks are being served that are not late, at most [`UPLOAD_QUEUE_MAX`] wait, and
//! no (host, chunk) pair waits twice or is served twice at a time.
//!
//! Who asks for what it is being sent has thrown a part of it away: the request waits until that serving has ended, and is served
//! from the beginning. Taken for a repetition it would never be answered.
//!
//! The waiting host that holds the fewest chunks goes first: it can pass on the most of what it gets, and nobody falls
//! behind. Who waits grows needier, so that nobody waits for ever. A host that is being served already comes after those that are not, so that one slow receiver never has all slots.

use std::time::Duration;

use smallvec::SmallVec;

use crate::units::{ByteRate, Bytes, ChunkIndex, HostId, Time};
use crate::upload_slots::UploadSlots;
use crate::wire::Waited;

/// Requests that wait and that are being served.
#[derive(Clone, Debug)]
pub(crate) struct UploadQueue {
    slots: UploadSlots,
    /// How long a serving takes, in the mean; zero before the first has ended.
    serving_time: Duration,
    waiting: SmallVec<[Waiting; 8]>,
    active: SmallVec<[Active; 4]>,
    next_order: u64,
    /// Servings that have begun so far.
    begun: u64,
    /// About the longest time between bytes that went out to a host and the next ones that did.
    gap: Duration,
    /// Hosts that took no byte of what they had asked for while others waited, the latest last.
    parked: SmallVec<[Parked; 1]>,
}

/// A host that comes after all others for a while.
#[derive(Clone, Copy, Debug)]
struct Parked {
    host: HostId,
    until: Time,
    times: u32,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    to: HostId,
    chunk: ChunkIndex,
    held: u32,
    order: u64,
    since: Time,
    /// How many servings had begun when it came.
    begun_before: u64,
}

#[derive(Clone, Copy, Debug)]
struct Active {
    to: HostId,
    chunk: ChunkIndex,
    since: Time,
    /// When bytes last went out, as far as is known.
    progress_at: Time,
    /// It is to end before its last byte: how long it takes says nothing.
    stopped: bool,
    /// How many others were being served when it began.
    beside: usize,
}

/// A chunk that was sent to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) taken: Duration,
    /// How many others were being sent beside it, when it began or when it ended.
    pub(crate) beside: usize,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enqueued {
    /// It waits.
    Waiting,
    /// It waits in the place of another request, whose host had more of them: that one is to be turned down.
    InPlaceOf(HostId, ChunkIndex),
    /// It waits already.
    Duplicate,
    /// There is no room.
    Full,
}

/// What a cancelled request was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// It was waiting and is gone.
    Waiting,
    /// It is being served; the driver must stop.
    Active,
    /// It was not there.
    Unknown,
}

impl UploadQueue {
    pub(crate) const fn new(slots: UploadSlots) -> Self {
        Self {
            slots,
            serving_time: Duration::ZERO,
            waiting: SmallVec::new_const(),
            active: SmallVec::new_const(),
            next_order: 0,
            begun: 0,
            gap: GAP_AT_FIRST,
            parked: SmallVec::new_const(),
        }
    }

    /// Adds a request of `to`, which holds `held` chunks.
    pub(crate) fn push(&mut self, now: Time, to: HostId, chunk: ChunkIndex, held: u32) -> Enqueued {
        let of_host = self.waiting.iter().filter(|w| w.to == to).count();
        if self.waiting.iter().any(|w| w.to == to && w.chunk == chunk) {
            return Enqueued::Duplicate;
        }
        if of_host >= UPLOAD_QUEUE_PER_HOST_MAX {
            return Enqueued::Full;
        }
        let displaced = if self.waiting.len() >= UPLOAD_QUEUE_MAX {
            let Some(place) = self.displaced_by(of_host) else {
                return Enqueued::Full;
            };
            Some(self.waiting.swap_remove(place))
        } else {
            None
        };
        self.waiting.push(Waiting {
            to,
            chunk,
            held,
            order: self.next_order,
            since: now,
            begun_before: self.begun,
        });
        self.next_order += 1;
        displaced.map_or(Enqueued::Waiting, |other| Enqueued::InPlaceOf(other.to, other.chunk))
    }

    /// The latest request of whoever has the most that wait, where that is more than another host would have with one more.
    fn displaced_by(&self, of_host: usize) -> Option<usize> {
        let of = |host: HostId| self.waiting.iter().filter(|waiting| waiting.to == host).count();
        let most = (0..self.waiting.len()).map(|place| (of(self.waiting[place].to), self.waiting[place].order, place));
        let (count, _, place) = most.max()?;
        (count > of_host + 1).then_some(place)
    }

    /// Requests that wait or are being served.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.active.len()
    }

    /// How many hosts but for `host` have something that waits.
    pub(crate) fn others_waiting(&self, host: HostId) -> usize {
        let others = self
            .waiting
            .iter()
            .map(|waiting| waiting.to)
            .filter(|other| *other != host);
        let mut others: SmallVec<[HostId; 8]> = others.collect();
        others.sort_unstable();
        others.dedup();
        others.len()
    }

    /// How many chunks may be served at a time.
    pub(crate) const fn slots(&self) -> usize {
        self.slots.get()
    }

    /// The rate of the uplink in bytes a second, as far as it was seen; zero before anything was served.
    pub(crate) const fn rate(&self) -> u64 {
        self.slots.rate()
    }

    /// How long so many bytes take at the full rate of the uplink, as far as it was seen.
    pub(crate) fn at_full_rate(&self, bytes: u64) -> Duration {
        let rate = ByteRate::from_bytes_per_second(self.rate().max(1)).expect("it is one at least");
        rate.transfer_time(Bytes::new(bytes))
    }

    /// The build has so many chunks.
    pub(crate) fn set_chunks(&mut self, chunks: u32) {
        self.slots.set_chunks(chunks);
    }

    /// This host was seen to receive so many bytes a second.
    pub(crate) const fn set_downlink(&mut self, rate: u64) {
        self.slots.set_downlink(rate);
    }

    #[cfg(test)]
    pub(crate) const fn downlink(&self) -> u64 {
        self.slots.downlink()
    }

    /// Nothing that is sent from now on is the first copy.
    pub(crate) fn first_copies_are_out(&mut self) {
        self.slots.first_copies_are_out();
    }

    /// Whether a request waits, so that another one would.
    #[inline]
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How long a serving usually takes; zero before the first has ended.
    pub(crate) const fn serving_time(&self) -> Duration {
        self.serving_time
    }

    /// From when on a serving has no slot any more: its receiver is slow, or gone without a word, and others wait. While nothing is known of
    /// the links it may be this uplink that is slow, where bytes move: the more are served at a time, the slower each is.
    fn late_at(&self, active: &Active) -> Time {
        if self.serving_time.is_zero() {
            let rounds = self.active.len().saturating_sub(1) / self.slots.get().max(1);
            let while_it_moves = LATE_AT_FIRST_WHILE_IT_MOVES * (1 << rounds.min(ACTIVE_TIMES));
            (active.progress_at + LATE_AFTER_AT_FIRST).min(active.since + while_it_moves)
        } else {
            active.since + (self.serving_time * LATE_AFTER_TIMES).max(LATE_AFTER_LEAST)
        }
    }

    /// When the next serving gives up its slot.
    pub(crate) fn next_late(&self, now: Time) -> Option<Time> {
        let late_at = self.active.iter().map(|active| self.late_at(active));
        late_at.filter(|at| *at > now).min()
    }

    /// How many servings have given up their slots.
    pub(crate) fn late(&self, now: Time) -> usize {
        self.active.iter().filter(|active| self.late_at(active) <= now).count()
    }

    /// Bytes have gone out to `to`: whatever else it is sent waits behind them.
    pub(crate) fn progress(&mut self, now: Time, to: HostId) {
        let mut gap = None;
        for active in self.active.iter_mut().filter(|a| a.to == to) {
            gap = Some(now.since(active.progress_at));
            active.progress_at = now;
        }
        if let Some(gap) = gap {
            self.gap = gap.max(self.gap - self.gap / GAP_FADE);
        }
    }

    /// When bytes of `chunk` last went out to `to`, or began to, where it is being sent.
    pub(crate) fn moved_at(&self, to: HostId, chunk: ChunkIndex) -> Option<Time> {
        self.serving(to, chunk).map(|active| active.progress_at)
    }

    /// Since when `chunk` is being sent to `to`.
    pub(crate) fn since(&self, to: HostId, chunk: ChunkIndex) -> Option<Time> {
        self.serving(to, chunk).map(|active| active.since)
    }

    fn serving(&self, to: HostId, chunk: ChunkIndex) -> Option<&Active> {
        self.active.iter().find(|a| a.to == to && a.chunk == chunk)
    }

    /// Whether a request would be served at once.
    pub(crate) fn has_free_slot(&self, now: Time) -> bool {
        self.waiting.is_empty() && self.has_slot(now)
    }

    /// Moves the neediest waiting request to a free slot.
    pub(crate) fn start_next(&mut self, now: Time) -> Option<(HostId, ChunkIndex, Waited)> {
        if self.waiting.is_empty() || !self.has_slot(now) {
            return None;
        }
        let is_active = |w: &Waiting| self.active.iter().any(|a| a.to == w.to && a.chunk == w.chunk);
        let ready = (0..self.waiting.len()).filter(|index| !is_active(&self.waiting[*index]));
        let is_parked = |host: HostId| {
            self.parked
                .iter()
                .any(|parked| parked.host == host && now < parked.until)
        };
        let neediest = ready.min_by_key(|&index| {
            let waiting = &self.waiting[index];
            let served = self.active.iter().filter(|active| active.to == waiting.to).count();
            // With each serving that it waits for a host counts as if it held a chunk less, or newcomers would pass it for ever.
            let waited = u32::try_from(self.begun - waiting.begun_before).unwrap_or(u32::MAX);
            let needs = i64::from(waiting.held) - i64::from(waited);
            (is_parked(waiting.to), served, needs, waiting.order)
        })?;
        let Waiting { to, chunk, since, .. } = self.waiting.swap_remove(neediest);
        self.begun += 1;
        self.slots.begins(now);
        self.active.push(Active {
            to,
            chunk,
            since: now,
            progress_at: now,
            stopped: false,
            beside: self.active.len(),
        });
        Some((to, chunk, Waited::of(now.since(since))))
    }

    /// Servings that are late take no slot, up to a limit.
    fn has_slot(&self, now: Time) -> bool {
        let slots = self.slots.get();
        if self.active.len() < slots {
            return true;
        }
        self.active.len() - self.late(now) < slots && self.active.len() < slots * ACTIVE_TIMES
    }

    /// A chunk has been sent or given up; tells of it, where it was sent to its end.
    pub(crate) fn finish(&mut self, now: Time, to: HostId, chunk: ChunkIndex) -> Option<Served> {
        let index = self.active.iter().position(|a| a.to == to && a.chunk == chunk)?;
        let active = self.active.swap_remove(index);
        if self.active.is_empty() {
            self.slots.rests(now);
        }
        (!active.stopped).then(|| Served {
            taken: now.since(active.since),
            beside: active.beside.max(self.active.len()),
        })
    }

    /// A serving of so many bytes has taken so long.
    pub(crate) fn learn(&mut self, now: Time, taken: Duration, bytes: u64) {
        self.slots.learn(now, bytes, taken, !self.waiting.is_empty());
        // One that takes far longer than others tells more of its receiver than of this uplink.
        self.serving_time = if self.serving_time.is_zero() {
            taken
        } else {
            self.serving_time * 7 / 8 + taken.min(self.serving_time * LATE_AFTER_TIMES) / 8
        };
    }

    pub(crate) fn cancel(&mut self, to: HostId, chunk: ChunkIndex) -> Cancelled {
        let waiting = self.waiting.iter().position(|w| w.to == to && w.chunk == chunk);
        if let Some(index) = waiting {
            self.waiting.swap_remove(index);
        }
        if let Some(active) = self.active.iter_mut().find(|a| a.to == to && a.chunk == chunk) {
            active.stopped = true;
            Cancelled::Active
        } else if waiting.is_some() {
            Cancelled::Waiting
        } else {
            Cancelled::Unknown
        }
    }

    /// Takes out the requests for `chunk` that wait; tells whose they were, and whom it is being sent to.
    pub(crate) fn remove_chunk(&mut self, chunk: ChunkIndex) -> (Vec<HostId>, Vec<HostId>) {
        let waiting = self.waiting.iter().filter(|w| w.chunk == chunk).map(|w| w.to).collect();
        self.waiting.retain(|w| w.chunk != chunk);
        let of_chunk = self.active.iter_mut().filter(|a| a.chunk == chunk);
        let active = of_chunk.map(|active| {
            active.stopped = true;
            active.to
        });
        (waiting, active.collect())
    }

    /// Forgets everything of a host that has gone.
    pub(crate) fn remove_host(&mut self, host: HostId) {
        self.waiting.retain(|w| w.to != host);
        self.active.retain(|a| a.to != host);
    }

    /// Whether nobody else can be served, since as many are as may be, and others wait.
    fn is_crowded(&self) -> bool {
        !self.waiting.is_empty() && self.active.len() >= self.slots.get() * ACTIVE_TIMES
    }

    /// How long `host` may take no byte: not as long where somebody else could be served.
    fn stuck_after(&self, host: HostId) -> Duration {
        if self.is_crowded() && self.waiting.iter().any(|waiting| waiting.to != host) {
            (self.gap * STUCK_AFTER_GAPS).clamp(STUCK_IN_A_CROWD_AFTER, UPLOAD_STUCK_AFTER)
        } else {
            UPLOAD_STUCK_AFTER
        }
    }

    /// Hosts to whom no byte has gone for too long: they do not take what they asked for.
    pub(crate) fn stuck(&self, now: Time) -> Vec<HostId> {
        let is_stuck = |a: &&Active| now.since(a.progress_at) >= self.stuck_after(a.to);
        let mut hosts: Vec<HostId> = self.active.iter().filter(is_stuck).map(|a| a.to).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// When [`UploadQueue::stuck`] is to be looked at next.
    pub(crate) fn next_stuck(&self) -> Option<Time> {
        let stuck_at = self.active.iter().map(|a| a.progress_at + self.stuck_after(a.to));
        stuck_at.min()
    }

    /// When somebody is late or stuck next, as far as that matters to those who wait.
    pub(crate) fn next_look(&self, now: Time) -> Option<Time> {
        let next_late = if self.waiting.is_empty() {
            None
        } else {
            self.next_late(now)
        };
        match next_late {
            Some(at) if self.is_crowded() => self.next_stuck().map(|stuck| stuck.min(at)),
            Some(at) => Some(at),
            None => self.next_stuck(),
        }
    }

    /// `host` was stuck, and is let go: others come first for a while, and longer each time.
    pub(crate) fn park(&mut self, now: Time, host: HostId) {
        let known = self.parked.iter().find(|parked| parked.host == host);
        let times = known.map_or(0, |parked| parked.times);
        self.parked.retain(|parked| parked.host != host);
        if self.parked.len() >= PARKED_HOSTS_MAX {
            self.parked.remove(0);
        }
        let until = now + (PARKED_FIRST * (1 << times.min(16))).min(PARKED_MAX);
        self.parked.push(Parked {
            host,
            until,
            times: times + 1,
        });
    }

    /// Whether this request waits or is being served.
    pub(crate) fn contains(&self, to: HostId, chunk: ChunkIndex) -> bool {
        self.waiting.iter().any(|w| w.to == to && w.chunk == chunk) || self.serving(to, chunk).is_some()
    }
}

/// Requests that wait at one host at most. Four for each of 64 neighbours; more is a sign of a broken peer.
pub(crate) const UPLOAD_QUEUE_MAX: usize = 256;
/// Requests of one host that wait at most.
pub(crate) const UPLOAD_QUEUE_PER_HOST_MAX: usize = 16;

/// So many times the slots are served at most, those that are late among them.
const ACTIVE_TIMES: usize = 8;

/// A serving gives up its slot when it takes so many times as long as usual …
const LATE_AFTER_TIMES: u32 = 4;
/// … but not before this …
const LATE_AFTER_LEAST: Duration = Duration::from_millis(500);
/// … and, while nothing is known of the links, when no byte has gone out for this long, …
const LATE_AFTER_AT_FIRST: Duration = Duration::from_secs(2);
/// … or when it has taken this long though some did; twice that with twice the slots being served, and so on.
const LATE_AT_FIRST_WHILE_IT_MOVES: Duration = Duration::from_secs(10);

/// A receiver that takes no byte for this long has gone without a word.
pub(crate) const UPLOAD_STUCK_AFTER: Duration = Duration::from_secs(120);

/// The same where others wait and there is no room for them: so many times the gap between bytes of those who do take them …
const STUCK_AFTER_GAPS: u32 = 4;
/// … which is taken to be this at first, …
const GAP_AT_FIRST: Duration = Duration::from_secs(5);
/// … of which each time that some do lets so small a part fade, …
const GAP_FADE: u32 = 16;
/// … and this at least. On slow links seconds pass between bytes.
const STUCK_IN_A_CROWD_AFTER: Duration = Duration::from_secs(3);
/// Whoever was stuck comes after all others for this long, twice as long each time …
const PARKED_FIRST: Duration = Duration::from_secs(30);
/// … and this at most.
const PARKED_MAX: Duration = Duration::from_secs(600);
/// So many of them are remembered.
const PARKED_HOSTS_MAX: usize = 64;

const _: () = assert!(UPLOAD_QUEUE_PER_HOST_MAX <= UPLOAD_QUEUE_MAX);

#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;
