//! How fast this host receives at its fastest, which tells a sender how many at a time fill an uplink: hosts of a fleet are alike.
//!
//! Of several chunks that came one beside another the bytes passed between the first's beginning and the last's end. So this is a lower bound of the
//! downlink: where a host receives no faster than it sends it never exceeds the uplink, and where it receives twice as fast two senders that send to it at a
//! time show it.

use crate::units::Time;

/// The last chunks that came, and the greatest rate that they showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Downlink {
    /// When each began and ended, the latest in turn.
    came: [(Time, Time); BESIDE],
    count: usize,
    /// In bytes a second.
    best: u64,
}

impl Downlink {
    /// A whole chunk of so many bytes has come.
    #[inline]
    pub(super) fn received(&mut self, began: Time, ended: Time, bytes: u32) {
        self.came[self.count % BESIDE] = (began, ended);
        self.count += 1;
        let mut first = began;
        let mut all = u64::from(bytes);
        for back in 2..=self.count.min(BESIDE) {
            first = first.min(self.came[(self.count - back) % BESIDE].0);
            all += u64::from(bytes);
            let nanos = ended.since(first).as_nanos().max(1);
            let rate = u128::from(all) * 1_000_000_000 / nanos;
            self.best = self.best.max(u64::try_from(rate).unwrap_or(u64::MAX));
        }
    }

    /// The greatest rate so far in bytes a second; zero before two chunks have come.
    #[inline]
    pub(super) const fn rate(&self) -> u64 {
        self.best
    }
}

/// Chunks that are looked at together.
const BESIDE: usize = 6;

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
}
