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

/// All chunks on their way in a region. A change of a share looks at the levels of some seventy ports and at the rates of as many
/// transfers, most of which stay as they are: those are apart, so that they stay in the processor's cache.
#[derive(Clone, Debug)]
pub(crate) struct Transfers {
    /// Uplink and downlink of each member.
    ports: Vec<Port>,
    /// By port, the most that one of the transfers that pass may have; `u64::MAX` where others hold back every one of them.
    levels: Vec<u64>,
    /// By port.
    passing: Vec<SmallVec<[Passing; 9]>>,
    transfers: Vec<Transfer>,
    /// By transfer, since its `updated_at`; 0 of one that has ended.
    rates: Vec<u64>,
    free: Vec<TransferId>,
    count: usize,
    /// Ports whose level may have to move; each once.
    open: Vec<PortId>,
    /// Levels at the other ends of what passes a port, while it is looked at.
    caps: Vec<u64>,
    /// Transfers whose rate has moved; each once.
    moved: Vec<TransferId>,
    /// Members whose alarm has gone off.
    rung: Vec<MemberId>,
    /// Members whose alarm is to be told anew; each once.
    earlier: Vec<MemberId>,
    /// What the driver has not been told yet.
    news: VecDeque<Alarm>,
}

/// A chunk on its way, in one line of the cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Transfer {
    /// What is left at `updated_at`, in units of a port's rate times nanoseconds.
    left: u128,
    updated_at: u64,
    from: MemberId,
    to: MemberId,
    chunk: u32,
    generation: u32,
    active: bool,
    told_slow: bool,
    moved: bool,
}

/// One direction of a member's link, in one line of the cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Port {
    capacity: u64,
    /// What the rates of all of them leave; below zero only while shares are given out.
    rest: i128,
    /// Of uplinks: when the driver comes back at the latest. None of its chunks will have left before. `u64::MAX` where nothing
    /// is to be waited for.
    alarm_at: u64,
    /// Whether the driver knows of an earlier or no time.
    is_alarm_untold: bool,
    is_open: bool,
}

const _: () = assert!(size_of::<Port>() == 64 && size_of::<Transfer>() == 64);

/// A transfer that passes a port, and the other port that it passes.
#[derive(Clone, Copy, Debug)]
struct Passing {
    id: TransferId,
    other: PortId,
}

impl Transfers {
    /// Of members whose uplinks and downlinks have these rates, in bytes a second.
    pub(crate) fn new(links: impl Iterator<Item = (u64, u64)>) -> Self {
        let ports: Vec<Port> = links.flat_map(|(up, down)| [Port::new(up), Port::new(down)]).collect();
        Self {
            levels: vec![u64::MAX; ports.len()],
            passing: vec![SmallVec::new(); ports.len()],
            ports,
            transfers: Vec::new(),
            rates: Vec::new(),
            free: Vec::new(),
            count: 0,
            open: Vec::new(),
            caps: Vec::new(),
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
            let changed = &mut self.ports[port.index()];
            changed.rest += i128::from(capacity) - i128::from(changed.capacity);
            changed.capacity = capacity;
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
            self.passing[port.index()].push(Passing { id, other });
            self.open(port);
        }
        id
    }

    /// Ends a transfer before its last byte has left.
    pub(crate) fn cut_short(&mut self, now: u64, id: TransferId) -> Ended {
        let transfer = &mut self.transfers[id.index()];
        let rate = std::mem::take(&mut self.rates[id.index()]);
        transfer.settle(now, rate);
        transfer.active = false;
        let ended = Ended {
            from: transfer.from,
            to: transfer.to,
            chunk: transfer.chunk,
            left: u64::try_from(transfer.left.div_ceil(UNITS_A_BYTE)).unwrap_or(u64::MAX),
        };
        for port in [uplink(ended.from), downlink(ended.to)] {
            self.ports[port.index()].rest += i128::from(rate);
            let left = &mut self.passing[port.index()];
            if let Some(index) = left.iter().position(|passing| passing.id == id) {
                left.swap_remove(index);
            }
            self.open(port);
        }
        self.count -= 1;
        self.free.push(id);
        ended
    }

    /// Whether an alarm for `member` that goes off `now` is the one that was told last.
    pub(crate) fn rings(&mut self, now: u64, member: MemberId) -> bool {
        let alarm_at = &mut self.ports[uplink(member).index()].alarm_at;
        let rings = *alarm_at == now;
        if rings {
            *alarm_at = u64::MAX;
            self.rung.push(member);
        }
        rings
    }

    /// Takes a chunk that has left `member` by now, after its alarm has rung. Ask until there is none.
    pub(crate) fn take_sent(&mut self, now: u64, member: MemberId) -> Option<Ended> {
        let mut passing = self.passing[uplink(member).index()].iter();
        let has_left = |id: TransferId| self.transfers[id.index()].has_left_at(now, self.rates[id.index()]);
        let id = passing.find(|passing| has_left(passing.id))?.id;
        Some(self.cut_short(now, id))
    }

    /// What the driver is to come back for; until there is nothing.
    pub(crate) fn poll_alarm(&mut self) -> Option<Alarm> {
        self.news.pop_front()
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
        let sent = self.passing[uplink(from).index()].iter();
        let there = sent.filter(|passing| passing.other == downlink(to));
        there.map(|passing| passing.id).collect()
    }

    /// All that a member sends or receives.
    pub(crate) fn of(&self, member: MemberId) -> SmallVec<[TransferId; 8]> {
        let ports = [uplink(member), downlink(member)];
        let passing = ports.iter().flat_map(|port| &self.passing[port.index()]);
        passing.map(|passing| passing.id).collect()
    }

    /// A member's links in bytes a second, up and down.
    #[cfg(test)]
    pub(crate) fn links(&self, member: MemberId) -> (u64, u64) {
        let rate = |port: PortId| self.ports[port.index()].capacity >> UNIT_SHIFT;
        (rate(uplink(member)), rate(downlink(member)))
    }

    /// Has a member's uplink fetched into the processor's cache.
    #[inline]
    pub(crate) fn fetch_uplink(&self, member: MemberId) {
        prefetch(&self.ports[uplink(member).index()]);
        prefetch(&self.passing[uplink(member).index()]);
    }

    /// Has the ports that a chunk from one member to another passes fetched into the processor's cache.
    #[inline]
    pub(crate) fn fetch_link(&self, from: MemberId, to: MemberId) {
        self.fetch_uplink(from);
        prefetch(&self.ports[downlink(to).index()]);
        prefetch(&self.passing[downlink(to).index()]);
    }

    /// Has what a member sends, and where it goes, fetched into the processor's cache. For that its uplink is to be there.
    #[inline]
    pub(crate) fn fetch_sent(&self, member: MemberId) {
        self.fetch(uplink(member));
    }
}

impl Port {
    fn new(rate: u64) -> Self {
        let capacity = capacity(rate);
        Self {
            capacity,
            rest: capacity.into(),
            alarm_at: u64::MAX,
            is_alarm_untold: false,
            is_open: false,
        }
    }
}

impl Transfer {
    /// Counts what has been sent until `now` at this rate.
    #[inline]
    fn settle(&mut self, now: u64, rate: u64) {
        let sent = u128::from(rate) * u128::from(now - self.updated_at);
        self.left = self.left.saturating_sub(sent);
        self.updated_at = now;
    }

    /// Whether the last byte has left by `at` at this rate.
    #[inline]
    fn has_left_at(&self, at: u64, rate: u64) -> bool {
        self.left <= u128::from(rate) * u128::from(at.saturating_sub(self.updated_at))
    }

    /// When the last byte has left at this rate.
    fn ends_at(&self, rate: u64) -> u64 {
        let nanos = self.left.div_ceil(u128::from(rate.max(1)));
        self.updated_at.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX))
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
const _: () = assert!(
    SLOW_AFTER as u128 == swarm::PROGRESS_INTERVAL.as_nanos(),
    "what a driver promises to tell"
);

#[cfg(test)]
mod tests;
