//! How chunks on their way share the links: the levels of ports, the rates that follow from them, and when chunks will have left.

use smallvec::SmallVec;

use super::{Alarm, Passing, Port, PortId, SLOW_AFTER, Transfers, uplink};
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
        let port = &self.ports[id.index()];
        let mut caps: SmallVec<[u64; 16]> = SmallVec::new();
        caps.extend(
            port.passing
                .iter()
                .map(|passing| self.ports[passing.other.index()].level),
        );
        let level = water_level(port.capacity, &caps);
        // No more than the capacity, whatever was passing before.
        let mut used = 0;
        for (place, cap) in caps.iter().enumerate() {
            let rate = level.min(*cap);
            used += rate;
            let Passing { id: transfer, other } = self.ports[id.index()].passing[place];
            let moving = &mut self.transfers[transfer.index()];
            if rate == moving.rate {
                continue;
            }
            moving.settle(now);
            let before = std::mem::replace(&mut moving.rate, rate);
            if !std::mem::replace(&mut moving.moved, true) {
                self.moved.push(transfer);
            }
            let port = &mut self.ports[other.index()];
            port.rest += i128::from(before) - i128::from(rate);
            if port.rest < 0 || may_raise && port.holds_back_for_nothing() {
                self.open(other);
            }
        }
        let port = &mut self.ports[id.index()];
        port.level = level;
        port.rest = i128::from(port.capacity - used);
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

impl Port {
    /// Whether it keeps transfers from having more although a part of it that is worth the while is not used.
    fn holds_back_for_nothing(&self) -> bool {
        self.level != u64::MAX && self.rest > i128::from(self.level >> SLACK_SHIFT)
    }
}

/// The most that each of the transfers that pass a port may have, where their other ends let them have no more than
/// their caps: what one cannot use the others get. `u64::MAX` where all together cannot use it.
pub(super) fn water_level(capacity: u64, caps: &[u64]) -> u64 {
    let mut level = 0;
    let (mut left, mut sharing) = (capacity, caps.len() as u64);
    // A level that is too low finds some who cannot use it, and rises by what these leave.
    while sharing > 0 {
        let next = left / sharing;
        let (mut held_back, mut used) = (0, 0);
        for cap in caps {
            let is_new = u64::from(level <= *cap) & u64::from(*cap < next);
            held_back += is_new;
            used += cap & is_new.wrapping_neg();
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
