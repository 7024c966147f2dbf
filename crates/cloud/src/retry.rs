//! When to try again: bounded exponential backoff with jitter. The clients' own retries are off, so that attempts do not
//! multiply.

use std::time::Duration;

use crate::error::CloudError;

/// How often and how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Wait before the second attempt.
    pub first: Duration,
    /// What a wait is multiplied by for the next one.
    pub factor: u32,
    /// Longest wait.
    pub max: Duration,
    /// Attempts altogether, at least 1.
    pub attempts: u32,
    /// Where the jitter comes from. Callers that fail together should have different ones.
    pub seed: u64,
}

impl Backoff {
    /// For builds: some 12 to 16 s of trouble are survived.
    pub const READ: Self = Self {
        first: Duration::from_millis(100),
        factor: 2,
        max: Duration::from_secs(5),
        attempts: 9,
        seed: 0,
    };
    /// For log rows: throttling passes, and nobody waits for the row.
    pub const LOG: Self = Self {
        first: Duration::from_millis(50),
        factor: 2,
        max: Duration::from_secs(3),
        attempts: 12,
        seed: 0,
    };

    /// The same with jitter of its own.
    #[must_use]
    pub const fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The wait after attempt number `attempt`, from 1; `None` when that was the last. It is between half and the whole
    /// of `first * factor^(attempt - 1)`, at most `max`: callers that were turned away together come back apart.
    pub fn delay(self, attempt: u32) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let grown = self.factor.saturating_pow(attempt.saturating_sub(1));
        let half = self.first.saturating_mul(grown).min(self.max) / 2;
        let jitter = mix(self.seed ^ u64::from(attempt)) >> 32;
        let part = (half.as_nanos() * u128::from(jitter)) >> 32;
        Some(half + Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX)))
    }

    /// Runs `call` until it succeeds, fails for good, or attempts are used up; then its last error.
    /// Dropping the future ends it after the call that is on its way.
    ///
    /// # Errors
    /// Those of `call`.
    pub async fn run<T, F>(self, mut call: impl FnMut() -> F) -> Result<T, CloudError>
    where
        F: Future<Output = Result<T, CloudError>>,
    {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match call().await {
                Err(error) if error.is_retryable() => match self.delay(attempt) {
                    Some(delay) => {
                        tracing::debug!(%error, attempt, "trying again");
                        tokio::time::sleep(delay).await;
                    }
                    None => return Err(error),
                },
                result => return result,
            }
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood: *Fast splittable pseudorandom number generators*): seeds that are near give numbers
/// that are not.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_secs(1),
        factor: 3,
        max: Duration::from_secs(5),
        attempts: 5,
        seed: 7,
    };

    #[test]
    fn delays_grow_up_to_a_limit_and_end() {
        for (attempt, whole) in [(1, 1), (2, 3), (3, 5), (4, 5)] {
            let delay = BACKOFF.delay(attempt).unwrap();
            let whole = Duration::from_secs(whole);
            assert!((whole / 2..=whole).contains(&delay), "attempt {attempt}: {delay:?}");
        }
        assert_eq!(BACKOFF.delay(5), None);
    }

    #[test]
    fn callers_with_different_seeds_wait_differently_and_always_the_same() {
        let delays: Vec<_> = (0..100).map(|seed| BACKOFF.seeded(seed).delay(1)).collect();
        let mut distinct = delays.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 100);
        assert_eq!(delays[42], BACKOFF.seeded(42).delay(1));
    }

    #[test]
    fn enormous_waits_saturate() {
        let backoff = Backoff {
            max: Duration::MAX,
            attempts: u32::MAX,
            ..BACKOFF
        };
        assert!(backoff.delay(u32::MAX - 1).is_some());
    }
}
