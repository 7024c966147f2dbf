//! How concurrent transfers share links.
//!
//! A host's uplink is divided among the chunks that it sends: each gets an equal part, but no more than its receiver has
//! for it, and what one cannot use the others get. A receiver's downlink is divided equally among the chunks that come to
//! it. That is max-min fairness seen from the sender, one step deep: what a receiver's slow senders leave of its downlink
//! goes to others only as far as their own uplinks allow. Rates change when a transfer begins or ends at either side.

use smallvec::SmallVec;
use swarm::{ChunkIndex, HostId};

/// A chunk on its way.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) from: HostId,
    pub(crate) to: HostId,
    pub(crate) chunk: ChunkIndex,
    /// Bytes left at `updated_at`.
    pub(crate) left: u64,
    /// Bytes a second since then.
    pub(crate) rate: u64,
    pub(crate) updated_at: u64,
    /// Told apart from an end that was forecast at another rate, and from a transfer that had this place before.
    pub(crate) generation: u32,
    pub(crate) active: bool,
}

/// One direction of a host's link.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    /// Bytes a second.
    pub(crate) rate: u64,
    /// What of it the transfers use.
    pub(crate) used: u64,
    /// Transfers that pass it.
    pub(crate) active: SmallVec<[u32; 4]>,
}

impl Port {
    pub(crate) fn new(rate: u64) -> Self {
        Self {
            rate,
            used: 0,
            active: SmallVec::new(),
        }
    }

    /// What each of the transfers that pass it may have.
    pub(crate) fn share(&self) -> u64 {
        self.rate / (self.active.len().max(1) as u64)
    }

    /// Whether a part of it that is worth the while is not used.
    pub(crate) fn has_left(&self) -> bool {
        self.used < self.rate - self.rate / 64
    }

    pub(crate) fn remove(&mut self, transfer: u32) {
        if let Some(index) = self.active.iter().position(|other| *other == transfer) {
            self.active.swap_remove(index);
        }
    }
}

impl Transfer {
    /// Counts what has been sent until `now`.
    pub(crate) fn settle(&mut self, now: u64) {
        let nanos = u128::from(now - self.updated_at);
        let sent = u128::from(self.rate) * nanos / NANOS_PER_SECOND;
        self.left = self.left.saturating_sub(u64::try_from(sent).unwrap_or(u64::MAX));
        self.updated_at = now;
    }

    /// When the last byte has left, at the present rate.
    pub(crate) fn ends_at(&self) -> u64 {
        let nanos = (u128::from(self.left) * NANOS_PER_SECOND).div_ceil(u128::from(self.rate.max(1)));
        self.updated_at.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Divides `rate` among transfers that can take no more than `caps` each; the result replaces the caps.
pub(crate) fn divide(rate: u64, caps: &mut [u64]) {
    if let [only] = caps {
        *only = (*only).min(rate);
        return;
    }
    let mut left = rate;
    let mut order: Vec<usize> = (0..caps.len()).collect();
    order.sort_unstable_by_key(|&index| caps[index]);
    let count = order.len();
    for (done, index) in order.into_iter().enumerate() {
        let fair = left / ((count - done) as u64);
        caps[index] = caps[index].min(fair);
        left -= caps[index];
    }
}

/// A link that many hosts share, such as a rack's or a zone's: chunks pass it one after another.
#[derive(Clone, Debug)]
pub(crate) struct SharedLink {
    rate: u64,
    free_at: u64,
}

impl SharedLink {
    pub(crate) const fn new(rate: u64) -> Self {
        Self { rate, free_at: 0 }
    }

    /// When `bytes` that come at `now` have passed.
    pub(crate) fn pass(&mut self, now: u64, bytes: u64) -> u64 {
        let nanos = (u128::from(bytes) * NANOS_PER_SECOND).div_ceil(u128::from(self.rate.max(1)));
        self.free_at = self.free_at.max(now) + u64::try_from(nanos).unwrap_or(u64::MAX / 4);
        self.free_at
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_cannot_use_the_others_get() {
        let mut caps = [10, 100, 100];
        divide(90, &mut caps);
        assert_eq!(caps, [10, 40, 40]);
        let mut caps = [100, 100];
        divide(90, &mut caps);
        assert_eq!(caps, [45, 45]);
        let mut caps = [5];
        divide(90, &mut caps);
        assert_eq!(caps, [5]);
    }

    #[test]
    fn a_shared_link_passes_one_chunk_after_another() {
        let mut link = SharedLink::new(1_000);
        assert_eq!(link.pass(0, 1_000), 1_000_000_000);
        assert_eq!(link.pass(0, 1_000), 2_000_000_000);
        assert_eq!(link.pass(5_000_000_000, 1_000), 6_000_000_000);
    }
}
