//! The peer's place in the overlay: finding the seeders, announcing, dialling whom they name, coming back when one is lost.
//!
//! Every host is linked to every seeder of its region, since each has chunks to inject that no other does. Neighbours are asked
//! of one of them, the *tracker*: the first in everybody's list that is not lost. One overlay is planned by one tracker, or its
//! degrees would be as uneven as chance makes them.

use std::time::Duration;

use bytes::Bytes as ByteBuffer;
use smallvec::SmallVec;

use super::{Build, Peer, Timer};
use crate::event::Action;
use crate::manifest::BuildInfo;
use crate::units::{ChunkIndex, HostId, Time};
use crate::wire::{Contact, LINKS_MAX, LinkReport, Message, RejectReason};

/// State of the links to the seeders.
#[derive(Debug)]
pub(super) struct TrackerLink {
    /// In the order of the configuration.
    seeders: SmallVec<[SeederLink; 4]>,
    /// Whether the tracker has answered.
    answered: bool,
    /// Announces since the tracker was last heard of.
    attempts: u32,
    /// Attempts to reach lost seeders since one of them answered, and when the last was made.
    reconnects: u32,
    dialled_at: Time,
    dialling: Vec<HostId>,
    /// Members that it was linked with, or was to be, and is not: the tracker has yet to hear of it.
    lost: Vec<HostId>,
    /// Times that it asked for neighbours since one came.
    short: u32,
    /// Until when seeders are not asked again that turned down a request.
    refusals: SmallVec<[Refusal; 1]>,
    /// Seeders that sent a corrupt chunk, and which: their connections were ended, so they hear of it over the next.
    complaints: Vec<(HostId, ChunkIndex)>,
}

/// A seeder that turned down requests, and has sent nothing since.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    seeder: HostId,
    until: Time,
    times: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeederLink {
    /// Not reached yet.
    Dialled,
    Connected,
    Lost,
}

impl TrackerLink {
    pub(super) fn new(seeders: usize) -> Self {
        Self {
            seeders: SmallVec::from_elem(SeederLink::Dialled, seeders),
            answered: false,
            attempts: 0,
            reconnects: 0,
            dialled_at: Time::ZERO,
            dialling: Vec::new(),
            lost: Vec::new(),
            short: 0,
            refusals: SmallVec::new(),
            complaints: Vec::new(),
        }
    }

    pub(super) const fn has_answered(&self) -> bool {
        self.answered
    }

    pub(super) fn dialling_count(&self) -> usize {
        self.dialling.len()
    }

    /// `seeder` is to hear that `chunk` was corrupt as soon as it is connected again: the last such chunk, once.
    pub(super) fn complain_when_back(&mut self, seeder: HostId, chunk: ChunkIndex) {
        self.complaints.retain(|(host, _)| *host != seeder);
        self.complaints.push((seeder, chunk));
    }

    /// A member that is no seeder is connected.
    pub(super) fn link_up(&mut self, host: HostId) {
        self.dialling.retain(|other| *other != host);
        self.lost.retain(|other| *other != host);
        self.short = 0;
    }

    /// A connection with a member has ended or could not be made, or is not wanted.
    pub(super) fn link_lost(&mut self, host: HostId) {
        self.dialling.retain(|other| *other != host);
        if self.lost.len() < LINKS_MAX && !self.lost.contains(&host) {
            self.lost.push(host);
        }
    }

    /// Whether `seeder` turned down a request a moment ago, so that it would turn down another.
    pub(super) fn is_refused(&self, seeder: HostId, now: Time) -> bool {
        self.refusals.iter().any(|r| r.seeder == seeder && now < r.until)
    }

    /// When the next of those may be asked again.
    #[inline]
    pub(super) fn next_turn(&self, now: Time) -> Option<Time> {
        self.refusals.iter().map(|r| r.until).filter(|until| *until > now).min()
    }

    /// Seeders of whom that is so.
    #[inline]
    pub(super) fn refused_now(&self, now: Time) -> SmallVec<[HostId; 1]> {
        let refused = self.refusals.iter().filter(|refusal| now < refusal.until);
        refused.map(|refusal| refusal.seeder).collect()
    }

    /// Seeders that turned down a request and have sent nothing since.
    #[inline]
    pub(super) fn refused_of_late(&self) -> SmallVec<[HostId; 1]> {
        self.refusals.iter().map(|refusal| refusal.seeder).collect()
    }

    /// `seeder` turned down a request: it is not to be asked for a while, twice as long each time.
    pub(super) fn refused(&mut self, now: Time, seeder: HostId, reason: RejectReason) {
        let first = if reason == RejectReason::Spent {
            REFUSED_SPENT
        } else {
            REFUSED_FIRST
        };
        let times = self.refusals.iter().find(|r| r.seeder == seeder).map_or(0, |r| r.times);
        // What was under way when it said so is turned down as well, and tells nothing new.
        let times = if self.is_refused(seeder, now) { times } else { times + 1 };
        let until = now + (first * (1 << times.saturating_sub(1).min(10))).min(REFUSED_MAX);
        self.refusals.retain(|r| r.seeder != seeder);
        self.refusals.push(Refusal { seeder, until, times });
    }

    /// `seeder` has sent something, or says that it would.
    pub(super) fn not_refused(&mut self, seeder: HostId) {
        self.refusals.retain(|r| r.seeder != seeder);
    }

    /// How many seeders are connected.
    pub(super) fn connected_count(&self) -> usize {
        let connected = self.seeders.iter().filter(|link| **link == SeederLink::Connected);
        connected.count()
    }

    /// Whether no seeder can be reached.
    pub(super) fn is_lost(&self) -> bool {
        self.seeders.iter().all(|link| *link == SeederLink::Lost)
    }

    /// Which seeder neighbours are asked of: waiting for the first in the list is better than asking two.
    fn tracker(&self) -> Option<usize> {
        let first = self.seeders.iter().position(|link| *link != SeederLink::Lost)?;
        (self.seeders[first] == SeederLink::Connected).then_some(first)
    }
}

impl Peer {
    /// Tries those that are lost once more.
    pub(super) fn reconnect_seeders(&mut self, now: Time) {
        self.tracker.reconnects += 1;
        self.connect_seeders(now);
    }

    pub(super) fn connect_seeders(&mut self, now: Time) {
        self.tracker.dialled_at = now;
        self.banned.retain(|_, until| now < *until);
        for (contact, link) in self.config.seeders.iter().zip(&self.tracker.seeders) {
            if *link != SeederLink::Connected && !self.banned.contains_key(&contact.host) {
                self.actions.push_back(Action::Connect(contact.clone()));
            }
        }
        // In case the driver never answers; an answer clears it.
        self.timers.set(Timer::Reconnect, now + CONNECT_PATIENCE);
    }

    pub(super) fn seeder_connected(&mut self, now: Time, host: HostId) {
        let Some(index) = self.config.seeders.iter().position(|seeder| seeder.host == host) else {
            return;
        };
        self.tracker.seeders[index] = SeederLink::Connected;
        if self.tracker.seeders.iter().all(|link| *link == SeederLink::Connected) {
            self.timers.clear(Timer::Reconnect);
        }
        if self.tracker.tracker() == Some(index) {
            self.tracker.answered = false;
            self.tracker_changed(now);
        } else {
            self.announce_to(index, 0);
        }
        if self.is_starved() {
            self.send(host, Message::HaveRequest);
        }
        // After the announce: it counts what members say.
        let complaints = &mut self.tracker.complaints;
        if let Some(place) = complaints.iter().position(|(seeder, _)| *seeder == host) {
            let chunk = complaints.swap_remove(place).1.get();
            self.send(host, Message::Complaint { host, chunk });
        }
    }

    pub(super) fn seeder_lost(&mut self, now: Time, host: HostId) {
        let Some(index) = self.config.seeders.iter().position(|seeder| seeder.host == host) else {
            return;
        };
        let (tracked_by, was_lost) = (self.tracker.tracker(), self.is_on_its_own());
        self.tracker.seeders[index] = SeederLink::Lost;
        self.tracker.not_refused(host);
        // A dial that came to nothing after a while has kept this host from dialling for as long.
        let since_dialled = now.since(self.tracker.dialled_at);
        let least = self.backoff(RECONNECT_FIRST, 0, RECONNECT_MAX);
        let delay = self.backoff(RECONNECT_FIRST, self.tracker.reconnects, RECONNECT_MAX);
        let delay = delay.saturating_sub(since_dialled).max(least);
        self.timers.set_at_latest(Timer::Reconnect, now + delay);
        // Who was lost before, and is dialled in vain, changes nothing.
        let has_changed = self.tracker.tracker() != tracked_by || tracked_by.is_none();
        if has_changed && !(was_lost && self.is_on_its_own()) {
            self.tracker.answered = false;
            self.timers.clear(Timer::Announce);
            self.tracker_changed(now);
        }
    }

    /// Says who and where we are and how many neighbours are lacking; repeats itself until the tracker answers.
    pub(super) fn announce(&mut self, now: Time) {
        let Some(tracker) = self.tracker.tracker() else {
            if self.is_on_its_own() {
                self.seek_members(now);
            }
            return;
        };
        self.banned.retain(|_, until| now < *until);
        let wanted = self.neighbours_wanted();
        for index in 0..self.tracker.seeders.len() {
            if self.tracker.seeders[index] == SeederLink::Connected {
                self.announce_to(index, if index == tracker { wanted } else { 0 });
            }
        }
        self.count_short();
        let delay = if self.tracker.answered {
            self.until_announce()
        } else {
            self.tracker.attempts += 1;
            self.backoff(ANNOUNCE_FIRST, self.tracker.attempts - 1, ANNOUNCE_INTERVAL)
        };
        self.timers.set(Timer::Announce, now + delay);
    }

    /// Neighbours dial it there from now on: the tracker is told, and where there is none the neighbours are.
    pub fn set_address(&mut self, now: Time, address: ByteBuffer) {
        let now = self.begin(now);
        if self.config.address != address {
            self.config.address = address;
            if self.is_on_its_own() {
                self.contacts.moved();
                self.timers.set_at_latest(Timer::Announce, now + ANNOUNCE_GATHER);
            }
            if self.tracker.answered {
                self.timers.set_at_latest(Timer::Announce, now + ANNOUNCE_GATHER);
            } else if self.tracker.seeders.contains(&SeederLink::Lost) {
                // From another address a seeder may be in reach that was not.
                self.timers.set_at_latest(Timer::Reconnect, now + RECONNECT_FIRST);
            }
        }
    }

    fn announce_to(&mut self, index: usize, wanted: u16) {
        let links = if self.tracker.tracker() == Some(index) {
            self.link_report()
        } else {
            LinkReport::default()
        };
        let message = self.announcement(wanted, links);
        self.send(self.config.seeders[index].host, message);
    }

    /// Where this host is, and how many neighbours it lacks: for a seeder, or for neighbours where there is none.
    pub(super) fn announcement(&self, wanted: u16, links: LinkReport) -> Message {
        Message::Announce {
            address: self.config.address.clone(),
            wanted,
            complete: self.is_complete(),
            zone: self.config.zone,
            links: Box::new(links),
        }
    }

    fn link_report(&mut self) -> LinkReport {
        LinkReport {
            up: self.links_up().take(LINKS_MAX).collect(),
            lost: std::mem::take(&mut self.tracker.lost),
            barred: self.banned.keys().copied().take(LINKS_MAX).collect(),
        }
    }

    /// Whom it is connected with or dials, but for seeders.
    pub(super) fn links_up(&self) -> impl Iterator<Item = HostId> + '_ {
        let members = self.members().map(|neighbour| neighbour.host);
        members.chain(self.tracker.dialling.iter().copied())
    }

    /// Whether no seeder can be reached.
    pub(super) fn is_on_its_own(&self) -> bool {
        self.tracker.is_lost()
    }

    /// Neighbours are asked for once more.
    pub(super) fn count_short(&mut self) {
        self.tracker.short = if self.is_short() { self.tracker.short + 1 } else { 0 };
    }

    /// Whether it has so few neighbours that it cannot wait for its next sign of life to ask for more.
    fn is_short(&self) -> bool {
        self.useful_count() + self.tracker.dialling.len() < usize::from(self.config.degree) / 2
    }

    /// The time from one announce to the next; less where the last brought too few neighbours.
    pub(super) fn until_announce(&mut self) -> Duration {
        if !self.is_short() {
            return ANNOUNCE_INTERVAL;
        }
        let delay = SHORT_FIRST * (1 << self.tracker.short.saturating_sub(1).min(10));
        (delay + Duration::from_millis(self.random_below(ANNOUNCE_SPREAD_MS) as u64)).min(ANNOUNCE_INTERVAL)
    }

    /// Whether there is a tracker to ask for neighbours, or none will answer and members are asked.
    fn asks_somebody(&self) -> bool {
        self.tracker.tracker().is_some() || self.is_on_its_own()
    }

    /// A dial has failed. The next one may as well: it is asked for later each time, until one succeeds.
    pub(super) fn dial_failed(&mut self, now: Time) {
        if self.asks_somebody() && self.neighbours_wanted() > 0 {
            let delay = self.until_announce();
            self.timers.set_at_latest(Timer::Announce, now + delay);
        }
    }

    /// Sends to every seeder that is there.
    pub(super) fn tell_seeders(&mut self, message: &Message) {
        for (seeder, link) in self.config.seeders.iter().zip(&self.tracker.seeders) {
            if *link == SeederLink::Connected {
                self.actions.push_back(Action::Send(seeder.host, message.clone()));
            }
        }
    }

    /// A neighbour has gone: ask for another, together with those that go in the next moment.
    pub(super) fn announce_soon(&mut self, now: Time) {
        if self.asks_somebody() && self.neighbours_wanted() > 0 {
            let spread = Duration::from_millis(self.random_below(ANNOUNCE_SPREAD_MS) as u64);
            self.timers
                .set_at_latest(Timer::Announce, now + ANNOUNCE_GATHER + spread);
        }
    }

    /// Dials whom a seeder names.
    pub(super) fn dial(&mut self, now: Time, from: HostId, contacts: Vec<Contact>) {
        let tracker = self.tracker.tracker().map(|index| self.config.seeders[index].host);
        self.tracker.reconnects = 0;
        if tracker == Some(from) {
            self.tracker.answered = true;
            self.tracker.attempts = 0;
        }
        self.note_contacts(&contacts);
        self.dial_contacts(now, contacts);
        if tracker == Some(from) {
            let delay = self.until_announce();
            self.timers.set(Timer::Announce, now + delay);
        }
    }

    /// Whether it is linked with `host`, is about to be, or never is to be.
    pub(super) fn is_linked(&self, host: HostId) -> bool {
        self.neighbours.contains(host)
            || self.tracker.dialling.contains(&host)
            || self.banned.contains_key(&host)
            || host == self.config.host
    }

    /// Dials members, those with whom it is not linked, as long as there is room.
    pub(super) fn dial_contacts(&mut self, now: Time, contacts: Vec<Contact>) {
        for contact in contacts {
            let known = self.is_linked(contact.host);
            let full = self.neighbour_count() + self.tracker.dialling.len() >= self.neighbours_max();
            if !known && (!full || self.make_room(now)) {
                self.tracker.dialling.push(contact.host);
                self.actions.push_back(Action::Connect(contact));
            } else if !known {
                self.tracker.link_lost(contact.host);
            }
        }
    }

    pub(super) fn learn_of_build(&mut self, now: Time, by: HostId, info: BuildInfo) {
        if matches!(self.build, Build::Unknown) {
            let signed = match self
                .config
                .verifier
                .as_ref()
                .map(|verifier| verifier.verify(&info))
                .transpose()
            {
                Ok(signed) => signed,
                Err(why) => return self.refuse_build(now, by, info.build_id, why),
            };
            self.build = Build::Announced {
                info,
                by,
                signed,
                asked: 0,
                asked_of: None,
                asked_at: now,
            };
            self.request_manifest(now);
        } else if self.build_root() != Some(info.root) {
            // Another build is another swarm; this one is finished first.
            self.stats.messages_ignored += 1;
        }
    }

    fn build_root(&self) -> Option<crate::manifest::Hash> {
        match &self.build {
            Build::Unknown => None,
            Build::Announced { info, .. } | Build::Opening { info, .. } => Some(info.root),
            Build::Fetching(download) => Some(download.manifest.root()),
        }
    }

    /// At first half the degree, since as many others will dial us; later what is lacking to half the degree.
    pub(super) fn neighbours_wanted(&self) -> u16 {
        let degree = self.config.degree;
        let have = u16::try_from(self.useful_count() + self.tracker.dialling.len()).unwrap_or(u16::MAX);
        let enough = if self.tracker.answered {
            // A late joiner, or one that lost some: half suffices to stay connected, the rest comes from others.
            degree.div_ceil(2).max(degree.saturating_sub(2))
        } else {
            degree.div_ceil(2)
        };
        enough.saturating_sub(have)
    }

    fn backoff(&mut self, first: Duration, times: u32, max: Duration) -> Duration {
        let delay = (first * (1 << times.min(10))).min(max);
        // Up to half as much again by chance, so that a fleet does not come back in step.
        let spread = delay.as_millis() as usize / 2;
        delay + Duration::from_millis(self.random_below(spread + 1) as u64)
    }
}

/// A sign of life for the tracker, which forgets a member after three of them.
pub(crate) const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30);
/// First repetition of an unanswered announce; doubles.
const ANNOUNCE_FIRST: Duration = Duration::from_secs(3);
/// Whom an announce brought too few neighbours asks again after this; doubles.
const SHORT_FIRST: Duration = Duration::from_secs(1);
/// A seeder that turns down a request is asked again after this, twice as late each time …
const REFUSED_FIRST: Duration = Duration::from_millis(10);
/// … or this where it has sent its share …
const REFUSED_SPENT: Duration = Duration::from_millis(500);
/// … and  asked again after this at the latest.
const REFUSED_MAX: Duration = Duration::from_secs(2);
/// Losses within this time are announced together.
const ANNOUNCE_GATHER: Duration = Duration::from_millis(200);
/// Random part of that delay, in milliseconds, since the neighbours of a host that left all notice at once.
const ANNOUNCE_SPREAD_MS: usize = 300;
/// First attempt to reach a lost tracker again; doubles.
const RECONNECT_FIRST: Duration = Duration::from_millis(500);
/// Longest wait between attempts to reach the tracker.
const RECONNECT_MAX: Duration = Duration::from_secs(4);
/// A dial that has neither succeeded nor failed after this is repeated.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod rules;
