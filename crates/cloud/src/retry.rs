//! When to try again: bounded exponential backoff. The clients' own retries are off, so that attempts do not multiply.

use std::time::Duration;

use crate::error::CloudError;

/// How often and how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Wait before the second attempt.
    pub first: Duration,
    /// Longest wait.
    pub max: Duration,
    /// Attempts altogether, at least 1.
    pub attempts: u32,
}

impl Backoff {
    /// For reads of a build: some 25 s of trouble are survived.
    pub const READ: Self = Self {
        first: Duration::from_millis(100),
        max: Duration::from_secs(5),
        attempts: 9,
    };
    /// For log rows: throttling passes, and nobody waits for the row.
    pub const LOG: Self = Self {
        first: Duration::from_millis(50),
        max: Duration::from_secs(3),
        attempts: 12,
    };

    /// The wait after attempt number `attempt`, from 1; `None` when that was the last.
    pub fn delay(self, attempt: u32) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
        Some(self.first.saturating_mul(factor).min(self.max))
    }

    /// Runs `call` until it succeeds, fails for good, or attempts are used up; then its last error.
    pub(crate) async fn run<T, F>(self, mut call: impl FnMut() -> F) -> Result<T, CloudError>
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit_and_end() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            max: Duration::from_secs(5),
            attempts: 5,
        };
        let delays: Vec<_> = (1..=5).map(|attempt| backoff.delay(attempt).map(|d| d.as_secs())).collect();
        assert_eq!(delays, [Some(1), Some(2), Some(4), Some(5), None]);
    }
}
