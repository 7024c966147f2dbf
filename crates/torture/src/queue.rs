//! What is to happen, by time. What happens at the same time happens in the order in which it was put in.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::day::Nanos;

/// A queue of what is to happen.
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    order: u64,
}

struct Entry<T> {
    at: Nanos,
    order: u64,
    what: T,
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            order: 0,
        }
    }

    pub(crate) fn push(&mut self, at: Nanos, what: T) {
        self.order += 1;
        let order = self.order;
        self.heap.push(Reverse(Entry { at, order, what }));
    }

    pub(crate) fn pop(&mut self) -> Option<(Nanos, T)> {
        let Reverse(Entry { at, what, .. }) = self.heap.pop()?;
        Some((at, what))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}
