//! Links that many hosts share, which chunks pass one after another.

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
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.free_at = self.free_at.max(now).saturating_add(nanos);
        self.free_at
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_link_passes_one_chunk_after_another() {
        let mut link = SharedLink::new(1_000);
        assert_eq!(link.pass(0, 1_000), 1_000_000_000);
        assert_eq!(link.pass(0, 1_000), 2_000_000_000);
        assert_eq!(link.pass(5_000_000_000, 1_000), 6_000_000_000);
    }
}
