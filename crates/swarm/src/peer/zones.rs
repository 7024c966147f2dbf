//! Zones: payload crosses from one to another as seldom as the swarm can bear.
//!
//! A host with a zone fetches from hosts of that zone. A chunk comes into a zone by invitation: who has it from the
//! seeder, and so before everybody else, invites one host of each other zone to fetch it. A zone that was not invited, or
//! whose invited hosts are gone, starves; then a few of its hosts, twice as many each time, fetch a few chunks from
//! wherever they are, and the others get these from them.

use smallvec::SmallVec;

use super::ledger::Ledger;
use super::planner::Border;
use super::{Build, Peer};
use crate::event::DisconnectReason;
use crate::units::{ChunkIndex, HostId, Time, ZoneId};
use crate::wire::Message;

/// What comes into this host's zone by it, and what it brings into others.
#[derive(Debug, Default)]
pub(super) struct Imports {
    /// Chunks that came from the seeder.
    first_copies: Vec<ChunkIndex>,
    /// How many of these each other zone was invited to.
    told: SmallVec<[(ZoneId, usize); 2]>,
    /// Invitations that came before the manifest.
    early: Vec<(HostId, u32)>,
    /// Invitations that have not been taken up.
    invited: SmallVec<[(HostId, ChunkIndex); 2]>,
    /// Chunks that may be fetched from another zone without invitation.
    open: u32,
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
            return;
        };
        let mut places = 0..;
        self.invited
            .retain(|(_, other)| places.next() < Some(place) || *other != chunk);
    }

    pub(super) fn acquired(&mut self, chunk: ChunkIndex, from_seeder: bool) {
        if from_seeder {
            self.first_copies.push(chunk);
        }
    }

    pub(super) fn host_gone(&mut self, host: HostId) {
        self.invited.retain(|(from, _)| *from != host);
        self.early.retain(|(from, _)| *from != host);
    }
}

impl Peer {
    pub(super) fn handle_zone(&mut self, now: Time, host: HostId, zone: ZoneId) {
        let Some(own) = self.config.zone else {
            return;
        };
        if !self.config.is_seeder(host) {
            self.neighbours.set_zone(host, zone, zone != own);
            self.refill = true;
            self.invite_other_zones(now);
        }
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

    /// Invites one host of each other zone to each chunk that came from the seeder.
    pub(super) fn invite_other_zones(&mut self, now: Time) {
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
            let known = self.imports.told.iter().position(|(told, _)| *told == zone);
            let place = known.unwrap_or_else(|| {
                self.imports.told.push((zone, 0));
                self.imports.told.len() - 1
            });
            let told = std::mem::replace(&mut self.imports.told[place].1, count);
            for index in told..count {
                let there = |n: &&crate::neighbours::Neighbour| n.zone == Some(zone) && !n.is_parked(now);
                let hosts: SmallVec<[HostId; 8]> = self.neighbours.iter().filter(there).map(|n| n.host).collect();
                if hosts.is_empty() {
                    self.imports.told[place].1 = index;
                    break;
                }
                let host = hosts[self.random_below(hosts.len())];
                let chunk = self.imports.first_copies[index].get();
                self.send(host, Message::Invite { chunk });
            }
        }
    }

    /// Starved `times` in a row: perhaps this host is one of those that fetch from other zones now.
    pub(super) fn open_borders(&mut self, times: u32) {
        if self.config.zone.is_some() && self.random_below(OPEN_ONE_IN) < 1 << times.min(OPEN_DOUBLINGS_MAX) >> 1 {
            self.imports.open = IMPORTS_AT_ONCE;
        }
    }
}

/// With fewer neighbours of its own zone a host does not care for zones: it would starve for a few of them.
pub(super) const LOCAL_NEIGHBOURS_MIN: usize = 3;
/// Invitations that wait at most; the neighbours of honest hosts never come near.
const INVITATIONS_MAX: usize = 1024;
/// The first time that a zone starves one host in so many fetches from others, then twice as many each time.
const OPEN_ONE_IN: usize = 16;
const OPEN_DOUBLINGS_MAX: u32 = 5;
/// Chunks that such a host fetches.
const IMPORTS_AT_ONCE: u32 = 4;
