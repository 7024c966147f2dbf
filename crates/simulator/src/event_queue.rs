//! The queue of what is still to happen, in the order of time and, at the same time, of having been queued.
//!
//! Invariant: entries come out in ascending (time, order of being queued). A calendar of short buckets holds the near future,
//! so that most entries are appended and sorted with a handful of others; a heap holds what is beyond it. On a fleet of ten
//! thousand hosts that is about three times as fast as one heap for all. Only the heap numbers its entries: those of a bucket
//! are appended in their order, after those that come from the heap, which were queued when the bucket was still beyond
//! the calendar and so before all others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A priority queue of `T` by time in nanoseconds.
#[derive(Debug)]
pub struct EventQueue<T> {
    /// Entries of the bucket that is being taken from and of those before it, earliest first; those before `next` are gone.
    current: Vec<Entry<T>>,
    next: usize,
    /// Number of the bucket that `current` is of.
    bucket: u64,
    /// Bucket `b` is at `b % BUCKETS`, for those within `BUCKETS` of `bucket`.
    ring: Vec<Vec<Entry<T>>>,
    in_ring: usize,
    /// Buffers of buckets that were used up, to be filled again while they are in the processor's cache.
    spare: Vec<Vec<Entry<T>>>,
    far: BinaryHeap<Reverse<Far<T>>>,
    width_log2: u32,
    sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    at: u64,
    item: T,
}

#[derive(Clone, Copy, Debug)]
struct Far<T> {
    entry: Entry<T>,
    sequence: u64,
}

impl<T: Copy> EventQueue<T> {
    /// A queue whose calendar reaches about `horizon` nanoseconds ahead: a little more than most delays.
    pub fn new(horizon: u64) -> Self {
        Self {
            current: Vec::new(),
            next: 0,
            bucket: 0,
            ring: (0..BUCKETS).map(|_| Vec::new()).collect(),
            in_ring: 0,
            spare: Vec::new(),
            far: BinaryHeap::new(),
            width_log2: (horizon / BUCKETS).max(1).ilog2() + 1,
            sequence: 0,
        }
    }

    /// Queues `item` for `at`; a time that has passed counts as now.
    pub fn push(&mut self, at: u64, item: T) {
        let entry = Entry { at, item };
        let bucket = at >> self.width_log2;
        if bucket <= self.bucket {
            let after = self.current[self.next..].partition_point(|other| other.at <= at);
            self.current.insert(self.next + after, entry);
        } else if bucket - self.bucket < BUCKETS {
            self.in_ring += 1;
            let place = &mut self.ring[slot(bucket)];
            if place.capacity() == 0
                && let Some(spare) = self.spare.pop()
            {
                *place = spare;
            }
            place.push(entry);
        } else {
            let sequence = self.sequence;
            self.sequence += 1;
            self.far.push(Reverse(Far { entry, sequence }));
        }
    }

    /// The earliest item and its time.
    #[inline]
    pub fn pop(&mut self) -> Option<(u64, T)> {
        if self.next + LOOKED_AHEAD >= self.current.len() {
            self.look_ahead();
        }
        let Entry { at, item } = *self.current.get(self.next)?;
        self.next += 1;
        Some((at, item))
    }

    /// The item that comes out after `skip` others, where that is known without work.
    pub fn peek_ahead(&self, skip: usize) -> Option<&T> {
        self.current.get(self.next + skip).map(|entry| &entry.item)
    }

    /// How many items are queued.
    pub fn len(&self) -> usize {
        self.current.len() - self.next + self.in_ring + self.far.len()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the next bucket to the current one before that is used up, so that what comes next can be seen; one that is further
    /// is gone on to only when there is nothing before it.
    fn look_ahead(&mut self) {
        if self.next == self.current.len() {
            self.advance();
            return;
        }
        let next = self.bucket + 1;
        let is_next_far = self
            .far
            .peek()
            .is_some_and(|Reverse(far)| far.entry.at >> self.width_log2 <= next);
        if !self.ring[slot(next)].is_empty() || is_next_far {
            let mut of_both = std::mem::take(&mut self.current);
            of_both.drain(..self.next);
            self.next = 0;
            self.advance();
            of_both.append(&mut self.current);
            let used_up = std::mem::replace(&mut self.current, of_both);
            self.spare.push(used_up);
        }
    }

    /// Goes on to the next bucket that has something.
    fn advance(&mut self) -> bool {
        let far = self.far.peek().map(|Reverse(far)| far.entry.at >> self.width_log2);
        if self.in_ring == 0 {
            let Some(far) = far else {
                return false;
            };
            self.bucket = far;
        } else {
            loop {
                self.bucket += 1;
                if !self.ring[slot(self.bucket)].is_empty() || far == Some(self.bucket) {
                    break;
                }
            }
        }
        let mut used_up = std::mem::take(&mut self.current);
        used_up.clear();
        let mut of_bucket = std::mem::take(&mut self.ring[slot(self.bucket)]);
        self.in_ring -= of_bucket.len();
        self.next = 0;
        if far == Some(self.bucket) {
            // Those of the heap first.
            while let Some(Reverse(far)) = self.far.peek()
                && far.entry.at >> self.width_log2 <= self.bucket
            {
                used_up.extend(self.far.pop().map(|Reverse(far)| far.entry));
            }
            used_up.append(&mut of_bucket);
            std::mem::swap(&mut used_up, &mut of_bucket);
        }
        self.current = of_bucket;
        if used_up.capacity() > 0 {
            self.spare.push(used_up);
        }
        // Stable: entries of one time stay in their order.
        self.current.sort_by_key(|entry| entry.at);
        true
    }
}

impl<T> Far<T> {
    const fn key(&self) -> (u64, u64) {
        (self.entry.at, self.sequence)
    }
}

impl<T> PartialEq for Far<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Far<T> {}

impl<T> PartialOrd for Far<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Far<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Items that come next are known for so many, where they are not far apart.
const LOOKED_AHEAD: usize = 16;
/// Buckets of the calendar.
const BUCKETS: u64 = 1 << 12;

fn slot(bucket: u64) -> usize {
    usize::try_from(bucket % BUCKETS).expect("below the number of buckets")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_gives_what_a_sorted_list_gives(
            steps in prop::collection::vec((0u64..4, prop_oneof![0u64..5_000_000, 0u64..4, Just(4_500_000)]), 1..400),
            horizon in 1u64..1_000_000,
        ) {
            let mut queue = EventQueue::new(horizon);
            let mut model: Vec<(u64, usize)> = Vec::new();
            let mut now = 0;
            for (index, (kind, delay)) in steps.into_iter().enumerate() {
                if kind == 0 {
                    let next = model.iter().copied().min();
                    model.retain(|entry| Some(*entry) != next);
                    prop_assert_eq!(queue.pop(), next);
                    now = next.map_or(now, |(at, _)| at);
                } else {
                    queue.push(now + delay, index);
                    model.push((now + delay, index));
                }
                prop_assert_eq!(queue.len(), model.len());
            }
            model.sort_unstable();
            for entry in model {
                prop_assert_eq!(queue.pop(), Some(entry));
            }
            prop_assert!(queue.is_empty());
        }
    }
}
