//! What goes wrong, drawn from the seed: one meaning for forecasts and for live runs.
//!
//! Three families, each with one shape. What goes wrong with hosts ([`Fault`]): a host has one at most, in its [`HostPlan`]
//! or, where it passes, as a [`Disturbance`]. What goes wrong between members ([`NetworkFault`]): which is no host's own, so that
//! several may be about one host. And seeders that are away ([`SeederFault`]). What a fault does is here, as plain functions of who and
//! when; runners only carry it out.

mod keys;
mod of_hosts;
mod of_network;
mod of_seeders;
mod reading;
mod times;

use serde::{Deserialize, Serialize};

use crate::Region;

pub use of_hosts::{Disturbance, Fault, FaultKind, KeptStore, Trouble};
pub use of_network::{Cut, Interruption, Member, NetworkFault, NetworkFaultKind, NetworkTrouble, Passage, Reset, Way};
pub use of_seeders::{SeederFault, SeederFaultKind};
pub use times::FaultTime;

pub(crate) use of_hosts::give;
pub(crate) use of_network::interruptions;
pub(crate) use reading::{check, read};

/// What is said of a scenario's faults.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) hosts: Vec<Fault>,
    pub(crate) network: Vec<NetworkFault>,
    pub(crate) seeders: Vec<SeederFault>,
}

/// The kind of a fault, of whichever family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hosts(FaultKind),
    Network(NetworkFaultKind),
    Seeders(SeederFaultKind),
}

/// Which hosts a fault is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// How many of each region.
    pub hosts: HostShare,
    /// In which regions; all where absent.
    pub regions: Option<Vec<String>>,
    /// In which zone of each region, counted from 0; all where absent.
    pub zone: Option<u32>,
}

/// A number of hosts, or of connections.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum HostShare {
    /// That many.
    Count(u32),
    /// That part of them, in percent, rounded.
    Percent(f64),
}

impl HostShare {
    /// How many of `hosts` it is.
    pub(crate) fn of(self, hosts: u32) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => (f64::from(hosts) * percent / 100.0).round() as usize,
        }
    }

    /// Shares in an order of their own, whatever they are of.
    fn order(self) -> (u8, u64) {
        match self {
            Self::Count(count) => (0, u64::from(count)),
            // The bits of numbers above zero are in the order of the numbers.
            Self::Percent(percent) => (1, percent.to_bits()),
        }
    }
}

impl Chosen {
    /// Whether it is about this region.
    pub(crate) fn applies_to(&self, region: &Region) -> bool {
        let regions = self.regions.as_ref();
        regions.is_none_or(|regions| regions.contains(&region.name))
    }

    /// How many hosts of a region it can take.
    fn candidates(&self, region: &Region) -> u32 {
        match self.zone {
            _ if !self.applies_to(region) => 0,
            Some(zone) => region.hosts_in(zone),
            None => region.hosts,
        }
    }

    /// How many hosts of a region it takes.
    pub(crate) fn count(&self, region: &Region) -> usize {
        match self.candidates(region) {
            0 => 0,
            candidates => self.hosts.of(candidates),
        }
    }
}

/// Tells of each of `sorted` which it is among those before it that are `alike`: by that number, and not by its name, a fault
/// draws.
fn numbered<'a, T>(
    sorted: &'a [&'a T],
    alike: impl Fn(&T, &T) -> bool + 'a,
) -> impl Iterator<Item = (u32, &'a T)> + 'a {
    let mut number = 0;
    sorted.iter().enumerate().map(move |(place, own)| {
        let before = place.checked_sub(1).map(|before| sorted[before]);
        number = match before {
            Some(before) if alike(before, own) => number + 1,
            _ => 0,
        };
        (number, *own)
    })
}
