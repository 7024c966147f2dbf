//! The fleet, planned once: who each host is, where it is, what links it has and what goes wrong with it.
//!
//! Whoever runs a scenario, live or in virtual time, takes a [`RegionPlan`] and derives none of this for itself: so both
//! run the same fleet, host for host. Names and zones of a region are functions here and nowhere else.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use swarm::{HostId, ZoneId};

use crate::{Disturbance, Interruption, Links, Region, Scenario, Trouble, faults, links};

/// A region's fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionPlan {
    /// Index of the region in the scenario.
    pub region: usize,
    /// Seed of the region; those of its members are made of it.
    pub seed: u64,
    /// By index.
    pub hosts: Vec<HostPlan>,
    /// What goes wrong with hosts and passes, by host, one each at most.
    pub disturbances: Vec<Disturbance>,
    /// What goes wrong between members, in the order in which it begins.
    pub interruptions: Vec<Interruption>,
    /// By index, at least one.
    pub seeders: Vec<SeederPlan>,
}

/// What is to become of a host. Small: there may be a million. Its name is [`Region::host_name`] of its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// Its index in the region.
    pub index: u32,
    /// Its zone in the region, counted from 0.
    pub zone: u32,
    /// The zone in which it is to keep its traffic, as the core has it; none where zones do not matter to the swarm.
    pub swarm_zone: Option<ZoneId>,
    /// Its rack in the region, counted from 0; none where the scenario has no racks.
    pub rack: Option<u32>,
    /// Index of its class in `network.classes`; none where it is like most.
    pub class: Option<u16>,
    /// What it does with requests.
    pub serves: Serves,
    /// Who it is in the swarm.
    pub id: HostId,
    /// Seed of everything random about it.
    pub seed: u64,
    /// Its links; not limited where absent.
    pub links: Option<Links>,
    /// When it starts, after the build is complete in the regional bucket; before that where absent.
    pub join_at: Option<Duration>,
    /// When it goes without a word, counted likewise.
    pub leave_at: Option<Duration>,
}

// A million of them are planned in the time and the memory that nobody notices.
const _: () = assert!(size_of::<HostPlan>() <= 104);

impl HostPlan {
    /// Whether it is expected to get the build. A host that leaves may be gone before; one that serves corrupt chunks is
    /// banned by the others; one that says that it has everything asks for nothing.
    pub const fn is_required(&self) -> bool {
        self.leave_at.is_none() && matches!(self.serves, Serves::Honest | Serves::Nothing)
    }
}

/// What a host does with the requests of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Serves {
    /// It sends what it holds.
    #[default]
    Honest,
    /// It sends bytes whose hash is wrong.
    Corrupt,
    /// It takes requests and sends nothing.
    Nothing,
    /// It says that it holds everything, holds nothing and sends nothing.
    Claims,
    /// It says that it holds everything, and that it is busy whenever it is asked.
    Busy,
}

impl Serves {
    /// Whether it says that it holds everything, whatever it holds.
    pub const fn claims_all(self) -> bool {
        matches!(self, Self::Claims | Self::Busy)
    }
}

/// What is to become of a seeder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeederPlan {
    /// Its index among the region's.
    pub index: u32,
    /// How many the region has.
    pub of: u32,
    /// Its zone in the region, counted from 0.
    pub zone: u32,
    /// Who it is in the swarm.
    pub id: HostId,
    /// Seed of everything random about it.
    pub seed: u64,
    /// Its links; not limited where absent.
    pub links: Option<Links>,
    /// When it is away.
    pub absences: Vec<Absence>,
}

/// A time without a seeder, which then comes back with the build, where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// When it goes, after it began to seed.
    pub at: Duration,
    /// How long it is away; for good where absent.
    pub down: Option<Duration>,
}

impl RegionPlan {
    /// Hosts that are expected to get the build.
    pub fn required(&self) -> usize {
        self.hosts.iter().filter(|host| host.is_required()).count()
    }

    /// Whether there are faults with which what a host has published is not what all its neighbours know, or is true for ever: hosts
    /// that come back with less than they had, and paths that let nothing pass.
    pub fn is_told_by_messages(&self) -> bool {
        let goes_down = |disturbance: &Disturbance| matches!(disturbance.what, Trouble::Down(_));
        self.disturbances.iter().any(goes_down) || self.interruptions.iter().any(Interruption::is_silent)
    }
}

impl Scenario {
    /// The fleets of all regions.
    pub fn plans(&self) -> Vec<RegionPlan> {
        (0..self.regions.len()).map(|region| self.plan(region)).collect()
    }

    /// The fleet of a region by its index: the same for equal scenarios.
    pub fn plan(&self, region: usize) -> RegionPlan {
        let shape = &self.regions[region];
        let seed = self.seed ^ ((region as u64 + 1) << 40);
        let swarm_zones = self.swarm_zones(shape);
        let plan = |index| {
            let zone = shape.zone_of(index);
            let id = host_id(index);
            HostPlan {
                index,
                zone,
                swarm_zone: swarm_zones.get(zone as usize).copied(),
                rack: self
                    .network
                    .racks
                    .as_ref()
                    .map(|racks| shape.rack_of(index, racks.hosts)),
                class: None,
                serves: Serves::Honest,
                id,
                seed: seed ^ id.get().wrapping_mul(0x9e37_79b9_7f4a_7c15),
                links: self.network.host,
                join_at: None,
                leave_at: None,
            }
        };
        let mut hosts: Vec<HostPlan> = (0..shape.hosts).map(plan).collect();
        links::give(&self.network, self.seed, region, &mut hosts);
        // A slower link may still be faster than a disk, so parts come last.
        let mut disturbances = faults::give(&self.faults, self.seed, region, shape, &mut hosts);
        for disturbance in &mut disturbances {
            let parts = self.network.parts(hosts[disturbance.host as usize].class);
            if let Trouble::Slow(links) = &mut disturbance.what {
                *links = parts.limit(*links);
            }
        }
        links::limit(&self.network, &mut hosts);
        RegionPlan {
            region,
            seed,
            interruptions: faults::interruptions(&self.network_faults, self.seed, region, shape, &hosts),
            hosts,
            disturbances,
            seeders: (0..shape.seeders)
                .map(|index| self.plan_seeder(shape, seed, index))
                .collect(),
        }
    }

    fn plan_seeder(&self, shape: &Region, seed: u64, index: u32) -> SeederPlan {
        let restarts = self.seeder_faults.iter();
        let own = restarts.filter(|restart| restart.applies_to(&shape.name, index));
        SeederPlan {
            index,
            of: shape.seeders,
            // The first is in the first zone, another in the next.
            zone: index % shape.zones,
            // The first comes before the hosts and the others after them.
            id: match index {
                0 => HostId::new(0),
                other => HostId::new(u64::from(shape.hosts) + u64::from(other)),
            },
            seed: seed ^ u64::from(index) << 32,
            links: self.seeder_links(),
            absences: own
                .map(|restart| Absence {
                    at: restart.at,
                    down: restart.down,
                })
                .collect(),
        }
    }

    /// The zones of a region as the core has them; none where zones do not matter to the swarm.
    fn swarm_zones(&self, region: &Region) -> Vec<ZoneId> {
        if !self.swarm.locality || !(2..=LOCAL_ZONES_MAX).contains(&region.zones) {
            return Vec::new();
        }
        let named = |zone| ZoneId::named(&region.zone_name(zone));
        (0..region.zones).map(named).collect()
    }
}

impl Region {
    /// What a host is called, by its index.
    pub fn host_name(&self, index: u32) -> String {
        format!("{}-{index:06}", self.name)
    }

    /// What a zone is called.
    pub fn zone_name(&self, zone: u32) -> String {
        format!("{}-zone-{zone}", self.name)
    }

    /// Hosts are spread over the zones in turn.
    const fn zone_of(&self, host: u32) -> u32 {
        host % self.zones
    }

    /// How many hosts are in a zone.
    pub(crate) const fn hosts_in(&self, zone: u32) -> u32 {
        if zone >= self.zones {
            return 0;
        }
        (self.hosts + self.zones - 1 - zone) / self.zones
    }

    /// The hosts of a zone fill its racks one after another.
    const fn rack_of(&self, host: u32, rack_hosts: u32) -> u32 {
        host / self.zones / rack_hosts * self.zones + self.zone_of(host)
    }
}

const fn host_id(index: u32) -> HostId {
    HostId::new(index as u64 + 1)
}

/// The host of this id by its index; none where that is a seeder that comes before the hosts.
pub fn host_index(id: HostId) -> Option<u32> {
    u32::try_from(id.get().checked_sub(1)?).ok()
}

/// A region of more zones is treated as one: the host that gets a chunk first is connected to two of each zone.
const LOCAL_ZONES_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_and_racks_divide_a_region() {
        let region = Region {
            name: "a".to_owned(),
            hosts: 23,
            zones: 3,
            seeders: 1,
        };
        for zone in 0..4 {
            let own = (0..23).filter(|host| region.zone_of(*host) == zone).count();
            assert_eq!(region.hosts_in(zone) as usize, own, "zone {zone}");
        }
        for rack in 0..12 {
            let own: Vec<u32> = (0..23).filter(|host| region.rack_of(*host, 2) == rack).collect();
            assert!((1..=2).contains(&own.len()), "rack {rack}: {own:?}");
            assert!(own.iter().all(|host| region.zone_of(*host) == region.zone_of(own[0])));
        }
        assert_eq!((host_index(HostId::new(0)), host_index(host_id(7))), (None, Some(7)));
    }
}
