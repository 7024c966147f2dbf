//! The core of a node with its connections, behind one lock. Whoever brings news (a connection's handler, the timer, a
//! caller) tells the core and carries its actions out on the spot, messages included; for chunks the connection's task is
//! woken. The lock is held for microseconds and never while waiting.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use libp2p::swarm::{ConnectionId, DialError};
use parking_lot::Mutex;
use smallvec::SmallVec;
use swarm::wire::{ADDRESS_LENGTH_MAX, DataHeader, Frame};
use swarm::{
    Action, Bytes as ByteCount, ChunkIndex, DisconnectReason, Event, Hash, HostId, Manifest, Message,
    PROGRESS_INTERVAL, Peer, PeerStats, Seeder, SeederStats, SwarmId, Time,
};

use super::addresses::{Addresses, local_towards};
use super::alarm::Alarm;
use super::carrier::Outlet;
use super::downlinks::{Downlink, Downlinks};
use super::endpoint::{Command, Hub};
use super::link::{Link, PeerMark, abort};
use super::losses::Looking;
use super::{Clock, Limits, Shaping};
use crate::rate_limit::{LinkUse, TokenBucket};
use crate::store::{ChunkSink, ChunkStore, Received, StoreError, StoreOpener};

/// Is told what happens at a node. Called with the node's lock held: it must not wait or call the node.
pub trait Observer: Send + Sync {
    /// The host has its place in the overlay.
    fn joined(&self, _host: HostId) {}
    /// The host holds the whole build, verified, at this time of the run.
    fn complete(&self, _host: HostId, _at: Time, _traffic: Traffic) {}
    /// The host cannot go on.
    fn failed(&self, _host: HostId, _error: &StoreError) {}
    /// A member could not be dialled.
    fn unreachable(&self, _host: HostId, _other: HostId, _error: &DialError) {}
    /// The name of a member could not be resolved.
    fn unresolved(&self, _host: HostId, _other: HostId, _names: &str, _error: &io::Error) {}
    /// The host has banned another for what it sent.
    fn banned(&self, _host: HostId, _other: HostId, _reason: DisconnectReason) {}
    /// Bytes that were kept are gone or changed, as was found when they were to be served or looked at; told once a loss. A host
    /// fetches the chunk again by itself. For a seeder its owner can [`crate::ChunkStore::keep`] it again, on a thread that may wait, and say
    /// so with [`super::Node::chunk_found`].
    fn chunk_lost(&self, _host: HostId, _chunk: ChunkIndex, _error: &StoreError) {}
    /// A host says that a chunk which this seeder sent was corrupt; told once, of the first. One host may lie; a second opinion
    /// is in [`SeederStats::complaints_of_self`].
    fn suspected(&self, _host: HostId, _by: HostId, _chunk: u32) {}
}

/// Payload bytes of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Of chunks stored that came from the seeder.
    pub from_seeder: u64,
    /// Of chunks stored that came from other hosts.
    pub from_peers: u64,
    /// Of chunks that were found on this machine and so not fetched.
    pub reused: u64,
    /// Received and thrown away: duplicates, corrupt chunks, chunks that came twice.
    pub wasted: u64,
    /// Sent.
    pub sent: u64,
    /// Sent as control messages, all that is not payload.
    pub control_sent: u64,
    /// How payload used the uplink, where that is limited.
    pub uplink: LinkUse,
    /// How payload used the downlink, likewise.
    pub downlink: LinkUse,
}

/// What a node has done so far.
#[derive(Clone, Debug, Default)]
pub struct NodeReport {
    /// Its bytes.
    pub traffic: Traffic,
    /// Chunks held.
    pub chunks_held: u32,
    /// Chunks of the build; 0 while it is unknown.
    pub chunks_total: u32,
    /// Connected members, the seeder not counted.
    pub neighbours: usize,
    /// Chunks that no connected member has.
    pub chunks_without_source: usize,
    /// Members banned for what they sent.
    pub banned: Vec<HostId>,
}

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
    downlinks: Downlinks,
    hub: Arc<Hub>,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    core: Option<Core>,
    pub(super) links: HashMap<HostId, Link<Outlet>>,
    /// Whose connection's tasks have something to do besides reading. Nearly always there are none, and a task that was woken
    /// to read need not look for its link to know that.
    attention: SmallVec<[HostId; 4]>,
    /// Whose connection brought the news that is being handled: its task is awake.
    awake: Option<HostId>,
    servings: u64,
    /// The addresses from which it reaches its seeders, and with that where others best reach it.
    towards_seeders: Vec<IpAddr>,
    /// Where members of this seeder's swarm were seen to come from.
    seen_at: HashMap<HostId, IpAddr>,
    /// Rings when the core wants to be woken.
    alarm: Alarm,
    /// Events that carrying out an action gave rise to.
    feedback: VecDeque<Event>,
    store_opener: StoreOpener,
    pub(super) store: Option<Arc<dyn ChunkStore>>,
    /// Whether a thread looks through the store.
    pub(super) looking: Looking,
    /// Whether the build is where it belongs. Until then nobody is told that this host is done with it: a seeder may let a build go
    /// that all hosts have, and one that is killed while it installs would lack it for ever.
    is_in_place: bool,
    /// Who is told as soon as it is.
    told_when_in_place: SmallVec<[HostId; 1]>,
    manifest: Option<Arc<Manifest>>,
    uplink: Option<TokenBucket>,
    downlink: Option<Downlink>,
    traffic: Traffic,
    joined: bool,
    pub(super) observer: Arc<dyn Observer>,
}

/// What a connection is to write next.
pub(super) enum Outgoing {
    /// Control frames.
    Control(Bytes),
    /// A part of a chunk, to be written when its time has come.
    Segment(Segment),
    /// A chunk that is to be read from a store that waits for a disk, without the lock.
    Read(Arc<dyn ChunkStore>, ChunkIndex),
    /// Nothing; the outlet is parked, and the task will be woken.
    Nothing,
    /// The connection is none of ours any more.
    Closed,
}

pub(super) struct Segment {
    pub(super) header: DataHeader,
    pub(super) payload: Bytes,
    pub(super) chunk: ChunkIndex,
    pub(super) ticket: u64,
    pub(super) departs: Time,
    pub(super) last: bool,
}

/// What becomes of a segment that waits for its time.
pub(super) enum Departure {
    /// It is to be written now.
    Now,
    /// It is not wanted any more.
    Cancelled,
    /// It has to wait. Control frames to be written meanwhile; the outlet is parked where there are none.
    Later(Option<Bytes>),
    /// The connection is none of ours any more.
    Closed,
}

/// What is to be done with the payload behind a header.
pub(super) enum Incoming {
    /// Begin a new chunk.
    Begin(ChunkSink),
    /// It continues the chunk that is being received.
    Continue,
    /// Read it and throw it away.
    Discard,
    /// The sender broke the protocol.
    Violation,
}

impl Shared {
    pub(super) fn new(
        hub: Arc<Hub>,
        (swarm, host): (SwarmId, HostId),
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
            state: Mutex::new(State {
                core: None,
                links: HashMap::new(),
                attention: SmallVec::new(),
                awake: None,
                servings: 0,
                towards_seeders: Vec::new(),
                seen_at: HashMap::new(),
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

    /// Ends its part in the swarm: all its connections are closed.
    pub(super) fn stop(self: &Arc<Self>) {
        let mut state = self.state.lock();
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

    /// A member of this seeder's swarm was seen to come from there.
    pub(super) fn saw(&self, host: HostId, ip: IpAddr) {
        let mut state = self.state.lock();
        if matches!(state.core, Some(Core::Seeder(_))) {
            state.seen_at.insert(host, ip);
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

    pub(super) fn report(&self) -> NodeReport {
        let state = self.state.lock();
        let traffic = Traffic {
            uplink: state.uplink.as_ref().map(TokenBucket::used).unwrap_or_default(),
            downlink: state
                .downlink
                .as_ref()
                .map(|link| link.lock().used())
                .unwrap_or_default(),
            ..state.traffic()
        };
        match &state.core {
            Some(Core::Peer(peer)) => {
                let (chunks_held, chunks_total) = peer.progress().unwrap_or_default();
                NodeReport {
                    traffic,
                    chunks_held,
                    chunks_total,
                    neighbours: peer.neighbour_count(),
                    chunks_without_source: peer.chunks_without_source().len(),
                    banned: peer.banned().collect(),
                }
            }
            Some(Core::Seeder(_)) | None => NodeReport {
                traffic,
                ..NodeReport::default()
            },
        }
    }

    pub(super) fn build_id(&self) -> Option<String> {
        self.state
            .lock()
            .manifest
            .as_ref()
            .map(|manifest| manifest.build_id().to_owned())
    }

    pub(super) fn root(&self) -> Option<Hash> {
        self.state.lock().manifest.as_ref().map(|manifest| manifest.root())
    }

    pub(super) fn peer_stats(&self) -> Option<PeerStats> {
        match &self.state.lock().core {
            Some(Core::Peer(peer)) => Some(*peer.stats()),
            Some(Core::Seeder(_)) | None => None,
        }
    }

    pub(super) fn seeder_stats(&self) -> Option<SeederStats> {
        match &self.state.lock().core {
            Some(Core::Seeder(seeder)) => Some(*seeder.stats()),
            Some(Core::Peer(_)) | None => None,
        }
    }

    pub(super) fn member_count(&self) -> usize {
        match &self.state.lock().core {
            Some(Core::Seeder(seeder)) => seeder.member_count(),
            Some(Core::Peer(_)) | None => 0,
        }
    }

    pub(super) fn incomplete_count(&self) -> usize {
        match &self.state.lock().core {
            Some(Core::Seeder(seeder)) => seeder.incomplete_count(),
            Some(Core::Peer(_)) | None => 0,
        }
    }

    /// A connection's other end has said who it is. `false` where the connection is not wanted.
    pub(super) fn link_up(self: &Arc<Self>, host: HostId, connection: ConnectionId, peer: PeerMark) -> bool {
        let (mut state, now) = (self.state.lock(), self.clock.now());
        if state.core.is_none() || host == self.host {
            return false;
        }
        if let Some(link) = state.links.get(&host) {
            if !link.gives_way_to(peer, now) {
                return false;
            }
            self.cut(&mut state, host);
        }
        let link = Link::new(connection, peer, now, self.downlinks.of(host));
        state.links.insert(host, link);
        tracing::debug!(host = %self.host, other = %host, links = state.links.len(), "connected");
        self.tell(&mut state, Event::Connected(host));
        true
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
        if let Message::Announce { address, .. } = &mut message
            && let Some(ip) = state.seen_at.get(&from)
            && let Ok(addresses) = Addresses::decode(address)
            && let Some(seen) = addresses.seen_at(*ip)
        {
            *address = seen.encode_within(ADDRESS_LENGTH_MAX);
        }
        self.tell_awake(&mut state, from, Event::Message(from, message));
    }

    /// A header has come: what to do with its payload. `received` is what is there of the chunk being received.
    pub(super) fn begin_payload(
        self: &Arc<Self>,
        from: HostId,
        header: DataHeader,
        receiving: Option<(ChunkIndex, u32)>,
    ) -> Incoming {
        let mut state = self.state.lock();
        let state = &mut *state;
        let (Some(manifest), Some(store)) = (&state.manifest, &state.store) else {
            return Incoming::Violation;
        };
        let Some(chunk) = manifest.chunk(header.chunk) else {
            return Incoming::Violation;
        };
        if u64::from(header.offset) + u64::from(header.length) > u64::from(manifest.length(chunk)) {
            return Incoming::Violation;
        }
        let Some(Core::Peer(peer)) = &state.core else {
            return Incoming::Violation;
        };
        if !peer.expects(from, chunk) {
            if header.length > 0 {
                self.tell(state, Event::ChunkProgress { from, chunk });
            }
            return Incoming::Discard;
        }
        if header.length == 0 {
            self.tell(state, Event::ChunkAborted { from, chunk });
            return Incoming::Discard;
        }
        let incoming = if header.offset == 0 {
            Incoming::Begin(ChunkSink::new(Arc::clone(store), manifest, chunk))
        } else if receiving == Some((chunk, header.offset)) {
            Incoming::Continue
        } else {
            return Incoming::Discard;
        };
        self.tell(state, Event::ChunkProgress { from, chunk });
        incoming
    }

    /// When the segment that has just been read has passed the downlink; `None` for at once, and where its sender has waited
    /// for that.
    pub(super) fn pass_downlink(&self, from: Option<HostId>, length: u32) -> Option<Time> {
        let state = self.state.lock();
        let downlink = state.downlink.as_ref()?;
        let link = from.and_then(|from| state.links.get(&from));
        if link.is_some_and(|link| link.downlink.is_some()) {
            return None;
        }
        let now = self.clock.now();
        let at = downlink.lock().reserve(now, ByteCount::new(length.into()));
        (at > now).then_some(at)
    }

    pub(super) fn discarded(&self, bytes: u32) {
        self.state.lock().traffic.wasted += u64::from(bytes);
    }

    /// A whole chunk was received from `from`.
    pub(super) fn chunk_received(self: &Arc<Self>, from: HostId, chunk: ChunkIndex, length: u32, received: Received) {
        let mut state = self.state.lock();
        let expected = matches!(&state.core, Some(Core::Peer(peer)) if peer.expects(from, chunk));
        let length = u64::from(length);
        match received {
            Received::Stored if expected => {
                if matches!(&state.core, Some(Core::Peer(peer)) if peer.is_seeder(from)) {
                    state.traffic.from_seeder += length;
                } else {
                    state.traffic.from_peers += length;
                }
                self.tell_awake(&mut state, from, Event::ChunkStored { from, chunk });
            }
            Received::Stored => state.traffic.wasted += length,
            Received::Corrupt => {
                state.traffic.wasted += length;
                tracing::warn!(host = %self.host, %from, %chunk, "chunk corrupt");
                self.tell(&mut state, Event::ChunkCorrupt { from, chunk });
            }
            Received::Failed(error) => {
                tracing::error!(host = %self.host, %chunk, %error, "chunk not stored");
                state.observer.failed(self.host, &error);
                self.tell(&mut state, Event::ChunkAborted { from, chunk });
            }
        }
    }

    /// The next thing for the connection with `to` to write, for which it gets its outlet back; where there is nothing the
    /// outlet is parked.
    pub(super) fn next_outgoing(
        self: &Arc<Self>,
        to: HostId,
        connection: ConnectionId,
        outlet: &mut Option<Outlet>,
        cx: &mut Context<'_>,
    ) -> Outgoing {
        let mut state = self.state.lock();
        if outlet.is_none() && !state.attention.contains(&to) {
            return Outgoing::Nothing;
        }
        loop {
            match self.try_next_outgoing(&mut state, to, connection, outlet, cx) {
                Ok(outgoing) => return outgoing,
                Err((chunk, error)) => self.serving_failed(&mut state, to, chunk, &error),
            }
        }
    }

    /// [`Shared::next_outgoing`], or a chunk that cannot be read.
    fn try_next_outgoing(
        &self,
        state: &mut State,
        to: HostId,
        connection: ConnectionId,
        outlet: &mut Option<Outlet>,
        cx: &mut Context<'_>,
    ) -> Result<Outgoing, (ChunkIndex, StoreError)> {
        state.attention.retain(|host| *host != to);
        let Some(link) = state.links.get_mut(&to).filter(|link| link.connection == connection) else {
            return Ok(Outgoing::Closed);
        };
        if let Some(control) = link.take_outbox(outlet) {
            return Ok(Outgoing::Control(control));
        }
        let Some((serving, store)) = link.serving.front_mut().zip(state.store.as_ref()) else {
            link.park(outlet, cx);
            if link.is_stuck() {
                state.attention.push(to);
            }
            return Ok(Outgoing::Nothing);
        };
        let chunk = serving.chunk;
        let bytes = match &serving.bytes {
            Some(bytes) => bytes.clone(),
            None if store.is_blocking() => {
                // The task comes back for what it has read, so the outlet is its own until then.
                let store = Arc::clone(store);
                link.take_outlet(outlet);
                return Ok(Outgoing::Read(store, chunk));
            }
            None => store.read(chunk).map_err(|error| (chunk, error))?,
        };
        let length = u32::try_from(bytes.len()).expect("a chunk's length is a u32");
        let size = self.limits.segment.min(length - serving.sent);
        let payload = bytes.slice(serving.sent as usize..(serving.sent + size) as usize);
        let header = DataHeader {
            chunk: serving.chunk.get(),
            offset: serving.sent,
            length: size,
        };
        serving.bytes = Some(bytes);
        serving.sent += size;
        let (now, bytes) = (self.clock.now(), ByteCount::new(size.into()));
        let uplink = state.uplink.as_mut().map_or(now, |uplink| uplink.reserve(now, bytes));
        let downlink = link.downlink.as_ref();
        let departs = downlink.map_or(uplink, |downlink| uplink.max(downlink.lock().reserve(now, bytes)));
        Ok(Outgoing::Segment(Segment {
            header,
            payload,
            chunk: serving.chunk,
            ticket: serving.ticket,
            departs,
            last: header.offset + size == length,
        }))
    }

    /// What becomes of the segment of `ticket`, whose time has come where it is `due`. It gets the outlet where there is
    /// something to write.
    pub(super) fn depart(
        &self,
        to: HostId,
        connection: ConnectionId,
        ticket: u64,
        due: bool,
        outlet: &mut Option<Outlet>,
        cx: &mut Context<'_>,
    ) -> Departure {
        let mut state = self.state.lock();
        let Some(link) = state.links.get_mut(&to).filter(|link| link.connection == connection) else {
            return Departure::Closed;
        };
        if due {
            link.take_outlet(outlet);
            return if link.is_serving(ticket) {
                Departure::Now
            } else {
                Departure::Cancelled
            };
        }
        let control = link.take_outbox(outlet);
        if control.is_none() {
            link.park(outlet, cx);
        }
        Departure::Later(control)
    }

    /// The task has read a chunk from a store that waits for a disk.
    pub(super) fn provide(self: &Arc<Self>, to: HostId, chunk: ChunkIndex, read: Result<Bytes, StoreError>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(link) = state.links.get_mut(&to) else {
            return;
        };
        let Some(index) = link.serving.iter().position(|serving| serving.chunk == chunk) else {
            return;
        };
        match read {
            Ok(bytes) => link.serving[index].bytes = Some(bytes),
            Err(error) => self.serving_failed(state, to, chunk, &error),
        }
    }

    /// A segment has been written as a whole.
    pub(super) fn segment_written(self: &Arc<Self>, to: HostId, segment: &Segment) {
        let mut state = self.state.lock();
        state.traffic.sent += u64::from(segment.header.length);
        if !segment.last {
            self.tell_of_serving(&mut state, to, segment);
            return;
        }
        if let Some(link) = state.links.get_mut(&to)
            && link.is_serving(segment.ticket)
        {
            link.serving.pop_front();
            let chunk = segment.chunk;
            self.tell_awake(&mut state, to, Event::ChunkServed { to, chunk });
        }
    }

    /// The core hears now and then that bytes of a chunk go out.
    fn tell_of_serving(self: &Arc<Self>, state: &mut State, to: HostId, segment: &Segment) {
        let now = self.clock.now();
        let link = state.links.get_mut(&to).filter(|link| link.is_serving(segment.ticket));
        let Some(serving) = link.and_then(|link| link.serving.front_mut()) else {
            return;
        };
        let told_at = *serving.told_at.get_or_insert(now);
        if now.since(told_at) >= PROGRESS_INTERVAL {
            serving.told_at = Some(now);
            let chunk = segment.chunk;
            self.tell_awake(state, to, Event::ServingProgress { to, chunk });
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
    fn tell_awake(self: &Arc<Self>, state: &mut State, from: HostId, event: Event) {
        state.awake = Some(from);
        self.tell(state, event);
        state.awake = None;
    }

    pub(super) fn tell(self: &Arc<Self>, state: &mut State, event: Event) {
        let now = self.clock.now();
        ACTIONS.with_borrow_mut(|actions| {
            state.swap_actions(actions);
            match &mut state.core {
                Some(Core::Peer(peer)) => peer.handle_event(now, event),
                Some(Core::Seeder(seeder)) => seeder.handle_event(now, event),
                None => {}
            }
            self.carry_out(state);
            state.swap_actions(actions);
        });
    }

    fn carry_out(self: &Arc<Self>, state: &mut State) {
        loop {
            while let Some(action) = state.poll_action() {
                self.carry_out_one(state, action);
            }
            let Some(event) = state.feedback.pop_front() else {
                break;
            };
            let now = self.clock.now();
            match &mut state.core {
                Some(Core::Peer(peer)) => peer.handle_event(now, event),
                Some(Core::Seeder(seeder)) => seeder.handle_event(now, event),
                None => {}
            }
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

    fn carry_out_one(self: &Arc<Self>, state: &mut State, action: Action) {
        match action {
            Action::Connect(contact) => {
                let host = contact.host;
                match Addresses::decode(&contact.address) {
                    Ok(addresses) if addresses.has_name() => self.dial_by_name(host, addresses),
                    Ok(addresses) => self.dial(state, host, addresses),
                    Err(error) => {
                        tracing::warn!(%host, %error, "contact has no address that can be dialled");
                        state.feedback.push_back(Event::Disconnected(host));
                    }
                }
            }
            Action::Disconnect { host, reason } => {
                if let Some(link) = state.remove_link(host) {
                    self.hub.command(Command::Close(link.connection));
                }
                tracing::debug!(host = %self.host, other = %host, ?reason, "disconnected");
                if matches!(reason, DisconnectReason::CorruptChunk | DisconnectReason::WrongManifest) {
                    state.observer.banned(self.host, host, reason);
                }
            }
            Action::Send(to, message) => {
                let Some(message) = state.as_far_as_in_place(to, message) else {
                    return;
                };
                let waiting = state.post(to, &Frame::Message(message));
                if waiting > self.limits.outbox
                    && let Some(link) = state.links.get(&to)
                {
                    tracing::warn!(host = %self.host, other = %to, "does not take what is sent to it; closing");
                    self.hub.command(Command::Close(link.connection));
                }
            }
            Action::OpenStore(manifest) => self.open_store(state, manifest),
            Action::ServeChunk { to, chunk } => {
                if state.store.as_ref().is_some_and(|store| !store.answers(chunk)) {
                    return;
                }
                state.servings += 1;
                if let Some(link) = state.links.get_mut(&to)
                    && link.serve(chunk, state.servings, state.awake == Some(to))
                {
                    state.ask_attention(to);
                }
            }
            Action::StopServing { to, chunk } => {
                if let Some(link) = state.links.get_mut(&to)
                    && link.stop_serving(chunk)
                {
                    state.post(to, &abort(chunk));
                }
                state.feedback.push_back(Event::ChunkServed { to, chunk });
            }
            // What comes of it is thrown away because the core does not expect it any more.
            Action::StopReceiving { .. } => {}
            // Here neighbours are told by HAVE messages.
            Action::Gossip(_) => {}
            Action::Suspect { by, chunk } => {
                tracing::warn!(host = %self.host, %by, chunk, "a host says that a chunk from here was corrupt; are disk and memory well?");
                state.observer.suspected(self.host, by, chunk);
            }
            Action::Complete => self.complete(state),
        }
    }

    /// Dials a member at all of its addresses that may lead to it from here.
    fn dial(self: &Arc<Self>, state: &mut State, host: HostId, mut addresses: Addresses) {
        let is_seeder = matches!(&state.core, Some(Core::Peer(peer)) if peer.is_seeder(host));
        if is_seeder {
            self.find_way_to(state, &addresses);
        } else if !state.towards_seeders.iter().all(IpAddr::is_loopback) {
            addresses = addresses.without_loopback();
        }
        if addresses.at().is_empty() {
            tracing::debug!(host = %self.host, other = %host, "has no address that leads to it from here");
            state.feedback.push_back(Event::Disconnected(host));
            return;
        }
        self.hub.command(Command::Dial {
            member: Arc::clone(self),
            host,
            addresses,
        });
    }

    /// The same where a name has to be looked up first, each time: what it means may have changed.
    fn dial_by_name(self: &Arc<Self>, host: HostId, addresses: Addresses) {
        let member = Arc::clone(self);
        tokio::spawn(async move {
            let names = addresses.to_string();
            let resolved = addresses.resolved().await;
            let mut state = member.state.lock();
            match resolved {
                Ok(addresses) => member.dial(&mut state, host, addresses),
                Err(error) => {
                    state.observer.unresolved(member.host, host, &names, &error);
                    state.feedback.push_back(Event::Disconnected(host));
                }
            }
            member.carry_out(&mut state);
        });
    }

    /// Which addresses of this machine lead to a seeder may have changed since it was last dialled.
    fn find_way_to(&self, state: &mut State, seeder: &Addresses) {
        for ip in seeder.at().iter().filter_map(local_towards) {
            state.towards_seeders.retain(|known| *known != ip);
            state.towards_seeders.insert(0, ip);
            state.towards_seeders.truncate(WAYS_MAX);
        }
        self.set_address(state);
    }

    /// Where others dial this host, as far as it knows.
    fn set_address(&self, state: &mut State) {
        let now = self.clock.now();
        if let Some(Core::Peer(peer)) = &mut state.core {
            peer.set_address(now, self.hub.contact(&state.towards_seeders));
        }
    }

    fn open_store(self: &Arc<Self>, state: &mut State, manifest: Arc<Manifest>) {
        state.manifest = Some(Arc::clone(&manifest));
        let opener = state.store_opener.clone();
        if opener.is_blocking() {
            let shared = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                let opened = opener.open(manifest);
                let mut state = shared.state.lock();
                match opened {
                    Ok(store) => shared.store_opened(&mut state, store),
                    Err(error) => state.observer.failed(shared.host, &error),
                }
            });
            return;
        }
        match opener.open(manifest) {
            Ok(store) => {
                let held = store.held();
                state.store = Some(store);
                state.feedback.push_back(Event::StoreOpened { held: held.into() });
                self.look_through_store(state);
            }
            Err(error) => state.observer.failed(self.host, &error),
        }
    }

    fn store_opened(self: &Arc<Self>, state: &mut State, store: Arc<dyn ChunkStore>) {
        let held = store.held();
        state.store = Some(store);
        self.tell(state, Event::StoreOpened { held: held.into() });
        self.look_through_store(state);
    }

    fn complete(self: &Arc<Self>, state: &mut State) {
        let Some(store) = state.store.clone() else {
            return;
        };
        if !store.is_blocking() {
            state.observer.complete(self.host, self.clock.now(), state.traffic());
            return;
        }
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let finished = store.finish();
            let mut state = shared.state.lock();
            match finished {
                Ok(()) => {
                    state.is_in_place = true;
                    for to in std::mem::take(&mut state.told_when_in_place) {
                        state.post(to, &Frame::Message(Message::Complete));
                    }
                    state
                        .observer
                        .complete(shared.host, shared.clock.now(), state.traffic());
                }
                Err(error) => state.observer.failed(shared.host, &error),
            }
        });
    }
}

impl State {
    /// What it has moved, and what it need not move.
    fn traffic(&self) -> Traffic {
        let reused = self.store.as_ref().map_or(0, |store| store.reused());
        Traffic { reused, ..self.traffic }
    }

    /// What may be said now of `message`: that the build is complete waits until it is in place.
    fn as_far_as_in_place(&mut self, to: HostId, mut message: Message) -> Option<Message> {
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

    fn ask_attention(&mut self, host: HostId) {
        if !self.attention.contains(&host) {
            self.attention.push(host);
        }
    }

    fn remove_link(&mut self, host: HostId) -> Option<Link<Outlet>> {
        self.seen_at.remove(&host);
        self.attention.retain(|other| *other != host);
        self.links.remove(&host)
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

/// Addresses of this machine towards its seeders that are remembered, the latest first.
const WAYS_MAX: usize = 4;

/// What an uplink sends in the ten milliseconds that a busy scheduler may be late.
fn catch_up(rate: swarm::ByteRate) -> ByteCount {
    ByteCount::new(rate.bytes_per_second() / 100)
}
