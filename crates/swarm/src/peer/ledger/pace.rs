//! How long requests take here, and what follows from it: how long a neighbour may be silent, and whether asking a second one pays.

use std::time::Duration;

use crate::event::PROGRESS_INTERVAL;
use crate::units::Time;

/// What this host has seen of the time that its requests take.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// From asking to having.
    usual: Spread,
    /// From asking to the beginning.
    waits: Spread,
    /// From the beginning to having.
    transfers: Spread,
    /// From the beginning to the first bytes, of those too that were not the first to deliver: who wins is faster than usual.
    first_bytes: Spread,
    /// Less than this is the noise of a busy machine and not a stall.
    patience_min_nanos: u64,
    /// How long the last few requests waited until their neighbour began; at first, what the first exchange of messages
    /// took. The least of them is what a message takes where nobody is busy.
    waits_nanos: [u64; WAITS_KEPT],
    waits_seen: usize,
    /// What a message takes there and back, in the mean. It may have to pass queues of this host's own and of others' making, so the least is
    /// not what counts.
    round_trip_nanos: u64,
    /// When the last chunk came, and the mean time between two.
    last: Option<Time>,
    between_nanos: u64,
    /// When the last few came, in turn.
    recent: [Time; RECENT],
    ties: u32,
    completed: u32,
    /// Times that payload came which was not wanted any more.
    doubled: u32,
    /// Times that two neighbours sent the same.
    twice: u32,
    /// Since the last chunk came: how often some were taken for trickles, and how often some were given up though bytes came.
    trickled: u32,
    given_up: u32,
    /// Requests that were late so far. They count until the first chunk comes.
    late: u32,
    /// How late this host is woken at most, as seen of late.
    own_lag_nanos: u64,
}

impl Pace {
    /// For a host to whom nobody is late before `patience_min`, and whose messages took `round_trip`.
    pub(super) fn new(patience_min: Duration, round_trip: Duration) -> Self {
        Self {
            usual: Spread::default(),
            waits: Spread::default(),
            transfers: Spread::default(),
            first_bytes: Spread::default(),
            patience_min_nanos: nanos(patience_min),
            waits_nanos: [nanos(round_trip); WAITS_KEPT],
            waits_seen: 0,
            round_trip_nanos: nanos(round_trip),
            last: None,
            between_nanos: 0,
            recent: [Time::ZERO; RECENT],
            ties: 0,
            completed: 0,
            doubled: 0,
            twice: 0,
            trickled: 0,
            given_up: 0,
            late: 0,
            own_lag_nanos: 0,
        }
    }

    /// Whether asking a second neighbour pays. It does not where chunks pass as fast as messages: both would have sent
    /// theirs before either could be cancelled. Nor when the last few requests all waited: then their shortest wait is not
    /// the round trip.
    #[inline]
    pub(super) fn may_tie(&self) -> bool {
        let round_trip = || self.waits_nanos.iter().min().copied().unwrap_or_default();
        let takes_many = |nanos| nanos >= round_trip().saturating_mul(TIE_FROM_ROUND_TRIPS.into());
        self.rarely_came_twice() && self.transfers.mean().is_some_and(takes_many)
    }

    /// Whether asking a second neighbour for a late chunk pays.
    #[inline]
    pub(super) fn may_hedge(&self) -> bool {
        self.rarely_came_twice()
    }

    /// Whether enough chunks have come to tell, and little payload came twice.
    #[inline]
    const fn rarely_came_twice(&self) -> bool {
        TIES_FROM + self.doubled * TIES_PER_DOUBLED <= self.ties + self.completed
    }

    /// A second neighbour is asked for a chunk that nobody has begun.
    pub(super) const fn tied(&mut self) {
        self.ties += 1;
    }

    /// Payload has come that nobody waits for: two neighbours have sent the same.
    pub(super) const fn doubled(&mut self) {
        self.doubled += 1;
    }

    /// Two neighbours send the same chunk.
    pub(super) const fn twice_on_its_way(&mut self) {
        self.twice += 1;
    }

    /// Chunks take too long, though bytes come. Where none ends it may be this host's link that is slow, or has become so, and the more
    /// chunks share it the slower each is: until one comes the next are given twice the time.
    pub(super) const fn trickles(&mut self) {
        self.trickled = self.trickled.saturating_add(1);
    }

    /// Likewise, and they are given up.
    pub(super) const fn gave_up(&mut self) {
        self.given_up = self.given_up.saturating_add(1);
    }

    /// So many requests are late. Where many are before the first chunk has come it may be this host's own link that is slow, and to ask again
    /// and again fills it: until one comes the next are given twice the time, and twice that after as many again, up to a limit.
    pub(super) const fn are_late(&mut self, requests: u32) {
        self.late = self.late.saturating_add(requests);
    }

    /// This host was woken so late: its machine is busy, and what its neighbours send has to wait likewise.
    pub(super) fn woken_late(&mut self, lag: Duration) {
        let before = self.own_lag_nanos;
        self.own_lag_nanos = nanos(lag).max(before - before.div_ceil(OWN_LAG_PART));
    }

    /// How many chunks may still be on their way twice because somebody was late, of a build of `chunks`.
    pub(super) const fn twice_left(&self, chunks: u32) -> u32 {
        (chunks / TWICE_PART + TWICE_LEAST).saturating_sub(self.twice)
    }

    /// A neighbour has begun, so long after it was asked, of which the request has `waited` for its turn there.
    #[inline]
    pub(super) fn begun(&mut self, after: Duration, waited: Option<Duration>) {
        self.waits_nanos[self.waits_seen % WAITS_KEPT] = nanos(after);
        self.waits_seen += 1;
        if let Some(waited) = waited {
            let seen = nanos(after.saturating_sub(waited));
            let before = self.round_trip_nanos;
            self.round_trip_nanos = if before == 0 {
                seen
            } else {
                before / ROUND_TRIP_PART * (ROUND_TRIP_PART - 1)
                    + seen.min(before.saturating_mul(ROUND_TRIP_TIMES)) / ROUND_TRIP_PART
            };
        }
    }

    /// The first bytes have come from a neighbour that has delivered before, so long after it began.
    #[inline]
    pub(super) fn pays(&mut self, after: Duration) {
        self.first_bytes.observe(after);
    }

    /// A chunk is here at `now`. Its neighbour is not known to have begun where `started_at` is `None`.
    #[inline]
    pub(super) fn completed(&mut self, now: Time, asked_at: Time, started_at: Option<Time>) {
        self.usual.observe(now.since(asked_at));
        let place = self.completed as usize % RECENT;
        let first = std::mem::replace(&mut self.recent[place], now);
        self.completed += 1;
        (self.trickled, self.given_up) = (0, 0);
        if let Some(last) = self.last.replace(now) {
            let passed = nanos(now.since(last));
            self.between_nanos = if self.between_nanos == 0 {
                passed
            } else {
                self.between_nanos / BETWEEN_PART * (BETWEEN_PART - 1) + passed / BETWEEN_PART
            };
            // In the beginning each few come faster than those before, and a mean that remembers long would hold them up.
            if (RECENT_FULL..=STARTUP).contains(&self.completed) {
                self.between_nanos = self.between_nanos.min(nanos(now.since(first)) / RECENT as u64);
            }
        }
        if let Some(started_at) = started_at {
            // Not when it begins: to say that one does is easy.
            self.waits.observe(started_at.since(asked_at));
            self.transfers.observe(now.since(started_at));
        }
    }

    /// How long requests may take, worked out once for all of them.
    #[inline]
    pub(super) fn limits(&self) -> Limits {
        let least = self.patience_min_nanos;
        let (most, transfer) = (self.usual.most(), self.transfers.mean());
        let doubled = |nanos: u64, times: u32| nanos.saturating_mul(1 << times.min(DOUBLINGS_MAX));
        let far_too_slow = self.far_too_slow();
        let given_up = doubled(far_too_slow, self.given_up);
        // Afterwards it is known what a chunk takes, and who stalls would win time by it.
        let late = if self.completed == 0 { self.late } else { 0 };
        let in_need = |nanos: u64| doubled(nanos, (late / LATE_A_DOUBLING).min(LATE_DOUBLINGS_MAX));
        let hardly_ever = self
            .transfers
            .most()
            .map(|most| most.saturating_mul(TRICKLE_MOST_TIMES));
        let wait_max = match (self.waits.most(), transfer) {
            (Some(most), Some(transfer)) => {
                most.saturating_add(transfer.saturating_mul(WAIT_TRANSFERS))
                    .max(if self.completed < HASTE_FROM {
                        LATE_LEAST_NANOS
                    } else {
                        WAIT_LEAST_NANOS
                    })
            }
            _ => least / 2,
        };
        let begin_max = self
            .transfers
            .most()
            .map_or(wait_max, |most| most.max(LATE_LEAST_NANOS))
            .max(self.first_bytes.most().unwrap_or_default());
        let silence_max = most.map_or(least, |most| most.max(SILENCE_LEAST_NANOS));
        let at_first = least.saturating_mul(PATIENCE_AT_FIRST) / 2;
        let patience = most.map_or(at_first, |most| most.max(least));
        let own_lag = self.own_lag_nanos.saturating_mul(OWN_LAG_TIMES);
        let transfer_max = hardly_ever.map_or(least / 2, |most| most.max(LATE_LEAST_NANOS).min(far_too_slow));
        Limits {
            patience: in_need(patience).saturating_add(own_lag),
            wait_max: in_need(wait_max).saturating_add(own_lag),
            begin_max: in_need(begin_max).saturating_add(own_lag),
            silence_max: in_need(silence_max).saturating_add(own_lag),
            transfer_max: doubled(transfer_max, self.trickled).saturating_add(own_lag),
            given_up: given_up.saturating_mul(GIVEN_UP_TIMES),
        }
    }

    /// How long a request may be without progress before its chunk is wanted again.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_nanos(self.limits().patience)
    }

    /// How long a request may wait for its first byte before it is late.
    pub(super) fn wait_max(&self) -> Duration {
        Duration::from_nanos(self.limits().wait_max)
    }

    /// What was given up though bytes came, and has taken so long from its first byte on, is not counted on again.
    pub(super) fn transfer_given_up(&self) -> Duration {
        Duration::from_nanos(self.far_too_slow().saturating_mul(GIVEN_UP_TIMES))
    }

    /// What a chunk never takes from its first byte to its last, in nanoseconds.
    fn far_too_slow(&self) -> u64 {
        let least = self.patience_min_nanos;
        let transfer = self.transfers.mean();
        transfer.map_or(least, |transfer| transfer.saturating_mul(TRICKLE_TRANSFERS).max(least))
    }

    /// What passes from one chunk's end to the next, in the mean; zero before the second came.
    pub(super) fn between(&self) -> Duration {
        Duration::from_nanos(self.between_nanos)
    }

    /// What a message takes there and back.
    pub(super) fn round_trip(&self) -> Duration {
        Duration::from_nanos(self.round_trip_nanos)
    }

    /// How long a chunk usually takes from its first byte to its last; `None` before the first one came.
    #[inline]
    pub(super) fn transfer(&self) -> Option<Duration> {
        self.transfers.mean().map(Duration::from_nanos)
    }

    /// From so long after its beginning on a chunk takes longer than it usually does; `None` before the first one came. Where chunks pass as
    /// fast as messages it is not before hardly any takes as long and messages have passed: a second copy has yet to come, and the first may.
    #[inline]
    pub(super) fn slow_after(&self) -> Option<Duration> {
        let transfer = self.transfer()?;
        let hardly_ever = || Duration::from_nanos(self.transfers.most().unwrap_or_default());
        Some(if transfer < self.round_trip() {
            hardly_ever() + self.round_trip() * SLOW_AFTER_ROUND_TRIPS
        } else {
            transfer * SLOW_AFTER.0 / SLOW_AFTER.1
        })
    }
}

/// How long requests may take, in nanoseconds: looked at for each of them after every event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Without progress, before its chunk is wanted again.
    pub(super) patience: u64,
    /// Before the first byte, until it is late.
    pub(super) wait_max: u64,
    /// Likewise from the neighbour's word that it begins.
    pub(super) begin_max: u64,
    /// Without a byte after some have come, until it is late.
    pub(super) silence_max: u64,
    /// From the first byte to the last, until it is late though bytes come.
    pub(super) transfer_max: u64,
    /// Likewise until its chunk is wanted again.
    pub(super) given_up: u64,
}

/// Mean and deviation of times, after RFC 6298 (gains 1/8 and 1/4). Nothing doubles where one is exceeded, as it does there: somebody
/// else is asked next.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    mean_nanos: u64,
    deviation_nanos: u64,
    seen: bool,
}

impl Spread {
    fn observe(&mut self, taken: Duration) {
        // One that is far out tells of its neighbour. Where all take longer it is learned within a few.
        let taken = nanos(taken).min(self.most().unwrap_or(u64::MAX));
        if self.seen {
            let error = taken.abs_diff(self.mean_nanos);
            self.deviation_nanos = self.deviation_nanos / 4 * 3 + error / 4;
            self.mean_nanos = self.mean_nanos / 8 * 7 + taken / 8;
        } else {
            self.mean_nanos = taken;
            self.deviation_nanos = taken / 2;
            self.seen = true;
        }
    }

    /// `None` where nothing was seen.
    #[inline]
    fn mean(&self) -> Option<u64> {
        self.seen.then_some(self.mean_nanos)
    }

    /// What is hardly ever exceeded: four deviations above the mean, and twice the mean at least. `None` where nothing was seen.
    #[inline]
    fn most(&self) -> Option<u64> {
        let most = self
            .mean_nanos
            .saturating_add(4 * self.deviation_nanos)
            .max(2 * self.mean_nanos);
        self.seen.then_some(most)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 16)
}

/// Chunks that count in the beginning …
const RECENT: usize = 4;
/// … which are all there when so many have come …
const RECENT_FULL: u32 = 5;
const _: () = assert!(RECENT_FULL as usize == RECENT + 1);
/// … up to so many.
const STARTUP: u32 = 64;
/// Each chunk counts for so many parts of the mean time between two.
const BETWEEN_PART: u64 = 16;
/// When all that is missing is on its way a chunk is slow after this multiple of what a chunk usually takes.
const SLOW_AFTER: (u32, u32) = (3, 2);
/// A request is late when it waits for so many usual transfers longer than requests hardly ever do …
const WAIT_TRANSFERS: u64 = 2;
/// … but never before this: a machine that is busy for a moment is no sign of anything …
const WAIT_LEAST_NANOS: u64 = 50_000_000;
/// … nor before [`LATE_LEAST_NANOS`] until so many chunks have come: those that wait least come first.
const HASTE_FROM: u32 = 8;
/// A driver tells of progress so often at least; twice that is silence.
const SILENCE_LEAST_NANOS: u64 = {
    assert!(PROGRESS_INTERVAL.as_secs() == 0);
    2 * PROGRESS_INTERVAL.subsec_nanos() as u64
};
/// Nobody who has begun is late before this: he may send several at a time, and a link of a quarter of the usual rate is no trickle.
const LATE_LEAST_NANOS: u64 = 180_000_000;
/// A chunk of which bytes come is late all the same when it takes so many times as long as chunks hardly ever do …
const TRICKLE_MOST_TIMES: u64 = 2;
/// … nor later than so many times as long as usual.
const TRICKLE_TRANSFERS: u64 = 16;
/// … and nobody waits for it when it takes so many times as long as that.
const GIVEN_UP_TIMES: u64 = 4;
/// This part of the build may be sent by two neighbours at a time because one was late …
const TWICE_PART: u32 = 64;
/// … and so many chunks more.
const TWICE_LEAST: u32 = 4;
/// Requests whose wait is remembered.
const WAITS_KEPT: usize = 8;
/// Of the round trip one seen counts for one in so many …
const ROUND_TRIP_PART: u64 = 16;
/// … and as no more than so many times the mean.
const ROUND_TRIP_TIMES: u64 = 4;
/// A chunk takes at least so many round trips where ties pay.
const TIE_FROM_ROUND_TRIPS: u32 = 16;
/// A chunk that takes no round trip is not slow before so many have passed beside what hardly any takes.
const SLOW_AFTER_ROUND_TRIPS: u32 = 2;
/// A second neighbour is asked when so many chunks have come.
const TIES_FROM: u32 = 12;
/// Ties and chunks that must go well for each chunk that came twice: there may be a tie for each chunk, and 3 % may come twice.
const TIES_PER_DOUBLED: u32 = 64;
/// So many requests that are late double the time that the next are given, before the first chunk …
const LATE_A_DOUBLING: u32 = 16;
/// … so often at most.
const LATE_DOUBLINGS_MAX: u32 = 6;
/// What is woken in time once takes such a part of the lag away …
const OWN_LAG_PART: u64 = 4;
/// … and a request is given so many times the lag: its way there, its turn, the way back and a while to be read.
const OWN_LAG_TIMES: u64 = 4;
/// While no chunk comes the time that one may take is doubled so often at most.
const DOUBLINGS_MAX: u32 = 16;
/// While nothing is known about the links a request is overdue after so many halves of the least patience without progress.
const PATIENCE_AT_FIRST: u64 = 5;

#[cfg(test)]
mod rules;

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn patience_and_lateness_follow_what_is_seen_and_have_a_floor() {
        let mut pace = Pace::new(PATIENCE, Duration::from_millis(1));
        assert_eq!(pace.patience(), PATIENCE * 5 / 2, "nothing is known of the links");
        assert_eq!(
            pace.wait_max(),
            PATIENCE / 2,
            "to ask another neighbour as well costs little"
        );
        for _ in 0..100 {
            pace.completed(at(1100), at(0), Some(at(20)));
        }
        let around = |duration: Duration, millis: u128| duration.as_millis().abs_diff(millis) <= millis / 20;
        let [patience, wait_max] = [pace.patience(), pace.wait_max()];
        assert!(around(patience, 2200), "twice the mean: {patience:?}");
        assert!(around(wait_max, 2200), "and two transfers: {wait_max:?}");
        let limits = pace.limits();
        let [silence_max, begin_max, transfer_max] =
            [limits.silence_max, limits.begin_max, limits.transfer_max].map(Duration::from_nanos);
        assert!(around(silence_max, 2200), "{silence_max:?}");
        assert!(around(begin_max, 2160), "what hardly any chunk takes: {begin_max:?}");
        assert!(around(transfer_max, 4320), "twice that: {transfer_max:?}");
        (0..100).for_each(|_| pace.completed(at(10), at(0), Some(at(1))));
        assert_eq!(
            (pace.patience(), pace.wait_max()),
            (PATIENCE, Duration::from_millis(50))
        );
        let limits = pace.limits();
        assert_eq!(limits.begin_max, LATE_LEAST_NANOS);
        assert_eq!(limits.transfer_max, LATE_LEAST_NANOS);
    }

    #[test]
    fn one_that_is_far_out_says_little_and_several_are_learned_from() {
        let mut pace = Pace::new(Duration::ZERO, Duration::from_millis(1));
        (0..100).for_each(|_| pace.completed(at(150), at(0), Some(at(50))));
        let before = pace.limits();
        pace.completed(at(60_000), at(0), Some(at(30_000)));
        let after = pace.limits();
        assert!(after.patience < before.patience * 3 && after.wait_max < before.wait_max * 3);
        assert!(after.transfer_max < before.transfer_max * 3);
        (0..20).for_each(|_| pace.completed(at(60_000), at(0), Some(at(30_000))));
        assert!(pace.patience() > Duration::from_secs(60) && pace.wait_max() > Duration::from_secs(30));
    }

    #[test]
    fn a_second_neighbour_pays_where_chunks_are_slower_than_messages_and_rarely_come_twice() {
        let pace = |round_trip: u64, taken: u64, chunks: u32, doubled: u32| {
            let mut pace = Pace::new(PATIENCE, Duration::from_millis(round_trip));
            (0..chunks).for_each(|_| pace.completed(at(1000), at(0), Some(at(1000 - taken))));
            (0..doubled).for_each(|_| pace.doubled());
            (pace.may_tie(), pace.may_hedge())
        };
        for (what, seen, expected) in [
            ("slow chunks", pace(1, 16, 12, 0), (true, true)),
            ("chunks of fifteen round trips", pace(1, 15, 12, 0), (false, true)),
            ("chunks as fast as messages", pace(16, 15, 12, 0), (false, true)),
            ("too few chunks to tell", pace(1, 16, 11, 0), (false, false)),
            ("payload that came twice", pace(1, 16, 75, 1), (false, false)),
            ("payload that came twice long ago", pace(1, 16, 76, 1), (true, true)),
        ] {
            assert_eq!(seen, expected, "{what}");
        }
        let mut pace = Pace::new(PATIENCE, Duration::from_millis(1));
        (0..11).for_each(|_| pace.completed(at(1000), at(0), Some(at(900))));
        assert!(!pace.may_hedge());
        pace.tied();
        assert!(pace.may_hedge(), "ties count for as much as chunks");
    }
}
