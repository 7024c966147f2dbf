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
    used: LinkUse,
}

/// How a link was used, from the first byte on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkUse {
    /// What has passed it.
    pub bytes: u64,
    /// How long that takes at the link's rate.
    pub busy: Duration,
    /// How long it had nothing to pass, rests of a burst's length apart, which it makes up for.
    pub rested: Duration,
}

impl LinkUse {
    /// Of the time until its last byte, the part in which it was busy; `None` for a link that was not used.
    pub fn busy_share(&self) -> Option<f64> {
        let seconds = (self.busy + self.rested).as_secs_f64();
        (seconds > 0.0).then(|| self.busy.as_secs_f64() / seconds)
    }
}

impl TokenBucket {
    /// A bucket that is full: `burst` may pass at once, everything else at `rate`.
    pub fn new(rate: ByteRate, burst: Bytes) -> Self {
        Self {
            rate,
            burst: rate.transfer_time(burst),
            taken_until_and_burst: Time::ZERO,
            used: LinkUse::default(),
        }
    }

    /// How it was used so far.
    pub const fn used(&self) -> LinkUse {
        self.used
    }

    /// From now on it has this rate. What was taken before passes as was told.
    pub const fn set_rate(&mut self, rate: ByteRate) {
        self.rate = rate;
    }

    /// Takes `bytes` tokens. The time at which the last of these bytes has passed the link, at `now` or later.
    pub fn reserve(&mut self, now: Time, bytes: Bytes) -> Time {
        // Tokens that were not used are kept for as long as the burst lasts, and no longer: without the burst on both
        // sides this is max(taken_until, now - burst).
        let start = self.taken_until_and_burst.max(now);
        if self.used.bytes > 0 {
            let rested = now.since(self.taken_until_and_burst);
            self.used.rested = self.used.rested.saturating_add(rested);
        }
        self.used.bytes = self.used.bytes.saturating_add(bytes.get());
        self.used.busy = self.used.busy.saturating_add(self.rate.transfer_time(bytes));
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
    fn a_link_that_slows_down_is_slow_for_what_comes_then_and_gets_its_rate_back() {
        let rate = |rate| ByteRate::from_bytes_per_second(rate).unwrap();
        let mut bucket = TokenBucket::new(rate(1000), Bytes::new(0));
        let at = |ms: u64| Time::from_nanos(ms * 1_000_000);
        assert_eq!(bucket.reserve(at(1_000), Bytes::new(500)), at(1_500));
        bucket.set_rate(rate(10));
        assert_eq!(bucket.reserve(at(1_000), Bytes::new(10)), at(2_500));
        bucket.set_rate(rate(1000));
        assert_eq!(bucket.reserve(at(2_600), Bytes::new(100)), at(2_700));
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
    fn a_link_knows_how_busy_it_was() {
        let mut bucket = TokenBucket::new(ByteRate::from_bytes_per_second(1000).unwrap(), Bytes::new(100));
        assert_eq!(bucket.used().busy_share(), None);
        let at = |ms: u64| Time::from_nanos(ms * 1_000_000);
        // It waits for its first bytes without being blamed, is busy for a second, and catches up on a moment's delay.
        bucket.reserve(at(5_000), Bytes::new(500));
        bucket.reserve(at(5_050), Bytes::new(250));
        bucket.reserve(at(5_740), Bytes::new(250));
        assert_eq!(bucket.used().busy_share(), Some(1.0));
        // At 5.9 s all has passed. It makes up for a burst of the 1.6 s in which it has nothing to do then.
        bucket.reserve(at(7_500), Bytes::new(250));
        let used = bucket.used();
        assert_eq!((used.bytes, used.busy), (1250, Duration::from_millis(1250)));
        assert_eq!(used.rested, Duration::from_millis(1500));
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
