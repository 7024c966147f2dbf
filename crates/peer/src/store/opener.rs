//! How a member gets its store: it is started before it knows the build, so it is given the way and not the store.
//!
//! What is wrong with a store is put around it from outside, by [`StoreOpener::decorated`]: a node cannot tell.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use swarm::Manifest;

use super::{ChunkPool, ChunkStore, DiskOptions, DiskStore, Gate, MemoryStore, StoreError};

/// Opens the store of one member as soon as its build is known.
#[derive(Clone)]
pub struct StoreOpener {
    kind: Kind,
    decorations: Vec<Arc<Decoration>>,
}

#[derive(Clone, Debug)]
enum Kind {
    Memory(ChunkPool),
    Disk { target: PathBuf, options: DiskOptions },
}

type Decoration = dyn Fn(Arc<dyn ChunkStore>) -> Arc<dyn ChunkStore> + Send + Sync;

impl StoreOpener {
    /// A store in memory, which shares equal chunks with all others of `pool`.
    pub fn in_memory(pool: ChunkPool) -> Self {
        Self::of(Kind::Memory(pool))
    }

    /// A store in the file `target`.
    pub fn on_disk(target: PathBuf) -> Self {
        let options = DiskOptions::default();
        Self::of(Kind::Disk { target, options })
    }

    fn of(kind: Kind) -> Self {
        let decorations = Vec::new();
        Self { kind, decorations }
    }

    /// The same, where the file is to have these permission bits ([`DiskOptions::mode`]). Changes nothing in memory.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        if let Kind::Disk { options, .. } = &mut self.kind {
            options.mode = Some(mode);
        }
        self
    }

    /// The same, where these files may have chunks of the build too ([`DiskOptions::reusing`]). Changes nothing in memory.
    #[must_use]
    pub fn reusing(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        if let Kind::Disk { options, .. } = &mut self.kind {
            options.reusing.extend(paths);
        }
        self
    }

    /// The same, where a note of this label stands beside the file until its owner forgets it ([`DiskOptions::label`]). Changes nothing
    /// in memory.
    #[must_use]
    pub fn labelled(mut self, label: String) -> Self {
        if let Kind::Disk { options, .. } = &mut self.kind {
            options.label = Some(label);
        }
        self
    }

    /// The same, where `gate` is asked before the build is put in place ([`DiskOptions::gate`]). Changes nothing in memory.
    #[must_use]
    pub fn gated(mut self, gate: Gate) -> Self {
        if let Kind::Disk { options, .. } = &mut self.kind {
            options.gate = Some(gate);
        }
        self
    }

    /// The same with `decorate` around the store.
    #[must_use]
    pub fn decorated(
        mut self,
        decorate: impl Fn(Arc<dyn ChunkStore>) -> Arc<dyn ChunkStore> + Send + Sync + 'static,
    ) -> Self {
        self.decorations.push(Arc::new(decorate));
        self
    }

    /// Opens the store for the build of `manifest`.
    pub fn open(&self, manifest: Arc<Manifest>) -> Result<Arc<dyn ChunkStore>, StoreError> {
        let store: Arc<dyn ChunkStore> = match &self.kind {
            Kind::Memory(pool) => Arc::new(MemoryStore::new(pool.clone(), manifest)),
            Kind::Disk { target, options } => Arc::new(DiskStore::open_with(target, manifest, options)?),
        };
        let decorations = self.decorations.iter();
        Ok(decorations.fold(store, |store, decorate| decorate(store)))
    }

    /// Whether opening may wait for a disk.
    pub fn is_blocking(&self) -> bool {
        matches!(self.kind, Kind::Disk { .. })
    }
}

impl fmt::Debug for StoreOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOpener")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
