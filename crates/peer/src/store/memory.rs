//! Chunks in memory, content-addressed and shared by all members of the process: ten thousand hosts that hold the same
//! 4 MiB hold it once. Every host still receives and verifies every byte of its own.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use swarm::{Bitfield, ChunkIndex, Hash, Manifest};

use super::{ChunkStore, StoreError};

/// The chunks of a process by hash. An entry goes when no store holds it any more.
#[derive(Clone, Debug, Default)]
pub struct ChunkPool {
    chunks: Arc<RwLock<HashMap<Hash, Weak<Bytes>>>>,
}

impl ChunkPool {
    /// How many chunks are held by somebody.
    pub fn len(&self) -> usize {
        self.chunks
            .read()
            .values()
            .filter(|chunk| chunk.strong_count() > 0)
            .count()
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn get(&self, hash: Hash) -> Option<Arc<Bytes>> {
        self.chunks.read().get(&hash)?.upgrade()
    }

    /// The one copy of verified `bytes`: what is there already, or these.
    fn intern(&self, hash: Hash, bytes: Bytes) -> Arc<Bytes> {
        if let Some(there) = self.get(hash) {
            return there;
        }
        let mut chunks = self.chunks.write();
        if let Some(there) = chunks.get(&hash).and_then(Weak::upgrade) {
            return there;
        }
        let chunk = Arc::new(bytes);
        if chunks.len() >= SWEEP_FROM && chunks.len().is_power_of_two() {
            chunks.retain(|_, chunk| chunk.strong_count() > 0);
        }
        chunks.insert(hash, Arc::downgrade(&chunk));
        chunk
    }
}

/// The chunks of one member, in memory.
#[derive(Debug)]
pub struct MemoryStore {
    pool: ChunkPool,
    manifest: Arc<Manifest>,
    kept: Mutex<Box<[Option<Arc<Bytes>>]>>,
}

impl MemoryStore {
    /// An empty store for the build of `manifest`.
    pub fn new(pool: ChunkPool, manifest: Arc<Manifest>) -> Self {
        let kept = vec![None; manifest.chunk_count() as usize].into();
        Self {
            pool,
            manifest,
            kept: Mutex::new(kept),
        }
    }
}

impl ChunkStore for MemoryStore {
    fn held(&self) -> Bitfield {
        let kept = self.kept.lock();
        let mut held = Bitfield::new(self.manifest.chunk_count());
        for chunk in self.manifest.chunks().filter(|chunk| kept[chunk.as_usize()].is_some()) {
            held.insert(chunk);
        }
        held
    }

    fn read(&self, chunk: ChunkIndex) -> Result<Bytes, StoreError> {
        let kept = self.kept.lock();
        let there = kept[chunk.as_usize()].as_ref();
        there
            .map(|bytes| Bytes::clone(bytes))
            .ok_or(StoreError::NotHeld { chunk })
    }

    fn shared(&self, chunk: ChunkIndex) -> Option<Bytes> {
        self.pool
            .get(self.manifest.hash(chunk))
            .map(|bytes| Bytes::clone(&bytes))
    }

    fn keep(&self, chunk: ChunkIndex, bytes: Bytes) -> Result<(), StoreError> {
        let interned = self.pool.intern(self.manifest.hash(chunk), bytes);
        self.kept.lock()[chunk.as_usize()] = Some(interned);
        Ok(())
    }

    fn finish(&self) -> Result<(), StoreError> {
        let missing = self.kept.lock().iter().filter(|chunk| chunk.is_none()).count();
        match u32::try_from(missing).expect("at most the chunks of a build, a u32") {
            0 => Ok(()),
            missing => Err(StoreError::Incomplete {
                missing,
                chunks: self.manifest.chunk_count(),
            }),
        }
    }

    fn is_blocking(&self) -> bool {
        false
    }
}

/// From this many entries on, those that nobody holds are swept out now and then.
const SWEEP_FROM: usize = 1024;

#[cfg(test)]
mod tests {
    use super::super::tests::build;
    use super::super::{ChunkSink, Received};
    use super::*;

    #[test]
    fn two_hosts_share_one_copy_and_the_last_one_frees_it() {
        let (data, manifest) = build();
        let pool = ChunkPool::default();
        let chunk = manifest.chunk(0).unwrap();
        let store = || MemoryStore::new(pool.clone(), Arc::clone(&manifest));
        let (a, b) = (store(), store());
        a.keep(chunk, Bytes::copy_from_slice(&data[..1024])).unwrap();
        b.keep(chunk, Bytes::copy_from_slice(&data[..1024])).unwrap();
        assert_eq!(a.read(chunk).unwrap().as_ptr(), b.read(chunk).unwrap().as_ptr());
        assert_eq!(pool.len(), 1);
        drop(a);
        assert!(b.shared(chunk).is_some());
        drop(b);
        assert!(pool.is_empty());
    }

    #[test]
    fn a_chunk_that_another_host_holds_needs_no_buffer_and_is_still_verified() {
        let (data, manifest) = build();
        let pool = ChunkPool::default();
        let chunk = manifest.chunk(0).unwrap();
        let store = || Arc::new(MemoryStore::new(pool.clone(), Arc::clone(&manifest)));
        let (first, second) = (store(), store());
        first.keep(chunk, Bytes::copy_from_slice(&data[..1024])).unwrap();
        let sink = || ChunkSink::new(Arc::<MemoryStore>::clone(&second), &manifest, chunk);
        let mut wrong = sink();
        assert!(wrong.write(&[0; 1024]));
        assert!(matches!(wrong.finish(), Received::Corrupt));
        assert!(second.read(chunk).is_err());
        let mut right = sink();
        assert!(right.write(&data[..1024]));
        assert!(matches!(right.finish(), Received::Stored));
        assert_eq!(
            second.read(chunk).unwrap().as_ptr(),
            first.read(chunk).unwrap().as_ptr()
        );
    }

    #[test]
    fn a_sink_outlives_the_host_whose_copy_it_counted_on() {
        let (data, manifest) = build();
        let pool = ChunkPool::default();
        let chunk = manifest.chunk(0).unwrap();
        let leaving = MemoryStore::new(pool.clone(), Arc::clone(&manifest));
        leaving.keep(chunk, Bytes::copy_from_slice(&data[..1024])).unwrap();
        let store = Arc::new(MemoryStore::new(pool.clone(), Arc::clone(&manifest)));
        let mut sink = ChunkSink::new(Arc::<MemoryStore>::clone(&store), &manifest, chunk);
        drop(leaving);
        assert!(pool.is_empty());
        assert!(sink.write(&data[..1024]));
        assert!(matches!(sink.finish(), Received::Stored));
        assert_eq!(store.read(chunk).unwrap(), data[..1024]);
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn entries_that_nobody_holds_are_swept_out() {
        let pool = ChunkPool::default();
        for number in 0..4 * SWEEP_FROM as u64 {
            let bytes = Bytes::copy_from_slice(&number.to_le_bytes());
            pool.intern(Hash::of(&bytes), bytes);
        }
        assert!(pool.chunks.read().len() <= SWEEP_FROM);
    }

    #[test]
    fn a_build_with_chunks_missing_is_not_called_finished() {
        let (data, manifest) = build();
        let store = MemoryStore::new(ChunkPool::default(), Arc::clone(&manifest));
        let chunks = manifest.chunks().zip(data.chunks(1024));
        for (kept, (chunk, bytes)) in (0..).zip(chunks) {
            let missing = manifest.chunk_count() - kept;
            assert!(matches!(store.finish(), Err(StoreError::Incomplete { missing: m, .. }) if m == missing));
            store.keep(chunk, Bytes::copy_from_slice(bytes)).unwrap();
        }
        store.finish().unwrap();
    }
}
