//! Chunk transfers of a whole region in virtual time, by number of hosts: the scheduler within a full swarm.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use scenario::{LoadOptions, Scenario};
use simulator::{EventQueue, Options, Status, forecast};

/// Hosts, and chunks: fewer for more hosts, so that a sample takes seconds at most.
const SIZES: [(u32, u64); 3] = [(1_000, 64), (10_000, 16), (100_000, 4)];

fn regions(c: &mut Criterion) {
    let mut group = c.benchmark_group("region");
    group.sample_size(10);
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/slow-hosts.toml"));
    for (hosts, chunks) in SIZES {
        let sets = [
            format!("regions.region-a.hosts={hosts}"),
            format!("build.size={} MiB", 16 * chunks),
            "build.chunk_size=16 MiB".to_owned(),
        ];
        let options = LoadOptions {
            overrides: sets.iter().filter_map(|set| set.parse().ok()).collect(),
            ..LoadOptions::default()
        };
        let scenario = Scenario::load(path, &options).unwrap_or_else(|error| panic!("{error}"));
        let options = Options {
            threads: 1,
            deadline: Duration::from_secs(3600),
            record: false,
        };
        group.throughput(Throughput::Elements(u64::from(hosts) * chunks));
        group.bench_function(
            BenchmarkId::from_parameter(format!("{hosts}-hosts-{chunks}-chunks")),
            |b| {
                b.iter(|| black_box(forecast(&scenario, &options, &Status::new(&scenario))));
            },
        );
    }
    group.finish();
}

fn event_queue(c: &mut Criterion) {
    let mut group = c.benchmark_group("event_queue");
    let held = 50_000_u64;
    group.throughput(Throughput::Elements(1));
    group.bench_function("push_and_pop/50000-held", |b| {
        let mut queue = EventQueue::new(20_000_000);
        let delay = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 14_000_000;
        (0..held).for_each(|n| queue.push(delay(n), n));
        b.iter(|| {
            if let Some((now, n)) = queue.pop() {
                queue.push(now + delay(n), n + 1);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, regions, event_queue);
criterion_main!(benches);
