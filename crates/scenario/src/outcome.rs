//! What comes out of a run: one outcome per host, and latencies in which a host that did not finish counts as
//! infinitely late. Otherwise the percentiles of a run would improve when its hosts hang.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

/// How a host ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostState {
    /// It holds the build, verified.
    Verified,
    /// It gave up.
    Failed(String),
    /// It was not done when the run ended.
    Pending,
    /// Whoever ran it was lost before it was done: nothing more is known of it.
    Lost,
    /// The scenario made it leave, or made it one that nobody talks to; nothing is expected of it.
    Excused,
}

/// What a host has come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostOutcome {
    /// Index of its region.
    pub region: usize,
    /// Its index within the region.
    pub host: u32,
    /// How it ended.
    pub state: HostState,
    /// When it had the build verified, since the build was complete in the regional bucket.
    pub verified_after: Option<Duration>,
    /// Useful payload bytes from the seeder.
    pub bytes_from_seeder: u64,
    /// Useful payload bytes from other hosts.
    pub bytes_from_peers: u64,
    /// Payload bytes thrown away.
    pub bytes_wasted: u64,
    /// Control bytes sent; not known in virtual time, where HAVE messages are looked up and not sent.
    pub bytes_control: Option<u64>,
    /// Chunks held.
    pub chunks_held: u32,
    /// Chunks of the build, 0 where it never learned of it.
    pub chunks_total: u32,
    /// Chunks that none of its neighbours had, as far as it knew.
    pub chunks_without_source: u32,
    /// Connected members.
    pub neighbours: u32,
}

/// The least of sorted values that so many of a thousand do not exceed; `None` where there are no values.
pub fn nearest_rank<T>(sorted: &[T], per_mille: usize) -> Option<&T> {
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted.get(rank - 1)
}

/// Percentiles of exact latencies, nearest rank. `None` falls among hosts that did not finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencySummary {
    /// Half of the hosts were done by then.
    pub p50: Option<Duration>,
    /// Nine of ten.
    pub p90: Option<Duration>,
    /// 99 of 100.
    pub p99: Option<Duration>,
    /// 999 of 1,000.
    pub p999: Option<Duration>,
    /// All.
    pub max: Option<Duration>,
    /// Hosts that did not finish.
    pub pending: usize,
}

impl LatencySummary {
    /// Of the latencies of all hosts of which one was expected, `None` for those that did not finish.
    pub fn new(latencies: impl IntoIterator<Item = Option<Duration>>) -> Self {
        let mut sorted: Vec<Option<Duration>> = latencies.into_iter().collect();
        // None is the least by itself, and here the latest.
        sorted.sort_unstable_by_key(|latency| latency.unwrap_or(Duration::MAX));
        let at = |per_mille| nearest_rank(&sorted, per_mille).copied().flatten();
        Self {
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p999: at(999),
            max: at(1000),
            pending: sorted.iter().filter(|latency| latency.is_none()).count(),
        }
    }
}

/// Latencies in HdrHistogram's form: for export, and for merging what workers measured.
#[derive(Clone, Debug)]
pub struct LatencyHistogram {
    pub(crate) histogram: Histogram<u64>,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, SIGNIFICANT_DIGITS)
            .expect("a range of more than 2 and 3 digits are what it takes");
        Self { histogram }
    }
}

impl LatencyHistogram {
    /// Counts one latency; one of more than 12 days as 12 days.
    pub fn record(&mut self, latency: Duration) {
        self.histogram
            .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same range, so there is room for whatever the other has.
        if let Err(error) = self.histogram.add(&other.histogram) {
            unreachable!("histograms of equal precision add up: {error}");
        }
    }

    /// How many it has counted.
    pub fn len(&self) -> u64 {
        self.histogram.len()
    }

    /// Whether it has counted none.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// HdrHistogram's V2 encoding of the counts, in microseconds, as base64.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        match V2Serializer::new().serialize(&self.histogram, &mut bytes) {
            Ok(_) => BASE64_STANDARD.encode(&bytes),
            Err(error) => unreachable!("a Vec takes whatever is written to it: {error}"),
        }
    }
}

/// Digits of a latency that are kept: 0.1 %.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Microseconds, 12 days: longer than any run. A fixed range and not one that grows, because recording with saturation
/// never widens it, and because then equal counts have equal encodings, whatever was merged into what.
const LATENCY_US_MAX: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use proptest::prelude::*;

    #[test]
    fn hosts_that_did_not_finish_are_the_latest() {
        let done = (1..=97).map(|ms| Some(Duration::from_millis(ms)));
        let summary = LatencySummary::new(done.chain([None, None, None]));
        assert_eq!(summary.p50, Some(Duration::from_millis(50)));
        assert_eq!(summary.p90, Some(Duration::from_millis(90)));
        assert_eq!((summary.p99, summary.max, summary.pending), (None, None, 3));
        assert_eq!(LatencySummary::new([]).max, None);
    }

    /// Nearest rank by its definition: the least latency that so many of the hosts do not exceed.
    fn naive(latencies: &[Option<Duration>], per_mille: usize) -> Option<Duration> {
        let enough = |bound: &Duration| {
            let within = latencies.iter().flatten().filter(|latency| *latency <= bound).count();
            within * 1000 >= latencies.len() * per_mille
        };
        latencies.iter().flatten().copied().filter(enough).min()
    }

    #[test]
    fn a_histogram_keeps_a_latency_to_a_thousandth_and_counts_the_longest_at_its_end() {
        for micros in [0, 2_048, 1_234_567, 3_600_000_000, LATENCY_US_MAX] {
            let mut histogram = LatencyHistogram::default();
            histogram.record(Duration::from_micros(micros));
            let kept = histogram.histogram.max();
            assert!(kept >= micros && kept - micros <= micros / 1000, "{kept} for {micros}");
        }
        let mut histogram = LatencyHistogram::default();
        histogram.record(Duration::MAX);
        assert!(histogram.histogram.max() >= LATENCY_US_MAX);
    }

    proptest! {
        #[test]
        fn percentiles_are_what_a_naive_count_says(
            latencies in prop::collection::vec(prop::option::weighted(0.95, 0u64..1_000), 1..300),
        ) {
            let latencies: Vec<_> = latencies.into_iter().map(|us| us.map(Duration::from_micros)).collect();
            let summary = LatencySummary::new(latencies.iter().copied());
            prop_assert_eq!(summary.p50, naive(&latencies, 500));
            prop_assert_eq!(summary.p90, naive(&latencies, 900));
            prop_assert_eq!(summary.p99, naive(&latencies, 990));
            prop_assert_eq!(summary.p999, naive(&latencies, 999));
            prop_assert_eq!(summary.max, naive(&latencies, 1000));
            prop_assert_eq!(summary.pending, latencies.iter().filter(|latency| latency.is_none()).count());
            // None is first in Option's order and last in ours.
            let late = |latency: Option<Duration>| latency.unwrap_or(Duration::MAX);
            let ranks = [summary.p50, summary.p90, summary.p99, summary.p999, summary.max].map(late);
            prop_assert!(ranks.is_sorted());
        }

        #[test]
        fn histograms_add_up_and_others_can_read_them(latencies in prop::collection::vec(0u64..1_000_000, 1..300)) {
            let of = |list: &[u64]| {
                let mut histogram = LatencyHistogram::default();
                list.iter().for_each(|us| histogram.record(Duration::from_micros(*us)));
                histogram
            };
            let mut merged = of(&latencies[..latencies.len() / 2]);
            merged.merge(&of(&latencies[latencies.len() / 2..]));
            prop_assert_eq!(merged.encode(), of(&latencies).encode());
            let bytes = BASE64_STANDARD.decode(merged.encode()).unwrap();
            let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            prop_assert_eq!(read.len(), latencies.len() as u64);
            let most = latencies.iter().copied().max().unwrap();
            prop_assert!(read.max() >= most && read.max() - most <= most / 1000 + 1);
        }
    }
}
