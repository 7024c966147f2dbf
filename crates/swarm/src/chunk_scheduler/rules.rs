//! Which chunk is chosen and in which of its three states it is, each rule by an example.

use std::collections::BTreeSet;

use super::*;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

fn chunk(index: u32) -> ChunkIndex {
    ChunkIndex::new(index)
}

fn set(chunks: impl IntoIterator<Item = u32>) -> Bitfield {
    let mut set = Bitfield::new(200);
    for index in chunks {
        set.insert(chunk(index));
    }
    set
}

#[test]
fn a_chunk_is_wanted_requested_or_held_and_each_way_leads_to_one_of_these() {
    let mut scheduler = ChunkScheduler::new(ChunkPolicy::Sequential, set(0..198));
    let state = |scheduler: &ChunkScheduler| {
        (
            scheduler.wanted().contains(chunk(199)),
            scheduler.held().contains(chunk(199)),
        )
    };
    scheduler.mark_held(chunk(198));
    assert_eq!((state(&scheduler), scheduler.is_complete()), ((true, false), false));
    scheduler.mark_requested(chunk(199));
    assert_eq!(state(&scheduler), (false, false));
    scheduler.release(chunk(199));
    assert_eq!(state(&scheduler), (true, false));
    scheduler.reclaim(chunk(199));
    assert_eq!(state(&scheduler), (false, false));
    assert_eq!(
        [scheduler.mark_held(chunk(199)), scheduler.mark_held(chunk(199))],
        [true, false]
    );
    scheduler.release(chunk(199));
    assert_eq!((state(&scheduler), scheduler.is_complete()), ((false, true), true));
    assert_eq!(
        [scheduler.mark_lost(chunk(199)), scheduler.mark_lost(chunk(199))],
        [true, false]
    );
    assert_eq!((state(&scheduler), scheduler.is_complete()), ((true, false), false));
}

#[test]
fn by_chance_every_useful_chunk_is_chosen_and_of_equally_rare_ones_those_of_every_part() {
    let useful: BTreeSet<u32> = [3, 64, 70, 130, 199].into();
    let theirs = set(useful.iter().copied());
    let random = ChunkScheduler::new(ChunkPolicy::Random, set([0]));
    let rarest = ChunkScheduler::new(ChunkPolicy::RarestFirst, set([0]));
    let chosen = |scheduler: &ChunkScheduler| -> BTreeSet<u32> {
        let choose = |seed| scheduler.choose(&theirs, &[], &mut Xoshiro256PlusPlus::seed_from_u64(seed));
        (0..300).map(|seed| choose(seed).unwrap().get()).collect()
    };
    assert_eq!(chosen(&random), useful);
    assert_eq!(
        chosen(&rarest),
        [3, 64, 130, 199].into(),
        "the first of each word of the set"
    );
    let by_chance = |seed| rarest.choose_by_chance(&theirs, &[chunk(3)], &mut Xoshiro256PlusPlus::seed_from_u64(seed));
    let by_chance: BTreeSet<u32> = (0..300).map(|seed| by_chance(seed).unwrap().get()).collect();
    assert_eq!(by_chance, [64, 70, 130, 199].into());
}

#[test]
fn who_counts_holders_hears_of_each_that_comes_and_of_each_that_loses_a_chunk_or_goes() {
    let mut scheduler = ChunkScheduler::new(ChunkPolicy::RarestFirst, set([]));
    let theirs = set([10, 20, 30]);
    let choose = |scheduler: &ChunkScheduler| scheduler.choose(&theirs, &[], &mut Xoshiro256PlusPlus::seed_from_u64(1));
    for (index, holders) in [(10, 2), (20, 3), (30, 4)] {
        (0..holders).for_each(|_| scheduler.neighbour_gained(chunk(index)));
    }
    assert_eq!(choose(&scheduler), Some(chunk(10)));
    (0..3).for_each(|_| scheduler.neighbour_lost(chunk(30)));
    assert_eq!(choose(&scheduler), Some(chunk(30)));
    (0..3).for_each(|_| scheduler.neighbour_gone(&set([20])));
    assert_eq!(choose(&scheduler), Some(chunk(20)));
}

#[test]
fn every_policy_has_a_word_and_a_meaning_of_its_own() {
    let words: BTreeSet<&str> = ChunkPolicy::ALL.iter().map(|policy| policy.word()).collect();
    let meanings: BTreeSet<&str> = ChunkPolicy::ALL.iter().map(|policy| policy.meaning()).collect();
    assert_eq!(
        (words.len(), meanings.len()),
        (ChunkPolicy::ALL.len(), ChunkPolicy::ALL.len())
    );
    assert_eq!(ChunkPolicy::LatestUseful.word(), "latest-useful");
}
