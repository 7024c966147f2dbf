//! The bytes of a scenario's build, by range: from a file, or made from the seed.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cloud::PartSource;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use scenario::{BuildSource, Scenario};

use super::RunError;

/// Where the upload reads from. A file is opened once, so that it is the same file for all parts.
pub(super) fn source(scenario: &Scenario) -> Result<PartSource, RunError> {
    match &scenario.build.source {
        BuildSource::Generated { .. } => Ok(generated(scenario.seed)),
        BuildSource::File { path, .. } => file(path).map_err(|source| RunError::Build {
            path: path.clone(),
            source,
        }),
    }
}

/// The build in a file.
pub(crate) fn file(path: &Path) -> std::io::Result<PartSource> {
    let file = Arc::new(std::fs::File::open(path)?);
    Ok(Arc::new(move |range| {
        let file = Arc::clone(&file);
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || {
                let length = usize::try_from(range.end - range.start).map_err(std::io::Error::other)?;
                let mut bytes = BytesMut::zeroed(length);
                file.read_exact_at(&mut bytes, range.start)?;
                Ok(bytes.freeze())
            });
            read.await.map_err(std::io::Error::other)?
        })
    }))
}

/// The build of a seed.
pub(crate) fn generated(seed: u64) -> PartSource {
    Arc::new(move |range| Box::pin(async move { Ok(generate(seed, range.start, range.end)) }))
}

/// Bytes `start..end` of the build of this seed: blocks of their own generators, so that any range can be made by itself.
fn generate(seed: u64, start: u64, end: u64) -> Bytes {
    let mut bytes = BytesMut::new();
    for block in start / BLOCK..end.div_ceil(BLOCK) {
        let mut content = [0; BLOCK as usize];
        Xoshiro256PlusPlus::seed_from_u64(seed ^ block.wrapping_mul(0x9e37_79b9_7f4a_7c15)).fill_bytes(&mut content);
        let first = start.saturating_sub(block * BLOCK).min(BLOCK);
        let last = (end - block * BLOCK).min(BLOCK);
        bytes.extend_from_slice(&content[first as usize..last as usize]);
    }
    bytes.freeze()
}

/// Bytes of one generator.
const BLOCK: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_of_a_generated_build_is_a_part_of_the_whole() {
        let whole = generate(7, 0, 20_000);
        assert_eq!(whole.len(), 20_000);
        for (start, end) in [(0, 1), (4095, 4097), (4096, 8192), (5000, 19_999), (100, 100)] {
            assert_eq!(generate(7, start, end), whole[start as usize..end as usize]);
        }
        assert_ne!(generate(8, 0, 20_000), whole);
    }
}
