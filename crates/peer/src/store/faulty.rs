//! A store whose holder serves corrupt chunks: a fault to put around any other store, in scenarios and in tests.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use swarm::{Bitfield, ChunkIndex};

use super::{ChunkStore, StoreError};

/// Flips a bit of everything that is read.
pub struct FaultyStore {
    inner: Arc<dyn ChunkStore>,
}

impl FaultyStore {
    /// Puts the fault around `inner`.
    pub fn new(inner: Arc<dyn ChunkStore>) -> Self {
        Self { inner }
    }
}

impl ChunkStore for FaultyStore {
    fn held(&self) -> Bitfield {
        self.inner.held()
    }

    fn read(&self, chunk: ChunkIndex) -> Result<Bytes, StoreError> {
        let mut bytes = BytesMut::from(&self.inner.read(chunk)?[..]);
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        Ok(bytes.freeze())
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

    fn is_blocking(&self) -> bool {
        self.inner.is_blocking()
    }
}
