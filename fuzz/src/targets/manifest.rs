//! Manifests: whatever one is made of, its chunks lie one behind the other and are the build, and it comes through the wire as it is.

use std::sync::Arc;

use bytes::BytesMut;
use swarm::wire::{Frame, decode, encode};
use swarm::{Bytes, CHUNKS_MAX, Hash, Manifest, Message};

use crate::input::Input;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let chunk_size = u32::from_le_bytes([input.byte(), input.byte(), input.byte(), input.byte()]);
    let size = (0..8).fold(0_u64, |size, _| size << 8 | u64::from(input.byte()));
    let length = input.short();
    let build_id = String::from_utf8_lossy(input.bytes(length.into())).into_owned();
    let Ok(chunks) = Manifest::chunk_count_of(&build_id, Bytes::new(size), chunk_size) else {
        let made = Manifest::new(build_id, Bytes::new(size), chunk_size, vec![Hash::of(b""); 3]);
        assert!(made.is_err(), "it has no number of chunks, and is one");
        return;
    };
    assert!((1..=u64::from(CHUNKS_MAX)).contains(&chunks), "{chunks} chunks");
    // More of them are more of the same, and take long to hash.
    if chunks > CHUNKS_LOOKED_AT {
        return;
    }
    // As many hashes as there are chunks, or not quite.
    let count = usize::try_from(chunks).expect("a manifest fits into memory") + input.below(2);
    let hashes: Vec<Hash> = (0..count).map(|n| Hash::of(&n.to_le_bytes())).collect();
    let made = Manifest::new(build_id.clone(), Bytes::new(size), chunk_size, hashes);
    let Ok(manifest) = made else {
        assert_ne!(count as u64, chunks, "a manifest of so many hashes is one");
        return;
    };
    let mut end = 0;
    for chunk in manifest.chunks() {
        assert_eq!(manifest.offset(chunk), end, "chunks lie one behind the other");
        assert!((1..=chunk_size).contains(&manifest.length(chunk)), "a chunk has bytes");
        end += u64::from(manifest.length(chunk));
    }
    assert_eq!(end, size, "the chunks are the build");
    assert_eq!(manifest.chunk(manifest.chunk_count()), None);
    assert_eq!(manifest.build_id(), build_id);
    let frame = Frame::Message(Message::Manifest(Arc::new(manifest)));
    let mut out = BytesMut::new();
    encode(&frame, &mut out);
    assert_eq!(decode(&mut out), Ok(Some(frame)));
}

const CHUNKS_LOOKED_AT: u64 = 200;
