//! What a process has moved since it began: of builds that are over too, so that no counter ever goes back.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use peer::Traffic;

/// The sums.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    ended: Mutex<Traffic>,
    chunks_verified: AtomicU64,
    chunks_corrupt: AtomicU64,
}

impl Totals {
    /// A build is over that has moved this.
    pub(crate) fn add(&self, traffic: &Traffic) {
        self.ended.lock().add_bytes(traffic);
    }

    /// With what goes on besides.
    pub(crate) fn with<'a>(&self, others: impl Iterator<Item = &'a Traffic>) -> Traffic {
        let mut all = *self.ended.lock();
        others.for_each(|traffic| all.add_bytes(traffic));
        all
    }

    pub(super) fn count_verified(&self) {
        self.chunks_verified.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_corrupt(&self) {
        self.chunks_corrupt.fetch_add(1, Ordering::Relaxed);
    }

    /// Chunks that were received and right, and chunks that were not.
    pub(crate) fn chunks(&self) -> (u64, u64) {
        let verified = self.chunks_verified.load(Ordering::Relaxed);
        (verified, self.chunks_corrupt.load(Ordering::Relaxed))
    }
}
