//! What the node of a host is given.

use std::sync::Arc;

use peer::{EndpointConfig, Limits, NodeConfig, Role};
use swarm::{Contact, PeerConfig, SwarmId};
use tokio::sync::mpsc;

use super::{FleetShared, HostObserver, Surroundings};
use crate::live::endpoints::host_endpoint;
use crate::live::node_parts::{contact, kept, segment, shaping, store};

pub(super) fn endpoint_config(shared: &FleetShared, slot: usize, surroundings: &Surroundings) -> EndpointConfig {
    let (own, plan) = (&shared.slots[slot], shared.plan(slot));
    let fleet = &shared.plans[own.region];
    host_endpoint(&shared.scenario, fleet, plan, own.standstill.clone(), surroundings)
}

pub(super) fn node_config(
    shared: &Arc<FleetShared>,
    slot: usize,
    surroundings: &Surroundings,
    finished: &mpsc::Sender<usize>,
) -> NodeConfig {
    let scenario = &shared.scenario;
    let own = &shared.slots[slot];
    let region = own.region;
    let plan = shared.plan(slot);
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
        observer: Arc::new(HostObserver {
            clock: surroundings.clock,
            shared: Arc::clone(shared),
            slot,
            finished: finished.clone(),
        }),
    }
}
