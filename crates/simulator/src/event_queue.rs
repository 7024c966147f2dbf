//! The queue of what is still to happen, in the order of time and, at the same time, of having been queued.
//!
//! Invariant: entries come out in ascending (time, order of being queued). A calendar of short buckets holds the near future,
//! so that most entries are appended and sorted with a handful of others; a heap holds what is beyond it. On a fleet of ten
//! thousand hosts that is about three times as fast as one heap for all. Only the heap numbers its entries: those of a bucket
//! are appended in their order, after those that come from the heap, which were queued when the bucket was still beyond
//! the calendar and so before all others.
//!
//! A bucket is a chain of small blocks from one pool, used again while they are in the processor's cache. Lists that grow would not
//! do: each would come to be as long as the longest burst that it ever held, which for ten thousand hosts was a gigabyte.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use smallvec::SmallVec;

use crate::prefetch::prefetch;

/// A priority queue of `T` by time in nanoseconds.
#[derive(Debug)]
pub struct EventQueue<T> {
    /// Entries of the bucket that is being taken from and of those before it, earliest first; those before `next` are gone.
    current: Vec<Entry<T>>,
    next: usize,
    /// Number of the bucket that `current` is of.
    bucket: u64,
    /// The last block of each bucket within the calendar's reach of `bucket`, or [`NO_BLOCK`]: bucket `b` is at `b` modulo their number.
    ring: Vec<u32>,
    in_ring: usize,
    blocks: Vec<Block<T>>,
    /// The first of the blocks that are not used.
    free: u32,
    far: BinaryHeap<Reverse<Far<T>>>,
    width_log2: u32,
    sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    at: u64,
    item: T,
}

/// A few entries of one bucket.
#[derive(Debug)]
#[repr(align(64))]
struct Block<T> {
    entries: SmallVec<[Entry<T>; BLOCK_ENTRIES]>,
    /// The block before it in its bucket, or the next that is not used.
    before: u32,
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
            ring: vec![NO_BLOCK; BUCKETS],
            in_ring: 0,
            blocks: Vec::new(),
            free: NO_BLOCK,
            far: BinaryHeap::new(),
            width_log2: (horizon / BUCKETS as u64).max(1).ilog2() + 1,
            sequence: 0,
        }
    }

    /// Queues `item` for `at`; a time that has passed counts as now.
    #[inline]
    pub fn push(&mut self, at: u64, item: T) {
        let entry = Entry { at, item };
        let bucket = at >> self.width_log2;
        if bucket <= self.bucket {
            let after = self.current[self.next..].partition_point(|other| other.at <= at);
            self.current.insert(self.next + after, entry);
        } else if bucket - self.bucket < BUCKETS as u64 {
            self.in_ring += 1;
            let slot = slot(bucket);
            match self.blocks.get_mut(self.ring[slot] as usize) {
                Some(block) if block.entries.len() < BLOCK_ENTRIES => block.entries.push(entry),
                _ => self.begin_block(slot, entry),
            }
        } else {
            let sequence = self.sequence;
            self.sequence += 1;
            self.far.push(Reverse(Far { entry, sequence }));
        }
    }

    fn begin_block(&mut self, slot: usize, entry: Entry<T>) {
        let before = self.ring[slot];
        let block = self.free;
        self.ring[slot] = if let Some(unused) = self.blocks.get_mut(block as usize) {
            self.free = std::mem::replace(&mut unused.before, before);
            unused.entries.push(entry);
            block
        } else {
            let mut entries = SmallVec::new();
            entries.push(entry);
            self.blocks.push(Block { entries, before });
            u32::try_from(self.blocks.len() - 1).expect("more blocks than memory holds")
        };
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
    #[inline]
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
        let far = self.far_bucket().unwrap_or(u64::MAX);
        let is_next = |bucket: &u64| self.ring[slot(*bucket)] != NO_BLOCK || far <= *bucket;
        if let Some(next) = (self.bucket + 1..=self.bucket + EMPTY_MAX).find(is_next) {
            self.current.drain(..self.next);
            self.next = 0;
            self.bucket = next;
            self.take_bucket();
        }
    }

    /// Goes on to the next bucket that has something, from one that is used up.
    fn advance(&mut self) {
        let far = self.far_bucket();
        if self.in_ring > 0 {
            loop {
                self.bucket += 1;
                if self.ring[slot(self.bucket)] != NO_BLOCK || far == Some(self.bucket) {
                    break;
                }
            }
        } else if let Some(far) = far {
            self.bucket = far;
        } else {
            return;
        }
        self.current.clear();
        self.next = 0;
        self.take_bucket();
    }

    fn far_bucket(&self) -> Option<u64> {
        let far = self.far.peek();
        far.map(|Reverse(far)| far.entry.at >> self.width_log2)
    }

    /// Appends what is in the bucket that was gone on to, those of the heap first.
    fn take_bucket(&mut self) {
        let begin = self.current.len();
        while self.far_bucket().is_some_and(|far| far <= self.bucket) {
            self.current.extend(self.far.pop().map(|Reverse(far)| far.entry));
        }
        // The last block comes first: all that is in them the wrong way round, and then back.
        let after_far = self.current.len();
        let mut next = std::mem::replace(&mut self.ring[slot(self.bucket)], NO_BLOCK);
        while let Some(block) = self.blocks.get_mut(next as usize) {
            self.current.extend(block.entries.iter().rev());
            block.entries.clear();
            let before = std::mem::replace(&mut block.before, self.free);
            self.free = std::mem::replace(&mut next, before);
        }
        self.in_ring -= self.current.len() - after_far;
        self.current[after_far..].reverse();
        // Stable: entries of one time stay in their order.
        self.current[begin..].sort_by_key(|entry| entry.at);
        if let Some(block) = self.blocks.get(self.ring[slot(self.bucket + 1)] as usize) {
            prefetch(block);
        }
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
/// Buckets of the calendar: as many last blocks stay in the processor's cache.
const BUCKETS: usize = 1 << 12;
/// Empty buckets that are passed over to see what comes next.
const EMPTY_MAX: u64 = 8;
const _: () = assert!(EMPTY_MAX < BUCKETS as u64);
/// Entries of a block: with events of 24 bytes it takes half a kibibyte.
const BLOCK_ENTRIES: usize = 20;
/// No block has this number.
const NO_BLOCK: u32 = u32::MAX;

/// The place of a bucket.
#[inline]
fn slot(bucket: u64) -> usize {
    usize::try_from(bucket % BUCKETS as u64).expect("below the number of buckets")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_takes_room_for_what_it_holds_and_not_for_every_burst_that_a_bucket_has_seen() {
        const BURST: u64 = 900;
        let mut queue = EventQueue::new(1 << 20);
        let mut now = 0;
        for burst in 0..1000 {
            // Most buckets have one at some time.
            let at = now + 100_000 + 257 * burst;
            (0..BURST).for_each(|n| queue.push(at, n));
            (0..BURST).for_each(|n| assert_eq!(queue.pop(), Some((at, n))));
            now = at;
        }
        let room = queue.blocks.len() * BLOCK_ENTRIES + queue.current.capacity();
        assert!(room < 4000, "room for {room}");
    }

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
