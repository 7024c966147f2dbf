//! The chunks of a build that is whole in the spool. Invariant: what is read has the hash that S3's bytes had. A chunk that has
//! changed on disk is read from S3 again, written, and given to who asked for it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloud::{Buckets, CloudError};
use parking_lot::Mutex;
use peer::{ChunkStore, Looked, StoreError, read_at};
use program::chain;
use swarm::{Bitfield, ChunkIndex, Hash};
use tokio::runtime::Handle;

use super::WholeBuild;

/// Where a build's bytes come from if they are wrong here.
#[derive(Debug)]
pub struct Origin {
    /// The buckets.
    pub buckets: Buckets,
    /// What reads from them while a store's reader waits.
    pub runtime: Handle,
}

/// The store of a build that is whole.
#[derive(Debug)]
pub struct SpoolStore {
    build: WholeBuild,
    origin: Origin,
    /// One chunk is mended at a time: a file that was cut has many, and S3 is slower than the disk.
    damage: Mutex<Damage>,
}

#[derive(Debug, Default)]
struct Damage {
    /// Chunks that were found wrong once: each is told once.
    told: BTreeSet<ChunkIndex>,
    /// Chunks that nobody could give.
    gone: BTreeMap<ChunkIndex, Gone>,
}

#[derive(Debug)]
struct Gone {
    tried_at: Instant,
    why: String,
    /// Whether a reader was told that it is lost: the next ones hear that it is not held.
    is_told: bool,
}

impl SpoolStore {
    /// A store of `build`.
    pub fn new(build: WholeBuild, origin: Origin) -> Self {
        Self {
            build,
            origin,
            damage: Mutex::default(),
        }
    }

    /// The build.
    pub fn build(&self) -> &WholeBuild {
        &self.build
    }

    /// What is on disk, if it is right.
    fn look_at(&self, chunk: ChunkIndex) -> Result<Bytes, String> {
        let manifest = &self.build.manifest;
        let (length, offset) = (manifest.length(chunk) as usize, manifest.offset(chunk));
        let bytes = read_at(&self.build.file, length, offset).map_err(|error| error.to_string())?;
        if Hash::of(&bytes) != manifest.hash(chunk) {
            return Err("other bytes than were pulled".to_owned());
        }
        Ok(bytes.into())
    }

    /// Whether a chunk is right, after what can be done for it. No reader is told.
    pub fn is_right(&self, chunk: ChunkIndex) -> bool {
        self.look_at(chunk)
            .or_else(|problem| self.mend(chunk, &problem))
            .is_ok()
    }

    /// Asks S3 for a chunk that is wrong on disk, unless that was in vain a short while ago.
    fn mend(&self, chunk: ChunkIndex, problem: &str) -> Result<Bytes, StoreError> {
        let mut damage = self.damage.lock();
        if damage
            .gone
            .get(&chunk)
            .is_some_and(|gone| gone.tried_at.elapsed() < GONE_FOR)
        {
            return Err(StoreError::NotHeld { chunk });
        }
        // Somebody else may have mended it meanwhile.
        if let Ok(bytes) = self.look_at(chunk) {
            damage.gone.remove(&chunk);
            return Ok(bytes);
        }
        let (key, file) = (&self.build.object.key, self.build.path.display());
        if damage.told.insert(chunk) {
            tracing::warn!(key, %chunk, %file, problem, "a chunk has changed on disk; it is pulled again");
        }
        match self.pull(chunk) {
            Ok(bytes) => {
                damage.gone.remove(&chunk);
                let offset = self.build.manifest.offset(chunk);
                if let Err(error) = self.build.file.write_all_at(&bytes, offset) {
                    tracing::warn!(key, %chunk, %file, %error, "a chunk that was pulled again cannot be written");
                }
                Ok(bytes)
            }
            Err(why) => {
                let is_told = damage.gone.get(&chunk).is_some_and(|gone| gone.is_told);
                let tried_at = Instant::now();
                let gone = Gone { tried_at, why, is_told };
                damage.gone.insert(chunk, gone);
                Err(StoreError::NotHeld { chunk })
            }
        }
    }

    /// What a reader is told of a chunk that nobody can give: the first one why.
    fn lost(&self, chunk: ChunkIndex) -> StoreError {
        let mut damage = self.damage.lock();
        let Some(gone) = damage.gone.get_mut(&chunk).filter(|gone| !gone.is_told) else {
            return StoreError::NotHeld { chunk };
        };
        gone.is_told = true;
        StoreError::Lost {
            chunk,
            path: self.build.path.clone(),
            how: "has changed and cannot be pulled again; hosts that have it give it to the others",
            source: Some(io::Error::other(gone.why.clone())),
        }
    }

    /// Reads a chunk of the very object from S3.
    fn pull(&self, chunk: ChunkIndex) -> Result<Bytes, String> {
        let manifest = &self.build.manifest;
        let start = manifest.offset(chunk);
        let range = start..start + u64::from(manifest.length(chunk));
        let (buckets, object) = (self.origin.buckets.clone(), self.build.object.clone());
        let (told, answer) = sync_channel::<Result<Bytes, CloudError>>(1);
        // On a task of its own: whoever reads may do so on a thread of the runtime, and waits here.
        let task = self.origin.runtime.spawn(async move {
            let _ = told.send(buckets.get_range(&object, range).await);
        });
        match answer.recv_timeout(PATIENCE) {
            Ok(Ok(bytes)) if Hash::of(&bytes) == manifest.hash(chunk) => Ok(bytes),
            Ok(Ok(_)) => Err("S3 has other bytes under the same ETag".to_owned()),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => {
                task.abort();
                Err(format!("S3 has not answered for {} s", PATIENCE.as_secs()))
            }
        }
    }
}

impl ChunkStore for SpoolStore {
    fn held(&self) -> Bitfield {
        Bitfield::full(self.build.manifest.chunk_count())
    }

    fn read(&self, chunk: ChunkIndex) -> Result<Bytes, StoreError> {
        let read = self.look_at(chunk).or_else(|problem| self.mend(chunk, &problem));
        read.map_err(|_not_held| self.lost(chunk))
    }

    /// Asks S3 again, now and then, for what it did not give.
    fn look(&self) -> Looked {
        if self.damage.lock().gone.is_empty() {
            return Looked::default();
        }
        std::thread::sleep(LOOK_EVERY);
        let gone: Vec<ChunkIndex> = self.damage.lock().gone.keys().copied().collect();
        let found = gone.into_iter().filter(|chunk| self.is_right(*chunk)).collect();
        Looked {
            found,
            lost: Vec::new(),
            more: !self.damage.lock().gone.is_empty(),
        }
    }

    /// Bytes that were verified and come from somewhere else, for a chunk that is wrong here.
    fn keep(&self, chunk: ChunkIndex, bytes: Bytes) -> Result<(), StoreError> {
        let length = self.build.manifest.length(chunk) as usize;
        // One byte more would be written over the next chunk.
        assert_eq!(bytes.len(), length, "the length of {chunk}");
        let written = self.build.file.write_all_at(&bytes, self.build.manifest.offset(chunk));
        written.map_err(|source| StoreError::Io {
            action: "write",
            path: self.build.path.clone(),
            source,
        })?;
        self.damage.lock().gone.remove(&chunk);
        Ok(())
    }

    fn finish(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_blocking(&self) -> bool {
        true
    }
}

/// S3 is not waited for longer than this while a host waits for the chunk.
const PATIENCE: Duration = Duration::from_secs(10);
/// A chunk that nobody could give is asked for again after this.
const GONE_FOR: Duration = Duration::from_secs(30);
/// Between looks at what is gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);
