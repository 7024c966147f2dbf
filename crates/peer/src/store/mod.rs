//! Where a member keeps the chunks of its build. Invariant: only verified bytes are ever kept, served or shared.
//!
//! A chunk arrives through a [`ChunkSink`], which hashes it on its way; the store is told only of whole, right chunks.

mod disk;
mod faulty;
mod gate;
mod memory;
mod opener;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use swarm::{Bitfield, ChunkIndex, Hash, Manifest};

pub use disk::{DiskOptions, DiskStore, Placed};
pub use faulty::{Claiming, ClaimingStore, Corrupt, CorruptStore, Faulty, Stalling, StallingStore};
pub use gate::Gate;
pub use memory::{ChunkPool, MemoryStore};
pub use opener::StoreOpener;

/// The chunks of one member for one build.
pub trait ChunkStore: Send + Sync {
    /// The chunks that are there from before, verified.
    fn held(&self) -> Bitfield;

    /// The bytes of a chunk that is held, and right. An error of [`StoreError::Lost`] says, once, that they are not there any more; from
    /// then on the chunk is not held, and can be kept again.
    fn read(&self, chunk: ChunkIndex) -> Result<Bytes, StoreError>;

    /// The bytes of a chunk that came a moment ago and are still in memory, verified: who asks for these need not wait for a disk.
    fn at_hand(&self, _chunk: ChunkIndex) -> Option<Bytes> {
        None
    }

    /// What a neighbour's request for a chunk gets.
    fn answer(&self, _chunk: ChunkIndex) -> Answer {
        Answer::Chunk
    }

    /// The bytes of a chunk if another member of this process has them: then only the hash of what arrives is needed.
    fn shared(&self, _chunk: ChunkIndex) -> Option<Bytes> {
        None
    }

    /// Keeps a verified chunk, also one that was held and lost.
    fn keep(&self, chunk: ChunkIndex, bytes: Bytes) -> Result<(), StoreError>;

    /// Every chunk is kept: makes the build visible under its name. An error where a chunk is missing.
    fn finish(&self) -> Result<(), StoreError>;

    /// Looks, for a moment, whether more chunks can be had on this machine and whether those that are held are still there. To be
    /// called after the store was opened and after a loss, until there is no more to look at, by one thread at a time.
    fn look(&self) -> Looked {
        Looked::default()
    }

    /// Bytes of chunks that were found on this machine in place of fetched.
    fn reused(&self) -> u64 {
        0
    }

    /// Whether calls may wait for a disk.
    fn is_blocking(&self) -> bool;
}

/// What a request for a chunk gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// The chunk.
    #[default]
    Chunk,
    /// A word that there is too much to do; it may be asked again later.
    Busy,
    /// Nothing: the request lies until its sender gives up on it.
    Nothing,
}

/// What a store has come across.
#[derive(Debug, Default)]
pub struct Looked {
    /// Chunks that are held now and were not.
    pub found: Vec<ChunkIndex>,
    /// Chunks that are not held any more, each with [`StoreError::Lost`].
    pub lost: Vec<(ChunkIndex, StoreError)>,
    /// Whether there is more to look at.
    pub more: bool,
}

/// Why a store cannot do what it is asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("failed to {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The target exists and is not a file, or names none.
    #[error("{} is {what}; expected a file name for the build", path.display())]
    TargetIsNotFile {
        /// The target.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// The build was called complete and is not: our own bug, which must not reach the target.
    #[error("{missing} of {chunks} chunks are missing")]
    Incomplete {
        /// Chunks that are not held.
        missing: u32,
        /// Chunks of the build.
        chunks: u32,
    },
    /// Who is asked whether the build may be put in place said no.
    #[error("{why}")]
    Refused {
        /// The answer.
        why: String,
    },
    /// Somebody else writes to the target.
    #[error(
        "{} is in use by {}, which is writing a build to it; wait until it has ended, or name another file",
        path.display(), process_name(*process)
    )]
    InUse {
        /// The target.
        path: PathBuf,
        /// The process, where it has said which it is.
        process: Option<u32>,
    },
    /// The part file was removed, replaced or cut while the build was written to it.
    #[error(
        "{} is not the file any more that the build was written to; what else writes there? Start again to fetch the build anew",
        path.display()
    )]
    PartReplaced {
        /// The part file.
        path: PathBuf,
    },
    /// A chunk that was held is not there any more. It is not held from now on.
    #[error("{chunk} of {} {how}", path.display())]
    Lost {
        /// The chunk.
        chunk: ChunkIndex,
        /// The file it was in.
        path: PathBuf,
        /// What is the matter with it.
        how: &'static str,
        /// What the system says, where it says something.
        source: Option<io::Error>,
    },
    /// A chunk is lost as often as it is written.
    #[error("{chunk} of {} was lost {losses} times; the disk does not keep it, or something else writes to the file", path.display())]
    DoesNotStay {
        /// The chunk.
        chunk: ChunkIndex,
        /// The build's file.
        path: PathBuf,
        /// How often it was lost.
        losses: u32,
    },
    /// A chunk that is not held was asked for: our own bug, but no reason to go down.
    #[error("{chunk} is not held")]
    NotHeld {
        /// The chunk.
        chunk: ChunkIndex,
    },
}

fn process_name(process: Option<u32>) -> String {
    process.map_or_else(|| "another process".to_owned(), |process| format!("process {process}"))
}

/// What became of a chunk that has arrived.
#[derive(Debug)]
pub enum Received {
    /// Verified and kept.
    Stored,
    /// The hash or the length is wrong; nothing was kept.
    Corrupt,
    /// It is right, but the store failed.
    Failed(StoreError),
}

/// A chunk on its way in: hashed as it comes, kept when it is right.
pub struct ChunkSink {
    chunk: ChunkIndex,
    expected: Hash,
    length: u32,
    received: u32,
    hasher: Box<blake3::Hasher>,
    /// The bytes, where nobody in this process has them yet.
    buffer: Option<Vec<u8>>,
    shared: Option<Bytes>,
    store: Arc<dyn ChunkStore>,
}

impl ChunkSink {
    /// A sink for `chunk` of the build of `manifest`.
    pub fn new(store: Arc<dyn ChunkStore>, manifest: &Manifest, chunk: ChunkIndex) -> Self {
        let shared = store.shared(chunk);
        Self {
            chunk,
            expected: manifest.hash(chunk),
            length: manifest.length(chunk),
            received: 0,
            hasher: Box::new(blake3::Hasher::new()),
            buffer: shared.is_none().then(Vec::new),
            shared,
            store,
        }
    }

    /// The chunk.
    pub fn chunk(&self) -> ChunkIndex {
        self.chunk
    }

    /// Whether [`ChunkSink::finish`] may wait for a disk.
    pub fn is_blocking(&self) -> bool {
        self.store.is_blocking()
    }

    /// Bytes received so far.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Whether all bytes are here.
    pub fn is_whole(&self) -> bool {
        self.received == self.length
    }

    /// Takes the next bytes. `false` where they are more than the chunk has; nothing is taken then.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        let total = self.received as usize + bytes.len();
        if total > self.length as usize {
            return false;
        }
        self.hasher.update(bytes);
        if let Some(buffer) = &mut self.buffer {
            if buffer.is_empty() {
                buffer.reserve_exact(self.length as usize);
            }
            buffer.extend_from_slice(bytes);
        }
        self.received = u32::try_from(total).expect("at most the length, a u32");
        true
    }

    /// Verifies and keeps the chunk.
    pub fn finish(self) -> Received {
        if !self.is_whole() || Hash::from_bytes(*self.hasher.finalize().as_bytes()) != self.expected {
            return Received::Corrupt;
        }
        let bytes = match (self.shared, self.buffer) {
            (Some(shared), _) => shared,
            (None, buffer) => Bytes::from(buffer.unwrap_or_default()),
        };
        match self.store.keep(self.chunk, bytes) {
            Ok(()) => Received::Stored,
            Err(error) => Received::Failed(error),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn build() -> (Vec<u8>, Arc<Manifest>) {
        let data: Vec<u8> = (0..1000_u32).flat_map(u32::to_le_bytes).collect();
        let manifest = Manifest::of("b", &data, 1024).unwrap();
        (data, Arc::new(manifest))
    }

    #[test]
    fn wrong_short_and_long_chunks_are_never_kept() {
        let (data, manifest) = build();
        let pool = ChunkPool::default();
        let store: Arc<dyn ChunkStore> = Arc::new(MemoryStore::new(pool.clone(), Arc::clone(&manifest)));
        let chunk = manifest.chunk(0).unwrap();
        let sink = || ChunkSink::new(Arc::clone(&store), &manifest, chunk);
        let mut wrong = sink();
        assert!(wrong.write(&[0; 1024]));
        assert!(matches!(wrong.finish(), Received::Corrupt));
        let mut short = sink();
        assert!(short.write(&data[..1000]));
        assert!(matches!(short.finish(), Received::Corrupt));
        assert!(!sink().write(&data[..1025]));
        assert!(matches!(store.read(chunk), Err(StoreError::NotHeld { .. })));
        assert_eq!(pool.len(), 0);
        let mut right = sink();
        assert!(right.write(&data[..500]) && right.write(&data[500..1024]));
        assert!(matches!(right.finish(), Received::Stored));
        assert_eq!(store.read(chunk).unwrap(), data[..1024]);
    }
}
