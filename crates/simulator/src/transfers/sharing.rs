//! How chunks on their way share the links: the levels of ports, the rates that follow from them, and when chunks will have left.

use smallvec::SmallVec;

use super::{Alarm, Passing, Port, PortId, SLOW_AFTER, Transfers, uplink};
use crate::member::MemberId;
use crate::prefetch::prefetch;

impl Transfers {
    /// Gives all transfers the rates that are theirs from now on.
    pub(crate) fn share_out(&mut self, now: u64) {
        let mut looked_at = 0;
        let mut next = 0;
        while let Some(port) = self.open.get(next).copied() {
            next += 1;
            looked_at += 1;
            self.ports[port.index()].is_open = false;
            if let Some(following) = self.open.get(next) {
                self.fetch(*following);
            }
            self.level(now, port, looked_at < LOOKS_MAX);
        }
        self.open.clear();
        self.set_alarms(now);
    }

    /// Whether the level of a port may have to move.
    pub(super) fn open(&mut self, port: PortId) {
        if !std::mem::replace(&mut self.ports[port.index()].is_open, true) {
            self.open.push(port);
        }
    }

    /// Finds the level of a port anew and gives its transfers their rates.
    fn level(&mut self, now: u64, id: PortId, may_raise: bool) {
        let port = &self.ports[id.index()];
        let mut shares: SmallVec<[Share; 9]> = SmallVec::new();
        shares.extend(port.passing.iter().map(|passing| Share {
            passing: *passing,
            cap: self.ports[passing.other.index()].level,
            before: self.transfers[passing.id.index()].rate,
        }));
        let level = water_level(port.capacity, &shares);
        let mut rest = i128::from(port.capacity);
        for share in &shares {
            let rate = level.min(share.cap);
            rest -= i128::from(rate);
            if rate == share.before {
                continue;
            }
            let Passing { id, other } = share.passing;
            let transfer = &mut self.transfers[id.index()];
            transfer.settle(now);
            transfer.rate = rate;
            if !std::mem::replace(&mut transfer.moved, true) {
                self.moved.push(id);
            }
            let port = &mut self.ports[other.index()];
            port.rest += i128::from(share.before) - i128::from(rate);
            if port.rest < 0 || may_raise && port.holds_back_for_nothing() {
                self.open(other);
            }
        }
        let port = &mut self.ports[id.index()];
        port.level = level;
        port.rest = rest;
    }

    /// Has what [`Self::level`] looks at fetched into the processor's cache: in a large fleet none of it is there, and no
    /// load waits for another.
    pub(super) fn fetch(&self, port: PortId) {
        for passing in &self.ports[port.index()].passing {
            prefetch(&self.ports[passing.other.index()]);
            prefetch(&self.transfers[passing.id.index()]);
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
                let (transfer, generation) = (id, transfer.generation);
                self.news.push_back(Alarm::Slow { transfer, generation });
            }
            let transfer = &self.transfers[id.index()];
            if transfer.has_left_at(self.ports[uplink(transfer.from).index()].alarm_at) {
                self.ring_at(transfer.from, transfer.ends_at());
            }
        }
        while let Some(member) = self.rung.pop() {
            let passing = self.ports[uplink(member).index()].passing.iter();
            if let Some(at) = passing
                .map(|passing| self.transfers[passing.id.index()].ends_at())
                .min()
            {
                self.ring_at(member, at);
            }
        }
        while let Some(member) = self.earlier.pop() {
            let port = &mut self.ports[uplink(member).index()];
            port.is_alarm_untold = false;
            let at = port.alarm_at;
            self.news.push_back(Alarm::Sent { member, at });
        }
    }

    fn ring_at(&mut self, member: MemberId, at: u64) {
        let port = &mut self.ports[uplink(member).index()];
        if at < port.alarm_at {
            port.alarm_at = at;
            if !std::mem::replace(&mut port.is_alarm_untold, true) {
                self.earlier.push(member);
            }
        }
    }
}

/// A transfer that passes the port whose level is looked for: what its other end lets it have, and what it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) passing: Passing,
    pub(super) cap: u64,
    pub(super) before: u64,
}

impl Port {
    /// Whether it keeps transfers from having more although a part of it that is worth the while is not used.
    fn holds_back_for_nothing(&self) -> bool {
        self.level != u64::MAX && self.rest > i128::from(self.level >> SLACK_SHIFT)
    }
}

/// The most that each of the transfers that pass a port may have, where their other ends let them have no more than
/// their caps: what one cannot use the others get. `u64::MAX` where all together cannot use it.
pub(super) fn water_level(capacity: u64, shares: &[Share]) -> u64 {
    let mut level = 0;
    let (mut left, mut sharing) = (capacity, shares.len() as u64);
    // A level that is too low finds some who cannot use it, and rises by what these leave.
    while sharing > 0 {
        let next = left / sharing;
        let (mut held_back, mut used) = (0, 0);
        for share in shares {
            let is_new = level <= share.cap && share.cap < next;
            held_back += u64::from(is_new);
            used += if is_new { share.cap } else { 0 };
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

/// A part of a port's level that is not worth passing on, as a power of two.
const SLACK_SHIFT: u32 = 14;
/// Ports that one change makes us look at before what is left over is no longer given away: no such number was seen.
const LOOKS_MAX: u32 = 10_000;
