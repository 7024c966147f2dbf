//! What the node of a host is given.

use std::sync::Arc;

use peer::{EndpointConfig, Limits, NodeConfig, Observer, Role};
use swarm::{Contact, PeerConfig, SwarmId};

use super::members::Fixed;
use crate::live::endpoints::host_endpoint;
use crate::live::node_parts::{contact, kept, segment, shaping, store};

pub(super) fn endpoint_config(fixed: &Fixed, slot: usize) -> EndpointConfig {
    let own = &fixed.slots()[slot];
    let fleet = &fixed.plans[own.region];
    let standstill = own.standstill.clone();
    host_endpoint(
        &fixed.scenario,
        fleet,
        fixed.plan(slot),
        standstill,
        &fixed.surroundings,
    )
}

pub(super) fn node_config(fixed: &Fixed, slot: usize, observer: Arc<dyn Observer>) -> NodeConfig {
    let (scenario, surroundings) = (&fixed.scenario, &fixed.surroundings);
    let own = &fixed.slots()[slot];
    let region = own.region;
    let plan = fixed.plan(slot);
    let seeders: Vec<Contact> = surroundings.seeders[region].iter().map(contact).collect();
    let (settings, host) = (scenario.swarm.clone(), plan.clone());
    let believed = surroundings.believed.as_ref();
    let verifier = believed.map(|believed| believed.verifier(&scenario.build.id));
    let configure = move |number, address| {
        let base = PeerConfig::with_seeders(number, address, seeders);
        PeerConfig {
            verifier,
            ..settings.peer_config(&host, base)
        }
    };
    NodeConfig {
        swarm: SwarmId::ONLY,
        shaping: shaping(plan.links.as_ref(), &surroundings.downlinks[region], plan.zone),
        limits: Limits {
            segment: segment(scenario, plan.links.as_ref()),
            ..Limits::default()
        },
        store: store(plan.serves, kept(own.disturbance, &own.kept, &surroundings.pool)),
        role: Role::Host(Box::new(configure)),
        seed: plan.seed,
        clock: surroundings.clock,
        observer,
    }
}
