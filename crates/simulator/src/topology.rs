//! Where members are and what the network between them is like. Member 0 is the first seeder, host `i` is member `i + 1`, and
//! what other seeders there are come after the hosts.

use scenario::{Links, Network, RegionPlan, SeederPlan};

use crate::links::SharedLink;
use crate::member::MemberId;
use crate::region::nanos;

/// Placement, links and delays of a region.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    seeder: Links,
    host_count: usize,
    hosts: HostLinks,
    delays: Delays,
    /// By member; empty where all are in one.
    zones: Vec<u32>,
    /// A zone's link to the others, out and in; empty where that is no limit.
    zones_out: Vec<SharedLink>,
    zones_into: Vec<SharedLink>,
    racks: Option<Racks>,
}

/// One-way delays in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Delays {
    within_zone: u64,
    between_zones: u64,
}

/// Links of the hosts.
#[derive(Clone, Debug)]
enum HostLinks {
    /// Those of every host: looked up for each chunk, and so not in a table where that can be helped.
    Equal(Links),
    Each(Vec<Links>),
}

/// Racks and their links.
#[derive(Clone, Debug)]
struct Racks {
    /// By host.
    of: Vec<u32>,
    out: Vec<SharedLink>,
    into: Vec<SharedLink>,
}

impl Topology {
    /// Of a region's fleet; `None` where a member's links are not limited, so that nothing takes time.
    pub(crate) fn new(plan: &RegionPlan, network: &Network) -> Option<Self> {
        let each: Vec<Links> = plan.hosts.iter().map(|host| host.links).collect::<Option<_>>()?;
        let seeder = plan.seeders.first()?.links?;
        let first = *each.first()?;
        let hosts = if each.iter().all(|links| *links == first) {
            HostLinks::Equal(first)
        } else {
            HostLinks::Each(each)
        };
        let shared = |rate: u64, count: u32| (0..count).map(|_| SharedLink::new(rate)).collect::<Vec<SharedLink>>();
        let mut zones = member_zones(plan);
        let zone_count = zones.iter().max().map_or(1, |last| last + 1);
        if zone_count == 1 {
            zones = Vec::new();
        }
        let between_zones = network
            .zones
            .uplink
            .map_or_else(Vec::new, |rate| shared(rate, zone_count));
        let rack_of: Option<Vec<u32>> = plan.hosts.iter().map(|host| host.rack).collect();
        let racks = network.racks.as_ref().zip(rack_of).map(|(racks, of)| {
            let count = of.iter().max().map_or(0, |last| last + 1);
            Racks {
                of,
                out: shared(racks.uplink, count),
                into: shared(racks.uplink, count),
            }
        });
        Some(Self {
            seeder,
            host_count: plan.hosts.len(),
            hosts,
            delays: Delays {
                within_zone: nanos(network.latency),
                between_zones: nanos(if zones.is_empty() {
                    network.latency
                } else {
                    network.zones.latency
                }),
            },
            zones,
            zones_out: between_zones.clone(),
            zones_into: between_zones,
            racks,
        })
    }

    pub(crate) fn uplink(&self, member: MemberId) -> u64 {
        self.links(member).uplink
    }

    pub(crate) fn downlink(&self, member: MemberId) -> u64 {
        self.links(member).downlink
    }

    fn links(&self, member: MemberId) -> Links {
        match &self.hosts {
            _ if !self.is_host(member) => self.seeder,
            HostLinks::Equal(links) => *links,
            HostLinks::Each(links) => links[member.index() - 1],
        }
    }

    pub(crate) fn uplink_max(&self) -> u64 {
        let hosts = match &self.hosts {
            HostLinks::Equal(links) => links.uplink,
            HostLinks::Each(links) => links.iter().map(|links| links.uplink).max().unwrap_or(1),
        };
        hosts.max(self.seeder.uplink)
    }

    /// The rate of the slowest link, up or down.
    pub(crate) fn slowest(&self) -> u64 {
        let slower = |links: &Links| links.uplink.min(links.downlink);
        let hosts = match &self.hosts {
            HostLinks::Equal(links) => slower(links),
            HostLinks::Each(links) => links.iter().map(slower).min().unwrap_or(u64::MAX),
        };
        hosts.min(slower(&self.seeder))
    }

    fn is_host(&self, member: MemberId) -> bool {
        (1..=self.host_count).contains(&member.index())
    }

    pub(crate) fn zone(&self, member: MemberId) -> usize {
        self.zones.get(member.index()).map_or(0, |zone| *zone as usize)
    }

    fn rack(&self, member: MemberId, racks: &Racks) -> Option<usize> {
        let host = member.index().checked_sub(1)?;
        racks.of.get(host).map(|rack| *rack as usize)
    }

    /// How long a message takes, in nanoseconds.
    #[inline]
    pub(crate) fn delay(&self, a: MemberId, b: MemberId) -> u64 {
        let Delays {
            within_zone,
            between_zones,
        } = self.delays;
        if within_zone == between_zones || self.zone(a) == self.zone(b) {
            within_zone
        } else {
            between_zones
        }
    }

    /// The longest of them.
    pub(crate) fn delay_max(&self) -> u64 {
        self.delays.within_zone.max(self.delays.between_zones)
    }

    /// When the chunk that has left `from` at `now` has passed what it shares with others on its way to `to`.
    pub(crate) fn pass(&mut self, from: MemberId, to: MemberId, now: u64, bytes: u64) -> u64 {
        if self.racks.is_none() && self.zones_out.is_empty() && self.zones_into.is_empty() {
            return now;
        }
        let mut at = now;
        let racks = self
            .racks
            .as_ref()
            .map(|racks| (self.rack(from, racks), self.rack(to, racks)));
        if let (Some((out, into)), Some(racks)) = (racks, &mut self.racks)
            && out != into
        {
            if let Some(link) = out.and_then(|rack| racks.out.get_mut(rack)) {
                at = at.max(link.pass(now, bytes));
            }
            if let Some(link) = into.and_then(|rack| racks.into.get_mut(rack)) {
                at = at.max(link.pass(now, bytes));
            }
        }
        let (out, into) = (self.zone(from), self.zone(to));
        if out != into {
            if let Some(link) = self.zones_out.get_mut(out) {
                at = at.max(link.pass(now, bytes));
            }
            if let Some(link) = self.zones_into.get_mut(into) {
                at = at.max(link.pass(now, bytes));
            }
        }
        at
    }
}

/// Member 0 is the first seeder, then come the hosts, then the other seeders.
fn member_zones(plan: &RegionPlan) -> Vec<u32> {
    let (first, others) = plan.seeders.split_at(1.min(plan.seeders.len()));
    let hosts = plan.hosts.iter().map(|host| host.zone);
    let seeders = |seeders: &[SeederPlan]| seeders.iter().map(|seeder| seeder.zone).collect::<Vec<_>>();
    seeders(first).into_iter().chain(hosts).chain(seeders(others)).collect()
}
