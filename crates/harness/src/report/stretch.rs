//! Stretch: how much later than it could have been each host had the build.
//!
//! A host's latency is divided by the bound of its own: the greater of what its links, its joining and its region allow
//! it, and of what bounds the k-th host to have the build where it was the k-th of its region (see
//! `swarm::lower_bound`). Neither can be beaten, so no stretch is below 1. Percentiles are of these quotients, over the hosts
//! of which something is expected; one that is not done counts as infinitely late. `last` is the last host's latency over
//! `lower_bound_ms`, the bound of the makespan: where hosts differ, the greatest quotient need not be the last host's.

use std::time::Duration;

use scenario::{HostOutcome, Scenario, Slack, nearest_rank};
use serde::Serialize;

/// Percentiles of the quotients.
#[derive(Debug, Serialize)]
pub(super) struct Stretch {
    pub(super) p50: Option<f64>,
    pub(super) p90: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) p999: Option<f64>,
    pub(super) max: Option<f64>,
    /// The last host's latency over the bound of the makespan.
    pub(super) last: Option<f64>,
}

/// A region's hosts against its bounds.
#[derive(Debug, Default)]
pub(super) struct RegionStretch {
    /// Of the last host; none where links are not limited or no host is expected to get the build.
    pub(super) lower_bound: Option<Duration>,
    /// Of each expected host, none for one that is not done.
    quotients: Vec<Option<f64>>,
    last: Option<f64>,
}

impl RegionStretch {
    pub(super) fn new<'a>(
        scenario: &Scenario,
        region: usize,
        outcomes: impl Iterator<Item = &'a HostOutcome>,
        slack: Slack,
    ) -> Self {
        let plan = scenario.plan(region);
        let Some(bounds) = scenario.bounds(&plan, slack).filter(|bounds| bounds.expected() > 0) else {
            return Self::default();
        };
        let required = outcomes.filter(|outcome| plan.hosts[outcome.host as usize].is_required());
        let mut done: Vec<(Option<Duration>, u32)> = required.map(|o| (o.verified_after, o.host)).collect();
        done.sort_unstable_by_key(|(latency, host)| (latency.unwrap_or(Duration::MAX), *host));
        let quotient = |(rank, (latency, host)): (usize, &(Option<Duration>, u32))| {
            let bound = bounds.of_host(*host as usize).max(bounds.of_rank(rank));
            Some(over(latency.as_ref()?, bound))
        };
        let lower_bound = bounds.makespan();
        Self {
            lower_bound: Some(lower_bound),
            quotients: (1..).zip(&done).map(quotient).collect(),
            last: done
                .last()
                .and_then(|(latency, _)| Some(over(latency.as_ref()?, lower_bound))),
        }
    }

    pub(super) fn summary(&self) -> Stretch {
        Stretch::of([self])
    }
}

impl Stretch {
    /// Of several regions; their last hosts each against their own region's bound.
    pub(super) fn of<'a>(regions: impl IntoIterator<Item = &'a RegionStretch>) -> Self {
        let bounded: Vec<&RegionStretch> = regions.into_iter().filter(|r| r.lower_bound.is_some()).collect();
        let late = |quotient: Option<f64>| quotient.unwrap_or(f64::INFINITY);
        let mut sorted: Vec<f64> = bounded
            .iter()
            .flat_map(|r| r.quotients.iter().copied().map(late))
            .collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let finite = |quotient: f64| quotient.is_finite().then(|| super::round(quotient));
        let at = |per_mille| nearest_rank(&sorted, per_mille).copied().and_then(finite);
        let last = bounded.iter().map(|r| late(r.last)).max_by(f64::total_cmp);
        Self {
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p999: at(999),
            max: at(1000),
            last: last.and_then(finite),
        }
    }
}

/// A bound below a nanosecond counts as one.
fn over(latency: &Duration, bound: Duration) -> f64 {
    latency.as_secs_f64() / bound.max(Duration::from_nanos(1)).as_secs_f64()
}

/// How far a live run's links are ahead of their rates: an uplink that was late may catch up what it sends in 10 ms, and a
/// downlink takes a segment at once (`peer::Limits`).
pub(super) const LIVE_SLACK: Slack = Slack {
    lead: Duration::from_millis(10),
    burst: swarm::Bytes::from_kib(64),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn region(quotients: &[Option<f64>], last: Option<f64>) -> RegionStretch {
        RegionStretch {
            lower_bound: Some(Duration::from_secs(1)),
            quotients: quotients.to_vec(),
            last,
        }
    }

    #[test]
    fn a_host_that_is_not_done_is_infinitely_late_and_a_region_without_bounds_says_nothing() {
        let good = region(&[Some(1.5), Some(1.0), Some(1.2)], Some(1.1));
        let of_good = good.summary();
        assert_eq!(
            (of_good.p50, of_good.max, of_good.last),
            (Some(1.2), Some(1.5), Some(1.1))
        );
        let bad = region(&[Some(1.1), None], None);
        let all = Stretch::of([&good, &bad, &RegionStretch::default()]);
        assert_eq!((all.p50, all.max, all.last), (Some(1.2), None, None));
        let none = RegionStretch::default().summary();
        assert_eq!((none.p50, none.last), (None, None));
    }
}
