//! How many chunks to ask for at a time: those that are being sent to this host while its own uplink would send one, what that uplink
//! would send in a round trip, and one that waits where it is to come from. A host that receives as much as it sends, which is what all do
//! in the mean, then has as much on its way as fills its share of all uplinks, however many chunks its neighbours send at a time.
//!
//! Window and round trip are after BBR (N. Cardwell and others, *BBR: Congestion-Based Congestion Control*, ACM Queue 14, 2016): rate times
//! the least round trip of late, and a little more. What is asked for beyond that waits at neighbours. It fills no buffer that others
//! wait behind, which is what LEDBAT (RFC 6817) cares for, but it binds this host to a neighbour too early.

use std::time::Duration;

/// What a window is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The rate of this host's uplink in bytes a second; zero where nothing has been sent.
    pub(super) uplink: u64,
    /// Bytes of a chunk, and chunks of the build.
    pub(super) chunk: u32,
    pub(super) chunks: u32,
    /// From a chunk's first byte to its last.
    pub(super) transfer: Duration,
    /// There and back.
    pub(super) round_trip: Duration,
}

impl Seen {
    /// Chunks to ask for at a time.
    pub(super) fn window(&self) -> usize {
        if self.transfer.is_zero() {
            return AT_FIRST;
        }
        // Before this host has sent anything, as if it sent as fast as others do.
        let of_one = Duration::from_secs(u64::from(self.chunk)).as_nanos() / u128::from(self.uplink.max(1));
        let of_one = of_one.min(self.transfer.as_nanos()).max(1);
        let sending = self.transfer.as_nanos() * PART / of_one;
        let sending_max = u128::from(self.chunks.isqrt()) * PART * SENDING_ROOTS.0 / SENDING_ROOTS.1;
        let passing = self.round_trip.as_nanos() * PART * ROUND_TRIPS.0 / ROUND_TRIPS.1 / of_one;
        let window = (sending.min(sending_max) + passing + WAITING * PART / 10) / PART;
        usize::try_from(window.clamp(LEAST, MOST)).expect("it is clamped")
    }
}

/// The least of the last times: of one to two times [`KEPT`] of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Least {
    now: Duration,
    before: Duration,
    seen: u32,
}

impl Least {
    /// Nothing but this was seen.
    pub(super) const fn new(first: Duration) -> Self {
        Self {
            now: first,
            before: first,
            seen: 0,
        }
    }

    #[inline]
    pub(super) fn observe(&mut self, time: Duration) {
        if self.seen >= KEPT {
            (self.before, self.now, self.seen) = (self.now, time, 0);
        }
        self.now = self.now.min(time);
        self.seen += 1;
    }

    #[inline]
    pub(super) fn get(&self) -> Duration {
        self.now.min(self.before)
    }
}

/// Requests to one neighbour at a time, of a window over so many neighbours: twice their share, since not all have what is wanted.
pub(super) fn of_neighbour(window: usize, neighbours: usize) -> usize {
    (2 * window).div_ceil(neighbours.max(1)).max(2)
}

/// Fractions of chunks are counted in these parts.
const PART: u128 = 1024;
/// Chunks that wait, in tenths: one, and a little more so that what is just below a whole chunk counts as one.
const WAITING: u128 = 13;
/// Chunks that pass in so many round trips are asked for ahead, since what neighbours are known to have is as old.
const ROUND_TRIPS: (u128, u128) = (5, 4);
/// No more chunks are counted as being sent at a time than so many of the square root of the build's: where downlinks are full each
/// chunk takes the longer the more there are.
const SENDING_ROOTS: (u128, u128) = (3, 10);
/// Chunks asked for at a time at least …
const LEAST: u128 = 2;
/// … and at most.
const MOST: u128 = 96;
/// What is asked for while nothing is known.
pub(super) const AT_FIRST: usize = LEAST as usize;
/// Times that are remembered.
const KEPT: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_is_being_sent_and_what_passes_in_a_round_trip_and_one_that_waits() {
        // A chunk of 1,000 bytes over an uplink of 1,000 a second takes a second.
        let seen = |transfer_ms: u64, round_trip_ms: u64, chunks: u32| Seen {
            uplink: 1000,
            chunk: 1000,
            chunks,
            transfer: Duration::from_millis(transfer_ms),
            round_trip: Duration::from_millis(round_trip_ms),
        };
        for (what, seen, expected) in [
            ("nothing has come", seen(0, 5, 640), 2),
            ("neighbours that send one at a time", seen(1000, 10, 640), 2),
            ("neighbours that send three at a time", seen(3000, 10, 640), 4),
            ("a round trip of a chunk", seen(1000, 1000, 640), 3),
            ("a round trip of ten", seen(1000, 10_000, 640), 14),
            ("full downlinks", seen(100_000, 10, 640), 8),
            ("full downlinks and a small build", seen(100_000, 10, 64), 3),
            ("a round trip without end", seen(1000, 1_000_000_000, 640), 96),
            (
                "nothing was sent",
                Seen {
                    uplink: 0,
                    ..seen(3000, 3000, 640)
                },
                3,
            ),
        ] {
            assert_eq!(seen.window(), expected, "{what}");
        }
    }

    #[test]
    fn the_least_is_forgotten_after_a_while() {
        let mut least = Least::new(Duration::from_millis(7));
        least.observe(Duration::from_millis(5));
        for _ in 0..KEPT {
            least.observe(Duration::from_millis(9));
            assert_eq!(least.get(), Duration::from_millis(5));
        }
        for _ in 0..KEPT {
            least.observe(Duration::from_millis(9));
        }
        assert_eq!(least.get(), Duration::from_millis(9));
    }

    #[test]
    fn neighbours_are_asked_for_twice_their_share() {
        for (window, neighbours, expected) in [(2, 12, 2), (24, 12, 4), (25, 12, 5), (8, 1, 16), (8, 0, 16)] {
            assert_eq!(of_neighbour(window, neighbours), expected, "{window} of {neighbours}");
        }
    }
}
