//! How many chunks to ask for at a time: as many as are being sent to this host, what comes in a round trip, and one that waits where it
//! is to come from. Then every neighbour that is done with one chunk has another to send, however many it sends at a time; and where many
//! are being sent, because downlinks are full, there is an end to it.
//!
//! Rate and round trip are after BBR (N. Cardwell and others, *BBR: Congestion-Based Congestion Control*, ACM Queue 14, 2016): what is on its way is
//! the rate times the round trip, and a little more. BBR takes the least round trip, since whatever is above it is a queue of its own making. Here
//! messages wait behind the payload of many, and a host that asks for no more than comes in the least round trip has nothing to receive meanwhile. What is asked for beyond that waits at neighbours. It fills no buffer
//! that others wait behind, which is what LEDBAT (RFC 6817) cares for, but it binds this host to a neighbour too early.

use std::time::Duration;

use crate::upload_queue::UPLOAD_QUEUE_PER_HOST_MAX;

/// What a window is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The rate of this host's uplink in bytes a second; zero where nothing has been sent.
    pub(super) uplink: u64,
    /// Bytes of a chunk, and chunks of the build.
    pub(super) chunk: u32,
    pub(super) chunks: u32,
    /// From one chunk's end to the next.
    pub(super) between: Duration,
    /// From a chunk's first byte to its last.
    pub(super) transfer: Duration,
    /// There and back.
    pub(super) round_trip: Duration,
}

impl Seen {
    /// Chunks to ask for at a time.
    pub(super) fn window(&self) -> usize {
        if self.transfer.is_zero() || self.between.is_zero() {
            return AT_FIRST;
        }
        // Little's law: as many are being sent at a time as come while one is.
        let between = self.between.as_nanos().max(1);
        // What does not come since not enough was asked for shows no rate, and this host's own uplink does.
        let of_one = Duration::from_secs(u64::from(self.chunk)).as_nanos() / u128::from(self.uplink.max(1));
        // Where an uplink lets a burst pass, or sockets do, it seems faster than it is: as far as what comes shows it is believed.
        let of_one = if self.uplink == 0 {
            between
        } else {
            of_one.max(between / BELIEVED)
        };
        let sending = self.transfer.as_nanos() * PART / between;
        let sending_max = u128::from(self.chunks.isqrt()) * PART * SENDING_ROOTS.0 / SENDING_ROOTS.1;
        let sending_max = sending_max.min(SENDING_MOST * PART);
        let passing = self.round_trip.as_nanos() * PART * ROUND_TRIPS.0 / ROUND_TRIPS.1 / between.min(of_one);
        let window = (sending.min(sending_max) + passing + WAITING * PART / 10) / PART;
        usize::try_from(window.clamp(LEAST, MOST)).expect("it is clamped")
    }
}

/// Requests to one neighbour at a time, of a window over so many neighbours: twice their share, since not all have what is wanted, and
/// no more than it lets wait.
pub(super) fn of_neighbour(window: usize, neighbours: usize) -> usize {
    let share = (2 * window).div_ceil(neighbours.max(1));
    share.clamp(2, UPLOAD_QUEUE_PER_HOST_MAX)
}

/// Fractions of chunks are counted in these parts.
const PART: u128 = 1024;
/// Chunks that wait at neighbours, in tenths, before the sum is rounded down. With 10 whoever is behind stays behind; with 20 there is one too many
/// for a host that receives two at a time.
const WAITING: u128 = 16;
/// Chunks that pass in so many round trips are asked for ahead, since what neighbours are known to have is as old.
const ROUND_TRIPS: (u128, u128) = (5, 4);
/// A rate of so many times what comes is believed.
const BELIEVED: u128 = 3;
/// No more chunks are counted as being sent at a time than so many of the square root of the build's: where downlinks are full each
/// chunk takes the longer the more there are.
const SENDING_ROOTS: (u128, u128) = (3, 10);
/// … and no more than this, with which links are as full as with more.
const SENDING_MOST: u128 = 10;
/// Chunks asked for at a time at least …
const LEAST: u128 = 2;
/// … and at most.
const MOST: u128 = 128;
/// What is asked for while nothing is known.
pub(super) const AT_FIRST: usize = LEAST as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_is_being_sent_and_what_comes_in_a_round_trip_and_one_that_waits() {
        // An uplink that takes a second for a chunk, and a chunk that comes each second.
        let seen = |transfer_ms: u64, round_trip_ms: u64, chunks: u32| Seen {
            uplink: 1000,
            chunk: 1000,
            chunks,
            between: Duration::from_secs(1),
            transfer: Duration::from_millis(transfer_ms),
            round_trip: Duration::from_millis(round_trip_ms),
        };
        let slow = Seen {
            between: Duration::from_secs(10),
            ..seen(1000, 10_000, 640)
        };
        let nothing_sent = Seen { uplink: 0, ..slow };
        for (what, seen, expected) in [
            ("nothing has come", seen(0, 5, 640), 2),
            ("neighbours that send one at a time", seen(1000, 10, 640), 2),
            ("neighbours that send three at a time", seen(3000, 10, 640), 4),
            ("a round trip of a chunk", seen(1000, 1000, 640), 3),
            ("a round trip of ten", seen(1000, 10_000, 640), 15),
            ("full downlinks", seen(100_000, 10, 640), 9),
            ("full downlinks and a small build", seen(100_000, 10, 64), 4),
            (
                "full downlinks and a build of 1,100 chunks",
                seen(100_000, 10, 1100),
                11,
            ),
            ("full downlinks and one of ten thousand", seen(100_000, 10, 10_000), 11),
            ("a round trip without end", seen(1000, 1_000_000_000, 640), 128),
            ("too little asked for so far", slow, 5),
            ("the same, and nothing was sent", nothing_sent, 2),
        ] {
            assert_eq!(seen.window(), expected, "{what}");
        }
    }

    #[test]
    fn neighbours_are_asked_for_twice_their_share() {
        for (window, neighbours, expected) in [
            (2, 12, 2),
            (24, 12, 4),
            (25, 12, 5),
            (8, 1, 16),
            (8, 0, 16),
            (512, 12, 16),
        ] {
            assert_eq!(of_neighbour(window, neighbours), expected, "{window} of {neighbours}");
        }
    }
}
