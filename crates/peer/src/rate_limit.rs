//! Token buckets for a host's uplink and downlink, by virtual scheduling: a bucket is the time until which its link is
//! taken. Pure: the time is an argument, and waiting is the caller's.

use std::time::Duration;

use swarm::{ByteRate, Bytes, Time};

/// A link of a given rate with a bounded burst.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: ByteRate,
    burst: Duration,
    taken_until: Time,
}

impl TokenBucket {
    /// A bucket that is full: `burst` may pass at once, everything else at `rate`.
    pub fn new(rate: ByteRate, burst: Bytes) -> Self {
        Self {
            rate,
            burst: rate.transfer_time(burst),
            taken_until: Time::ZERO,
        }
    }

    /// Takes `bytes` tokens. The time at which the last of these bytes has passed the link, at `now` or later.
    pub fn reserve(&mut self, now: Time, bytes: Bytes) -> Time {
        // Tokens that were not used are kept for as long as the burst lasts, and no longer.
        let earliest = Time::ZERO + now.since(Time::ZERO + self.burst);
        self.taken_until = self.taken_until.max(earliest) + self.rate.transfer_time(bytes);
        self.taken_until.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_idle_link_passes_a_burst_at_once_and_the_rest_at_its_rate() {
        let mut bucket = TokenBucket::new(ByteRate::from_bytes_per_second(1000).unwrap(), Bytes::new(100));
        let now = Time::from_nanos(5_000_000_000);
        assert_eq!(bucket.reserve(now, Bytes::new(100)), now);
        assert_eq!(bucket.reserve(now, Bytes::new(500)), now + Duration::from_millis(500));
        assert_eq!(bucket.reserve(now, Bytes::new(1)), now + Duration::from_millis(501));
    }

    proptest! {
        #[test]
        fn no_window_passes_more_than_its_rate_and_one_burst(
            steps in prop::collection::vec((0u64..2_000_000_000, 1u64..5_000), 1..100),
        ) {
            let (rate, burst) = (1000, 700);
            let mut bucket = TokenBucket::new(ByteRate::from_bytes_per_second(rate).unwrap(), Bytes::new(burst));
            let mut now = Time::from_nanos(10_000_000_000);
            let mut passed: Vec<(Time, u64)> = Vec::new();
            for (wait, bytes) in steps {
                now = now + Duration::from_nanos(wait);
                passed.push((bucket.reserve(now, Bytes::new(bytes)), bytes));
            }
            for first in 0..passed.len() {
                let mut bytes = 0;
                for (at, more) in &passed[first..] {
                    bytes += more;
                    // The first of the window had its bytes counted when they were through, hence its own size.
                    let window = at.since(passed[first].0).as_secs_f64();
                    let allowed = window * rate as f64 + burst as f64 + passed[first].1 as f64 + 1.0;
                    prop_assert!((bytes as f64) <= allowed, "{bytes} in {window} s");
                }
            }
        }
    }
}
