//! Who is connected and what each of them has, as far as this host knows. Invariant: nobody is in it twice, and
//! as many have missed requests, or given up on a chunk, as are counted.
//!
//! Slow is not bad: who misses requests loses its turn for a while, ever longer, and is tried again after that.

use std::time::Duration;

use smallvec::SmallVec;

use crate::bitfield::Bitfield;
use crate::holdings::Holdings;
use crate::units::{ChunkIndex, HostId, Time, ZoneId};
use crate::wire::Contact;

/// A connected member.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub(crate) host: HostId,
    /// Whether it can send the manifest.
    pub(crate) knows_manifest: bool,
    /// What it has; empty and of length 0 until the manifest is known here.
    pub(crate) has: Bitfield,
    /// What it said it has before the manifest was known here.
    pub(crate) said_early: Option<Box<EarlyHave>>,
    /// Times that it let requests become late or overdue, or turned them down, since it last delivered.
    misses: u32,
    /// Likewise, times that some became overdue.
    strikes: u32,
    /// Until when others are asked first.
    parked_until: Time,
    /// Until when it is not asked at all: it turned a request down and would turn down the next.
    shut_until: Time,
    /// Times that it gave up on a chunk since it last delivered.
    aborts: u32,
    /// How many of the chunks that were acquired here, in the order in which they came, it has been told of.
    pub(crate) acquired_told: usize,
    /// Where it says it is.
    pub(crate) zone: Option<ZoneId>,
    /// A seeder that has shown no more than what it offers.
    pub(crate) only_offers: bool,
}

impl Neighbour {
    /// Whether others are asked first: it was late, or overdue, a moment ago, and has not delivered since.
    #[inline]
    pub(crate) fn is_parked(&self, now: Time) -> bool {
        now < self.parked_until
    }

    /// Whether it has missed so many requests in a row that it does not count as a neighbour.
    #[inline]
    pub(crate) const fn is_useless(&self) -> bool {
        self.strikes >= USELESS_FROM_STRIKES || self.misses >= USELESS_FROM_MISSES
    }

    /// Times that it let requests become late or overdue since it last delivered.
    #[inline]
    pub(crate) const fn misses(&self) -> u32 {
        self.misses
    }

    /// What it holds as far as is known here.
    #[inline]
    pub(crate) fn holdings<'a>(&'a self, table: &'a impl Holdings) -> &'a Bitfield {
        table.held_by(self.host).unwrap_or(&self.has)
    }
}

/// What a neighbour said it has while the number of chunks was not known here.
#[derive(Clone, Debug, Default)]
pub(crate) struct EarlyHave {
    pub(crate) all: bool,
    pub(crate) chunks: Vec<u32>,
}

/// The connected members, few enough to be searched one by one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Neighbours {
    list: Vec<Neighbour>,
    /// The hosts of `list`, apart: looking somebody up is what happens most, and reads two cache lines instead of twenty.
    hosts: SmallVec<[HostId; 20]>,
    /// Likewise, whether they are in another zone.
    remote: SmallVec<[bool; 20]>,
    /// Likewise, whether requests waited there when they last said so.
    busy: SmallVec<[bool; 20]>,
    /// How many of them have missed requests, and how many have given up on a chunk, since they last delivered: most often nobody,
    /// and then nobody is looked at for it.
    missing: usize,
    gave_up: usize,
}

impl Neighbours {
    /// `remote` until it says where it is.
    pub(crate) fn insert(&mut self, host: HostId, chunk_count: u32, remote: bool) -> bool {
        if self.contains(host) {
            return false;
        }
        self.hosts.push(host);
        self.remote.push(remote);
        self.busy.push(false);
        self.list.push(Neighbour {
            host,
            knows_manifest: false,
            has: Bitfield::new(chunk_count),
            said_early: None,
            misses: 0,
            strikes: 0,
            parked_until: Time::ZERO,
            shut_until: Time::ZERO,
            aborts: 0,
            acquired_told: 0,
            zone: None,
            only_offers: false,
        });
        true
    }

    pub(crate) fn remove(&mut self, host: HostId) -> Option<Neighbour> {
        let index = self.position(host)?;
        self.hosts.remove(index);
        self.remote.remove(index);
        self.busy.remove(index);
        let gone = self.list.remove(index);
        self.missing -= usize::from(gone.misses > 0);
        self.gave_up -= usize::from(gone.aborts > 0);
        Some(gone)
    }

    #[inline]
    pub(crate) fn contains(&self, host: HostId) -> bool {
        self.position(host).is_some()
    }

    #[inline]
    pub(crate) fn get(&self, host: HostId) -> Option<&Neighbour> {
        self.position(host).map(|index| &self.list[index])
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, host: HostId) -> Option<&mut Neighbour> {
        self.position(host).map(|index| &mut self.list[index])
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Neighbour> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Neighbour> {
        self.list.iter_mut()
    }

    #[inline]
    pub(crate) fn hosts(&self) -> &[HostId] {
        &self.hosts
    }

    #[inline]
    pub(crate) fn is_remote(&self, index: usize) -> bool {
        self.remote[index]
    }

    pub(crate) fn is_remote_host(&self, host: HostId) -> bool {
        self.position(host).is_some_and(|index| self.remote[index])
    }

    /// How many are in the zone of this host, these seeders not counted, which are in none, nor who has let requests become overdue
    /// since it last delivered.
    pub(crate) fn local_hosts(&self, seeders: &[Contact]) -> usize {
        let local = self.remote.iter().filter(|remote| !**remote).count();
        let seeders = seeders.iter().filter(|seeder| self.contains(seeder.host)).count();
        if self.missing == 0 {
            return local - seeders;
        }
        let is_local = |(neighbour, remote): &(&Neighbour, &bool)| !**remote && neighbour.strikes == 0;
        self.list
            .iter()
            .zip(&self.remote)
            .filter(is_local)
            .count()
            .saturating_sub(seeders)
    }

    /// `host` says that it is in `zone`, which is that of this host where not `remote`.
    pub(crate) fn set_zone(&mut self, host: HostId, zone: ZoneId, remote: bool) {
        if let Some(index) = self.position(host) {
            self.list[index].zone = Some(zone);
            self.remote[index] = remote;
        }
    }

    /// What the neighbour at `index` holds as far as is known here.
    #[inline]
    pub(crate) fn holdings<'a>(&'a self, index: usize, table: &'a impl Holdings) -> &'a Bitfield {
        table
            .held_by(self.hosts[index])
            .unwrap_or_else(|| &self.list[index].has)
    }

    /// Whether requests wait at the neighbour at an index as far as is known here.
    #[inline]
    pub(crate) fn busy<'a, H: Holdings>(&'a self, table: &'a H) -> impl Fn(usize) -> bool + use<'a, H> {
        let (hosts, told) = (&self.hosts[..], &self.busy[..]);
        move |index| table.is_busy(hosts[index]).unwrap_or(told[index])
    }

    /// `host` has let requests become late once more, or turned them down. It loses its turn for `least`, and twice as long each time
    /// that it does so in a row, up to `most`: until the time that is told.
    pub(crate) fn park(&mut self, now: Time, host: HostId, least: Duration, most: Duration) -> Time {
        let Some(index) = self.position(host) else {
            return now;
        };
        let neighbour = &mut self.list[index];
        self.missing += usize::from(neighbour.misses == 0);
        let until = now + (least * (1 << neighbour.misses.min(16))).min(most);
        neighbour.parked_until = neighbour.parked_until.max(until);
        neighbour.misses = neighbour.misses.saturating_add(1);
        until
    }

    /// `host` has let requests become overdue once more: it loses its turn for `patience`, and twice as long each time.
    pub(crate) fn strike(&mut self, now: Time, host: HostId, patience: Duration) {
        let Some(neighbour) = self.get_mut(host) else {
            return;
        };
        let pause = (patience * (1 << neighbour.strikes.min(16))).min(PARKED_MAX);
        neighbour.strikes += 1;
        self.park(now, host, pause, pause);
    }

    /// `host` has turned a request down: it loses its turn, and is not asked at all until it has it again.
    pub(crate) fn shut(&mut self, now: Time, host: HostId, least: Duration, most: Duration) {
        let until = self.park(now, host, least, most);
        if let Some(neighbour) = self.get_mut(host) {
            neighbour.shut_until = until;
        }
    }

    /// Whether the neighbour at `index` is not to be asked.
    #[inline]
    pub(crate) fn is_shut(&self, index: usize, now: Time) -> bool {
        self.missing > 0 && now < self.list[index].shut_until
    }

    /// When the next of those that are not to be asked may be again.
    pub(crate) fn next_open(&self, now: Time) -> Option<Time> {
        if self.missing == 0 {
            return None;
        }
        let shut = self.list.iter().map(|neighbour| neighbour.shut_until);
        shut.filter(|until| *until > now).min()
    }

    /// `host` has given up on a chunk once more; tells how often since it last delivered.
    pub(crate) fn aborted(&mut self, host: HostId) -> u32 {
        let Some(index) = self.position(host) else {
            return 0;
        };
        let neighbour = &mut self.list[index];
        self.gave_up += usize::from(neighbour.aborts == 0);
        neighbour.aborts += 1;
        neighbour.aborts
    }

    /// `host` has delivered, or delivers.
    #[inline]
    pub(crate) fn delivered(&mut self, host: HostId) {
        if self.missing + self.gave_up == 0 {
            return;
        }
        if let Some(index) = self.position(host) {
            let neighbour = &mut self.list[index];
            self.missing -= usize::from(neighbour.misses > 0);
            neighbour.misses = 0;
            self.gave_up -= usize::from(neighbour.aborts > 0);
            neighbour.strikes = 0;
            neighbour.parked_until = Time::ZERO;
            neighbour.shut_until = Time::ZERO;
            neighbour.aborts = 0;
        }
    }

    /// How often `host` has let requests become overdue since it last delivered.
    #[inline]
    pub(crate) fn strikes(&self, host: HostId) -> u32 {
        if self.missing == 0 {
            return 0;
        }
        self.get(host).map_or(0, |neighbour| neighbour.strikes)
    }

    /// How often the neighbour at `index` has missed requests since it last delivered.
    #[inline]
    pub(crate) fn misses(&self, index: usize) -> u32 {
        self.list[index].misses
    }

    /// Whether anybody has missed requests since it last delivered.
    #[inline]
    pub(crate) const fn any_missing(&self) -> bool {
        self.missing > 0
    }

    /// Whether anybody has lost its turn at `now`.
    pub(crate) fn any_parked(&self, now: Time) -> bool {
        self.missing > 0 && self.list.iter().any(|neighbour| neighbour.is_parked(now))
    }

    /// Whether others are asked before `host`.
    pub(crate) fn is_parked_host(&self, host: HostId, now: Time) -> bool {
        self.missing > 0 && self.get(host).is_some_and(|neighbour| neighbour.is_parked(now))
    }

    /// `host` says whether requests wait there.
    pub(crate) fn set_busy(&mut self, host: HostId, waiting: bool) {
        if let Some(index) = self.position(host) {
            self.busy[index] = waiting;
        }
    }

    #[inline]
    fn position(&self, host: HostId) -> Option<usize> {
        self.hosts.iter().position(|other| *other == host)
    }
}

impl EarlyHave {
    /// Keeps at most as many chunks as a build can have.
    pub(crate) fn add(&mut self, chunks: &[u32]) {
        let room = (crate::manifest::CHUNKS_MAX as usize).saturating_sub(self.chunks.len());
        self.chunks.extend(chunks.iter().take(room));
    }
}

/// The chunk numbers as chunks of a build of `chunk_count`; `None` where one is beyond it.
pub(crate) fn checked(chunks: &[u32], chunk_count: u32) -> Option<Vec<ChunkIndex>> {
    let in_range = |&chunk: &u32| (chunk < chunk_count).then(|| ChunkIndex::new(chunk));
    chunks.iter().map(in_range).collect()
}

/// After so many overdue requests in a row a neighbour does not count as one …
const USELESS_FROM_STRIKES: u32 = 3;
/// … or after so many that were late.
const USELESS_FROM_MISSES: u32 = 6;
/// A neighbour loses its turn for this long at most: then it is tried again.
const PARKED_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod rules;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_misses_requests_loses_its_turn_for_ever_longer_until_it_delivers() {
        let mut neighbours = Neighbours::default();
        let [a, b, nobody] = [1, 2, 3].map(HostId::new);
        assert!(neighbours.insert(a, 1, false) && neighbours.insert(b, 1, false));
        let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
        let (least, most) = (Duration::from_millis(100), Duration::from_millis(350));
        neighbours.park(at(0), nobody, least, most);
        assert!(!neighbours.any_missing());
        for (now, until) in [(0, 100), (200, 400), (1000, 1350)] {
            neighbours.park(at(now), a, least, most);
            assert!(neighbours.is_parked_host(a, at(until - 1)) && !neighbours.is_parked_host(a, at(until)));
        }
        assert!(!neighbours.get(a).unwrap().is_useless());
        for (now, until) in [(2000, 4000), (4000, 8000)] {
            neighbours.strike(at(now), a, Duration::from_secs(2));
            assert!(neighbours.is_parked_host(a, at(until - 1)) && !neighbours.is_parked_host(a, at(until)));
        }
        assert_eq!(neighbours.strikes(a), 2);
        neighbours.park(at(8000), a, least, most);
        assert!(neighbours.get(a).unwrap().is_useless(), "six in a row");
        (0..40).for_each(|_| neighbours.strike(at(8000), a, Duration::from_secs(2)));
        assert!(!neighbours.is_parked_host(a, at(8000) + PARKED_MAX), "never for good");
        neighbours.park(at(8000), b, least, most);
        neighbours.delivered(a);
        neighbours.delivered(a);
        assert!(neighbours.any_missing() && neighbours.strikes(a) == 0);
        assert!(
            !neighbours.is_parked_host(a, at(8000)),
            "what it has delivered since counts"
        );
        neighbours.remove(b);
        neighbours.delivered(nobody);
        assert!(!neighbours.any_missing());
    }

    #[test]
    fn who_gives_up_is_counted_until_it_delivers_or_goes() {
        let mut neighbours = Neighbours::default();
        let [a, b, nobody] = [1, 2, 3].map(HostId::new);
        assert!(neighbours.insert(a, 1, false) && neighbours.insert(b, 1, false));
        let times = [a, a, b, nobody].map(|host| neighbours.aborted(host));
        assert_eq!(times, [1, 2, 1, 0]);
        neighbours.delivered(a);
        neighbours.remove(b);
        assert_eq!(neighbours.gave_up, 0);
        assert_eq!(neighbours.aborted(a), 1, "what it has delivered since counts");
    }
}
