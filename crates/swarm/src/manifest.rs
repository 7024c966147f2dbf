//! What a build consists of: its chunks, their lengths and BLAKE3 hashes, and the root hash over all of it.
//!
//! Invariant: a [`Manifest`] has at least one chunk, as many hashes as chunks, and its root is the hash of
//! its content. Holds no payload.

use std::fmt;

use bytes::Bytes as ByteBuffer;

use crate::units::{Bytes, ChunkIndex};

/// A BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// A hash from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From 64 lower-case hexadecimal digits, as its `Display` writes them; `None` where the text is anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if !rest.is_empty() || !text.bytes().all(|byte| lower(&byte)) {
            return None;
        }
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        bytes?.try_into().ok().map(Self)
    }

    /// The BLAKE3 hash of `data`.
    pub fn of(data: &[u8]) -> Self {
        Self(*blake3::hash(data).as_bytes())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// What a host must know to tell the right manifest from a wrong one. It comes from the seeder itself,
/// whose identity the transport proves; everything else is then checked against `root`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// The build's object key.
    pub build_id: String,
    /// Hash over the manifest.
    pub root: Hash,
    /// Who vouches for it, as a [`crate::Verifier`] reads it: at most [`crate::wire::SIGNATURE_LENGTH_MAX`] bytes, none where nobody does.
    pub signature: ByteBuffer,
}

/// The chunks of one build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    build_id: String,
    size: Bytes,
    chunk_size: u32,
    hashes: Vec<Hash>,
    root: Hash,
}

/// Why a manifest cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A build without bytes has nothing to distribute.
    #[error("build {build_id} is empty; expected at least one byte")]
    EmptyBuild {
        /// The build.
        build_id: String,
    },
    /// The chunk size is out of range.
    #[error("chunk size {chunk_size} is out of range; expected {CHUNK_SIZE_MIN} to {CHUNK_SIZE_MAX} bytes")]
    ChunkSize {
        /// The size asked for, in bytes.
        chunk_size: u64,
    },
    /// More chunks than the protocol carries.
    #[error("{chunks} chunks are more than {CHUNKS_MAX}; take larger chunks")]
    TooManyChunks {
        /// How many there would be.
        chunks: u64,
    },
    /// Not one hash per chunk.
    #[error("{hashes} hashes for {chunks} chunks")]
    HashCount {
        /// Chunks by size.
        chunks: u64,
        /// Hashes given.
        hashes: usize,
    },
    /// The build id is empty or too long.
    #[error("build id of {length} bytes; expected 1 to {BUILD_ID_LENGTH_MAX}")]
    BuildId {
        /// Its length.
        length: usize,
    },
}

impl Manifest {
    /// A manifest from the hashes of a build's chunks in order. `chunk_size` is in bytes; the last chunk may be shorter.
    pub fn new(
        build_id: impl Into<String>,
        size: Bytes,
        chunk_size: u32,
        hashes: Vec<Hash>,
    ) -> Result<Self, ManifestError> {
        let build_id = build_id.into();
        let chunks = chunk_count(&build_id, size, chunk_size)?;
        if hashes.len() as u64 != chunks {
            return Err(ManifestError::HashCount {
                chunks,
                hashes: hashes.len(),
            });
        }
        let root = root_hash(&build_id, size, chunk_size, &hashes);
        Ok(Self {
            build_id,
            size,
            chunk_size,
            hashes,
            root,
        })
    }

    /// The manifest of a build that is in memory.
    pub fn of(build_id: impl Into<String>, data: &[u8], chunk_size: u32) -> Result<Self, ManifestError> {
        let build_id = build_id.into();
        let size = Bytes::new(data.len() as u64);
        chunk_count(&build_id, size, chunk_size)?;
        let hashes = data.chunks(chunk_size as usize).map(Hash::of).collect();
        Self::new(build_id, size, chunk_size, hashes)
    }

    /// How many chunks a build of this size has, or why it can have none.
    pub fn chunk_count_of(build_id: &str, size: Bytes, chunk_size: u32) -> Result<u64, ManifestError> {
        chunk_count(build_id, size, chunk_size)
    }

    /// The build's object key.
    pub fn build_id(&self) -> &str {
        &self.build_id
    }

    /// The build's size.
    pub const fn size(&self) -> Bytes {
        self.size
    }

    /// The length of every chunk but perhaps the last, in bytes.
    pub const fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// The hash over build id, sizes and chunk hashes.
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// The chunk hashes in order.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// What the seeder tells its hosts about this build, where nobody vouches for it.
    pub fn info(&self) -> BuildInfo {
        BuildInfo {
            build_id: self.build_id.clone(),
            root: self.root,
            signature: ByteBuffer::new(),
        }
    }

    /// How many chunks there are, at least 1.
    pub fn chunk_count(&self) -> u32 {
        u32::try_from(self.hashes.len()).expect("at most CHUNKS_MAX, checked when made")
    }

    /// The chunk at `index`, if there is one.
    pub fn chunk(&self, index: u32) -> Option<ChunkIndex> {
        (index < self.chunk_count()).then(|| ChunkIndex::new(index))
    }

    /// All chunks in order.
    pub fn chunks(&self) -> impl DoubleEndedIterator<Item = ChunkIndex> + use<> {
        (0..self.chunk_count()).map(ChunkIndex::new)
    }

    /// Where `chunk` begins in the build, in bytes.
    pub fn offset(&self, chunk: ChunkIndex) -> u64 {
        u64::from(chunk.get()) * u64::from(self.chunk_size)
    }

    /// The length of `chunk` in bytes.
    pub fn length(&self, chunk: ChunkIndex) -> u32 {
        let rest = self.size.get() - self.offset(chunk);
        u32::try_from(rest).map_or(self.chunk_size, |rest| rest.min(self.chunk_size))
    }

    /// The hash that the bytes of `chunk` must have.
    pub fn hash(&self, chunk: ChunkIndex) -> Hash {
        self.hashes[chunk.as_usize()]
    }
}

/// A chunk size for a build of `size`: the smallest power of two that gives at most 2,048 chunks where it is 256 KiB or more, and at most 1,024 where it
/// is less; from 64 KiB to 16 MiB.
///
/// The more chunks the fuller links are: where they are equal both ways a build of twice as many exceeds the bound by a third less. Against that stand some
/// 16 µs of processor time a chunk, a ninth of what 128 KiB take. `docs/scheduling.md` has the measurements.
///
/// Seeders of one build are to come to the same size, so they are to be of one release where it is not signed.
pub fn default_chunk_size(size: Bytes) -> u32 {
    const CHUNKS_OF_SMALL: u64 = 1024;
    const SMALL: u64 = 256 << 10;
    const CHUNKS_OF_LARGE: u64 = 2048;
    const SMALLEST: u64 = 64 << 10;
    const LARGEST: u64 = 16 << 20;
    let that_gives = |chunks: u64| size.get().div_ceil(chunks).clamp(SMALLEST, LARGEST).next_power_of_two();
    let chunk_size = that_gives(CHUNKS_OF_LARGE).max(that_gives(CHUNKS_OF_SMALL).min(SMALL));
    u32::try_from(chunk_size).expect("clamped to 16 MiB")
}

fn chunk_count(build_id: &str, size: Bytes, chunk_size: u32) -> Result<u64, ManifestError> {
    if build_id.is_empty() || build_id.len() > BUILD_ID_LENGTH_MAX {
        return Err(ManifestError::BuildId { length: build_id.len() });
    }
    if size.get() == 0 {
        return Err(ManifestError::EmptyBuild {
            build_id: build_id.to_owned(),
        });
    }
    if !(CHUNK_SIZE_MIN..=CHUNK_SIZE_MAX).contains(&chunk_size) {
        return Err(ManifestError::ChunkSize {
            chunk_size: chunk_size.into(),
        });
    }
    let chunks = size.get().div_ceil(chunk_size.into());
    if chunks > CHUNKS_MAX.into() {
        return Err(ManifestError::TooManyChunks { chunks });
    }
    Ok(chunks)
}

fn root_hash(build_id: &str, size: Bytes, chunk_size: u32, hashes: &[Hash]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key("fleetcast 1 manifest root");
    hasher.update(&(build_id.len() as u64).to_le_bytes());
    hasher.update(build_id.as_bytes());
    hasher.update(&size.get().to_le_bytes());
    hasher.update(&chunk_size.to_le_bytes());
    for hash in hashes {
        hasher.update(hash.as_bytes());
    }
    Hash(*hasher.finalize().as_bytes())
}

/// Chunks of a build at most: keeps a manifest (32 bytes a chunk) within one frame of the wire.
pub const CHUNKS_MAX: u32 = 65_536;
/// Bytes of a chunk at least. Smaller ones make sense only in tests.
pub const CHUNK_SIZE_MIN: u32 = 16;
/// Bytes of a chunk at most, so that a lost chunk is cheap to fetch again.
pub const CHUNK_SIZE_MAX: u32 = 64 << 20;
/// Bytes of a build id at most: the length of an S3 key.
pub const BUILD_ID_LENGTH_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_written_and_nothing_else_is_one() {
        let hash = Hash::of(b"x");
        assert_eq!(Hash::from_hex(&hash.to_string()), Some(hash));
        for text in [
            "",
            "v1",
            &"0A".repeat(32),
            &"0a".repeat(31),
            &"0a".repeat(33),
            &"+a".repeat(32),
            &"é".repeat(32),
        ] {
            assert_eq!(Hash::from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_chunk_is_what_is_left() {
        let manifest = Manifest::of("b", &[7; 100], 64).unwrap();
        let lengths: Vec<u32> = manifest.chunks().map(|c| manifest.length(c)).collect();
        assert_eq!(lengths, [64, 36]);
        assert_eq!(manifest.chunk(2), None);
        assert_eq!(manifest.offset(manifest.chunk(1).unwrap()), 64);
    }

    #[test]
    fn every_part_of_a_manifest_moves_its_root() {
        let base = Manifest::of("b", &[7; 100], 64).unwrap();
        for other in [
            Manifest::of("c", &[7; 100], 64).unwrap(),
            Manifest::of("b", &[8; 100], 64).unwrap(),
            Manifest::of("b", &[7; 101], 64).unwrap(),
            Manifest::of("b", &[7; 100], 32).unwrap(),
        ] {
            assert_ne!(base.root(), other.root());
        }
    }

    #[test]
    fn impossible_manifests_are_refused_with_the_reason() {
        assert!(matches!(
            Manifest::of("b", &[], 64),
            Err(ManifestError::EmptyBuild { .. })
        ));
        assert!(matches!(
            Manifest::of("", &[1], 64),
            Err(ManifestError::BuildId { length: 0 })
        ));
        assert!(matches!(
            Manifest::of("b", &[1], 0),
            Err(ManifestError::ChunkSize { .. })
        ));
        let huge = Manifest::new("b", Bytes::new(1 << 40), 16, Vec::new());
        assert!(matches!(huge, Err(ManifestError::TooManyChunks { .. })));
        let short = Manifest::new("b", Bytes::new(64), 32, vec![Hash::of(b"x")]);
        assert!(matches!(short, Err(ManifestError::HashCount { chunks: 2, hashes: 1 })));
    }

    #[test]
    fn the_default_chunk_size_follows_the_build() {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        for (size, chunk_size) in [
            (1, 64 * KIB),
            (4 * MIB, 64 * KIB),
            (64 * MIB, 64 * KIB),
            (64 * MIB + 1, 128 * KIB),
            (128 * MIB + 1, 256 * KIB),
            // From here on there may be twice as many.
            (256 * MIB + 1, 256 * KIB),
            (512 * MIB, 256 * KIB),
            (512 * MIB + 1, 512 * KIB),
            (1024 * MIB, 512 * KIB),
            (10_000_000_000, 8 * MIB),
            (32 * 1024 * MIB + 1, 16 * MIB),
            (1 << 45, 16 * MIB),
        ] {
            assert_eq!(u64::from(default_chunk_size(Bytes::new(size))), chunk_size, "{size}");
        }
    }
}
