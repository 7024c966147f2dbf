//! Who is in the swarm and how to reach them. Invariant: every member is in the overlay and the other way round.
//!
//! A link is *planned* when one end is told to dial the other, *up* once an end says that it has it, and *lost* as soon as an
//! end says that it has gone, could not be made or is not wanted: then it is forgotten, and the pair may be linked again.
//! A planned link that no end speaks of for [`PLAN_PATIENCE`] is lost too: the message that told of it was.
//!
//! Answers to joiners wait until no more come for a moment, so that hosts which start together are linked with each
//! other and not only with whoever came first.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes as ByteBuffer;
use indexmap::IndexMap;
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::overlay::Overlay;
use crate::units::{HostId, Time, ZoneId};
use crate::wire::{Contact, LinkReport};

/// The members of one swarm.
#[derive(Debug)]
pub(crate) struct Tracker {
    degree: usize,
    degree_max: usize,
    members: IndexMap<HostId, Member>,
    /// How many of them are complete.
    complete_len: usize,
    overlay: Overlay,
    joiners: Vec<(HostId, u16)>,
    first_joiner_at: Time,
    /// How long the first of them waits for others at most.
    settle_max: Duration,
    /// Until when.
    expelled: BTreeMap<HostId, Time>,
}

#[derive(Debug)]
struct Member {
    address: ByteBuffer,
    seen_at: Time,
    /// When a link of it was last planned.
    linked_at: Time,
    complete: bool,
    /// Who says that it sent bad bytes, and when.
    complaints_by: Vec<(HostId, Time)>,
}

impl Tracker {
    /// A tracker whose hosts want `degree` neighbours.
    pub(crate) fn new(degree: u16) -> Self {
        let degree = usize::from(degree);
        Self {
            degree,
            degree_max: degree + degree / 2,
            members: IndexMap::new(),
            complete_len: 0,
            overlay: Overlay::default(),
            joiners: Vec::new(),
            first_joiner_at: Time::ZERO,
            settle_max: JOIN_SETTLE_MAX,
            expelled: BTreeMap::new(),
        }
    }

    /// There is a build, and who waits for neighbours gets nothing of it meanwhile but from the seeder.
    pub(crate) fn hurry(&mut self) {
        self.settle_max = JOIN_SETTLE_MAX_OF_BUILD;
    }

    /// Takes in an announce. The time at which joiners are to be answered, where this host waits for neighbours.
    pub(crate) fn announce(&mut self, now: Time, host: HostId, announced: Announced) -> Option<Time> {
        let Announced {
            address,
            wanted,
            complete,
            zone,
            links,
        } = announced;
        let known = self.members.swap_remove(&host);
        self.complete_len -= usize::from(known.as_ref().is_some_and(|m| m.complete));
        self.complete_len += usize::from(complete);
        let (linked_at, complaints_by) = known.map_or((now, Vec::new()), |m| (m.linked_at, m.complaints_by));
        self.members.insert(
            host,
            Member {
                address,
                seen_at: now,
                linked_at,
                complete,
                complaints_by,
            },
        );
        self.overlay.add(host);
        if let Some(zone) = zone {
            self.overlay.set_zone(host, zone);
        }
        let asks_here = wanted > 0 || !links.up.is_empty();
        if asks_here {
            self.take_in_links(now, host, links);
        }
        // In a small swarm everybody is linked with everybody, and who lacks somebody need not ask.
        let lacks_some = self.is_small() && self.overlay.links(host).len() + 1 < self.members.len();
        if wanted == 0 && !(asks_here && lacks_some) {
            return None;
        }
        if self.joiners.is_empty() {
            self.first_joiner_at = now;
        }
        if self.joiners.iter().all(|(other, _)| *other != host) || self.joiners.len() > JOINERS_SEARCHED {
            self.joiners.push((host, wanted.min(WANTED_MAX)));
        }
        Some((now + JOIN_SETTLE).min(self.first_joiner_at + self.settle_max))
    }

    /// Makes the plan agree with what an end says. What both say last counts: a report may have crossed with a plan.
    fn take_in_links(&mut self, now: Time, host: HostId, links: LinkReport) {
        let linked_at = self.members.get(&host).map_or(now, |member| member.linked_at);
        for other in &links.lost {
            self.overlay.unlink(host, *other);
        }
        if now.since(linked_at) >= PLAN_PATIENCE {
            let planned = self.overlay.links(host).to_vec();
            let is_lost = |other: &&HostId| !links.up.contains(other);
            planned
                .iter()
                .filter(is_lost)
                .for_each(|other| self.overlay.unlink(host, *other));
        }
        for other in &links.up {
            self.overlay.note_link(host, *other);
        }
        self.overlay.set_barred(host, links.barred);
    }

    fn note_plan(&mut self, now: Time, host: HostId, dials: &[HostId]) {
        if dials.is_empty() {
            return;
        }
        for end in dials.iter().chain([&host]) {
            if let Some(member) = self.members.get_mut(end) {
                member.linked_at = now;
            }
        }
    }

    fn is_small(&self) -> bool {
        self.members.len() <= self.degree + 1
    }

    /// The answers to all that wait: for each joiner, whom it is to dial.
    pub(crate) fn answer_joiners(&mut self, now: Time, rng: &mut Xoshiro256PlusPlus) -> Vec<(HostId, Vec<Contact>)> {
        let mut joiners = std::mem::take(&mut self.joiners);
        joiners.retain(|(host, _)| self.members.contains_key(host));
        if self.is_small() {
            let everybody = u16::try_from(self.members.len()).unwrap_or(WANTED_MAX);
            joiners.iter_mut().for_each(|(_, wanted)| *wanted = everybody);
        }
        let dials = self.overlay.link_joiners(&joiners, self.degree_max, rng);
        for ((host, _), dials) in joiners.iter().zip(&dials) {
            self.note_plan(now, *host, dials);
        }
        joiners
            .into_iter()
            .zip(dials)
            .map(|((host, _), dials)| (host, self.contacts(dials)))
            .collect()
    }

    /// Links `host` to some hosts of each other zone, and tells whom it is to dial for that.
    pub(crate) fn link_to_other_zones(
        &mut self,
        now: Time,
        host: HostId,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Vec<Contact> {
        let dials = self.overlay.link_to_other_zones(host, LINKS_TO_OTHER_ZONE, rng);
        self.note_plan(now, host, &dials);
        self.contacts(dials)
    }

    fn contacts(&self, dials: Vec<HostId>) -> Vec<Contact> {
        let contact = |host: HostId| {
            let address = self.members.get(&host)?.address.clone();
            Some(Contact { host, address })
        };
        dials.into_iter().filter_map(contact).collect()
    }

    /// Forgets a member; whether it was complete, where it was one.
    pub(crate) fn remove(&mut self, host: HostId) -> Option<bool> {
        self.overlay.remove(host);
        let was_complete = self.members.swap_remove(&host).map(|member| member.complete);
        self.complete_len -= usize::from(was_complete == Some(true));
        was_complete
    }

    /// Members that have given no sign of life for `patience`.
    pub(crate) fn silent(&self, now: Time, patience: Duration) -> Vec<HostId> {
        let silent = self.members.iter().filter(|(_, m)| now.since(m.seen_at) > patience);
        silent.map(|(host, _)| *host).collect()
    }

    /// Whether this is the first time that the member is known to be complete.
    pub(crate) fn mark_complete(&mut self, host: HostId) -> bool {
        let is_first = self
            .members
            .get_mut(&host)
            .is_some_and(|member| !std::mem::replace(&mut member.complete, true));
        self.complete_len += usize::from(is_first);
        is_first
    }

    /// `by` says that `host` sent bad bytes; it counts where the two are linked. Whether that was the complaint that expels it.
    pub(crate) fn complain(&mut self, now: Time, by: HostId, host: HostId) -> bool {
        let links = self.overlay.links(host);
        let Some(member) = self.members.get_mut(&host) else {
            return false;
        };
        member.complaints_by.retain(|(_, at)| now.since(*at) < EXPELLED_FOR);
        let is_known = member.complaints_by.iter().any(|(other, _)| *other == by);
        if is_known || !links.contains(&by) || member.complaints_by.len() >= COMPLAINTS_MAX {
            return false;
        }
        member.complaints_by.push((by, now));
        let accusers = member.complaints_by.len();
        let complains = |other: &HostId| member.complaints_by.iter().any(|(accuser, _)| accuser == other);
        let others = links.iter().filter(|other| !complains(other)).count();
        let (part, of) = COMPLAINTS_OF_LINKED;
        if accusers < COMPLAINTS_TO_EXPEL || accusers * of < (accusers + others) * part {
            return false;
        }
        member.complaints_by.clear();
        self.expelled.retain(|_, until| now < *until);
        self.expelled.insert(host, now + EXPELLED_FOR);
        true
    }

    /// Whether at least `count` members do not talk to `host`.
    pub(crate) fn is_barred_by(&self, host: HostId, count: usize) -> bool {
        self.overlay.is_barred_by(host, count)
    }

    pub(crate) fn is_expelled(&self, now: Time, host: HostId) -> bool {
        self.expelled.get(&host).is_some_and(|until| now < *until)
    }

    pub(crate) fn contains(&self, host: HostId) -> bool {
        self.members.contains_key(&host)
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Members that have not said that they are complete.
    pub(crate) fn incomplete_len(&self) -> usize {
        self.members.len() - self.complete_len
    }

    /// Members that have said that they are complete.
    pub(crate) const fn complete_len(&self) -> usize {
        self.complete_len
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

/// What a host announces.
#[derive(Debug)]
pub(crate) struct Announced {
    pub(crate) address: ByteBuffer,
    pub(crate) wanted: u16,
    pub(crate) complete: bool,
    pub(crate) zone: Option<ZoneId>,
    pub(crate) links: LinkReport,
}

/// A planned link that an end does not have after this is lost: it takes a message to one end, and a dial to the other.
const PLAN_PATIENCE: Duration = Duration::from_secs(15);
/// Joiners are answered when none has come for this long …
const JOIN_SETTLE: Duration = Duration::from_millis(100);
/// … or the first of them has waited for this long.
const JOIN_SETTLE_MAX: Duration = Duration::from_secs(2);
/// … or this long, where there is a build.
const JOIN_SETTLE_MAX_OF_BUILD: Duration = Duration::from_millis(200);
/// Neighbours given in one answer at most.
const WANTED_MAX: u16 = 64;
/// Hosts of each other zone that a host is linked to which brings chunks into them: one may be slow, or leave.
const LINKS_TO_OTHER_ZONE: usize = 2;
/// Members that must complain of a host before it is expelled, at least …
const COMPLAINTS_TO_EXPEL: usize = 3;
/// … and so large a part of those that are linked with it or complain: a few liars cannot expel anybody.
const COMPLAINTS_OF_LINKED: (usize, usize) = (2, 3);
/// A complaint counts for so long, and an expulsion lasts as long: it may have been a disk that was replaced.
const EXPELLED_FOR: Duration = Duration::from_secs(600);
/// Complaints of one host that are remembered; it has not more neighbours.
const COMPLAINTS_MAX: usize = 256;
/// In a longer queue than this a joiner is not searched for: a repeated announce then gets two answers, which is harmless.
const JOINERS_SEARCHED: usize = 256;

const _: () = assert!((WANTED_MAX as usize) < crate::wire::CONTACTS_MAX);

#[cfg(test)]
mod rules;

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    struct Swarm {
        tracker: Tracker,
        rng: Xoshiro256PlusPlus,
        now: Time,
    }

    fn host(number: u64) -> HostId {
        HostId::new(number)
    }

    impl Swarm {
        /// Hosts that have announced themselves for the first time and were told whom to dial.
        fn of(hosts: u64, degree: u16) -> Self {
            let mut swarm = Self {
                tracker: Tracker::new(degree),
                rng: Xoshiro256PlusPlus::seed_from_u64(1),
                now: Time::ZERO,
            };
            (1..=hosts).for_each(|number| swarm.say(number, degree.div_ceil(2), LinkReport::default()));
            swarm.answers();
            swarm
        }

        fn say(&mut self, number: u64, wanted: u16, links: LinkReport) {
            let announced = Announced {
                address: ByteBuffer::new(),
                wanted,
                complete: false,
                zone: None,
                links,
            };
            self.tracker.announce(self.now, host(number), announced);
        }

        fn answers(&mut self) -> Vec<(HostId, Vec<HostId>)> {
            let answers = self.tracker.answer_joiners(self.now, &mut self.rng);
            let hosts = |contacts: Vec<Contact>| contacts.into_iter().map(|contact| contact.host).collect();
            answers
                .into_iter()
                .map(|(host, contacts)| (host, hosts(contacts)))
                .collect()
        }
    }

    #[test]
    fn a_link_that_one_end_lost_is_planned_again() {
        let mut swarm = Swarm::of(2, 12);
        let lost = vec![host(2)];
        swarm.say(
            1,
            6,
            LinkReport {
                lost,
                ..LinkReport::default()
            },
        );
        assert_eq!(swarm.answers(), [(host(1), vec![host(2)])]);
    }

    #[test]
    fn a_planned_link_is_waited_for_and_then_lost() {
        let mut swarm = Swarm::of(2, 12);
        swarm.say(1, 6, LinkReport::default());
        assert_eq!(swarm.answers(), [(host(1), vec![])]);
        swarm.now = swarm.now + PLAN_PATIENCE;
        swarm.say(1, 6, LinkReport::default());
        assert_eq!(swarm.answers(), [(host(1), vec![host(2)])]);
    }

    #[test]
    fn a_barred_pair_is_not_linked_and_counts_for_neither() {
        let mut swarm = Swarm::of(3, 12);
        let report = |up: &[u64], barred: &[u64]| LinkReport {
            up: up.iter().copied().map(host).collect(),
            barred: barred.iter().copied().map(host).collect(),
            ..LinkReport::default()
        };
        swarm.say(1, 6, report(&[], &[2]));
        assert_eq!(swarm.tracker.overlay.links(host(1)), [host(3)]);
        swarm.say(1, 6, report(&[3], &[2]));
        swarm.say(2, 6, report(&[3], &[]));
        assert_eq!(swarm.answers(), [(host(1), vec![]), (host(2), vec![])]);
        // It passes.
        swarm.say(1, 6, report(&[3], &[]));
        assert_eq!(swarm.answers(), [(host(1), vec![host(2)])]);
    }

    #[test]
    fn links_that_hosts_have_count_whoever_planned_them() {
        let mut swarm = Swarm::of(40, 4);
        let up: Vec<HostId> = (20..30).map(host).collect();
        swarm.say(
            1,
            0,
            LinkReport {
                up: up.clone(),
                ..LinkReport::default()
            },
        );
        assert!(
            up.iter()
                .all(|other| swarm.tracker.overlay.links(*other).contains(&host(1)))
        );
        // It has more than it should: nobody else is sent to it.
        for number in 30..40 {
            let lost = swarm.tracker.overlay.links(host(number)).to_vec();
            swarm.say(
                number,
                2,
                LinkReport {
                    lost,
                    ..LinkReport::default()
                },
            );
        }
        let dials: Vec<HostId> = swarm.answers().into_iter().flat_map(|(_, dials)| dials).collect();
        assert!(!dials.is_empty() && !dials.contains(&host(1)), "{dials:?}");
    }

    fn minutes(count: u64) -> Time {
        Time::from_nanos(count * 60_000_000_000)
    }

    #[test]
    fn most_of_those_who_know_a_host_expel_it_for_a_while() {
        // Everybody is linked with everybody.
        let mut swarm = Swarm::of(9, 12);
        let accused = host(1);
        for by in 2..=6 {
            assert!(!swarm.tracker.complain(minutes(1), host(by), accused), "{by}");
            assert!(!swarm.tracker.complain(minutes(1), host(by), accused), "a second time");
        }
        assert!(swarm.tracker.complain(minutes(2), host(7), accused));
        assert!(swarm.tracker.is_expelled(minutes(11), accused));
        assert!(!swarm.tracker.is_expelled(minutes(13), accused), "it passes");
    }

    #[test]
    fn strangers_and_old_complaints_expel_nobody() {
        let mut swarm = Swarm::of(100, 4);
        let accused = host(1);
        let known = swarm.tracker.overlay.links(accused).to_vec();
        let strangers = (2..=100).map(host).filter(|other| !known.contains(other));
        for by in strangers {
            assert!(!swarm.tracker.complain(minutes(1), by, accused), "{by}");
        }
        for (minute, by) in known.iter().enumerate() {
            let at = minutes(20 * (1 + minute as u64));
            assert!(!swarm.tracker.complain(at, *by, accused), "{by}");
        }
        assert!(!swarm.tracker.is_expelled(minutes(1), accused));
    }
}
