//! Offers go out, and what clients answer to them comes in. What is to be offered to whom stands in the injection.

use std::collections::VecDeque;
use std::time::Duration;

use rand::seq::SliceRandom;

use super::{Seeder, SeederTimer};
use crate::event::Action;
use crate::manifest::BuildInfo;
use crate::tracker::Tracker;
use crate::units::{ChunkIndex, HostId, Time};
use crate::upload_queue::UploadQueue;
use crate::wire::{ChunkList, Message};

impl Seeder {
    /// Chunks in the order in which this seeder injects them: its own part in turn, so that what the seeders inject is always of
    /// about the same age, since hosts ask for the latest.
    pub(super) fn in_order(&mut self, chunks: impl IntoIterator<Item = ChunkIndex>) -> VecDeque<ChunkIndex> {
        let part = self.config.part;
        let is_mine = |chunk: &ChunkIndex| part.includes(*chunk);
        let (mine, mut others): (Vec<_>, Vec<_>) = chunks.into_iter().partition(is_mine);
        // Then those of the others, of which one may be slow, or gone. Where all went well a client has what it is offered and
        // says so; by chance, so that two who help a third do not send the same.
        others.shuffle(&mut self.rng);
        mine.into_iter().chain(others).collect()
    }

    /// Chunks that are under way or wait at a time, so that the uplink does not rest while answers are on their way.
    pub(super) fn at_once(&self) -> usize {
        let chunk = self.build.as_ref().map_or(1, |build| build.chunk_size());
        // What leaves until an answer is here, and half as much again.
        let passing =
            u128::from(self.uploads.rate()) * self.answer.as_nanos() * 3 / 2 / u128::from(chunk) / 1_000_000_000;
        let passing = usize::try_from(passing).map_or(OFFERS_PASSING_MAX, |passing| passing.min(OFFERS_PASSING_MAX));
        self.uploads.slots() + OFFERS_AHEAD + passing
    }

    /// Offers chunks that are not out to clients in turn, a few ahead of the uplink.
    pub(super) fn pump_offers(&mut self, now: Time) {
        let at_once = self.at_once() + self.uploads.late(now);
        while let Some((to, chunk)) = self.injection.offer_next(now, at_once) {
            self.send_offer(now, to, chunk);
        }
        self.offer_slow(now);
    }

    pub(super) fn send_offer(&mut self, now: Time, to: HostId, chunk: ChunkIndex) {
        self.send(to, Message::Offer(ChunkList::from_slice(&[chunk.get()])));
        self.timers
            .set_at_latest(SeederTimer::ExpireOffers, now + OFFER_PATIENCE);
    }

    /// When all that is left of the first pass is on its way to slow hosts, others are offered it too, while a slot is free: one at a
    /// time, since who is slow may be done by then.
    pub(super) fn offer_slow(&mut self, now: Time) {
        let usual = self.uploads.serving_time();
        let slow_after = if usual.is_zero() {
            SLOW_AFTER_AT_FIRST
        } else {
            usual * SLOW_AFTER_TIMES
        };
        // Even a seeder that is to send each chunk once: who is slow may take for ever.
        let copies_max = self.config.copies_max.max(2) as usize;
        let uploads = &self.uploads;
        let since = |to: HostId, chunk: ChunkIndex| uploads.since(to, chunk);
        if uploads.has_free_slot(now)
            && let Some((to, chunk)) = self.injection.offer_slow(now, since, slow_after, copies_max)
        {
            self.actions
                .push_back(Action::Send(to, Message::Offer(ChunkList::from_slice(&[chunk.get()]))));
        }
        if let Some(at) = self.injection.next_slow(since, slow_after, copies_max) {
            // Whatever is slow by now waits for a slot.
            let at = if at > now { at } else { now + slow_after.max(SLOW_AGAIN) };
            self.timers.set_at_latest(SeederTimer::ExpireOffers, at);
        }
    }

    /// `host` was sent the chunk, or says that it needs it from nobody: if it was offered to it, it is out.
    pub(super) fn settle_offer(&mut self, now: Time, host: HostId, chunk: u32) {
        let Some(chunk) = self.chunk(chunk) else {
            return;
        };
        if self.injection.settle(host, chunk) {
            self.copies.note(host, chunk);
            self.stats.chunks_injected += 1;
            self.offers_changed(now);
        }
    }

    /// There is room for an offer, or all chunks are out, which the clients are told.
    pub(super) fn offers_changed(&mut self, now: Time) {
        if self.injection.is_first_pass() {
            self.pump_offers(now);
        } else {
            self.uploads.first_copies_are_out();
            // Who knows it already would take it for a word that there is room.
            for host in self.injection.show_all(true) {
                self.send(host, Message::HaveAll);
            }
        }
    }

    /// Offers that nobody took up go to somebody else.
    pub(super) fn expire_offers(&mut self, now: Time) {
        let members = self.tracker.len();
        let lost_at = lost_at(now, &self.uploads);
        self.stats.offers_lost += self.injection.expire(now, &lost_at, members);
        if let Some(at) = self.injection.next_expiry(lost_at) {
            self.timers.set(SeederTimer::ExpireOffers, at);
        }
        self.fill_clients(now);
        self.pump_offers(now);
    }

    /// Takes in incomplete members by chance until there are clients enough, and tells them what can be had.
    pub(super) fn fill_clients(&mut self, now: Time) {
        let Some(info) = self.info() else {
            return;
        };
        while self.injection.client_count() < self.config.clients {
            let injection = &self.injection;
            let is_new = |host| !injection.is_client(host) && !self.silence.is_silent(now, host);
            let (rng, tracker) = (&mut self.rng, &self.tracker);
            let best = tracker.random_incomplete(rng, |host| is_new(host) && !is_shunned(tracker, host));
            let Some(host) = best.or_else(|| tracker.random_incomplete(rng, is_new)) else {
                return;
            };
            self.add_client(now, host, &info);
        }
    }

    /// After the first pass, while its uplink has room: tells more members what is to be had here, those too that pass nothing on.
    pub(super) fn invite_while_idle(&mut self, now: Time) {
        if self.injection.is_first_pass() || !self.uploads.has_free_slot(now) {
            return;
        }
        let Some(info) = self.info() else {
            return;
        };
        let others = self
            .tracker
            .incomplete_len()
            .saturating_sub(self.injection.client_count());
        for _ in 0..self.uploads.slots().min(others) {
            let injection = &self.injection;
            let Some(host) = self
                .tracker
                .random_incomplete(&mut self.rng, |host| !injection.is_client(host))
            else {
                return;
            };
            if self.is_spent(now, host) {
                return;
            }
            self.add_client(now, host, &info);
        }
    }

    fn add_client(&mut self, now: Time, host: HostId, info: &BuildInfo) {
        let is_shown_all = !self.injection.is_first_pass();
        self.injection.admit(host, is_shown_all);
        self.link_to_other_zones(now, host);
        self.tell_of_build(host, info);
        let holdings = if is_shown_all {
            Message::HaveAll
        } else {
            Message::Offer(ChunkList::new())
        };
        self.send(host, holdings);
    }

    /// Tells `host` what is to be fetched, and of what it is made, or it would ask somebody for that first: as long as that costs little of
    /// this uplink.
    pub(super) fn tell_of_build(&mut self, host: HostId, info: &BuildInfo) {
        self.send(host, Message::Build(Box::new(info.clone())));
        if let Some(manifest) = self.build.clone().filter(|_| self.manifests_left > 0) {
            self.manifests_left -= 1;
            self.send(host, Message::Manifest(manifest));
        }
    }

    /// `host` is to be offered nothing more: it has gone, or has all it needs, or does not pass chunks on.
    pub(super) fn drop_client(&mut self, now: Time, host: HostId) {
        if self.injection.dismiss(host) {
            self.fill_clients(now);
            self.pump_offers(now);
        }
    }

    /// A host has nobody left to ask: serve it from here.
    pub(super) fn rescue(&mut self, now: Time, host: HostId) {
        let Some(info) = self.build.as_ref().map(|manifest| manifest.info()) else {
            return;
        };
        if self.injection.is_first_pass() {
            // Who sends wrong bytes is soon without neighbours, and first copies are of no use there.
            let is_of_use = !self.silence.is_silent(now, host) && !is_shunned(&self.tracker, host);
            let room = if is_of_use { 2 } else { 1 };
            if !self.injection.is_client(host) && self.injection.client_count() < room * self.config.clients {
                self.add_client(now, host, &info);
            }
            // What was offered may have been lost on its way.
            self.injection.show_offers(host);
            self.send(host, Message::Offer(self.injection.offers_to(host)));
            self.pump_offers(now);
        } else {
            if self.tracker.contains(host) {
                self.starving.insert(host, now + STARVING_FOR);
            }
            self.send(host, Message::HaveAll);
        }
    }

    /// Whether the host said not long ago that nobody else serves it.
    pub(super) fn is_starving(&self, now: Time, host: HostId) -> bool {
        self.starving.get(&host).is_some_and(|until| now < *until)
    }

    /// It asks a seeder that showed all it has only while nobody else serves it.
    pub(super) fn still_starving(&mut self, now: Time, host: HostId) {
        if self.is_starving(now, host) {
            self.starving.insert(host, now + STARVING_FOR);
        }
    }

    /// What a client gets first it brings into the other zones.
    pub(super) fn link_to_other_zones(&mut self, now: Time, host: HostId) {
        let contacts = self.tracker.link_to_other_zones(now, host, &mut self.rng);
        if !contacts.is_empty() {
            self.send(host, Message::Neighbours(contacts));
        }
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
        lost.retain(|chunk| self.injection.is_out(*chunk));
        if lost.is_empty() {
            return;
        }
        // With their copies that was spent on them is gone too.
        self.budget += lost.len() as u64 * u64::from(self.config.copies_max);
        let lost = self.in_order(lost);
        for host in self.injection.clients() {
            if self.silence.is_silent(now, host) {
                self.injection.dismiss(host);
            }
        }
        // They are not to ask for just anything that was to be had a moment ago.
        for host in self.injection.show_all(false) {
            self.send(host, Message::Offer(ChunkList::new()));
        }
        self.injection.begin_again(lost);
        self.pump_offers(now);
    }
}

/// Whether members do not talk to `host`, so that it hardly passes anything on.
fn is_shunned(tracker: &Tracker, host: HostId) -> bool {
    tracker.is_barred_by(host, SHUNNED_BY)
}

/// Until when the seeder counts on an offer that was made at a time. What waits here has been taken up, and it is for the seeder to send it.
/// What is being sent is counted on while bytes go out; but who takes far longer than others may be so slow that a chunk is with it as good
/// as nowhere.
fn lost_at(now: Time, uploads: &UploadQueue) -> impl Fn(Time, HostId, ChunkIndex) -> Time {
    let usual = uploads.serving_time();
    let taken = (usual * TAKEN_PATIENCE_TIMES).max(OFFER_PATIENCE);
    move |at, to, chunk| {
        let lost_at = if usual.is_zero() {
            uploads.moved_at(to, chunk).map(|at| at + TAKEN_PATIENCE_AT_FIRST)
        } else {
            uploads.since(to, chunk).map(|at| at + taken)
        };
        let waits = || uploads.contains(to, chunk);
        lost_at.unwrap_or_else(|| if waits() { now } else { at } + OFFER_PATIENCE)
    }
}

/// Members that do not talk to somebody who is to be a client last.
const SHUNNED_BY: usize = 2;
/// Offers beyond the upload slots, so that the uplink does not wait for a client's answer.
const OFFERS_AHEAD: usize = 2;
/// Offers whose answers are on their way, at most.
const OFFERS_PASSING_MAX: usize = 256;
/// An offer that is not taken up within this is made to somebody else.
const OFFER_PATIENCE: Duration = Duration::from_secs(2);
/// Where nothing else is left to offer a chunk is offered to somebody else too when it takes so many times as long as usual …
const SLOW_AFTER_TIMES: u32 = 2;
/// … or this long before anything was sent.
const SLOW_AFTER_AT_FIRST: Duration = Duration::from_millis(500);
/// Slow chunks that could not be offered are looked at again no sooner than after this.
const SLOW_AGAIN: Duration = Duration::from_millis(50);
/// One that is taken up is lost when it takes so many times as long as usual.
const TAKEN_PATIENCE_TIMES: u32 = 16;
/// While nothing is known of the links one is lost when no byte has gone out for this long.
const TAKEN_PATIENCE_AT_FIRST: Duration = Duration::from_secs(10);
/// Whom nobody else serves is served for this long after it last said so, or was served.
const STARVING_FOR: Duration = Duration::from_secs(10);
