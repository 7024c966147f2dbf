//! Members that come, go, return and become slow, and their connections.

use std::sync::Arc;

use swarm::{Bitfield, Contact, DisconnectReason, Event, Peer, PeerConfig, Seeder, Time};

use super::agenda::Input;
use super::members::Members;
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
        for slow in &plan.slow_downs {
            let from = self.seeded_at + nanos(slow.at);
            let member = Members::host(slow.host as usize);
            self.agenda.push(from, member, Input::Slow { is: true });
            if let Some(lasts) = slow.lasts {
                self.agenda.push(from + nanos(lasts), member, Input::Slow { is: false });
            }
        }
        for index in 0..plan.seeders.len() {
            let member = self.members.seeder(index);
            self.agenda.push(self.seeded_at, member, Input::SeederUp);
        }
        for (index, seeder) in plan.seeders.iter().enumerate() {
            let member = self.members.seeder(index);
            for absence in &seeder.absences {
                let down_at = self.seeded_at + nanos(absence.at);
                self.agenda.push(down_at, member, Input::SeederDown);
                self.agenda.push(down_at + nanos(absence.down), member, Input::SeederUp);
            }
        }
        self.progress_at = self.seeded_at;
    }

    pub(super) fn join(&mut self, host: MemberId) {
        let (config, seed) = self.peer(host);
        let peer = Peer::with_table(config, seed, Time::from_nanos(self.now));
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

    pub(super) fn leave(&mut self, host: MemberId) {
        // What of a chunk has come by then is counted with the rest.
        self.cut_short_all_of(host);
        self.account_for(host);
        self.gone(host);
    }

    pub(super) fn seeder_down(&mut self, member: MemberId) {
        self.gone(member);
    }

    fn gone(&mut self, member: MemberId) {
        self.cut_short_all_of(member);
        for other in self.members.go(member) {
            let at = self.now + self.setup.topology.delay(member, other);
            self.agenda.push(at, other, Input::Disconnected { from: member });
        }
    }

    pub(super) fn seeder_up(&mut self, member: MemberId) {
        let Some(index) = self.members.seeder_index(member) else {
            return;
        };
        if !self.members.is_there(member) {
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

    /// The shares of all whom it concerns change after this event, as after any other.
    pub(super) fn slow_down(&mut self, member: MemberId, is: bool) {
        let slow_downs = &self.setup.plan.slow_downs;
        let host = self.members.host_index(member);
        let own = host.and_then(|host| slow_downs.binary_search_by_key(&host, |slow| slow.host as usize).ok());
        let topology = &self.setup.topology;
        let links = match own {
            Some(found) if is => (slow_downs[found].links.uplink, slow_downs[found].links.downlink),
            _ => (topology.uplink(member), topology.downlink(member)),
        };
        self.transfers.set_links(member, links);
    }

    /// `from` dials `to`, whom its message has just reached. Where both have dialled, the first wins.
    pub(super) fn dialled(&mut self, to: MemberId, from: MemberId) {
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
        self.members.disconnect(member, other);
        let mut between = self.transfers.between(member, other);
        between.extend(self.transfers.between(other, member));
        for transfer in between {
            self.cut_short(transfer);
        }
        let at = self.now + self.setup.topology.delay(member, other);
        self.agenda.push(at, other, Input::Disconnected { from: member });
    }

    /// A store of nothing is there at once.
    pub(super) fn open_store(&mut self, host: MemberId) {
        let held = Box::new(Bitfield::new(self.setup.manifest.chunk_count()));
        self.tell_at_once(host, Event::StoreOpened { held });
    }
}
