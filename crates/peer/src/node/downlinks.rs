//! The downlinks of hosts that share a process, where those find them who send to them; and what else they share, the links between
//! their zones.
//!
//! A real sender goes no faster than its receiver's link takes: TCP sees to that. A host that only limits what it reads lets its
//! senders run ahead of it instead, as far as all buffers between them go; that is several chunks, so uplinks that would have to
//! wait never do. Hence a sender waits for both links before it sends, where it can. Hosts of other processes limit what they
//! read, which is too kind to senders where a downlink is no faster than the uplinks that lead to it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use swarm::{ByteRate, Bytes, HostId, Time};

use super::zone_links::ZoneLinks;
use crate::rate_limit::TokenBucket;

/// What one host may receive.
pub(super) type Downlink = Arc<Mutex<TokenBucket>>;

/// The downlinks of one swarm's members in this process. Members that are given clones of the same find each other.
#[derive(Clone, Default)]
pub struct Downlinks {
    of_hosts: Arc<Mutex<HashMap<HostId, Downlink>>>,
    between_zones: Option<ZoneLinks>,
}

impl Downlinks {
    /// Of members whose zones each send to the others at this rate, and receive from them.
    pub fn between_zones(rate: ByteRate) -> Self {
        Self {
            between_zones: Some(ZoneLinks::new(rate)),
            ..Self::default()
        }
    }

    /// Where `member` is, where that matters.
    pub(super) fn place(&self, member: HostId, zone: Option<u32>) {
        if let Some((links, zone)) = self.between_zones.as_ref().zip(zone) {
            links.add(member, zone);
        }
    }

    /// When these bytes have passed what is between the zones of two members.
    pub(super) fn pass(&self, from: HostId, to: HostId, now: Time, bytes: Bytes) -> Time {
        let links = self.between_zones.as_ref();
        links.map_or(now, |links| links.pass(from, to, now, bytes))
    }

    /// Whoever sends to `host` waits for this from now on; for a new member of that number instead of the earlier one.
    pub(super) fn add(&self, host: HostId, downlink: Downlink) {
        self.of_hosts.lock().insert(host, downlink);
    }

    /// What is sent to `host` has to pass; `None` where it sees to that itself, or has no limit.
    pub(super) fn of(&self, host: HostId) -> Option<Downlink> {
        self.of_hosts.lock().get(&host).cloned()
    }
}

impl fmt::Debug for Downlinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downlinks").finish_non_exhaustive()
    }
}
