//! The seeder's state machine: tracks the swarm, and injects the build so that its uplink is spent on chunks that
//! nobody else can send.
//!
//! Until every chunk is out, which is held by a member that is still there, no chunk goes out twice (super-seeding): each is offered to
//! one client at a time, which asks for it, or declines it since it has it or is getting it. Seeders of one region begin with different
//! parts, and help each other when they are through. After that first pass the seeder serves like any peer until it has sent its share,
//! and then only hosts that say that nobody else serves them, or that are late, up to a limit. When those who held a chunk have gone it is as if it had never gone out.

mod copies;
mod injection;
mod offering;
mod part;
mod serving;
mod silence;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes as ByteBuffer;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::event::{Action, DisconnectReason, Event};
use crate::manifest::{BuildInfo, Hash, Manifest};
use crate::peer::ANNOUNCE_INTERVAL;
use crate::stats::SeederStats;
use crate::timer_table::{TimerKind, TimerTable};
use crate::tracker::{Announced, Tracker};
use crate::units::{ChunkIndex, HostId, Time};
use crate::upload_queue::UploadQueue;
use crate::upload_slots::UploadSlots;
use crate::wire::{Message, SIGNATURE_LENGTH_MAX};
use copies::Copies;
use injection::Injection;
use silence::Silence;

pub use part::Part;

/// How a seeder behaves.
#[derive(Clone, Debug)]
pub struct SeederConfig {
    /// The seeder itself.
    pub host: HostId,
    /// Neighbours that a host wants, for the overlay.
    pub degree: u16,
    /// Hosts that the seeder sends chunks to. More spread the first copies wider, each with more to keep in view.
    pub clients: usize,
    /// Chunks served at a time; measured where absent.
    pub upload_slots: Option<usize>,
    /// Which part of the first pass is this seeder's, where a region has several.
    pub part: Part,
    /// Copies of the build that the seeder sends before it leaves the rest to the hosts, the first pass included. Who has
    /// nobody else to ask is served all the same, and who is late up to a limit.
    pub copies_max: u32,
}

impl SeederConfig {
    /// The defaults for a seeder called `host`.
    pub const fn new(host: HostId) -> Self {
        Self {
            host,
            degree: 12,
            clients: 32,
            upload_slots: None,
            part: Part::WHOLE,
            copies_max: 2,
        }
    }
}

/// The seeder's side of the protocol; driven like a [`crate::Peer`], with the same contract on the order of calls.
pub struct Seeder {
    config: SeederConfig,
    /// Of the last event.
    now: Time,
    /// Who is connected. Whoever is not has nothing to say, or it would be a member that never goes.
    connected: BTreeMap<HostId, Time>,
    actions: VecDeque<Action>,
    timers: TimerTable<SeederTimer>,
    rng: Xoshiro256PlusPlus,
    tracker: Tracker,
    build: Option<Arc<Manifest>>,
    /// Who vouches for it, for those who ask.
    signature: ByteBuffer,
    injection: Injection,
    copies: Copies,
    silence: Silence,
    /// Chunks that may be sent before the rest is left to the hosts.
    budget: u64,
    /// Chunks that were sent.
    sent: u64,
    /// Those of them that went, beyond the budget, to hosts that took them slowly.
    sent_to_slow: u64,
    /// Members that may be sent the manifest without having asked for it.
    manifests_left: u64,
    /// When the build came.
    seeding_since: Time,
    /// Hosts that said that nobody else serves them, and until when that is believed.
    starving: BTreeMap<HostId, Time>,
    /// When each chunk was last begun to be sent.
    sent_at: Vec<Option<Time>>,
    uploads: UploadQueue,
    /// Whether who runs it was told that somebody got wrong bytes from here.
    is_suspected: bool,
    /// For reports: none of them decides anything.
    stats: SeederStats,
    /// The least time from an offer to the request for it.
    answer: std::time::Duration,
    /// Since the last [`Seeder::check`]; only where assertions are on.
    events_unchecked: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeederTimer {
    AnswerJoiners,
    ExpireMembers,
    ExpireOffers,
    /// Look for chunks that nobody holds any more.
    InjectLost,
    UploadStuck,
    /// Offer others what somebody does not seem to pass on.
    BeginTrials,
}

impl TimerKind for SeederTimer {
    const ALL: &'static [Self] = &[
        Self::AnswerJoiners,
        Self::ExpireMembers,
        Self::ExpireOffers,
        Self::InjectLost,
        Self::UploadStuck,
        Self::BeginTrials,
    ];

    fn index(self) -> usize {
        self as usize
    }
}

impl Seeder {
    /// A seeder without a build; it already tracks whoever comes.
    pub fn new(config: SeederConfig, seed: u64, now: Time) -> Self {
        let mut timers = TimerTable::new();
        timers.set(SeederTimer::ExpireMembers, now + ANNOUNCE_INTERVAL);
        let slots = config
            .upload_slots
            .map_or(UploadSlots::measured_of_seeder(), UploadSlots::fixed);
        let uploads = UploadQueue::new(slots);
        Self {
            actions: VecDeque::new(),
            timers,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            tracker: Tracker::new(config.degree),
            build: None,
            signature: ByteBuffer::new(),
            injection: Injection::new(),
            copies: Copies::default(),
            silence: Silence::default(),
            budget: 0,
            sent: 0,
            sent_to_slow: 0,
            manifests_left: 0,
            seeding_since: now,
            starving: BTreeMap::new(),
            sent_at: Vec::new(),
            uploads,
            is_suspected: false,
            stats: SeederStats::default(),
            answer: std::time::Duration::ZERO,
            events_unchecked: 0,
            now,
            connected: BTreeMap::new(),
            config,
        }
    }

    /// Who vouches for the build, from now on: said to hosts with it. At most [`crate::wire::SIGNATURE_LENGTH_MAX`] bytes, or nobody
    /// is heard.
    pub fn sign(&mut self, signature: ByteBuffer) {
        if signature.len() <= SIGNATURE_LENGTH_MAX {
            self.signature = signature;
        }
    }

    /// What hosts are told of the build, once it is here.
    fn info(&self) -> Option<BuildInfo> {
        let manifest = self.build.as_ref()?;
        Some(BuildInfo {
            signature: self.signature.clone(),
            ..manifest.info()
        })
    }

    /// The build is here as a whole: tell the members and begin to inject. A second build for the same swarm is our bug.
    pub fn seed(&mut self, now: Time, manifest: Arc<Manifest>) {
        let now = self.begin(now);
        assert!(self.build.is_none(), "a swarm has one build");
        let chunks = self.in_order(manifest.chunks());
        self.injection.begin(chunks);
        self.copies = Copies::new(manifest.chunk_count());
        self.uploads.set_chunks(manifest.chunk_count());
        self.tracker.hurry();
        self.budget = u64::from(manifest.chunk_count()) * u64::from(self.config.copies_max);
        self.seeding_since = now;
        self.manifests_left =
            manifest.size().get() / MANIFESTS_PART / (size_of::<Hash>() as u64 * manifest.hashes().len().max(1) as u64);
        self.sent_at = vec![None; manifest.chunk_count() as usize];
        self.build = Some(manifest);
        // Clients first: they are to be ready for the manifest and the first chunks while the others are being told.
        self.fill_clients(now);
        let hosts: Vec<HostId> = self
            .tracker
            .hosts()
            .filter(|host| !self.injection.is_client(*host))
            .collect();
        let Some(info) = self.info() else {
            return;
        };
        for host in hosts {
            self.tell_of_build(host, &info);
        }
        self.pump_offers(now);
    }

    /// Takes in what happened. Remote nonsense becomes an [`Action::Disconnect`] or a counter.
    pub fn handle_event(&mut self, now: Time, event: Event) {
        event.check_order(self.config.host, &self.actions);
        let now = self.begin(now);
        match event {
            Event::Wakeup => {
                while let Some((timer, _due)) = self.timers.take_due(now) {
                    self.handle_timer(now, timer);
                }
            }
            Event::Connected(host) => self.handle_connected(now, host),
            Event::Disconnected(host) => self.forget(now, host),
            Event::Message(host, message) if self.connected.contains_key(&host) => {
                self.handle_message(now, host, message)
            }
            Event::ServingProgress { to, .. } => self.uploads.progress(now, to),
            Event::ChunkServed { to, chunk } => self.handle_served(now, to, chunk),
            Event::ChunkLost { chunk } => self.handle_lost(now, chunk),
            Event::ChunkFound { chunk } => self.handle_found(now, chunk),
            Event::Message(..)
            | Event::StoreOpened { .. }
            | Event::ChunkProgress { .. }
            | Event::ChunkStored { .. }
            | Event::ChunkCorrupt { .. }
            | Event::ChunkAborted { .. } => self.stats.messages_ignored += 1,
        }
        if cfg!(debug_assertions) {
            self.check_now_and_then();
        }
    }

    /// Something is told at `now`. The time to go by: it does not go back.
    fn begin(&mut self, now: Time) -> Time {
        self.now = self.now.max(now);
        self.now
    }

    fn handle_connected(&mut self, now: Time, host: HostId) {
        // Connected anew without a word that the connection before had ended.
        if self.connected.insert(host, now).is_some() {
            self.forget(now, host);
            self.connected.insert(host, now);
        }
        if self.tracker.is_expelled(now, host) {
            self.disconnect(now, host, DisconnectReason::Banned);
        }
    }

    /// A bug is to show where it is made: after every event where builds are small, as in tests. With large builds, as in
    /// forecasts, now and then.
    fn check_now_and_then(&mut self) {
        let chunks = self.manifest().map_or(0, |build| build.chunk_count());
        self.events_unchecked += 1;
        if chunks <= CHECKED_ALWAYS || self.events_unchecked >= CHECKED_EVERY {
            self.events_unchecked = 0;
            assert_eq!(self.check(), Ok(()), "{} has lost count", self.config.host);
        }
    }

    /// What of the invariants of this seeder is broken, for tests: an error is a bug of this crate.
    ///
    /// # Errors
    /// The first chunk, offer or holder that is not as it must be.
    pub fn check(&self) -> Result<(), String> {
        self.injection.check()?;
        self.copies.check(|host| self.connected.contains_key(&host))
    }

    /// The next thing to do, `None` when there is nothing until the next event.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to come back with [`Event::Wakeup`] at the latest.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.timers.next().map(|(_, at)| at)
    }

    /// The build that is being seeded.
    pub fn manifest(&self) -> Option<&Arc<Manifest>> {
        self.build.as_ref()
    }

    /// How many hosts have announced themselves and are still there.
    pub fn member_count(&self) -> usize {
        self.tracker.len()
    }

    /// How many of them have not said that they are complete.
    pub fn incomplete_count(&self) -> usize {
        self.tracker.incomplete_len()
    }

    /// What it has seen and done so far.
    pub fn stats(&self) -> &SeederStats {
        &self.stats
    }

    fn handle_timer(&mut self, now: Time, timer: SeederTimer) {
        match timer {
            SeederTimer::AnswerJoiners => {
                for (host, contacts) in self.tracker.answer_joiners(now, &mut self.rng) {
                    self.send(host, Message::Neighbours(contacts));
                }
                // There may be zones that were not there when a client became one.
                for host in self.injection.clients() {
                    self.link_to_other_zones(now, host);
                }
            }
            SeederTimer::ExpireMembers => {
                for host in self.tracker.silent(now, ANNOUNCE_INTERVAL * SIGNS_OF_LIFE_MISSED) {
                    self.disconnect(now, host, DisconnectReason::Silent);
                }
                self.timers.set(SeederTimer::ExpireMembers, now + ANNOUNCE_INTERVAL);
            }
            SeederTimer::ExpireOffers => self.expire_offers(now),
            SeederTimer::InjectLost => self.inject_lost(now),
            SeederTimer::UploadStuck => self.drop_stuck_receivers(now),
            SeederTimer::BeginTrials => self.begin_trials(now),
        }
    }

    fn handle_message(&mut self, now: Time, host: HostId, message: Message) {
        match message {
            Message::Announce {
                address,
                wanted,
                complete,
                zone,
                links,
            } => {
                let links = *links;
                let announced = Announced {
                    address,
                    wanted,
                    complete,
                    zone,
                    links,
                };
                self.handle_announce(now, host, announced);
            }
            Message::ManifestRequest => match self.build.clone() {
                Some(manifest) => self.send(host, Message::Manifest(manifest)),
                None => self.stats.messages_ignored += 1,
            },
            Message::HaveRequest => self.rescue(now, host),
            Message::Decline(chunks) => {
                for chunk in chunks {
                    if let Some(chunk) = self.chunk(chunk) {
                        self.others_have(host, chunk);
                    }
                    self.settle_offer(now, host, chunk);
                }
            }
            Message::HaveSet(theirs) => self.injection.claim(host, &theirs),
            Message::Request { chunk, held } => self.handle_request(now, host, chunk, held),
            Message::Cancel { chunk } => self.handle_cancel(now, host, chunk),
            Message::Complete => self.member_complete(now, host),
            Message::NotServing { host: about, chunk } => self.hear_not_serving(now, host, about, chunk),
            Message::Complaint { host: about, chunk } if about == self.config.host => {
                self.hear_complaint(host, chunk);
            }
            Message::Complaint { host: about, chunk } => self.hear_complaint_of(now, host, about, chunk),
            Message::Hello { .. }
            | Message::Proof(_)
            | Message::Neighbours(_)
            | Message::Build(_)
            | Message::Manifest(_)
            | Message::Serving { .. }
            | Message::Busy { .. }
            | Message::Zone(_)
            | Message::Invite { .. }
            | Message::Have(_)
            | Message::HaveAll
            | Message::Offer(_)
            | Message::Lost { .. }
            | Message::Reject { .. } => self.stats.messages_ignored += 1,
        }
    }

    fn handle_announce(&mut self, now: Time, host: HostId, announced: Announced) {
        self.copies.member_here(host);
        let complete = announced.complete;
        let answer_at = self.tracker.announce(now, host, announced);
        // Before it is told what there is: it may be the first after all others have gone.
        if self.copies.is_certain() {
            self.inject_lost(now);
        }
        match answer_at {
            Some(at) => self.timers.set(SeederTimer::AnswerJoiners, at),
            None => self.send(host, Message::Neighbours(Vec::new())),
        }
        // Said each time: the first may have been lost.
        if let Some(info) = self.info().filter(|_| !complete) {
            self.send(host, Message::Build(Box::new(info)));
            self.fill_clients(now);
            self.pump_offers(now);
        }
    }

    /// A host got wrong bytes from here. One may lie, so nothing is done but to say so, once.
    fn hear_complaint(&mut self, by: HostId, chunk: u32) {
        if !self.tracker.contains(by) || self.chunk(chunk).is_none() {
            self.stats.messages_ignored += 1;
            return;
        }
        self.stats.complaints_of_self += 1;
        if !std::mem::replace(&mut self.is_suspected, true) {
            self.actions.push_back(Action::Suspect { by, chunk });
        }
    }

    /// Who sends wrong bytes is as good as silent before it is expelled.
    fn hear_complaint_of(&mut self, now: Time, by: HostId, about: HostId, chunk: u32) {
        if self.tracker.contains(by) && self.tracker.complain(now, by, about) {
            self.stats.members_expelled += 1;
            self.copies.discard(about);
            self.disconnect(now, about, DisconnectReason::CorruptChunk);
            self.inject_lost(now);
        } else if self.copies.has_some(about) {
            self.hear_not_serving(now, by, about, chunk);
        }
    }

    fn member_complete(&mut self, now: Time, host: HostId) {
        if self.tracker.mark_complete(host) {
            self.stats.members_complete += 1;
        }
        self.starving.remove(&host);
        self.drop_client(now, host);
    }

    fn forget(&mut self, now: Time, host: HostId) {
        self.connected.remove(&host);
        let was_complete = self.tracker.remove(host);
        // Who was served before it announced itself holds chunks and is no member yet.
        if was_complete.is_some() || self.copies.has_some(host) {
            let at = self.copies.member_gone(now, host, was_complete.unwrap_or_default());
            self.timers.set_at_latest(SeederTimer::InjectLost, at);
        }
        self.starving.remove(&host);
        self.silence.forget(host);
        self.uploads.remove_host(host);
        self.drop_client(now, host);
        self.pump_uploads(now);
    }

    fn disconnect(&mut self, now: Time, host: HostId, reason: DisconnectReason) {
        self.forget(now, host);
        self.actions.push_back(Action::Disconnect { host, reason });
    }

    fn chunk(&self, chunk: u32) -> Option<ChunkIndex> {
        self.build.as_ref()?.chunk(chunk)
    }

    fn send(&mut self, host: HostId, message: Message) {
        self.actions.push_back(Action::Send(host, message));
    }
}

/// Manifests that nobody has asked for take one in so many parts of what the build does.
const MANIFESTS_PART: u64 = 256;
/// Signs of life that a member may miss.
const SIGNS_OF_LIFE_MISSED: u32 = 3;
/// Seeders of builds of up to so many chunks are checked after every event, where assertions are on.
const CHECKED_ALWAYS: u32 = 100;
/// Those of larger ones after so many.
const CHECKED_EVERY: u32 = 64;

#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;
