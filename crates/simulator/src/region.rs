//! One region in virtual time: its hosts and its seeder, each the core's own state machine, and the network between them.
//!
//! This is the core's second driver. It carries actions out and tells what came of them, and decides nothing. Where the
//! live driver moves bytes, this one computes when they would have arrived.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use scenario::{HostState, RegionEnd, RegionPlan, Serves, SwarmSettings};
use smallvec::SmallVec;
use swarm::{
    Action, Bitfield, ChunkIndex, Contact, Event, HoldingsSource, HostId, Manifest, Message, Peer, PeerConfig,
    PeerStats, Seeder, Time, Views,
};

use crate::event_queue::EventQueue;
use crate::topology::Topology;
use crate::transfers::{Alarm, SLOW_AFTER, TransferId, Transfers};

/// What a region consists of.
pub(crate) struct RegionSetup {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) topology: Topology,
    /// The first seeder is member 0, the others come after the hosts.
    pub(crate) plan: RegionPlan,
    pub(crate) settings: SwarmSettings,
    /// From seeding on.
    pub(crate) deadline: Duration,
}

/// How a region stands, for progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionStatus {
    /// Since seeding began.
    pub(crate) virtual_time: Duration,
    pub(crate) hosts_done: u32,
    pub(crate) transfers: u64,
}

/// Events that the queue holds, with who they are for. Common ones are small; the rest are in `World::rare`.
#[derive(Clone, Copy, Debug)]
enum Input {
    Wakeup,
    Request {
        from: u32,
        chunk: u16,
        held: u16,
    },
    Serving {
        from: u32,
        chunk: u32,
    },
    Cancel {
        from: u32,
        chunk: u32,
    },
    /// The last byte has arrived.
    Arrived {
        from: u32,
        chunk: u32,
    },
    /// The last byte of a chunk has left, if the alarm still stands.
    Sent,
    /// A long transfer is still going on.
    Progress {
        transfer: TransferId,
        generation: u32,
    },
    Aborted {
        from: u32,
        chunk: u32,
    },
    Publish {
        count: u32,
        /// The last of them, where there is one.
        chunk: u16,
        busy: bool,
    },
    Dial {
        from: u32,
    },
    Connected {
        from: u32,
    },
    Disconnected {
        from: u32,
    },
    Rare {
        slot: u32,
    },
    Join,
    Leave,
    SeederDown,
    SeederUp,
    /// The links of a host are as slow as its slow-down says, or as fast as before.
    Slow {
        is: bool,
    },
}

impl Input {
    /// Whether it may set in motion a region in which nothing moves: that is what members come back from time and again by
    /// their timers and are told of in messages, but for these.
    const fn moves_on(self) -> bool {
        match self {
            Self::Arrived { .. } | Self::Join | Self::Leave | Self::SeederDown | Self::SeederUp | Self::Slow { .. } => {
                true
            }
            Self::Wakeup
            | Self::Request { .. }
            | Self::Serving { .. }
            | Self::Cancel { .. }
            | Self::Sent
            | Self::Progress { .. }
            | Self::Aborted { .. }
            | Self::Publish { .. }
            | Self::Dial { .. }
            | Self::Connected { .. }
            | Self::Disconnected { .. }
            | Self::Rare { .. } => false,
        }
    }
}

/// The queue's entries.
#[derive(Clone, Copy, Debug)]
struct Queued {
    host: u32,
    input: Input,
}

/// What neighbours have published, by host; nothing for the seeders that come after the hosts.
struct Published<'a> {
    fields: &'a [Bitfield],
    busy: &'a [bool],
    /// Whether hosts go by it, and not by what they are told.
    supplied: bool,
}

impl Views for Published<'_> {
    fn fetch(&self, host: HostId) {
        self.fields.get(index(host)).inspect(|field| prefetch(*field));
    }

    fn held_by(&self, host: HostId) -> Option<&Bitfield> {
        // The seeder shows each client something else, and says so by message.
        if host == FIRST_SEEDER || !self.supplied {
            return None;
        }
        self.fields.get(index(host))
    }

    fn is_busy(&self, host: HostId) -> Option<bool> {
        self.busy.get(index(host)).copied().filter(|_| self.supplied)
    }
}

/// Nearly nobody has more than the default degree and what dials beyond it.
type Adjacent = SmallVec<[u32; 20]>;

/// One-way delays in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Latency {
    within_zone: u64,
    between_zones: u64,
}

impl Latency {
    fn new(topology: &Topology) -> Self {
        let (within_zone, between_zones) = topology.delays();
        Self {
            within_zone: nanos(within_zone),
            between_zones: nanos(between_zones),
        }
    }

    fn max(self) -> u64 {
        self.within_zone.max(self.between_zones)
    }
}

/// A region while it is simulated.
struct World {
    setup: RegionSetup,
    now: u64,
    queue: EventQueue<Queued>,
    rare: Vec<Option<(HostId, Message)>>,
    rare_free: Vec<u32>,
    seeders: Vec<Option<Seeder>>,
    /// By host: looked at for every chunk, and so apart from the plan.
    serves: Vec<Serves>,
    /// By member; those of seeders stay empty.
    peers: Vec<Option<Peer>>,
    published: Vec<Bitfield>,
    busy: Vec<bool>,
    supplied: bool,
    hungry: Vec<bool>,
    armed: Vec<u64>,
    latency: Latency,
    adjacency: Vec<Adjacent>,
    transfers: Transfers,
    /// Lent to whichever peer is told something; empty between events.
    actions: VecDeque<Action>,
    seeded_at: u64,
    done: u32,
    expected: u32,
    /// When a chunk was last stored, or a member came or went.
    progress_at: u64,
    /// Events in the queue that may set things in motion, up to the deadline.
    to_come: u32,
    result: RegionResult,
}

/// What came of one region.
#[derive(Clone, Debug)]
pub struct RegionResult {
    /// How it ended.
    pub end: RegionEnd,
    /// By host.
    pub hosts: Vec<HostResult>,
    /// Chunks that arrived, duplicates included.
    pub transfers: u64,
    /// Events handled.
    pub events: u64,
    /// Payload bytes that the seeder sent.
    pub seeder_bytes: u64,
    /// Payload bytes that went from one zone to another; `None` where that is not simulated.
    pub cross_zone_bytes: Option<u64>,
    /// Control messages, without those that HAVE messages would have been.
    pub messages: u64,
    /// Counters of all peers.
    pub protocol: PeerStats,
    /// Virtual time since seeding when it ended.
    pub virtual_time: Duration,
}

impl RegionResult {
    /// Of a region in which nothing has happened yet.
    pub(crate) fn new(hosts: usize) -> Self {
        Self {
            end: RegionEnd::Converged,
            hosts: vec![HostResult::default(); hosts],
            transfers: 0,
            events: 0,
            seeder_bytes: 0,
            cross_zone_bytes: Some(0),
            messages: 0,
            protocol: PeerStats::default(),
            virtual_time: Duration::ZERO,
        }
    }
}

/// What came of one host.
#[derive(Clone, Debug)]
pub struct HostResult {
    /// How it ended.
    pub state: HostState,
    /// When it had the build, since seeding began; since it joined where it joined later.
    pub verified_after: Option<Duration>,
    /// Useful bytes from the seeder.
    pub bytes_from_seeder: u64,
    /// Useful bytes from other hosts.
    pub bytes_from_peers: u64,
    /// Bytes thrown away.
    pub bytes_wasted: u64,
    /// Chunks held.
    pub chunks_held: u32,
    /// Chunks that no neighbour holds.
    pub chunks_without_source: u32,
    /// Connected hosts.
    pub neighbours: u32,
    /// Members that it banned.
    pub banned: Vec<u32>,
}

/// Runs a region to its end. `tell` is called now and then; it answers whether to go on.
pub(crate) fn run(setup: RegionSetup, tell: &mut dyn FnMut(RegionStatus) -> bool) -> RegionResult {
    let mut world = World::new(setup);
    world.begin();
    let end = world.run(tell);
    world.finish(end)
}

impl World {
    fn new(setup: RegionSetup) -> Self {
        let hosts = setup.plan.hosts.len();
        let chunks = setup.manifest.chunk_count();
        let topology = &setup.topology;
        let seeders = setup.plan.seeders.len();
        let members = 0..hosts + seeders;
        let published = 0..hosts + 1;
        let fastest = topology.uplink_max().max(1);
        let chunk_nanos = u64::from(setup.manifest.chunk_size()).saturating_mul(1_000_000_000) / fastest;
        let horizon = chunk_nanos.saturating_add(nanos(topology.latency_max()));
        let horizon = horizon.saturating_mul(4).clamp(1 << 16, 1 << 40);
        Self {
            now: 0,
            queue: EventQueue::new(horizon),
            rare: Vec::new(),
            rare_free: Vec::new(),
            seeders: (0..seeders).map(|_| None).collect(),
            serves: setup.plan.hosts.iter().map(|host| host.serves).collect(),
            peers: members.clone().map(|_| None).collect(),
            busy: vec![false; published.len()],
            published: published.map(|_| Bitfield::new(chunks)).collect(),
            supplied: true,
            hungry: vec![false; members.len()],
            armed: vec![u64::MAX; members.len()],
            latency: Latency::new(topology),
            adjacency: members.clone().map(|_| SmallVec::new()).collect(),
            transfers: Transfers::new(members.map(|member| (topology.uplink(member), topology.downlink(member)))),
            actions: VecDeque::new(),
            seeded_at: 0,
            done: 0,
            expected: u32::try_from(setup.plan.required()).expect("a region's hosts are a u32"),
            progress_at: 0,
            to_come: 0,
            result: RegionResult::new(hosts),
            setup,
        }
    }

    fn begin(&mut self) {
        for index in 0..self.seeders.len() {
            self.start_seeder(index, 0);
            self.drain(self.seeder_member(index));
        }
        self.seeded_at = nanos(JOIN_TIME + 20 * self.setup.topology.latency_max());
        for index in 0..self.setup.plan.hosts.len() {
            let host = &self.setup.plan.hosts[index];
            let (member, join_at, leave_at) = (number(host.id), host.join_at, host.leave_at);
            match join_at {
                Some(at) => self.push(self.seeded_at + nanos(at), member, Input::Join),
                None => self.join(member),
            }
            if let Some(at) = leave_at {
                self.push(self.seeded_at + nanos(at), member, Input::Leave);
            }
        }
        for index in 0..self.setup.plan.slow_downs.len() {
            let slow = self.setup.plan.slow_downs[index];
            let from = self.seeded_at + nanos(slow.at);
            let member = number(self.setup.plan.hosts[slow.host as usize].id);
            self.push(from, member, Input::Slow { is: true });
            if let Some(lasts) = slow.lasts {
                self.push(from + nanos(lasts), member, Input::Slow { is: false });
            }
        }
        for index in 0..self.seeders.len() {
            self.push(self.seeded_at, self.seeder_member(index), Input::SeederUp);
        }
        for index in 0..self.seeders.len() {
            let member = self.seeder_member(index);
            for absence in self.setup.plan.seeders[index].absences.clone() {
                let down_at = self.seeded_at + nanos(absence.at);
                self.push(down_at, member, Input::SeederDown);
                self.push(down_at + nanos(absence.down), member, Input::SeederUp);
            }
        }
        self.progress_at = self.seeded_at;
    }

    fn run(&mut self, tell: &mut dyn FnMut(RegionStatus) -> bool) -> RegionEnd {
        let (deadline, deadlock_after) = (self.deadline(), self.deadlock_after());
        while self.done < self.expected {
            let Some((at, Queued { host, input })) = self.queue.pop() else {
                return RegionEnd::Deadlock;
            };
            if at > deadline {
                self.now = deadline;
                return RegionEnd::Deadline;
            }
            self.fetch_ahead();
            self.now = at.max(self.now);
            self.result.events += 1;
            if self.result.events.is_multiple_of(TELL_EVERY) && !tell(self.status()) {
                return RegionEnd::Stopped;
            }
            if input.moves_on() {
                self.to_come -= 1;
                // Whether what arrives is of use has yet to be seen.
                if !matches!(input, Input::Arrived { .. }) {
                    self.progress_at = self.now;
                }
            }
            let quiet = self.now.saturating_sub(self.progress_at);
            if quiet > deadlock_after && self.to_come == 0 && self.transfers.count() == 0 {
                return RegionEnd::Deadlock;
            }
            self.handle(host, input);
            self.share_links();
        }
        tell(self.status());
        RegionEnd::Converged
    }

    /// Has what an event to come will look at brought into the processor's cache.
    fn fetch_ahead(&self) {
        let Some(&Queued { host: member, input }) = self.queue.peek_ahead(PREFETCH_AHEAD) else {
            return;
        };
        let host = member as usize;
        prefetch(&self.adjacency[host]);
        if let Input::Publish { .. } = input {
            self.published.get(host).inspect(|field| prefetch(*field));
            return;
        }
        prefetch(&self.peers[host]);
        prefetch(&self.armed[host]);
        match input {
            Input::Sent | Input::Request { .. } => self.transfers.prefetch(member),
            Input::Arrived { .. } => {
                let result = host.checked_sub(1).and_then(|index| self.result.hosts.get(index));
                result.inspect(|result| prefetch(*result));
            }
            _ => {}
        }
    }

    fn deadline(&self) -> u64 {
        self.seeded_at.saturating_add(nanos(self.setup.deadline))
    }

    /// How long nothing may move before nothing more is to be expected: longer than the core waits at most before it turns to
    /// somebody else, which goes by the patience that it was given, by what chunks take, and by what messages do.
    fn deadlock_after(&self) -> u64 {
        let topology = &self.setup.topology;
        let slow_downs = self.setup.plan.slow_downs.iter();
        let slow = slow_downs.map(|slow| slow.links.uplink.min(slow.links.downlink)).min();
        let slowest = topology.slowest().min(slow.unwrap_or(u64::MAX)).max(1);
        let chunk = u64::from(self.setup.manifest.chunk_size()).saturating_mul(1_000_000_000) / slowest;
        let one_try = nanos(self.setup.settings.patience)
            .max(chunk)
            .max(nanos(topology.latency_max()));
        nanos(DEADLOCK_AFTER).max(one_try.saturating_mul(DEADLOCK_TRIES))
    }

    fn status(&self) -> RegionStatus {
        RegionStatus {
            virtual_time: Duration::from_nanos(self.now.saturating_sub(self.seeded_at)),
            hosts_done: self.done,
            transfers: self.result.transfers,
        }
    }

    fn handle(&mut self, host: u32, input: Input) {
        match input {
            Input::Wakeup => {
                // Only the wakeup that is still wanted counts.
                if self.armed[host as usize] == self.now {
                    self.armed[host as usize] = u64::MAX;
                    self.tell(host, Event::Wakeup);
                }
            }
            Input::Request { from, chunk, held } => {
                let (chunk, held) = (chunk.into(), held.into());
                self.tell(host, Event::Message(id(from), Message::Request { chunk, held }));
            }
            Input::Serving { from, chunk } => self.tell(host, Event::Message(id(from), Message::Serving { chunk })),
            Input::Cancel { from, chunk } => self.tell(host, Event::Message(id(from), Message::Cancel { chunk })),
            Input::Arrived { from, chunk } => self.arrived(host, from, chunk),
            Input::Sent => self.sent(host),
            Input::Progress { transfer, generation } => self.transfer_goes_on(transfer, generation),
            Input::Aborted { from, chunk } => {
                let (from, chunk) = (id(from), self.chunk(chunk));
                if self.expects(host, from, chunk) {
                    self.tell(host, Event::ChunkAborted { from, chunk });
                }
            }
            Input::Publish { count, chunk, busy } => self.publish(host, count, chunk, busy),
            Input::Dial { from } => self.dialled(host, from),
            Input::Connected { from } => {
                if self.is_connected(host, from) {
                    self.tell(host, Event::Connected(id(from)));
                }
            }
            Input::Disconnected { from } => self.tell(host, Event::Disconnected(id(from))),
            Input::Rare { slot } => {
                self.rare_free.push(slot);
                if let Some((from, message)) = self.rare[slot as usize].take() {
                    self.tell(host, Event::Message(from, message));
                }
            }
            Input::Join => self.join(host),
            Input::Leave => self.leave(host),
            Input::SeederDown => self.seeder_down(host),
            Input::SeederUp => self.seeder_up(host),
            Input::Slow { is } => self.slow_down(host, is),
        }
    }

    fn tell(&mut self, host: u32, event: Event) {
        let now = Time::from_nanos(self.now);
        if let Some(index) = self.seeder_index(host) {
            if let Some(seeder) = &mut self.seeders[index] {
                seeder.handle_event(now, event);
            }
        } else if let Some(peer) = &mut self.peers[host as usize] {
            let views = Published {
                fields: &self.published,
                busy: &self.busy,
                supplied: self.supplied,
            };
            peer.swap_actions(&mut self.actions);
            peer.handle_event_with(now, event, &views);
            peer.swap_actions(&mut self.actions);
        }
        self.drain(host);
    }

    /// Carries out what `host` wants done, and notes when it wants to be woken.
    fn drain(&mut self, host: u32) {
        let seeder = self.seeder_index(host);
        loop {
            let action = match seeder {
                Some(index) => self.seeders[index].as_mut().and_then(Seeder::poll_action),
                None => self.actions.pop_front(),
            };
            match action {
                Some(action) => self.carry_out(host, action),
                None => break,
            }
        }
        // From its beginning again: else it would go round in all the room that it has ever had.
        self.actions.clear();
        let wakeup = if let Some(index) = seeder {
            self.seeders[index].as_ref().and_then(Seeder::next_wakeup)
        } else if let Some(peer) = &self.peers[host as usize] {
            self.hungry[host as usize] = peer.is_hungry();
            peer.next_wakeup()
        } else {
            None
        };
        if let Some(at) = wakeup.map(Time::as_nanos)
            && at < self.armed[host as usize]
        {
            let at = at.max(self.now);
            self.armed[host as usize] = at;
            self.push(at, host, Input::Wakeup);
        }
    }

    fn carry_out(&mut self, host: u32, action: Action) {
        match action {
            Action::Send(to, message) => self.send(host, number(to), message),
            Action::ServeChunk { to, chunk } => self.serve(host, number(to), chunk),
            Action::StopServing { to, chunk } => self.stop_serving(host, number(to), chunk),
            Action::PublishHoldings => {
                let Some(peer) = &self.peers[host as usize] else {
                    return;
                };
                let (count, busy) = (peer.acquired().len(), peer.told_busy());
                let chunk = peer.latest().map_or(0, short);
                let count = u32::try_from(count).expect("a build's chunks are a u32");
                let at = self.now + nanos(peer.news_delay()) + self.latency.max();
                self.push(at, host, Input::Publish { count, chunk, busy });
            }
            Action::Connect(contact) => {
                let to = number(contact.host);
                let at = self.now + self.latency(host, to);
                self.push(at, to, Input::Dial { from: host });
            }
            Action::Disconnect { host: other, reason } => {
                use swarm::DisconnectReason::{CorruptChunk, WrongManifest};
                let other = number(other);
                if self.is_host(host) && matches!(reason, CorruptChunk | WrongManifest) {
                    self.result.hosts[host as usize - 1].banned.push(other);
                }
                if self.disconnect(host, other) {
                    let at = self.now + self.latency(host, other);
                    self.push(at, other, Input::Disconnected { from: host });
                }
            }
            Action::OpenStore(manifest) => {
                // A store of nothing is there at once.
                let held = Bitfield::new(manifest.chunk_count());
                let now = Time::from_nanos(self.now);
                let views = Published {
                    fields: &self.published,
                    busy: &self.busy,
                    supplied: self.supplied,
                };
                if let Some(peer) = &mut self.peers[host as usize] {
                    peer.swap_actions(&mut self.actions);
                    peer.handle_event_with(now, Event::StoreOpened { held: held.into() }, &views);
                    peer.swap_actions(&mut self.actions);
                }
            }
            Action::StopReceiving { .. } | Action::Suspect { .. } => {}
            Action::Complete => {
                let plan = &self.setup.plan.hosts[host as usize - 1];
                let result = &mut self.result.hosts[host as usize - 1];
                let began = self.seeded_at + nanos(plan.join_at.unwrap_or_default());
                result.verified_after = Some(Duration::from_nanos(self.now.saturating_sub(began)));
                result.state = HostState::Verified;
                self.done += u32::from(plan.is_required());
            }
        }
    }

    fn send(&mut self, from: u32, to: u32, message: Message) {
        self.result.messages += 1;
        let at = self.now + self.latency(from, to);
        let input = match message {
            // Who asks lacks a chunk, so it holds fewer than the most that a build has.
            Message::Request { chunk, held } => {
                let short = |number: u32| u16::try_from(number).expect("a build has at most 2^16 chunks");
                let (chunk, held) = (short(chunk), short(held));
                Input::Request { from, chunk, held }
            }
            Message::Serving { chunk } => Input::Serving { from, chunk },
            Message::Cancel { chunk } => Input::Cancel { from, chunk },
            message => {
                let entry = Some((id(from), message));
                let slot = match self.rare_free.pop() {
                    Some(slot) => {
                        self.rare[slot as usize] = entry;
                        slot
                    }
                    None => {
                        self.rare.push(entry);
                        u32::try_from(self.rare.len() - 1).expect("fewer messages than a u32 counts")
                    }
                };
                Input::Rare { slot }
            }
        };
        self.push(at, to, input);
    }

    fn serve(&mut self, from: u32, to: u32, chunk: ChunkIndex) {
        if self.is_host(from) && self.serves[from as usize - 1] == Serves::Nothing {
            return;
        }
        let bytes = u64::from(self.setup.manifest.length(chunk));
        self.transfers.begin(self.now, from, to, chunk.get(), bytes);
    }

    /// Has the chunks on their way share the links anew, after some have begun or ended.
    fn share_links(&mut self) {
        self.transfers.share_out(self.now);
        while let Some(alarm) = self.transfers.poll_alarm() {
            match alarm {
                Alarm::Sent { member, at } => self.push(at, member, Input::Sent),
                Alarm::Slow { transfer, generation } => self.show_progress_later(transfer, generation),
            }
        }
    }

    fn show_progress_later(&mut self, transfer: TransferId, generation: u32) {
        if let Some((from, _, _)) = self.transfers.get(transfer, generation) {
            let at = self.now + SLOW_AFTER;
            self.push(at, from, Input::Progress { transfer, generation });
        }
    }

    fn transfer_goes_on(&mut self, transfer: TransferId, generation: u32) {
        let Some((from, to, chunk)) = self.transfers.get(transfer, generation) else {
            return;
        };
        let (from, chunk) = (id(from), self.chunk(chunk));
        if self.expects(to, from, chunk) {
            self.tell(to, Event::ChunkProgress { from, chunk });
        }
        self.show_progress_later(transfer, generation);
    }

    fn sent(&mut self, from: u32) {
        if !self.transfers.rings(self.now, from) {
            return;
        }
        while let Some(ended) = self.transfers.take_sent(self.now, from) {
            let (to, chunk) = (ended.to, self.chunk(ended.chunk));
            let bytes = u64::from(self.setup.manifest.length(chunk));
            if !self.is_host(from) {
                self.result.seeder_bytes += bytes;
            }
            let latency = self.latency(from, to);
            let passed = self.setup.topology.pass(from as usize, to as usize, self.now, bytes);
            if self.setup.topology.zone(from as usize) != self.setup.topology.zone(to as usize) {
                *self.result.cross_zone_bytes.get_or_insert(0) += bytes;
            }
            let arrived = Input::Arrived {
                from,
                chunk: chunk.get(),
            };
            self.push(passed.saturating_add(latency), to, arrived);
            self.tell(from, Event::ChunkServed { to: id(to), chunk });
        }
    }

    fn stop_serving(&mut self, from: u32, to: u32, chunk: ChunkIndex) {
        if let Some(found) = self.transfers.find(from, to, chunk.get()) {
            self.cut_short(found);
            let at = self.now + self.latency(from, to);
            self.push(
                at,
                to,
                Input::Aborted {
                    from,
                    chunk: chunk.get(),
                },
            );
        }
        // Told where it stands, as the live driver does, and not from the queue.
        let now = Time::from_nanos(self.now);
        let event = Event::ChunkServed { to: id(to), chunk };
        if let Some(index) = self.seeder_index(from) {
            if let Some(seeder) = &mut self.seeders[index] {
                seeder.handle_event(now, event);
            }
        } else if let Some(peer) = &mut self.peers[from as usize] {
            let views = Published {
                fields: &self.published,
                busy: &self.busy,
                supplied: self.supplied,
            };
            peer.swap_actions(&mut self.actions);
            peer.handle_event_with(now, event, &views);
            peer.swap_actions(&mut self.actions);
        }
    }

    /// Ends a transfer whose bytes so far are of no use.
    fn cut_short(&mut self, transfer: TransferId) {
        let ended = self.transfers.cut_short(self.now, transfer);
        let sent = u64::from(self.setup.manifest.length(self.chunk(ended.chunk))).saturating_sub(ended.left);
        if self.is_host(ended.to) {
            self.result.hosts[ended.to as usize - 1].bytes_wasted += sent;
        }
        if !self.is_host(ended.from) {
            self.result.seeder_bytes += sent;
        }
    }

    fn arrived(&mut self, host: u32, from: u32, chunk: u32) {
        let (from_id, chunk) = (id(from), self.chunk(chunk));
        let bytes = u64::from(self.setup.manifest.length(chunk));
        self.result.transfers += 1;
        let expected = self.expects(host, from_id, chunk);
        let from_host = self.is_host(from);
        let result = &mut self.result.hosts[host as usize - 1];
        let corrupt = from_host && self.serves[from as usize - 1] == Serves::Corrupt;
        let event = if !expected {
            result.bytes_wasted += bytes;
            Event::ChunkProgress { from: from_id, chunk }
        } else if corrupt {
            result.bytes_wasted += bytes;
            Event::ChunkCorrupt { from: from_id, chunk }
        } else {
            if from_host {
                result.bytes_from_peers += bytes;
            } else {
                result.bytes_from_seeder += bytes;
            }
            self.progress_at = self.now;
            Event::ChunkStored { from: from_id, chunk }
        };
        self.tell(host, event);
    }

    /// What `host` has acquired up to `count` is now known to its neighbours; those that have nothing to ask for look.
    fn publish(&mut self, host: u32, count: u32, chunk: u16, busy: bool) {
        self.busy[host as usize] = busy;
        let published = &mut self.published[host as usize];
        let known = published.count();
        if known >= count {
            return;
        }
        // Most often it is one chunk, and the peer, which nothing has looked at for a while, can be left where it is.
        match &self.peers[host as usize] {
            _ if known + 1 == count => {
                let chunk = self.setup.manifest.chunk(chunk.into());
                published.insert(chunk.expect("it was one when it was queued"));
            }
            Some(peer) => {
                for &chunk in &peer.acquired()[known as usize..count as usize] {
                    published.insert(chunk);
                }
            }
            None => return,
        }
        for position in 0..self.adjacency[host as usize].len() {
            let neighbour = self.adjacency[host as usize][position];
            if self.hungry[neighbour as usize] {
                self.tell(neighbour, Event::NeighboursGained);
            }
        }
    }

    fn join(&mut self, host: u32) {
        let (config, seed) = self.peer(host);
        self.supplied = config.holdings == HoldingsSource::Supplied;
        let mut peer = Peer::new(config, seed, Time::from_nanos(self.now));
        peer.swap_actions(&mut self.actions);
        self.peers[host as usize] = Some(peer);
        self.drain(host);
    }

    /// What the core is given of a host.
    fn peer(&self, host: u32) -> (PeerConfig, u64) {
        let plan = &self.setup.plan.hosts[host as usize - 1];
        let seeders = self.setup.plan.seeders.iter().map(|seeder| Contact {
            host: seeder.id,
            address: Vec::new().into(),
        });
        let base = PeerConfig::with_seeders(plan.id, Vec::new().into(), seeders);
        let mut config = self.setup.settings.peer_config(plan, base);
        // Whoever counts holders has to be told of each.
        config.holdings = if config.policy.counts_holders() {
            HoldingsSource::Messages
        } else {
            HoldingsSource::Supplied
        };
        (config, plan.seed)
    }

    fn leave(&mut self, host: u32) {
        self.collect_stats(host);
        self.peers[host as usize] = None;
        self.hungry[host as usize] = false;
        self.drop_transfers_of(host);
        for other in std::mem::take(&mut self.adjacency[host as usize]) {
            self.adjacency[other as usize].retain(|h| *h != host);
            let at = self.now + self.latency(host, other);
            self.push(at, other, Input::Disconnected { from: host });
        }
    }

    /// The shares of all whom it concerns change after this event, as after any other.
    fn slow_down(&mut self, member: u32, is: bool) {
        let slow_downs = &self.setup.plan.slow_downs;
        let own = slow_downs.binary_search_by_key(&(member - 1), |slow| slow.host);
        let topology = &self.setup.topology;
        let links = match own {
            Ok(found) if is => (slow_downs[found].links.uplink, slow_downs[found].links.downlink),
            _ => (topology.uplink(member as usize), topology.downlink(member as usize)),
        };
        self.transfers.set_links(member, links);
    }

    fn seeder_down(&mut self, member: u32) {
        if let Some(index) = self.seeder_index(member) {
            self.seeders[index] = None;
        }
        self.armed[member as usize] = u64::MAX;
        self.drop_transfers_of(member);
        for other in std::mem::take(&mut self.adjacency[member as usize]) {
            self.adjacency[other as usize].retain(|h| *h != member);
            let at = self.now + self.latency(member, other);
            self.push(at, other, Input::Disconnected { from: member });
        }
    }

    fn seeder_up(&mut self, member: u32) {
        let Some(index) = self.seeder_index(member) else {
            return;
        };
        if self.seeders[index].is_none() {
            self.start_seeder(index, self.now);
        }
        let manifest = Arc::clone(&self.setup.manifest);
        if let Some(seeder) = &mut self.seeders[index] {
            seeder.seed(Time::from_nanos(self.now), manifest);
        }
        self.drain(member);
    }

    /// A seeder that is started again, `again` nanoseconds from the beginning, does not draw what it has drawn before.
    fn start_seeder(&mut self, index: usize, again: u64) {
        let plan = &self.setup.plan.seeders[index];
        let config = self.setup.settings.seeder_config(plan);
        self.seeders[index] = Some(Seeder::new(config, plan.seed ^ again, Time::from_nanos(self.now)));
    }

    fn is_host(&self, member: u32) -> bool {
        member != 0 && member as usize <= self.setup.plan.hosts.len()
    }

    /// Which seeder a member is, where it is one.
    fn seeder_index(&self, member: u32) -> Option<usize> {
        let hosts = self.setup.plan.hosts.len();
        match member as usize {
            0 => Some(0),
            member if member > hosts => Some(member - hosts),
            _ => None,
        }
    }

    fn seeder_member(&self, index: usize) -> u32 {
        let member = if index == 0 {
            0
        } else {
            self.setup.plan.hosts.len() + index
        };
        u32::try_from(member).expect("a region's members are a u32")
    }

    fn drop_transfers_of(&mut self, host: u32) {
        for transfer in self.transfers.of(host) {
            self.cut_short(transfer);
        }
    }

    fn dialled(&mut self, host: u32, from: u32) {
        let there = match self.seeder_index(host) {
            Some(index) => self.seeders[index].is_some(),
            None => self.peers[host as usize].is_some(),
        };
        let back = self.now + self.latency(host, from);
        if !there {
            self.push(back, from, Input::Disconnected { from: host });
        } else if self.peers[from as usize].is_some() && !self.is_connected(from, host) {
            self.adjacency[host as usize].push(from);
            self.adjacency[from as usize].push(host);
            self.push(back, from, Input::Connected { from: host });
            self.tell(host, Event::Connected(id(from)));
        }
    }

    fn disconnect(&mut self, host: u32, other: u32) -> bool {
        if !self.is_connected(host, other) {
            return false;
        }
        self.adjacency[host as usize].retain(|h| *h != other);
        self.adjacency[other as usize].retain(|h| *h != host);
        let mut between = self.transfers.between(host, other);
        between.extend(self.transfers.between(other, host));
        for transfer in between {
            self.cut_short(transfer);
        }
        true
    }

    /// Searches the end that is not a seeder, which is connected to everybody.
    fn is_connected(&self, host: u32, other: u32) -> bool {
        let (searched, wanted) = if self.is_host(host) {
            (host, other)
        } else {
            (other, host)
        };
        self.adjacency[searched as usize].contains(&wanted)
    }

    fn expects(&self, host: u32, from: HostId, chunk: ChunkIndex) -> bool {
        self.peers[host as usize]
            .as_ref()
            .is_some_and(|peer| peer.expects(from, chunk))
    }

    fn chunk(&self, chunk: u32) -> ChunkIndex {
        self.setup.manifest.chunk(chunk).expect("it was one when it was queued")
    }

    fn latency(&self, a: u32, b: u32) -> u64 {
        let Latency {
            within_zone,
            between_zones,
        } = self.latency;
        let zone = |member: u32| self.setup.topology.zone(member as usize);
        if within_zone == between_zones || zone(a) == zone(b) {
            within_zone
        } else {
            between_zones
        }
    }

    fn push(&mut self, at: u64, host: u32, input: Input) {
        if input.moves_on() && at <= self.deadline() {
            self.to_come += 1;
        }
        self.queue.push(at, Queued { host, input });
    }

    fn collect_stats(&mut self, host: u32) {
        let Some(peer) = &self.peers[host as usize] else {
            return;
        };
        self.result.protocol.add(peer.stats());
        let hosts = self.setup.plan.hosts.len();
        let is_host = |member: &&u32| (1..=hosts).contains(&(**member as usize));
        let adjacency = &self.adjacency[host as usize];
        let held = peer.progress().map_or(0, |(held, _)| held);
        let result = &mut self.result.hosts[host as usize - 1];
        result.chunks_held = held;
        result.neighbours = u32::try_from(adjacency.iter().filter(is_host).count()).unwrap_or(u32::MAX);
        if result.verified_after.is_none() {
            let mut lacking = Bitfield::full(self.setup.manifest.chunk_count());
            peer.acquired().iter().for_each(|chunk| {
                lacking.remove(*chunk);
            });
            adjacency
                .iter()
                .filter(is_host)
                .for_each(|n| lacking.subtract(&self.published[*n as usize]));
            result.chunks_without_source = lacking.count();
        }
    }

    fn finish(mut self, end: RegionEnd) -> RegionResult {
        for host in 1..=self.setup.plan.hosts.len() {
            self.collect_stats(u32::try_from(host).expect("a region's hosts are a u32"));
            let result = &mut self.result.hosts[host - 1];
            if result.verified_after.is_none() {
                result.state = if self.setup.plan.hosts[host - 1].is_required() {
                    HostState::Pending
                } else {
                    HostState::Excused
                };
            }
        }
        self.result.end = end;
        self.result.virtual_time = Duration::from_nanos(self.now.saturating_sub(self.seeded_at));
        self.result
    }
}

impl Default for HostResult {
    fn default() -> Self {
        Self {
            state: HostState::Pending,
            verified_after: None,
            bytes_from_seeder: 0,
            bytes_from_peers: 0,
            bytes_wasted: 0,
            chunks_held: 0,
            chunks_without_source: 0,
            neighbours: 0,
            banned: Vec::new(),
        }
    }
}

const FIRST_SEEDER: HostId = HostId::new(0);
/// Events that a host's state is fetched ahead.
const PREFETCH_AHEAD: usize = 6;

/// Has the processor fetch `value` into its cache while other events are handled: with tens of thousands of hosts nearly every
/// event is the first in a while to look at its host.
#[cfg(target_arch = "x86_64")]
pub(crate) fn prefetch<T>(value: &T) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    let start = std::ptr::from_ref(value).cast::<i8>();
    for line in (0..size_of::<T>()).step_by(64) {
        #[expect(
            unsafe_code,
            reason = "a prefetch reads nothing, and the address is within a value that is borrowed"
        )]
        // SAFETY: see the reason; the offset is below the size of `T`.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(start.add(line));
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn prefetch<T>(_value: &T) {}

/// Hosts find each other for this long before the build is seeded.
const JOIN_TIME: Duration = Duration::from_secs(5);
/// Events between looks at whether to go on.
const TELL_EVERY: u64 = 1 << 16;
/// Nothing moves for at least this long in a deadlock.
const DEADLOCK_AFTER: Duration = Duration::from_secs(600);
/// And for so many times of what one try of the core takes: its patience doubles a few times, and grows with what it has seen.
const DEADLOCK_TRIES: u64 = 64;

const fn id(number: u32) -> HostId {
    HostId::new(number as u64)
}

fn number(host: HostId) -> u32 {
    u32::try_from(host.get()).expect("hosts of a region are numbered by a u32")
}

/// A build has at most 2^16 chunks, and a queue of short events is in the cache.
fn short(chunk: ChunkIndex) -> u16 {
    u16::try_from(chunk.get()).expect("a build has at most 2^16 chunks")
}

fn index(host: HostId) -> usize {
    number(host) as usize
}

/// At most a century and a half, so that a few of them can be added up.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenario::{LoadOptions, Scenario};

    /// With the test of the same name of the live runner: what is simulated is the fleet that runs, host for host.
    #[test]
    fn hosts_are_given_to_the_core_as_they_are_planned() {
        let text = "[regions.region-a]\nhosts = 40\nzones = 3\nseeders = 2\n[build]\nsize = \"1 MiB\"\n\
                    [network.host]\nuplink = \"1 MB/s\"\ndownlink = \"2 MB/s\"\nspread = \"50%\"\n\
                    [faults.bad]\nkind = \"corrupt\"\nhosts = 3\n[faults.late]\nkind = \"join-late\"\nhosts = 4\nat = \"2s\"\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        std::fs::write(&path, text).unwrap();
        let scenario = Scenario::load(&path, &LoadOptions::default()).unwrap();
        let plan = scenario.plan(0);
        let world = World::new(RegionSetup {
            manifest: Arc::new(Manifest::new("x", swarm::Bytes::new(1), 16, vec![swarm::Hash::of(b"x")]).unwrap()),
            topology: Topology::new(&plan, &scenario.network).unwrap(),
            plan: plan.clone(),
            settings: scenario.swarm.clone(),
            deadline: Duration::from_secs(1),
        });
        for host in &plan.hosts {
            let member = number(host.id);
            let (config, seed) = world.peer(member);
            assert_eq!((config.host, config.zone, seed), (host.id, host.swarm_zone, host.seed));
            assert!(
                config
                    .seeders
                    .iter()
                    .map(|seeder| seeder.host)
                    .eq(plan.seeders.iter().map(|seeder| seeder.id))
            );
            let links = host.links.unwrap();
            assert_eq!(world.transfers.links(member), (links.uplink, links.downlink));
            assert_eq!(world.setup.topology.zone(member as usize), host.zone as usize);
            assert_eq!(world.serves[host.index as usize], host.serves);
        }
        for seeder in &plan.seeders {
            assert_eq!(id(world.seeder_member(seeder.index as usize)), seeder.id);
        }
        assert_eq!(world.expected as usize, plan.required());
    }
}
