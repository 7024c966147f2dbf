//! The first pass: each chunk is offered to one client at a time until it is out. A chunk that nobody holds any more, since those
//! who got it have gone, is to go out again like one that never did.

use std::collections::VecDeque;
use std::time::Duration;

use rand::seq::SliceRandom;

use super::{Seeder, SeederTimer};
use crate::manifest::BuildInfo;
use crate::units::{ChunkIndex, HostId, Time};
use crate::wire::{ChunkList, Message};

/// A host that the seeder sends chunks to.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Offers lost in a row.
    pub(super) strikes: u32,
    /// When it was last offered something, to take turns.
    offered_last: u64,
}

/// Every chunk is to be offered, offered, or out.
#[derive(Debug, Default)]
pub(super) struct Injection {
    pub(super) waiting: VecDeque<ChunkIndex>,
    pub(super) offers: Vec<Offer>,
    offers_made: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) chunk: ChunkIndex,
    pub(super) to: HostId,
    at: Time,
}

impl Injection {
    pub(super) fn is_offered(&self, to: HostId, chunk: ChunkIndex) -> bool {
        self.offers.iter().any(|o| o.to == to && o.chunk == chunk)
    }
}

impl Seeder {
    /// Chunks in the order in which this seeder injects them: its own part in turn, so that what the seeders inject is always of
    /// about the same age, since hosts ask for the latest.
    pub(super) fn in_order(&mut self, chunks: impl IntoIterator<Item = ChunkIndex>) -> VecDeque<ChunkIndex> {
        let (part, parts) = self.config.part;
        let is_mine = |chunk: &ChunkIndex| chunk.get() % parts.max(1) == part;
        let (mine, mut others): (Vec<_>, Vec<_>) = chunks.into_iter().partition(is_mine);
        // Then those of the others, of which one may be slow, or gone. Where all went well a client has what it is offered and
        // says so; by chance, so that two who help a third do not send the same.
        others.shuffle(&mut self.rng);
        mine.into_iter().chain(others).collect()
    }

    /// Offers chunks that are not out to clients in turn, a few ahead of the uplink.
    pub(super) fn pump_offers(&mut self, now: Time) {
        while self.injection.offers.len() < self.config.upload_slots + OFFERS_AHEAD {
            let Some(chunk) = self.injection.waiting.front().copied() else {
                break;
            };
            let offers = &self.injection.offers;
            let pending = |host: &HostId| offers.iter().filter(|offer| offer.to == *host).count();
            let next = self
                .clients
                .iter()
                .min_by_key(|(host, c)| (pending(host), c.strikes, c.offered_last));
            let Some((&to, _)) = next else {
                break;
            };
            self.injection.waiting.pop_front();
            self.injection.offers_made += 1;
            if let Some(client) = self.clients.get_mut(&to) {
                client.offered_last = self.injection.offers_made;
            }
            self.injection.offers.push(Offer { chunk, to, at: now });
            self.send(to, Message::Have(ChunkList::from_slice(&[chunk.get()])));
            self.timers
                .set_at_latest(SeederTimer::ExpireOffers, now + OFFER_PATIENCE);
        }
    }

    /// The offered chunk is out, or there already.
    pub(super) fn offer_settled(&mut self, now: Time, host: HostId, chunk: u32) {
        let Some(chunk) = self.chunk(chunk) else {
            return;
        };
        let before = self.injection.offers.len();
        self.injection.offers.retain(|o| !(o.to == host && o.chunk == chunk));
        if self.injection.offers.len() == before {
            return;
        }
        self.copies.note(host, chunk);
        self.stats.chunks_injected += 1;
        self.offers_changed(now);
    }

    /// There is room for an offer, or all chunks are out, which the clients are told.
    pub(super) fn offers_changed(&mut self, now: Time) {
        if self.is_first_pass() {
            self.pump_offers(now);
        } else {
            let hosts: Vec<HostId> = self.clients.keys().copied().collect();
            for host in hosts {
                self.send(host, Message::HaveAll);
            }
        }
    }

    /// Offers that nobody took up go to somebody else.
    pub(super) fn expire_offers(&mut self, now: Time) {
        let is_lost = |o: &Offer| now >= self.offer_expires_at(o);
        let lost: Vec<Offer> = self.injection.offers.iter().filter(|o| is_lost(o)).copied().collect();
        self.injection
            .offers
            .retain(|o| !lost.iter().any(|l| l.to == o.to && l.chunk == o.chunk));
        for offer in lost {
            self.stats.offers_lost += 1;
            self.injection.waiting.push_front(offer.chunk);
            let strikes = self.clients.get_mut(&offer.to).map_or(0, |client| {
                client.strikes += 1;
                client.strikes
            });
            if strikes >= STRIKES_MAX && self.tracker.len() > self.clients.len() {
                self.clients.swap_remove(&offer.to);
            }
        }
        self.fill_clients(now);
        self.pump_offers(now);
        let expire_at = self.injection.offers.iter().map(|o| self.offer_expires_at(o));
        if let Some(next) = expire_at.min() {
            self.timers.set(SeederTimer::ExpireOffers, next);
        }
    }

    /// One that was taken up ends with the serving of it, or with the connection; but who takes far longer than others may be gone
    /// without a word, or be so slow that a chunk is with it as good as nowhere.
    fn offer_expires_at(&self, offer: &Offer) -> Time {
        let patience = if !self.uploads.contains(offer.to, offer.chunk) {
            OFFER_PATIENCE
        } else {
            self.taken_patience()
        };
        offer.at + patience
    }

    /// How long a serving may take before the seeder stops counting on it.
    fn taken_patience(&self) -> Duration {
        let usual = self.uploads.usual();
        if usual.is_zero() {
            TAKEN_PATIENCE_AT_FIRST
        } else {
            (usual * TAKEN_PATIENCE_TIMES).max(OFFER_PATIENCE)
        }
    }

    /// Takes in incomplete members by chance until there are clients enough, and tells them what can be had.
    pub(super) fn fill_clients(&mut self, now: Time) {
        let Some(info) = self.build.as_ref().map(|manifest| manifest.info()) else {
            return;
        };
        while self.clients.len() < self.config.clients {
            let clients = &self.clients;
            let is_new = |host| !clients.contains_key(&host) && !self.silence.is_silent(now, host);
            let Some(host) = self.tracker.random_incomplete(&mut self.rng, is_new) else {
                return;
            };
            self.add_client(now, host, &info);
        }
    }

    pub(super) fn add_client(&mut self, now: Time, host: HostId, info: &BuildInfo) {
        self.clients.insert(host, Client::default());
        self.link_to_other_zones(now, host);
        self.send(host, Message::Build(Box::new(info.clone())));
        let holdings = if self.is_first_pass() {
            Message::Have(ChunkList::new())
        } else {
            Message::HaveAll
        };
        self.send(host, holdings);
    }

    /// What was offered to a client that is none any more is offered again, though it was no client when it asked for it.
    pub(super) fn drop_client(&mut self, now: Time, host: HostId) {
        let was_client = self.clients.swap_remove(&host).is_some();
        let offers = std::mem::take(&mut self.injection.offers);
        for offer in offers {
            if offer.to == host {
                self.injection.waiting.push_front(offer.chunk);
            } else {
                self.injection.offers.push(offer);
            }
        }
        if was_client {
            self.fill_clients(now);
        }
        self.pump_offers(now);
    }

    /// Looks for chunks that were out and are not any more, since those who held them have gone: nobody could ever send them, and
    /// who comes next would get them only by being rescued.
    pub(super) fn inject_lost(&mut self, now: Time) {
        if self.build.is_none() || !self.copies.has_changed() || self.tracker.complete_len() > 0 {
            return;
        }
        let mut lost = self.copies.lost(now);
        if let Some(at) = self.copies.next_look() {
            self.timers.set_at_latest(SeederTimer::InjectLost, at);
        }
        let Injection { waiting, offers, .. } = &self.injection;
        let is_out = |c: &ChunkIndex| !waiting.contains(c) && !offers.iter().any(|o| o.chunk == *c);
        lost.retain(|chunk| is_out(chunk) && !self.lost.contains(chunk));
        if lost.is_empty() {
            return;
        }
        // With their copies that was spent on them is gone too.
        self.budget += lost.len() as u64 * u64::from(self.config.copies_max);
        let lost = self.in_order(lost);
        if !self.is_first_pass() {
            // They are not to ask for just anything that was to be had a moment ago.
            for host in self.clients.keys().copied().collect::<Vec<HostId>>() {
                self.send(host, Message::Have(ChunkList::new()));
            }
        }
        self.injection.waiting.extend(lost);
        self.pump_offers(now);
    }

    pub(super) fn is_first_pass(&self) -> bool {
        !self.injection.waiting.is_empty() || !self.injection.offers.is_empty()
    }
}

/// Offers beyond the upload slots, so that the uplink does not wait for a client's answer.
const OFFERS_AHEAD: usize = 2;
/// An offer that is not taken up within this is made to somebody else.
const OFFER_PATIENCE: Duration = Duration::from_secs(2);
/// One that is taken up is made to somebody else too when it takes so many times as long as usual.
const TAKEN_PATIENCE_TIMES: u32 = 16;
/// The same before anything was sent. A slow first chunk goes out twice.
const TAKEN_PATIENCE_AT_FIRST: Duration = Duration::from_secs(10);
/// A client that lets so many offers in a row pass is replaced.
const STRIKES_MAX: u32 = 3;
