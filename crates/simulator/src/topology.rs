//! Where members are and what the network between them is like. Member 0 is the first seeder, host `i` is member `i + 1`, and
//! what other seeders there are come after the hosts.

use std::time::Duration;

use scenario::Links;

use crate::links::SharedLink;

/// Placement, links and delays of a region.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    pub(crate) seeder: Links,
    pub(crate) host_count: usize,
    pub(crate) hosts: HostLinks,
    pub(crate) latency: Duration,
    pub(crate) zones: Zones,
    pub(crate) racks: Option<Racks>,
}

/// Links of the hosts.
#[derive(Clone, Debug)]
pub(crate) enum HostLinks {
    Equal(Links),
    Each(Vec<Links>),
}

/// The zones of a region, which the hosts are spread over in turn.
#[derive(Clone, Debug)]
pub(crate) struct Zones {
    pub(crate) count: u32,
    /// One-way delay between hosts of different zones.
    pub(crate) latency: Duration,
    /// A zone's link to the others, out and in; empty where that is no limit.
    pub(crate) out: Vec<SharedLink>,
    pub(crate) into: Vec<SharedLink>,
}

/// Racks, which the hosts of a zone fill one after another.
#[derive(Clone, Debug)]
pub(crate) struct Racks {
    pub(crate) hosts: u32,
    pub(crate) out: Vec<SharedLink>,
    pub(crate) into: Vec<SharedLink>,
}

impl Topology {
    pub(crate) fn uplink(&self, member: usize) -> u64 {
        self.links(member).uplink
    }

    pub(crate) fn downlink(&self, member: usize) -> u64 {
        self.links(member).downlink
    }

    fn links(&self, member: usize) -> Links {
        match &self.hosts {
            _ if !self.is_host(member) => self.seeder,
            HostLinks::Equal(links) => *links,
            HostLinks::Each(links) => links[member - 1],
        }
    }

    pub(crate) fn uplink_max(&self) -> u64 {
        let hosts = match &self.hosts {
            HostLinks::Equal(links) => links.uplink,
            HostLinks::Each(links) => links.iter().map(|links| links.uplink).max().unwrap_or(1),
        };
        hosts.max(self.seeder.uplink)
    }

    fn is_host(&self, member: usize) -> bool {
        (1..=self.host_count).contains(&member)
    }

    /// The first seeder is in the first zone, another in the next.
    pub(crate) fn zone(&self, member: usize) -> usize {
        let turn = if self.is_host(member) || member == 0 {
            member.saturating_sub(1)
        } else {
            member - self.host_count
        };
        turn % self.zones.count as usize
    }

    fn rack(&self, member: usize, racks: &Racks) -> Option<usize> {
        let host = self.is_host(member).then(|| member - 1)?;
        let zones = self.zones.count as usize;
        let within_zone = host / zones / racks.hosts as usize;
        Some(within_zone * zones + host % zones)
    }

    pub(crate) fn latency(&self, a: usize, b: usize) -> Duration {
        if self.zones.count == 1 || self.zone(a) == self.zone(b) {
            self.latency
        } else {
            self.zones.latency
        }
    }

    pub(crate) fn latency_max(&self) -> Duration {
        if self.zones.count == 1 {
            self.latency
        } else {
            self.latency.max(self.zones.latency)
        }
    }

    /// When the chunk that has left `from` at `now` has passed what it shares with others on its way to `to`.
    pub(crate) fn pass(&mut self, from: usize, to: usize, now: u64, bytes: u64) -> u64 {
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
            if let Some(link) = self.zones.out.get_mut(out) {
                at = at.max(link.pass(now, bytes));
            }
            if let Some(link) = self.zones.into.get_mut(into) {
                at = at.max(link.pass(now, bytes));
            }
        }
        at
    }
}
