//! How many hosts were done when, by region, and how many could have been: the curves of a report.
//!
//! Of many hosts some are told, so that neither the middle nor the last of them are lost: every so many from the first to the
//! last, and ever closer to each other towards the last.

use std::time::Duration;

use scenario::{HostOutcome, RunOutcome, Scenario, Slack};
use serde::Serialize;

use super::milliseconds;

/// The curve of a region.
#[derive(Debug, Serialize)]
pub(super) struct Curve {
    pub(super) region: String,
    /// Hosts of which the build was expected.
    pub(super) expected: usize,
    /// Milliseconds, and how many hosts were done by then.
    pub(super) done: Vec<(f64, usize)>,
    /// Likewise, how many could have been at most; empty where links are not limited.
    pub(super) bound: Vec<(f64, usize)>,
}

pub(super) fn curves(scenario: &Scenario, outcome: &RunOutcome) -> Vec<Curve> {
    let curve = |(index, region): (usize, &scenario::Region)| {
        let own = outcome.hosts.iter().filter(|host| host.region == index);
        let mut done: Vec<Duration> = own.filter_map(|host: &HostOutcome| host.verified_after).collect();
        done.sort_unstable();
        let plan = scenario.plan(index);
        let expected = plan.hosts.iter().filter(|host| host.is_required()).count();
        let bounds = scenario.bounds(&plan, Slack::default());
        let bound = |rank: usize| Some((milliseconds(bounds.as_ref()?.of_rank(rank)), rank));
        Curve {
            region: region.name.clone(),
            expected,
            bound: ranks(expected).into_iter().filter_map(bound).collect(),
            done: ranks(done.len())
                .into_iter()
                .map(|rank| (milliseconds(done[rank - 1]), rank))
                .collect(),
        }
    };
    scenario.regions.iter().enumerate().map(curve).collect()
}

/// Some of 1 to `count`, the first and the last among them.
fn ranks(count: usize) -> Vec<usize> {
    if count <= POINTS_MAX {
        return (1..=count).collect();
    }
    let even = (0..=POINTS_MAX / 2).map(|step| 1 + (count - 1) * step / (POINTS_MAX / 2));
    // Each half as far from the last as the one before it, with some between.
    let closer = (0..POINTS_MAX / 2).map(|step| {
        let left = count as f64 * 0.5_f64.powf(step as f64 / 8.0);
        count - (left as usize).min(count - 1)
    });
    let mut ranks: Vec<usize> = even.chain(closer).collect();
    ranks.sort_unstable();
    ranks.dedup();
    ranks
}

/// Points of a curve, about.
const POINTS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_many_have_the_first_the_last_and_those_before_it() {
        assert_eq!(ranks(0), Vec::<usize>::new());
        assert_eq!(ranks(3), [1, 2, 3]);
        for count in [201, 10_000, 1_000_000] {
            let some = ranks(count);
            assert!(some.len() <= POINTS_MAX + 2, "{}", some.len());
            assert_eq!((some[0], some[some.len() - 1]), (1, count));
            assert!(some.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(
                some.iter().filter(|rank| **rank > count - count / 100).count() >= 2,
                "{count}"
            );
        }
    }
}
