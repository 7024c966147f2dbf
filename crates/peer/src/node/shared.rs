//! The core of a node with its connections, behind one lock. Whoever brings news (a connection's handler, the timer, a
//! caller) tells the core and carries its actions out on the spot, messages included; for chunks the connection's task is
//! woken. The lock is held for microseconds and never while waiting.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::swarm::{ConnectionId, DialError};
use parking_lot::Mutex;
use smallvec::SmallVec;
use swarm::wire::Frame;
use swarm::{
    Action, ByteRate, Bytes as ByteCount, Event, Hash, HostId, Manifest, Message, Peer, Seeder, SwarmId, Time,
};

use super::alarm::Alarm;
use super::carrier::Outlet;
use super::disk_jobs::DiskJobs;
use super::downlinks::{Downlink, Downlinks};
use super::endpoint::{Command, Hub};
use super::link::{Link, PeerMark};
use super::losses::Looking;
use super::report::{Observer, Traffic};
use super::{Clock, Limits, Shaping};
use crate::rate_limit::TokenBucket;
use crate::shared_link::SharedLink;
use crate::store::{ChunkStore, StoreOpener};

#[expect(clippy::large_enum_variant, reason = "nearly all nodes are peers")]
pub(super) enum Core {
    Peer(Peer),
    Seeder(Seeder),
}

pub(super) struct Shared {
    pub(super) swarm: SwarmId,
    pub(super) host: HostId,
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    pub(super) downlinks: Downlinks,
    pub(super) disk: DiskJobs,
    pub(super) hub: Arc<Hub>,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    pub(super) core: Option<Core>,
    pub(super) links: HashMap<HostId, Link<Outlet>>,
    /// Whose connection's tasks have something to do besides reading. Nearly always there are none, and a task that was woken
    /// to read need not look for its link to know that.
    pub(super) attention: SmallVec<[HostId; 4]>,
    /// Whose connection brought the news that is being handled: its task is awake.
    pub(super) awake: Option<HostId>,
    pub(super) servings: u64,
    /// The addresses from which it reaches its seeders, and with that where others best reach it.
    pub(super) towards_seeders: Vec<IpAddr>,
    /// Who its seeders are.
    pub(super) seeders: SmallVec<[PeerMark; 1]>,
    /// Whose addresses these are, of members of this seeder's swarm that were seen there.
    pub(super) claimed: HashMap<(IpAddr, u16), HostId>,
    /// Rings when the core wants to be woken.
    pub(super) alarm: Alarm,
    /// Events that carrying out an action gave rise to.
    pub(super) feedback: VecDeque<Event>,
    pub(super) store_opener: StoreOpener,
    pub(super) store: Option<Arc<dyn ChunkStore>>,
    /// Whether a thread looks through the store.
    pub(super) looking: Looking,
    /// Whether the build is where it belongs. Until then nobody is told that this host is done with it: a seeder may let a build go
    /// that all hosts have, and one that is killed while it installs would lack it for ever.
    pub(super) is_in_place: bool,
    /// Who is told as soon as it is.
    pub(super) told_when_in_place: SmallVec<[HostId; 1]>,
    pub(super) manifest: Option<Arc<Manifest>>,
    pub(super) uplink: Option<TokenBucket>,
    pub(super) downlink: Option<Downlink>,
    pub(super) shared_up: Option<SharedLink>,
    pub(super) shared_down: Option<SharedLink>,
    pub(super) traffic: Traffic,
    pub(super) joined: bool,
    pub(super) observer: Arc<dyn Observer>,
}

impl Shared {
    pub(super) fn new(
        hub: Arc<Hub>,
        swarm: SwarmId,
        clock: Clock,
        shaping: Shaping,
        limits: Limits,
        store_opener: StoreOpener,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let burst = ByteCount::new(limits.segment.into());
        // A segment that was sent at the sender's rate has been passing the downlink meanwhile.
        let downlink = shaping.downlink.map(|rate| TokenBucket::new(rate, burst));
        let downlink = downlink.map(|bucket| Arc::new(Mutex::new(bucket)));
        let host = hub.number();
        shaping.downlinks.place(host, shaping.zone);
        if let Some(downlink) = &downlink {
            shaping.downlinks.add(host, Arc::clone(downlink));
        }
        Self {
            swarm,
            host,
            clock,
            limits,
            hub,
            downlinks: shaping.downlinks,
            disk: DiskJobs::default(),
            state: Mutex::new(State {
                core: None,
                links: HashMap::new(),
                attention: SmallVec::new(),
                awake: None,
                servings: 0,
                towards_seeders: Vec::new(),
                seeders: SmallVec::new(),
                claimed: HashMap::new(),
                alarm: Alarm::default(),
                feedback: VecDeque::new(),
                store_opener,
                store: None,
                looking: Looking::default(),
                is_in_place: false,
                told_when_in_place: SmallVec::new(),
                manifest: None,
                // An uplink that is late by a moment of scheduling may catch up, but sends nothing ahead of its rate.
                uplink: shaping.uplink.map(|rate| TokenBucket::new(rate, catch_up(rate))),
                downlink,
                shared_up: shaping.shared_up,
                shared_down: shaping.shared_down,
                traffic: Traffic::default(),
                joined: false,
                observer,
            }),
        }
    }

    pub(super) fn start(self: &Arc<Self>, core: Core) {
        let mut state = self.state.lock();
        state.core = Some(core);
        self.carry_out(&mut state);
    }

    /// Gives it other links, where it has limited ones.
    pub(super) fn set_links(&self, uplink: ByteRate, downlink: ByteRate) {
        let mut state = self.state.lock();
        if let Some(bucket) = &mut state.uplink {
            bucket.set_rate(uplink);
        }
        if let Some(bucket) = &state.downlink {
            bucket.lock().set_rate(downlink);
        }
    }

    /// Ends its part in the swarm: all its connections are closed.
    pub(super) fn stop(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.traffic = state.traffic();
        state.core = None;
        let hosts: Vec<HostId> = state.links.keys().copied().collect();
        for host in hosts {
            if let Some(link) = state.remove_link(host) {
                self.hub.command(Command::Close(link.connection));
            }
        }
        drop(state);
        self.hub.leave(self.swarm, self);
    }

    /// Where this process listens has changed.
    pub(super) fn tell_address(self: &Arc<Self>) {
        let mut state = self.state.lock();
        self.set_address(&mut state);
        self.carry_out(&mut state);
    }

    pub(super) fn sign(&self, signature: bytes::Bytes) {
        if let Some(Core::Seeder(seeder)) = &mut self.state.lock().core {
            seeder.sign(signature);
        }
    }

    pub(super) fn seed(self: &Arc<Self>, manifest: Arc<Manifest>, store: Arc<dyn ChunkStore>) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.manifest = Some(Arc::clone(&manifest));
        state.store = Some(store);
        match &mut state.core {
            Some(Core::Seeder(seeder)) => seeder.seed(now, manifest),
            Some(Core::Peer(_)) | None => tracing::error!(host = %self.host, "only a started seeder can seed"),
        }
        self.carry_out(&mut state);
    }

    /// A connection's other end has said what it is for. Who it is, where the connection is wanted.
    pub(super) fn link_up(self: &Arc<Self>, connection: ConnectionId, peer: PeerMark) -> Option<HostId> {
        let (mut state, now) = (self.state.lock(), self.clock.now());
        let host = peer.number();
        if state.core.is_none() || host == self.host || !state.is_who_it_seems(peer) {
            return None;
        }
        if let Some(link) = state.links.get(&host) {
            if !link.gives_way_to(peer, now) {
                return None;
            }
            self.cut(&mut state, host);
        }
        let mut link = Link::new(connection, peer, now, self.downlinks.of(host));
        // A seeder sends the manifest with what it says of its build.
        let is_seeder = matches!(&state.core, Some(Core::Peer(core)) if core.is_seeder(host));
        link.manifests_owed = u8::from(is_seeder);
        state.links.insert(host, link);
        tracing::debug!(host = %self.host, other = %host, links = state.links.len(), "connected");
        self.tell(&mut state, Event::Connected(host));
        Some(host)
    }

    /// Ends a connection that leads nowhere any more.
    fn cut(self: &Arc<Self>, state: &mut State, host: HostId) {
        if let Some(link) = state.remove_link(host) {
            self.hub.command(Command::Close(link.connection));
            self.tell(state, Event::Disconnected(host));
        }
    }

    /// This machine has lost an address. Connections from there are dead though nobody says so: all are made anew, where the
    /// seeders were reached from it.
    pub(super) fn address_lost(self: &Arc<Self>, ip: IpAddr) {
        let mut state = self.state.lock();
        if !state.towards_seeders.contains(&ip) {
            return;
        }
        state.towards_seeders.retain(|known| *known != ip);
        let hosts: Vec<HostId> = state.links.keys().copied().collect();
        for host in hosts {
            self.cut(&mut state, host);
        }
    }

    /// A connection has ended; `host` is who it was made for, where we made it.
    pub(super) fn link_down(self: &Arc<Self>, connection: ConnectionId, host: Option<HostId>) {
        let mut state = self.state.lock();
        let of_link = state
            .links
            .iter()
            .find(|(_, link)| link.connection == connection)
            .map(|(host, _)| *host);
        if let Some(host) = of_link {
            state.remove_link(host);
            self.tell(&mut state, Event::Disconnected(host));
        } else if let Some(host) = host
            && !state.links.contains_key(&host)
        {
            self.tell(&mut state, Event::Disconnected(host));
        }
    }

    /// A dial has failed.
    pub(super) fn dial_failed(self: &Arc<Self>, connection: ConnectionId, host: HostId, error: &DialError) {
        self.state.lock().observer.unreachable(self.host, host, error);
        self.link_down(connection, Some(host));
    }

    pub(super) fn handle_message(self: &Arc<Self>, from: HostId, mut message: Message) {
        let mut state = self.state.lock();
        if self.is_as_shown(&mut state, from, &mut message) {
            self.tell_awake(&mut state, from, Event::Message(from, message));
        }
    }

    /// Wakes the core whenever it wants to be woken. Ends with the node.
    pub(super) async fn keep_time(self: Arc<Self>) -> Infallible {
        std::future::poll_fn(|cx| self.poll_time(cx)).await
    }

    fn poll_time(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Infallible> {
        let mut state = self.state.lock();
        loop {
            state.alarm.begin();
            let wakeup = state.next_wakeup();
            if wakeup.is_some_and(|at| at <= self.clock.now()) {
                self.tell(&mut state, Event::Wakeup);
            } else if state.alarm.set(wakeup, self.clock, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Tells the core of something that came from the connection with `from`, whose task is awake: it need not be woken.
    pub(super) fn tell_awake(self: &Arc<Self>, state: &mut State, from: HostId, event: Event) {
        state.awake = Some(from);
        self.tell(state, event);
        state.awake = None;
    }

    pub(super) fn tell(self: &Arc<Self>, state: &mut State, event: Event) {
        let now = self.clock.now();
        ACTIONS.with_borrow_mut(|actions| {
            state.swap_actions(actions);
            state.handle_event(self.host, now, event);
            self.carry_out(state);
            state.swap_actions(actions);
        });
    }

    pub(super) fn carry_out(self: &Arc<Self>, state: &mut State) {
        loop {
            while let Some(action) = state.poll_action() {
                state.observer.action(self.host, &action);
                self.carry_out_one(state, action);
            }
            let Some(event) = state.feedback.pop_front() else {
                break;
            };
            state.handle_event(self.host, self.clock.now(), event);
        }
        if !state.joined
            && let Some(Core::Peer(peer)) = &state.core
            && peer.has_joined()
        {
            state.joined = true;
            state.observer.joined(self.host);
        }
        if let Some(at) = state.next_wakeup() {
            state.alarm.set_at_latest(at, self.clock);
        }
    }
}

impl State {
    /// What it has moved, and what it need not move.
    pub(super) fn traffic(&self) -> Traffic {
        let reused = self.store.as_ref().map_or(0, |store| store.reused());
        let mut traffic = Traffic { reused, ..self.traffic };
        if let Some(Core::Peer(peer)) = &self.core {
            let payload = peer.payload();
            traffic.from_seeder = payload.from_seeders;
            traffic.from_peers = payload.from_peers;
            traffic.wasted = payload.wasted;
        }
        traffic
    }

    /// Payload came and was thrown away.
    pub(super) fn discarded(&mut self, bytes: u32) {
        if let Some(Core::Peer(peer)) = &mut self.core {
            peer.count_discarded(bytes.into());
        }
    }

    /// What may be said now of `message`: that the build is complete waits until it is in place.
    pub(super) fn as_far_as_in_place(&mut self, to: HostId, mut message: Message) -> Option<Message> {
        // Nearly all say something else, and are not looked at further.
        let (Message::Complete | Message::Announce { complete: true, .. }) = message else {
            return Some(message);
        };
        if self.is_in_place || self.store.as_ref().is_none_or(|store| !store.is_blocking()) {
            return Some(message);
        }
        if !self.told_when_in_place.contains(&to) {
            self.told_when_in_place.push(to);
        }
        match &mut message {
            Message::Announce { complete, .. } => {
                *complete = false;
                Some(message)
            }
            _ => None,
        }
    }

    /// Sends a control frame. How many bytes wait then because the connection does not take them.
    pub(super) fn post(&mut self, to: HostId, frame: &Frame) -> usize {
        let Some(link) = self.links.get_mut(&to) else {
            return 0;
        };
        self.traffic.control_sent += link.post(frame) as u64;
        let (is_stuck, waiting) = (link.is_stuck(), link.waiting());
        if is_stuck {
            self.ask_attention(to);
        }
        waiting
    }

    /// Whether `message` is the largest there is, and so much waits for `to` already: who asks for it again and again and reads nothing is
    /// not to fill this machine's memory.
    pub(super) fn has_enough_of(&self, to: HostId, message: &Message) -> bool {
        let Message::Manifest(manifest) = message else {
            return false;
        };
        let enough = (size_of::<Hash>() * manifest.chunk_count() as usize).max(MANIFEST_BYTES_LEAST);
        self.links.get(&to).is_some_and(|link| link.waiting() >= enough)
    }

    /// Whether a member with a seeder's number has that seeder's key.
    fn is_who_it_seems(&self, peer: PeerMark) -> bool {
        let of_seeder = matches!(&self.core, Some(Core::Peer(core)) if core.is_seeder(peer.number()));
        !of_seeder || self.seeders.contains(&peer)
    }

    pub(super) fn ask_attention(&mut self, host: HostId) {
        if !self.attention.contains(&host) {
            self.attention.push(host);
        }
    }

    pub(super) fn remove_link(&mut self, host: HostId) -> Option<Link<Outlet>> {
        self.attention.retain(|other| *other != host);
        let link = self.links.remove(&host)?;
        if let Some(claimed) = link.claimed {
            self.claimed.remove(&claimed);
        }
        Some(link)
    }

    /// Tells the core of something, and whoever looks on before.
    fn handle_event(&mut self, host: HostId, now: Time, event: Event) {
        self.observer.event(host, now, &event);
        match &mut self.core {
            Some(Core::Peer(peer)) => peer.handle_event(now, event),
            Some(Core::Seeder(seeder)) => seeder.handle_event(now, event),
            None => {}
        }
    }

    /// Lends the core a queue for its actions, or takes it back.
    fn swap_actions(&mut self, actions: &mut VecDeque<Action>) {
        if let Some(Core::Peer(peer)) = &mut self.core {
            peer.swap_actions(actions);
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        match &mut self.core {
            Some(Core::Peer(peer)) => peer.poll_action(),
            Some(Core::Seeder(seeder)) => seeder.poll_action(),
            None => None,
        }
    }

    fn next_wakeup(&self) -> Option<Time> {
        match &self.core {
            Some(Core::Peer(peer)) => peer.next_wakeup(),
            Some(Core::Seeder(seeder)) => seeder.next_wakeup(),
            None => None,
        }
    }
}

thread_local! {
    /// Where hosts put their actions while they are told something: one queue that stays in the processor's cache instead of one
    /// for each.
    static ACTIONS: RefCell<VecDeque<Action>> = const { RefCell::new(VecDeque::new()) };
}

/// What an uplink sends in the ten milliseconds that a busy scheduler may be late.
fn catch_up(rate: ByteRate) -> ByteCount {
    ByteCount::new(rate.bytes_per_second() / 100)
}

/// Less than this may wait for a member beside its manifest, however small that is.
const MANIFEST_BYTES_LEAST: usize = 64 << 10;
