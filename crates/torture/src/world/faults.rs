//! What goes wrong with machines, processes and the network, and comes right again.

use super::conns::Waiting;
use super::wire::Path;
use super::{Core, Index, What, World};
use crate::day::{FaultKind, Nanos, Share, Way};

impl World<'_> {
    pub(super) fn fault_begins(&mut self, place: usize) {
        self.disturbances -= 1;
        let fault = &self.day.faults[place];
        self.trace.say(self.now, &format!("fault {place} begins: {fault:?}"));
        self.referee.suspend(&mut self.members);
        self.active.push(place);
        match &fault.kind {
            FaultKind::Reset { which, half } => self.reset(place, *which, *half),
            FaultKind::Crash { host, silent, .. } => {
                if let Some(index) = self.there(*host) {
                    self.stop(index, *silent);
                }
            }
            FaultKind::Damage { member, percent, seen } => {
                if let Some(index) = self.place(*member) {
                    self.damage(place, index, *percent, *seen);
                }
            }
            FaultKind::SeederDown { seeder } => {
                if !self.members[*seeder].core.is_none() {
                    self.stop(*seeder, false);
                }
            }
            FaultKind::SeedersGone => self.seeders_may_go(),
            FaultKind::Cut { silent, .. } => {
                if !silent {
                    self.reset_what_is_cut();
                }
            }
            FaultKind::Pause { host, .. } => {
                if let Some(index) = self.there(*host) {
                    self.members[index].paused = true;
                }
            }
            FaultKind::Slow { .. } => self.set_links(),
        }
        if Self::is_for_ever(fault.lasts) {
            // What does not end is how things are from now on.
            self.disturbed();
        } else {
            self.disturb(self.now + fault.lasts, What::Ends(place));
        }
    }

    pub(super) fn fault_ends(&mut self, place: usize) {
        self.disturbances -= 1;
        let fault = &self.day.faults[place];
        self.trace.say(self.now, &format!("fault {place} ends"));
        self.active.retain(|other| *other != place);
        match &fault.kind {
            FaultKind::Reset { .. } | FaultKind::SeedersGone => {}
            FaultKind::Crash { host, store, .. } => {
                if let Some(index) = self.place(*host)
                    && self.members[index].core.is_none()
                    && self.members[index].life > 0
                {
                    self.after_crash(index, *store);
                    self.start_host(index);
                }
            }
            FaultKind::SeederDown { seeder } => {
                let is_same =
                    |kind: &FaultKind| matches!(kind, FaultKind::SeederDown { seeder: other } if other == seeder);
                let still_down = self.active.iter().any(|other| is_same(&self.day.faults[*other].kind));
                if !still_down && self.members[*seeder].core.is_none() {
                    self.start_seeder(*seeder);
                }
            }
            FaultKind::Damage { member, .. } => {
                if let Some(index) = self.place(*member) {
                    self.repaired(index);
                }
            }
            FaultKind::Cut { .. } => self.release_held(),
            FaultKind::Pause { host, clock_first } => {
                if let Some(index) = self.there(*host) {
                    self.goes_on(index, *clock_first);
                }
            }
            FaultKind::Slow { .. } => self.set_links(),
        }
        self.disturbed();
    }

    /// A process that stood still goes on.
    fn goes_on(&mut self, index: Index, clock_first: bool) {
        let member = &mut self.members[index];
        if !std::mem::replace(&mut member.paused, false) {
            return;
        }
        if std::mem::replace(&mut member.overslept, false) {
            if clock_first {
                member.armed = Nanos::MAX;
                self.tell(index, swarm::Event::Wakeup);
            } else {
                member.armed = self.now + self.day.network.latency * 3;
                self.queue.push(member.armed, What::Wakeup(index));
            }
        }
        if let Some(event) = self.members[index].feedback.pop_front() {
            self.tell(index, event);
        }
        self.reads_again(index);
    }

    fn there(&self, host: swarm::HostId) -> Option<Index> {
        self.place(host).filter(|index| !self.members[*index].core.is_none())
    }

    /// Faults are over, or things are as they are: from now on everybody is held to what is promised, unless more is to come at once.
    pub(super) fn disturbed(&mut self) {
        if !self.is_quiet() {
            return;
        }
        let awaited = self.referee.expect(self.now, self.day, &mut self.members);
        self.look_at(awaited);
    }

    /// There are fewer to help, which is not a fault but takes time.
    pub(super) fn fewer(&mut self) {
        if self.is_quiet() {
            let awaited = self.referee.allow_more(self.now, self.day, &mut self.members);
            self.look_at(awaited);
        }
    }

    fn look_at(&mut self, times: Vec<Nanos>) {
        for at in times {
            self.queue.push(at, What::Deadline);
        }
    }

    /// Whether nothing is wrong that will come right.
    fn is_quiet(&self) -> bool {
        let passing = |place: &&usize| !Self::is_for_ever(self.day.faults[**place].lasts);
        self.seeded && self.active.iter().filter(passing).count() == 0
    }

    pub(super) fn look_who_is_late(&mut self) {
        let connected: Vec<usize> = self.members.iter().map(|member| member.ends.len()).collect();
        self.referee.look_who_is_late(self.now, &self.members, &connected);
    }

    pub(super) fn judge_the_end(&mut self) {
        self.referee.judge_the_end(self.now, self.day, &self.members);
    }

    fn reset(&mut self, place: usize, which: Share, half: bool) {
        let seeders = self.day.seeders.len();
        let between_hosts: Vec<usize> = (0..self.conns.len())
            .filter(|conn| {
                let conn = &self.conns[*conn];
                conn.up == [true; 2] && conn.members.iter().all(|member| *member >= seeders)
            })
            .collect();
        // By the numbers of the hosts, so that it is the same with fewer of them.
        let lot = |conn: usize| {
            let [a, b] = self.conns[conn].members.map(|member| self.members[member].id.get());
            mixed(self.day.seed ^ ((place as u64) << 48) ^ (a.min(b) << 20) ^ a.max(b))
        };
        let chosen: Vec<usize> = match which {
            Share::One => between_hosts
                .iter()
                .copied()
                .min_by_key(|conn| lot(*conn))
                .into_iter()
                .collect(),
            Share::Percent(percent) => {
                let is_chosen = |conn: &usize| lot(*conn) % 100 < u64::from(percent);
                between_hosts.iter().copied().filter(is_chosen).collect()
            }
        };
        for conn in chosen {
            self.reset_one(conn, half);
        }
    }

    fn reset_one(&mut self, conn: usize, half: bool) {
        let at = self.now + self.conns[conn].latency;
        let unaware = usize::from(mixed(self.day.seed ^ conn as u64).is_multiple_of(2));
        for side in [0, 1] {
            // What was on its way is lost.
            self.conns[conn].ways[side].held = Waiting::default();
            self.conns[conn].ways[side].servings.clear();
            if !half || side != unaware {
                self.queue.push(at, What::Lost(conn, side));
            }
        }
    }

    fn reset_what_is_cut(&mut self) {
        for conn in 0..self.conns.len() {
            let [a, b] = self.conns[conn].members;
            if self.path(a, b) == Path::Refused || self.path(b, a) == Path::Refused {
                self.reset_one(conn, false);
            }
        }
    }

    fn set_links(&mut self) {
        for index in self.day.seeders.len()..self.members.len() {
            let plan = &self.day.hosts[index - self.day.seeders.len()];
            let slows = self
                .active
                .iter()
                .filter_map(|place| match &self.day.faults[*place].kind {
                    FaultKind::Slow { host, times } if *host == plan.id => Some(*times),
                    _ => None,
                });
            let times = u64::from(slows.max().unwrap_or(1));
            let slowed = |rate: swarm::ByteRate| {
                let least = (rate.bytes_per_second() / times).max(1);
                swarm::ByteRate::from_bytes_per_second(least).unwrap_or(rate)
            };
            let before = self.members[index].link.down;
            self.members[index].link.up = slowed(plan.link.up);
            self.members[index].link.down = slowed(plan.link.down);
            self.passes_at_new_rate(index, before);
        }
    }

    /// What is on its way over a downlink passes as fast as that is from now on, and not as it was when it was sent: of what was sent while
    /// a link was slow and cut nothing came for a minute after both had passed.
    fn passes_at_new_rate(&mut self, index: Index, before: swarm::ByteRate) {
        let member = &mut self.members[index];
        let ahead = u128::from(member.downlink_free.saturating_sub(self.now));
        let bytes = ahead * u128::from(before.bytes_per_second());
        let takes = bytes / u128::from(member.link.down.bytes_per_second());
        member.downlink_free = self.now + Nanos::try_from(takes).unwrap_or(Nanos::MAX / 4);
    }

    pub(super) fn seeders_may_go(&mut self) {
        let is_to_be = |place: &usize| matches!(self.day.faults[*place].kind, FaultKind::SeedersGone);
        if !self.active.iter().any(is_to_be) || !self.can_do_without_seeders() {
            return;
        }
        for seeder in 0..self.day.seeders.len() {
            if !matches!(self.members[seeder].core, Core::None) {
                self.stop(seeder, false);
            }
        }
        self.active.retain(|place| !is_to_be_of(self.day, *place));
        self.trace.say(self.now, "the seeders are gone");
        self.disturbed();
    }

    /// What becomes of what is sent now.
    pub(super) fn path(&self, from: Index, to: Index) -> Path {
        let mut path = Path::Open;
        for place in &self.active {
            let FaultKind::Cut {
                hosts,
                seeders,
                way,
                silent,
            } = &self.day.faults[*place].kind
            else {
                continue;
            };
            let (sends, receives) = (&self.members[from], &self.members[to]);
            if (sends.is_seeder() || receives.is_seeder()) && !seeders {
                continue;
            }
            let (sends_within, receives_within) = (hosts.contains(&sends.id), hosts.contains(&receives.id));
            let is_cut = match way {
                Way::Both => sends_within != receives_within,
                Way::Out => sends_within && !receives_within,
                Way::In => !sends_within && receives_within,
            };
            match (is_cut, silent) {
                (true, false) => return Path::Refused,
                (true, true) => path = Path::Held,
                (false, _) => {}
            }
        }
        path
    }
}

fn is_to_be_of(day: &crate::day::Day, place: usize) -> bool {
    matches!(day.faults[place].kind, FaultKind::SeedersGone)
}

/// A number that looks as if it were drawn (the finalizer of splitmix64).
pub(crate) fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
