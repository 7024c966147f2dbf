//! What all swarms of a process may send or receive together: one token bucket, whose rate can change while bytes move.
//!
//! A run's links are a node's own ([`crate::Shaping::uplink`]); this is a product's, which has many nodes at one network card. Payload
//! waits for both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use swarm::{ByteRate, Bytes, Time};

use crate::rate_limit::TokenBucket;

/// A limit that nodes share. Clones are the same one.
#[derive(Clone, Debug)]
pub struct SharedLink(Arc<Link>);

#[derive(Debug)]
struct Link {
    /// Nodes have clocks of their own: it counts from when it was made.
    epoch: Instant,
    bucket: Mutex<Option<TokenBucket>>,
}

impl SharedLink {
    /// Of this rate, or without a limit.
    pub fn new(rate: Option<ByteRate>) -> Self {
        let bucket = Mutex::new(rate.map(bucket));
        let epoch = Instant::now();
        Self(Arc::new(Link { epoch, bucket }))
    }

    /// From now on it has this rate, or no limit. What is waiting goes at the times that it was told.
    pub fn set_rate(&self, rate: Option<ByteRate>) {
        let mut there = self.0.bucket.lock();
        match (&mut *there, rate) {
            (Some(bucket), Some(rate)) => bucket.set_rate(rate),
            (there, rate) => *there = rate.map(bucket),
        }
    }

    /// Takes so many bytes: how long until the last of them may have passed.
    pub(crate) fn wait_for(&self, bytes: Bytes) -> Duration {
        let mut bucket = self.0.bucket.lock();
        let Some(bucket) = &mut *bucket else {
            return Duration::ZERO;
        };
        let now = Time::ZERO + self.0.epoch.elapsed();
        bucket.reserve(now, bytes).since(now)
    }
}

fn bucket(rate: ByteRate) -> TokenBucket {
    TokenBucket::new(rate, Bytes::new(rate.bytes_per_second() / CATCH_UP_PART))
}

/// A link that was idle, or late because others had the processor, makes up for a twentieth of a second: in ten seconds that is half a
/// percent.
const CATCH_UP_PART: u64 = 20;
