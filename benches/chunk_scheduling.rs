//! Choosing the next chunk for a neighbour, and taking in what neighbours acquire: what a peer does once a chunk and more.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use swarm::{Bitfield, Bytes, ChunkIndex, ChunkPolicy, ChunkScheduler, Hash, Manifest};

const CHUNKS: [u32; 3] = [640, 2_500, 10_000];
const NEIGHBOURS: [usize; 3] = [8, 16, 64];
const POLICIES: [(&str, ChunkPolicy); 4] = [
    ("latest-useful", ChunkPolicy::LatestUseful),
    ("rarest-first", ChunkPolicy::RarestFirst),
    ("random", ChunkPolicy::Random),
    ("sequential", ChunkPolicy::Sequential),
];

fn chunks(count: u32) -> Vec<ChunkIndex> {
    let hashes = vec![Hash::of(b"chunk"); count as usize];
    let size = Bytes::new(u64::from(count) * 1024);
    Manifest::new("bench", size, 1024, hashes)
        .expect("a possible build")
        .chunks()
        .collect()
}

/// A host in the middle of its download, and what its neighbours have: about half of the chunks each.
fn mid_download(policy: ChunkPolicy, count: u32, neighbours: usize) -> (ChunkScheduler, Vec<Bitfield>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let all = chunks(count);
    let mut half = || {
        let mut set = Bitfield::new(count);
        all.iter().filter(|_| rng.random_bool(0.5)).for_each(|chunk| {
            set.insert(*chunk);
        });
        set
    };
    let mut scheduler = ChunkScheduler::new(policy, half());
    let sets: Vec<Bitfield> = (0..neighbours).map(|_| half()).collect();
    sets.iter()
        .for_each(|set| set.iter().for_each(|chunk| scheduler.neighbour_gained(chunk)));
    (scheduler, sets)
}

fn choose(criterion: &mut Criterion) {
    for (name, policy) in POLICIES {
        let mut group = criterion.benchmark_group(format!("choose/{name}"));
        for count in CHUNKS {
            for neighbours in NEIGHBOURS {
                let (scheduler, sets) = mid_download(policy, count, neighbours);
                let mut chance = Xoshiro256PlusPlus::seed_from_u64(2);
                let mut next = 0;
                group.bench_function(BenchmarkId::new(format!("{count}-chunks"), neighbours), |bencher| {
                    bencher.iter(|| {
                        next = (next + 1) % sets.len();
                        black_box(scheduler.choose(&sets[next], &[], &mut chance))
                    });
                });
            }
        }
    }
}

/// The worst case of a choice: what is wanted is at the far end of the search.
fn choose_last(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("choose-last-wanted");
    for (name, policy) in POLICIES {
        for count in CHUNKS {
            let all = chunks(count);
            let mut held = Bitfield::full(count);
            held.remove(
                all[if policy == ChunkPolicy::LatestUseful {
                    0
                } else {
                    all.len() - 1
                }],
            );
            let mut scheduler = ChunkScheduler::new(policy, held);
            all.iter().for_each(|chunk| scheduler.neighbour_gained(*chunk));
            let theirs = Bitfield::full(count);
            let mut chance = Xoshiro256PlusPlus::seed_from_u64(2);
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| black_box(scheduler.choose(&theirs, &[], &mut chance)));
            });
        }
    }
}

fn availability_updates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("neighbour-gained");
    for count in CHUNKS {
        let (mut scheduler, _) = mid_download(ChunkPolicy::RarestFirst, count, 16);
        let all = chunks(count);
        let mut next = 0;
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                next = (next + 1) % all.len();
                scheduler.neighbour_gained(black_box(all[next]));
                scheduler.neighbour_lost(black_box(all[next]));
            });
        });
    }
}

criterion_group!(benches, choose, choose_last, availability_updates);
criterion_main!(benches);
