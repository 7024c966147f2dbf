//! Members that come, go, return and become slow, and their connections.

use std::sync::Arc;

use swarm::{Bitfield, Contact, DisconnectReason, Event, Peer, PeerConfig, Seeder, Time};

use super::agenda::Input;
use super::{Region, nanos};
use crate::member::MemberId;

impl Region {
    /// Has everybody who is there from the beginning come, and notes when others come, and who goes.
    pub(super) fn begin(&mut self) {
        for index in 0..self.setup.plan.seeders.len() {
            self.start_seeder(index, 0);
            self.carry_out_all(self.members.seeder(index));
        }
        let plan = Arc::clone(&self.setup.plan);
        for host in &plan.hosts {
            let member = MemberId::of(host.id);
            match host.join_at {
                Some(at) => self.agenda.push(self.seeded_at + nanos(at), member, Input::Join),
                None => self.join(member),
            }
            if let Some(at) = host.leave_at {
                self.agenda.push(self.seeded_at + nanos(at), member, Input::Leave);
            }
        }
        self.expect_faults();
        for index in 0..plan.seeders.len() {
            let member = self.members.seeder(index);
            self.agenda.push(self.seeded_at, member, Input::SeederUp);
        }
        for (index, seeder) in plan.seeders.iter().enumerate() {
            let member = self.members.seeder(index);
            for absence in &seeder.absences {
                let down_at = self.seeded_at + nanos(absence.at);
                self.agenda.push(down_at, member, Input::SeederDown);
                if let Some(down) = absence.down {
                    self.agenda.push(down_at + nanos(down), member, Input::SeederUp);
                }
            }
        }
        self.progress_at = self.seeded_at;
    }

    pub(super) fn join(&mut self, host: MemberId) {
        let (config, seed) = self.peer(host);
        // One that is started again does not draw what it has drawn before.
        let again = if self.faults.has_kept(host) { self.now } else { 0 };
        let (seed, now) = (seed ^ again, Time::from_nanos(self.now));
        // Where nothing passes, or chunks are lost, what all have published is not what each knows.
        let peer = if self.setup.plan.is_told_by_messages() {
            Peer::new(config, seed, now)
        } else {
            Peer::with_table(config, seed, now)
        };
        self.members.come(host, peer);
        self.carry_out_all(host);
    }

    /// What the core is given of a host.
    pub(super) fn peer(&self, host: MemberId) -> (PeerConfig, u64) {
        let index = self.members.host_index(host).expect("only hosts join");
        let plan = &self.setup.plan.hosts[index];
        let seeders = self.setup.plan.seeders.iter().map(|seeder| Contact {
            host: seeder.id,
            address: Vec::new().into(),
        });
        let base = PeerConfig::with_seeders(plan.id, Vec::new().into(), seeders);
        (self.setup.settings.peer_config(plan, base), plan.seed)
    }

    /// A host goes for good.
    pub(super) fn leaves(&mut self, host: MemberId) {
        self.count_fault(true);
        self.leave(host);
    }

    pub(super) fn leave(&mut self, host: MemberId) {
        // What of a chunk has come by then is counted with the rest.
        self.cut_short_all_of(host);
        self.account_for(host);
        self.gone(host);
    }

    pub(super) fn seeder_down(&mut self, member: MemberId) {
        self.count_fault(true);
        self.gone(member);
    }

    fn gone(&mut self, member: MemberId) {
        self.cut_short_all_of(member);
        for other in self.members.go(member) {
            self.let_see(member, other, Input::Disconnected { from: member });
        }
    }

    pub(super) fn seeder_up(&mut self, member: MemberId) {
        let Some(index) = self.members.seeder_index(member) else {
            return;
        };
        if !self.members.is_there(member) {
            self.count_fault(false);
            self.start_seeder(index, self.now);
        }
        let manifest = Arc::clone(&self.setup.manifest);
        if let Some(seeder) = self.members.seeder_mut(member) {
            seeder.seed(Time::from_nanos(self.now), manifest);
        }
        self.carry_out_all(member);
    }

    /// A seeder that is started again, `again` nanoseconds from the beginning, does not draw what it has drawn before.
    fn start_seeder(&mut self, index: usize, again: u64) {
        let plan = &self.setup.plan.seeders[index];
        let config = self.setup.settings.seeder_config(plan);
        let seeder = Seeder::new(config, plan.seed ^ again, Time::from_nanos(self.now));
        self.members.start(self.members.seeder(index), seeder);
    }

    /// `from` dials `to`, whom its message has just reached. Where both have dialled, the first wins.
    pub(super) fn dialled(&mut self, to: MemberId, from: MemberId) {
        if self.is_unanswered(to, from) {
            return;
        }
        let back = self.now + self.setup.topology.delay(to, from);
        if !self.members.is_there(to) {
            self.agenda.push(back, from, Input::Disconnected { from: to });
        } else if self.members.peer(from).is_some() && !self.members.is_connected(from, to) {
            self.members.connect(to, from);
            self.agenda.push(back, from, Input::Connected { from: to });
            self.tell(to, Event::Connected(from.host()));
        }
    }

    /// The answer to having dialled is here.
    pub(super) fn connected(&mut self, member: MemberId, to: MemberId) {
        if self.members.is_connected(member, to) {
            self.tell(member, Event::Connected(to.host()));
        }
    }

    /// `member` ends its connection with `other`.
    pub(super) fn disconnect(&mut self, member: MemberId, other: MemberId, reason: DisconnectReason) {
        if let Some(host) = self.members.host_index(member)
            && reason.is_for_wrong_bytes()
        {
            self.result.hosts[host].banned.push(other.number());
        }
        if !self.members.is_connected(member, other) {
            return;
        }
        self.unlink(member, other);
        self.let_see(member, other, Input::Disconnected { from: member });
    }

    /// A store is there at once: of nothing, of what a crash has left, or of all that its host says.
    pub(super) fn open_store(&mut self, host: MemberId) {
        let chunks = self.setup.manifest.chunk_count();
        let held = if self.members.serves(host).claims_all() {
            Bitfield::full(chunks)
        } else {
            self.faults.take_kept(host).unwrap_or_else(|| Bitfield::new(chunks))
        };
        let held = Box::new(held);
        self.tell_at_once(host, Event::StoreOpened { held });
    }
}
