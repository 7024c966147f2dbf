//! What is counted of requests when they change.

use smallvec::SmallVec;

use super::request::Request;
use crate::units::ChunkIndex;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Requests that are not overdue, and different chunks of them.
    pub(super) live: usize,
    pub(super) chunks: usize,
    pub(super) overdue: usize,
    /// Different chunks of which every live request is late or trickles.
    pub(super) late: usize,
    /// Live requests that are late or trickle.
    pub(super) slow: usize,
}

impl Counts {
    #[inline]
    pub(super) fn of(requests: &[Request]) -> Self {
        let mut counts = Self::default();
        // By chunk, so that a window of hundreds is not compared each with each.
        let mut live: SmallVec<[(ChunkIndex, bool); 32]> = SmallVec::new();
        for request in requests {
            if request.is_overdue() {
                counts.overdue += 1;
            } else {
                counts.slow += usize::from(request.is_slow());
                live.push((request.chunk, request.is_slow()));
            }
        }
        counts.live = live.len();
        live.sort_unstable();
        for of_chunk in live.chunk_by(|a, b| a.0 == b.0) {
            counts.chunks += 1;
            // The slow ones come last.
            counts.late += usize::from(of_chunk[0].1);
        }
        counts
    }
}
