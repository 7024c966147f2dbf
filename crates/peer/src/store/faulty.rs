//! Faults to put around any other store, in scenarios and in tests: a holder that serves corrupt chunks, one that serves none, one
//! that says that it has everything.
//!
//! Invariant: only what goes out through them is wrong; what the inner store holds, and shares with others, stays right.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use swarm::{Bitfield, ChunkIndex};

use super::{Answer, ChunkStore, Looked, StoreError};

/// A store of which what goes out is wrong in one way.
pub struct Faulty<F> {
    inner: Arc<dyn ChunkStore>,
    fault: F,
}

/// Flips a bit of what is read.
pub type CorruptStore = Faulty<Corrupt>;

/// Answers no request.
pub type StallingStore = Faulty<Stalling>;

/// Says that it holds every chunk, and gives none to whoever asks.
pub type ClaimingStore = Faulty<Claiming>;

/// See [`CorruptStore`].
pub struct Corrupt {
    /// The chunks that are read wrong; all of them where this is `None`.
    chosen: Option<Bitfield>,
}

/// See [`StallingStore`].
pub struct Stalling;

/// See [`ClaimingStore`].
pub struct Claiming {
    answer: Answer,
}

/// What goes out wrong; all else is the inner store's.
trait Fault: Send + Sync {
    fn read(&self, _chunk: ChunkIndex, right: Bytes) -> Bytes {
        right
    }

    fn answer(&self, _chunk: ChunkIndex) -> Answer {
        Answer::Chunk
    }

    fn held(&self, right: Bitfield) -> Bitfield {
        right
    }
}

impl CorruptStore {
    /// Puts the fault around `inner`, for every chunk.
    pub fn new(inner: Arc<dyn ChunkStore>) -> Self {
        let fault = Corrupt { chosen: None };
        Self { inner, fault }
    }

    /// Puts the fault around `inner`, for the `chosen` chunks only.
    pub fn of_chunks(inner: Arc<dyn ChunkStore>, chosen: Bitfield) -> Self {
        let chosen = Some(chosen);
        let fault = Corrupt { chosen };
        Self { inner, fault }
    }
}

impl StallingStore {
    /// Puts the fault around `inner`.
    pub fn new(inner: Arc<dyn ChunkStore>) -> Self {
        let fault = Stalling;
        Self { inner, fault }
    }
}

impl ClaimingStore {
    /// Puts the fault around `inner`. What it is asked for gets this answer.
    pub fn new(inner: Arc<dyn ChunkStore>, answer: Answer) -> Self {
        let fault = Claiming { answer };
        Self { inner, fault }
    }
}

impl Fault for Corrupt {
    fn read(&self, chunk: ChunkIndex, right: Bytes) -> Bytes {
        if self.chosen.as_ref().is_some_and(|chosen| !chosen.contains(chunk)) {
            return right;
        }
        // A copy: the right bytes may be shared with every other host of the process.
        let mut wrong = BytesMut::from(&right[..]);
        if let Some(last) = wrong.last_mut() {
            *last ^= 1;
        }
        wrong.freeze()
    }
}

impl Fault for Stalling {
    fn answer(&self, _chunk: ChunkIndex) -> Answer {
        Answer::Nothing
    }
}

impl Fault for Claiming {
    fn answer(&self, _chunk: ChunkIndex) -> Answer {
        self.answer
    }

    fn held(&self, right: Bitfield) -> Bitfield {
        Bitfield::full(right.len())
    }
}

impl<F: Fault> ChunkStore for Faulty<F> {
    fn held(&self) -> Bitfield {
        self.fault.held(self.inner.held())
    }

    fn read(&self, chunk: ChunkIndex) -> Result<Bytes, StoreError> {
        let right = self.inner.read(chunk)?;
        Ok(self.fault.read(chunk, right))
    }

    fn answer(&self, chunk: ChunkIndex) -> Answer {
        match self.fault.answer(chunk) {
            Answer::Chunk => self.inner.answer(chunk),
            other => other,
        }
    }

    fn shared(&self, chunk: ChunkIndex) -> Option<Bytes> {
        self.inner.shared(chunk)
    }

    fn keep(&self, chunk: ChunkIndex, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.keep(chunk, bytes)
    }

    fn finish(&self) -> Result<(), StoreError> {
        self.inner.finish()
    }

    fn look(&self) -> Looked {
        self.inner.look()
    }

    fn reused(&self) -> u64 {
        self.inner.reused()
    }

    fn is_blocking(&self) -> bool {
        self.inner.is_blocking()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::build;
    use super::super::{ChunkPool, ChunkSink, MemoryStore, Received, StoreOpener};
    use super::*;
    use swarm::Manifest;

    /// A memory store of the whole build, and that build.
    fn full() -> (Arc<MemoryStore>, Vec<u8>, Arc<Manifest>) {
        let (data, manifest) = build();
        let store = MemoryStore::new(ChunkPool::default(), Arc::clone(&manifest));
        for (chunk, bytes) in manifest.chunks().zip(data.chunks(1024)) {
            store.keep(chunk, Bytes::copy_from_slice(bytes)).unwrap();
        }
        (Arc::new(store), data, manifest)
    }

    #[test]
    fn what_is_read_is_refused_by_a_sink_and_what_is_held_stays_right() {
        let (inner, data, manifest) = full();
        let corrupt = CorruptStore::new(Arc::<MemoryStore>::clone(&inner));
        for (chunk, right) in manifest.chunks().zip(data.chunks(1024)) {
            let served = corrupt.read(chunk).unwrap();
            assert_eq!(served.len(), right.len());
            let receiver = Arc::new(MemoryStore::new(ChunkPool::default(), Arc::clone(&manifest)));
            let mut sink = ChunkSink::new(receiver, &manifest, chunk);
            assert!(sink.write(&served));
            assert!(matches!(sink.finish(), Received::Corrupt));
            assert_eq!(inner.read(chunk).unwrap(), right);
            assert_eq!(corrupt.shared(chunk).unwrap(), right);
        }
    }

    #[test]
    fn only_the_chosen_chunks_are_wrong() {
        let (inner, data, manifest) = full();
        let mut chosen = Bitfield::new(manifest.chunk_count());
        chosen.insert(manifest.chunk(1).unwrap());
        let corrupt = CorruptStore::of_chunks(inner, chosen);
        for (chunk, right) in manifest.chunks().zip(data.chunks(1024)) {
            assert_eq!(corrupt.read(chunk).unwrap() == right, chunk.get() != 1, "{chunk}");
        }
    }

    #[test]
    fn who_claims_everything_gives_nothing_away() {
        let (_, manifest) = build();
        let empty = Arc::new(MemoryStore::new(ChunkPool::default(), Arc::clone(&manifest)));
        for answer in [Answer::Nothing, Answer::Busy] {
            let claiming = ClaimingStore::new(Arc::<MemoryStore>::clone(&empty), answer);
            assert!(claiming.held().is_full() && claiming.held().len() == manifest.chunk_count());
            assert!(manifest.chunks().all(|chunk| claiming.answer(chunk) == answer));
        }
        assert!(empty.held().is_empty());
    }

    #[test]
    fn faults_around_each_other_are_both_there_and_take_in_what_comes() {
        let (data, manifest) = build();
        let opener = StoreOpener::in_memory(ChunkPool::default())
            .decorated(|store| Arc::new(StallingStore::new(store)))
            .decorated(|store| Arc::new(CorruptStore::new(store)));
        let store = opener.open(Arc::clone(&manifest)).unwrap();
        for (chunk, right) in manifest.chunks().zip(data.chunks(1024)) {
            store.keep(chunk, Bytes::copy_from_slice(right)).unwrap();
            assert_eq!(store.answer(chunk), Answer::Nothing);
            assert_ne!(store.read(chunk).unwrap(), right);
        }
        assert!(store.held().is_full());
        store.finish().unwrap();
    }
}
