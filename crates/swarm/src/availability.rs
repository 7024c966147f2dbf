//! How many neighbours hold each chunk, kept so that the rarest useful chunk is found without sorting.
//!
//! Invariant: every chunk is in exactly one level, that of its count. A level is a bitfield, so "rarest chunk that
//! this neighbour has and we want" is an AND of three bitfields, level by level, and stops at the first hit.

use crate::bitfield::Bitfield;
use crate::units::ChunkIndex;

/// Counts of holders per chunk.
#[derive(Clone, Debug)]
pub struct Availability {
    counts: Box<[u16]>,
    levels: Vec<Bitfield>,
}

impl Availability {
    /// All of `chunk_count` chunks held by nobody.
    pub fn new(chunk_count: u32) -> Self {
        Self {
            counts: vec![0; chunk_count as usize].into(),
            levels: vec![Bitfield::full(chunk_count)],
        }
    }

    /// One more neighbour holds `chunk`.
    pub fn add(&mut self, chunk: ChunkIndex) {
        let count = self.counts[chunk.as_usize()];
        self.shift(chunk, count, count.saturating_add(1));
    }

    /// One neighbour fewer holds `chunk`.
    pub fn remove(&mut self, chunk: ChunkIndex) {
        let count = self.counts[chunk.as_usize()];
        assert!(count > 0, "{chunk} has no holder to lose");
        self.shift(chunk, count, count - 1);
    }

    /// A neighbour with `set` has gone.
    pub fn remove_set(&mut self, set: &Bitfield) {
        set.iter().for_each(|chunk| self.remove(chunk));
    }

    /// How many neighbours hold `chunk`.
    pub fn count(&self, chunk: ChunkIndex) -> u16 {
        self.counts[chunk.as_usize()]
    }

    /// The chunks by number of holders, from none upwards.
    pub fn levels(&self) -> &[Bitfield] {
        &self.levels
    }

    fn shift(&mut self, chunk: ChunkIndex, from: u16, to: u16) {
        if from == to {
            return;
        }
        let chunk_count = self.levels[0].len();
        while self.levels.len() <= usize::from(to) {
            self.levels.push(Bitfield::new(chunk_count));
        }
        self.levels[usize::from(from)].remove(chunk);
        self.levels[usize::from(to)].insert(chunk);
        self.counts[chunk.as_usize()] = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_chunk_is_in_the_level_of_its_count(steps in prop::collection::vec((any::<bool>(), 0u32..70), 0..300)) {
            let mut availability = Availability::new(70);
            let mut model = [0u16; 70];
            for (add, index) in steps {
                let chunk = ChunkIndex::new(index);
                let count = &mut model[index as usize];
                if add {
                    availability.add(chunk);
                    *count += 1;
                } else if *count > 0 {
                    availability.remove(chunk);
                    *count -= 1;
                }
            }
            for (index, &count) in (0u32..).zip(&model) {
                let chunk = ChunkIndex::new(index);
                prop_assert_eq!(availability.count(chunk), count);
                for (level, set) in availability.levels().iter().enumerate() {
                    prop_assert_eq!(set.contains(chunk), level == usize::from(count));
                }
            }
        }
    }
}
