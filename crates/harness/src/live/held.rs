//! How much of the build hosts have, for progress: by some of them, since there may be ten thousand.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Chunks that the hosts of a sample hold.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) chunks: u64,
    /// All that they are to hold.
    pub(crate) of: u64,
}

impl Held {
    /// 0 to 1.
    pub(crate) fn share(self) -> f64 {
        match self.of {
            0 => 0.0,
            of => self.chunks as f64 / of as f64,
        }
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.chunks += other.chunks;
        self.of += other.of;
    }
}

/// At which distance `count` hosts are looked at, so that there are enough of them and not too many.
pub(crate) fn stride(count: usize) -> usize {
    count.div_ceil(SAMPLE).max(1)
}

/// Hosts looked at. A share that 200 of them have is within some percent of that of all.
const SAMPLE: usize = 200;

/// They are looked at again after this.
pub(crate) const HELD_EVERY: Duration = Duration::from_millis(400);
