//! In which order neighbours are asked: where nothing waits before where something does, the requests of this host included;
//! among equals from one that was drawn on. Sets of bits, since it is made anew for every chunk and most of it is not
//! looked at: bit `i` is the neighbour `i` places after the first.

use crate::upload_queue::UPLOAD_QUEUE_PER_HOST_MAX;

/// The neighbours by load. Those beyond the first [`ORDERED`] are not in it.
#[derive(Debug)]
pub(super) struct Order {
    start: usize,
    count: usize,
    all: u64,
    /// Where requests wait; in other zones.
    busy: u64,
    far: u64,
    pub(super) seeders: u64,
    /// Who has lost its turn; who is not to be asked at all.
    pub(super) parked: u64,
    pub(super) shut: u64,
    /// By the number of this host's requests there, those with more than can be told apart at the end.
    asked: [u64; LOADS],
    /// Likewise when the first of them was looked at.
    asked_at_first: Option<[u64; LOADS]>,
}

impl Order {
    /// Of `count` neighbours, of which that at `start` comes first.
    #[inline]
    pub(super) fn new(start: usize, count: usize) -> Self {
        let all = if count < ORDERED { (1 << count) - 1 } else { !0 };
        let mut asked = [0; LOADS];
        asked[0] = all;
        Self {
            start,
            count,
            all,
            busy: 0,
            far: 0,
            seeders: 0,
            parked: 0,
            shut: 0,
            asked,
            asked_at_first: None,
        }
    }

    /// How many neighbours are in it.
    pub(super) const fn len(&self) -> usize {
        if self.count < ORDERED { self.count } else { ORDERED }
    }

    /// The neighbour so many places after the first.
    #[inline]
    pub(super) const fn index(&self, offset: usize) -> usize {
        let place = self.start + offset;
        if place < self.count { place } else { place - self.count }
    }

    /// Asks of each neighbour in it whether requests wait there.
    #[inline]
    pub(super) fn find_busy(&mut self, is_busy: impl Fn(usize) -> bool) {
        self.busy = self.find(is_busy);
    }

    /// Asks of each neighbour in it whether it is in another zone.
    #[inline]
    pub(super) fn find_far(&mut self, is_far: impl Fn(usize) -> bool) {
        self.far = self.find(is_far);
    }

    /// Asks of each neighbour in it whether it has lost its turn, and whether it is not to be asked at all.
    pub(super) fn find_parked(&mut self, is_parked: impl Fn(usize) -> bool, is_shut: impl Fn(usize) -> bool) {
        self.parked = self.find(is_parked);
        self.shut = self.find(is_shut);
    }

    #[inline]
    fn find(&self, is: impl Fn(usize) -> bool) -> u64 {
        if self.count > ORDERED {
            return (0..ORDERED).fold(0, |set, offset| set | u64::from(is(self.index(offset))) << offset);
        }
        // By index, and then turned round to begin with the first: there are few, and no place has to be worked out for each.
        let by_index = (0..self.count).fold(0, |set, index| set | u64::from(is(index)) << index);
        if self.start == 0 {
            by_index
        } else {
            (by_index >> self.start | by_index << (self.count - self.start)) & self.all
        }
    }

    /// The neighbour at `index` is a seeder.
    #[inline]
    pub(super) fn mark_seeder(&mut self, index: usize) {
        let offset = self.offset(index);
        if offset < ORDERED {
            self.seeders |= 1 << offset;
        }
    }

    #[inline]
    const fn offset(&self, index: usize) -> usize {
        if index >= self.start {
            index - self.start
        } else {
            index + self.count - self.start
        }
    }

    /// The neighbour at `index` was asked for one chunk more.
    #[inline]
    pub(super) fn asked(&mut self, index: usize) {
        let offset = self.offset(index);
        if offset >= ORDERED {
            return;
        }
        let bit = 1 << offset;
        let load = self.asked.iter().position(|set| set & bit != 0).unwrap_or(LOADS - 1);
        self.asked[load] &= !bit;
        self.asked[(load + 1).min(LOADS - 1)] |= bit;
    }

    /// Those with `own` requests of this host, in classes of equal load, the least first. Loads are those at the first call.
    #[inline]
    pub(super) fn by_load(&mut self, own: usize) -> ByLoad {
        let at_first = *self.asked_at_first.get_or_insert(self.asked);
        let now = self.asked[own];
        ByLoad {
            at_first,
            busy: self.busy,
            rest: now & !self.far,
            far: now & self.far,
            load: 0,
        }
    }

    /// Whether nothing of this host is asked of a neighbour; one beyond the order has to be counted.
    #[inline]
    pub(super) fn is_idle(&self, offset: usize, outstanding: impl Fn() -> usize) -> bool {
        if offset < ORDERED {
            self.asked[0] >> offset & 1 == 1
        } else {
            outstanding() == 0
        }
    }

    /// Whether requests wait at a neighbour.
    #[inline]
    pub(super) const fn is_busy(&self, offset: usize) -> bool {
        self.busy >> offset & 1 == 1
    }

    /// Where nothing waits and nothing of this host is asked.
    pub(super) fn idle(&self) -> impl Iterator<Item = u32> + use<> {
        let idle = self.all & self.asked[0] & !self.busy;
        bits(idle & !self.far).chain(bits(idle & self.far))
    }
}

/// See [`Order::by_load`].
pub(super) struct ByLoad {
    at_first: [u64; LOADS],
    busy: u64,
    /// Whose class has yet to come, of those near by first.
    rest: u64,
    far: u64,
    load: usize,
}

impl Iterator for ByLoad {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        loop {
            if self.rest == 0 || self.load > LOADS {
                if self.far == 0 {
                    return None;
                }
                self.rest = std::mem::take(&mut self.far);
                self.load = 0;
            }
            // What waits there counts as one request more.
            let free = self.at_first.get(self.load).map_or(0, |set| set & !self.busy);
            let waiting = self
                .load
                .checked_sub(1)
                .map_or(0, |load| self.at_first[load] & self.busy);
            let class = self.rest & (free | waiting);
            self.load += 1;
            self.rest &= !class;
            if class != 0 {
                return Some(class);
            }
        }
    }
}

/// The numbers of the bits of a set, lowest first.
#[inline]
pub(super) fn bits(mut set: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let lowest = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (lowest < u64::BITS).then_some(lowest)
    })
}

/// Neighbours that are looked at for each request at most; nobody has more by default.
const ORDERED: usize = u64::BITS as usize;
/// Requests to one neighbour that are told apart: as many as it lets wait, and none.
pub(super) const LOADS: usize = UPLOAD_QUEUE_PER_HOST_MAX + 1;

#[cfg(test)]
mod against_a_list;

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(order: &mut Order, own: usize) -> Vec<u32> {
        order.by_load(own).flat_map(bits).collect()
    }

    #[test]
    fn those_without_load_come_first_and_other_zones_last() {
        let mut order = Order::new(3, 5);
        order.find_busy(|index| index == 4);
        order.find_far(|index| index == 0);
        assert_eq!(order.index(2), 0, "it goes round");
        // The neighbour at 2 is the last, four places after the first.
        order.asked(2);
        assert_eq!(offsets(&mut order, 0), [0, 3, 1, 2]);
        assert_eq!(offsets(&mut order, 1), [4]);
        order.asked(3);
        assert_eq!(offsets(&mut order, 1), [0, 4], "by the load that it had at first");
        assert_eq!(order.idle().collect::<Vec<u32>>(), [3, 2]);
        order.mark_seeder(1);
        assert_eq!(order.seeders, 1 << 3);
    }

    #[test]
    fn nobody_and_more_than_can_be_ordered_are_no_trouble() {
        assert_eq!(offsets(&mut Order::new(0, 0), 0), []);
        let mut order = Order::new(99, 100);
        assert_eq!(order.len(), 64);
        (0..100).for_each(|index| order.asked(index));
        (60..70).for_each(|index| order.mark_seeder(index));
        assert_eq!(
            order.seeders.count_ones(),
            3,
            "those at 60 to 62 are 61 to 63 places after the first"
        );
        assert_eq!(offsets(&mut order, 1).len(), 64);
        assert!(order.is_idle(70, || 0) && !order.is_idle(70, || 1) && !order.is_idle(5, || 0));
    }
}
