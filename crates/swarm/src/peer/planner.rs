//! What to ask of whom now. A function of what this host knows: it changes nothing, and the ledger makes it true.
//!
//! Each reason to ask has a function of its own, and they come in this order: what another zone has invited this host to
//! ([`Why::Import`]); what is wanted, of the least loaded neighbours first ([`Why::Want`]); of neighbours that would be idle, what
//! nobody has begun to send ([`Why::Tie`]); what somebody is late with, and the last chunks that take long ([`Why::Hedge`]); of a
//! seeder, what nobody else has ([`Why::Rescue`]). Where all that gives nothing, neighbours that have lost their turn are asked as
//! well.

mod counts;
mod hedging;
mod known;

use rand_xoshiro::Xoshiro256PlusPlus;
use smallvec::SmallVec;

use super::ledger::{Ask, Why};
use super::order::{LOADS, Order, bits};
use super::zones::LOCAL_NEIGHBOURS_MIN;
use crate::holdings::Holdings;
use crate::neighbours::Neighbour;
use crate::units::{ChunkIndex, HostId, Time};
use crate::wire::Contact;
pub(super) use counts::beside;
use known::Asks;
pub(super) use known::{Border, Known, Limits, Plan};

/// What to ask now. Neighbours of equal load are asked from number `first` on, and `chance` is drawn on where the policy is by chance.
pub(super) fn plan<H: Holdings>(known: &Known<'_, H>, first: usize, chance: &mut Xoshiro256PlusPlus) -> Plan {
    let mut planner = Planner::new(known, first, chance);
    planner.accept_invitations();
    // Most of what is heard comes while as much as may be is on its way already: then neighbours are not even looked at.
    if planner.can_ask() {
        planner.look_at_neighbours();
        planner.count_requests();
        planner.ask_for_wanted(!planner.order.parked);
        planner.tie();
        planner.hedge();
    } else if !planner.has_wanted() || known.ledger.has_late() {
        planner.look_at_neighbours();
        planner.count_requests();
        planner.tie();
        planner.hedge();
    } else if known.ledger.may_tie() {
        planner.count_requests();
        planner.tie();
    }
    planner.rescue();
    planner.hedge_at_seeder();
    // Who has lost its turn comes after everybody, the seeder included.
    if (known.neighbours.any_missing() || known.ledger.has_late()) && !planner.is_waiting() {
        planner.ask_those_without_turn();
    }
    Plan {
        asks: planner.asks,
        unserved: planner.unserved,
    }
}

/// A plan that is being made: what is known, and what has been planned so far as if it had been asked already.
struct Planner<'a, H> {
    known: &'a Known<'a, H>,
    first: usize,
    chance: &'a mut Xoshiro256PlusPlus,
    order: Order,
    asks: Asks,
    unserved: SmallVec<[ChunkIndex; 2]>,
    /// The chunks of `asks` that were wanted.
    chunks: SmallVec<[ChunkIndex; 8]>,
    hedges: u32,
    /// Whether hosts of other zones are asked only for imports.
    is_bordered: bool,
    imports_left: u32,
    /// Chunks on their way from seeders, beside the limit.
    beside: usize,
}

impl<'a, H: Holdings> Planner<'a, H> {
    #[inline]
    fn new(known: &'a Known<'a, H>, first: usize, chance: &'a mut Xoshiro256PlusPlus) -> Self {
        let zone = known.limits.zone;
        Self {
            known,
            first,
            chance,
            order: Order::new(first, known.neighbours.len()),
            asks: Asks::new(),
            unserved: SmallVec::new(),
            chunks: SmallVec::new(),
            hedges: 0,
            is_bordered: zone.is_some() && known.neighbours.local_hosts(known.limits.seeders) >= LOCAL_NEIGHBOURS_MIN,
            imports_left: zone.map_or(0, |border| border.open),
            beside: beside(
                known.ledger,
                known.neighbours,
                known.limits.seeders,
                known.limits.requests_per_neighbour_max,
            ),
        }
    }

    /// [`Why::Import`]: takes up invitations as far as the limit of requests to a neighbour allows. They go beyond the limit of chunks
    /// in flight: what they are for is nowhere else in this zone.
    fn accept_invitations(&mut self) {
        let invitations = self.known.limits.zone.map_or(&[][..], |border| border.invitations);
        for (host, chunk) in invitations.iter().copied() {
            let is_wanted = self.known.ledger.is_wanted(chunk) && !self.chunks.contains(&chunk);
            let has_room = self.outstanding(host) < self.known.limits.requests_per_neighbour_max;
            let is_parked = self.known.is_out_of_turn(host);
            let may_come = self.known.ledger.is_asked(host, chunk);
            if is_wanted && has_room && !is_parked && !may_come {
                self.add(host, chunk, Why::Import);
            }
        }
    }

    /// Whether anything that is wanted may be asked for: below the limit, or where a seeder offers more.
    #[inline]
    fn can_ask(&self) -> bool {
        let Known {
            neighbours,
            limits,
            table,
            ..
        } = self.known;
        let offers_more = |seeder: &Contact| {
            if limits.refused.contains(&seeder.host) {
                return false;
            }
            let holdings = neighbours.get(seeder.host).map(|known| known.holdings(*table));
            holdings.is_some_and(|theirs| !theirs.is_empty() && !theirs.is_full())
        };
        let in_flight = self.chunks_in_flight();
        in_flight < limits.chunks_in_flight_max
            || (in_flight < limits.chunks_in_flight_max + SEEDER_EXTRA && limits.seeders.iter().any(offers_more))
    }

    /// Orders neighbours by what is to be known of them.
    #[inline]
    fn look_at_neighbours(&mut self) {
        let Known {
            neighbours,
            limits,
            table,
            now,
            ..
        } = self.known;
        self.order.find_busy(neighbours.busy(*table));
        if limits.zone.is_some() {
            self.order.find_far(|index| neighbours.is_remote(index));
        }
        if neighbours.any_missing() || self.known.ledger.has_late() {
            self.order.find_parked(
                |index| self.known.is_out_of_turn(neighbours.hosts()[index]),
                |index| neighbours.is_shut(index, *now),
            );
        }
        for seeder in limits.seeders {
            if let Some(index) = neighbours.hosts().iter().position(|host| *host == seeder.host) {
                self.order.mark_seeder(index);
            }
        }
    }

    /// Orders neighbours by what is asked of them.
    #[inline]
    fn count_requests(&mut self) {
        let hosts = self.known.neighbours.hosts();
        let planned = self.asks.iter().map(|ask| ask.host);
        for from in self.known.ledger.asked().chain(planned) {
            if let Some(index) = hosts.iter().position(|host| *host == from) {
                self.order.asked(index);
            }
        }
    }

    /// [`Why::Want`]: what nobody was asked for, of these neighbours, those first where the least waits; and
    /// [`Why::Import`] where this zone starves.
    fn ask_for_wanted(&mut self, of: u64) {
        let hosts = self.known.neighbours.hosts();
        for own in 0..self.known.limits.requests_per_neighbour_max.min(LOADS - 1) {
            // By load when the search began, and each once.
            for class in self.order.by_load(own) {
                let room = self.with_room();
                if room == 0 {
                    return;
                }
                let mut rest = class & of & room;
                // The first few are most often enough.
                for offset in bits(rest).take(FETCHED) {
                    self.known.table.fetch(hosts[self.order.index(offset as usize)]);
                }
                while rest != 0 {
                    let offset = rest.trailing_zeros();
                    rest &= rest - 1;
                    let index = self.order.index(offset as usize);
                    let is_seeder = self.order.seeders >> offset & 1 == 1;
                    if let Some((chunk, why)) = self.wanted_of(index, is_seeder) {
                        self.order.asked(index);
                        self.add(hosts[index], chunk, why);
                        rest &= self.with_room();
                    }
                }
            }
        }
    }

    /// Nothing is to come of anybody who is in time: who has lost its turn is asked all the same, those first who have missed the fewest
    /// requests.
    fn ask_those_without_turn(&mut self) {
        let mut parked: SmallVec<[(u32, u32); 16]> = bits(self.order.parked & !self.order.shut)
            .map(|offset| (self.known.neighbours.misses(self.order.index(offset as usize)), offset))
            .collect();
        parked.sort_unstable();
        for same in parked.chunk_by(|a, b| a.0 == b.0) {
            let set = same.iter().fold(0, |set, (_, offset)| set | 1 << offset);
            self.ask_for_wanted(set);
            self.hedge_late(!set);
            if !self.asks.is_empty() {
                return;
            }
        }
    }

    /// What is wanted of the neighbour at `index`.
    #[inline]
    fn wanted_of(&mut self, index: usize, is_seeder: bool) -> Option<(ChunkIndex, Why)> {
        let Known { ledger, neighbours, .. } = self.known;
        let is_import = self.is_closed(index);
        if is_import && self.imports_left == 0 {
            return None;
        }
        let theirs = neighbours.holdings(index, self.known.table);
        if theirs.is_empty() || (is_seeder && (theirs.is_full() || self.is_refused(index))) {
            return None;
        }
        let with_overdue: SmallVec<[ChunkIndex; 8]>;
        let mut except = &self.chunks;
        if ledger.has_overdue() {
            let overdue = ledger.overdue_of(neighbours.hosts()[index]);
            with_overdue = except.iter().copied().chain(overdue).collect();
            except = &with_overdue;
        }
        if is_import {
            let chunk = ledger.choose_by_chance(theirs, except, self.chance)?;
            self.imports_left -= 1;
            return Some((chunk, Why::Import));
        }
        // Of who has everything all would ask for the latest, and those that come late together would have nothing for each
        // other.
        let chunk = if theirs.is_full() {
            ledger.choose_by_chance(theirs, except, self.chance)?
        } else {
            ledger.choose(theirs, except, self.chance)?
        };
        Some((chunk, Why::Want))
    }

    /// [`Why::Tie`]: what nobody has begun to send is asked of one neighbour more that would be idle. Two sources are enough.
    fn tie(&mut self) {
        let Known {
            ledger,
            neighbours,
            limits,
            ..
        } = self.known;
        if !ledger.may_tie() || self.in_flight() >= 2 * limits.chunks_in_flight_max {
            return;
        }
        let planned = self.chunks.iter().map(|chunk| (self.known.now, *chunk));
        let mut candidates: SmallVec<[(Time, ChunkIndex); 8]> = ledger.tie_candidates().chain(planned).collect();
        candidates.sort_unstable();
        for offset in 0..neighbours.len() {
            if candidates.is_empty() {
                break;
            }
            let index = self.order.index(offset);
            let host = neighbours.hosts()[index];
            if !self.order.is_idle(offset, || self.outstanding(host))
                || limits.is_seeder(host)
                || self.is_closed(index)
                || self.known.is_out_of_turn(host)
            {
                continue;
            }
            let theirs = neighbours.holdings(index, self.known.table);
            let may_ask = |chunk| theirs.contains(chunk) && !ledger.is_asked(host, chunk);
            if let Some(place) = candidates.iter().position(|(_, chunk)| may_ask(*chunk)) {
                let (_, chunk) = candidates.remove(place);
                self.order.asked(index);
                self.add(host, chunk, Why::Tie);
            }
        }
    }

    /// [`Why::Rescue`]: a seeder that has shown all it has spares its last copies for what nobody else sends. It is asked for that when
    /// nothing else is to be had or somebody has stalled; and for a few chunks at a time beyond the limit of those in flight, whatever
    /// others send. It may have nothing better to do, and an uplink like that of many hosts: it turns down what it has no room for.
    fn rescue(&mut self) {
        let Known {
            ledger,
            neighbours,
            limits,
            now,
            ..
        } = self.known;
        if !self.has_wanted() {
            return;
        }
        let Some(seeder) = self.complete_seeder() else {
            return;
        };
        let is_in_need = !self.is_waiting() || ledger.has_overdue() || neighbours.any_parked(*now);
        let most = limits.requests_to_seeder_max(seeder.host);
        let has_room = |planner: &Self| {
            let below = planner.chunks_in_flight() < limits.chunks_in_flight_max;
            let beside = planner.outstanding(seeder.host) < most;
            (beside || (is_in_need && below)) && planner.may_wait_at(seeder.host)
        };
        if !has_room(self) {
            return;
        }
        let mut theirs = seeder.has.clone();
        for overdue in ledger.overdue_of(seeder.host) {
            theirs.remove(overdue);
        }
        let mut rare = theirs.clone();
        let others = neighbours.iter();
        let others = others.filter(|n| !self.known.is_out_of_turn(n.host) && !n.is_useless());
        let others = others.filter(|n| !limits.is_seeder(n.host));
        others.for_each(|other| rare.subtract(other.holdings(self.known.table)));
        // Those that come together are to have something for each other.
        while has_room(self)
            && let Some(chunk) = ledger.choose_by_chance(&rare, &self.chunks, self.chance)
        {
            self.add(seeder.host, chunk, Why::Rescue);
        }
        while self.outstanding(seeder.host) < most
            && self.may_wait_at(seeder.host)
            && let Some(chunk) = ledger.choose_by_chance(&theirs, &self.chunks, self.chance)
        {
            self.add(seeder.host, chunk, Why::Rescue);
        }
    }

    /// A seeder that has everything and may be asked, another one first each time.
    fn complete_seeder(&self) -> Option<&'a Neighbour> {
        let Known {
            neighbours,
            limits,
            now,
            ..
        } = self.known;
        let seeders = limits.seeders;
        (0..seeders.len()).find_map(|turn| {
            let seeder = neighbours.get(seeders[(self.first + turn) % seeders.len()].host)?;
            let can_serve = seeder.has.is_full() && !seeder.has.is_empty() && !seeder.is_parked(*now);
            (can_serve && !limits.refused.contains(&seeder.host)).then_some(seeder)
        })
    }

    /// Whether `host` is asked for `chunk`, or is to be.
    fn is_asked(&self, host: HostId, chunk: ChunkIndex) -> bool {
        let is_this = |ask: &Ask| ask.host == host && ask.chunk == chunk;
        self.known.ledger.is_asked(host, chunk) || self.asks.iter().any(is_this)
    }

    #[inline]
    fn add(&mut self, host: HostId, chunk: ChunkIndex, why: Why) {
        match why {
            Why::Want | Why::Import | Why::Rescue => self.chunks.push(chunk),
            Why::Tie => {}
            Why::Hedge => self.hedges += 1,
        }
        self.asks.push(Ask { host, chunk, why });
    }

    /// Neighbours that may be asked for one chunk more, as bits of the order: all below the limit. What a seeder offers is nowhere
    /// else: it is asked for beyond the limit, or its uplink idles.
    #[inline]
    fn with_room(&self) -> u64 {
        let (in_flight, max) = (self.chunks_in_flight(), self.known.limits.chunks_in_flight_max);
        if in_flight < max {
            !0
        } else if in_flight < max + SEEDER_EXTRA {
            self.order.seeders
        } else {
            0
        }
    }

    /// Whether the seeder at `index` turned down a request a moment ago, and would turn down the next.
    #[inline]
    fn is_refused(&self, index: usize) -> bool {
        self.known
            .limits
            .refused
            .contains(&self.known.neighbours.hosts()[index])
    }

    /// Whether the neighbour at `index` is asked only for imports.
    #[inline]
    fn is_closed(&self, index: usize) -> bool {
        self.is_bordered && self.known.neighbours.is_remote(index)
    }
}

/// Neighbours whose holdings are brought into the processor's cache before they are looked at.
const FETCHED: usize = 6;
/// Chunks asked of the seeder beyond the limit.
const SEEDER_EXTRA: usize = 2;

#[cfg(test)]
mod tests;
