//! Frames to bytes and back: the messages that are sent for every chunk, and the largest one.

use std::hint::black_box;
use std::sync::Arc;

use bytes::BytesMut;
use criterion::{Criterion, criterion_group, criterion_main};
use swarm::wire::{DataHeader, Frame, decode, encode};
use swarm::{Bitfield, Bytes, Hash, Manifest, Message};

fn frames() -> Vec<(&'static str, Frame)> {
    let hashes = vec![Hash::of(b"chunk"); 2_500];
    let manifest = Manifest::new("bench", Bytes::new(2_500 * 1024), 1024, hashes).expect("a possible build");
    vec![
        ("request", Frame::Message(Message::Request { chunk: 7, held: 9 })),
        ("have-1", Frame::Message(Message::Have([7].into_iter().collect()))),
        ("have-16", Frame::Message(Message::Have((0..16).collect()))),
        (
            "have-set-2500",
            Frame::Message(Message::HaveSet(Bitfield::full(2_500).into())),
        ),
        (
            "data-header",
            Frame::Data(DataHeader {
                chunk: 7,
                offset: 0,
                length: 65_536,
            }),
        ),
        ("manifest-2500", Frame::Message(Message::Manifest(Arc::new(manifest)))),
    ]
}

fn codec(criterion: &mut Criterion) {
    for (name, frame) in frames() {
        let mut buffer = BytesMut::with_capacity(1 << 20);
        criterion.bench_function(&format!("encode/{name}"), |bencher| {
            bencher.iter(|| {
                buffer.clear();
                encode(black_box(&frame), &mut buffer);
            });
        });
        let encoded = buffer.clone();
        criterion.bench_function(&format!("decode/{name}"), |bencher| {
            bencher.iter_batched_ref(
                || encoded.clone(),
                |bytes| black_box(decode(bytes)),
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
