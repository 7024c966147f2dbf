//! One region in virtual time: its hosts and its seeders, each the core's own state machine, and the network between them.
//!
//! This is the core's second driver. It carries actions out and tells what came of them, and decides nothing. Where the
//! live driver moves bytes, this one computes when they would have arrived. Its parts: who is there and connected with whom
//! ([`members`], [`comings`]), what is still to happen ([`agenda`]), what hosts have published ([`gossip`]), chunks on their way
//! ([`deliveries`]), what goes wrong and passes ([`faults`]) and what came of it ([`result`]).

mod agenda;
mod comings;
mod deliveries;
mod faults;
mod gossip;
mod members;
mod passing;
mod recording;
mod result;

use std::sync::Arc;
use std::time::Duration;

use explain::Sample;
use scenario::{HostState, RegionEnd, RegionPlan, SwarmSettings, Trouble};
use smallvec::SmallVec;
use swarm::{Action, Event, Manifest, News, Time};

use crate::member::MemberId;
use crate::prefetch::prefetch;
use crate::topology::Topology;
use crate::transfers::Transfers;
use agenda::{Agenda, Entry, Input, short};
use faults::Faults;
use gossip::Gossip;
use members::Members;
use passing::Passings;
use recording::Recording;
pub use result::{HostResult, RegionResult};

/// What a region consists of.
pub(crate) struct RegionSetup {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) topology: Topology,
    pub(crate) plan: Arc<RegionPlan>,
    pub(crate) settings: SwarmSettings,
    /// Which chunks are recorded; nothing is where absent.
    pub(crate) recorded: Option<Sample>,
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

/// A region while it is simulated.
struct Region {
    setup: RegionSetup,
    now: u64,
    agenda: Agenda,
    members: Members,
    gossip: Gossip,
    transfers: Transfers,
    passings: Passings,
    faults: Faults,
    recording: Recording,
    seeded_at: u64,
    done: u32,
    expected: u32,
    /// When a chunk was last stored, or a member came or went.
    progress_at: u64,
    result: RegionResult,
}

/// Runs a region to its end. `tell` is called now and then; it answers whether to go on.
pub(crate) fn run(setup: RegionSetup, tell: &mut dyn FnMut(RegionStatus) -> bool) -> RegionResult {
    let mut region = Region::new(setup);
    region.begin();
    let end = region.run(tell);
    region.finish(end)
}

impl Region {
    fn new(setup: RegionSetup) -> Self {
        let hosts = setup.plan.hosts.len();
        let topology = &setup.topology;
        let fastest = topology.uplink_max().max(1);
        let horizon = setup.chunk_nanos(fastest).saturating_add(topology.delay_max());
        let horizon = horizon.saturating_mul(4).clamp(1 << 16, 1 << 40);
        let seeded_at = nanos(JOIN_TIME).saturating_add(topology.delay_max().saturating_mul(20));
        let deadline = seeded_at.saturating_add(nanos(setup.deadline));
        let members = (0..hosts + setup.plan.seeders.len()).map(MemberId::at);
        Self {
            now: 0,
            agenda: Agenda::new(horizon, deadline),
            members: Members::new(&setup.plan),
            gossip: Gossip::new(hosts, setup.manifest.chunk_count()),
            transfers: Transfers::new(members.map(|member| (topology.uplink(member), topology.downlink(member)))),
            passings: Passings::default(),
            faults: Faults::default(),
            recording: Recording::new(hosts, setup.recorded.as_ref()),
            seeded_at,
            done: 0,
            expected: u32::try_from(setup.plan.required()).expect("a region's hosts are a u32"),
            progress_at: 0,
            result: RegionResult::new(hosts),
            setup,
        }
    }

    fn run(&mut self, tell: &mut dyn FnMut(RegionStatus) -> bool) -> RegionEnd {
        let deadlock_after = self.setup.deadlock_after();
        while self.done < self.expected {
            let Some((at, Entry { member, input })) = self.agenda.pop() else {
                return RegionEnd::Deadlock;
            };
            if at > self.agenda.deadline() {
                self.now = self.agenda.deadline();
                return RegionEnd::Deadline;
            }
            self.fetch_ahead();
            self.now = at.max(self.now);
            self.result.events += 1;
            if self.result.events.is_multiple_of(TELL_EVERY) && !tell(self.status()) {
                return RegionEnd::Stopped;
            }
            // Whether what arrives is of use has yet to be seen.
            if input.moves_on() && !matches!(input, Input::Arrived { .. }) {
                self.progress_at = self.now;
            }
            let quiet = self.now.saturating_sub(self.progress_at);
            if quiet > deadlock_after && !self.agenda.is_moving() && self.transfers.count() == 0 {
                return RegionEnd::Deadlock;
            }
            self.handle(member, input);
            self.share_links();
        }
        tell(self.status());
        RegionEnd::Converged
    }

    /// Has what an event to come will look at brought into the processor's cache.
    #[inline]
    fn fetch_ahead(&self) {
        if let Some(Entry { member, input }) = self.agenda.peek_ahead(PREFETCH_FAR_AHEAD) {
            match input {
                Input::Sent => self.transfers.fetch_uplink(*member),
                Input::Request { from, .. } => self.transfers.fetch_link(*member, *from),
                _ => {}
            }
        }
        let Some(&Entry { member, input }) = self.agenda.peek_ahead(PREFETCH_AHEAD) else {
            return;
        };
        if let Input::Publish { .. } = input {
            self.members.fetch_neighbours(member);
            self.gossip.fetch_of(member);
            return;
        }
        self.members.fetch(member);
        match input {
            Input::Sent => self.transfers.fetch_sent(member),
            Input::Arrived { .. } => {
                let result = self.members.host_index(member).map(|host| &self.result.hosts[host]);
                result.inspect(|result| prefetch(*result));
            }
            _ => {}
        }
    }

    fn status(&self) -> RegionStatus {
        RegionStatus {
            virtual_time: self.since_seeding(),
            hosts_done: self.done,
            transfers: self.result.transfers,
        }
    }

    fn since_seeding(&self) -> Duration {
        Duration::from_nanos(self.now.saturating_sub(self.seeded_at))
    }

    fn handle(&mut self, member: MemberId, input: Input) {
        if self.faults.stands_still(member) && self.is_unseen(member, input) {
            return;
        }
        match input {
            Input::Wakeup => {
                if self.members.wakes(member, self.now) {
                    self.tell(member, Event::Wakeup);
                }
            }
            Input::Request { from, chunk, held } => {
                let (chunk, held) = (chunk.into(), held.into());
                self.hears(member, from, swarm::Message::Request { chunk, held });
            }
            Input::Serving { from, chunk, waited } => {
                let chunk = chunk.into();
                self.hears(member, from, swarm::Message::Serving { chunk, waited });
            }
            Input::Cancel { from, chunk } => self.hears(member, from, swarm::Message::Cancel { chunk }),
            Input::Message { slot } => {
                if let Some((from, message)) = self.agenda.take_message(slot) {
                    self.tell(member, Event::Message(from, message));
                }
            }
            Input::Arrived { from, chunk } => self.arrived(member, from, chunk),
            Input::Sent => self.sent(member),
            Input::Progress { transfer, generation } => self.transfer_goes_on(transfer, generation),
            Input::Passing { slot } => self.passes(slot),
            Input::Aborted { from, chunk } => self.aborted(member, from, chunk),
            Input::Publish { count, chunk, busy } => self.publish(member, count, chunk, busy),
            Input::Dial { from } => self.dialled(member, from),
            Input::Connected { from } => self.connected(member, from),
            Input::Disconnected { from } => self.tell(member, Event::Disconnected(from.host())),
            Input::Join => self.join(member),
            Input::Leave => self.leaves(member),
            Input::SeederDown => self.seeder_down(member),
            Input::SeederUp => self.seeder_up(member),
            Input::Disturbed { place, is } => self.disturbed(member, place, is),
            Input::Interrupted { place, is } => self.interrupted(place, is),
        }
    }

    fn hears(&mut self, member: MemberId, from: MemberId, message: swarm::Message) {
        self.tell(member, Event::Message(from.host(), message));
    }

    /// Tells `member` of an event and carries out what it wants done.
    fn tell(&mut self, member: MemberId, event: Event) {
        debug_assert!(self.members.is_settled(), "told while somebody's actions wait");
        if self.faults.stands_still(member) {
            self.tell_later(member, event);
            return;
        }
        self.tell_at_once(member, event);
        self.carry_out_all(member);
    }

    /// Tells `member` of an event that an action of its own has brought about. What follows from it is carried out after
    /// what it wanted before.
    fn tell_at_once(&mut self, member: MemberId, event: Event) {
        self.recording.event(self.members.host_index(member), self.now, &event);
        let now = Time::from_nanos(self.now);
        self.members.tell(member, now, event, &self.gossip);
    }

    /// Carries out what `member` wants done, and notes when it wants to be woken.
    fn carry_out_all(&mut self, member: MemberId) {
        while let Some(action) = self.members.next_action(member) {
            self.recording
                .action(self.members.host_index(member), self.now, &action);
            self.carry_out(member, action);
        }
        if let Some(at) = self.members.settle(member, self.now) {
            self.agenda.push(at, member, Input::Wakeup);
        }
    }

    fn carry_out(&mut self, member: MemberId, action: Action) {
        match action {
            Action::Send(to, message) => {
                self.result.messages += 1;
                self.post(member, MemberId::of(to), message);
            }
            Action::ServeChunk { to, chunk } => self.serve(member, MemberId::of(to), chunk),
            Action::StopServing { to, chunk } => self.stop_serving(member, MemberId::of(to), chunk),
            Action::Gossip(news) => self.publish_later(member, news),
            Action::Connect(contact) => {
                let to = MemberId::of(contact.host);
                let at = self.now + self.setup.topology.delay(member, to);
                self.agenda.push(at, to, Input::Dial { from: member });
            }
            Action::Disconnect { host, reason } => self.disconnect(member, MemberId::of(host), reason),
            Action::OpenStore(_) => self.open_store(member),
            Action::Suspect { .. } | Action::Refuse { .. } => {}
            Action::Complete => self.completed(member),
        }
    }

    /// What `host` has to say is to reach its neighbours, all at the same time, when the furthest of them would hear of it.
    fn publish_later(&mut self, host: MemberId, news: News) {
        let at = self.now + nanos(news.after) + self.setup.topology.delay_max();
        let news = Input::Publish {
            count: news.held,
            chunk: news.latest.map_or(0, |chunk| short(chunk.get())),
            busy: news.busy,
        };
        self.agenda.push(at, host, news);
    }

    /// What `host` has acquired up to `count` is now known to its neighbours; those that have nothing to ask for look.
    fn publish(&mut self, host: MemberId, count: u32, latest: u16, busy: bool) {
        let latest = self.setup.manifest.chunk(latest.into());
        let members = &self.members;
        let acquired = || members.peer(host).map(|peer| peer.acquired());
        if !self.gossip.publish(host, (count, latest, busy), acquired) {
            return;
        }
        let neighbours = self.members.neighbours(host).iter().copied();
        // Most often nobody is, and to see that needs no list and no branch for each.
        if !neighbours
            .clone()
            .fold(false, |any, host| any | self.members.is_hungry(host))
        {
            return;
        }
        let hungry: SmallVec<[MemberId; 8]> = neighbours.filter(|host| self.members.is_hungry(*host)).collect();
        for neighbour in hungry {
            self.tell_growth(neighbour);
        }
    }

    /// A host has the whole build.
    fn completed(&mut self, member: MemberId) {
        let Some(host) = self.members.host_index(member) else {
            return;
        };
        let plan = &self.setup.plan.hosts[host];
        let began = self.seeded_at + nanos(plan.join_at.unwrap_or_default());
        let result = &mut self.result.hosts[host];
        // It may have lost a chunk and have it again, or only say that it has them all.
        if plan.serves.claims_all() || result.verified_after.is_some() {
            return;
        }
        result.verified_after = Some(Duration::from_nanos(self.now.saturating_sub(began)));
        result.state = HostState::Verified;
        self.done += u32::from(plan.is_required());
    }

    /// Writes down how a host stands, before it goes or at the end.
    fn account_for(&mut self, member: MemberId) {
        let (Some(host), Some(peer)) = (self.members.host_index(member), self.members.peer(member)) else {
            return;
        };
        self.result.protocol.add(peer.stats());
        let payload = peer.payload();
        let neighbours = self.members.neighbours(member).iter().copied();
        let hosts = neighbours.filter(|neighbour| self.members.is_host(*neighbour));
        let result = &mut self.result.hosts[host];
        // Of each of its lives.
        result.bytes_from_seeder += payload.from_seeders;
        result.bytes_from_peers += payload.from_peers;
        result.bytes_wasted += payload.wasted;
        result.chunks_held = peer.progress().map_or(0, |(held, _)| held);
        result.neighbours = u32::try_from(hosts.count()).unwrap_or(u32::MAX);
        if result.verified_after.is_none() {
            let lacking = peer.chunks_without_source_in(&self.gossip).len();
            result.chunks_without_source = u32::try_from(lacking).unwrap_or(u32::MAX);
        }
    }

    fn finish(mut self, end: RegionEnd) -> RegionResult {
        for host in 0..self.setup.plan.hosts.len() {
            self.account_for(Members::host(host));
            let result = &mut self.result.hosts[host];
            if result.verified_after.is_none() {
                result.state = if self.setup.plan.hosts[host].is_required() {
                    HostState::Pending
                } else {
                    HostState::Excused
                };
            }
        }
        self.result.end = end;
        self.result.faults = self.faults.counts;
        self.result.virtual_time = self.since_seeding();
        let recording = std::mem::take(&mut self.recording);
        self.result.records = recording.records(&self.setup.plan, &self.result.hosts, (self.seeded_at, self.now));
        self.result
    }
}

impl RegionSetup {
    /// How long a chunk takes at this rate.
    fn chunk_nanos(&self, rate: u64) -> u64 {
        u64::from(self.manifest.chunk_size()).saturating_mul(1_000_000_000) / rate
    }

    /// How long nothing may move before nothing more is to be expected: longer than the core waits at most before it turns to
    /// somebody else, which goes by the patience that it was given, by what chunks take, and by what messages do.
    fn deadlock_after(&self) -> u64 {
        let slow = self
            .plan
            .disturbances
            .iter()
            .filter_map(|disturbance| match disturbance.what {
                Trouble::Slow(links) => Some(links.uplink.min(links.downlink)),
                Trouble::Pause | Trouble::Down(_) => None,
            });
        let slow = slow.min();
        let slowest = self.topology.slowest().min(slow.unwrap_or(u64::MAX)).max(1);
        let one_try = nanos(self.settings.patience)
            .max(self.chunk_nanos(slowest))
            .max(self.topology.delay_max());
        nanos(DEADLOCK_AFTER).max(one_try.saturating_mul(DEADLOCK_TRIES))
    }
}

/// Events that a host's state is fetched ahead; and those that what is found by what was fetched before is.
const PREFETCH_FAR_AHEAD: usize = 12;
const PREFETCH_AHEAD: usize = 6;
/// Hosts find each other for this long before the build is seeded.
const JOIN_TIME: Duration = Duration::from_secs(5);
/// Events between looks at whether to go on.
const TELL_EVERY: u64 = 1 << 16;
/// Nothing moves for at least this long in a deadlock.
const DEADLOCK_AFTER: Duration = Duration::from_secs(600);
/// And for so many times of what one try of the core takes: its patience doubles a few times, and grows with what it has seen.
const DEADLOCK_TRIES: u64 = 64;

/// At most a century and a half, so that a few of them can be added up.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 4)
}

#[cfg(test)]
mod tests;
