//! What goes wrong with hosts themselves.

use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use swarm::ChunkIndex;

use super::{Chosen, numbered};
use crate::draw::Key;
use crate::{HostPlan, Links, Region, Serves};

/// Something that goes wrong with hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Its name in the file.
    pub name: String,
    /// What its hosts do.
    pub kind: FaultKind,
    /// Which they are.
    pub chosen: Chosen,
    /// When, after the build is complete in the regional bucket.
    pub at: Duration,
    /// How long; till the end where absent.
    pub lasts: Option<Duration>,
    /// What is left of the links meanwhile, in percent. Of a slow-down only.
    pub to_percent: f64,
    /// What is left of them at the worst host at least, in percent, where hosts are unequally slow. Of a slow-down only.
    pub worst_percent: Option<f64>,
    /// What the hosts still hold when they are back. Of a crash only.
    pub store: KeptStore,
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
    /// Stand still for a time.
    Pause,
    /// Go without a word and come back.
    Crash,
    /// Send next to nothing.
    Trickle,
    /// Say that they hold everything, and hold and send nothing.
    Claim,
    /// Say that they hold everything, and turn down every request because they are busy.
    Busy,
}

/// What a host still holds after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KeptStore {
    /// All that it had.
    #[default]
    All,
    /// Every second chunk of it.
    Half,
    /// Nothing.
    Nothing,
}

impl KeptStore {
    /// Whether a chunk that was held is still there.
    pub fn keeps(self, chunk: ChunkIndex) -> bool {
        match self {
            Self::All => true,
            Self::Half => chunk.get() % 2 == 1,
            Self::Nothing => false,
        }
    }
}

/// Something that goes wrong with a host and passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// Its index in the region.
    pub host: u32,
    /// When it begins, after the build is complete in the regional bucket.
    pub at: Duration,
    /// How long it lasts; till the end where absent.
    pub lasts: Option<Duration>,
    /// What it is.
    pub what: Trouble,
}

/// What goes wrong with a host for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It has these links.
    Slow(Links),
    /// It stands still: it does nothing, reads nothing, and its clock has moved on when it goes on.
    Pause,
    /// It is not there, and is started again with so much of what it held.
    Down(KeptStore),
}

impl Fault {
    /// What it is, without its name: by this order faults take their hosts. Those of a zone first, who have fewer to take.
    fn order(&self) -> impl Ord + use<> {
        let Self { kind, at, .. } = *self;
        let zone = self.chosen.zone;
        let how_much = (
            self.lasts,
            self.to_percent.to_bits(),
            self.worst_percent.map(f64::to_bits),
        );
        let hosts = self.chosen.hosts.order();
        (zone.is_none(), zone, kind, at, hosts, how_much, self.store)
    }

    /// What it does to a host. What passes is listed apart: few hosts have one, and there may be a million.
    fn give(&self, host: &mut HostPlan, key: Key, disturbances: &mut Vec<Disturbance>) {
        let trouble = match self.kind {
            FaultKind::Leave => {
                host.leave_at = Some(self.at);
                None
            }
            FaultKind::JoinLate => {
                host.join_at = Some(self.at);
                None
            }
            FaultKind::Corrupt | FaultKind::Stall | FaultKind::Claim | FaultKind::Busy => {
                host.serves = self.kind.serves();
                None
            }
            FaultKind::Trickle => {
                // Where links are not limited it alone has some.
                let downlink = host.links.map_or(UNLIMITED, |links| links.downlink);
                let uplink = TRICKLE;
                host.links = Some(Links { uplink, downlink });
                None
            }
            FaultKind::SlowDown => host
                .links
                .map(|links| Trouble::Slow(self.slowed(links, key, host.index))),
            FaultKind::Pause => Some(Trouble::Pause),
            FaultKind::Crash => Some(Trouble::Down(self.store)),
        };
        disturbances.extend(trouble.map(|what| Disturbance {
            host: host.index,
            at: self.at,
            lasts: self.lasts,
            what,
        }));
    }

    /// With a worst, so that hosts are unequally slow, by a heavy tail: one of two has less than half of what the best one has, one of a
    /// hundred less than a hundredth, until the worst.
    fn slowed(&self, links: Links, key: Key, host: u32) -> Links {
        let percent = self.worst_percent.map_or(self.to_percent, |worst| {
            let part: f64 = key.generator(host).random_range(0.0..1.0);
            (self.to_percent * (1.0 - part)).max(worst)
        });
        let part = |rate: u64| ((rate as f64 * percent / 100.0) as u64).max(1);
        Links {
            uplink: part(links.uplink),
            downlink: part(links.downlink),
        }
    }
}

impl FaultKind {
    /// What its hosts do with requests, where that is their fault.
    const fn serves(self) -> Serves {
        match self {
            Self::Corrupt => Serves::Corrupt,
            Self::Stall => Serves::Nothing,
            Self::Claim => Serves::Claims,
            Self::Busy => Serves::Busy,
            Self::Leave | Self::JoinLate | Self::SlowDown | Self::Pause | Self::Crash | Self::Trickle => Serves::Honest,
        }
    }
}

/// Gives the hosts of a region what goes wrong with them, and tells what passes, by host. A host has one fault at most.
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
) -> Vec<Disturbance> {
    let mut disturbances = Vec::new();
    let mut own: Vec<&Fault> = faults.iter().filter(|fault| fault.chosen.applies_to(shape)).collect();
    own.sort_by_key(|fault| fault.order());
    let mut is_free = vec![!own.is_empty(); hosts.len()];
    let are_alike = |one: &Fault, other: &Fault| (one.kind, one.chosen.zone) == (other.kind, other.chosen.zone);
    for (number, fault) in numbered(&own, are_alike) {
        let zone = fault.chosen.zone;
        let subject = format!("fault {:?} of zone {zone:?}, number {number}", fault.kind);
        let candidates = hosts.iter().filter(|host| {
            let here = zone.is_none_or(|zone| host.zone == zone);
            here && is_free[host.index as usize]
        });
        let candidates = candidates.map(|host| host.index);
        let worst = Key::new(seed, region, &format!("how bad {subject} is"));
        for host in Key::new(seed, region, &subject).draw(candidates, fault.chosen.count(shape)) {
            fault.give(&mut hosts[host as usize], worst, &mut disturbances);
            is_free[host as usize] = false;
        }
    }
    disturbances.sort_by_key(|disturbance| disturbance.host);
    disturbances
}

/// What a host sends that trickles, in bytes a second: enough to be seen to move, and no chunk ever comes of it.
const TRICKLE: u64 = 2;
/// Bytes a second that no link is faster than.
const UNLIMITED: u64 = 1 << 43;
