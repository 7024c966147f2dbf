//! The queue of what is still to happen, in the order of time and, at the same time, of having been queued.
//!
//! Invariant: entries come out in ascending (time, sequence). A calendar of short buckets holds the near future, so that
//! most entries are appended and sorted with a handful of others; a heap holds what is beyond it. On a fleet of ten thousand
//! hosts that is about three times as fast as one heap for all.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A priority queue of `T` by time in nanoseconds.
#[derive(Debug)]
pub struct EventQueue<T> {
    /// Entries of the bucket that is being taken from and of those before it, latest first.
    current: Vec<Entry<T>>,
    /// Number of the bucket that `current` is of.
    bucket: u64,
    /// Bucket `b` is at `b % BUCKETS`, for those within `BUCKETS` of `bucket`.
    ring: Vec<Vec<Entry<T>>>,
    in_ring: usize,
    /// Buffers of buckets that were used up, to be filled again while they are in the processor's cache.
    spare: Vec<Vec<Entry<T>>>,
    far: BinaryHeap<Reverse<Entry<T>>>,
    width_log2: u32,
    sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    at: u64,
    sequence: u64,
    item: T,
}

impl<T> EventQueue<T> {
    /// A queue whose calendar reaches about `horizon` nanoseconds ahead: a little more than most delays.
    pub fn new(horizon: u64) -> Self {
        Self {
            current: Vec::new(),
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
        let sequence = self.sequence;
        self.sequence += 1;
        self.place(Entry { at, sequence, item });
    }

    /// The earliest item and its time.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        if self.current.is_empty() && !self.advance() {
            return None;
        }
        let entry = self.current.pop()?;
        Some((entry.at, entry.item))
    }

    /// The item that comes out after `skip` others, where that is known without work.
    pub fn peek_ahead(&self, skip: usize) -> Option<&T> {
        let index = self.current.len().checked_sub(skip + 1)?;
        Some(&self.current[index].item)
    }

    /// How many items are queued.
    pub fn len(&self) -> usize {
        self.current.len() + self.in_ring + self.far.len()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn place(&mut self, entry: Entry<T>) {
        let bucket = entry.at >> self.width_log2;
        if bucket <= self.bucket {
            let index = self.current.partition_point(|other| other.key() > entry.key());
            self.current.insert(index, entry);
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
            self.far.push(Reverse(entry));
        }
    }

    /// Goes on to the next bucket that has something.
    fn advance(&mut self) -> bool {
        let far = self.far.peek().map(|Reverse(entry)| entry.at >> self.width_log2);
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
        let next = std::mem::take(&mut self.ring[slot(self.bucket)]);
        let used_up = std::mem::replace(&mut self.current, next);
        if used_up.capacity() > 0 {
            self.spare.push(used_up);
        }
        self.in_ring -= self.current.len();
        while let Some(Reverse(entry)) = self.far.peek()
            && entry.at >> self.width_log2 <= self.bucket
        {
            self.current.extend(self.far.pop().map(|Reverse(entry)| entry));
        }
        self.current.sort_unstable_by_key(|entry| Reverse(entry.key()));
        true
    }
}

impl<T> Entry<T> {
    const fn key(&self) -> (u64, u64) {
        (self.at, self.sequence)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

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
            steps in prop::collection::vec((0u64..4, 0u64..5_000_000), 1..400),
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
