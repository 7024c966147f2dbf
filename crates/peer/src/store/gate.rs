//! Who is asked before a build is put in place.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use swarm::Hash;

/// Is given the part file of a build whose chunks are all there and verified, and the root of its manifest; answers whether it may be put
/// in place or why not. It may take its time: the thread is one that may wait.
#[derive(Clone)]
pub struct Gate(Arc<Ask>);

type Ask = dyn Fn(&Path, &Hash) -> Result<(), String> + Send + Sync;

impl Gate {
    /// That asks `ask`.
    pub fn new(ask: impl Fn(&Path, &Hash) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    pub(super) fn ask(&self, part: &Path, root: &Hash) -> Result<(), String> {
        (self.0)(part, root)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}
