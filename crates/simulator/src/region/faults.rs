//! What goes wrong in a region and passes: hosts that stand still, are slow or are down, connections that end, paths that let
//! nothing pass.
//!
//! It is put around the members and the network, which know nothing of it: what is told to a member that stands still is told when
//! it goes on, and what is sent where nothing passes is sent on when something does. Invariant: whatever waits here is there once,
//! and goes on in the order in which it came. Who and what a fault is about is for the plan to say ([`scenario::Interruption`],
//! [`scenario::Disturbance`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scenario::{FaultCounts, HostState, Interruption, KeptStore, Member, Passage, Trouble};
use swarm::{Bitfield, ChunkIndex, Event, Message, Time};

use super::agenda::Input;
use super::members::Members;
use super::{Region, nanos};
use crate::member::MemberId;
use crate::transfers::TransferId;

/// What is wrong now, and what waits for it to be over.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Cuts that last, by their places in the plan.
    cuts: Vec<u32>,
    /// Members that stand still, with what they have not seen yet.
    still: BTreeMap<MemberId, Unseen>,
    /// What waits on its way, in its order.
    held: Vec<Held>,
    /// Dials that nobody has answered, and since when.
    dials: Vec<(MemberId, MemberId, u64)>,
    /// What hosts that are down still have.
    kept: BTreeMap<MemberId, Bitfield>,
    pub(super) counts: FaultCounts,
}

/// What a member that stands still will see when it goes on.
#[derive(Debug, Default)]
struct Unseen {
    /// In the order in which it came.
    waiting: Vec<Waiting>,
    /// It would have been woken.
    overslept: bool,
    /// Neighbours have more than they had.
    gained: bool,
}

#[derive(Debug)]
enum Waiting {
    Input(Input),
    Event(Event),
}

/// Something that waits on its way from one member to another.
#[derive(Debug)]
enum Held {
    Message(MemberId, MemberId, Message),
    /// A chunk of which so many bytes have not left.
    Chunk(MemberId, MemberId, u32, u64),
    /// The sender has ended something.
    Input(MemberId, MemberId, Input),
}

impl Held {
    const fn ends(&self) -> (MemberId, MemberId) {
        match self {
            Self::Message(from, to, _) | Self::Chunk(from, to, ..) | Self::Input(from, to, _) => (*from, *to),
        }
    }
}

impl Faults {
    /// Whether everything passes and everybody moves.
    #[inline]
    pub(super) fn is_calm(&self) -> bool {
        self.cuts.is_empty() && self.still.is_empty()
    }

    #[inline]
    pub(super) fn stands_still(&self, member: MemberId) -> bool {
        !self.still.is_empty() && self.still.contains_key(&member)
    }

    /// Whether a host is started again.
    pub(super) fn has_kept(&self, host: MemberId) -> bool {
        self.kept.contains_key(&host)
    }

    /// What a host that is started again still has; nothing where it was not down.
    pub(super) fn take_kept(&mut self, host: MemberId) -> Option<Bitfield> {
        self.kept.remove(&host)
    }
}

/// What the plan says.
impl Region {
    /// Notes when everything of this kind begins and ends.
    pub(super) fn expect_faults(&mut self) {
        let plan = Arc::clone(&self.setup.plan);
        for (place, disturbance) in (0..).zip(&plan.disturbances) {
            let member = Members::host(disturbance.host as usize);
            let (at, lasts) = (disturbance.at, disturbance.lasts);
            self.expect_fault(member, at, lasts, |is| Input::Disturbed { place, is });
        }
        for (place, interruption) in (0..).zip(&plan.interruptions) {
            let (at, lasts) = (interruption.at, interruption.lasts);
            let lasts = (!lasts.is_zero()).then_some(lasts);
            self.expect_fault(MemberId::FIRST_SEEDER, at, lasts, |is| Input::Interrupted { place, is });
        }
    }

    fn expect_fault(&mut self, member: MemberId, at: Duration, lasts: Option<Duration>, input: impl Fn(bool) -> Input) {
        let from = self.seeded_at + nanos(at);
        self.agenda.push(from, member, input(true));
        if let Some(lasts) = lasts {
            self.agenda.push(from + nanos(lasts), member, input(false));
        }
    }

    /// What goes wrong with a host begins, or is over.
    pub(super) fn disturbed(&mut self, host: MemberId, place: u32, is: bool) {
        self.count_fault(is);
        match (self.setup.plan.disturbances[place as usize].what, is) {
            (Trouble::Slow(links), true) => self.transfers.set_links(host, (links.uplink, links.downlink)),
            (Trouble::Slow(_), false) => {
                let links = (self.setup.topology.uplink(host), self.setup.topology.downlink(host));
                self.transfers.set_links(host, links);
            }
            (Trouble::Pause, true) => self.stand_still(host),
            (Trouble::Pause, false) => self.go_on(host),
            (Trouble::Down(store), true) => self.crash(host, store),
            (Trouble::Down(_), false) => self.join(host),
        }
    }

    /// What goes wrong between members begins, or is over.
    pub(super) fn interrupted(&mut self, place: u32, is: bool) {
        self.count_fault(is);
        if !is {
            self.faults.cuts.retain(|cut| *cut != place);
            self.release();
            return;
        }
        let plan = Arc::clone(&self.setup.plan);
        let interruption = &plan.interruptions[place as usize];
        if !interruption.lasts.is_zero() {
            self.faults.cuts.push(place);
        }
        self.end_connections(interruption);
        self.suspend_what_is_cut(interruption);
    }

    pub(super) fn count_fault(&mut self, begins: bool) {
        let counts = &mut self.faults.counts;
        let counted = if begins { &mut counts.begun } else { &mut counts.ended };
        *counted += 1;
    }
}

/// Hosts that stand still or are down.
impl Region {
    fn stand_still(&mut self, host: MemberId) {
        if self.members.is_there(host) {
            self.faults.still.insert(host, Unseen::default());
            self.suspend(&self.transfers.of(host));
        }
    }

    /// Which of both comes first when it goes on, what has come meanwhile or its clock, is a matter of chance.
    fn go_on(&mut self, host: MemberId) {
        let Some(unseen) = self.faults.still.remove(&host) else {
            return;
        };
        self.release();
        let clock_first = host.number().is_multiple_of(2);
        if unseen.overslept && clock_first {
            self.tell(host, Event::Wakeup);
        }
        for waiting in unseen.waiting {
            match waiting {
                Waiting::Input(input) => self.handle(host, input),
                Waiting::Event(event) => self.tell(host, event),
            }
        }
        if unseen.overslept && !clock_first {
            self.tell(host, Event::Wakeup);
        }
        if unseen.gained {
            self.tell_growth(host);
        }
    }

    /// Whether `member` stands still and will see this when it goes on. What happens to what it has sent does not wait for it.
    pub(super) fn is_unseen(&mut self, member: MemberId, input: Input) -> bool {
        let Some(unseen) = self.faults.still.get_mut(&member) else {
            return false;
        };
        match input {
            Input::Wakeup => unseen.overslept |= self.members.wakes(member, self.now),
            Input::Request { .. }
            | Input::Serving { .. }
            | Input::Cancel { .. }
            | Input::Message { .. }
            | Input::Arrived { .. }
            | Input::Aborted { .. }
            | Input::Connected { .. }
            | Input::Disconnected { .. } => unseen.waiting.push(Waiting::Input(input)),
            Input::Sent
            | Input::Progress { .. }
            | Input::Passing { .. }
            | Input::Publish { .. }
            | Input::Dial { .. }
            | Input::Join
            | Input::Leave
            | Input::SeederDown
            | Input::SeederUp
            | Input::Disturbed { .. }
            | Input::Interrupted { .. } => return false,
        }
        true
    }

    /// Likewise of an event that comes of what others do.
    pub(super) fn tell_later(&mut self, member: MemberId, event: Event) {
        if let Some(unseen) = self.faults.still.get_mut(&member) {
            unseen.waiting.push(Waiting::Event(event));
        }
    }

    /// Tells a host that a neighbour has published something, or when it goes on.
    pub(super) fn tell_growth(&mut self, host: MemberId) {
        if let Some(unseen) = self.faults.still.get_mut(&host) {
            unseen.gained = true;
            return;
        }
        debug_assert!(self.members.is_settled(), "told while somebody's actions wait");
        self.members.tell_growth(host, Time::from_nanos(self.now), &self.gossip);
        self.carry_out_all(host);
    }

    /// A host goes down. One that had the build and loses a part of it is not done any more.
    fn crash(&mut self, host: MemberId, store: KeptStore) {
        let Some((index, peer)) = self.members.host_index(host).zip(self.members.peer(host)) else {
            return;
        };
        let mut kept = Bitfield::new(self.setup.manifest.chunk_count());
        for chunk in peer.acquired().iter().filter(|chunk| store.keeps(**chunk)) {
            kept.insert(*chunk);
        }
        let result = &mut self.result.hosts[index];
        if !kept.is_full() && result.verified_after.take().is_some() {
            result.state = HostState::Pending;
            self.done -= 1;
        }
        self.faults.kept.insert(host, kept);
        self.leave(host);
    }
}

/// Connections that end, and what waits on its way.
impl Region {
    /// What becomes of what `from` sends to `to` now.
    pub(super) fn passage(&self, from: MemberId, to: MemberId) -> Passage {
        if self.faults.cuts.is_empty() {
            return Passage::Open;
        }
        let (from, to) = (self.name(from), self.name(to));
        let cuts = self.faults.cuts.iter();
        let cuts = cuts.map(|cut| &self.setup.plan.interruptions[*cut as usize]);
        cuts.map(|cut| cut.passage(from, to)).max().unwrap_or_default()
    }

    /// The member as the plan knows it.
    fn name(&self, member: MemberId) -> Member {
        let number = |index: usize| u32::try_from(index).expect("a region's members are a u32");
        match self.members.host_index(member) {
            Some(host) => Member::Host(number(host)),
            None => Member::Seeder(number(self.members.seeder_index(member).unwrap_or_default())),
        }
    }

    fn end_connections(&mut self, interruption: &Interruption) {
        for host in &interruption.hosts {
            let own = Members::host(*host as usize);
            let neighbours = self.members.neighbours(own).to_vec();
            let connected: Vec<Member> = neighbours.iter().map(|other| self.name(*other)).collect();
            let ends = interruption.ends(self.name(own), &connected);
            for (other, name) in neighbours.into_iter().zip(connected) {
                if ends.contains(&name) {
                    self.reset(own, other);
                }
            }
        }
    }

    /// A connection ends, and both ends learn of it.
    fn reset(&mut self, a: MemberId, b: MemberId) {
        self.faults.counts.connections_cut += 1;
        self.unlink(a, b);
        let at = self.now + self.setup.topology.delay(a, b);
        self.agenda.push(at, a, Input::Disconnected { from: b });
        self.agenda.push(at, b, Input::Disconnected { from: a });
    }

    /// Two members are connected no more, whoever knows.
    pub(super) fn unlink(&mut self, a: MemberId, b: MemberId) {
        self.members.disconnect(a, b);
        let mut between = self.transfers.between(a, b);
        between.extend(self.transfers.between(b, a));
        for transfer in between {
            self.cut_short(transfer);
        }
        self.drop_held_chunks(|from, to| (from, to) == (a, b) || (from, to) == (b, a));
    }

    /// Sends a message, now or when something passes.
    pub(super) fn post(&mut self, from: MemberId, to: MemberId, message: Message) {
        if self.passage(from, to) == Passage::Held {
            self.faults.held.push(Held::Message(from, to, message));
            return;
        }
        let at = self.now + self.setup.topology.delay(from, to);
        self.agenda.post(at, from, to, message);
    }

    /// Has `to` see that `from` has ended something, now or when something passes.
    pub(super) fn let_see(&mut self, from: MemberId, to: MemberId, input: Input) {
        if self.passage(from, to) == Passage::Held {
            self.faults.held.push(Held::Input(from, to, input));
            return;
        }
        let at = self.now + self.setup.topology.delay(from, to);
        self.agenda.push(at, to, input);
    }

    /// Whether bytes move from one to the other.
    fn is_flowing(&self, from: MemberId, to: MemberId) -> bool {
        let moves = |member| !self.faults.stands_still(member);
        moves(from) && moves(to) && self.passage(from, to) != Passage::Held
    }

    /// Whether a chunk that is to be sent waits, or is not sent at all since its connection has ended.
    pub(super) fn is_kept_from_sending(&mut self, from: MemberId, to: MemberId, chunk: u32, bytes: u64) -> bool {
        if self.faults.is_calm() || self.is_flowing(from, to) {
            return false;
        }
        self.faults.held.push(Held::Chunk(from, to, chunk, bytes));
        true
    }

    /// Stops the chunks between those of a cut that let nothing pass.
    fn suspend_what_is_cut(&mut self, interruption: &Interruption) {
        for own in interruption.hosts.iter().map(|host| Members::host(*host as usize)) {
            for other in self.members.neighbours(own).to_vec() {
                for (from, to) in [(own, other), (other, own)] {
                    if self.passage(from, to) == Passage::Held {
                        self.suspend(&self.transfers.between(from, to));
                    }
                }
            }
        }
    }

    /// Stops chunks on their way that do not move any more; what is left of them waits.
    fn suspend(&mut self, transfers: &[TransferId]) {
        for transfer in transfers {
            let ended = self.transfers.cut_short(self.now, *transfer);
            let held = Held::Chunk(ended.from, ended.to, ended.chunk, ended.left.max(1));
            self.faults.held.push(held);
        }
    }

    /// Sends on what does not have to wait any more.
    fn release(&mut self) {
        for held in std::mem::take(&mut self.faults.held) {
            let (from, to) = held.ends();
            let waits = match held {
                Held::Chunk(..) => !self.is_flowing(from, to),
                Held::Message(..) | Held::Input(..) => self.passage(from, to) == Passage::Held,
            };
            match held {
                held if waits => self.faults.held.push(held),
                Held::Chunk(from, to, chunk, left) => {
                    self.transfers.begin(self.now, from, to, chunk, left);
                }
                // Who has connected anew meanwhile has another connection.
                Held::Message(from, to, message) if self.members.is_connected(from, to) => self.post(from, to, message),
                Held::Message(..) => {}
                Held::Input(from, to, input) => self.let_see(from, to, input),
            }
        }
    }

    /// Chunks that wait are not sent any more; what has left of them is of no use.
    pub(super) fn drop_held_chunks(&mut self, is: impl Fn(MemberId, MemberId) -> bool) {
        if self.faults.held.is_empty() {
            return;
        }
        let mut dropped = Vec::new();
        self.faults.held.retain(|held| match held {
            Held::Chunk(from, to, chunk, left) if is(*from, *to) => {
                dropped.push((*from, *to, *chunk, *left));
                false
            }
            _ => true,
        });
        for (from, to, chunk, left) in dropped {
            self.count_cut_short(from, to, chunk, left);
        }
    }

    /// Stops a chunk that waits; whether a part of it had left.
    pub(super) fn stop_held(&mut self, from: MemberId, to: MemberId, chunk: ChunkIndex) -> bool {
        let is = |held: &Held| matches!(held, Held::Chunk(f, t, c, _) if (*f, *t, *c) == (from, to, chunk.get()));
        let Some(place) = self.faults.held.iter().position(is) else {
            return false;
        };
        let Held::Chunk(_, _, number, left) = self.faults.held.remove(place) else {
            return false;
        };
        self.count_cut_short(from, to, number, left);
        left < u64::from(self.setup.manifest.length(chunk))
    }

    /// Whether a dial that has reached `to` is answered neither way for now. It is tried again, as TCP does, and given up after a while.
    pub(super) fn is_unanswered(&mut self, to: MemberId, from: MemberId) -> bool {
        if self.faults.is_calm() && self.faults.dials.is_empty() {
            return false;
        }
        let known = self.faults.dials.iter().position(|dial| (dial.0, dial.1) == (from, to));
        let passages = self.passage(from, to).max(self.passage(to, from));
        if passages == Passage::Open && !self.faults.stands_still(to) {
            if let Some(known) = known {
                self.faults.dials.swap_remove(known);
            }
            return false;
        }
        let since = known.map_or(self.now, |known| self.faults.dials[known].2);
        if passages == Passage::Refused || self.now.saturating_sub(since) >= DIAL_PATIENCE {
            if let Some(known) = known {
                self.faults.dials.swap_remove(known);
            }
            let at = self.now + self.setup.topology.delay(to, from);
            self.agenda.push(at, from, Input::Disconnected { from: to });
            return true;
        }
        if known.is_none() {
            self.faults.dials.push((from, to, self.now));
        }
        self.agenda.push(self.now + DIALS_AGAIN_AFTER, to, Input::Dial { from });
        true
    }
}

/// A dial that nobody answers has failed after this, in nanoseconds.
const DIAL_PATIENCE: u64 = 10_000_000_000;
/// And is tried again so often.
const DIALS_AGAIN_AFTER: u64 = 500_000_000;
