//! The set algebra under every choice of a chunk.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use swarm::{Bitfield, Bytes, Hash, Manifest};

fn bitfield(criterion: &mut Criterion) {
    for count in [640, 2_500, 10_000] {
        let hashes = vec![Hash::of(b"chunk"); count as usize];
        let size = Bytes::new(u64::from(count) * 1024);
        let manifest = Manifest::new("bench", size, 1024, hashes).expect("a possible build");
        let mut even = Bitfield::new(count);
        manifest.chunks().step_by(2).for_each(|chunk| {
            even.insert(chunk);
        });
        let full = Bitfield::full(count);
        let all: Vec<_> = manifest.chunks().collect();
        criterion.bench_function(&format!("insert-remove/{count}"), |bencher| {
            let mut set = even.clone();
            let mut next = 0;
            bencher.iter(|| {
                next = (next + 7) % all.len();
                set.insert(black_box(all[next]));
                set.remove(black_box(all[next]))
            });
        });
        criterion.bench_function(&format!("difference-count/{count}"), |bencher| {
            bencher.iter(|| black_box(&full).difference_count(black_box(&even)));
        });
        criterion.bench_function(&format!("iterate/{count}"), |bencher| {
            bencher.iter(|| black_box(&even).iter().map(|chunk| u64::from(chunk.get())).sum::<u64>());
        });
    }
}

criterion_group!(benches, bitfield);
criterion_main!(benches);
