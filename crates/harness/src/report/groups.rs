//! Latencies of the hosts of a region that are alike: of one class of links, of one zone, with one kind of fault.
//!
//! A kind of group is there where a region has at least two of it: else it would say again what the region's own figures say.

use std::collections::BTreeMap;

use scenario::{HostOutcome, HostPlan, HostState, LatencySummary, RegionPlan, RunOutcome, Scenario, Serves, Trouble};
use serde::Serialize;

use super::Latencies;
use super::making::latencies;

/// Hosts of a region that are alike.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) region: String,
    /// By what they are: class, zone or fault.
    pub(super) by: &'static str,
    pub(super) name: String,
    pub(super) hosts: usize,
    pub(super) verified: usize,
    /// Of which nothing was expected: they are in no percentile.
    pub(super) excused: usize,
    pub(super) fanout_latency_ms: Latencies,
}

pub(super) fn groups(scenario: &Scenario, outcome: &RunOutcome) -> Vec<Group> {
    let of_region = |region: usize| {
        let plan = scenario.plan(region);
        let own: Vec<&HostOutcome> = outcome.hosts.iter().filter(|host| host.region == region).collect();
        let by = |by: &'static str, name: &dyn Fn(&HostPlan) -> String| grouped(scenario, &plan, &own, by, name);
        let shape = &scenario.regions[region];
        let class = |host: &HostPlan| {
            let class = host
                .class
                .and_then(|class| scenario.network.classes.get(usize::from(class)));
            class.map_or_else(|| "most".to_owned(), |class| class.name.clone())
        };
        let fault = |host: &HostPlan| fault(&plan, host).to_owned();
        let zone = |host: &HostPlan| shape.zone_name(host.zone);
        let all = [by("class", &class), by("zone", &zone), by("fault", &fault)];
        all.into_iter().flatten().collect::<Vec<Group>>()
    };
    (0..scenario.regions.len()).flat_map(of_region).collect()
}

fn grouped(
    scenario: &Scenario,
    plan: &RegionPlan,
    outcomes: &[&HostOutcome],
    by: &'static str,
    name: &dyn Fn(&HostPlan) -> String,
) -> Vec<Group> {
    let mut named: BTreeMap<String, Vec<&HostOutcome>> = BTreeMap::new();
    for outcome in outcomes {
        if let Some(host) = plan.hosts.get(outcome.host as usize) {
            named.entry(name(host)).or_default().push(outcome);
        }
    }
    if named.len() < 2 {
        return Vec::new();
    }
    let group = |(name, hosts): (String, Vec<&HostOutcome>)| Group {
        region: scenario.regions[plan.region].name.clone(),
        by,
        name,
        hosts: hosts.len(),
        verified: hosts.iter().filter(|host| host.state == HostState::Verified).count(),
        excused: hosts.iter().filter(|host| host.state == HostState::Excused).count(),
        fanout_latency_ms: latencies(&LatencySummary::new(
            hosts
                .iter()
                .filter(|host| host.state != HostState::Excused)
                .map(|host| host.verified_after),
        )),
    };
    named.into_iter().map(group).collect()
}

/// The kind of fault that a host has, in the words of scenarios; none where it has none.
fn fault(plan: &RegionPlan, host: &HostPlan) -> &'static str {
    let found = plan
        .disturbances
        .binary_search_by_key(&host.index, |disturbance| disturbance.host);
    match (host.serves, found.ok().map(|place| plan.disturbances[place].what)) {
        (Serves::Corrupt, _) => "corrupt",
        (Serves::Nothing, _) => "stall",
        (Serves::Claims, _) => "claim",
        (Serves::Busy, _) => "busy",
        (Serves::Honest, Some(Trouble::Slow(_))) => "slow-down",
        (Serves::Honest, Some(Trouble::Pause)) => "pause",
        (Serves::Honest, Some(Trouble::Down(_))) => "crash",
        (Serves::Honest, None) if host.leave_at.is_some() => "leave",
        (Serves::Honest, None) if host.join_at.is_some() => "join-late",
        (Serves::Honest, None) => "none",
    }
}
