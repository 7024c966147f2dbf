//! Where the members of a run listen, and whom they let in there.

use peer::{EndpointConfig, NodeIdentity, Standstill};
use scenario::{HostPlan, RegionPlan, Scenario, SeederPlan};
use swarm::HostId;

use super::fleet::Surroundings;
use super::membership::FIRST_MESSAGE;
use super::node_parts::{listen, transport};

/// Of one of a region's seeders.
pub(super) fn seeder_endpoint(
    scenario: &Scenario,
    fleet: &RegionPlan,
    plan: &SeederPlan,
    surroundings: &Surroundings,
) -> EndpointConfig {
    let shape = &scenario.regions[fleet.region];
    let name = format!("{}-seeder-{}", shape.name, plan.index);
    EndpointConfig {
        connections: 2 * shape.hosts + 64,
        ..endpoint(scenario, fleet, plan.id, (name, None), surroundings)
    }
}

/// Of one of its hosts.
pub(super) fn host_endpoint(
    scenario: &Scenario,
    fleet: &RegionPlan,
    plan: &HostPlan,
    standstill: Option<Standstill>,
    surroundings: &Surroundings,
) -> EndpointConfig {
    let shape = &scenario.regions[fleet.region];
    let zone = plan.swarm_zone.map(|_| shape.zone_name(plan.zone));
    EndpointConfig {
        connections: 4 * u32::from(scenario.swarm.degree) + 16,
        standstill,
        ..endpoint(
            scenario,
            fleet,
            plan.id,
            (shape.host_name(plan.index), zone),
            surroundings,
        )
    }
}

fn endpoint(
    scenario: &Scenario,
    fleet: &RegionPlan,
    host: HostId,
    (name, zone): (String, Option<String>),
    surroundings: &Surroundings,
) -> EndpointConfig {
    let identity = NodeIdentity::from_seed(fleet.seed, host);
    let certifier = surroundings.certifier.as_ref();
    let members = certifier.map(|certifier| certifier.members(&identity, name, zone));
    let at = listen(scenario, fleet.region, host, &surroundings.place);
    EndpointConfig {
        members,
        first_message: FIRST_MESSAGE,
        path: surroundings.path.clone(),
        faults: surroundings.paths.clone(),
        ..EndpointConfig::at(identity, transport(scenario, &surroundings.place), at)
    }
}
