//! How a member gets its store: it is started before it knows the build, so it is given the way and not the store.
//!
//! What is wrong with a store is put around it from outside, by [`StoreOpener::decorated`]: a node cannot tell.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use swarm::Manifest;

use super::{ChunkPool, ChunkStore, DiskStore, MemoryStore, StoreError};

/// Opens the store of one member as soon as its build is known.
#[derive(Clone)]
pub struct StoreOpener {
    open: Arc<Open>,
    is_blocking: bool,
}

type Open = dyn Fn(Arc<Manifest>) -> Result<Arc<dyn ChunkStore>, StoreError> + Send + Sync;

impl StoreOpener {
    /// A store in memory, which shares equal chunks with all others of `pool`.
    pub fn in_memory(pool: ChunkPool) -> Self {
        Self {
            open: Arc::new(move |manifest| Ok(Arc::new(MemoryStore::new(pool.clone(), manifest)))),
            is_blocking: false,
        }
    }

    /// A store in the file `target`.
    pub fn on_disk(target: PathBuf) -> Self {
        Self {
            open: Arc::new(move |manifest| Ok(Arc::new(DiskStore::open(&target, manifest)?))),
            is_blocking: true,
        }
    }

    /// The same with `decorate` around the store.
    #[must_use]
    pub fn decorated(
        self,
        decorate: impl Fn(Arc<dyn ChunkStore>) -> Arc<dyn ChunkStore> + Send + Sync + 'static,
    ) -> Self {
        let open = self.open;
        Self {
            open: Arc::new(move |manifest| open(manifest).map(&decorate)),
            ..self
        }
    }

    /// Opens the store for the build of `manifest`.
    pub fn open(&self, manifest: Arc<Manifest>) -> Result<Arc<dyn ChunkStore>, StoreError> {
        (self.open)(manifest)
    }

    /// Whether opening may wait for a disk.
    pub fn is_blocking(&self) -> bool {
        self.is_blocking
    }
}

impl fmt::Debug for StoreOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOpener")
            .field("is_blocking", &self.is_blocking)
            .finish_non_exhaustive()
    }
}
