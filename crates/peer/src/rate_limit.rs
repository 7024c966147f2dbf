//! Token buckets for a host's uplink and downlink, by virtual scheduling: a bucket is the time until which its link is
//! taken. Pure: the time is an argument, and waiting is the caller's.

use std::time::Duration;

use swarm::{ByteRate, Bytes, Time};

/// A link of a given rate with a bounded burst. Debt is allowed: what does not fit now passes later, in order.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: ByteRate,
    burst: Duration,
    /// The time until which the link is taken, plus `burst`: so a bucket is full from the start of time on, before which
    /// there is none to count from.
    taken_until_and_burst: Time,
}

impl TokenBucket {
    /// A bucket that is full: `burst` may pass at once, everything else at `rate`.
    pub fn new(rate: ByteRate, burst: Bytes) -> Self {
        Self {
            rate,
            burst: rate.transfer_time(burst),
            taken_until_and_burst: Time::ZERO,
        }
    }

    /// Takes `bytes` tokens. The time at which the last of these bytes has passed the link, at `now` or later.
    pub fn reserve(&mut self, now: Time, bytes: Bytes) -> Time {
        // Tokens that were not used are kept for as long as the burst lasts, and no longer: without the burst on both
        // sides this is max(taken_until, now - burst).
        let start = self.taken_until_and_burst.max(now);
        self.taken_until_and_burst = start + self.rate.transfer_time(bytes);
        let passed = Time::ZERO + self.taken_until_and_burst.since(Time::ZERO + self.burst);
        passed.max(now)
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

    #[test]
    fn a_bucket_is_full_at_the_start_of_time_and_never_more_than_full() {
        let rate = ByteRate::from_bytes_per_second(1000).unwrap();
        let mut bucket = TokenBucket::new(rate, Bytes::new(100));
        assert_eq!(bucket.reserve(Time::ZERO, Bytes::new(100)), Time::ZERO);
        assert_eq!(bucket.reserve(Time::ZERO, Bytes::new(50)), Time::from_nanos(50_000_000));
        let much_later = Time::from_nanos(3_600_000_000_000);
        assert_eq!(bucket.reserve(much_later, Bytes::new(100)), much_later);
        assert!(bucket.reserve(much_later, Bytes::new(1)) > much_later);
    }

    #[test]
    fn sizes_and_times_beyond_any_run_saturate() {
        let mut bucket = TokenBucket::new(ByteRate::from_bytes_per_second(1).unwrap(), Bytes::new(0));
        assert_eq!(bucket.reserve(Time::ZERO, Bytes::new(u64::MAX)), Time::MAX);
        assert_eq!(bucket.reserve(Time::MAX, Bytes::new(1)), Time::MAX);
    }

    proptest! {
        #[test]
        fn no_window_passes_more_than_its_rate_and_one_burst(
            steps in prop::collection::vec((0u64..2_000_000_000, 1u64..5_000), 1..100),
        ) {
            let (rate, burst) = (1000, 700);
            let mut bucket = TokenBucket::new(ByteRate::from_bytes_per_second(rate).unwrap(), Bytes::new(burst));
            let mut now = Time::ZERO;
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
