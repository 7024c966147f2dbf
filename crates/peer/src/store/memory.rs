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
        Ok(())
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
}
