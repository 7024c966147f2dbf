//! What is counted of requests when they change.

use super::request::Request;

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
        for (index, request) in requests.iter().enumerate() {
            if request.is_overdue() {
                counts.overdue += 1;
                continue;
            }
            counts.live += 1;
            counts.slow += usize::from(request.is_slow());
            let is_same = |other: &Request| other.chunk == request.chunk && !other.is_overdue();
            if !requests[..index].iter().any(is_same) {
                counts.chunks += 1;
                counts.late += usize::from(requests[index..].iter().all(|r| r.is_slow() || !is_same(r)));
            }
        }
        counts
    }
}
