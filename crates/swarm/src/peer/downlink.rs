//! How fast this host receives at its fastest, which tells a sender how many at a time fill an uplink: hosts of a fleet are alike.
//!
//! Of several chunks that came one beside another the bytes passed between the first's beginning and the last's end. So what is seen is no more than the
//! downlink: where a host receives no faster than it sends it does not exceed the uplink, and where it receives twice as fast two senders that send to it at
//! a time show it. Only what sockets kept while this host stood still comes faster than that: it is left out, and what is seen fades.

use crate::units::Time;

/// The last chunks that came, and the greatest rate that they showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Downlink {
    /// When each began and ended, the latest in turn.
    came: [(Time, Time); BESIDE],
    count: usize,
    /// So many of the next chunks tell nothing.
    blind: usize,
    /// In bytes a second.
    best: u64,
}

impl Downlink {
    /// A whole chunk of so many bytes has come.
    #[inline]
    pub(super) fn received(&mut self, began: Time, ended: Time, bytes: u32) {
        self.best -= self.best / FADE;
        if self.blind > 0 {
            self.blind -= 1;
            return;
        }
        self.came[self.count % BESIDE] = (began, ended);
        self.count += 1;
        let mut first = began;
        let mut all = u64::from(bytes);
        for back in 2..=self.count.min(BESIDE) {
            first = first.min(self.came[(self.count - back) % BESIDE].0);
            all += u64::from(bytes);
            let nanos = ended.since(first).as_nanos().max(1);
            let per_second = u128::from(all) * 1_000_000_000;
            // Most often it is no more than was seen, and to see that needs no division.
            if per_second > u128::from(self.best) * nanos {
                self.best = u64::try_from(per_second / nanos).unwrap_or(u64::MAX);
            }
        }
    }

    /// This host stood still while so many chunks were on their way: they may be here already, and seem to come at once.
    pub(super) const fn stood_still(&mut self, on_their_way: usize) {
        self.count = 0;
        self.blind = on_their_way;
    }

    /// The greatest rate of late in bytes a second; zero before two chunks have come.
    #[inline]
    pub(super) const fn rate(&self) -> u64 {
        self.best
    }
}

/// Chunks that are looked at together.
const BESIDE: usize = 6;
/// With each chunk what was seen loses one in so many parts, a twelfth in 700 chunks. In the beginning, when most is to be had, it shows best.
const FADE: u64 = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u32 = 1000;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    /// The rate after chunks that began and ended at these milliseconds.
    fn seen(chunks: &[(u64, u64)]) -> u64 {
        let mut downlink = Downlink::default();
        for (began, ended) in chunks {
            downlink.received(at(*began), at(*ended), CHUNK);
        }
        downlink.rate()
    }

    #[test]
    fn what_came_side_by_side_shows_the_downlink() {
        for (what, chunks, rate) in [
            ("nothing", &[][..], 0),
            ("one shows its sender's uplink", &[(0, 1000)], 0),
            ("two, one after another", &[(0, 1000), (1000, 2000)], 1000),
            ("two at a time", &[(0, 1000), (0, 1000)], 2000),
            ("half beside one another", &[(0, 1000), (500, 1500)], 1333),
            ("two after a rest", &[(0, 1000), (9000, 10_000), (9000, 10_000)], 2000),
            (
                "two that share what one alone would have",
                &[(0, 2000), (0, 2000)],
                1000,
            ),
            ("slower afterwards", &[(0, 1000), (0, 1000), (0, 9000)], 2000),
        ] {
            assert_eq!(seen(chunks), rate, "{what}");
        }
    }

    /// A shared link of a thousand bytes a second never seems faster, however many come over it and whenever they begin.
    #[test]
    fn it_is_never_more_than_passes() {
        for beside in 1..20 {
            let mut downlink = Downlink::default();
            for chunk in beside..200 {
                downlink.received(at((chunk - beside) * 1000), at(chunk * 1000), CHUNK);
            }
            assert!(downlink.rate() <= 1000, "{beside}: {}", downlink.rate());
        }
    }

    /// Two senders of a thousand bytes a second each, out of step.
    #[test]
    fn six_chunks_show_most_of_what_two_senders_bring() {
        let chunks: Vec<(u64, u64)> = (0..20).map(|chunk| (chunk * 500, chunk * 500 + 1000)).collect();
        assert_eq!(seen(&chunks), 6 * 1000 * 1000 / 3500);
    }

    #[test]
    fn what_was_on_its_way_while_this_host_stood_still_tells_nothing() {
        let mut downlink = Downlink::default();
        downlink.received(at(0), at(1000), CHUNK);
        downlink.stood_still(3);
        for _ in 0..4 {
            downlink.received(at(9000), at(9001), CHUNK);
        }
        assert_eq!(downlink.rate(), 0, "the last of them is the first that counts");
        downlink.received(at(9000), at(10_000), CHUNK);
        assert_eq!(downlink.rate(), 2000);
    }

    #[test]
    fn what_is_seen_loses_an_8192th_with_each_chunk() {
        let mut downlink = Downlink {
            best: 81_920_000,
            ..Downlink::default()
        };
        for (chunk, rate) in [(1, 81_910_000), (2, 81_900_002), (3, 81_890_005)] {
            downlink.received(at(1000 * chunk), at(1000 * chunk + 1000), CHUNK);
            assert_eq!(downlink.rate(), rate);
        }
    }
}
