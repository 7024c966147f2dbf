//! Hosts of which nothing more is known, since whoever ran them is lost. They are infinitely late, and never left out.

use std::collections::BTreeMap;
use std::time::Duration;

use scenario::{
    Facts, FaultCounts, HostOutcome, HostPlan, HostState, LiveFacts, RegionOutcome, RegionPlan, RunOutcome, Scenario,
    Stop,
};
use swarm::{PeerStats, Time};

use super::fleet::Slice;

/// What a part of the hosts came to: those that had the build are done, nothing was expected of some, the others are lost.
pub(super) fn outcomes(
    plans: &[RegionPlan],
    slice: Slice,
    done: &BTreeMap<(usize, u32), Time>,
    complete_at: Option<&[Time]>,
) -> Vec<HostOutcome> {
    let hosts = slice.of(plans).map(|(region, host)| {
        let since = |at: &Time| {
            let from = complete_at?.get(region).copied()? + host.join_at.unwrap_or_default();
            Some(at.since(from))
        };
        let verified_after = done.get(&(region, host.index)).and_then(since);
        outcome(region, host, verified_after)
    });
    hosts.collect()
}

fn outcome(region: usize, host: &HostPlan, verified_after: Option<Duration>) -> HostOutcome {
    HostOutcome {
        region,
        host: host.index,
        state: match verified_after {
            Some(_) => HostState::Verified,
            None if host.is_required() => HostState::Lost,
            None => HostState::Excused,
        },
        verified_after,
        bytes_from_seeder: 0,
        bytes_from_peers: 0,
        bytes_wasted: 0,
        bytes_control: None,
        chunks_held: 0,
        chunks_total: 0,
        chunks_without_source: 0,
        neighbours: 0,
    }
}

/// A run that has ended before any host was started.
pub(super) fn nothing_ran(
    scenario: &Scenario,
    why: Option<String>,
    stopped: Option<Stop>,
    wall: Duration,
) -> RunOutcome {
    let whole = Slice { index: 0, count: 1 };
    let live = LiveFacts {
        replicated_after: vec![None; scenario.regions.len()],
        wall,
        lost: why.into_iter().collect(),
        ..LiveFacts::default()
    };
    RunOutcome {
        hosts: outcomes(&scenario.plans(), whole, &BTreeMap::new(), None),
        regions: vec![RegionOutcome::default(); scenario.regions.len()],
        protocol: PeerStats::default(),
        faults: FaultCounts::default(),
        banned: Vec::new(),
        deadline: scenario.time_limit(),
        stopped,
        facts: Facts::Live(Box::new(live)),
    }
}
