//! Hosts of which nothing more is known, since whoever ran them is lost. They are infinitely late, and never left out.

use std::collections::BTreeMap;
use std::time::Duration;

use scenario::{
    Facts, FaultCounts, HostOutcome, HostPlan, HostState, LiveFacts, RegionOutcome, RegionPlan, RunOutcome, Scenario,
    Stop,
};
use swarm::{PeerStats, Time};

use super::clocks::ClockLine;
use super::fleet::Slice;
use super::told::{HostPlace, HostTold, Told};

/// What a part of the hosts came to: those that were told to have the build are done, with what they had received by then; nothing was expected of
/// some; the others are lost.
pub(super) fn outcomes(
    plans: &[RegionPlan],
    slice: Slice,
    (told, clock): (&Told, ClockLine),
    begun: Option<&[Time]>,
) -> Vec<HostOutcome> {
    let done: BTreeMap<HostPlace, &HostTold> = told.done().collect();
    let hosts = slice.of(plans).map(|(region, host)| {
        let of_host = done.get(&(region, host.index)).copied();
        let verified = of_host.and_then(|of_host| verified(of_host, clock, begun?.get(region).copied()?));
        verified.unwrap_or_else(|| unknown(region, host))
    });
    hosts.collect()
}

/// All hosts of a run of which nothing was told.
pub(super) fn all(plans: &[RegionPlan]) -> Vec<HostOutcome> {
    let whole = Slice { index: 0, count: 1 };
    outcomes(plans, whole, (&Told::default(), ClockLine::SAME), None)
}

/// A host that was done when it was told of. Its worker may not have known by then when the build was complete.
fn verified(told: &HostTold, clock: ClockLine, begun: Time) -> Option<HostOutcome> {
    let at = |nanos: Option<u64>| nanos.map(|nanos| clock.to_run(Time::from_nanos(nanos)));
    let from = begun.max(at(told.times.started).unwrap_or_default());
    Some(HostOutcome {
        state: HostState::Verified,
        verified_after: Some(at(told.times.complete)?.since(from)),
        ..told.outcome.clone()
    })
}

fn unknown(region: usize, host: &HostPlan) -> HostOutcome {
    HostOutcome {
        region,
        host: host.index,
        state: if host.is_required() {
            HostState::Lost
        } else {
            HostState::Excused
        },
        verified_after: None,
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
    let live = LiveFacts {
        replicated_after: vec![None; scenario.regions.len()],
        wall,
        lost: why.into_iter().collect(),
        ..LiveFacts::default()
    };
    RunOutcome {
        hosts: all(&scenario.plans()),
        regions: vec![RegionOutcome::default(); scenario.regions.len()],
        protocol: PeerStats::default(),
        faults: FaultCounts::default(),
        banned: Vec::new(),
        deadline: scenario.time_limit(),
        stopped,
        facts: Facts::Live(Box::new(live)),
    }
}

#[cfg(test)]
mod tests {
    use scenario::LoadOptions;

    use super::super::told::HostTimes;
    use super::*;

    #[test]
    fn of_a_lost_worker_s_hosts_those_that_were_done_are_as_it_has_told_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scenario.toml");
        std::fs::write(&file, "[build]\nsize = \"1 MiB\"\n[regions.region-a]\nhosts = 4\n").unwrap();
        let plans = Scenario::load(&file, &LoadOptions::default()).unwrap().plans();
        let slice = Slice { index: 1, count: 2 };
        let seconds = |seconds: u64| Time::ZERO + Duration::from_secs(seconds);
        // Told before the worker had heard when the build was complete.
        let mut done = unknown(0, &plans[0].hosts[1]);
        (done.state, done.bytes_from_peers) = (HostState::Pending, 1 << 20);
        let times = HostTimes {
            started: Some(seconds(1).as_nanos()),
            complete: Some(seconds(9).as_nanos()),
        };
        let mut told = Told::default();
        told.note(vec![HostTold { outcome: done, times }]);
        let of = |begun: Option<&[Time]>| outcomes(&plans, slice, (&told, ClockLine::SAME), begun);
        let known = of(Some(&[seconds(2)]));
        let states: Vec<(u32, &HostState, u64)> = known
            .iter()
            .map(|host| (host.host, &host.state, host.bytes_from_peers))
            .collect();
        assert_eq!(states, [(1, &HostState::Verified, 1 << 20), (3, &HostState::Lost, 0)]);
        assert_eq!(known[0].verified_after, Some(Duration::from_secs(7)));
        // Where the run has not begun nobody was done.
        assert!(of(None).iter().all(|host| host.state == HostState::Lost));
    }
}
