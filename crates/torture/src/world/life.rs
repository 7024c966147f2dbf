//! Members come, have the build, go, crash and come back.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use swarm::{ChunkIndex, Contact, HostId, Part, Peer, PeerConfig, Seeder, SeederConfig, Time, ZoneId};

use super::conns::Item;
use super::faults::mixed;
use super::{Core, Index, Member, What, World};
use crate::day::{FOR_EVER, Joins, Leaves, MILLISECOND, Nanos, Role, Store};

impl World<'_> {
    pub(super) fn make_members(&mut self) {
        let manifest = Arc::clone(&self.manifest);
        for (index, link) in self.day.seeders.iter().enumerate() {
            let member = Member::new(seeder_id(index), None, Role::Honest, *link, &manifest);
            self.members.push(member);
        }
        for (index, host) in self.day.hosts.iter().enumerate() {
            let mut member = Member::new(host.id, Some(index), host.role, host.link, &manifest);
            let mut chance = Xoshiro256PlusPlus::seed_from_u64(self.day.seed ^ host.id.get());
            // Half of the stores are there at once, as those in memory are.
            member.opens_in = chance.random_range(0..2) * chance.random_range(0..60) * MILLISECOND;
            self.members.push(member);
        }
        for (place, member) in self.members.iter().enumerate() {
            let number = usize::try_from(member.id.get()).expect("a day's hosts are few");
            if self.places.len() <= number {
                self.places.resize(number + 1, None);
            }
            self.places[number] = Some(place);
        }
    }

    /// Puts everything into the queue that is known beforehand.
    pub(super) fn schedule(&mut self) {
        for seeder in 0..self.day.seeders.len() {
            self.start_seeder(seeder);
        }
        self.disturb(self.day.seeded_at, What::Seed);
        for index in self.day.seeders.len()..self.members.len() {
            if let Joins::At(at) = self.plan(index).joins {
                self.disturb(at, What::Joins(index));
            }
        }
        for (place, fault) in self.day.faults.iter().enumerate() {
            self.disturb(fault.at, What::Begins(place));
        }
    }

    /// Puts into the queue what nobody is held to anything before.
    pub(super) fn disturb(&mut self, at: Nanos, what: What) {
        self.disturbances += 1;
        self.queue.push(at, what);
    }

    fn plan(&self, member: Index) -> &crate::day::HostPlan {
        &self.day.hosts[member - self.day.seeders.len()]
    }

    pub(super) fn start_seeder(&mut self, index: usize) {
        let settings = &self.day.settings;
        let mut config = SeederConfig::new(seeder_id(index));
        config.degree = settings.degree;
        config.clients = settings.clients;
        config.upload_slots = settings.seeder_slots;
        config.copies_max = settings.copies_max;
        let parts = u32::try_from(self.day.seeders.len()).unwrap_or(1);
        config.part = Part::new(u32::try_from(index).unwrap_or(0), parts).unwrap_or(Part::WHOLE);
        let member = &mut self.members[index];
        member.life += 1;
        member.dark = false;
        let seed = self.day.seed ^ (u64::from(member.life) << 32) ^ index as u64;
        member.core = Core::Seeder(Box::new(Seeder::new(config, seed, Time::from_nanos(self.now))));
        member.store.fill();
        self.drain(index);
        if self.seeded {
            self.give_build(index);
        }
    }

    pub(super) fn seed(&mut self) {
        self.disturbances -= 1;
        self.seeded = true;
        for seeder in 0..self.day.seeders.len() {
            self.give_build(seeder);
        }
        self.disturbed();
    }

    fn give_build(&mut self, index: Index) {
        if let Core::Seeder(seeder) = &mut self.members[index].core {
            seeder.seed(Time::from_nanos(self.now), Arc::clone(&self.manifest));
            self.drain(index);
        }
    }

    pub(super) fn joins(&mut self, member: Index) {
        self.disturbances -= 1;
        if self.trace.is_on() {
            let plan = *self.plan(member);
            let text = format!("{} comes: {:?}, {:?}", plan.id, plan.role, plan.link);
            self.trace.say(self.now, &text);
        }
        self.start_host(member);
        self.disturbed();
    }

    pub(super) fn start_host(&mut self, index: Index) {
        let plan = *self.plan(index);
        let settings = &self.day.settings;
        let seeders = (0..self.day.seeders.len()).map(|seeder| Contact {
            host: seeder_id(seeder),
            address: address(seeder_id(seeder)),
        });
        let mut config = PeerConfig::with_seeders(plan.id, address(plan.id), seeders);
        config.degree = settings.degree;
        config.policy = settings.policy;
        config.chunks_in_flight_max = settings.chunks_in_flight_max;
        config.requests_per_neighbour_max = settings.requests_per_neighbour_max;
        config.upload_slots = settings.upload_slots;
        config.patience_min = Duration::from_nanos(settings.patience_min);
        config.zone = plan.zone.and_then(NonZeroU32::new).map(ZoneId::new);
        let member = &mut self.members[index];
        member.life += 1;
        member.dark = false;
        let seed = self.day.seed.rotate_left(17) ^ (u64::from(member.life) << 32) ^ plan.id.get();
        member.core = Core::Peer(Box::new(Peer::new(config, seed, Time::from_nanos(self.now))));
        let life = member.life;
        self.referee.comes(&mut self.members[index]);
        self.drain(index);
        if !plan.role.is_honest() {
            self.queue
                .push(self.now + super::mischief::BEGINS_AFTER, What::Mischief(index, life));
        }
    }

    /// Every chunk of the build is there, and the core says so.
    pub(super) fn completed(&mut self, index: Index) {
        if self.members[index].is_seeder() {
            return;
        }
        let (plan, life) = (*self.plan(index), self.members[index].life);
        if let Leaves::Done(lingers) = plan.leaves {
            self.queue.push(self.now + lingers, What::Leaves(index, life));
        }
        self.next_generation();
    }

    /// When all of a generation have the build, or are gone, the next one comes.
    fn next_generation(&mut self) {
        let of = |index: Index, generation: u32| match self.plan(index).joins {
            Joins::Generation(other, after) if other == generation => Some(after),
            Joins::At(_) if generation == 0 => Some(0),
            Joins::At(_) | Joins::Generation(..) => None,
        };
        let hosts = self.day.seeders.len()..self.members.len();
        let waits = hosts.clone().any(|index| {
            let member = &self.members[index];
            of(index, self.generation).is_some() && member.is_honest() && !self.referee.is_done(member)
        });
        if waits {
            return;
        }
        let next: Vec<(Index, Nanos)> = hosts
            .filter_map(|index| of(index, self.generation + 1).map(|after| (index, after)))
            .collect();
        self.generation += u32::from(!next.is_empty());
        for (index, after) in next {
            self.disturb(self.now + after, What::Joins(index));
        }
    }

    pub(super) fn leaves(&mut self, member: Index, life: u32) {
        if self.members[member].life != life || self.members[member].core.is_none() {
            return;
        }
        self.trace.say(self.now, &format!("{} leaves", self.members[member].id));
        self.stop(member, false);
        self.fewer();
    }

    /// A member is not there any more; `silent` where nobody learns of it from its machine.
    pub(super) fn stop(&mut self, index: Index, silent: bool) {
        let ends: Vec<_> = self.members[index].ends.values().copied().collect();
        for (conn, side) in ends {
            self.close_end(conn, side);
            if !silent {
                self.transmit(conn, side, Item::Fin);
            }
        }
        let member = &mut self.members[index];
        member.core = Core::None;
        member.dark = silent;
        member.armed = Nanos::MAX;
        member.paused = false;
        member.overslept = false;
        member.feedback.clear();
        member.uplink.busy = false;
        member.uplink.sending.clear();
        self.referee.goes(&mut self.members[index]);
    }

    pub(super) fn after_crash(&mut self, index: Index, store: Store) {
        // What is bad shows when the store is opened.
        let rotten = std::mem::take(&mut self.members[index].rotten);
        let chunks: Vec<ChunkIndex> = self.members[index].store.iter().collect();
        for chunk in chunks {
            let gone = match store {
                Store::Kept => false,
                Store::Half => chunk.get() % 2 == 0,
                Store::Lost => true,
            };
            if gone || rotten.contains(&chunk) {
                self.members[index].store.remove(chunk);
            }
        }
    }

    /// The bytes of some chunks go bad.
    pub(super) fn damage(&mut self, place: usize, index: Index, percent: u64, seen: bool) {
        let lot = |chunk: ChunkIndex| mixed(self.day.seed ^ ((place as u64) << 40) ^ u64::from(chunk.get())) % 100;
        let held: Vec<ChunkIndex> = self.members[index].store.iter().collect();
        for chunk in held
            .into_iter()
            .filter(|chunk| lot(*chunk) < percent)
            .collect::<Vec<_>>()
        {
            if !seen || self.members[index].core.is_none() {
                self.members[index].rotten.insert(chunk);
            } else {
                self.tell_lost(index, chunk);
            }
        }
    }

    fn tell_lost(&mut self, index: Index, chunk: ChunkIndex) {
        let event = swarm::Event::ChunkLost { chunk };
        if self.members[index].paused {
            self.members[index].feedback.push_back(event);
        } else {
            self.chunk_is_gone(index, chunk);
            self.tell(index, event);
        }
    }

    /// A member is about to learn that it has not a chunk any more.
    pub(super) fn chunk_is_gone(&mut self, index: Index, chunk: ChunkIndex) {
        let member = &mut self.members[index];
        member.rotten.remove(&chunk);
        let is_lost = member.store.remove(chunk);
        if is_lost && self.referee.lost(self.now, member) && !member.is_seeder() {
            self.fewer();
        }
    }

    /// What a seeder has lost it has pulled again.
    pub(super) fn repaired(&mut self, index: Index) {
        if !self.members[index].is_seeder() {
            return;
        }
        self.members[index].rotten.clear();
        let lost: Vec<ChunkIndex> = self.manifest.chunks().collect();
        for chunk in lost {
            if self.members[index].store.insert(chunk) {
                self.tell(index, swarm::Event::ChunkFound { chunk });
            }
        }
    }

    /// A chunk is verified and in a host's store.
    pub(super) fn stored(&mut self, index: Index, chunk: ChunkIndex) {
        self.members[index].rotten.remove(&chunk);
        self.referee.stored(self.now, &mut self.members[index], chunk);
        self.seeders_may_go();
    }

    /// Whether honest hosts hold every chunk together, know what the build is, and reach each other over connections that they
    /// have: then nobody needs a seeder.
    pub(super) fn can_do_without_seeders(&self) -> bool {
        let seeders = self.day.seeders.len();
        let hosts: Vec<Index> = (seeders..self.members.len())
            .filter(|index| self.members[*index].is_honest() && !self.members[*index].core.is_none())
            .collect();
        let mut out = swarm::Bitfield::new(self.manifest.chunk_count());
        for host in &hosts {
            self.members[*host].store.iter().for_each(|chunk| {
                out.insert(chunk);
            });
        }
        let knows = |host: &Index| self.members[*host].peer().is_some_and(|peer| peer.progress().is_some());
        if self.disturbances > 0 || !out.is_full() || !hosts.iter().all(knows) {
            return false;
        }
        let mut reached: BTreeSet<Index> = hosts.first().copied().into_iter().collect();
        let mut looks_from: Vec<Index> = reached.iter().copied().collect();
        while let Some(host) = looks_from.pop() {
            for (other, (conn, _)) in &self.members[host].ends {
                let is_one = self.conns[*conn].up == [true; 2] && hosts.contains(other);
                if is_one && reached.insert(*other) {
                    looks_from.push(*other);
                }
            }
        }
        reached.len() == hosts.len()
    }

    pub(super) fn is_for_ever(lasts: Nanos) -> bool {
        lasts == FOR_EVER
    }
}

/// Seeders have the numbers that hosts have not.
pub(crate) fn seeder_id(index: usize) -> HostId {
    HostId::new(index as u64)
}

fn address(host: HostId) -> bytes::Bytes {
    format!("{host}").into_bytes().into()
}
