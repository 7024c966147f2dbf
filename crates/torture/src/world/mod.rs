//! A day while it is played: members, each the core's own state machine, the network between them, and a referee who looks
//! at everything that is said and done.
//!
//! This is a driver of the core, apart from the one that is live and the one that forecasts: what they have in common with it by
//! mistake it would not find. It carries actions out and decides nothing. Time is virtual and in nanoseconds, and everything
//! random comes from the day's seed, so that a day is the same each time it is played.

mod conns;
mod faults;
mod life;
mod member;
mod mischief;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use swarm::{Action, Bytes, ChunkIndex, Event, Hash, HostId, Manifest, Message, Time};

use crate::day::{Day, Nanos};
use crate::queue::Queue;
use crate::referee::Referee;
use crate::trace::{Trace, describe};
use conns::{Conn, ConnId, Item, Side};
pub(crate) use faults::mixed;
pub(crate) use life::seeder_id;
pub(crate) use member::{Core, Member};

/// A member's place in [`World::members`]: seeders first.
pub(crate) type Index = usize;

/// A day while it is played.
pub(crate) struct World<'a> {
    pub(crate) day: &'a Day,
    pub(crate) now: Nanos,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) members: Vec<Member>,
    /// Members by number.
    places: Vec<Option<Index>>,
    conns: Vec<Conn>,
    queue: Queue<What>,
    /// Of connections' delays and of what members do that should not.
    chance: Xoshiro256PlusPlus,
    /// Faults that have begun and not ended, by their place in the day.
    active: Vec<usize>,
    /// Joins, faults and ends of faults that are in the queue.
    disturbances: usize,
    /// Whether the seeders have the build, and whether they are there to give it.
    seeded: bool,
    /// The generation of hosts that is there.
    generation: u32,
    tickets: u64,
    events: u64,
    actions: VecDeque<Action>,
    pub(crate) referee: Referee,
    pub(crate) trace: Trace<'a>,
}

/// What is to happen.
enum What {
    /// A member is woken, if it still wants to be.
    Wakeup(Index),
    /// Something comes out of a connection at this side.
    Arrives(ConnId, Side, Box<Item>),
    /// Somebody who wants a connection has reached the other.
    Dialled { from: Index, to: Index },
    /// Somebody who wants a connection tries once more to reach the other.
    DialAgain { from: Index, to: Index, tried: usize },
    /// No connection could be made.
    DialFailed { from: Index, to: Index },
    /// Who dialled learns that there is a connection.
    Established(ConnId),
    /// An end learns that its connection is gone.
    Lost(ConnId, Side),
    /// A member's uplink has sent a piece.
    PieceLeft {
        from: Index,
        life: u32,
        conn: ConnId,
        side: Side,
        ticket: u64,
        last: bool,
    },
    /// A member looks again whether somebody takes what it has to send.
    Pump(Index),
    /// The store that was asked for in this life of a member is there.
    StoreOpened(Index, u32),
    /// A member gives up on a chunk that it was to send.
    GivesUp(Index, HostId, ChunkIndex),
    /// A fault begins.
    Begins(usize),
    /// A fault ends.
    Ends(usize),
    /// A host comes.
    Joins(Index),
    /// A host goes, if this is still the life in which it was to.
    Leaves(Index, u32),
    /// The seeders have the build.
    Seed,
    /// A member that means harm has its turn.
    Mischief(Index, u32),
    /// Somebody may be late.
    Deadline,
}

/// How a day went.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) events: u64,
    /// When everybody was done.
    pub(crate) ended_at: Nanos,
}

impl<'a> World<'a> {
    pub(crate) fn new(day: &'a Day, trace: Trace<'a>) -> Self {
        let build = &day.build;
        let hashes = (0..build.chunks).map(|chunk| Hash::of(&chunk.to_le_bytes())).collect();
        let size = Bytes::new(build.size());
        let manifest = Manifest::new("build-1.zip", size, build.chunk_size, hashes).expect("drawn within the limits");
        let mut world = Self {
            day,
            now: 0,
            manifest: Arc::new(manifest),
            members: Vec::new(),
            places: Vec::new(),
            conns: Vec::new(),
            queue: Queue::new(),
            chance: Xoshiro256PlusPlus::seed_from_u64(day.seed ^ 0x7061_7468),
            active: Vec::new(),
            disturbances: 0,
            seeded: false,
            generation: 0,
            tickets: 0,
            events: 0,
            actions: VecDeque::new(),
            referee: Referee::new(day),
            trace,
        };
        world.make_members();
        world.schedule();
        world
    }

    /// Plays the day to its end: everybody is done and it has been quiet for a while, or something that is promised is broken.
    pub(crate) fn play(&mut self) -> Outcome {
        let mut done_at = None;
        while self.referee.goes_on(self.now) {
            let Some((at, what)) = self.queue.pop() else {
                break;
            };
            self.now = at;
            if let Some(done_at) = done_at {
                if at > done_at + QUIET {
                    break;
                }
                self.referee.is_quiet = at > done_at + SETTLES;
            }
            self.events += 1;
            if self.events > EVENTS_MAX {
                self.referee.runaway(self.now);
            }
            self.happen(what);
            if self.everything_is_over() {
                done_at.get_or_insert(self.now);
            } else {
                done_at = None;
                self.referee.is_quiet = false;
            }
        }
        self.referee.nobody_looks_on();
        if self.referee.verdict().is_none() {
            self.judge_the_end();
        }
        Outcome {
            events: self.events,
            ended_at: done_at.unwrap_or(self.now),
        }
    }

    fn everything_is_over(&self) -> bool {
        self.disturbances == 0 && self.referee.nobody_is_awaited()
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Wakeup(member) => self.wake(member),
            What::Arrives(conn, side, item) => self.arrives(conn, side, *item),
            What::Dialled { from, to } => self.dialled(from, to),
            What::DialAgain { from, to, tried } => self.dial(from, to, tried + 1),
            What::DialFailed { from, to } => self.dial_failed(from, to),
            What::Established(conn) => self.established(conn),
            What::Lost(conn, side) => self.lost(conn, side),
            What::PieceLeft {
                from,
                life,
                conn,
                side,
                ticket,
                last,
            } => {
                if self.members[from].life == life {
                    self.piece_left(from, conn, side, ticket, last);
                }
            }
            What::Pump(member) => {
                self.members[member].uplink.waits_until = None;
                self.pump(member);
            }
            What::StoreOpened(member, life) => self.store_opened(member, life),
            What::GivesUp(member, to, chunk) => self.gives_up(member, to, chunk),
            What::Begins(fault) => self.fault_begins(fault),
            What::Ends(fault) => self.fault_ends(fault),
            What::Joins(member) => self.joins(member),
            What::Leaves(member, life) => self.leaves(member, life),
            What::Seed => self.seed(),
            What::Mischief(member, life) => self.mischief(member, life),
            What::Deadline => self.look_who_is_late(),
        }
    }

    fn wake(&mut self, member: Index) {
        // Only the wakeup that is still wanted counts.
        if self.members[member].armed != self.now {
            return;
        }
        self.members[member].armed = Nanos::MAX;
        if self.members[member].paused {
            self.members[member].overslept = true;
        } else {
            self.referee.woken(self.now, &mut self.members[member]);
            self.tell(member, Event::Wakeup);
        }
    }

    /// Tells a member what happened, and carries out what it wants done.
    fn tell(&mut self, member: Index, event: Event) {
        let (now, index) = (Time::from_nanos(self.now), member);
        if self.members[index].core.is_none() {
            return;
        }
        if self.trace.is_on() && !matches!(event, Event::Wakeup) {
            let text = format!("{} is told {}", self.members[index].id, describe::event(&event));
            self.trace.say(self.now, &text);
        }
        if !matches!(event, Event::Wakeup) {
            self.members[index].watched.wakeups_in_a_row = 0;
        }
        self.members[index].handle(now, event);
        self.drain(index);
    }

    fn drain(&mut self, member: Index) {
        let mut actions = std::mem::take(&mut self.actions);
        self.members[member].take_actions(&mut actions);
        loop {
            while let Some(action) = actions.pop_front() {
                self.carry_out(member, action);
            }
            let Some(event) = self.members[member].feedback.pop_front() else {
                break;
            };
            if let Event::ChunkLost { chunk } = event {
                self.chunk_is_gone(member, chunk);
            }
            self.members[member].handle(Time::from_nanos(self.now), event);
            self.members[member].take_actions(&mut actions);
        }
        self.actions = actions;
        self.referee.look_at(self.now, &mut self.members[member]);
        self.arm(member);
    }

    fn arm(&mut self, index: Index) {
        let member = &mut self.members[index];
        let Some(at) = member.next_wakeup().map(Time::as_nanos) else {
            return;
        };
        if at < member.armed {
            member.armed = at.max(self.now);
            self.queue.push(member.armed, What::Wakeup(index));
        }
    }

    fn carry_out(&mut self, member: Index, action: Action) {
        if self.trace.is_on() && !matches!(action, Action::Gossip(_)) {
            let text = format!("{} {}", self.members[member].id, describe::action(&action));
            self.trace.say(self.now, &text);
        }
        self.referee.acts(self.now, &mut self.members[member], &action);
        match action {
            Action::Connect(contact) => {
                if let Some(to) = self.place(contact.host) {
                    self.dial(member, to, 0);
                } else {
                    self.members[member]
                        .feedback
                        .push_back(Event::Disconnected(contact.host));
                }
            }
            Action::Disconnect { host, .. } => {
                if let Some((conn, side)) = self.place(host).and_then(|to| self.end_with(member, to)) {
                    self.close_end(conn, side);
                    self.transmit(conn, side, Item::Fin);
                }
            }
            Action::Send(to, message) => self.send(member, to, message),
            Action::OpenStore(_) => {
                let life = self.members[member].life;
                let takes = self.members[member].opens_in;
                self.queue.push(self.now + takes, What::StoreOpened(member, life));
            }
            Action::ServeChunk { to, chunk } => {
                if self.members[member].rotten.contains(&chunk) {
                    self.members[member].feedback.push_back(Event::ChunkLost { chunk });
                    self.queue.push(self.now, What::GivesUp(member, to, chunk));
                } else if !self.serves_otherwise(member, to, chunk) {
                    self.serve(member, to, chunk);
                }
            }
            Action::StopServing { to, chunk } => {
                self.stop_serving(member, to, chunk);
                self.members[member]
                    .feedback
                    .push_back(Event::ChunkServed { to, chunk });
            }
            Action::Gossip(_) | Action::Suspect { .. } | Action::Refuse { .. } => {}
            Action::Complete => self.completed(member),
        }
    }

    fn send(&mut self, member: Index, to: HostId, message: Message) {
        let Some(message) = self.says_otherwise(member, message) else {
            return;
        };
        let end = self.place(to).and_then(|to| self.end_with(member, to));
        let Some((conn, side)) = end else {
            // Its end may have gone while it said this.
            return;
        };
        self.transmit(conn, side, Item::Message(message));
    }

    fn store_opened(&mut self, index: Index, life: u32) {
        let member = &mut self.members[index];
        if member.life != life || member.core.is_none() {
            return;
        }
        if member.paused {
            let again = self.now + PAUSED_AGAIN;
            self.queue.push(again, What::StoreOpened(index, life));
            return;
        }
        let held = Box::new(member.store.clone());
        self.tell(index, Event::StoreOpened { held });
    }

    pub(crate) fn place(&self, host: HostId) -> Option<Index> {
        self.places.get(usize::try_from(host.get()).ok()?).copied().flatten()
    }

    fn chunk(&self, chunk: u32) -> ChunkIndex {
        self.manifest.chunk(chunk).expect("it was one when it was sent")
    }
}

/// So long after everybody is done it is to be quiet …
const SETTLES: Nanos = 10 * crate::day::SECOND;
/// … and after this the day ends.
const QUIET: Nanos = 40 * crate::day::SECOND;
/// What waits for a member that stands still looks again after this.
const PAUSED_AGAIN: Nanos = 50 * crate::day::MILLISECOND;
/// No day has more events than this but one that runs away.
const EVENTS_MAX: u64 = 30_000_000;
