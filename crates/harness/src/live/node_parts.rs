//! What the nodes of a run are given, hosts and seeders alike: transport, address, links, and a store with what goes wrong around it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use peer::{
    Addresses, Answer, ChunkPool, ClaimingStore, CorruptStore, Downlinks, InProcessNetwork, Multiaddr, Shaping,
    StallingStore, StoreOpener, TransportKind, host_of,
};
use scenario::{Disturbance, Links, Scenario, Serves, Transport, Trouble};
use swarm::{ByteRate, Contact, HostId};

use super::disturbances::{KeptChunks, kept_over_a_crash};

/// A seeder of ours.
pub(super) fn contact(address: &Multiaddr) -> Contact {
    let addresses = Addresses::of([address]).expect("the address of a node ends with its peer id");
    Contact {
        host: host_of(addresses.peer()),
        address: addresses.encode(),
    }
}

/// The store of a host before what it does with requests is put around it.
pub(super) fn kept(disturbance: Option<Disturbance>, kept: &KeptChunks, pool: &ChunkPool) -> StoreOpener {
    let right = StoreOpener::in_memory(pool.clone());
    match disturbance.map(|disturbance| disturbance.what) {
        Some(Trouble::Down(store)) => kept_over_a_crash(right, Arc::clone(kept), store),
        Some(Trouble::Slow(_) | Trouble::Pause) | None => right,
    }
}

/// The store of a host that does so with requests: what goes wrong with it is put around it here.
pub(super) fn store(serves: Serves, right: StoreOpener) -> StoreOpener {
    match serves {
        Serves::Honest => right,
        Serves::Corrupt => right.decorated(|store| Arc::new(CorruptStore::new(store))),
        Serves::Nothing => right.decorated(|store| Arc::new(StallingStore::new(store))),
        Serves::Claims => right.decorated(|store| Arc::new(ClaimingStore::new(store, Answer::Nothing))),
        Serves::Busy => right.decorated(|store| Arc::new(ClaimingStore::new(store, Answer::Busy))),
    }
}

/// Where the nodes of a process are.
#[derive(Clone)]
pub(crate) struct Place {
    /// What those that speak in this process find each other by.
    network: InProcessNetwork,
    /// Where the others listen.
    ip: IpAddr,
}

impl Default for Place {
    fn default() -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into())
    }
}

impl Place {
    pub(super) fn at(ip: IpAddr) -> Self {
        Self {
            network: InProcessNetwork::default(),
            ip,
        }
    }

    pub(super) const fn ip(&self) -> IpAddr {
        self.ip
    }
}

pub(super) fn transport(scenario: &Scenario, place: &Place) -> TransportKind {
    match scenario.network.transport {
        Transport::InProcess => TransportKind::InProcess(place.network.clone()),
        Transport::Memory => TransportKind::Memory,
        Transport::Tcp => TransportKind::Tcp,
        Transport::Quic => TransportKind::Quic,
    }
}

pub(super) fn listen(scenario: &Scenario, region: usize, host: HostId, place: &Place) -> Multiaddr {
    let number = (region as u64 + 1) << 40 | (host.get() + 1);
    let family = if place.ip.is_ipv4() { "ip4" } else { "ip6" };
    let address = match scenario.network.transport {
        Transport::InProcess | Transport::Memory => format!("/memory/{number}"),
        Transport::Tcp => format!("/{family}/{}/tcp/0", place.ip),
        Transport::Quic => format!("/{family}/{}/udp/0/quic-v1", place.ip),
    };
    address.parse().expect("written as a multiaddr above")
}

/// What the members of each region share in a process.
pub(super) fn downlinks(scenario: &Scenario) -> Vec<Downlinks> {
    let between_zones = scenario.network.zones.uplink.and_then(ByteRate::from_bytes_per_second);
    let of_region = |_| between_zones.map_or_else(Downlinks::default, Downlinks::between_zones);
    scenario.regions.iter().map(of_region).collect()
}

pub(super) fn shaping(links: Option<&Links>, downlinks: &Downlinks, zone: u32) -> Shaping {
    Shaping {
        uplink: links.map(Links::uplink),
        downlink: links.map(Links::downlink),
        downlinks: downlinks.clone(),
        zone: Some(zone),
        ..Shaping::default()
    }
}

/// On slow links a chunk goes in parts, so that transfers share a link without each waiting for whole chunks; every part costs
/// time. Where a downlink may be full, a sender is ahead of it by a part: many small ones then, or it would be unlike TCP.
pub(super) fn segment(scenario: &Scenario, own: Option<&Links>) -> u32 {
    let Some(own) = own else {
        return SEGMENT_MAX;
    };
    // So that whoever is sent something by a very thin link sees that it moves.
    let most = u32::try_from(own.uplink / PARTS_PER_SECOND_MIN).unwrap_or(u32::MAX);
    part_of_chunk(scenario, own).min(most).max(1)
}

fn part_of_chunk(scenario: &Scenario, own: &Links) -> u32 {
    let network = &scenario.network;
    let Some(base) = network.host else {
        return SEGMENT_MAX;
    };
    let of_hosts = || network.classes.iter().map(|class| class.links).chain([base]);
    let slowest = of_hosts().map(|links| links.downlink).min().unwrap_or(base.downlink);
    let of_all = of_hosts().chain(scenario.seeder_links());
    let fastest = of_all.map(|links| links.uplink).max().unwrap_or(base.uplink);
    let in_flight = scenario.swarm.chunks_in_flight.unwrap_or(usize::MAX);
    let in_flight = u64::try_from(in_flight).unwrap_or(u64::MAX);
    if scenario.has_equal_links() && slowest >= fastest.saturating_mul(in_flight) {
        return (scenario.chunk_size() / PARTS_OF_CHUNK).clamp(4 << 10, SEGMENT_MAX);
    }
    let soonest = u32::try_from(own.uplink / PARTS_PER_SECOND_MAX).unwrap_or(u32::MAX);
    (scenario.chunk_size() / SMALL_PARTS_OF_CHUNK)
        .max(soonest)
        .clamp(1 << 10, SEGMENT_MAX)
}

const SEGMENT_MAX: u32 = 64 << 10;
/// Parts of a chunk on shaped links.
const PARTS_OF_CHUNK: u32 = 2;
/// Parts of a chunk where downlinks may be full. With 16 a random exchange on equal links is some 2 % faster than with equal
/// rates at both ends, with 32 as fast; see docs/model.md.
const SMALL_PARTS_OF_CHUNK: u32 = 32;
/// Timers are no finer than a millisecond.
const PARTS_PER_SECOND_MAX: u64 = 500;
/// Twice in what a driver promises to tell of progress.
const PARTS_PER_SECOND_MIN: u64 = 4;
