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

use std::collections::VecDeque;

use smallvec::SmallVec;

/// A transfer's place. Places are used again; [`Transfers::generation`] tells who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransferId(u32);

/// One direction of a member's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PortId(u32);

/// A chunk that is no longer on its way from `from` to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) chunk: u32,
    /// Bytes that had not left yet.
    pub(crate) left: u64,
}

/// Something to come back for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// A chunk will have left this member then, if no rate changes before. Replaces what was told for it before.
    Sent { member: u32, at: u64 },
    /// This transfer takes a while. Told once.
    Slow { transfer: TransferId, generation: u32 },
}

/// All chunks on their way in a region.
#[derive(Clone, Debug)]
pub(crate) struct Transfers {
    ports: Vec<Port>,
    /// By port, apart from the rest of it since all that share a port with somebody look at it: the most that a transfer may
    /// have there; `u64::MAX` where others hold back every one of them.
    levels: Vec<u64>,
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
    rung: Vec<u32>,
    /// Members whose alarm is to be told anew; each once.
    earlier: Vec<u32>,
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
    /// Since then.
    rate: u64,
    updated_at: u64,
    from: u32,
    to: u32,
    chunk: u32,
    generation: u32,
    active: bool,
    told_slow: bool,
    moved: bool,
}

#[derive(Clone, Debug)]
struct Port {
    rate: u64,
    /// The rates of all transfers that pass, added up.
    used: u64,
    open: bool,
    active: SmallVec<[Passing; 4]>,
}

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
            alarms: vec![
                MemberAlarm {
                    at: u64::MAX,
                    untold: false
                };
                ports.len() / 2
            ],
            levels: vec![u64::MAX; ports.len()],
            ports,
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

    /// How many chunks are on their way.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// Begins to send a chunk of `bytes`, which moves from the next [`Self::share_out`] on.
    pub(crate) fn begin(&mut self, now: u64, from: u32, to: u32, chunk: u32, bytes: u64) -> TransferId {
        let transfer = Transfer {
            left: u128::from(bytes) * UNITS_A_BYTE,
            rate: 0,
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
                TransferId(u32::try_from(self.transfers.len() - 1).expect("fewer transfers than a u32 counts"))
            }
        };
        self.count += 1;
        let (up, down) = (uplink(from), downlink(to));
        for (port, other) in [(up, down), (down, up)] {
            self.ports[port.index()].active.push(Passing { id, other });
            self.open(port);
        }
        id
    }

    /// Ends a transfer before its last byte has left.
    pub(crate) fn cut_short(&mut self, now: u64, id: TransferId) -> Ended {
        let transfer = &mut self.transfers[id.index()];
        transfer.settle(now);
        transfer.active = false;
        let rate = std::mem::take(&mut transfer.rate);
        let ended = Ended {
            from: transfer.from,
            to: transfer.to,
            chunk: transfer.chunk,
            left: u64::try_from(transfer.left.div_ceil(UNITS_A_BYTE)).unwrap_or(u64::MAX),
        };
        for port in [uplink(ended.from), downlink(ended.to)] {
            let place = &mut self.ports[port.index()];
            place.used -= rate;
            if let Some(index) = place.active.iter().position(|passing| passing.id == id) {
                place.active.swap_remove(index);
            }
            self.open(port);
        }
        self.count -= 1;
        self.free.push(id);
        ended
    }

    /// Whether an alarm for `member` that goes off `now` is the one that was told last.
    pub(crate) fn rings(&mut self, now: u64, member: u32) -> bool {
        let alarm = &mut self.alarms[member as usize];
        let rings = alarm.at == now;
        if rings {
            alarm.at = u64::MAX;
            self.rung.push(member);
        }
        rings
    }

    /// Takes a chunk that has left `member` by now, after its alarm has rung. Ask until there is none.
    pub(crate) fn take_sent(&mut self, now: u64, member: u32) -> Option<Ended> {
        let active = &self.ports[uplink(member).index()].active;
        let sent = |id: &TransferId| self.transfers[id.index()].has_left_at(now);
        let id = active.iter().map(|passing| passing.id).find(sent)?;
        Some(self.cut_short(now, id))
    }

    /// Gives all transfers the rates that are theirs from now on.
    pub(crate) fn share_out(&mut self, now: u64) {
        let mut looked_at = 0;
        let mut next = 0;
        while let Some(port) = self.open.get(next).copied() {
            next += 1;
            looked_at += 1;
            self.ports[port.index()].open = false;
            self.level(now, port, looked_at < LOOKS_MAX);
        }
        self.open.clear();
        self.set_alarms(now);
    }

    /// What the driver is to come back for; until there is nothing.
    pub(crate) fn poll_alarm(&mut self) -> Option<Alarm> {
        self.news.pop_front()
    }

    /// Finds the level of a port anew and gives its transfers their rates.
    fn level(&mut self, now: u64, id: PortId, may_raise: bool) {
        let port = &self.ports[id.index()];
        let mut caps: SmallVec<[(TransferId, PortId, u64); 8]> = SmallVec::new();
        for passing in &port.active {
            caps.push((passing.id, passing.other, self.levels[passing.other.index()]));
        }
        let level = water_level(port.rate, caps.iter().map(|(_, _, cap)| *cap));
        self.levels[id.index()] = level;
        let mut used = port.used;
        for (transfer, other, cap) in caps {
            let rate = level.min(cap);
            let before = self.transfers[transfer.index()].rate;
            if rate == before {
                continue;
            }
            self.set_rate(now, transfer, rate);
            used = used + rate - before;
            let port = &mut self.ports[other.index()];
            port.used = port.used + rate - before;
            let overfull = port.used > port.rate;
            if overfull || may_raise && port.holds_back_for_nothing(self.levels[other.index()]) {
                self.open(other);
            }
        }
        self.ports[id.index()].used = used;
    }

    fn set_rate(&mut self, now: u64, id: TransferId, rate: u64) {
        let transfer = &mut self.transfers[id.index()];
        transfer.settle(now);
        transfer.rate = rate;
        if !std::mem::replace(&mut transfer.moved, true) {
            self.moved.push(id);
        }
    }

    fn open(&mut self, port: PortId) {
        if !std::mem::replace(&mut self.ports[port.index()].open, true) {
            self.open.push(port);
        }
    }

    /// Foresees the ends of what has moved. An alarm that comes too early is set again when it goes off; only one that
    /// would come too late is replaced.
    fn set_alarms(&mut self, now: u64) {
        while let Some(id) = self.moved.pop() {
            let transfer = &mut self.transfers[id.index()];
            transfer.moved = false;
            if !transfer.told_slow && !transfer.has_left_at(now.saturating_add(SLOW_AFTER)) {
                transfer.told_slow = true;
                let generation = transfer.generation;
                let transfer = id;
                self.news.push_back(Alarm::Slow { transfer, generation });
            }
            let transfer = &self.transfers[id.index()];
            if transfer.has_left_at(self.alarms[transfer.from as usize].at) {
                self.ring_at(transfer.from, transfer.ends_at());
            }
        }
        while let Some(member) = self.rung.pop() {
            let active = &self.ports[uplink(member).index()].active;
            let ends = active
                .iter()
                .map(|passing| self.transfers[passing.id.index()].ends_at());
            if let Some(at) = ends.min() {
                self.ring_at(member, at);
            }
        }
        while let Some(member) = self.earlier.pop() {
            let alarm = &mut self.alarms[member as usize];
            alarm.untold = false;
            self.news.push_back(Alarm::Sent { member, at: alarm.at });
        }
    }

    fn ring_at(&mut self, member: u32, at: u64) {
        let alarm = &mut self.alarms[member as usize];
        if at < alarm.at {
            alarm.at = at;
            if !std::mem::replace(&mut alarm.untold, true) {
                self.earlier.push(member);
            }
        }
    }
}

/// Looking things up.
impl Transfers {
    /// Who is at a place: from, to and the chunk; nothing where that transfer has ended.
    pub(crate) fn get(&self, id: TransferId, generation: u32) -> Option<(u32, u32, u32)> {
        let transfer = &self.transfers[id.index()];
        let same = transfer.active && transfer.generation == generation;
        same.then_some((transfer.from, transfer.to, transfer.chunk))
    }

    /// The transfer of `chunk` from one member to another.
    pub(crate) fn find(&self, from: u32, to: u32, chunk: u32) -> Option<TransferId> {
        let found = self.between(from, to);
        found.into_iter().find(|id| self.transfers[id.index()].chunk == chunk)
    }

    /// What `from` is sending to `to`.
    pub(crate) fn between(&self, from: u32, to: u32) -> SmallVec<[TransferId; 8]> {
        let sent = self.ports[uplink(from).index()].active.iter();
        let there = sent.filter(|passing| passing.other == downlink(to));
        there.map(|passing| passing.id).collect()
    }

    /// All that a member sends or receives.
    pub(crate) fn of(&self, member: u32) -> SmallVec<[TransferId; 8]> {
        let ports = [uplink(member), downlink(member)];
        let active = ports.iter().flat_map(|port| &self.ports[port.index()].active);
        active.map(|passing| passing.id).collect()
    }

    /// A member's links in bytes a second, up and down.
    #[cfg(test)]
    pub(crate) fn links(&self, member: u32) -> (u64, u64) {
        let rate = |port: PortId| self.ports[port.index()].rate >> UNIT_SHIFT;
        (rate(uplink(member)), rate(downlink(member)))
    }

    /// Has a member's ports fetched into the processor's cache.
    pub(crate) fn prefetch(&self, member: u32) {
        crate::region::prefetch(&self.ports[uplink(member).index()]);
        crate::region::prefetch(&self.ports[downlink(member).index()]);
    }
}

impl Port {
    /// Of so many bytes a second.
    fn new(rate: u64) -> Self {
        Self {
            rate: rate.clamp(1, RATE_MAX) << UNIT_SHIFT,
            used: 0,
            open: false,
            active: SmallVec::new(),
        }
    }

    /// Whether it keeps transfers from having more although a part of it that is worth the while is not used.
    const fn holds_back_for_nothing(&self, level: u64) -> bool {
        level != u64::MAX && self.used < self.rate - (self.rate >> SLACK_SHIFT)
    }
}

impl Transfer {
    /// Counts what has been sent until `now`.
    fn settle(&mut self, now: u64) {
        let sent = u128::from(self.rate) * u128::from(now - self.updated_at);
        self.left = self.left.saturating_sub(sent);
        self.updated_at = now;
    }

    /// Whether the last byte has left by `at`, if the rate stays as it is.
    fn has_left_at(&self, at: u64) -> bool {
        self.left <= u128::from(self.rate) * u128::from(at.saturating_sub(self.updated_at))
    }

    /// When the last byte has left.
    fn ends_at(&self) -> u64 {
        let nanos = self.left.div_ceil(u128::from(self.rate.max(1)));
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

const fn uplink(member: u32) -> PortId {
    PortId(2 * member)
}

const fn downlink(member: u32) -> PortId {
    PortId(2 * member + 1)
}

/// The most that each of the transfers that pass a port may have, where their other ends let them have no more than
/// `caps`: what one cannot use the others get. `u64::MAX` where all together cannot use it.
fn water_level(rate: u64, caps: impl ExactSizeIterator<Item = u64> + Clone) -> u64 {
    let mut level = 0;
    let (mut left, mut sharing) = (rate, caps.len() as u64);
    // A level that is too low finds some who cannot use it, and rises by what these leave.
    while sharing > 0 {
        let next = left / sharing;
        let (mut held_back, mut used) = (0, 0);
        for cap in caps.clone() {
            let is_new = level <= cap && cap < next;
            held_back += u64::from(is_new);
            used += if is_new { cap } else { 0 };
        }
        if held_back == 0 {
            return next;
        }
        level = next;
        left -= used;
        sharing -= held_back;
    }
    u64::MAX
}

/// A byte a second is so many units of a rate, as a power of two: a link of one byte a second divides among a thousand chunks.
const UNIT_SHIFT: u32 = 20;
/// Links that are faster count as so many bytes a second: 70 Tbit/s.
const RATE_MAX: u64 = 1 << (63 - UNIT_SHIFT);
/// Units of rate times nanoseconds that a byte is.
const UNITS_A_BYTE: u128 = (1_000_000_000 as u128) << UNIT_SHIFT;
/// A part of a port's rate that is not worth passing on, as a power of two.
const SLACK_SHIFT: u32 = 14;
/// Ports that one change makes us look at before what is left over is no longer given away: no such number was seen.
const LOOKS_MAX: u32 = 10_000;
/// A transfer that takes longer than this shows its receiver that it goes on, as segments do on the wire.
pub(crate) const SLOW_AFTER: u64 = 500_000_000;

#[cfg(test)]
mod tests;
