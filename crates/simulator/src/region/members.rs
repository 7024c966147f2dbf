//! The members of a region: their state machines, who is connected with whom, and when each wants to be woken.
//!
//! Invariant: connections are known at both ends. The queue of actions is lent to whichever host is told something, and is empty
//! once its actions are carried out ([`Members::settle`]).

use std::collections::VecDeque;

use scenario::{RegionPlan, Serves};
use smallvec::SmallVec;
use swarm::{Action, Event, Peer, Seeder, Time};

use super::gossip::Gossip;
use crate::member::MemberId;
use crate::prefetch::prefetch;

/// Nearly nobody has more than the default degree and what dials beyond it.
pub(super) type Neighbours = SmallVec<[MemberId; 20]>;

/// A member's state machine.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all members are hosts, and a box is one more miss of the cache for each event"
)]
pub(super) enum Role {
    /// It has not come, or has gone.
    Absent,
    Host(Peer),
    Seeder(Box<Seeder>),
}

/// What each event at a member looks at lies together.
struct Member {
    role: Role,
    /// When it is woken next; `u64::MAX` where it is not.
    wakeup_at: u64,
    serves: Serves,
    neighbours: Neighbours,
}

/// All members by number.
pub(super) struct Members {
    all: Vec<Member>,
    hosts: usize,
    /// Whether each would ask for more if a neighbour had it. Apart: whoever has something new looks at this of all its
    /// neighbours.
    hungry: Vec<bool>,
    actions: VecDeque<Action>,
}

impl Members {
    /// Of a region into which nobody has come yet.
    pub(super) fn new(plan: &RegionPlan) -> Self {
        let hosts = plan.hosts.len();
        let serves = |index: usize| {
            let host = index.checked_sub(1).and_then(|host| plan.hosts.get(host));
            host.map_or_else(Serves::default, |host| host.serves)
        };
        let member = |index: usize| Member {
            role: Role::Absent,
            wakeup_at: u64::MAX,
            serves: serves(index),
            neighbours: Neighbours::new(),
        };
        let count = hosts + plan.seeders.len();
        Self {
            all: (0..count).map(member).collect(),
            hosts,
            hungry: vec![false; count],
            actions: VecDeque::new(),
        }
    }

    #[inline]
    pub(super) const fn is_host(&self, member: MemberId) -> bool {
        self.host_index(member).is_some()
    }

    /// Its place among hosts, where it is one.
    #[inline]
    pub(super) const fn host_index(&self, member: MemberId) -> Option<usize> {
        match member.index() {
            0 => None,
            index if index <= self.hosts => Some(index - 1),
            _ => None,
        }
    }

    pub(super) fn host(index: usize) -> MemberId {
        MemberId::at(index + 1)
    }

    /// Its place among seeders, where it is one.
    pub(super) const fn seeder_index(&self, member: MemberId) -> Option<usize> {
        match member.index() {
            0 => Some(0),
            index if index > self.hosts => Some(index - self.hosts),
            _ => None,
        }
    }

    pub(super) fn seeder(&self, index: usize) -> MemberId {
        if index == 0 {
            MemberId::FIRST_SEEDER
        } else {
            MemberId::at(self.hosts + index)
        }
    }

    #[inline]
    pub(super) fn serves(&self, member: MemberId) -> Serves {
        self.all[member.index()].serves
    }

    #[inline]
    pub(super) fn peer(&self, member: MemberId) -> Option<&Peer> {
        match &self.all[member.index()].role {
            Role::Host(peer) => Some(peer),
            Role::Absent | Role::Seeder(_) => None,
        }
    }

    #[inline]
    pub(super) fn peer_mut(&mut self, member: MemberId) -> Option<&mut Peer> {
        match &mut self.all[member.index()].role {
            Role::Host(peer) => Some(peer),
            Role::Absent | Role::Seeder(_) => None,
        }
    }

    pub(super) fn seeder_mut(&mut self, member: MemberId) -> Option<&mut Seeder> {
        match &mut self.all[member.index()].role {
            Role::Seeder(seeder) => Some(seeder),
            Role::Absent | Role::Host(_) => None,
        }
    }

    pub(super) fn is_there(&self, member: MemberId) -> bool {
        !matches!(self.all[member.index()].role, Role::Absent)
    }

    /// A host comes. What it wants done at first is there to be carried out.
    pub(super) fn come(&mut self, member: MemberId, mut peer: Peer) {
        peer.swap_actions(&mut self.actions);
        self.all[member.index()].role = Role::Host(peer);
    }

    pub(super) fn start(&mut self, member: MemberId, seeder: Seeder) {
        self.all[member.index()].role = Role::Seeder(Box::new(seeder));
    }

    /// A member goes; tells whom it was connected with.
    pub(super) fn go(&mut self, member: MemberId) -> Neighbours {
        self.hungry[member.index()] = false;
        let gone = &mut self.all[member.index()];
        gone.role = Role::Absent;
        gone.wakeup_at = u64::MAX;
        let neighbours = std::mem::take(&mut gone.neighbours);
        for other in &neighbours {
            self.forget(*other, member);
        }
        neighbours
    }
}

/// What members are told, and what they want.
impl Members {
    /// Tells `member` of an event. What it wants done comes from [`Members::next_action`], after what it wanted before.
    #[inline]
    pub(super) fn tell(&mut self, member: MemberId, now: Time, event: Event, gossip: &Gossip) {
        match &mut self.all[member.index()].role {
            Role::Host(peer) => {
                peer.swap_actions(&mut self.actions);
                peer.handle_event_with(now, event, gossip);
                peer.swap_actions(&mut self.actions);
            }
            Role::Seeder(seeder) => seeder.handle_event(now, event),
            Role::Absent => {}
        }
    }

    /// Tells a host that a neighbour has published something. What it wants done comes likewise.
    #[inline]
    pub(super) fn tell_growth(&mut self, host: MemberId, now: Time, gossip: &Gossip) {
        if let Role::Host(peer) = &mut self.all[host.index()].role {
            peer.swap_actions(&mut self.actions);
            peer.handle_growth_with(now, gossip);
            peer.swap_actions(&mut self.actions);
        }
    }

    #[inline]
    pub(super) fn next_action(&mut self, member: MemberId) -> Option<Action> {
        match &mut self.all[member.index()].role {
            Role::Seeder(seeder) => seeder.poll_action(),
            Role::Host(_) | Role::Absent => self.actions.pop_front(),
        }
    }

    /// Whether all that members want done is carried out: nobody is told anything before, but where an action says so.
    pub(super) fn is_settled(&self) -> bool {
        self.actions.is_empty()
    }

    /// All that `member` wanted done is carried out. Tells when it is to be woken, where that is earlier than was told before.
    #[inline]
    pub(super) fn settle(&mut self, member: MemberId, now: u64) -> Option<u64> {
        // From its beginning again: else it would go round in all the room that it has ever had.
        self.actions.clear();
        let settled = &mut self.all[member.index()];
        let wakeup = match &settled.role {
            Role::Host(peer) => {
                self.hungry[member.index()] = peer.is_hungry();
                peer.next_wakeup()
            }
            Role::Seeder(seeder) => seeder.next_wakeup(),
            Role::Absent => None,
        };
        let at = wakeup?.as_nanos();
        if at >= settled.wakeup_at {
            return None;
        }
        settled.wakeup_at = at.max(now);
        Some(settled.wakeup_at)
    }

    /// Whether the wakeup that goes off `now` is still the one that `member` wants.
    pub(super) fn wakes(&mut self, member: MemberId, now: u64) -> bool {
        let wakeup_at = &mut self.all[member.index()].wakeup_at;
        let wakes = *wakeup_at == now;
        if wakes {
            *wakeup_at = u64::MAX;
        }
        wakes
    }

    #[inline]
    pub(super) fn is_hungry(&self, member: MemberId) -> bool {
        self.hungry[member.index()]
    }

    /// Has what an event at `member` looks at fetched into the processor's cache.
    #[inline]
    pub(super) fn fetch(&self, member: MemberId) {
        prefetch(&self.all[member.index()]);
    }

    /// Has what news of `member` looks at fetched into the processor's cache.
    #[inline]
    pub(super) fn fetch_neighbours(&self, member: MemberId) {
        prefetch(&self.all[member.index()].neighbours);
    }
}

/// Connections.
impl Members {
    #[inline]
    pub(super) fn neighbours(&self, member: MemberId) -> &[MemberId] {
        &self.all[member.index()].neighbours
    }

    pub(super) fn connect(&mut self, a: MemberId, b: MemberId) {
        self.all[a.index()].neighbours.push(b);
        self.all[b.index()].neighbours.push(a);
    }

    pub(super) fn disconnect(&mut self, a: MemberId, b: MemberId) {
        self.forget(a, b);
        self.forget(b, a);
    }

    /// Searches the end that is not a seeder, which is connected to everybody.
    pub(super) fn is_connected(&self, a: MemberId, b: MemberId) -> bool {
        let (searched, wanted) = if self.is_host(a) { (a, b) } else { (b, a) };
        self.neighbours(searched).contains(&wanted)
    }

    fn forget(&mut self, member: MemberId, other: MemberId) {
        self.all[member.index()].neighbours.retain(|known| *known != other);
    }
}
