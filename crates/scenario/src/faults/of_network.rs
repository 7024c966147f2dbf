//! What goes wrong between members: connections that are reset, and paths that let nothing pass for a time.
//!
//! It is no host's own: a host may have a fault of its own besides, and be on one side of several cuts.

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Chosen, HostShare, numbered};
use crate::draw::Key;
use crate::{HostPlan, Region};

/// Something that goes wrong between members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkFault {
    /// Its name in the file.
    pub name: String,
    /// What happens.
    pub kind: NetworkFaultKind,
    /// Whose connections it is about.
    pub chosen: Chosen,
    /// When, after the build is complete in the regional bucket.
    pub at: Duration,
    /// How long; zero for a reset, which is over at once.
    pub lasts: Duration,
    /// Whether it is about their connections with seeders, too, and not only about those with other hosts.
    pub seeders: bool,
    /// Which way nothing passes. Of a silent cut only.
    pub way: Way,
    /// How many of each host's connections. Of a reset only.
    pub connections: HostShare,
}

/// What happens between members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NetworkFaultKind {
    /// Connections end, at both ends, and can be made anew.
    Reset,
    /// Connections with the others end, and none can be made meanwhile.
    Partition,
    /// Nothing passes to or from the others, and nobody is told.
    SilentCut,
}

/// Which way nothing passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Way {
    /// Neither way.
    #[default]
    Both,
    /// Nothing comes out of the hosts that are cut off.
    Out,
    /// Nothing comes in to them.
    In,
}

/// A member of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// A host, by its index.
    Host(u32),
    /// A seeder, by its index.
    Seeder(u32),
}

/// What becomes of what one member sends to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Passage {
    /// It arrives.
    #[default]
    Open,
    /// It waits until it can pass; nobody is told.
    Held,
    /// There is no connection, and none can be made.
    Refused,
}

/// A fault between members as it is carried out in a region.
#[derive(Clone, Debug, PartialEq)]
pub struct Interruption {
    /// When, after the build is complete in the regional bucket.
    pub at: Duration,
    /// How long; zero where it is over at once.
    pub lasts: Duration,
    /// The hosts that it is about, by index, in their order.
    pub hosts: Vec<u32>,
    /// What happens to them.
    pub what: NetworkTrouble,
}

/// What happens to the connections of some hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NetworkTrouble {
    /// Some end.
    Reset(Reset),
    /// Nothing passes between these hosts and the others.
    Cut(Cut),
}

/// Connections that end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reset {
    connections: HostShare,
    seeders: bool,
    key: Key,
}

/// Connections that let nothing pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    silent: bool,
    way: Way,
    seeders: bool,
}

impl Interruption {
    /// What becomes of what `from` sends to `to` while this lasts.
    pub fn passage(&self, from: Member, to: Member) -> Passage {
        let NetworkTrouble::Cut(cut) = self.what else {
            return Passage::Open;
        };
        let is_seeder = |member| matches!(member, Member::Seeder(_));
        if !cut.seeders && (is_seeder(from) || is_seeder(to)) {
            return Passage::Open;
        }
        let (sends_within, receives_within) = (self.is_about(from), self.is_about(to));
        let is_cut = match cut.way {
            Way::Both => sends_within != receives_within,
            Way::Out => sends_within && !receives_within,
            Way::In => !sends_within && receives_within,
        };
        match (is_cut, cut.silent) {
            (false, _) => Passage::Open,
            (true, true) => Passage::Held,
            (true, false) => Passage::Refused,
        }
    }

    /// Which of the connections of `own`, who is connected with these, it ends now.
    pub fn ends(&self, own: Member, connected: &[Member]) -> Vec<Member> {
        match self.what {
            NetworkTrouble::Reset(reset) if self.is_about(own) => reset.of(own, connected),
            NetworkTrouble::Reset(_) => Vec::new(),
            NetworkTrouble::Cut(_) => {
                let refused = |other: &Member| {
                    let passages = [self.passage(own, *other), self.passage(*other, own)];
                    passages.contains(&Passage::Refused)
                };
                connected.iter().copied().filter(refused).collect()
            }
        }
    }

    /// Whether something is held and nobody is told.
    pub const fn is_silent(&self) -> bool {
        matches!(self.what, NetworkTrouble::Cut(Cut { silent: true, .. }))
    }

    /// Whether it is one of the hosts that this is about.
    pub fn is_about(&self, member: Member) -> bool {
        match member {
            Member::Host(host) => self.hosts.binary_search(&host).is_ok(),
            Member::Seeder(_) => false,
        }
    }
}

impl Reset {
    /// A connection has the same lot at both ends, so a share of all is a share of all.
    fn of(self, own: Member, connected: &[Member]) -> Vec<Member> {
        let is_meant = |other: &&Member| self.seeders || matches!(other, Member::Host(_));
        let mut lots: Vec<(u64, Member)> = connected
            .iter()
            .filter(is_meant)
            .map(|other| (self.lot(own, *other), *other))
            .collect();
        lots.sort_unstable();
        match self.connections {
            HostShare::Count(count) => lots.truncate(count as usize),
            HostShare::Percent(percent) => {
                lots.retain(|(lot, _)| (*lot as f64) < percent / 100.0 * u64::MAX as f64 || percent >= 100.0);
            }
        }
        lots.into_iter().map(|(_, other)| other).collect()
    }

    fn lot(self, a: Member, b: Member) -> u64 {
        let number = |member| match member {
            Member::Host(host) => host,
            Member::Seeder(seeder) => u32::MAX - seeder,
        };
        let [first, second] = [a.min(b), a.max(b)].map(number);
        self.key.of(first).generator(second).next_u64()
    }
}

impl NetworkFault {
    /// What it is, without its name, as for faults of hosts.
    fn order(&self) -> impl Ord + use<> {
        let Self { kind, at, lasts, .. } = *self;
        let (zone, hosts) = (self.chosen.zone, self.chosen.hosts.order());
        (
            zone.is_none(),
            zone,
            kind,
            at,
            hosts,
            lasts,
            (self.seeders, self.way, self.connections.order()),
        )
    }
}

/// What happens between the members of a region, in the order in which it begins.
pub(crate) fn interruptions(
    faults: &[NetworkFault],
    seed: u64,
    region: usize,
    shape: &Region,
    hosts: &[HostPlan],
) -> Vec<Interruption> {
    let mut own: Vec<&NetworkFault> = faults.iter().filter(|fault| fault.chosen.applies_to(shape)).collect();
    own.sort_by_key(|fault| fault.order());
    let are_alike =
        |one: &NetworkFault, other: &NetworkFault| (one.kind, one.chosen.zone) == (other.kind, other.chosen.zone);
    let carried_out = numbered(&own, are_alike).map(|(number, fault)| {
        let zone = fault.chosen.zone;
        let subject = format!("fault {:?} of zone {zone:?}, number {number}", fault.kind);
        let candidates = hosts.iter().filter(|host| zone.is_none_or(|zone| host.zone == zone));
        let candidates = candidates.map(|host| host.index);
        let what = match fault.kind {
            NetworkFaultKind::Reset => NetworkTrouble::Reset(Reset {
                connections: fault.connections,
                seeders: fault.seeders,
                key: Key::new(seed, region, &format!("connections of {subject}")),
            }),
            NetworkFaultKind::Partition | NetworkFaultKind::SilentCut => NetworkTrouble::Cut(Cut {
                silent: fault.kind == NetworkFaultKind::SilentCut,
                way: fault.way,
                seeders: fault.seeders,
            }),
        };
        Interruption {
            at: fault.at,
            lasts: fault.lasts,
            hosts: Key::new(seed, region, &subject).draw(candidates, fault.chosen.count(shape)),
            what,
        }
    });
    let mut interruptions: Vec<Interruption> = carried_out.collect();
    interruptions.sort_by_key(|interruption| interruption.at);
    interruptions
}
