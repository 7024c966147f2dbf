//! The peer's download: requests go out, chunks come in, or do not. What to ask is the planner's matter, and what is asked stands
//! in the ledger.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::downlink::Downlink;
use super::ledger::{Ask, Ledger, Losers, Stored, Why};
use super::planner::{Known, Limits, Plan, plan};
use super::uploads::BUSY_TOLD_FROM_CHUNK;
use super::window::{self, Seen};
use super::zones::{INVITED_AT_ONCE, Origin};
use super::{Build, Peer, PeerConfig, Timer};
use crate::bitfield::Bitfield;
use crate::event::{Action, DisconnectReason};
use crate::holdings::Holdings;
use crate::manifest::Manifest;
use crate::neighbours::Neighbour;
use crate::units::{ChunkIndex, HostId, Time};
use crate::wire::{Message, RejectReason, Waited};

/// A build being fetched, or held.
pub(super) struct Download {
    pub(super) manifest: Arc<Manifest>,
    pub(super) ledger: Ledger,
    downlink: Downlink,
    /// Of choices among chunks and neighbours.
    chance: Xoshiro256PlusPlus,
    /// With whom among equal neighbours the next asking begins, as a part of 2^64. Drawn anew after each that asked for something,
    /// and not for each look: then it does not matter how often news leads to one that finds nothing.
    turn: u64,
    /// Chunks in the order in which they came.
    pub(super) acquired: Vec<ChunkIndex>,
    /// The last of them: looked at for every chunk, when the list has long left the processor's cache.
    pub(super) latest: Option<ChunkIndex>,
    /// Times in a row that there was nothing to ask for.
    starved: u32,
    /// How long this host stood still when it was last woken; zero where it did not.
    paused: Duration,
    /// Whether it was once told that every chunk is held.
    completion_told: bool,
}

impl Download {
    /// Of a host that holds `held` at first and has seen a message take `round_trip`.
    pub(super) fn new(
        config: &PeerConfig,
        manifest: Arc<Manifest>,
        held: Bitfield,
        round_trip: Duration,
        seed: u64,
    ) -> Self {
        let mut chance = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self {
            turn: chance.next_u64(),
            manifest,
            latest: held.iter().last(),
            acquired: held.iter().collect(),
            downlink: Downlink::default(),
            ledger: Ledger::new(config.policy, held, config.patience_min, round_trip),
            chance,
            starved: 0,
            paused: Duration::ZERO,
            completion_told: false,
        }
    }

    /// `chunk` is held from now on.
    pub(super) fn acquire(&mut self, chunk: ChunkIndex) {
        self.acquired.push(chunk);
        self.latest = Some(chunk);
    }

    pub(super) fn neighbour_gone(&mut self, gone: &Neighbour) {
        self.ledger.neighbour_gone(gone.host, &gone.has);
    }
}

impl Peer {
    /// Chunks have come, or left this host, since it was last worked out how many to ask for at a time.
    pub(super) fn measure(&mut self) {
        if let (None, Build::Fetching(download)) = (self.config.chunks_in_flight_max, &self.build) {
            let seen = Seen {
                chunks: download.manifest.chunk_count(),
                uplink: self.uploads.rate(),
                chunk: download.manifest.chunk_size(),
                between: download.ledger.between(),
                transfer: download.ledger.transfer().unwrap_or_default(),
                round_trip: download.ledger.round_trip(),
            };
            let window = seen.window();
            self.refill |= window > self.window;
            self.window = window;
        }
    }

    /// Requests to one neighbour at a time.
    pub(super) fn requests_per_neighbour_max(&self) -> usize {
        let neighbours = self.neighbours.len().saturating_sub(self.tracker.connected_count());
        let measured = || window::of_neighbour(self.window, neighbours);
        self.config.requests_per_neighbour_max.unwrap_or_else(measured)
    }

    /// Asks for as much as the limits allow.
    pub(super) fn fill_requests(&mut self, now: Time, table: &impl Holdings) {
        let requests_per_neighbour_max = self.requests_per_neighbour_max();
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        if download.ledger.is_complete() {
            return;
        }
        let zone = self.config.zone.map(|_| self.imports.border(&download.ledger));
        let (refused, wary_of) = (self.tracker.refused_now(now), self.tracker.refused_of_late());
        let known = Known {
            ledger: &download.ledger,
            neighbours: &self.neighbours,
            table,
            limits: Limits {
                chunks_in_flight_max: self.window,
                requests_per_neighbour_max,
                seeders: &self.config.seeders,
                refused: &refused,
                wary_of: &wary_of,
                zone,
            },
            now,
        };
        let first = place_in(download.turn, self.neighbours.len());
        let Plan { asks, unserved } = plan(&known, first, &mut download.chance);
        if !asks.is_empty() {
            download.turn = download.chance.next_u64();
        }
        for ask in &asks {
            let strikes = self.neighbours.strikes(ask.host);
            download.ledger.ask(now, *ask, strikes);
        }
        let held = download.ledger.held().count();
        self.set_request_timers(now);
        for ask in &asks {
            self.request(*ask, held);
        }
        for chunk in unserved {
            self.tell_unserved(chunk);
        }
    }

    /// Seeders can give a chunk to somebody who serves, where those who have it do not.
    fn tell_unserved(&mut self, chunk: ChunkIndex) {
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        let late = download.ledger.tell_late(chunk);
        for host in late {
            if !self.config.is_seeder(host) {
                let chunk = chunk.get();
                self.tell_seeders(&Message::NotServing { host, chunk });
            }
        }
    }

    /// Sends a request that stands in the ledger.
    fn request(&mut self, ask: Ask, held: u32) {
        let Ask { host, chunk, why } = ask;
        self.stats.requests_sent += 1;
        match why {
            Why::Want | Why::Rescue => {}
            Why::Import => self.imports.imported(host, chunk),
            Why::Tie => self.stats.requests_tied += 1,
            Why::Hedge => self.stats.requests_hedged += 1,
        }
        let chunk = chunk.get();
        self.send(host, Message::Request { chunk, held });
    }

    /// When to look again at what is on its way, and for more where nothing is.
    fn set_request_timers(&mut self, now: Time) {
        let Build::Fetching(Download { ledger, starved, .. }) = &self.build else {
            return;
        };
        let may_hedge = ledger.wanted_count() == 0 && ledger.hedges_left() > 0;
        let slow = if may_hedge { ledger.slow().min() } else { None };
        // What is slow already is so because nobody was there to be asked; somebody may be idle soon.
        let slow = slow.map(|(at, _)| at.max(now + (ledger.transfer().unwrap_or_default() / 2).max(LATE_AGAIN)));
        // Whoever turned a request down may be asked again after a while.
        let turns = || [self.tracker.next_turn(now), self.neighbours.next_open(now)];
        let turn = self.is_hungry().then(turns).into_iter().flatten().flatten();
        match slow.into_iter().chain(turn).min() {
            Some(at) => self.timers.set(Timer::Late, at),
            None => self.timers.clear(Timer::Late),
        }
        if let Some(expiry) = ledger.next_expiry() {
            // Not in the past, or it would seem that this host was woken late.
            self.timers.set_at_latest(Timer::RequestExpiry, expiry.max(now));
        }
        if self.is_to_get_something(ledger) {
            self.timers.clear(Timer::Starved);
        } else if self.timers.get(Timer::Starved).is_none() {
            let patience = STARVED_AFTER * (1 << (*starved).min(STARVED_DOUBLINGS_MAX));
            self.timers.set(Timer::Starved, now + patience);
        }
    }

    pub(super) fn handle_payload(&mut self, now: Time, from: HostId, chunk: ChunkIndex) {
        if let Build::Fetching(download) = &mut self.build {
            let losers = download.ledger.received(now, from, chunk);
            if self.neighbours.any_missing() && download.ledger.is_counted_on(from, chunk) {
                self.neighbours.delivered(from);
            }
            self.cancel_at(losers, chunk);
        }
    }

    /// `from` says that it begins to send `chunk`.
    pub(super) fn handle_serving(&mut self, now: Time, from: HostId, chunk: u32, waited: Waited) {
        if let Build::Fetching(download) = &mut self.build
            && let Some(chunk) = download.manifest.chunk(chunk)
        {
            let losers = download.ledger.started(now, from, chunk, waited);
            self.cancel_at(losers, chunk);
        }
    }

    pub(super) fn handle_chunk_stored(&mut self, now: Time, from: HostId, chunk: ChunkIndex) {
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        let Stored { is_new, losers, began } = download.ledger.stored(now, from, chunk);
        let length = download.manifest.length(chunk);
        // With smaller chunks nobody tells that requests wait. Several slots make up for that, so the downlink is not to limit them.
        if let Some(began) = began
            && length == download.manifest.chunk_size()
            && length >= BUSY_TOLD_FROM_CHUNK
        {
            download.downlink.received(began, now, length);
            self.uploads.set_downlink(download.downlink.rate());
        }
        let bytes = u64::from(length);
        *match (is_new, self.config.is_seeder(from)) {
            (true, true) => &mut self.payload.from_seeders,
            (true, false) => &mut self.payload.from_peers,
            (false, _) => &mut self.payload.wasted,
        } += bytes;
        self.neighbours.delivered(from);
        let complete = download.ledger.is_complete();
        if is_new {
            download.acquire(chunk);
            if self.config.zone.is_some() {
                let origin = if self.config.is_seeder(from) {
                    Origin::Seeder
                } else if self.neighbours.is_remote_host(from) {
                    Origin::OtherZone
                } else {
                    Origin::OwnZone
                };
                self.imports.acquired(chunk, origin);
                self.stats.chunks_imported += u64::from(self.neighbours.is_remote_host(from));
            }
            // What the seeder had to rescue it with does not mean that its neighbours are of use again.
            if self.config.is_seeder(from) {
                self.tracker.not_refused(from);
            } else {
                download.starved = 0;
            }
        }
        self.cancel_at(losers, chunk);
        self.measure();
        if !is_new {
            return;
        }
        self.invite = self.invite.max(INVITED_AT_ONCE);
        self.schedule_flush(now);
        if complete {
            self.completed(now);
        }
        self.refill = true;
    }

    pub(super) fn handle_chunk_corrupt(&mut self, now: Time, from: HostId, chunk: ChunkIndex) {
        self.stats.chunks_corrupt += 1;
        if let Some(manifest) = self.manifest() {
            let bytes = manifest.length(chunk);
            self.count_discarded(bytes.into());
        }
        if self.config.is_seeder(from) {
            self.tracker.complain_when_back(from, chunk);
        } else {
            let chunk = chunk.get();
            self.tell_seeders(&Message::Complaint { host: from, chunk });
        }
        self.ban(now, from, DisconnectReason::CorruptChunk);
    }

    pub(super) fn handle_reject(&mut self, now: Time, from: HostId, chunk: u32, reason: RejectReason) {
        let has_it = reason != RejectReason::NotHeld;
        // One that shows nothing but offers has offered this to somebody else by now, or offers it again; what else it offers it is to be asked
        // for. With each offer it would else be asked for this again.
        let only_offers = self.neighbours.get(from).is_some_and(|neighbour| neighbour.only_offers);
        let makes_sense = self.does_not_send(now, from, chunk, has_it && !only_offers);
        if makes_sense && has_it && !only_offers && self.config.is_seeder(from) {
            self.tracker.refused(now, from, reason);
        }
    }

    /// `from` does not hold `chunk` any more.
    pub(super) fn handle_lost_at(&mut self, now: Time, from: HostId, chunk: u32) {
        self.does_not_send(now, from, chunk, false);
    }

    /// `from` does not send `chunk`, whether it has it or not; tells whether there is such a chunk. Whoever turned one down would turn
    /// down the next: others are asked, and it after a while.
    fn does_not_send(&mut self, now: Time, from: HostId, chunk: u32, has_it: bool) -> bool {
        let Build::Fetching(download) = &mut self.build else {
            return false;
        };
        let Some(chunk) = download.manifest.chunk(chunk) else {
            self.ban(now, from, DisconnectReason::ProtocolViolation);
            return false;
        };
        if !has_it
            && let Some(neighbour) = self.neighbours.get_mut(from)
            && neighbour.has.remove(chunk)
        {
            download.ledger.holder_lost(chunk);
        }
        let was_asked = download.ledger.is_asked(from, chunk);
        download.ledger.give_up(from, chunk);
        if was_asked && !self.config.is_seeder(from) {
            self.neighbours.shut(now, from, TURNED_DOWN, TURNED_DOWN_MAX);
        }
        self.refill = true;
        true
    }

    /// Looks at what takes longer than usual, and at what has been without progress for too long. Whoever is late loses its turn for a
    /// while, and is not counted on.
    pub(super) fn expire_requests(&mut self, now: Time) {
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        let (wait, patience) = (download.ledger.wait_max(), download.ledger.patience());
        // At a seeder many wait, and what only it has is not to be had elsewhere.
        for host in download.ledger.mark_late(now) {
            if !self.config.is_seeder(host) {
                self.neighbours.park(now, host, wait, patience);
            }
        }
        let overdue = download.ledger.expire(now);
        self.stats.requests_overdue += overdue.requests as u64;
        for host in overdue.hosts {
            if self.config.is_seeder(host) {
                self.neighbours.park(now, host, patience, patience);
            } else {
                self.neighbours.strike(now, host, patience);
            }
        }
        if self.neighbours.any_missing() {
            self.announce_soon(now);
        }
        self.refill = true;
    }

    /// Where this host stood still, as a machine that was suspended or starved of its processor does, its neighbours are not late for
    /// that: what they sent meanwhile has yet to be read. Looked at before anything else is done, so that it counts once.
    #[inline]
    pub(super) fn excuse_own_pause(&mut self, now: Time) {
        let due = self.timers.get(Timer::RequestExpiry).unwrap_or(Time::MAX);
        if now >= due + OWN_PAUSE
            && let Build::Fetching(download) = &mut self.build
        {
            // Once it is a pause, and over.
            let lag = now.since(due);
            let before = std::mem::replace(&mut download.paused, lag);
            download.ledger.woken_late(lag.min(before));
            download.ledger.excuse(now);
            download.downlink.stood_still(download.ledger.in_flight());
            match download.ledger.next_expiry() {
                Some(expiry) => self.timers.set(Timer::RequestExpiry, expiry),
                None => self.timers.clear(Timer::RequestExpiry),
            }
        }
    }

    /// This host is woken so long after `timer` was due. What neighbours sent meanwhile waits as well, to be read; those that run on the
    /// same machine are as late to send it.
    pub(super) fn learn_own_lag(&mut self, timer: Timer, lag: Duration) {
        // Others may be set to times that have passed; what is a pause has been learned as one.
        if let Timer::Flush | Timer::RequestExpiry = timer
            && lag < OWN_PAUSE
            && let Build::Fetching(download) = &mut self.build
        {
            download.paused = Duration::ZERO;
            download.ledger.woken_late(lag);
        }
    }

    /// Nothing is on its way and nothing can be asked for: perhaps a message was lost, or everybody stalls.
    pub(super) fn ask_what_neighbours_have(&mut self, now: Time) {
        let is_to_get_something = self
            .download()
            .is_some_and(|download| self.is_to_get_something(&download.ledger));
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        if download.ledger.is_complete() {
            return;
        }
        if !is_to_get_something {
            download.ledger.forgive();
            download.starved += 1;
            let starved = download.starved;
            // A seeder serves whoever asks it this, so it is the last to be asked.
            let has_others = self.neighbours.len() > self.tracker.connected_count();
            let asks_seeder = self.is_starved() || !has_others;
            let asked = self
                .neighbours
                .iter()
                .map(|n| n.host)
                .filter(|host| asks_seeder || !self.config.is_seeder(*host));
            for host in asked.collect::<Vec<HostId>>() {
                self.send(host, Message::HaveRequest);
            }
            self.announce_soon(now);
            self.open_borders(starved);
        }
        self.refill = true;
    }

    /// Whether nobody has served this host for so long that a seeder is to.
    pub(super) fn is_starved(&self) -> bool {
        self.download()
            .is_some_and(|download| download.starved >= STARVED_BEFORE_RESCUE)
    }

    /// Whether something is to come. What was asked of a seeder may be turned down, until it begins; and who has missed requests is
    /// asked since nobody else is there, and has to deliver before it counts.
    fn is_to_get_something(&self, ledger: &Ledger) -> bool {
        ledger.is_waiting_for(|host, has_begun| {
            if self.config.is_seeder(host) {
                has_begun
            } else {
                self.neighbours
                    .get(host)
                    .is_some_and(|neighbour| neighbour.misses() == 0)
            }
        })
    }

    /// Whoever else was asked for `chunk` need not send it. What is on its way is thrown away, since nobody expects it any more.
    pub(super) fn cancel_at(&mut self, hosts: Losers, chunk: ChunkIndex) {
        for host in hosts {
            let chunk = chunk.get();
            self.send(host, Message::Cancel { chunk });
        }
    }

    pub(super) fn completed(&mut self, now: Time) {
        self.timers.clear(Timer::Starved);
        self.timers.clear(Timer::RequestExpiry);
        self.timers.clear(Timer::Late);
        self.schedule_flush(now);
        if let Build::Fetching(download) = &mut self.build
            && !std::mem::replace(&mut download.completion_told, true)
        {
            self.tell_seeders(&Message::Complete);
            self.actions.push_back(Action::Complete);
        }
    }
}

/// The place that is as far among `count` as `part` is among all numbers of 64 bits; 0 of none.
#[inline]
fn place_in(part: u64, count: usize) -> usize {
    let place = (u128::from(part) * count as u128) >> u64::BITS;
    usize::try_from(place).expect("it is below `count`, or 0")
}

/// A neighbour that turned a request down is not asked again for this long at first. That it has a chunk does not count meanwhile, or
/// a host that is always busy would keep its neighbours from what an idle seeder has …
const TURNED_DOWN: Duration = Duration::from_millis(100);
/// … and for this long at most.
const TURNED_DOWN_MAX: Duration = Duration::from_secs(2);
/// A wakeup that is this late tells of a machine that was suspended or starved of its processor.
const OWN_PAUSE: Duration = Duration::from_secs(1);
/// A late chunk that nobody else could be asked for is looked at again after half of what a chunk takes, but not before this.
const LATE_AGAIN: Duration = Duration::from_millis(10);
/// With nothing on its way for this long a host asks its neighbours what they have.
const STARVED_AFTER: Duration = Duration::from_millis(500);
/// Doublings of [`STARVED_AFTER`] at most: it doubles each time.
const STARVED_DOUBLINGS_MAX: u32 = 4;
/// Times in a row that a host is starved before it turns to the seeder: after 3.5 s without a chunk from anybody.
const STARVED_BEFORE_RESCUE: u32 = 3;
