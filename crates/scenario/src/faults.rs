//! What goes wrong with which hosts, drawn from the seed.

use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use crate::Region;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Its name in the file.
    pub name: String,
    /// What its hosts do.
    pub kind: FaultKind,
    /// How many of each region.
    pub hosts: HostShare,
    /// In which regions; all where absent.
    pub regions: Option<Vec<String>>,
    /// In which zone of each region, counted from 0; all where absent.
    pub zone: Option<u32>,
    /// When, after the build is complete in the regional bucket.
    pub at: Duration,
}

impl Fault {
    /// How many hosts of a region it takes.
    pub(crate) fn count(&self, shape: &Region) -> usize {
        let elsewhere = |names: &Vec<String>| !names.contains(&shape.name);
        if self.regions.as_ref().is_some_and(elsewhere) {
            return 0;
        }
        let candidates = match self.zone {
            None => shape.hosts,
            Some(zone) if zone < shape.zones => (shape.hosts + shape.zones - 1 - zone) / shape.zones,
            Some(_) => 0,
        };
        self.hosts.of(candidates)
    }
}

/// What the hosts of a fault do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// Go without a word.
    Leave,
    /// Start only then.
    JoinLate,
    /// Serve corrupt chunks.
    Corrupt,
    /// Take requests and never serve.
    Stall,
}

/// A seeder that goes and comes back with the build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeederRestart {
    /// Its name in the file.
    pub name: String,
    /// In which regions; all where absent.
    pub regions: Option<Vec<String>>,
    /// Which of a region's, counted from 0; all where absent.
    pub seeder: Option<u32>,
    /// When it goes, after it began to seed.
    pub at: Duration,
    /// How long it is away.
    pub down: Duration,
}

impl SeederRestart {
    /// Whether it is about this region's seeder.
    pub fn applies_to(&self, region: &str) -> bool {
        self.regions
            .as_ref()
            .is_none_or(|regions| regions.iter().any(|name| name == region))
    }
}

/// A number of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum HostShare {
    /// That many.
    Count(u32),
    /// That part of a region's, in percent, rounded.
    Percent(f64),
}

/// What one host is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostRole {
    /// Nothing special.
    #[default]
    Healthy,
    /// Leave at this time.
    Leave(Duration),
    /// Start at this time.
    JoinLate(Duration),
    /// Serve corrupt chunks. The others ban it, so it is not expected to complete.
    Corrupt,
    /// Never serve.
    Stall,
}

/// The roles of a region's hosts. A host has one role at most: faults share what is left.
pub(crate) fn assign(faults: &[Fault], seed: u64, region: usize, shape: &Region) -> Vec<HostRole> {
    let mut roles = vec![HostRole::Healthy; shape.hosts as usize];
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ (region as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut healthy: Vec<usize> = (0..roles.len()).collect();
    healthy.shuffle(&mut rng);
    for fault in faults {
        let mut count = fault.count(shape);
        let role = match fault.kind {
            FaultKind::Leave => HostRole::Leave(fault.at),
            FaultKind::JoinLate => HostRole::JoinLate(fault.at),
            FaultKind::Corrupt => HostRole::Corrupt,
            FaultKind::Stall => HostRole::Stall,
        };
        let mut place = healthy.len();
        while count > 0 && place > 0 {
            place -= 1;
            let host = healthy[place];
            if fault
                .zone
                .is_none_or(|zone| host % shape.zones as usize == zone as usize)
            {
                roles[healthy.remove(place)] = role;
                count -= 1;
            }
        }
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_take_their_share_of_each_region_and_never_the_same_host() {
        let fault = |kind, hosts, regions: Option<&str>| Fault {
            name: "f".to_owned(),
            kind,
            hosts,
            regions: regions.map(|r| vec![r.to_owned()]),
            zone: None,
            at: Duration::from_secs(3),
        };
        let faults = [
            fault(FaultKind::Leave, HostShare::Percent(5.0), None),
            fault(FaultKind::Corrupt, HostShare::Count(7), Some("a")),
        ];
        let region = |name: &str| Region {
            name: name.to_owned(),
            hosts: 200,
            zones: 1,
            seeders: 1,
        };
        let a = assign(&faults, 1, 0, &region("a"));
        let count = |roles: &[HostRole], role| roles.iter().filter(|r| **r == role).count();
        assert_eq!(count(&a, HostRole::Leave(Duration::from_secs(3))), 10);
        assert_eq!(count(&a, HostRole::Corrupt), 7);
        assert_eq!(count(&assign(&faults, 1, 1, &region("b")), HostRole::Corrupt), 0);
        assert_eq!(a, assign(&faults, 1, 0, &region("a")));
        assert_ne!(a, assign(&faults, 2, 0, &region("a")));
    }
}
