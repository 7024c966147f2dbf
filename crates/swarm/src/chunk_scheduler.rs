//! Decides which chunk to ask of a neighbour. Invariant: every chunk is in exactly one of WANTED, REQUESTED, HELD.
//! Does not know neighbours, send, time or hash anything: it is given the set that a neighbour has, and the chance of a choice.

use rand::{Rng, RngExt};

use crate::availability::Availability;
use crate::bitfield::{self, Bitfield};
use crate::units::ChunkIndex;

/// One row for each policy: the variant with its documentation, its word and its meaning in scenario files, and whether it counts
/// holders, and so has to be told of each. What it chooses is one arm of [`ChunkScheduler::choose`].
macro_rules! policies {
    ($($(#[$attribute:meta])+ $variant:ident = $word:literal, $meaning:literal, counts_holders: $counts:literal;)+) => {
        /// Which of the chunks that a neighbour has and we want is asked for first.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum ChunkPolicy {
            $($(#[$attribute])+ $variant,)+
        }

        impl ChunkPolicy {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its word in scenario files.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// What it asks for first, for whoever chooses one.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)+
                }
            }

            /// Whether it counts holders, and so has to be told of each.
            pub const fn counts_holders(self) -> bool {
                match self {
                    $(Self::$variant => $counts,)+
                }
            }
        }
    };
}

policies! {
    /// The one with the highest index. While the seeder injects in index order these are the newest and so the rarest,
    /// without anybody counting.
    #[default]
    LatestUseful = "latest-useful", "The highest index: the newest while the seeder injects in order.", counts_holders: false;
    /// The one that the fewest neighbours hold; ties by chance.
    RarestFirst = "rarest-first", "What the fewest neighbours hold.", counts_holders: true;
    /// Any, by chance.
    Random = "random", "Any, by chance.", counts_holders: false;
    /// The one with the lowest index.
    Sequential = "sequential", "The lowest index.", counts_holders: false;
    /// Any of the `AHEAD` with the lowest indices, by chance: nearly in order for whoever unpacks meanwhile, and neighbours
    /// still hold different ones.
    NearlySequential = "nearly-sequential", "Any of the 32 lowest indices, by chance.", counts_holders: false;
}

/// The states of one host's chunks and the choice among them.
#[derive(Clone, Debug)]
pub struct ChunkScheduler {
    policy: ChunkPolicy,
    wanted: Bitfield,
    held: Bitfield,
    availability: Option<Box<Availability>>,
}

impl ChunkScheduler {
    /// A host that holds `held` and wants the rest.
    pub fn new(policy: ChunkPolicy, held: Bitfield) -> Self {
        let mut wanted = Bitfield::full(held.len());
        for chunk in held.iter() {
            wanted.remove(chunk);
        }
        Self {
            policy,
            availability: policy.counts_holders().then(|| Box::new(Availability::new(held.len()))),
            wanted,
            held,
        }
    }

    /// The chunks held.
    #[inline]
    pub const fn held(&self) -> &Bitfield {
        &self.held
    }

    /// Whether every chunk is held.
    #[inline]
    pub const fn is_complete(&self) -> bool {
        self.held.is_full()
    }

    /// The chunks that are neither held nor requested.
    #[inline]
    pub const fn wanted(&self) -> &Bitfield {
        &self.wanted
    }

    /// The next chunk to ask of a neighbour that has `theirs`, but for `except`; `None` where it has nothing else that is wanted.
    #[inline]
    pub fn choose(&self, theirs: &Bitfield, except: &[ChunkIndex], chance: &mut impl Rng) -> Option<ChunkIndex> {
        let useful = self.useful(theirs, except);
        match self.policy {
            ChunkPolicy::LatestUseful => useful.highest(),
            ChunkPolicy::Sequential => useful.lowest(),
            ChunkPolicy::Random => useful.random(chance),
            ChunkPolicy::NearlySequential => useful.random_of_lowest(AHEAD, chance),
            ChunkPolicy::RarestFirst => {
                let levels = self
                    .availability
                    .as_ref()
                    .map_or(&[][..], |availability| availability.levels());
                let start = random_word(chance, useful.wanted.len());
                levels
                    .iter()
                    .filter(|level| !level.is_empty())
                    .find_map(|level| useful.first_in(level, start))
            }
        }
    }

    /// A chunk by chance of those that a neighbour with `theirs` has and that are wanted, but for `except`: for hosts that are
    /// to bring different ones without knowing of each other.
    pub fn choose_by_chance(
        &self,
        theirs: &Bitfield,
        except: &[ChunkIndex],
        chance: &mut impl Rng,
    ) -> Option<ChunkIndex> {
        self.useful(theirs, except).random(chance)
    }

    #[inline]
    fn useful<'a>(&'a self, theirs: &'a Bitfield, except: &'a [ChunkIndex]) -> Useful<'a> {
        debug_assert_eq!(theirs.len(), self.wanted.len());
        Useful {
            wanted: self.wanted.words(),
            theirs: theirs.words(),
            except,
        }
    }

    /// WANTED becomes REQUESTED.
    #[inline]
    pub fn mark_requested(&mut self, chunk: ChunkIndex) {
        let was_wanted = self.wanted.remove(chunk);
        assert!(was_wanted, "{chunk} requested though not wanted");
    }

    /// A chunk that was given up on is coming after all: WANTED becomes REQUESTED.
    pub fn reclaim(&mut self, chunk: ChunkIndex) {
        self.wanted.remove(chunk);
    }

    /// REQUESTED becomes WANTED again; nothing happens to a chunk that is held.
    pub fn release(&mut self, chunk: ChunkIndex) {
        if !self.held.contains(chunk) {
            self.wanted.insert(chunk);
        }
    }

    /// Anything becomes HELD; tells whether it was not yet.
    pub fn mark_held(&mut self, chunk: ChunkIndex) -> bool {
        self.wanted.remove(chunk);
        self.held.insert(chunk)
    }

    /// HELD becomes WANTED; tells whether it was held.
    pub fn mark_lost(&mut self, chunk: ChunkIndex) -> bool {
        let was_held = self.held.remove(chunk);
        if was_held {
            self.wanted.insert(chunk);
        }
        was_held
    }

    /// A neighbour now has `chunk` too.
    pub fn neighbour_gained(&mut self, chunk: ChunkIndex) {
        if let Some(availability) = &mut self.availability {
            availability.add(chunk);
        }
    }

    /// A neighbour does not have `chunk` after all.
    pub fn neighbour_lost(&mut self, chunk: ChunkIndex) {
        if let Some(availability) = &mut self.availability {
            availability.remove(chunk);
        }
    }

    /// A neighbour that had `theirs` has gone.
    pub fn neighbour_gone(&mut self, theirs: &Bitfield) {
        if let Some(availability) = &mut self.availability {
            availability.remove_set(theirs);
        }
    }
}

/// The chunks that are wanted and that one neighbour has, but for a few; never built as a set of its own.
struct Useful<'a> {
    wanted: &'a [u64],
    theirs: &'a [u64],
    except: &'a [ChunkIndex],
}

impl Useful<'_> {
    #[inline]
    fn word(&self, index: usize) -> u64 {
        self.without_except(index, self.wanted[index] & self.theirs[index])
    }

    /// Most words are empty, and in those nothing is looked for.
    #[inline]
    fn without_except(&self, index: usize, word: u64) -> u64 {
        if word == 0 {
            return 0;
        }
        let except = self.except.iter().map(|chunk| bitfield::split(*chunk));
        except.fold(word, |word, (of, bit)| if of == index { word & !bit } else { word })
    }

    fn highest(&self) -> Option<ChunkIndex> {
        let pairs = self.wanted.iter().zip(self.theirs).enumerate();
        pairs.rev().find_map(|(index, (wanted, theirs))| {
            let word = self.without_except(index, wanted & theirs);
            (word != 0).then(|| bitfield::at(index, word.ilog2()))
        })
    }

    fn lowest(&self) -> Option<ChunkIndex> {
        let mut pairs = self.wanted.iter().zip(self.theirs).enumerate();
        pairs.find_map(|(index, (wanted, theirs))| {
            let word = self.without_except(index, wanted & theirs);
            (word != 0).then(|| bitfield::at(index, word.trailing_zeros()))
        })
    }

    fn random(&self, chance: &mut impl Rng) -> Option<ChunkIndex> {
        self.random_of_lowest(u32::MAX, chance)
    }

    /// Any of the `most` lowest.
    fn random_of_lowest(&self, most: u32, chance: &mut impl Rng) -> Option<ChunkIndex> {
        let words = 0..self.wanted.len();
        let count: u32 = words.clone().map(|index| self.word(index).count_ones()).sum();
        let count = count.min(most);
        if count == 0 {
            return None;
        }
        let mut skip = chance.random_range(0..count);
        for index in words {
            let mut word = self.word(index);
            let ones = word.count_ones();
            if skip >= ones {
                skip -= ones;
                continue;
            }
            for _ in 0..skip {
                word &= word - 1;
            }
            return Some(bitfield::at(index, word.trailing_zeros()));
        }
        unreachable!("skip is below the number of ones")
    }

    /// The first useful chunk within `level`, searching round from word `start`.
    fn first_in(&self, level: &Bitfield, start: usize) -> Option<ChunkIndex> {
        let words = self.wanted.len();
        (start..words).chain(0..start).find_map(|index| {
            let word = self.word(index) & level.words()[index];
            (word != 0).then(|| bitfield::at(index, word.trailing_zeros()))
        })
    }
}

/// Among so many chunks [`ChunkPolicy::NearlySequential`] chooses.
const AHEAD: u32 = 32;

fn random_word(chance: &mut impl Rng, words: usize) -> usize {
    chance.random_range(0..words.max(1))
}

#[cfg(test)]
mod rules;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    fn chance(seed: u64) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(seed)
    }

    fn set(len: u32, chunks: &[u32]) -> Bitfield {
        let mut set = Bitfield::new(len);
        for &chunk in chunks {
            set.insert(ChunkIndex::new(chunk));
        }
        set
    }

    #[test]
    fn latest_and_sequential_take_the_ends_of_what_is_useful() {
        let theirs = set(200, &[3, 70, 150, 199]);
        let held = set(200, &[199]);
        let chunk = ChunkIndex::new;
        let mut latest = ChunkScheduler::new(ChunkPolicy::LatestUseful, held.clone());
        assert_eq!(latest.choose(&theirs, &[], &mut chance(1)), Some(chunk(150)));
        latest.mark_requested(chunk(150));
        assert_eq!(latest.choose(&theirs, &[], &mut chance(1)), Some(chunk(70)));
        assert_eq!(latest.choose(&theirs, &[chunk(70)], &mut chance(1)), Some(chunk(3)));
        let sequential = ChunkScheduler::new(ChunkPolicy::Sequential, held);
        assert_eq!(sequential.choose(&theirs, &[], &mut chance(1)), Some(chunk(3)));
    }

    #[test]
    fn nearly_sequential_takes_any_of_the_lowest() {
        let all = Bitfield::full(200);
        let scheduler = ChunkScheduler::new(ChunkPolicy::NearlySequential, set(200, &[0, 3]));
        let chosen = |seed| scheduler.choose(&all, &[], &mut chance(seed)).unwrap().get();
        let chosen: std::collections::BTreeSet<u32> = (0..1000).map(chosen).collect();
        let lowest = (0..AHEAD + 2).filter(|chunk| ![0, 3].contains(chunk));
        assert!(chosen.into_iter().eq(lowest));
    }

    #[test]
    fn rarest_first_takes_the_chunk_with_the_fewest_holders() {
        let mut scheduler = ChunkScheduler::new(ChunkPolicy::RarestFirst, Bitfield::new(100));
        let theirs = set(100, &[10, 20, 30]);
        for (chunk, holders) in [(10, 3), (20, 1), (30, 2)] {
            for _ in 0..holders {
                scheduler.neighbour_gained(ChunkIndex::new(chunk));
            }
        }
        assert_eq!(
            scheduler.choose(&theirs, &[], &mut chance(1)),
            Some(ChunkIndex::new(20))
        );
        scheduler.neighbour_gone(&set(100, &[10, 30]));
        scheduler.neighbour_gone(&set(100, &[30]));
        scheduler.mark_held(ChunkIndex::new(20));
        assert_eq!(
            scheduler.choose(&theirs, &[], &mut chance(1)),
            Some(ChunkIndex::new(30))
        );
    }

    proptest! {
        #[test]
        fn whatever_is_chosen_is_theirs_and_wanted(
            len in 1u32..200,
            held in prop::collection::vec(0u32..200, 0..100),
            theirs in prop::collection::vec(0u32..200, 0..100),
            seed in any::<u64>(),
        ) {
            let within = |chunks: &[u32]| chunks.iter().map(|c| c % len).collect::<Vec<_>>();
            let held = set(len, &within(&held));
            let theirs = set(len, &within(&theirs));
            for &policy in ChunkPolicy::ALL {
                let mut chance = chance(seed);
                let mut scheduler = ChunkScheduler::new(policy, held.clone());
                theirs.iter().for_each(|chunk| scheduler.neighbour_gained(chunk));
                let mut asked = Bitfield::new(len);
                let mut planned = Vec::new();
                while let Some(chunk) = scheduler.choose(&theirs, &planned, &mut chance) {
                    prop_assert!(theirs.contains(chunk) && !held.contains(chunk));
                    prop_assert!(asked.insert(chunk), "{} chosen twice", chunk);
                    // What is only planned is left out as what is requested is.
                    planned.push(chunk);
                    if planned.len() == 3 {
                        planned.drain(..).for_each(|chunk| scheduler.mark_requested(chunk));
                    }
                }
                planned.drain(..).for_each(|chunk| scheduler.mark_requested(chunk));
                prop_assert_eq!(asked.count(), theirs.difference_count(&held));
                asked.iter().for_each(|chunk| scheduler.release(chunk));
                prop_assert_eq!(scheduler.choose(&theirs, &[], &mut chance).is_some(), !asked.is_empty());
            }
        }
    }
}
