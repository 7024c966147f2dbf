//! Which chunks somebody has: one bit a chunk, and the set algebra that choosing a chunk needs.
//!
//! Invariant: bits at and above `len` are zero, so that counts and comparisons need no mask.

use smallvec::SmallVec;

use crate::units::ChunkIndex;

const WORD_BITS: usize = u64::BITS as usize;

/// The words of builds of up to 640 chunks are where the set is: one miss of the cache less for each look at it, and looking at
/// sets of neighbours is what choosing a chunk consists of.
type Words = SmallVec<[u64; 10]>;

/// A set of chunk indices below a fixed length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitfield {
    words: Words,
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// The empty set over `len` chunks.
    pub fn new(len: u32) -> Self {
        Self {
            words: SmallVec::from_elem(0, (len as usize).div_ceil(WORD_BITS)),
            len,
            ones: 0,
        }
    }

    /// The full set over `len` chunks.
    pub fn full(len: u32) -> Self {
        let mut full = Self::new(len);
        full.fill();
        full
    }

    /// Adds every chunk.
    pub fn fill(&mut self) {
        self.words.fill(u64::MAX);
        let rest = self.len as usize % WORD_BITS;
        if rest != 0
            && let Some(last) = self.words.last_mut()
        {
            *last = (1 << rest) - 1;
        }
        self.ones = self.len;
    }

    /// How many chunks the set is over, held or not.
    #[inline]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// How many chunks are in the set.
    #[inline]
    pub const fn count(&self) -> u32 {
        self.ones
    }

    /// Whether no chunk is in the set.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.ones == 0
    }

    /// Whether every chunk is in the set.
    #[inline]
    pub const fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// Whether `chunk` is in the set; a chunk beyond the length is not.
    #[inline]
    pub fn contains(&self, chunk: ChunkIndex) -> bool {
        let (word, bit) = split(chunk);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    /// Adds `chunk`; tells whether it was missing. A chunk beyond the length is our own bug.
    #[inline]
    pub fn insert(&mut self, chunk: ChunkIndex) -> bool {
        assert!(chunk.get() < self.len, "{chunk} of {}", self.len);
        let (word, bit) = split(chunk);
        let added = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.ones += u32::from(added);
        added
    }

    /// Removes `chunk`; tells whether it was there.
    #[inline]
    pub fn remove(&mut self, chunk: ChunkIndex) -> bool {
        if !self.contains(chunk) {
            return false;
        }
        let (word, bit) = split(chunk);
        self.words[word] &= !bit;
        self.ones -= 1;
        true
    }

    /// The chunks in the set, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = ChunkIndex> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                Some(at(index, bit))
            })
        })
    }

    /// The words, lowest chunks first, as they go over the wire.
    #[inline]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// A set from its words; `None` where the number of words is not that of `len` or a bit at or above `len` is set.
    pub fn from_words(words: &[u64], len: u32) -> Option<Self> {
        if words.len() != (len as usize).div_ceil(WORD_BITS) {
            return None;
        }
        let rest = len as usize % WORD_BITS;
        if rest != 0 && words.last().is_some_and(|last| last >> rest != 0) {
            return None;
        }
        let ones = words.iter().map(|word| word.count_ones()).sum();
        Some(Self {
            words: SmallVec::from_slice(words),
            len,
            ones,
        })
    }

    /// Takes every chunk of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        debug_assert_eq!(self.len, other.len);
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= !theirs;
        }
        self.ones = self.words.iter().map(|word| word.count_ones()).sum();
    }

    /// The lowest chunk that is in both.
    pub(crate) fn first_common(&self, other: &Self) -> Option<ChunkIndex> {
        let both = self.words.iter().zip(&other.words).map(|(mine, theirs)| mine & theirs);
        let mut both = both.enumerate();
        both.find_map(|(index, word)| (word != 0).then(|| at(index, word.trailing_zeros())))
    }

    /// How many chunks are in `self` and not in `other`.
    pub fn difference_count(&self, other: &Self) -> u32 {
        debug_assert_eq!(self.len, other.len);
        self.words
            .iter()
            .zip(&other.words)
            .map(|(mine, theirs)| (mine & !theirs).count_ones())
            .sum()
    }
}

/// The word of `chunk`, and its bit in it.
#[inline]
pub(crate) fn split(chunk: ChunkIndex) -> (usize, u64) {
    let index = chunk.as_usize();
    (index / WORD_BITS, 1 << (index % WORD_BITS))
}

/// The chunk of bit `bit` in word `word`.
pub(crate) fn at(word: usize, bit: u32) -> ChunkIndex {
    let base = u32::try_from(word * WORD_BITS).expect("a bitfield is at most u32::MAX bits long");
    ChunkIndex::new(base + bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_full_set_has_no_bit_beyond_its_length() {
        for len in [0, 1, 63, 64, 65, 2500] {
            let full = Bitfield::full(len);
            assert_eq!(full.iter().count(), len as usize);
            assert_eq!(Bitfield::from_words(full.words(), len), Some(full));
        }
    }

    #[test]
    fn words_with_a_bit_beyond_the_length_are_refused() {
        assert_eq!(Bitfield::from_words(&[1 << 10], 10), None);
        assert_eq!(Bitfield::from_words(&[0, 0], 64), None);
        assert!(Bitfield::from_words(&[1 << 9], 10).is_some());
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_set(len in 1u32..300, steps in prop::collection::vec((any::<bool>(), 0u32..300), 0..200)) {
            let mut field = Bitfield::new(len);
            let mut model = BTreeSet::new();
            for (add, index) in steps {
                let chunk = ChunkIndex::new(index % len);
                if add {
                    prop_assert_eq!(field.insert(chunk), model.insert(chunk));
                } else {
                    prop_assert_eq!(field.remove(chunk), model.remove(&chunk));
                }
            }
            prop_assert_eq!(field.count() as usize, model.len());
            prop_assert!(field.iter().eq(model.iter().copied()));
            let full = Bitfield::full(len);
            prop_assert_eq!(full.difference_count(&field), len - field.count());
            let mut rest = full;
            rest.subtract(&field);
            prop_assert_eq!(rest.count(), len - field.count());
            prop_assert!(rest.iter().all(|chunk| !field.contains(chunk)));
        }
    }
}
