//! What a host does once for a build: reads its signature and verifies it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use signing::{Moment, SecretKey, Terms, TrustedKeys};
use swarm::Manifest;

fn verify(criterion: &mut Criterion) {
    let manifest = Manifest::of("app.zip", &[7; 1000], 64).expect("a possible build");
    let terms = Terms {
        sequence: 1,
        signed: Moment::now(),
        expires: None,
    };
    let key = SecretKey::from_bytes(&[1; 32]);
    let keys = TrustedKeys::of([key.public()]);
    let text = key.sign(&manifest, terms).to_string();
    criterion.bench_function("signatures/verify", |bencher| {
        bencher.iter(|| {
            let verified = keys.verify("app.zip", manifest.root(), Some(black_box(&text)), Moment::now());
            verified.expect("it was signed with this key")
        });
    });
}

criterion_group!(benches, verify);
criterion_main!(benches);
