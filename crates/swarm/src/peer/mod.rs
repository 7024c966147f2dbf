//! A host's state machine: joins the overlay, learns of the build, fetches it from neighbours and serves them.
//!
//! Invariant: what this host says it has is verified and stored. Parts with decisions of their own: the tracker link
//! (who to connect to), the planner (what to ask of whom), the upload queue (whom to serve).

mod config;
mod contacts;
mod downlink;
mod download;
mod gossip;
mod ledger;
mod losses;
mod manifest_exchange;
mod order;
mod planner;
mod status;
mod table;
mod tracker_link;
mod uploads;
mod window;
mod zones;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::event::{Action, DisconnectReason, Event};
use crate::holdings::{Heard, Source};
use crate::manifest::{BuildInfo, Manifest};
use crate::neighbours::{Neighbour, Neighbours, checked};
use crate::stats::{Payload, PeerStats};
use crate::timer_table::{TimerKind, TimerTable};
use crate::units::{ChunkIndex, HostId, Time};
use crate::upload_queue::{Served, UploadQueue};
use crate::upload_slots::UploadSlots;
use crate::verifier::Signed;
use crate::wire::Message;
pub use config::PeerConfig;
use contacts::Contacts;
use download::Download;
use tracker_link::TrackerLink;
use zones::Imports;

pub(crate) use tracker_link::ANNOUNCE_INTERVAL;

/// A host's side of the protocol.
///
/// Drive it: after it is made and after every [`Peer::handle_event`], call [`Peer::poll_action`] until `None` and carry the actions out;
/// then wait for input or for the time of [`Peer::next_wakeup`].
///
/// What a driver may count on, and is counted on for:
/// - *Time* does not go back. Where it seems to, as with threads that read a clock before they wait for their turn, no time has
///   passed since the event before.
/// - *Actions* are carried out in their order before anything else is told, but for what carrying one out brings about
///   ([`Event::StoreOpened`], [`Event::ChunkServed`], [`Event::Disconnected`]). That may be told at once, and what follows from it
///   comes after the actions that wait.
/// - *[`Peer::expects`]* is valid from one event to the next. It is asked when payload comes, and again when a chunk is whole:
///   meanwhile another copy may have come. [`Event::ChunkStored`] is told only of what is expected then.
/// - *Connections*: [`Event::Connected`] is told of a member before anything else, and after [`Event::Disconnected`] or
///   [`Action::Disconnect`] nothing else is told of it. What is told all the same is counted and ignored.
pub struct Peer {
    config: PeerConfig,
    /// Of the last event.
    now: Time,
    /// Where knowledge of what neighbours hold comes from.
    source: Source,
    actions: VecDeque<Action>,
    timers: TimerTable<Timer>,
    rng: Xoshiro256PlusPlus,
    tracker: TrackerLink,
    neighbours: Neighbours,
    /// Whom it does not talk to, and until when.
    banned: BTreeMap<HostId, Time>,
    build: Build,
    uploads: UploadQueue,
    /// In a box, since few events need it: all that stands in a peer itself comes into the processor's cache with each of them.
    imports: Box<Imports>,
    /// Likewise.
    contacts: Box<Contacts>,
    stats: PeerStats,
    payload: Payload,
    /// What neighbours were last told of whether requests wait here.
    told_busy: bool,
    /// Something has happened after which there may be more to ask for.
    refill: bool,
    /// How many chunks other zones are to be invited to when what has happened is taken in; 0 where nothing is new for them.
    invite: usize,
    /// Different chunks to ask for at a time.
    window: usize,
    /// Since the last [`Peer::check`]; only where assertions are on.
    events_unchecked: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// Announce, as a sign of life or for more neighbours; to neighbours where no seeder can be reached.
    Announce,
    /// Connect to lost seeders again.
    Reconnect,
    /// Ask somebody else for the manifest.
    ManifestRetry,
    /// Tell neighbours what was acquired, and how busy this host is.
    Flush,
    /// Look for requests that are late or overdue.
    RequestExpiry,
    /// Nothing to ask for: ask neighbours what they have.
    Starved,
    /// The last chunks are on their way, and one of them takes longer than usual.
    Late,
    /// Look for receivers that do not take what they asked for.
    UploadStuck,
}

impl TimerKind for Timer {
    const ALL: &'static [Self] = &[
        Self::Announce,
        Self::Reconnect,
        Self::ManifestRetry,
        Self::Flush,
        Self::RequestExpiry,
        Self::Starved,
        Self::Late,
        Self::UploadStuck,
    ];

    fn index(self) -> usize {
        self as usize
    }
}

/// What is known of the build.
#[expect(
    clippy::large_enum_variant,
    reason = "for most of its life a peer is at the largest, and a box is one more miss of the cache"
)]
enum Build {
    Unknown,
    Announced {
        info: BuildInfo,
        /// Who said so, and what of it was signed.
        by: HostId,
        signed: Option<Signed>,
        /// Times that the manifest was asked for, and of whom and when it was last.
        asked: u32,
        asked_of: Option<HostId>,
        asked_at: Time,
    },
    Opening {
        info: BuildInfo,
        manifest: Arc<Manifest>,
        /// From asking for the manifest to having it: a first measure of the network.
        round_trip: Duration,
    },
    Fetching(Download),
}

impl Peer {
    /// A peer that begins by connecting to its seeders. Equal arguments and events give equal actions.
    pub fn new(config: PeerConfig, seed: u64, now: Time) -> Self {
        Self::going_by(Source::Messages, config, seed, now)
    }

    fn going_by(source: Source, config: PeerConfig, seed: u64, now: Time) -> Self {
        let slots = config.upload_slots.map_or(UploadSlots::measured(), UploadSlots::fixed);
        let mut peer = Self {
            source,
            now,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            tracker: TrackerLink::new(config.seeders.len()),
            neighbours: Neighbours::default(),
            banned: BTreeMap::new(),
            build: Build::Unknown,
            uploads: UploadQueue::new(slots),
            imports: Box::default(),
            contacts: Box::default(),
            stats: PeerStats::default(),
            payload: Payload::default(),
            told_busy: false,
            refill: false,
            invite: 0,
            window: config.chunks_in_flight_max.unwrap_or(window::AT_FIRST),
            events_unchecked: 0,
            actions: VecDeque::new(),
            timers: TimerTable::new(),
            config,
        };
        peer.connect_seeders(now);
        peer
    }

    /// Takes in what happened. Remote nonsense becomes an [`Action::Disconnect`] or a counter. A peer that goes by a table is told by
    /// [`Peer::handle_event_with`]: without one it would never learn what its neighbours hold.
    pub fn handle_event(&mut self, now: Time, event: Event) {
        assert_eq!(self.source, Source::Messages, "{} goes by a table", self.config.host);
        self.handle_event_with(now, event, &Heard);
    }

    /// Something is told at `now`. The time to go by: it does not go back.
    #[inline]
    fn begin(&mut self, now: Time) -> Time {
        self.now = self.now.max(now);
        self.excuse_own_pause(self.now);
        self.now
    }

    /// What happened, but for what follows from it.
    fn take_in(&mut self, now: Time, event: Event) {
        match event {
            Event::Wakeup => {
                while let Some((timer, due)) = self.timers.take_due(now) {
                    self.learn_own_lag(timer, now.since(due));
                    self.handle_timer(now, timer);
                }
            }
            Event::Connected(host) => self.handle_connected(now, host),
            Event::Disconnected(host) => self.handle_disconnected(now, host),
            Event::Message(host, message) => self.handle_message(now, host, message),
            Event::StoreOpened { held } => self.handle_store_opened(now, *held),
            Event::ChunkProgress { from, chunk } => self.handle_payload(now, from, chunk),
            Event::ServingProgress { to, .. } => self.uploads.progress(now, to),
            Event::ChunkStored { from, chunk } => {
                debug_assert!(
                    self.expects(from, chunk),
                    "{chunk} from {from} is stored and was not expected"
                );
                self.handle_chunk_stored(now, from, chunk);
            }
            Event::ChunkCorrupt { from, chunk } => self.handle_chunk_corrupt(now, from, chunk),
            Event::ChunkAborted { from, chunk } => self.request_failed(from, chunk),
            Event::ChunkLost { chunk } => self.handle_chunk_lost(now, chunk),
            Event::ChunkFound { chunk } => self.handle_chunk_found(now, chunk),
            Event::ChunkServed { to, chunk } => {
                self.uploads.progress(now, to);
                if let Some(Served { taken, .. }) = self.uploads.finish(now, to, chunk) {
                    let bytes = self.manifest().map_or(0, |manifest| manifest.length(chunk).into());
                    self.uploads.learn(now, taken, bytes);
                    self.measure();
                }
                self.pump_uploads(now);
            }
        }
    }

    /// A bug is to show where it is made: after every event where builds are small, as in tests. With large builds, as in
    /// forecasts, now and then.
    fn check_now_and_then(&mut self) {
        let is_small = self.progress().is_none_or(|(_, chunks)| chunks <= CHECKED_ALWAYS);
        self.events_unchecked += 1;
        if is_small || self.events_unchecked >= CHECKED_EVERY {
            self.events_unchecked = 0;
            assert_eq!(self.check(), Ok(()), "{} has lost count", self.config.host);
        }
    }

    /// What of the invariants of this peer is broken, for tests: an error is a bug of this crate.
    ///
    /// # Errors
    /// The first chunk or request that is not as it must be.
    pub fn check(&self) -> Result<(), String> {
        self.download().map_or(Ok(()), |download| download.ledger.check())
    }

    /// The next thing to do, `None` when there is nothing until the next event.
    #[inline]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to come back with [`Event::Wakeup`] at the latest.
    #[inline]
    pub fn next_wakeup(&self) -> Option<Time> {
        self.timers.next_at()
    }

    #[inline]
    fn download(&self) -> Option<&Download> {
        match &self.build {
            Build::Fetching(download) => Some(download),
            Build::Unknown | Build::Announced { .. } | Build::Opening { .. } => None,
        }
    }

    fn handle_timer(&mut self, now: Time, timer: Timer) {
        match timer {
            Timer::Announce => self.announce(now),
            Timer::Reconnect => self.reconnect_seeders(now),
            Timer::ManifestRetry => self.request_manifest(now),
            Timer::Flush => self.flush(),
            Timer::RequestExpiry => self.expire_requests(now),
            Timer::Late => self.refill = true,
            Timer::Starved => self.ask_what_neighbours_have(now),
            Timer::UploadStuck => self.drop_stuck_receivers(now),
        }
    }

    fn handle_connected(&mut self, now: Time, host: HostId) {
        // Connected anew without a word that the connection before had ended.
        self.forget_neighbour(now, host);
        self.banned.retain(|_, until| now < *until);
        if self.banned.contains_key(&host) {
            self.disconnect(now, host, DisconnectReason::Banned);
            return;
        }
        let is_seeder = self.config.is_seeder(host);
        if !is_seeder && self.neighbour_count() >= self.neighbours_max() && !self.make_room(now) {
            self.tracker.link_lost(host);
            self.actions.push_back(Action::Disconnect {
                host,
                reason: DisconnectReason::TooManyNeighbours,
            });
            return;
        }
        let chunk_count = self.download().map_or(0, |d| d.manifest.chunk_count());
        let remote = self.config.zone.is_some() && !is_seeder;
        if !self.neighbours.insert(host, chunk_count, remote) {
            return;
        }
        if let Some(zone) = self.config.zone
            && !is_seeder
        {
            self.send(host, Message::Zone(zone));
        }
        if is_seeder {
            self.seeder_connected(now, host);
        } else {
            self.tracker.link_up(host);
            self.greet_member(host);
            self.introduce_holdings(host);
        }
    }

    fn handle_disconnected(&mut self, now: Time, host: HostId) {
        let was_neighbour = self.forget_neighbour(now, host);
        if matches!(&self.build, Build::Announced { asked_of, .. } if *asked_of == Some(host)) {
            self.request_manifest(now);
        }
        if self.config.is_seeder(host) {
            self.seeder_lost(now, host);
        } else if was_neighbour {
            self.announce_soon(now);
        } else {
            self.tracker.link_lost(host);
            self.contacts.unreachable(host);
            self.dial_failed(now);
        }
    }

    fn handle_message(&mut self, now: Time, host: HostId, message: Message) {
        let from_seeder = self.config.is_seeder(host);
        if !self.neighbours.contains(host) {
            self.stats.messages_ignored += 1;
            return;
        }
        match message {
            Message::Neighbours(contacts) if from_seeder => self.dial(now, host, contacts),
            Message::Neighbours(contacts) => self.handle_member_contacts(now, host, contacts),
            Message::Announce {
                address, wanted, links, ..
            } if !from_seeder => self.handle_member_announce(now, host, address, wanted, &links),
            Message::Build(info) if from_seeder => self.learn_of_build(now, host, *info),
            Message::ManifestRequest => self.send_manifest(host),
            Message::Manifest(manifest) => self.handle_manifest(now, host, manifest),
            Message::Offer(chunks) if from_seeder => self.handle_offer(now, host, &chunks),
            Message::Have(chunks) if !from_seeder => self.handle_have(now, host, &chunks),
            Message::HaveSet(set) if !from_seeder => {
                let chunks: Vec<u32> = set.iter().map(ChunkIndex::get).collect();
                self.handle_have(now, host, &chunks);
            }
            Message::HaveAll => self.handle_have_all(now, host),
            Message::HaveRequest => self.introduce_holdings(host),
            Message::Request { chunk, held } => self.handle_request(now, host, chunk, held),
            Message::Serving { chunk, waited } => self.handle_serving(now, host, chunk, waited),
            Message::Busy { waiting } => self.neighbours.set_busy(host, waiting),
            Message::Zone(zone) => self.handle_zone(host, zone),
            Message::Invite { chunk } if !from_seeder => self.handle_invite(now, host, chunk),
            Message::Cancel { chunk } => self.handle_cancel(host, chunk),
            Message::Lost { chunk } => self.handle_lost_at(now, host, chunk),
            Message::Reject { chunk, reason } => self.handle_reject(now, host, chunk, reason),
            Message::Hello { .. }
            | Message::Proof(_)
            | Message::Announce { .. }
            | Message::Build(_)
            | Message::Offer(_)
            | Message::Decline(_)
            | Message::Have(_)
            | Message::HaveSet(_)
            | Message::Invite { .. }
            | Message::Complete
            | Message::NotServing { .. }
            | Message::Complaint { .. } => self.stats.messages_ignored += 1,
        }
    }

    /// Chunks corrupt, manifest wrong, nonsense: this neighbour is not talked to again for long.
    fn ban(&mut self, now: Time, host: HostId, reason: DisconnectReason) {
        let is_seeder = self.config.is_seeder(host);
        if !is_seeder && self.banned.len() < BANNED_MAX && self.banned.insert(host, now + BANNED_FOR).is_none() {
            self.stats.neighbours_banned += 1;
        }
        self.disconnect(now, host, reason);
        if is_seeder {
            self.seeder_lost(now, host);
        } else {
            self.announce_soon(now);
        }
    }

    fn disconnect(&mut self, now: Time, host: HostId, reason: DisconnectReason) {
        self.forget_neighbour(now, host);
        self.actions.push_back(Action::Disconnect { host, reason });
    }

    fn forget_neighbour(&mut self, now: Time, host: HostId) -> bool {
        let Some(gone) = self.neighbours.remove(host) else {
            return false;
        };
        if !self.config.is_seeder(host) {
            self.tracker.link_lost(host);
        }
        self.uploads.remove_host(host);
        if self.config.zone.is_some() {
            self.imports.host_gone(host);
        }
        if let Build::Fetching(download) = &mut self.build {
            download.neighbour_gone(&gone);
        }
        self.pump_uploads(now);
        self.refill = true;
        true
    }

    fn send(&mut self, host: HostId, message: Message) {
        self.actions.push_back(Action::Send(host, message));
    }

    /// Gives up a neighbour that has missed so many requests that it does not count as one. Whether there was one.
    fn make_room(&mut self, now: Time) -> bool {
        let useless = self.members().filter(|n| n.is_useless());
        let Some(host) = useless.max_by_key(|n| n.misses()).map(|n| n.host) else {
            return false;
        };
        self.disconnect(now, host, DisconnectReason::NotServing);
        true
    }

    /// Neighbours that count as such, seeders not among them.
    fn useful_count(&self) -> usize {
        self.members().filter(|n| !n.is_useless()).count()
    }

    /// Neighbours but for seeders.
    fn members(&self) -> impl Iterator<Item = &Neighbour> {
        self.neighbours.iter().filter(|n| !self.config.is_seeder(n.host))
    }

    /// Room for those who dial beyond the degree: late joiners, and hosts that lost theirs.
    fn neighbours_max(&self) -> usize {
        2 * usize::from(self.config.degree) + 2
    }

    #[inline]
    fn random_below(&mut self, bound: usize) -> usize {
        self.rng.random_range(0..bound.max(1))
    }
}

/// Builds of up to so many chunks are checked after every event, where assertions are on.
const CHECKED_ALWAYS: u32 = 100;
/// Larger ones after so many.
const CHECKED_EVERY: u32 = 64;
/// How long a member is not talked to that sent something wrong: it may have been a disk that was replaced.
const BANNED_FOR: Duration = Duration::from_secs(600);
/// Banned members remembered at most; more than any fleet's neighbours in one deploy.
const BANNED_MAX: usize = 1024;

/// The checked chunks, or `None` where the neighbour names one that does not exist.
fn chunks_of(manifest: &Manifest, chunks: &[u32]) -> Option<Vec<ChunkIndex>> {
    checked(chunks, manifest.chunk_count())
}

#[cfg(test)]
mod tests;
