//! Pulls a build from its bucket with concurrent ranged GETs, hashes its chunks, and makes manifest and store.
//!
//! Invariant: all ranges are of one version of the object, the one that was there when the pull began; an object that is
//! overwritten meanwhile is an error and never a mixture. What the spool has is not asked of S3 again.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cloud::{Buckets, CloudError, ObjectInfo};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use peer::{ChunkPool, ChunkStore, MemoryStore, StoreError};
use signing::TrustedKeys;
use swarm::{Bytes as ByteCount, Hash, Manifest, ManifestError, default_chunk_size};
use tokio::runtime::Handle;

use crate::build_feed::BuildNotice;
use crate::get_turns::{GetTurns, PullTurns};
use crate::signatures;
use crate::spool::{Origin, PullingBuild, SpoolError, SpoolFolder, SpoolStore, WholeBuild};

/// Where a pulled build is kept.
#[derive(Clone, Debug)]
pub enum Spool {
    /// In memory, shared with the hosts of the process.
    Memory(ChunkPool),
    /// In a folder.
    Folder(Arc<SpoolFolder>),
}

/// How to pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Bytes of a chunk; chosen from the build's size where absent.
    pub chunk_size: Option<u32>,
    /// Whose GET is next, among all pulls that share it.
    pub turns: GetTurns,
    /// Where to keep it.
    pub spool: Spool,
    /// Whose builds are seeded; everybody's where absent.
    pub trust: Option<Arc<TrustedKeys>>,
}

/// A build that is here as a whole.
#[derive(Clone)]
pub struct Pulled {
    /// Its chunks.
    pub manifest: Arc<Manifest>,
    /// Their bytes.
    pub store: Arc<dyn ChunkStore>,
    /// The object it was read from.
    pub object: ObjectInfo,
    /// The same store, where it is in a folder.
    pub spooled: Option<Arc<SpoolStore>>,
    /// Who vouches for it, as it came with the object.
    pub signature: Option<String>,
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
    /// Nobody who is trusted vouches for it.
    #[error("the build is refused: {why}")]
    Refused {
        /// Why, as a sentence about it.
        why: String,
    },
    /// The memory in which it is kept.
    #[error("the build could not be kept")]
    Store(#[from] StoreError),
    /// The folder in which it is kept.
    #[error("the build could not be kept")]
    Spool(#[from] SpoolError),
}

/// Pulls the build of `notice`. Dropping the future ends it; what has come stays in the spool folder, and the next pull of the
/// same version goes on from there.
///
/// # Errors
/// Where the object is not there or changes, cannot be read, or does not fit.
pub async fn pull(buckets: &Buckets, notice: &BuildNotice, options: &PullOptions) -> Result<Pulled, PullError> {
    let object = buckets.head(&notice.bucket, &notice.key).await?;
    pull_object(buckets, object, options).await
}

/// The same for a version of an object that somebody has looked at.
///
/// # Errors
/// As [`pull`].
pub async fn pull_object(buckets: &Buckets, object: ObjectInfo, options: &PullOptions) -> Result<Pulled, PullError> {
    let signature = buckets.signature_of(&object).await?;
    let signed = signatures::before_pull(&object, options, signature.as_deref())?;
    // It was signed in chunks of a size: in others it would not be the build that was signed.
    let chunk_size = signed.unwrap_or_else(|| default_chunk_size(ByteCount::new(object.size)));
    // Fails for an empty or impossible build before anything is read.
    Manifest::chunk_count_of(&object.key, ByteCount::new(object.size), chunk_size)?;
    let cut = Cut {
        size: object.size,
        chunk_size,
    };
    let mut pulled = match &options.spool {
        Spool::Memory(pool) => pull_into_memory(buckets, object, options, cut, pool).await?,
        Spool::Folder(folder) => {
            let asked = signed.or(options.chunk_size);
            pull_into_folder(buckets, object, options, (cut, asked), folder).await?
        }
    };
    pulled.vouched_by(signature).await;
    pulled.check(options.trust.as_deref())?;
    Ok(pulled)
}

/// A build that is whole in the spool, as one that was pulled.
pub fn adopt(buckets: &Buckets, build: WholeBuild) -> Pulled {
    let origin = Origin {
        buckets: buckets.clone(),
        runtime: Handle::current(),
    };
    let (manifest, object) = (Arc::clone(&build.manifest), build.object.clone());
    let signature = build.signature.clone();
    let store = Arc::new(SpoolStore::new(build, origin));
    Pulled {
        manifest,
        spooled: Some(Arc::clone(&store)),
        store,
        object,
        signature,
    }
}

async fn pull_into_memory(
    buckets: &Buckets,
    object: ObjectInfo,
    options: &PullOptions,
    cut: Cut,
    pool: &ChunkPool,
) -> Result<Pulled, PullError> {
    let chunks = Arc::new(Mutex::default());
    let all = cut.requests(|_| false);
    let sink = Sink::Memory(Arc::clone(&chunks));
    get(buckets, &object, &options.turns, cut, all, &sink).await?;
    let mut chunks = std::mem::take(&mut *chunks.lock());
    chunks.sort_unstable_by_key(|(chunk, ..)| *chunk);
    let hashes = chunks.iter().map(|(.., hash)| *hash).collect();
    let manifest = Arc::new(cut.manifest(&object.key, hashes)?);
    let store = MemoryStore::new(pool.clone(), Arc::clone(&manifest));
    for (chunk, (_, bytes, _)) in manifest.chunks().zip(chunks) {
        store.keep(chunk, bytes)?;
    }
    Ok(Pulled {
        manifest,
        store: Arc::new(store),
        object,
        spooled: None,
        signature: None,
    })
}

async fn pull_into_folder(
    buckets: &Buckets,
    object: ObjectInfo,
    options: &PullOptions,
    (cut, asked): (Cut, Option<u32>),
    folder: &Arc<SpoolFolder>,
) -> Result<Pulled, PullError> {
    let (opened, known) = (Arc::clone(folder), object.clone());
    let opened = waiting(move || {
        // What was cut otherwise is cut again only where somebody asks for it.
        let fits = |build: &WholeBuild| asked.is_none_or(|chunk_size| chunk_size == build.manifest.chunk_size());
        match opened.whole(&known).filter(fits) {
            Some(whole) => Ok(Opened::Whole(whole)),
            None => opened.begin(&known, cut.chunk_size).map(Opened::Pulling),
        }
    });
    let build = match opened.await? {
        Opened::Whole(whole) => return Ok(adopt(buckets, whole)),
        Opened::Pulling(build) => Arc::new(build),
    };
    let missing = cut.requests(|chunk| build.hash(chunk).is_some());
    let sink = Sink::Folder(Arc::clone(&build));
    let got = get(buckets, &object, &options.turns, cut, missing, &sink).await;
    drop(sink);
    // Writers of a GET that failed beside another one may still be at it.
    let Some(build) = only(build).await else {
        got?;
        return Err(PullError::Spool(SpoolError::BeingPulled {
            bucket: object.bucket,
            key: object.key,
        }));
    };
    if let Err(error) = got {
        // What can be had later goes on from here. Anything else would lie in the way of other builds.
        if !matches!(&error, PullError::Cloud(cloud) if cloud.is_retryable()) {
            waiting(move || build.give_up()).await;
        }
        return Err(error);
    }
    let hashes = (0..cut.count()).filter_map(|chunk| build.hash(chunk)).collect();
    let manifest = Arc::new(cut.manifest(&object.key, hashes)?);
    let whole = waiting(move || build.finish(manifest)).await?;
    Ok(adopt(buckets, whole))
}

enum Opened {
    Whole(WholeBuild),
    Pulling(PullingBuild),
}

/// What an `Arc` holds, as soon as nobody else has it; `None` if that takes long.
async fn only(mut build: Arc<PullingBuild>) -> Option<PullingBuild> {
    for _ in 0..WRITERS_ASKED {
        match Arc::try_unwrap(build) {
            Ok(build) => return Some(build),
            Err(shared) => build = shared,
        }
        tokio::time::sleep(WRITERS_WAIT).await;
    }
    None
}

/// Where the bytes of a pull go.
enum Sink {
    Memory(Arc<Mutex<Vec<HashedChunk>>>),
    Folder(Arc<PullingBuild>),
}

type HashedChunk = (u32, Bytes, Hash);

impl Sink {
    /// Hashes and keeps the chunks from `first` on.
    async fn keep(&self, cut: Cut, first: u32, bytes: Bytes) -> Result<(), PullError> {
        match self {
            Self::Memory(all) => {
                let all = Arc::clone(all);
                waiting(move || {
                    let hashed = (first..).zip(cut.chunks(&bytes)).map(|(chunk, bytes)| {
                        let hash = Hash::of(&bytes);
                        (chunk, bytes, hash)
                    });
                    let hashed: Vec<HashedChunk> = hashed.collect();
                    all.lock().extend(hashed);
                })
                .await;
            }
            Self::Folder(build) => {
                let build = Arc::clone(build);
                waiting(move || build.keep(first, &bytes)).await?;
            }
        }
        Ok(())
    }
}

/// Gets the requests of a pull, each when it is its turn, and hands over what comes.
async fn get(
    buckets: &Buckets,
    object: &ObjectInfo,
    turns: &GetTurns,
    cut: Cut,
    requests: Vec<Range<u32>>,
    sink: &Sink,
) -> Result<(), PullError> {
    let bytes = requests.iter().map(|chunks| cut.bytes(chunks));
    let bytes: u64 = bytes.map(|bytes| bytes.end - bytes.start).sum();
    let at_a_time = turns.count();
    let turns: PullTurns = turns.pull(bytes);
    stream::iter(requests)
        .map(|chunks| {
            let turns = &turns;
            async move {
                let bytes = cut.bytes(&chunks);
                let turn = turns.wait().await;
                let got = buckets.get_range(object, bytes).await?;
                turns.came(got.len() as u64);
                let kept = sink.keep(cut, chunks.start, got).await;
                // Not before they are kept: a disk that is slower than S3 would let bytes pile up in memory.
                drop(turn);
                kept
            }
        })
        .buffer_unordered(at_a_time)
        .try_collect()
        .await
}

/// How an object is cut.
#[derive(Clone, Copy)]
struct Cut {
    size: u64,
    chunk_size: u32,
}

impl Cut {
    fn count(self) -> u32 {
        let count = self.size.div_ceil(u64::from(self.chunk_size));
        u32::try_from(count).expect("at most CHUNKS_MAX, checked when the pull began")
    }

    /// The chunks that are not there, as few requests. A request carries whole chunks, many where they are small.
    fn requests(self, is_there: impl Fn(u32) -> bool) -> Vec<Range<u32>> {
        let most = (REQUEST_SIZE / self.chunk_size).max(1);
        let mut requests: Vec<Range<u32>> = Vec::new();
        for chunk in (0..self.count()).filter(|chunk| !is_there(*chunk)) {
            match requests.last_mut() {
                Some(last) if last.end == chunk && chunk - last.start < most => last.end += 1,
                _ => requests.push(chunk..chunk + 1),
            }
        }
        requests
    }

    fn bytes(self, chunks: &Range<u32>) -> Range<u64> {
        let start = |chunk: u32| (u64::from(chunk) * u64::from(self.chunk_size)).min(self.size);
        start(chunks.start)..start(chunks.end)
    }

    fn chunks(self, bytes: &Bytes) -> impl Iterator<Item = Bytes> + use<'_> {
        let length = self.chunk_size as usize;
        (0..bytes.len())
            .step_by(length)
            .map(move |at| bytes.slice(at..(at + length).min(bytes.len())))
    }

    fn manifest(self, key: &str, hashes: Vec<Hash>) -> Result<Manifest, ManifestError> {
        Manifest::new(key, ByteCount::new(self.size), self.chunk_size, hashes)
    }
}

/// Runs what may wait for the disk, or takes long, on a thread that may.
pub(crate) async fn waiting<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run)
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Bytes of one ranged GET where chunks are smaller: large enough for the latency of S3 not to matter.
const REQUEST_SIZE: u32 = 8 << 20;
/// A pull that failed looks so often whether its last writers have ended …
const WRITERS_ASKED: u32 = 500;
/// … with this between.
const WRITERS_WAIT: std::time::Duration = std::time::Duration::from_millis(10);
