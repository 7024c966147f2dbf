//! Pulls a build from its bucket with concurrent ranged GETs, hashes its chunks, and makes manifest and store.
//!
//! Invariant: all ranges are of one version of the object, the one that was there when the pull began; an object that is
//! overwritten meanwhile is an error and never a mixture.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cloud::{Buckets, CloudError, ObjectInfo};
use futures::{StreamExt, TryStreamExt, stream};
use peer::{ChunkPool, ChunkStore, DiskStore, MemoryStore, StoreError};
use swarm::{Bytes as ByteCount, Hash, Manifest, ManifestError, default_chunk_size};

use crate::build_feed::BuildNotice;

/// Where a pulled build is kept.
#[derive(Clone, Debug)]
pub enum Spool {
    /// In memory, shared with the hosts of the process.
    Memory(ChunkPool),
    /// In a file of this folder.
    Folder(PathBuf),
}

/// How to pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Bytes of a chunk; chosen from the build's size where absent.
    pub chunk_size: Option<u32>,
    /// Ranged GETs at a time.
    pub requests: usize,
    /// Where to keep it.
    pub spool: Spool,
}

/// A build that is here as a whole.
pub struct Pulled {
    /// Its chunks.
    pub manifest: Arc<Manifest>,
    /// Their bytes.
    pub store: Arc<dyn ChunkStore>,
    /// The object it was read from.
    pub object: ObjectInfo,
}

/// Why a build is not here.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The bucket.
    #[error("the build could not be read")]
    Cloud(#[from] CloudError),
    /// The build cannot be cut into chunks.
    #[error("the build cannot be seeded")]
    Manifest(#[from] ManifestError),
    /// The disk.
    #[error("the build could not be kept")]
    Store(#[from] StoreError),
    /// The disk, while it was being written.
    #[error("failed to write {}", path.display())]
    Spool {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Pulls the build of `notice`. Dropping the future ends it; a part file may be left in the spool folder and is
/// overwritten by the next pull.
pub async fn pull(buckets: &Buckets, notice: &BuildNotice, options: &PullOptions) -> Result<Pulled, PullError> {
    let object = buckets.head(&notice.bucket, &notice.key).await?;
    let chunk_size = options
        .chunk_size
        .unwrap_or_else(|| default_chunk_size(ByteCount::new(object.size)));
    // Fails for an empty or impossible build before anything is read.
    let chunks = Manifest::chunk_count_of(&notice.key, ByteCount::new(object.size), chunk_size)?;
    // A request carries whole chunks, many where they are small.
    let chunks_per_request = u64::from((REQUEST_SIZE / chunk_size).max(1));
    let spool = open_spool(options, notice, object.size)?;
    let requests = chunks.div_ceil(chunks_per_request);
    let parts: Vec<Part> = stream::iter(0..requests)
        .map(|request| {
            let start = request * chunks_per_request * u64::from(chunk_size);
            let end = (start + chunks_per_request * u64::from(chunk_size)).min(object.size);
            let (object, spool) = (&object, &spool);
            async move {
                let bytes = buckets.get_range(object, start..end).await?;
                keep_part(spool, start, bytes, chunk_size).await
            }
        })
        .buffered(options.requests.max(1))
        .try_collect()
        .await?;
    let hashes = parts.iter().flat_map(|part| part.hashes.iter().copied()).collect();
    let manifest = Arc::new(Manifest::new(
        &notice.key,
        ByteCount::new(object.size),
        chunk_size,
        hashes,
    )?);
    let store = finish_spool(spool, &manifest, parts)?;
    Ok(Pulled {
        manifest,
        store,
        object,
    })
}

/// What one request has brought.
struct Part {
    hashes: Vec<Hash>,
    /// The chunks, where they are kept in memory.
    chunks: Vec<Bytes>,
}

enum OpenSpool {
    Memory(ChunkPool),
    File {
        file: Arc<File>,
        part: PathBuf,
        target: PathBuf,
    },
}

fn open_spool(options: &PullOptions, notice: &BuildNotice, size: u64) -> Result<OpenSpool, PullError> {
    let folder = match &options.spool {
        Spool::Memory(pool) => return Ok(OpenSpool::Memory(pool.clone())),
        Spool::Folder(folder) => folder,
    };
    let target = folder.join(&notice.key);
    let mut name = target.as_os_str().to_owned();
    name.push(".pull");
    let part = PathBuf::from(name);
    let failed = |source| PullError::Spool {
        path: part.clone(),
        source,
    };
    std::fs::create_dir_all(part.parent().unwrap_or(folder)).map_err(failed)?;
    let mut options = File::options();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&part)
        .map_err(failed)?;
    file.set_len(size).map_err(failed)?;
    let file = Arc::new(file);
    Ok(OpenSpool::File { file, part, target })
}

/// Hashes the chunks of a part and keeps them, on a thread that may wait.
async fn keep_part(spool: &OpenSpool, start: u64, bytes: Bytes, chunk_size: u32) -> Result<Part, PullError> {
    let file = match spool {
        OpenSpool::Memory(_) => None,
        OpenSpool::File { file, part, .. } => Some((Arc::clone(file), part.clone())),
    };
    let kept = tokio::task::spawn_blocking(move || {
        let hashes = bytes.chunks(chunk_size as usize).map(Hash::of).collect();
        let Some((file, path)) = file else {
            let cut = (0..bytes.len()).step_by(chunk_size as usize);
            let chunks = cut
                .map(|at| bytes.slice(at..(at + chunk_size as usize).min(bytes.len())))
                .collect();
            return Ok(Part { hashes, chunks });
        };
        file.write_all_at(&bytes, start)
            .map_err(|source| PullError::Spool { path, source })?;
        let chunks = Vec::new();
        Ok(Part { hashes, chunks })
    });
    kept.await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn finish_spool(
    spool: OpenSpool,
    manifest: &Arc<Manifest>,
    parts: Vec<Part>,
) -> Result<Arc<dyn ChunkStore>, PullError> {
    match spool {
        OpenSpool::Memory(pool) => {
            let store = MemoryStore::new(pool, Arc::clone(manifest));
            let chunks = parts.into_iter().flat_map(|part| part.chunks);
            for (chunk, bytes) in manifest.chunks().zip(chunks) {
                store.keep(chunk, bytes)?;
            }
            Ok(Arc::new(store))
        }
        OpenSpool::File { file, part, target } => {
            let failed = |source| PullError::Spool {
                path: part.clone(),
                source,
            };
            file.sync_all().map_err(failed)?;
            std::fs::rename(&part, &target).map_err(failed)?;
            Ok(Arc::new(DiskStore::adopt(&target, Arc::clone(manifest))?))
        }
    }
}

/// Bytes of one ranged GET where chunks are smaller: large enough for the latency of S3 not to matter.
const REQUEST_SIZE: u32 = 8 << 20;
