//! The referee: what must hold while a day is played and at its end. It looks at what members say and do, and at what
//! is in their stores, which the core does not know of.

mod rates;

use std::collections::BTreeMap;

use swarm::wire::ChunkList;
use swarm::{Action, ByteRate, ChunkIndex, DisconnectReason, HostId, Message};

use crate::bound::{Left, SLACK};
use crate::day::{Day, FaultKind, Joins, Leaves, Link, Nanos, SECOND};
use crate::verdict::{Invariant, Violation};
use crate::world::{Core, Member};
pub(crate) use rates::Watched;

/// What it has seen of a day.
pub(crate) struct Referee {
    degree: usize,
    /// Chunks that a host may have on their way.
    in_flight: u32,
    /// Who is honest, by number.
    honest: BTreeMap<HostId, bool>,
    verdict: Option<Violation>,
    /// Until when it is looked at how long somebody late takes after all: that tells slow from never.
    looks_until: Nanos,
    /// Honest hosts that are there and lack something.
    awaited: usize,
    /// Everybody is done, and has been for a while.
    pub(crate) is_quiet: bool,
    needed: u64,
    wasted: u64,
    chunk_size: u64,
    /// Of the host that took most of what it was allowed: the share of it, and how long it took.
    pub(crate) latest: (f64, Nanos),
}

impl Referee {
    pub(crate) fn new(day: &Day) -> Self {
        Self {
            degree: usize::from(day.settings.degree),
            in_flight: u32::try_from(day.settings.chunks_in_flight_max.unwrap_or(IN_FLIGHT_MEASURED))
                .unwrap_or(u32::MAX),
            honest: day.hosts.iter().map(|host| (host.id, host.role.is_honest())).collect(),
            verdict: None,
            looks_until: 0,
            awaited: 0,
            is_quiet: false,
            needed: 0,
            wasted: 0,
            chunk_size: day.build.chunk_size.into(),
            latest: (0.0, 0),
        }
    }

    pub(crate) const fn verdict(&self) -> Option<&Violation> {
        self.verdict.as_ref()
    }

    /// Whether there is more to see.
    pub(crate) fn goes_on(&self, now: Nanos) -> bool {
        self.verdict.is_none() || now < self.looks_until
    }

    /// The first thing that is broken counts.
    fn broken(&mut self, invariant: Invariant, at: Nanos, host: Option<HostId>, what: String) {
        self.verdict.get_or_insert(Violation {
            invariant,
            host,
            at,
            what,
        });
    }

    pub(crate) fn runaway(&mut self, now: Nanos) {
        let what = "the day has more events than any that makes progress".to_owned();
        self.broken(Invariant::Runaway, now, None, what);
    }

    pub(crate) const fn nobody_is_awaited(&self) -> bool {
        self.awaited == 0
    }

    pub(crate) fn is_done(&self, member: &Member) -> bool {
        member.watched.done
    }

    pub(crate) fn comes(&mut self, member: &mut Member) {
        member.watched.done = false;
        member.watched.said_complete = false;
        member.watched.deadline = None;
        if member.is_honest() && !member.is_seeder() {
            self.awaited += 1;
        }
    }

    pub(crate) fn goes(&mut self, member: &mut Member) {
        if member.is_honest() && !member.is_seeder() && !member.watched.done {
            self.awaited -= 1;
        }
        member.watched.deadline = None;
    }

    /// A chunk is verified and stored.
    pub(crate) fn stored(&mut self, now: Nanos, member: &mut Member, chunk: ChunkIndex) {
        if member.is_honest() {
            self.needed += self.chunk_size;
        }
        member.watched.rates(now).chunks += 1;
        if !member.store.insert(chunk) {
            let what = format!("{chunk} was stored, which was held");
            self.broken(Invariant::Unverified, now, Some(member.id), what);
        }
        if member.watched.said_complete && member.store.is_full() {
            self.done(now, member);
        }
    }

    /// A member learns that it has not a chunk any more: it is to have it again. Whether it was done.
    pub(crate) fn lost(&mut self, now: Nanos, member: &mut Member) -> bool {
        // All neighbours are told of each.
        member.watched.rates(now).chunks += 1;
        let was_done = std::mem::replace(&mut member.watched.done, false);
        if was_done && member.is_honest() && !member.is_seeder() {
            self.awaited += 1;
        }
        was_done
    }

    pub(crate) fn wasted(&mut self, bytes: u64) {
        self.wasted += bytes;
    }

    pub(crate) fn sent(&mut self, member: &mut Member, bytes: u64) {
        member.watched.sent += bytes;
    }

    /// Something is wrong: nobody is held to a time.
    pub(crate) fn suspend(&mut self, members: &mut [Member]) {
        for member in members {
            member.watched.deadline = None;
        }
    }

    /// Nothing is wrong any more: everybody is held to a time from now on. Tells the times.
    pub(crate) fn expect(&mut self, now: Nanos, day: &Day, members: &mut [Member]) -> Vec<Nanos> {
        self.set_deadlines(now, day, members, SLACK)
    }

    /// Somebody came or went: the others may take longer.
    pub(crate) fn allow_more(&mut self, now: Nanos, day: &Day, members: &mut [Member]) -> Vec<Nanos> {
        self.set_deadlines(now, day, members, 0)
    }

    fn set_deadlines(&mut self, now: Nanos, day: &Day, members: &mut [Member], slack: Nanos) -> Vec<Nanos> {
        if self.awaited == 0 {
            return Vec::new();
        }
        let size = |chunk: ChunkIndex| {
            let is_last = chunk.get() + 1 == day.build.chunks;
            u64::from(if is_last {
                day.build.last_chunk
            } else {
                day.build.chunk_size
            })
        };
        let mut left = Left {
            seeders: Vec::new(),
            hosts: Vec::new(),
        };
        let mut who = Vec::new();
        let uplink = |link: &Link| -> ByteRate { link.up };
        for (index, member) in members.iter().enumerate() {
            if member.core.is_none() || !member.is_honest() {
                continue;
            }
            if member.is_seeder() || member.watched.done {
                let leaves = member.host.is_some_and(|host| day.hosts[host].leaves != Leaves::Never);
                if !leaves {
                    left.seeders.push(uplink(member.link()));
                }
            } else {
                let held: u64 = member.store.iter().map(size).sum();
                left.hosts.push((*member.link(), day.build.size() - held));
                who.push(index);
            }
        }
        let allowed = left.allowed(day);
        let mut times = Vec::new();
        for (index, allowed) in who.into_iter().zip(allowed) {
            let watched = &mut members[index].watched;
            let is_new = watched.deadline.is_none();
            let at = now + allowed + if is_new { SLACK } else { slack };
            if is_new || slack > 0 {
                watched.held_since = now;
            }
            if watched.deadline.is_none_or(|deadline| deadline < at) {
                watched.deadline = Some(at);
                times.push(at);
            }
        }
        times.sort_unstable();
        times.dedup();
        times
    }

    pub(crate) fn look_who_is_late(&mut self, now: Nanos, members: &[Member], connections: &[usize]) {
        for (member, connections) in members.iter().zip(connections) {
            let watched = &member.watched;
            let Some(deadline) = watched.deadline.filter(|at| *at <= now && !watched.done) else {
                continue;
            };
            let Some(peer) = member.peer() else {
                continue;
            };
            let seconds = |nanos: Nanos| nanos as f64 / SECOND as f64;
            let what = format!(
                "holds {} of {} chunks ({}) {:.3} s after it was to be well, and was to have all by then; {} connections, {} \
                 neighbours, {} chunks that none of them has",
                member.store.count(),
                member.store.len(),
                peer.progress().map_or("no manifest", |_| "manifest known"),
                seconds(deadline - watched.held_since),
                connections,
                peer.neighbour_count(),
                peer.chunks_without_source().len(),
            );
            if self.verdict.is_none() {
                let allowed = deadline - watched.held_since;
                self.looks_until = now + (allowed * LOOKS_ON_TIMES).min(LOOKS_ON_MAX);
            }
            self.broken(Invariant::Late, now, Some(member.id), what);
        }
    }

    /// The day is over, and who is late was not done by then.
    pub(crate) fn nobody_looks_on(&mut self) {
        if let Some(verdict) = &mut self.verdict
            && verdict.invariant == Invariant::Late
            && self.looks_until > 0
        {
            verdict.invariant = Invariant::Never;
        }
    }

    /// A late host is done after all.
    fn done_late(&mut self, now: Nanos, host: HostId, since: Nanos) {
        if let Some(verdict) = &mut self.verdict
            && verdict.invariant == Invariant::Late
            && verdict.host == Some(host)
            && self.looks_until > 0
        {
            self.looks_until = 0;
            let after = (now - since) as f64 / SECOND as f64;
            verdict.what = format!("{}; done after {after:.3} s", verdict.what);
        }
    }

    /// A member does something.
    pub(crate) fn acts(&mut self, now: Nanos, member: &mut Member, action: &Action) {
        match action {
            Action::Send(to, message) => self.says(now, member, *to, message),
            Action::ServeChunk { chunk, .. } => {
                member.watched.rates(now).chunks += 1;
                if !member.store.contains(*chunk) {
                    let what = format!("{chunk} is served and not held");
                    self.broken(Invariant::Unverified, now, Some(member.id), what);
                }
            }
            Action::Disconnect { host, reason } => self.disconnects(now, member, *host, *reason),
            Action::Complete => self.completes(now, member),
            Action::Connect(contact) => self.dials(now, member, contact.host),
            Action::OpenStore(_)
            | Action::StopServing { .. }
            | Action::Gossip(_)
            | Action::Suspect { .. }
            | Action::Refuse { .. } => {}
        }
    }

    fn says(&mut self, now: Nanos, member: &mut Member, to: HostId, message: &Message) {
        self.count(now, member, to, message);
        if member.is_seeder() {
            return;
        }
        let claimed: ChunkList = match message {
            Message::Have(chunks) => chunks.clone(),
            Message::Invite { chunk } => ChunkList::from_slice(&[*chunk]),
            Message::HaveSet(set) => set.iter().map(ChunkIndex::get).collect(),
            Message::HaveAll | Message::Complete | Message::Announce { complete: true, .. } => {
                if !member.store.is_full() {
                    let what = format!("says {message:?} with {} chunks", member.store.count());
                    self.broken(Invariant::Unverified, now, Some(member.id), what);
                }
                return;
            }
            Message::Request { chunk, .. } => {
                self.asks(now, member, to, *chunk);
                return;
            }
            _ => return,
        };
        let lacks = claimed.iter().find(|chunk| !member.holds(**chunk));
        if let Some(chunk) = lacks {
            let what = format!("says that it has chunk {chunk}, and has not");
            self.broken(Invariant::Unverified, now, Some(member.id), what);
        }
    }

    fn asks(&mut self, now: Nanos, member: &Member, to: HostId, chunk: u32) {
        if member
            .peer()
            .is_some_and(|peer| peer.banned().any(|banned| banned == to))
        {
            let what = format!("asks {to}, which it has banned, for chunk {chunk}");
            self.broken(Invariant::AsksBanned, now, Some(member.id), what);
        }
        if to == member.id || member.holds(chunk) {
            let what = format!("asks {to} for chunk {chunk}: itself, or for what it holds");
            self.broken(Invariant::Requests, now, Some(member.id), what);
        }
    }

    fn disconnects(&mut self, now: Nanos, member: &Member, host: HostId, reason: DisconnectReason) {
        let expels = matches!(reason, DisconnectReason::CorruptChunk | DisconnectReason::Banned);
        if member.is_seeder() && expels && self.honest.get(&host) == Some(&true) {
            let what = format!("{} was expelled by its seeder: {reason:?}", host);
            self.broken(Invariant::HonestBanned, now, Some(host), what);
        }
    }

    fn completes(&mut self, now: Nanos, member: &mut Member) {
        if member.is_seeder() {
            return;
        }
        if std::mem::replace(&mut member.watched.said_complete, true) || !member.store.is_full() {
            let what = format!("is complete with {} chunks, or twice", member.store.count());
            self.broken(Invariant::Completes, now, Some(member.id), what);
            return;
        }
        self.done(now, member);
    }

    /// A host has every chunk.
    fn done(&mut self, now: Nanos, member: &mut Member) {
        if std::mem::replace(&mut member.watched.done, true) {
            return;
        }
        if member.is_honest() {
            self.awaited -= 1;
        }
        self.done_late(now, member.id, member.watched.held_since);
        if let Some(deadline) = member.watched.deadline.take()
            && member.is_honest()
        {
            let since = member.watched.held_since;
            let share = (now - since) as f64 / (deadline - since).max(1) as f64;
            if share > self.latest.0 {
                self.latest = (share, now - since);
            }
        }
    }

    /// A member has done all that it wanted.
    pub(crate) fn look_at(&mut self, now: Nanos, member: &mut Member) {
        let Core::Peer(peer) = &member.core else {
            return;
        };
        let neighbours = peer.neighbour_count();
        if neighbours > 2 * self.degree + 2 {
            let what = format!("has {neighbours} neighbours with a degree of {}", self.degree);
            self.broken(Invariant::Degree, now, Some(member.id), what);
        }
        let held = peer.progress().map_or_else(|| member.store.count(), |(held, _)| held);
        if held != member.store.count() {
            let what = format!("counts {held} chunks and holds {}", member.store.count());
            self.broken(Invariant::Unverified, now, Some(member.id), what);
        }
        member.watched.events += 1;
        if member.watched.events.is_multiple_of(CHECKED_EVERY)
            && let Err(what) = peer.check()
        {
            self.broken(Invariant::Check, now, Some(member.id), what);
        }
    }

    /// What must hold when everybody is done and it has been quiet for a while.
    pub(crate) fn judge_the_end(&mut self, now: Nanos, day: &Day, members: &[Member]) {
        if self.awaited > 0 {
            let what = format!(
                "{} hosts lack something, and nothing is to happen any more",
                self.awaited
            );
            self.broken(Invariant::Never, now, None, what);
        }
        for member in members.iter().filter(|member| member.is_honest()) {
            let Some(peer) = member.peer() else {
                continue;
            };
            if let Err(what) = peer.check() {
                self.broken(Invariant::Check, now, Some(member.id), what);
            }
            if let Some(banned) = peer.banned().find(|host| self.honest.get(host) == Some(&true)) {
                let what = format!("{banned} is banned by {}", member.id);
                self.broken(Invariant::HonestBanned, now, Some(banned), what);
            }
        }
        self.judge_quiet(now, day, members);
        // With settings of one's own one may ask for more than one can take, and for copies without end.
        if day.settings == crate::day::Settings::default() && !day.network.interleaved {
            self.judge_waste(now, day);
            self.judge_seeders(now, day, members);
        }
    }

    /// Payload that came and was not wanted, where nobody means harm: 3 % of what was needed, and two chunks for every
    /// eight hosts, as in small builds the last chunk of a host is much. What stood still and was asked of others comes all the same
    /// when it moves again: as much as all hosts may have on their way, for each such fault.
    fn judge_waste(&mut self, now: Nanos, day: &Day) {
        let hosts = day.hosts.len() as u64;
        let stands_still = |fault: &&crate::day::Fault| match fault.kind {
            FaultKind::Cut { silent, .. } => silent,
            FaultKind::Pause { .. } | FaultKind::Slow { .. } => true,
            FaultKind::Reset { .. }
            | FaultKind::Crash { .. }
            | FaultKind::Damage { .. }
            | FaultKind::SeederDown { .. }
            | FaultKind::SeedersGone => false,
        };
        let late = hosts * u64::from(self.in_flight) * day.faults.iter().filter(stands_still).count() as u64;
        let allowed = self.needed * WASTE_PERCENT_MAX / 100 + self.chunk_size * (hosts / 4 + 2 + late);
        if !day.has_liars() && self.wasted > allowed {
            let percent = self.wasted as f64 * 100.0 / self.needed.max(1) as f64;
            let what = format!(
                "{} bytes came that nobody wanted, {percent:.1} % of what was needed",
                self.wasted
            );
            self.broken(Invariant::Waste, now, None, what);
        }
    }

    /// What seeders send, where hosts are not alone with them: none goes, and none comes when the others have gone.
    fn judge_seeders(&mut self, now: Nanos, day: &Day, members: &[Member]) {
        let is_alone = |host: &crate::day::HostPlan| {
            host.leaves != Leaves::Never || !matches!(host.joins, Joins::At(_)) || !host.role.is_honest()
        };
        let cuts = |fault: &crate::day::Fault| !matches!(fault.kind, FaultKind::Slow { .. });
        if day.hosts.len() < FLEET_MIN || day.hosts.iter().any(is_alone) || day.faults.iter().any(cuts) {
            return;
        }
        for seeder in members.iter().filter(|member| member.is_seeder()) {
            let allowed = day.build.size() * SEEDER_BUILDS_MAX + 4 * self.chunk_size;
            if seeder.watched.sent > allowed {
                let builds = seeder.watched.sent as f64 / day.build.size() as f64;
                let what = format!("sent {builds:.2} builds");
                self.broken(Invariant::SeederBuilds, now, Some(seeder.id), what);
            }
        }
    }
}

/// Chunks that a host asks for at a time, about, where that is measured.
const IN_FLIGHT_MEASURED: usize = 8;
/// A late host is looked at for so many times of what it was allowed …
const LOOKS_ON_TIMES: u64 = 5;
/// … and this at most.
const LOOKS_ON_MAX: Nanos = 1200 * SECOND;
/// The core looks through its own books after so many events of a member.
const CHECKED_EVERY: u64 = 64;
/// Of what was needed.
const WASTE_PERCENT_MAX: u64 = 3;
/// Of each seeder.
const SEEDER_BUILDS_MAX: u64 = 3;
/// Fewer hosts than this are alone with their seeders.
const FLEET_MIN: usize = 4;
