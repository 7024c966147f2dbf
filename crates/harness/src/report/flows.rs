//! What passed in each region over time, by what was recorded of its hosts; when what went wrong; and how much of the links was used.
//!
//! Where not every chunk is recorded, those that are stand for all: bytes here are estimates, and the sums of `traffic` are exact.

use std::time::Duration;

use explain::Records;
use scenario::{HostOutcome, RegionPlan, RunOutcome, Scenario};
use serde::Serialize;

use super::{milliseconds, round};

/// What passed in a region.
#[derive(Debug, Serialize)]
pub(super) struct RegionFlow {
    pub(super) region: String,
    /// Milliseconds since the build was complete in the bucket, and what hosts had by then from seeders and from each other, in bytes.
    pub(super) received: Vec<(f64, u64, u64)>,
    /// Of chunks, in the order of their first copy: milliseconds until a first host and until the last one had it.
    pub(super) chunk_ages: Vec<(f64, f64)>,
    /// Part of the hosts, from who gave most on, and how many builds that one has given to others.
    pub(super) given: Vec<(f64, f64)>,
}

/// When something of a scenario goes wrong.
#[derive(Debug, Serialize)]
pub(super) struct FaultTime {
    pub(super) name: String,
    /// Milliseconds since the build was complete in the bucket.
    pub(super) at_ms: f64,
    /// Null where it does not end.
    pub(super) until_ms: Option<f64>,
}

/// How much of a region's links was used from when its seeders could send until its last host was done; null where links are not limited or nobody is
/// done.
#[derive(Debug, Default, Serialize)]
pub(super) struct LinkUse {
    pub(super) seeder_uplinks: Option<f64>,
    pub(super) host_uplinks: Option<f64>,
    pub(super) host_downlinks: Option<f64>,
}

pub(super) fn flows(records: &Records) -> Vec<RegionFlow> {
    let regions = records.scenario.regions.iter().enumerate();
    regions
        .filter_map(|(index, region)| {
            let flow = records.flow(index, POINTS)?;
            let ms = |ticks: i64| round(ticks as f64 * explain::TICK_NANOS as f64 / 1e6);
            let bytes_each = flow.stride * f64::from(records.scenario.chunk_size());
            let chunks = records.sample.len().max(1) as f64;
            let bytes = |copies: u64| (copies as f64 * bytes_each) as u64;
            let mut given = flow.given;
            given.sort_unstable_by(|a, b| b.cmp(a));
            let hosts = given.len();
            Some(RegionFlow {
                region: region.name.clone(),
                received: flow
                    .received
                    .iter()
                    .map(|by| (ms(by.at), bytes(by.from_seeders), bytes(by.from_hosts)))
                    .collect(),
                chunk_ages: some(flow.ages.len())
                    .map(|place| (ms(flow.ages[place].0), ms(flow.ages[place].1)))
                    .collect(),
                given: some(hosts)
                    .map(|place| {
                        (
                            round((place + 1) as f64 / hosts as f64),
                            round(f64::from(given[place]) / chunks),
                        )
                    })
                    .collect(),
            })
        })
        .collect()
}

/// Some of so many places, evenly, the first and the last among them.
fn some(count: usize) -> impl Iterator<Item = usize> {
    let told = count.min(POINTS as usize);
    (0..told).map(move |step| match told {
        1 => 0,
        _ => step * (count - 1) / (told - 1),
    })
}

pub(super) fn fault_times(scenario: &Scenario, outcome: &RunOutcome) -> Vec<FaultTime> {
    let seeding = outcome.regions.iter().filter_map(|region| region.seeding_after).max();
    let times = scenario.fault_times(seeding.unwrap_or_default()).into_iter();
    let told = times.map(|of| FaultTime {
        name: of.name,
        at_ms: milliseconds(of.at),
        until_ms: of.until.map(milliseconds),
    });
    told.collect()
}

/// Of a region whose hosts these are.
pub(super) fn link_use(
    scenario: &Scenario,
    plan: &RegionPlan,
    hosts: &[&HostOutcome],
    (seeding, seeder_bytes): (Option<Duration>, u64),
) -> LinkUse {
    let last = hosts.iter().filter_map(|host| host.verified_after).max();
    let Some(time) = last
        .zip(seeding)
        .map(|(last, seeding)| last.saturating_sub(seeding).as_secs_f64())
    else {
        return LinkUse::default();
    };
    let share = |bytes: u64, rate: Option<f64>| {
        let most = rate? * time;
        (most > 0.0).then(|| round(bytes as f64 / most))
    };
    let of_hosts = |rate: fn(&scenario::Links) -> u64| {
        let rates = plan
            .hosts
            .iter()
            .map(|host| host.links.as_ref().map(|links| rate(links) as f64));
        rates.sum::<Option<f64>>()
    };
    let from_hosts: u64 = hosts.iter().map(|host| host.bytes_from_peers).sum();
    let received: u64 = hosts
        .iter()
        .map(|host| host.bytes_from_peers + host.bytes_from_seeder)
        .sum();
    let seeders = scenario
        .seeder_links()
        .map(|links| links.uplink as f64 * plan.seeders.len() as f64);
    LinkUse {
        seeder_uplinks: share(seeder_bytes, seeders),
        host_uplinks: share(from_hosts, of_hosts(|links| links.uplink)),
        host_downlinks: share(received, of_hosts(|links| links.downlink)),
    }
}

/// Points of what is told over time.
const POINTS: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_places_have_the_first_and_the_last() {
        assert_eq!(some(0).count(), 0);
        assert_eq!(some(1).collect::<Vec<_>>(), [0]);
        assert_eq!(some(3).collect::<Vec<_>>(), [0, 1, 2]);
        let many: Vec<usize> = some(1_000_000).collect();
        assert_eq!((many.len(), many[0], many[99]), (100, 0, 999_999));
        assert!(many.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
