//! What goes wrong with which hosts, drawn from the seed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::draw::Key;
use crate::{HostPlan, Links, Region, Serves};

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
    /// How long; till the end where absent. Of a slow-down only.
    pub lasts: Option<Duration>,
    /// What is left of the links meanwhile, in percent. Of a slow-down only.
    pub to_percent: f64,
}

/// A host whose links are slower for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowDown {
    /// Its index in the region.
    pub host: u32,
    /// When it begins, after the build is complete in the regional bucket.
    pub at: Duration,
    /// How long; till the end where absent.
    pub lasts: Option<Duration>,
    /// Its links meanwhile.
    pub links: Links,
}

impl Fault {
    /// Whether it is about this region.
    pub(crate) fn applies_to(&self, region: &Region) -> bool {
        let regions = self.regions.as_ref();
        regions.is_none_or(|regions| regions.contains(&region.name))
    }

    /// How many hosts of a region it can take.
    pub(crate) fn candidates(&self, region: &Region) -> u32 {
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

    /// What it is, without its name: by this order faults take their hosts. Those of a zone first, who have fewer to take.
    fn order(&self) -> impl Ord + use<> {
        let hosts = match self.hosts {
            HostShare::Count(count) => (0, u64::from(count)),
            // The bits of numbers above zero are in the order of the numbers.
            HostShare::Percent(percent) => (1, percent.to_bits()),
        };
        let Self { kind, zone, at, .. } = *self;
        let how_much = (self.lasts, self.to_percent.to_bits());
        (zone.is_none(), zone, kind, at, hosts, how_much)
    }

    /// What it does to a host. A slow-down is listed apart: few hosts have one, and there may be a million.
    fn give(&self, host: &mut HostPlan, slow_downs: &mut Vec<SlowDown>) {
        match self.kind {
            FaultKind::Leave => host.leave_at = Some(self.at),
            FaultKind::JoinLate => host.join_at = Some(self.at),
            FaultKind::Corrupt => host.serves = Serves::Corrupt,
            FaultKind::Stall => host.serves = Serves::Nothing,
            FaultKind::SlowDown => slow_downs.extend(host.links.map(|links| SlowDown {
                host: host.index,
                at: self.at,
                lasts: self.lasts,
                links: self.slowed(links),
            })),
        }
    }

    fn slowed(&self, links: Links) -> Links {
        let part = |rate: u64| ((rate as f64 * self.to_percent / 100.0) as u64).max(1);
        Links {
            uplink: part(links.uplink),
            downlink: part(links.downlink),
        }
    }
}

/// What the hosts of a fault do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FaultKind {
    /// Go without a word.
    Leave,
    /// Start only then.
    JoinLate,
    /// Serve corrupt chunks.
    Corrupt,
    /// Take requests and never serve.
    Stall,
    /// Have slower links for a time.
    SlowDown,
}

impl FaultKind {
    /// Whether it begins at some time; else it holds from the start.
    pub(crate) const fn has_time(self) -> bool {
        match self {
            Self::Leave | Self::JoinLate | Self::SlowDown => true,
            Self::Corrupt | Self::Stall => false,
        }
    }
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
    /// Whether it is about this seeder of this region.
    pub(crate) fn applies_to(&self, region: &str, seeder: u32) -> bool {
        let regions = self.regions.as_ref();
        let here = regions.is_none_or(|regions| regions.iter().any(|name| name == region));
        here && self.seeder.is_none_or(|one| one == seeder)
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

/// Gives the hosts of a region what goes wrong with them, and tells who is slow when. A host has one fault at most.
///
/// Each fault draws by a key of its own, made of what it is: its kind and its zone, and which it is of several of these, in the
/// order of their times and shares. So a fault that is renamed draws the same hosts, one whose share grows keeps those it
/// has, and one that is added leaves the others theirs but for hosts that both want.
pub(crate) fn give(
    faults: &[Fault],
    seed: u64,
    region: usize,
    shape: &Region,
    hosts: &mut [HostPlan],
) -> Vec<SlowDown> {
    let mut slow_downs = Vec::new();
    let mut own: Vec<&Fault> = faults.iter().filter(|fault| fault.applies_to(shape)).collect();
    own.sort_by_key(|fault| fault.order());
    let mut is_free = vec![!own.is_empty(); hosts.len()];
    let mut alike = 0_u32;
    for (place, fault) in own.iter().enumerate() {
        let is_alike = |before: &&Fault| (before.kind, before.zone) == (fault.kind, fault.zone);
        let before = place.checked_sub(1).map(|before| own[before]);
        alike = if before.as_ref().is_some_and(is_alike) {
            alike + 1
        } else {
            0
        };
        let subject = format!("fault {:?} of zone {:?}, number {alike}", fault.kind, fault.zone);
        let candidates = hosts.iter().filter(|host| {
            let here = fault.zone.is_none_or(|zone| host.zone == zone);
            here && is_free[host.index as usize]
        });
        let candidates = candidates.map(|host| host.index);
        for host in Key::new(seed, region, &subject).draw(candidates, fault.count(shape)) {
            fault.give(&mut hosts[host as usize], &mut slow_downs);
            is_free[host as usize] = false;
        }
    }
    slow_downs.sort_by_key(|slow_down| slow_down.host);
    slow_downs
}
