//! Whether a build is to be believed, as somebody outside of the core knows: keys, clocks and what was seen before are not its matter.

use std::fmt;

use crate::manifest::{BuildInfo, Manifest};
use crate::units::Bytes;

/// Says whether a build that a seeder announces is one that somebody trusted has signed. It is asked before the manifest is asked for,
/// once for a build that it lets through.
pub trait Verifier: fmt::Debug + Send + Sync {
    /// What was signed of the build.
    ///
    /// # Errors
    /// Why it is not believed, as a sentence about "it".
    fn verify(&self, build: &BuildInfo) -> Result<Signed, String>;
}

/// What was signed of a build beside its id and root: the manifest that comes has to have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Its size.
    pub size: Bytes,
    /// Bytes of its chunks but the last.
    pub chunk_size: u32,
}

impl Signed {
    /// Whether it is true of `manifest`.
    pub fn is_of(&self, manifest: &Manifest) -> bool {
        self.size == manifest.size() && self.chunk_size == manifest.chunk_size()
    }
}
