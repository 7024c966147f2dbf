//! Who is in the swarm and how to reach them. Invariant: every member is in the overlay and the other way round.
//!
//! Answers to joiners wait until no more come for a moment, so that hosts which start together are linked with each
//! other and not only with whoever came first.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes as ByteBuffer;
use indexmap::IndexMap;
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::overlay::Overlay;
use crate::units::{HostId, Time, ZoneId};
use crate::wire::Contact;

/// The members of one swarm.
#[derive(Debug)]
pub(crate) struct Tracker {
    degree_max: usize,
    members: IndexMap<HostId, Member>,
    overlay: Overlay,
    joiners: Vec<(HostId, u16)>,
    first_joiner_at: Time,
    expelled: BTreeSet<HostId>,
}

#[derive(Debug)]
struct Member {
    address: ByteBuffer,
    seen_at: Time,
    complete: bool,
    complaints_by: Vec<HostId>,
}

impl Tracker {
    /// A tracker whose hosts want `degree` neighbours.
    pub(crate) fn new(degree: u16) -> Self {
        let degree = usize::from(degree);
        Self {
            degree_max: degree + degree / 2,
            members: IndexMap::new(),
            overlay: Overlay::default(),
            joiners: Vec::new(),
            first_joiner_at: Time::ZERO,
            expelled: BTreeSet::new(),
        }
    }

    /// Takes in an announce. The time at which joiners are to be answered, where this host waits for neighbours.
    pub(crate) fn announce(
        &mut self,
        now: Time,
        host: HostId,
        address: ByteBuffer,
        wanted: u16,
        complete: bool,
        zone: Option<ZoneId>,
    ) -> Option<Time> {
        let complaints_by = self
            .members
            .swap_remove(&host)
            .map(|m| m.complaints_by)
            .unwrap_or_default();
        self.members.insert(
            host,
            Member {
                address,
                seen_at: now,
                complete,
                complaints_by,
            },
        );
        self.overlay.add(host);
        if let Some(zone) = zone {
            self.overlay.set_zone(host, zone);
        }
        if wanted == 0 {
            return None;
        }
        if self.joiners.is_empty() {
            self.first_joiner_at = now;
        }
        if self.joiners.iter().all(|(other, _)| *other != host) || self.joiners.len() > JOINERS_SEARCHED {
            self.joiners.push((host, wanted.min(WANTED_MAX)));
        }
        Some((now + JOIN_SETTLE).min(self.first_joiner_at + JOIN_SETTLE_MAX))
    }

    /// The answers to all that wait: for each joiner, whom it is to dial.
    pub(crate) fn answer_joiners(&mut self, rng: &mut Xoshiro256PlusPlus) -> Vec<(HostId, Vec<Contact>)> {
        let mut joiners = std::mem::take(&mut self.joiners);
        joiners.retain(|(host, _)| self.members.contains_key(host));
        let dials = self.overlay.link_joiners(&joiners, self.degree_max, rng);
        joiners
            .into_iter()
            .zip(dials)
            .map(|((host, _), dials)| (host, self.contacts(dials)))
            .collect()
    }

    /// Links `host` to some hosts of each other zone, and tells whom it is to dial for that.
    pub(crate) fn link_to_other_zones(&mut self, host: HostId, rng: &mut Xoshiro256PlusPlus) -> Vec<Contact> {
        let dials = self.overlay.link_to_other_zones(host, LINKS_TO_OTHER_ZONE, rng);
        self.contacts(dials)
    }

    fn contacts(&self, dials: Vec<HostId>) -> Vec<Contact> {
        let contact = |host: HostId| {
            let address = self.members.get(&host)?.address.clone();
            Some(Contact { host, address })
        };
        dials.into_iter().filter_map(contact).collect()
    }

    pub(crate) fn remove(&mut self, host: HostId) {
        self.members.swap_remove(&host);
        self.overlay.remove(host);
    }

    /// Forgets members that have given no sign of life for `patience`; tells who they were.
    pub(crate) fn expire(&mut self, now: Time, patience: Duration) -> Vec<HostId> {
        let silent = self.members.iter().filter(|(_, m)| now.since(m.seen_at) > patience);
        let silent: Vec<HostId> = silent.map(|(host, _)| *host).collect();
        silent.iter().for_each(|host| self.remove(*host));
        silent
    }

    /// Whether this is the first time that the member is known to be complete.
    pub(crate) fn mark_complete(&mut self, host: HostId) -> bool {
        self.members
            .get_mut(&host)
            .is_some_and(|member| !std::mem::replace(&mut member.complete, true))
    }

    /// `by` says that `host` sent bad bytes. Whether that was the complaint that expels it.
    pub(crate) fn complain(&mut self, by: HostId, host: HostId) -> bool {
        let Some(member) = self.members.get_mut(&host) else {
            return false;
        };
        if !member.complaints_by.contains(&by) {
            member.complaints_by.push(by);
        }
        if member.complaints_by.len() < COMPLAINTS_TO_EXPEL {
            return false;
        }
        self.remove(host);
        self.expelled.insert(host);
        true
    }

    pub(crate) fn is_expelled(&self, host: HostId) -> bool {
        self.expelled.contains(&host)
    }

    pub(crate) fn contains(&self, host: HostId) -> bool {
        self.members.contains_key(&host)
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Members that have not said that they are complete.
    pub(crate) fn incomplete_len(&self) -> usize {
        self.members.values().filter(|member| !member.complete).count()
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = HostId> + '_ {
        self.members.keys().copied()
    }

    /// An incomplete member by chance, of those that `allowed` lets through.
    pub(crate) fn random_incomplete(
        &self,
        rng: &mut Xoshiro256PlusPlus,
        allowed: impl Fn(HostId) -> bool,
    ) -> Option<HostId> {
        let count = self.members.len();
        if count == 0 {
            return None;
        }
        let start = rng.random_range(0..count);
        (0..count).find_map(|i| {
            let (host, member) = self.members.get_index((start + i) % count)?;
            (!member.complete && allowed(*host)).then_some(*host)
        })
    }
}

/// Joiners are answered when none has come for this long …
const JOIN_SETTLE: Duration = Duration::from_millis(100);
/// … or the first of them has waited for this long.
const JOIN_SETTLE_MAX: Duration = Duration::from_secs(2);
/// Neighbours given in one answer at most.
const WANTED_MAX: u16 = 64;
/// Hosts of each other zone that a host is linked to which brings chunks into them: one may be slow, or leave.
const LINKS_TO_OTHER_ZONE: usize = 2;
/// Members that must complain of a host before it is expelled: one liar cannot expel anybody.
const COMPLAINTS_TO_EXPEL: usize = 3;
/// In a longer queue than this a joiner is not searched for: a repeated announce then gets two answers, which is harmless.
const JOINERS_SEARCHED: usize = 256;

const _: () = assert!((WANTED_MAX as usize) < crate::wire::CONTACTS_MAX);
