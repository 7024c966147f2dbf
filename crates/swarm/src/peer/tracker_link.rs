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
use crate::wire::{Contact, Message};

/// State of the links to the seeders.
#[derive(Debug)]
pub(super) struct TrackerLink {
    /// In the order of the configuration.
    seeders: SmallVec<[SeederLink; 4]>,
    /// Whether the tracker has answered.
    answered: bool,
    /// Attempts since a tracker was last heard of.
    attempts: u32,
    dialling: Vec<HostId>,
    /// Seeders that sent a corrupt chunk, and which: their connections were ended, so they hear of it over the next.
    complaints: Vec<(HostId, ChunkIndex)>,
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
            dialling: Vec::new(),
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

    /// A dial has ended, one way or the other.
    pub(super) fn dialled(&mut self, host: HostId) {
        self.dialling.retain(|other| *other != host);
    }

    /// Which seeder neighbours are asked of: waiting for the first in the list is better than asking two.
    fn tracker(&self) -> Option<usize> {
        let first = self.seeders.iter().position(|link| *link != SeederLink::Lost)?;
        (self.seeders[first] == SeederLink::Connected).then_some(first)
    }
}

impl Peer {
    pub(super) fn connect_seeders(&mut self, now: Time) {
        for (contact, link) in self.config.seeders.iter().zip(&mut self.tracker.seeders) {
            if *link != SeederLink::Connected {
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
            self.announce(now);
        } else {
            self.announce_to(index, 0);
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
        let tracked_by = self.tracker.tracker();
        self.tracker.seeders[index] = SeederLink::Lost;
        let delay = self.backoff(RECONNECT_FIRST, RECONNECT_MAX);
        self.timers.set(Timer::Reconnect, now + delay);
        if self.tracker.tracker() != tracked_by || tracked_by.is_none() {
            self.tracker.answered = false;
            self.timers.clear(Timer::Announce);
            self.announce(now);
        }
    }

    /// Says who and where we are and how many neighbours are lacking; repeats itself until the tracker answers.
    pub(super) fn announce(&mut self, now: Time) {
        let Some(tracker) = self.tracker.tracker() else {
            return;
        };
        let wanted = self.neighbours_wanted();
        for index in 0..self.tracker.seeders.len() {
            if self.tracker.seeders[index] == SeederLink::Connected {
                self.announce_to(index, if index == tracker { wanted } else { 0 });
            }
        }
        let delay = if self.tracker.answered {
            ANNOUNCE_INTERVAL
        } else {
            self.backoff(ANNOUNCE_FIRST, ANNOUNCE_INTERVAL)
        };
        self.timers.set(Timer::Announce, now + delay);
    }

    /// Neighbours dial it there from now on: the tracker is told.
    pub fn set_address(&mut self, now: Time, address: ByteBuffer) {
        if self.config.address != address {
            self.config.address = address;
            if self.tracker.answered {
                self.timers.set_at_latest(Timer::Announce, now + ANNOUNCE_GATHER);
            } else if self.tracker.seeders.contains(&SeederLink::Lost) {
                // From another address a seeder may be in reach that was not.
                self.timers.set_at_latest(Timer::Reconnect, now + RECONNECT_FIRST);
            }
        }
    }

    fn announce_to(&mut self, index: usize, wanted: u16) {
        let message = Message::Announce {
            address: self.config.address.clone(),
            wanted,
            complete: self.is_complete(),
            zone: self.config.zone,
        };
        self.send(self.config.seeders[index].host, message);
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
        if self.tracker.tracker().is_some() && self.neighbours_wanted() > 0 {
            let spread = Duration::from_millis(self.random_below(ANNOUNCE_SPREAD_MS) as u64);
            self.timers
                .set_at_latest(Timer::Announce, now + ANNOUNCE_GATHER + spread);
        }
    }

    /// Dials whom a seeder names.
    pub(super) fn dial(&mut self, now: Time, from: HostId, contacts: Vec<Contact>) {
        let tracker = self.tracker.tracker().map(|index| self.config.seeders[index].host);
        if tracker == Some(from) {
            self.tracker.answered = true;
            self.tracker.attempts = 0;
            self.timers.set(Timer::Announce, now + ANNOUNCE_INTERVAL);
        }
        for contact in contacts {
            let known = self.neighbours.contains(contact.host)
                || self.tracker.dialling.contains(&contact.host)
                || self.banned.contains(&contact.host)
                || contact.host == self.config.host;
            let full = self.neighbour_count() + self.tracker.dialling.len() >= self.neighbours_max();
            if !known && !full {
                self.tracker.dialling.push(contact.host);
                self.actions.push_back(Action::Connect(contact));
            }
        }
    }

    pub(super) fn learn_of_build(&mut self, now: Time, info: BuildInfo) {
        if matches!(self.build, Build::Unknown) {
            let (asked, asked_at) = (0, now);
            self.build = Build::Announced { info, asked, asked_at };
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
    fn neighbours_wanted(&self) -> u16 {
        let degree = self.config.degree;
        let have = u16::try_from(self.neighbour_count() + self.tracker.dialling.len()).unwrap_or(u16::MAX);
        let enough = if self.tracker.answered {
            // A late joiner, or one that lost some: half suffices to stay connected, the rest comes from others.
            degree.div_ceil(2).max(degree.saturating_sub(2))
        } else {
            degree.div_ceil(2)
        };
        enough.saturating_sub(have)
    }

    fn backoff(&mut self, first: Duration, max: Duration) -> Duration {
        let delay = (first * (1 << self.tracker.attempts.min(10))).min(max);
        self.tracker.attempts += 1;
        // Up to half as much again by chance, so that a fleet does not come back in step.
        let spread = delay.as_millis() as usize / 2;
        delay + Duration::from_millis(self.random_below(spread + 1) as u64)
    }
}

/// A sign of life for the tracker, which forgets a member after three of them.
pub(crate) const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30);
/// First repetition of an unanswered announce; doubles.
const ANNOUNCE_FIRST: Duration = Duration::from_secs(3);
/// Losses within this time are announced together.
const ANNOUNCE_GATHER: Duration = Duration::from_millis(200);
/// Random part of that delay, in milliseconds, since the neighbours of a host that left all notice at once.
const ANNOUNCE_SPREAD_MS: usize = 300;
/// First attempt to reach a lost tracker again; doubles.
const RECONNECT_FIRST: Duration = Duration::from_millis(500);
/// Longest wait between attempts to reach the tracker.
const RECONNECT_MAX: Duration = Duration::from_secs(15);
/// A dial that has neither succeeded nor failed after this is repeated.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);
