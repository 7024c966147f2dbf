//! How chunks on their way share the links: the levels of ports, the rates that follow from them, and when chunks will have left.

use super::{Alarm, Port, PortId, SLOW_AFTER, TransferId, Transfers, uplink};
use crate::member::MemberId;
use crate::prefetch::prefetch;

impl Transfers {
    /// Gives all transfers the rates that are theirs from now on.
    #[inline]
    pub(crate) fn share_out(&mut self, now: u64) {
        if !self.open.is_empty() || !self.rung.is_empty() {
            self.share_out_all(now);
        }
    }

    fn share_out_all(&mut self, now: u64) {
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
        let passing = &self.passing[id.index()][..];
        self.caps.clear();
        self.caps
            .extend(passing.iter().map(|passing| self.levels[passing.other.index()]));
        let capacity = self.ports[id.index()].capacity;
        let level = water_level(capacity, &self.caps, self.levels[id.index()]);
        self.levels[id.index()] = level;
        // No more than the capacity, whatever was passing before.
        let mut used = 0;
        for (passing, cap) in passing.iter().zip(&self.caps) {
            let rate = level.min(*cap);
            used += rate;
            let before = self.rates[passing.id.index()];
            if rate == before {
                continue;
            }
            self.rates[passing.id.index()] = rate;
            let moving = &mut self.transfers[passing.id.index()];
            moving.settle(now, before);
            if !std::mem::replace(&mut moving.moved, true) {
                self.moved.push(passing.id);
            }
            let other = &mut self.ports[passing.other.index()];
            other.rest += i128::from(before) - i128::from(rate);
            let is_wrong =
                other.rest < 0 || may_raise && other.holds_back_for_nothing(self.levels[passing.other.index()]);
            if is_wrong && !std::mem::replace(&mut other.is_open, true) {
                self.open.push(passing.other);
            }
        }
        self.ports[id.index()].rest = i128::from(capacity - used);
    }

    /// Has what [`Self::level`] looks at fetched into the processor's cache: in a large fleet none of it is there, and no
    /// load waits for another.
    pub(super) fn fetch(&self, port: PortId) {
        for passing in &self.passing[port.index()] {
            prefetch(&self.ports[passing.other.index()]);
            prefetch(&self.transfers[passing.id.index()]);
        }
    }

    /// Foresees the ends of what has moved. An alarm that comes too early is set again when it goes off; only one that
    /// would come too late is replaced.
    fn set_alarms(&mut self, now: u64) {
        while let Some(id) = self.moved.pop() {
            let rate = self.rates[id.index()];
            let transfer = &mut self.transfers[id.index()];
            transfer.moved = false;
            if !transfer.told_slow && !transfer.has_left_at(now.saturating_add(SLOW_AFTER), rate) {
                transfer.told_slow = true;
                let (transfer, generation) = (id, transfer.generation);
                self.news.push_back(Alarm::Slow { transfer, generation });
            }
            let transfer = &self.transfers[id.index()];
            if transfer.has_left_at(self.ports[uplink(transfer.from).index()].alarm_at, rate) {
                self.ring_at(transfer.from, transfer.ends_at(rate));
            }
        }
        while let Some(member) = self.rung.pop() {
            let passing = self.passing[uplink(member).index()].iter();
            let ends_at = |id: TransferId| self.transfers[id.index()].ends_at(self.rates[id.index()]);
            if let Some(at) = passing.map(|passing| ends_at(passing.id)).min() {
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

impl Port {
    /// Whether at this level it keeps transfers from having more although a part of it that is worth the while is not used.
    #[inline]
    fn holds_back_for_nothing(&self, level: u64) -> bool {
        level != u64::MAX && self.rest > i128::from(level >> SLACK_SHIFT)
    }
}

/// The most that each of the transfers that pass a port may have, where their other ends let them have no more than
/// their caps: what one cannot use the others get. `u64::MAX` where all together cannot use it.
///
/// Newton's method on what they use together, which is concave in the level: after the first step it comes from below, and it ends with
/// the step that finds nobody else below. `before` is where it begins, most often in the last piece already.
pub(super) fn water_level(capacity: u64, caps: &[u64], before: u64) -> u64 {
    let count = caps.len() as u64;
    let (mut held_back, mut level) = (u64::MAX, before);
    loop {
        let (mut below, mut used) = (0, 0);
        for cap in caps {
            let is_below = *cap < level;
            below += u64::from(is_below);
            used += if is_below { *cap } else { 0 };
        }
        if below == held_back {
            return level;
        }
        if below == count {
            // All of them are below: from the beginning, unless they leave something even so.
            if used <= capacity {
                return u64::MAX;
            }
            (held_back, level) = (u64::MAX, capacity / count);
            continue;
        }
        held_back = below;
        level = capacity.saturating_sub(used) / (count - held_back);
    }
}

/// A part of a port's level that is not worth passing on, as a power of two.
const SLACK_SHIFT: u32 = 14;
/// Ports that one change makes us look at before what is left over is no longer given away: no such number was seen.
const LOOKS_MAX: u32 = 10_000;
