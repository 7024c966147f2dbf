//! Who signs the builds of a run, and whom its members believe: the way of a real fleet, with a key that is made from the run's seed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloud::{Buckets, PartSource};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use peer::Trust;
use scenario::Scenario;
use signing::{Moment, SecretKey, Signature, Terms, TrustedKeys};
use swarm::{Bytes as ByteCount, Hash, Manifest, Verifier};

use super::error::RunError;

/// The key that signs the builds of a run, or of what `harness up` seeds. It protects nothing: whoever knows the seed has it.
pub(crate) fn key_of(seed: u64) -> SecretKey {
    let mut text = b"fleetcast 1 signing key of a run ".to_vec();
    text.extend_from_slice(&seed.to_le_bytes());
    SecretKey::from_bytes(Hash::of(&text).as_bytes())
}

/// Whose builds the members of a run believe.
#[derive(Clone, Debug)]
pub(crate) struct Believed {
    keys: Arc<TrustedKeys>,
    trust: Arc<Trust>,
}

impl Believed {
    /// Those of the run itself.
    pub(crate) fn of_run(seed: u64) -> Self {
        Self::of(TrustedKeys::of([key_of(seed).public()]))
    }

    /// Those of these keys.
    pub(crate) fn of(keys: TrustedKeys) -> Self {
        Self {
            keys: Arc::new(keys.clone()),
            // Hosts of a run begin anew each time.
            trust: Arc::new(Trust::of(keys)),
        }
    }

    /// For a seeder.
    pub(super) fn keys(&self) -> Arc<TrustedKeys> {
        Arc::clone(&self.keys)
    }

    /// For a host.
    pub(super) fn verifier(&self, build_id: &str) -> Arc<dyn Verifier> {
        self.trust.verifier(Path::new(build_id), Some(build_id.to_owned()))
    }
}

/// Signed by the run, now, for as long as any run takes.
pub(super) fn sign(scenario: &Scenario, manifest: &Manifest) -> Signature {
    let signed = Moment::now();
    let terms = Terms {
        sequence: signed.as_millis(),
        signed,
        expires: Some(signed.plus(A_DAY)),
    };
    key_of(scenario.seed).sign(manifest, terms)
}

/// `buckets` as what the run uploads to, with its signature, and the root that this is of.
///
/// # Errors
/// Where the build cannot be read.
pub(super) async fn signing(
    scenario: &Scenario,
    source: &PartSource,
    buckets: Buckets,
) -> Result<(Buckets, String), RunError> {
    let (key, size) = (&scenario.build.id, scenario.build_size().get());
    let manifest = manifest(key, size, scenario.chunk_size(), source).await;
    let manifest = manifest.map_err(|source| RunError::Unread {
        build: key.clone(),
        source,
    })?;
    let root = manifest.root().to_string();
    Ok((buckets.signed(sign(scenario, &manifest).to_string()), root))
}

/// The manifest of a build whose bytes come by range, several chunks at a time.
///
/// # Errors
/// Where they cannot be read, or are none of a build.
pub(crate) async fn manifest(id: &str, size: u64, chunk_size: u32, source: &PartSource) -> io::Result<Manifest> {
    let chunks = Manifest::chunk_count_of(id, ByteCount::new(size), chunk_size).map_err(io::Error::other)?;
    let hashes = stream::iter(0..chunks).map(|chunk| {
        let start = chunk * u64::from(chunk_size);
        let part = source(start..(start + u64::from(chunk_size)).min(size));
        async move { Ok::<Hash, io::Error>(hash(part.await?).await) }
    });
    let hashes = hashes.buffered(CHUNKS_AT_A_TIME).try_collect().await?;
    Manifest::new(id, ByteCount::new(size), chunk_size, hashes).map_err(io::Error::other)
}

/// A large chunk on a thread that may take its time.
async fn hash(part: Bytes) -> Hash {
    if part.len() < LARGE {
        return Hash::of(&part);
    }
    let hashed = tokio::task::spawn_blocking(move || Hash::of(&part)).await;
    hashed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Enough for the disk and all cores; chunks have 16 MiB or less unless somebody wants them larger.
const CHUNKS_AT_A_TIME: usize = 8;
/// Bytes that take a millisecond to hash.
const LARGE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_manifest_of_a_source_is_that_of_its_bytes() {
        let build: Vec<u8> = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
        let bytes = Bytes::from(build.clone());
        let source: PartSource = Arc::new(move |range| {
            let part = bytes.slice(range.start as usize..range.end as usize);
            Box::pin(async move { Ok(part) })
        });
        for chunk_size in [64 << 10, 2 << 20] {
            let made = manifest("b", build.len() as u64, chunk_size, &source).await.unwrap();
            assert_eq!(made, Manifest::of("b", &build, chunk_size).unwrap());
        }
        assert!(manifest("b", 0, 64, &source).await.is_err());
    }

    #[test]
    fn runs_of_two_seeds_do_not_believe_each_other() {
        assert_eq!(key_of(1).public(), key_of(1).public());
        assert_ne!(key_of(1).public(), key_of(2).public());
    }
}
