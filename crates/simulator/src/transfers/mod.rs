//! Chunks on their way, and how they share the links that they pass.
//!
//! Every chunk passes two ports, its sender's uplink and its receiver's downlink. Rates are max-min fair over all ports at
//! once: no transfer can have more without another that has no more than it having less. Each port has a *level*, the
//! most that a transfer may have there, and a transfer's rate is the lower of the levels of its two ports.
//!
//! Invariant: after [`Transfers::share_out`] the rates at a port add up to no more than its own, and a port that has more
//! than a small part of its rate left (see [`SLACK_SHIFT`]) holds nobody back. Only ports that a change reaches are looked
//! at: a port whose level moves passes that on to the other ends of those transfers whose rates move with it, until what is
//! left of the change is small. Counting is in whole units of a 2^-20th byte a second (see [`UNIT_SHIFT`]) and loses nothing,
//! so that results are the same everywhere and no time is too long and no link too slow.
//!
//! Does not know hosts, messages or events. The driver is told when to come back for a member ([`Transfers::poll_alarm`]), and
//! then takes what has left it ([`Transfers::rings`], [`Transfers::take_sent`]).

mod sharing;

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::member::MemberId;
use crate::prefetch::prefetch;

/// A place of a transfer. Places are used again; with each use the generation goes up by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransferId(u32);

/// One direction of a member's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PortId(u32);

/// A chunk that is no longer on its way from `from` to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) from: MemberId,
    pub(crate) to: MemberId,
    pub(crate) chunk: u32,
    /// Bytes that had not left yet.
    pub(crate) left: u64,
}

/// A chunk that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moving {
    pub(crate) from: MemberId,
    pub(crate) to: MemberId,
    pub(crate) chunk: u32,
}

/// Something to come back for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// A chunk will have left this member then, if no rate changes before. Replaces what was told for it before.
    Sent { member: MemberId, at: u64 },
    /// This transfer takes a while. Told once.
    Slow { transfer: TransferId, generation: u32 },
}

/// All chunks on their way in a region. What is looked at for every change of a share lies close together.
#[derive(Clone, Debug)]
pub(crate) struct Transfers {
    /// By port.
    capacities: Vec<u64>,
    standings: Vec<Standing>,
    passing: Vec<PassingAll>,
    /// By transfer.
    rates: Vec<u64>,
    transfers: Vec<Transfer>,
    free: Vec<TransferId>,
    count: usize,
    /// By member.
    alarms: Vec<MemberAlarm>,
    /// Ports whose level may have to move; each once.
    open: Vec<PortId>,
    /// Transfers whose rate has moved.
    moved: Vec<TransferId>,
    /// Members whose alarm has gone off.
    rung: Vec<MemberId>,
    /// Members whose alarm is to be told anew; each once.
    earlier: Vec<MemberId>,
    /// What the driver has not been told yet.
    news: VecDeque<Alarm>,
}

#[derive(Clone, Copy, Debug)]
struct MemberAlarm {
    /// None of its chunks will have left before. `u64::MAX` where nothing is to be waited for.
    at: u64,
    /// Whether the driver knows of an earlier or no time.
    untold: bool,
}

/// In one line of the cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Transfer {
    /// What is left at `updated_at`, in units of a port's rate times nanoseconds.
    left: u128,
    /// Its rate is that of [`Transfers::rates`] since then.
    updated_at: u64,
    from: MemberId,
    to: MemberId,
    chunk: u32,
    generation: u32,
    active: bool,
    told_slow: bool,
    moved: bool,
}

/// How a port stands.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// The most that one of the transfers that pass may have; `u64::MAX` where others hold back every one of them.
    level: u64,
    /// What the rates of all of them leave; below zero only while shares are given out.
    rest: i128,
    open: bool,
}

/// The transfers that pass a port, in one line of the cache where there are few.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct PassingAll(SmallVec<[Passing; 7]>);

/// A transfer that passes a port, and the other port that it passes.
#[derive(Clone, Copy, Debug)]
struct Passing {
    id: TransferId,
    other: PortId,
}

impl Transfers {
    /// Of members whose uplinks and downlinks have these rates, in bytes a second.
    pub(crate) fn new(links: impl Iterator<Item = (u64, u64)>) -> Self {
        let capacities: Vec<u64> = links.flat_map(|(up, down)| [capacity(up), capacity(down)]).collect();
        let standings = capacities.iter().map(|capacity| Standing {
            level: u64::MAX,
            rest: i128::from(*capacity),
            open: false,
        });
        let alarm = MemberAlarm {
            at: u64::MAX,
            untold: false,
        };
        Self {
            standings: standings.collect(),
            passing: vec![PassingAll::default(); capacities.len()],
            alarms: vec![alarm; capacities.len() / 2],
            capacities,
            rates: Vec::new(),
            transfers: Vec::new(),
            free: Vec::new(),
            count: 0,
            open: Vec::new(),
            moved: Vec::new(),
            rung: Vec::new(),
            earlier: Vec::new(),
            news: VecDeque::new(),
        }
    }

    /// Gives a member other links, in bytes a second up and down, which count from the next [`Self::share_out`] on.
    pub(crate) fn set_links(&mut self, member: MemberId, (up, down): (u64, u64)) {
        for (port, rate) in [(uplink(member), up), (downlink(member), down)] {
            let capacity = capacity(rate);
            let before = std::mem::replace(&mut self.capacities[port.index()], capacity);
            self.standings[port.index()].rest += i128::from(capacity) - i128::from(before);
            self.open(port);
        }
    }

    /// How many chunks are on their way.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// Begins to send a chunk of `bytes`, which moves from the next [`Self::share_out`] on.
    pub(crate) fn begin(&mut self, now: u64, from: MemberId, to: MemberId, chunk: u32, bytes: u64) -> TransferId {
        let transfer = Transfer {
            left: u128::from(bytes) * UNITS_A_BYTE,
            updated_at: now,
            from,
            to,
            chunk,
            generation: 0,
            active: true,
            told_slow: false,
            moved: false,
        };
        let id = match self.free.pop() {
            Some(id) => {
                let place = &mut self.transfers[id.index()];
                let generation = place.generation.wrapping_add(1);
                *place = Transfer { generation, ..transfer };
                id
            }
            None => {
                self.transfers.push(transfer);
                self.rates.push(0);
                TransferId(u32::try_from(self.transfers.len() - 1).expect("fewer transfers than a u32 counts"))
            }
        };
        self.count += 1;
        let (up, down) = (uplink(from), downlink(to));
        for (port, other) in [(up, down), (down, up)] {
            self.passing[port.index()].0.push(Passing { id, other });
            self.open(port);
        }
        id
    }

    /// Ends a transfer before its last byte has left.
    pub(crate) fn cut_short(&mut self, now: u64, id: TransferId) -> Ended {
        let rate = std::mem::take(&mut self.rates[id.index()]);
        let transfer = &mut self.transfers[id.index()];
        transfer.settle(now, rate);
        transfer.active = false;
        let ended = Ended {
            from: transfer.from,
            to: transfer.to,
            chunk: transfer.chunk,
            left: u64::try_from(transfer.left.div_ceil(UNITS_A_BYTE)).unwrap_or(u64::MAX),
        };
        for port in [uplink(ended.from), downlink(ended.to)] {
            self.standings[port.index()].rest += i128::from(rate);
            let passing = &mut self.passing[port.index()].0;
            if let Some(index) = passing.iter().position(|passing| passing.id == id) {
                passing.swap_remove(index);
            }
            self.open(port);
        }
        self.count -= 1;
        self.free.push(id);
        ended
    }

    /// Whether an alarm for `member` that goes off `now` is the one that was told last.
    pub(crate) fn rings(&mut self, now: u64, member: MemberId) -> bool {
        let alarm = &mut self.alarms[member.index()];
        let rings = alarm.at == now;
        if rings {
            alarm.at = u64::MAX;
            self.rung.push(member);
        }
        rings
    }

    /// Takes a chunk that has left `member` by now, after its alarm has rung. Ask until there is none.
    pub(crate) fn take_sent(&mut self, now: u64, member: MemberId) -> Option<Ended> {
        let passing = &self.passing[uplink(member).index()].0;
        let id = passing
            .iter()
            .map(|passing| passing.id)
            .find(|id| self.has_left_at(*id, now))?;
        Some(self.cut_short(now, id))
    }

    /// What the driver is to come back for; until there is nothing.
    pub(crate) fn poll_alarm(&mut self) -> Option<Alarm> {
        self.news.pop_front()
    }

    /// Whether the last byte has left by `at`, if the rate stays as it is.
    fn has_left_at(&self, id: TransferId, at: u64) -> bool {
        let transfer = &self.transfers[id.index()];
        transfer.left <= u128::from(self.rates[id.index()]) * u128::from(at.saturating_sub(transfer.updated_at))
    }

    /// When the last byte has left.
    fn ends_at(&self, id: TransferId) -> u64 {
        let transfer = &self.transfers[id.index()];
        let nanos = transfer.left.div_ceil(u128::from(self.rates[id.index()].max(1)));
        transfer
            .updated_at
            .saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Looking things up.
impl Transfers {
    /// What is at a place; nothing where that transfer has ended.
    pub(crate) fn get(&self, id: TransferId, generation: u32) -> Option<Moving> {
        let transfer = &self.transfers[id.index()];
        let same = transfer.active && transfer.generation == generation;
        same.then_some(Moving {
            from: transfer.from,
            to: transfer.to,
            chunk: transfer.chunk,
        })
    }

    /// The transfer of `chunk` from one member to another.
    pub(crate) fn find(&self, from: MemberId, to: MemberId, chunk: u32) -> Option<TransferId> {
        let found = self.between(from, to);
        found.into_iter().find(|id| self.transfers[id.index()].chunk == chunk)
    }

    /// What `from` is sending to `to`.
    pub(crate) fn between(&self, from: MemberId, to: MemberId) -> SmallVec<[TransferId; 8]> {
        let sent = self.passing[uplink(from).index()].0.iter();
        let there = sent.filter(|passing| passing.other == downlink(to));
        there.map(|passing| passing.id).collect()
    }

    /// All that a member sends or receives.
    pub(crate) fn of(&self, member: MemberId) -> SmallVec<[TransferId; 8]> {
        let ports = [uplink(member), downlink(member)];
        let passing = ports.iter().flat_map(|port| &self.passing[port.index()].0);
        passing.map(|passing| passing.id).collect()
    }

    /// A member's links in bytes a second, up and down.
    #[cfg(test)]
    pub(crate) fn links(&self, member: MemberId) -> (u64, u64) {
        let rate = |port: PortId| self.capacities[port.index()] >> UNIT_SHIFT;
        (rate(uplink(member)), rate(downlink(member)))
    }

    /// Has a member's ports fetched into the processor's cache.
    pub(crate) fn prefetch(&self, member: MemberId) {
        for port in [uplink(member), downlink(member)] {
            prefetch(&self.passing[port.index()]);
        }
    }
}

impl Transfer {
    /// Counts what has been sent until `now`, at this rate.
    fn settle(&mut self, now: u64, rate: u64) {
        let sent = u128::from(rate) * u128::from(now - self.updated_at);
        self.left = self.left.saturating_sub(sent);
        self.updated_at = now;
    }
}

impl TransferId {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

impl PortId {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

fn capacity(rate: u64) -> u64 {
    rate.clamp(1, RATE_MAX) << UNIT_SHIFT
}

const fn uplink(member: MemberId) -> PortId {
    PortId(2 * member.number())
}

const fn downlink(member: MemberId) -> PortId {
    PortId(2 * member.number() + 1)
}

/// A byte a second is so many units of a rate, as a power of two: a link of one byte a second divides among a thousand chunks.
const UNIT_SHIFT: u32 = 20;
/// Links that are faster count as so many bytes a second: 70 Tbit/s.
const RATE_MAX: u64 = 1 << (63 - UNIT_SHIFT);
/// Units of rate times nanoseconds that a byte is.
const UNITS_A_BYTE: u128 = 1_000_000_000_u128 << UNIT_SHIFT;
/// A transfer that takes longer than this shows its receiver that it goes on, as segments do on the wire.
pub(crate) const SLOW_AFTER: u64 = 500_000_000;

#[cfg(test)]
mod tests;
