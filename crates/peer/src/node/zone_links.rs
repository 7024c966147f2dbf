//! The links between zones, which the members of a zone share with each other.
//!
//! For runs only: on a real network the network has them. A sender waits for them as it waits for its own uplink, so all members of a
//! zone have to be in one process.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use swarm::{ByteRate, Bytes, HostId, Time};

use crate::rate_limit::TokenBucket;

/// Each zone's link to all others, out and in. Clones are the same.
#[derive(Clone)]
pub(super) struct ZoneLinks {
    rate: ByteRate,
    zones: Arc<Mutex<Zones>>,
}

#[derive(Default)]
struct Zones {
    /// By member.
    of: HashMap<HostId, u32>,
    out: BTreeMap<u32, TokenBucket>,
    into: BTreeMap<u32, TokenBucket>,
}

impl ZoneLinks {
    /// Of this rate, each of them.
    pub(super) fn new(rate: ByteRate) -> Self {
        Self {
            rate,
            zones: Arc::default(),
        }
    }

    /// This member is in that zone, whatever zone it was in before.
    pub(super) fn add(&self, member: HostId, zone: u32) {
        self.zones.lock().of.insert(member, zone);
    }

    /// When these bytes have passed from one member to another: `now` where both are in one zone, or where one is not known.
    pub(super) fn pass(&self, from: HostId, to: HostId, now: Time, bytes: Bytes) -> Time {
        let zones = &mut *self.zones.lock();
        let (Some(from), Some(to)) = (zones.of.get(&from), zones.of.get(&to)) else {
            return now;
        };
        if from == to {
            return now;
        }
        let link = || TokenBucket::new(self.rate, Bytes::new(self.rate.bytes_per_second() / CATCH_UP_PART));
        let left = zones.out.entry(*from).or_insert_with(link).reserve(now, bytes);
        let arrived = zones.into.entry(*to).or_insert_with(link).reserve(now, bytes);
        left.max(arrived)
    }
}

/// As an uplink it makes up for the ten milliseconds that a busy scheduler may be late.
const CATCH_UP_PART: u64 = 100;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn members_of_a_zone_share_its_link_and_need_none_among_themselves() {
        let links = ZoneLinks::new(ByteRate::from_bytes_per_second(1000).unwrap());
        let [a, b, far, further, stranger] = [1, 2, 3, 4, 5].map(HostId::new);
        for (member, zone) in [(a, 0), (b, 0), (far, 1), (further, 2)] {
            links.add(member, zone);
        }
        let (now, bytes) = (Time::from_nanos(5_000_000_000), Bytes::new(500));
        let after = |ms: u64| now + Duration::from_millis(ms);
        assert_eq!(links.pass(a, b, now, bytes), now);
        assert_eq!(links.pass(a, stranger, now, bytes), now);
        // Ten milliseconds less, which an idle link makes up for.
        assert_eq!(links.pass(a, far, now, bytes), after(490));
        assert_eq!(links.clone().pass(b, further, now, bytes), after(990));
        // The way back is another one, and so is what goes into a zone.
        assert_eq!(links.pass(far, a, now, bytes), after(490));
        assert_eq!(links.pass(further, far, now, bytes), after(990));
    }
}
