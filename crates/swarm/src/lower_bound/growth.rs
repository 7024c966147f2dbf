//! How fast the holders of a chunk can become more: theorems 2, 3 and 5 of the module above.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::BoundedSeeder;
use super::BoundedSwarm;
use super::volume::{Change, NANOS_PER_SECOND, Volume, clamp, nanos, transfer_nanos};

/// Links and times of a swarm, in the units that the bounds are computed in.
pub(super) struct Links<'a> {
    swarm: &'a BoundedSwarm,
    first_join: u64,
    pub(super) latency: u64,
    pub(super) lead: u64,
    uplink_max: u64,
    downlink_max: u64,
    /// Uplink and start of each seeder: nobody is there to send to before the first host joins.
    seeders: Vec<(u64, u64)>,
    /// What they have sent.
    pub(super) seeded: Volume,
}

impl<'a> Links<'a> {
    /// None for a swarm in which nothing has to be sent, or cannot.
    pub(super) fn of(swarm: &'a BoundedSwarm, first_join: u64) -> Option<Self> {
        let serving = swarm.hosts.iter().filter(|host| host.serves());
        let start = |seeder: &BoundedSeeder| nanos(seeder.sends_after).max(first_join);
        let seeders: Vec<(u64, u64)> = swarm
            .seeders
            .iter()
            .map(|s| (s.uplink.bytes_per_second(), start(s)))
            .collect();
        let lead = nanos(swarm.lead);
        if seeders.is_empty() || swarm.build.get() == 0 {
            return None;
        }
        Some(Self {
            first_join,
            latency: nanos(swarm.latency),
            lead,
            uplink_max: serving.map(|host| host.uplink.bytes_per_second()).max().unwrap_or(0),
            downlink_max: swarm.hosts.iter().map(|host| host.downlink.bytes_per_second()).max()?,
            seeded: Volume::new(
                seeders
                    .iter()
                    .map(|&(rate, at)| Change::start(at, rate.into(), lead))
                    .collect(),
            ),
            seeders,
            swarm,
        })
    }

    /// How long after it began to serve at the earliest a sender of this rate has brought its `copy`-th copy to a host.
    fn offset(&self, uplink: u64, unit: u64, copy: u64) -> u64 {
        let sent = transfer_nanos(u128::from(unit) * u128::from(copy), uplink.into()).saturating_sub(self.lead);
        let received = unit.saturating_sub(self.swarm.burst.get());
        let received = transfer_nanos(received.into(), self.downlink_max.into());
        sent.max(received).saturating_add(self.latency)
    }

    /// When the seeders' copies of chunks of this size arrive at the earliest, one after another.
    pub(super) fn copies(&self, unit: u64) -> impl Iterator<Item = u64> {
        let mut sent = vec![0_u64; self.seeders.len()];
        std::iter::from_fn(move || {
            let arrives =
                |&(uplink, start): &(u64, u64), sent: u64| start.saturating_add(self.offset(uplink, unit, sent + 1));
            let next = self
                .seeders
                .iter()
                .zip(&sent)
                .map(|(seeder, sent)| arrives(seeder, *sent));
            let (index, at) = next.enumerate().min_by_key(|(_, at)| *at)?;
            sent[index] += 1;
            Some(at)
        })
    }

    /// Theorem 3: how many hosts can hold a chunk of this size, the seeders' copies of which arrive at these times.
    pub(super) fn growth(&self, unit: u64, copies: impl Iterator<Item = u64>) -> Growth {
        let limit = self.swarm.hosts.len() as u64;
        let mut copies = copies.peekable();
        let mut senders: BinaryHeap<Reverse<(u64, Senders)>> = BinaryHeap::new();
        let mut growth = Growth { steps: Vec::new() };
        let grain = self.offset(self.uplink_max.max(1), unit, 1) / COARSE_GRAIN;
        let mut holders = 0_u64;
        while holders < limit {
            let of_seeders = copies.peek().copied().unwrap_or(u64::MAX);
            let at = senders
                .peek()
                .map_or(of_seeders, |Reverse((at, _))| of_seeders.min(*at));
            // Earlier is safe, so what comes within a grain comes at once.
            let until = if growth.steps.len() < EXACT_STEPS {
                at
            } else {
                at.saturating_add(grain)
            };
            let mut new = 0_u64;
            while holders + new < limit && copies.next_if(|copy| *copy <= until).is_some() {
                new += 1;
            }
            while let Some(mut first) = senders.peek_mut().filter(|first| first.0.0 <= until) {
                let Reverse((next, sender)) = &mut *first;
                let sent = self.copies_within(unit, until - sender.since).max(sender.sent + 1);
                new = new.saturating_add(sender.count.saturating_mul(sent - sender.sent));
                sender.sent = sent;
                *next = sender
                    .since
                    .saturating_add(self.offset(self.uplink_max, unit, sent + 1));
            }
            holders = holders.saturating_add(new).min(limit);
            growth.push(at, holders);
            if self.uplink_max > 0 {
                let next = at.saturating_add(self.offset(self.uplink_max, unit, 1));
                senders.push(Reverse((
                    next,
                    Senders {
                        since: at,
                        count: new,
                        sent: 0,
                    },
                )));
            }
            if at == u64::MAX {
                break;
            }
        }
        growth
    }

    /// How many copies the fastest host has brought to others at most, so long after it held the chunk.
    fn copies_within(&self, unit: u64, after: u64) -> u64 {
        let sending = after.saturating_sub(self.latency).saturating_add(self.lead);
        let bytes_and_a_nano = (u128::from(sending) + 1) * u128::from(self.uplink_max) - 1;
        clamp(bytes_and_a_nano / (u128::from(unit) * NANOS_PER_SECOND))
    }

    /// Theorem 5: what all can have sent if nobody sends before it holds a chunk of this size.
    pub(super) fn ramp(&self, unit: u64) -> Volume {
        let growth = self.growth(unit, self.copies(unit));
        let first = growth.time_of(1);
        let mut changes: Vec<Change> = Vec::new();
        changes.extend(
            self.seeders
                .iter()
                .map(|&(rate, at)| Change::start(at, rate.into(), self.lead)),
        );
        let mut sorted: Vec<u64> = Vec::new();
        for host in self.swarm.hosts.iter().filter(|host| host.serves()) {
            let (uplink, joins) = (host.uplink.bytes_per_second(), nanos(host.joins_after));
            let until = nanos(host.serves_until);
            if joins == self.first_join && until == u64::MAX {
                sorted.push(uplink);
                continue;
            }
            // A copy arrived here, and it did so by way of this downlink.
            let received = transfer_nanos(
                unit.saturating_sub(self.swarm.burst.get()).into(),
                host.downlink.bytes_per_second().into(),
            );
            let from = first.max(joins.saturating_add(received).saturating_add(self.latency));
            if from < until {
                changes.push(Change::start(from, uplink.into(), self.lead));
                changes.push(Change::end(until, uplink.into()));
            }
        }
        sorted.sort_unstable_by_key(|uplink| Reverse(*uplink));
        let mut rest = sorted.as_slice();
        let mut before = 0;
        for (at, holders) in &growth.steps {
            let count = usize::try_from(holders - before).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at(count);
            (rest, before) = (later, *holders);
            let rate: u128 = now.iter().map(|uplink| u128::from(*uplink)).sum();
            changes.push(Change::start(*at, rate, self.lead));
        }
        Volume::new(changes)
    }
}

/// Hosts that hold a chunk since the same time, and how many copies of it each has brought to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Senders {
    since: u64,
    count: u64,
    sent: u64,
}

/// How many hosts can hold a chunk from when on.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    steps: Vec<(u64, u64)>,
}

impl Growth {
    fn push(&mut self, at: u64, holders: u64) {
        match self.steps.last_mut() {
            Some(last) if last.0 == at => last.1 = holders,
            _ => self.steps.push((at, holders)),
        }
    }

    /// When so many can hold it.
    pub(super) fn time_of(&self, holders: u64) -> u64 {
        let step = self.steps.partition_point(|(_, count)| *count < holders);
        self.steps.get(step).map_or(u64::MAX, |(at, _)| *at)
    }
}

/// Growth is exact for so many different times, which covers links that are alike, and beyond that …
const EXACT_STEPS: usize = 4096;
/// … to this part of the time that a chunk takes from one host to the next.
const COARSE_GRAIN: u64 = 256;

#[cfg(test)]
mod rules;
