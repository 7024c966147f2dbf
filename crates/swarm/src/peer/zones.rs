//! Zones: payload crosses from one to another as seldom as the swarm can bear.
//!
//! A host with a zone fetches from hosts of that zone. A chunk comes into a zone by invitation: who has it from the
//! seeder, and so before everybody else, invites one host of each other zone to fetch it. A zone that was not invited, or
//! whose invited hosts are gone, starves; then a few of its hosts, twice as many each time, fetch a few chunks from
//! wherever they are, and the others get these from them. For each that comes so one more is fetched so, and for each that comes
//! from within one less: who starves goes on for as long as its zone lacks what it wants.

use smallvec::SmallVec;

use super::ledger::Ledger;
use super::planner::Border;
use super::{Build, Peer};
use crate::event::DisconnectReason;
use crate::holdings::Holdings;
use crate::neighbours::Neighbour;
use crate::units::{ChunkIndex, HostId, Time, ZoneId};
use crate::wire::Message;

/// What comes into this host's zone by it, and what it brings into others.
#[derive(Debug, Default)]
pub(super) struct Imports {
    /// Chunks that came from the seeder.
    first_copies: Vec<ChunkIndex>,
    /// How many of these each other zone was invited to; at most [`ZONES_MAX`] of them.
    invited_to: SmallVec<[(ZoneId, usize); 2]>,
    /// Invitations that came before the manifest.
    early: Vec<(HostId, u32)>,
    /// Invitations that have not been taken up.
    invited: SmallVec<[(HostId, ChunkIndex); 2]>,
    /// Chunks that may be fetched from another zone without invitation.
    open: u32,
    /// Chunks that are, and have not come.
    uninvited: SmallVec<[ChunkIndex; 4]>,
}

/// Where a chunk came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Seeder,
    OwnZone,
    OtherZone,
}

impl Imports {
    /// What a plan is to know. Invitations to what is not wanted any more go.
    pub(super) fn border(&mut self, ledger: &Ledger) -> Border<'_> {
        self.invited.retain(|(_, chunk)| ledger.is_wanted(*chunk));
        Border {
            invitations: &self.invited,
            open: self.open,
        }
    }

    /// `chunk` is asked of `host`, by invitation or because this zone starves.
    pub(super) fn imported(&mut self, host: HostId, chunk: ChunkIndex) {
        let Some(place) = self.invited.iter().position(|invited| *invited == (host, chunk)) else {
            self.open = self.open.saturating_sub(1);
            if self.uninvited.len() < INVITATIONS_MAX {
                self.uninvited.push(chunk);
            }
            return;
        };
        let mut places = 0..;
        self.invited
            .retain(|(_, other)| places.next() < Some(place) || *other != chunk);
    }

    pub(super) fn acquired(&mut self, chunk: ChunkIndex, from: Origin) {
        let uninvited = self.uninvited.len();
        self.uninvited.retain(|other| *other != chunk);
        match from {
            Origin::Seeder => self.first_copies.push(chunk),
            Origin::OwnZone => self.open = self.open.saturating_sub(1),
            Origin::OtherZone if self.uninvited.len() < uninvited => {
                self.open = (self.open + 1).min(IMPORTS_AT_ONCE);
            }
            Origin::OtherZone => {}
        }
    }

    /// `chunk` is held no more: nobody is to be invited to it.
    pub(super) fn lost(&mut self, chunk: ChunkIndex) {
        let Some(place) = self.first_copies.iter().position(|other| *other == chunk) else {
            return;
        };
        self.first_copies.remove(place);
        for (_, invited_to) in &mut self.invited_to {
            *invited_to -= usize::from(*invited_to > place);
        }
    }

    pub(super) fn host_gone(&mut self, host: HostId) {
        self.invited.retain(|(from, _)| *from != host);
        self.early.retain(|(from, _)| *from != host);
    }
}

impl Peer {
    pub(super) fn handle_zone(&mut self, host: HostId, zone: ZoneId) {
        let Some(own) = self.config.zone else {
            return;
        };
        // Who moves in mid-connection would be invited to everything anew each time.
        let is_known = self
            .neighbours
            .get(host)
            .is_some_and(|neighbour| neighbour.zone.is_some());
        if is_known || self.config.is_seeder(host) {
            self.stats.messages_ignored += 1;
            return;
        }
        self.neighbours.set_zone(host, zone, zone != own);
        self.refill = true;
        self.invite = self.invite.max(INVITED_AT_FIRST);
    }

    pub(super) fn handle_invite(&mut self, now: Time, host: HostId, chunk: u32) {
        self.handle_have(now, host, &[chunk]);
        if self.config.zone.is_none() {
            return;
        }
        let Build::Fetching(download) = &self.build else {
            if self.imports.early.len() < INVITATIONS_MAX {
                self.imports.early.push((host, chunk));
            }
            return;
        };
        let Some(chunk) = download.manifest.chunk(chunk) else {
            return; // `handle_have` has banned who said it.
        };
        if self.imports.invited.len() >= INVITATIONS_MAX {
            self.disconnect(now, host, DisconnectReason::ProtocolViolation);
        } else if download.ledger.is_wanted(chunk) && !self.imports.invited.contains(&(host, chunk)) {
            self.imports.invited.push((host, chunk));
            self.refill = true;
        }
    }

    pub(super) fn take_up_early_invitations(&mut self, now: Time) {
        if self.config.zone.is_none() {
            return;
        }
        for (host, chunk) in std::mem::take(&mut self.imports.early) {
            if self.neighbours.contains(host) {
                self.handle_invite(now, host, chunk);
            }
        }
    }

    /// A host asks for a chunk: where it is of another zone, that takes up what it was told of.
    pub(super) fn invitation_taken_up(&mut self, host: HostId) {
        if !self.imports.first_copies.is_empty() && self.neighbours.is_remote_host(host) {
            self.invite = self.invite.max(INVITED_AT_ONCE);
        }
    }

    /// Invites one host of each other zone to each chunk that came from the seeder, to so many at a time: a zone that comes late lacks
    /// all of them.
    pub(super) fn invite_other_zones(&mut self, now: Time, at_once: usize, table: &impl Holdings) {
        let own = self.config.zone;
        if own.is_none() || self.imports.first_copies.is_empty() {
            return;
        }
        let count = self.imports.first_copies.len();
        let mut zones: SmallVec<[ZoneId; 8]> = self.neighbours.iter().filter_map(|n| n.zone).collect();
        zones.retain(|zone| Some(*zone) != own);
        zones.sort_unstable();
        zones.dedup();
        for zone in zones {
            let known = self.imports.invited_to.iter().position(|(other, _)| *other == zone);
            let place = known.unwrap_or_else(|| {
                if self.imports.invited_to.len() >= ZONES_MAX {
                    self.imports.invited_to.remove(0);
                }
                self.imports.invited_to.push((zone, 0));
                self.imports.invited_to.len() - 1
            });
            let invited_to = self.imports.invited_to[place].1;
            let until = count.min(invited_to + at_once);
            self.imports.invited_to[place].1 = until;
            for index in invited_to..until {
                // Who has yet to say what it has may have all of it.
                let there = |n: &&Neighbour| n.zone == Some(zone) && n.knows_manifest && !n.is_parked(now);
                let hosts: SmallVec<[HostId; 8]> = self.neighbours.iter().filter(there).map(|n| n.host).collect();
                if hosts.is_empty() {
                    self.imports.invited_to[place].1 = index;
                    break;
                }
                let chunk = self.imports.first_copies[index];
                // After a partition all may have it by then.
                let lacks_it = |host: &&HostId| {
                    self.neighbours
                        .get(**host)
                        .is_some_and(|n| !n.holdings(table).contains(chunk))
                };
                let hosts: SmallVec<[HostId; 8]> = hosts.iter().filter(lacks_it).copied().collect();
                if !hosts.is_empty() {
                    let host = hosts[self.random_below(hosts.len())];
                    self.send(host, Message::Invite { chunk: chunk.get() });
                }
            }
        }
    }

    /// Starved `times` in a row: perhaps this host is one of those that fetch from other zones now.
    pub(super) fn open_borders(&mut self, times: u32) {
        // One of those who see the same, and twice as many each time.
        let who_see_it = 1 + self.neighbours.local_hosts(&self.config.seeders);
        if self.config.zone.is_some() && self.random_below(who_see_it) < 1 << times.min(OPEN_DOUBLINGS_MAX) >> 1 {
            self.imports.open = IMPORTS_AT_ONCE;
        }
    }
}

/// With fewer neighbours of its own zone a host does not care for zones: it would starve for a few of them.
pub(super) const LOCAL_NEIGHBOURS_MIN: usize = 3;
/// Invitations that wait at most; the neighbours of honest hosts never come near.
const INVITATIONS_MAX: usize = 1024;
/// Invitations to a zone that is told of for the first time.
pub(super) const INVITED_AT_FIRST: usize = 32;
/// Then with each chunk that comes, and with each request from there.
pub(super) const INVITED_AT_ONCE: usize = 4;
/// Zones that are invited; a region has fewer.
const ZONES_MAX: usize = 16;
/// When a zone starves for the first time one host of those in sight of each other fetches from other zones, then twice as many
/// each time, so many times.
const OPEN_DOUBLINGS_MAX: u32 = 5;
/// Chunks that such a host fetches at a time.
const IMPORTS_AT_ONCE: u32 = 4;

#[cfg(test)]
mod rules;
