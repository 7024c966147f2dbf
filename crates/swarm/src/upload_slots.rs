//! How many chunks to send at a time, from what has been seen of the uplink: one more where it is not full, one fewer where fewer fill
//! it as well.
//!
//! A sender knows when each chunk began and when its last byte had left, and no more. The rate of its uplink is the greatest that it has
//! seen, of one chunk or of all together: the filter of rate that BBR has (N. Cardwell and others, *BBR: Congestion-Based Congestion
//! Control*, ACM Queue 14, 2016), but that it fades and does not end after ten round trips, since an uplink that receivers do not fill shows
//! no rate. Where receivers are fast the first chunk fills the uplink, and one goes after another; where they are no faster than senders
//! each divides its downlink among several, and uplinks are full only with several as well.
//!
//! Chunks that pass at a time pass slower, and the first copies of all are late by that. So there is an end to it: the more chunks a
//! build has the less it matters.
//!
//! A sender that sends more at a time has a greater share of its receivers' downlinks, at the cost of others. All would go on to the end of it, and
//! where receivers are faster than senders nobody would win: uplinks are fuller with few. So the end is nearer where this host receives faster than it
//! sends, as its receivers do if they are like it.

use std::time::Duration;

use crate::units::Time;

/// The slots of one sender.
#[derive(Clone, Debug)]
pub(crate) struct UploadSlots {
    now: usize,
    least: usize,
    most: usize,
    /// As many as a host sends at most of this build.
    of_build: usize,
    search: Search,
    /// Looks until more are tried again, where they are.
    probe_in: Option<u32>,
    /// The greatest rate seen, in bytes a second.
    best: u64,
    /// Since the last look: chunks that have left, their bytes, and how long any was being sent.
    left: usize,
    bytes: u64,
    busy: Duration,
    /// Since when something is being sent, as far as it is not in `busy`.
    busy_since: Option<Time>,
    /// The greatest rate at which this host was seen to receive, in bytes a second.
    downlink: u64,
}

/// How the number is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// It is given.
    No,
    /// By twice as many, while that brings more: BBR's startup. The rate and the number before.
    Startup { rate: u64, slots: usize },
    /// By one.
    Steps,
}

impl UploadSlots {
    /// So many, whatever is seen.
    pub(crate) const fn fixed(slots: usize) -> Self {
        Self::new(slots, slots, Search::No)
    }

    /// Of a host, which has but one uplink like its neighbours: as many as fill it.
    pub(crate) const fn measured() -> Self {
        Self::new(1, 1, Search::Steps)
    }

    /// Of a seeder, whose uplink may be that of a hundred hosts, and for which a slow first receiver is not to hold up everything.
    pub(crate) const fn measured_of_seeder() -> Self {
        Self::new(SEEDER_LEAST, SEEDER_MOST, Search::Startup { rate: 0, slots: 0 })
    }

    const fn new(now: usize, most: usize, search: Search) -> Self {
        Self {
            now,
            least: now,
            most,
            of_build: most,
            search,
            probe_in: None,
            best: 0,
            left: 0,
            bytes: 0,
            busy: Duration::ZERO,
            busy_since: None,
            downlink: 0,
        }
    }

    /// The build has so many chunks.
    pub(crate) fn set_chunks(&mut self, chunks: u32) {
        self.of_build = (chunks.isqrt() / ROOTS_A_SLOT).clamp(HOST_MOST_OF_FEW, HOST_MOST) as usize;
        if self.search == Search::Steps {
            self.most = self.of_build;
        }
    }

    /// This host was seen to receive so many bytes a second.
    pub(crate) const fn set_downlink(&mut self, rate: u64) {
        self.downlink = rate;
    }

    #[cfg(test)]
    pub(crate) const fn downlink(&self) -> u64 {
        self.downlink
    }

    /// Nothing is a first copy any more, and nobody is late by what passes slower: a seeder looks now and then whether more at a time
    /// bring more.
    pub(crate) fn first_copies_are_out(&mut self) {
        if self.search != Search::No {
            self.probe_in.get_or_insert(0);
        }
    }

    /// How many chunks may be sent at a time.
    #[inline]
    pub(crate) const fn get(&self) -> usize {
        self.now
    }

    /// The greatest rate that was seen of late, in bytes a second; zero before the first chunk has left.
    #[inline]
    pub(crate) const fn rate(&self) -> u64 {
        self.best
    }

    /// Something begins to be sent.
    #[inline]
    pub(crate) fn begins(&mut self, now: Time) {
        self.busy_since.get_or_insert(now);
    }

    /// Nothing is being sent any more.
    #[inline]
    pub(crate) fn rests(&mut self, now: Time) {
        if let Some(since) = self.busy_since.take() {
            self.busy += now.since(since);
        }
    }

    /// A chunk of so many bytes has left as a whole after `taken`, and others wait or not.
    #[inline]
    pub(crate) fn learn(&mut self, now: Time, bytes: u64, taken: Duration, others_wait: bool) {
        self.best = self.best.max(rate(bytes, taken));
        self.left += 1;
        self.bytes += bytes;
        if self.left >= LOOK_PER_SLOT * self.now + LOOK_PLUS {
            self.look(now, others_wait);
        }
    }

    fn look(&mut self, now: Time, others_wait: bool) {
        // Where nothing follows at once it counts as sending: an uplink that rests at a look is not full, and one chunk more may fill it.
        if let Some(since) = self.busy_since.replace(now) {
            self.busy += now.since(since);
        }
        let seen = rate(self.bytes, self.busy);
        let taken = self.busy * u32::try_from(self.now).unwrap_or(u32::MAX)
            / u32::try_from(self.left.max(1)).unwrap_or(u32::MAX);
        (self.left, self.bytes, self.busy) = (0, 0, Duration::ZERO);
        self.best = (self.best - self.best / FADE).max(seen);
        match self.search {
            Search::No => {}
            Search::Startup { rate, slots } => self.start_up(seen, rate, slots),
            Search::Steps if self.probe_in == Some(0) && others_wait && taken < PROBE_UP_TO => {
                self.probe_in = Some(PROBE_AFTER_LOOKS);
                self.most = SEEDER_MOST;
                self.start_up(seen, 0, 0);
            }
            Search::Steps => {
                self.probe_in = self.probe_in.map(|looks| looks.saturating_sub(1));
                let is_below = |percent: u64| u128::from(seen) * 100 < u128::from(self.best) * u128::from(percent);
                let enough = self.enough();
                let full = if self.now < enough {
                    FULL_PERCENT
                } else {
                    HALF_EMPTY_PERCENT
                };
                let overfull = if self.now > enough {
                    BEYOND_PERCENT
                } else {
                    OVERFULL_PERCENT
                };
                if is_below(full) && others_wait {
                    self.now = (self.now + 1).min(self.most);
                } else if !is_below(overfull) {
                    self.now = (self.now - 1).max(self.least);
                }
            }
        }
    }

    /// As many as fill the uplink where receivers are like this host: what they receive beyond one uplink's rate leaves room for chance.
    fn enough(&self) -> usize {
        let beyond = u128::from(self.downlink.saturating_sub(self.best));
        if beyond == 0 {
            return self.most;
        }
        let more = (u128::from(self.best) * ENOUGH.0).div_ceil(beyond * ENOUGH.1);
        usize::try_from(more)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
            .min(self.most)
    }

    /// Half the growth of slots has to show in the rate.
    fn start_up(&mut self, seen: u64, before: u64, slots: usize) {
        let expected = before + before / 2 * (self.now - slots.min(self.now)) as u64 / slots.max(1) as u64;
        if slots == 0 || seen > expected {
            self.search = Search::Startup {
                rate: seen,
                slots: self.now,
            };
            self.now = (self.now * 2).min(self.most);
        } else {
            self.now = slots;
            // Of what it sends a receiver has only what its neighbours leave.
            self.most = self.now.max(self.of_build * 3 / 2 + 1);
            self.search = Search::Steps;
        }
    }
}

/// Bytes a second.
fn rate(bytes: u64, taken: Duration) -> u64 {
    let nanos = taken.as_nanos().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

/// The slots are looked at when so many chunks have left for each …
const LOOK_PER_SLOT: usize = 2;
/// … and so many more.
const LOOK_PLUS: usize = 2;
/// An uplink that sends less than this of the greatest rate seen has room for one chunk more.
const FULL_PERCENT: u64 = 93;
/// One that sends more than this may have one fewer.
const OVERFULL_PERCENT: u64 = 98;
/// With enough slots there is room for one more only below this: receivers are slower than this host …
const HALF_EMPTY_PERCENT: u64 = 60;
/// … and with more than enough one goes above this.
const BEYOND_PERCENT: u64 = 80;
/// Slots beyond the first that are enough, times the part of the uplink by which a downlink exceeds it. Seen is some four fifths of a downlink: where it is
/// twice an uplink three slots are enough, with one and a half five, and where it is no faster as many as the build allows.
const ENOUGH: (u128, u128) = (8, 10);
/// So many looks after a seeder has tried more it tries again.
const PROBE_AFTER_LOOKS: u32 = 2;
/// More are not tried where a chunk takes this long already: its receiver would take it for late.
const PROBE_UP_TO: Duration = Duration::from_secs(1);
/// With each look the greatest rate loses one in so many parts.
const FADE: u64 = 256;
/// A host sends no more chunks at a time than one for so many of the square root of the build's: 64 chunks 2, 640 8. The last chunk
/// to go out is late by some `slots · log N` chunks' times of all that the build has.
const ROOTS_A_SLOT: u32 = 3;
/// … but two of a build of few …
const HOST_MOST_OF_FEW: u32 = 2;
/// … and no more than this of one of many, with which links are as full as with more.
const HOST_MOST: u32 = 10;
/// Chunks that a seeder sends at a time at least …
const SEEDER_LEAST: usize = 2;
/// … and at most.
const SEEDER_MOST: usize = 64;

#[cfg(test)]
mod rules;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a sender comes to whose uplink has a rate of a thousand, and shares it by `rate_of_one` at so many at a time.
    fn settled(slots: UploadSlots, rate_of_one: impl Fn(usize) -> u64, others_wait: bool) -> usize {
        let mut slots = slots;
        let mut now = 0;
        slots.begins(Time::ZERO);
        for _ in 0..60 {
            let at_once = slots.get();
            let taken = Duration::from_secs(1_000_000 / rate_of_one(at_once));
            for _ in 0..at_once {
                now += u64::try_from(taken.as_nanos()).unwrap() / at_once as u64;
                slots.learn(Time::from_nanos(now), 1_000_000, taken, others_wait);
            }
        }
        slots.get()
    }

    fn host() -> UploadSlots {
        let mut slots = UploadSlots::measured();
        slots.set_chunks(640);
        slots
    }

    #[test]
    fn as_many_chunks_as_fill_the_uplink_are_sent_at_a_time() {
        let shared = |at_once: usize| 1000 / at_once as u64;
        // Alone a receiver takes all; two that take from others as well leave a part.
        let halves = |at_once: usize| if at_once == 1 { 700 } else { 1000 / at_once as u64 };
        let thirds = |at_once: usize| [0, 1000, 400, 300, 240, 200, 166][at_once.min(6)];
        for (what, slots, rate_of_one, wait, expected) in [
            ("fast receivers", host(), &shared as &dyn Fn(usize) -> u64, true, 1),
            ("receivers with other senders", host(), &halves, true, 1),
            ("nobody waits", host(), &thirds, false, 1),
            ("given", UploadSlots::fixed(3), &shared, true, 3),
        ] {
            let settled = settled(slots, rate_of_one, wait);
            assert_eq!(settled, expected, "{what}");
        }
    }

    /// Receivers that divide their downlinks: so many at a time fill the uplink to that part, of which one was seen to be all.
    #[test]
    fn where_receivers_divide_their_downlinks_there_are_several_but_no_more_than_the_build_allows() {
        for (chunks, expected) in [(64, 2..=2), (640, 6..=8), (3000, 8..=10), (1_000_000, 8..=10)] {
            let mut slots = UploadSlots::measured();
            slots.set_chunks(chunks);
            slots.begins(Time::ZERO);
            slots.learn(Time::from_nanos(1), 1_000, Duration::from_secs(1), true);
            let all = slots.rate();
            let never_full = |at_once: usize| (all * 9 / 10 / at_once as u64).max(1);
            let slots = settled(slots, never_full, true);
            assert!(expected.contains(&slots), "{chunks} chunks: {slots}");
        }
    }

    #[test]
    fn a_seeder_goes_on_while_more_at_a_time_bring_more() {
        for (hosts, expected) in [(1, 2..=3), (12, 10..=14), (1000, 56..=64)] {
            // Each takes a hundred at most.
            let of_one = |at_once: usize| (hosts * 100 / at_once as u64).clamp(1, 100);
            let slots = settled(UploadSlots::measured_of_seeder(), of_one, true);
            assert!(expected.contains(&slots), "{hosts}: {slots}");
        }
    }
}
