//! How many connections there may be: of all, of one peer, and from one address, those that are still being made among them.
//!
//! Invariant: what is counted of an address is what there is: a connection is pending until it is established or has failed, and
//! established until it is closed. The loopback interface is no address: who is there is on this machine.

use std::collections::HashMap;
use std::net::IpAddr;

use libp2p::connection_limits::{Behaviour as OfAll, ConnectionLimits};
use libp2p::swarm::ConnectionId;

/// What an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DoorLimits {
    pub(super) connections: u32,
    pub(super) pending: u32,
    pub(super) of_peer: u32,
    pub(super) of_address: u32,
    pub(super) pending_of_address: u32,
}

impl DoorLimits {
    /// Of an endpoint that takes so many connections.
    pub(super) fn of(connections: u32) -> Self {
        Self {
            connections,
            pending: connections.max(PENDING_LEAST),
            of_peer: OF_PEER,
            of_address: (connections / ADDRESSES_LEAST).max(OF_PEER),
            pending_of_address: PENDING_OF_ADDRESS,
        }
    }

    /// Those that libp2p keeps.
    pub(super) fn of_all(self) -> OfAll {
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(self.pending))
            .with_max_established_per_peer(Some(self.of_peer));
        OfAll::new(limits)
    }
}

/// There are more connections than this process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// Of all.
    #[error("{limit} connections are the limit of this process")]
    All {
        /// The limit.
        limit: u32,
    },
    /// From one address.
    #[error("{limit} connections are the limit from one address")]
    Address {
        /// The limit.
        limit: u32,
    },
    /// From one address, that nobody has proven anything on yet.
    #[error("{limit} connections that are being made are the limit from one address")]
    Pending {
        /// The limit.
        limit: u32,
    },
}

/// Counts the connections that others make.
#[derive(Debug)]
pub(super) struct Door {
    limits: DoorLimits,
    pending: HashMap<ConnectionId, IpAddr>,
    established: HashMap<ConnectionId, IpAddr>,
    of: HashMap<IpAddr, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    pending: u32,
    established: u32,
}

impl Door {
    pub(super) fn new(limits: DoorLimits) -> Self {
        Self {
            limits,
            pending: HashMap::new(),
            established: HashMap::new(),
            of: HashMap::new(),
        }
    }

    /// Somebody begins to make a connection; there are so many already.
    ///
    /// # Errors
    /// Where there are too many.
    pub(super) fn begin(&mut self, connection: ConnectionId, from: Option<IpAddr>, all: u32) -> Result<(), Full> {
        let limits = self.limits;
        if all >= limits.connections {
            let limit = limits.connections;
            return Err(Full::All { limit });
        }
        let Some(from) = from.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_loopback()) else {
            return Ok(());
        };
        let from = network_of(from);
        let count = self.of.entry(from).or_default();
        if count.pending >= limits.pending_of_address {
            let limit = limits.pending_of_address;
            return Err(Full::Pending { limit });
        }
        if count.pending + count.established >= limits.of_address {
            let limit = limits.of_address;
            return Err(Full::Address { limit });
        }
        count.pending += 1;
        self.pending.insert(connection, from);
        Ok(())
    }

    /// It is made.
    pub(super) fn made(&mut self, connection: ConnectionId) {
        if let Some(from) = self.pending.remove(&connection) {
            let count = self.of.entry(from).or_default();
            count.pending -= 1;
            count.established += 1;
            self.established.insert(connection, from);
        }
    }

    /// It was not made, or is closed.
    pub(super) fn ended(&mut self, connection: ConnectionId) {
        let from = if let Some(from) = self.pending.remove(&connection) {
            self.of.entry(from).or_default().pending -= 1;
            from
        } else if let Some(from) = self.established.remove(&connection) {
            self.of.entry(from).or_default().established -= 1;
            from
        } else {
            return;
        };
        if self
            .of
            .get(&from)
            .is_some_and(|count| count.pending + count.established == 0)
        {
            self.of.remove(&from);
        }
    }
}

/// Who has one address of IPv6 has its network of 64 bits.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let mut segments = ip.segments();
            segments[4..].fill(0);
            IpAddr::V6(segments.into())
        }
    }
}

/// Connections of one peer: one for each build of a directory, which has 64 at most, one for the directory, and as many again that take
/// the place of those that are lost.
const OF_PEER: u32 = 130;
/// So many addresses it takes to fill a process.
const ADDRESSES_LEAST: u32 = 4;
/// Connections of one address that are being made: of a machine that comes for all builds, or of some that share the address.
const PENDING_OF_ADDRESS: u32 = 256;
/// Connections that are being made, at least: hosts that start together all dial their seeder.
const PENDING_LEAST: u32 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize) -> Vec<ConnectionId> {
        (0..count).map(ConnectionId::new_unchecked).collect()
    }

    fn some(limits: DoorLimits) -> Door {
        Door::new(limits)
    }

    const LIMITS: DoorLimits = DoorLimits {
        connections: 100,
        pending: 100,
        of_peer: 10,
        of_address: 6,
        pending_of_address: 3,
    };

    #[test]
    fn an_address_has_so_many_connections_that_are_made_and_so_many_that_are_being_made() {
        let (mut door, ids) = (some(LIMITS), ids(20));
        let (here, there) = ("10.0.0.1".parse().ok(), "10.0.0.2".parse().ok());
        for id in &ids[..3] {
            assert_eq!(door.begin(*id, here, 0), Ok(()));
        }
        assert_eq!(door.begin(ids[3], here, 0), Err(Full::Pending { limit: 3 }));
        assert_eq!(door.begin(ids[3], there, 0), Ok(()));
        ids[..3].iter().for_each(|id| door.made(*id));
        for id in &ids[4..7] {
            assert_eq!(door.begin(*id, here, 0), Ok(()));
        }
        ids[4..7].iter().for_each(|id| door.made(*id));
        assert_eq!(door.begin(ids[7], here, 0), Err(Full::Address { limit: 6 }));
        // One that ends makes room, and what has ended is forgotten.
        door.ended(ids[0]);
        assert_eq!(door.begin(ids[7], here, 0), Ok(()));
        ids.iter().for_each(|id| door.ended(*id));
        assert!(door.of.is_empty() && door.pending.is_empty() && door.established.is_empty());
    }

    #[test]
    fn who_is_on_this_machine_is_counted_with_all_and_a_network_of_ipv6_is_one_address() {
        let (mut door, ids) = (some(LIMITS), ids(200));
        for (count, id) in (0..).zip(&ids[..100]) {
            assert_eq!(door.begin(*id, "127.0.0.1".parse().ok(), count), Ok(()));
        }
        let full = door.begin(ids[100], "127.0.0.1".parse().ok(), 100);
        assert_eq!(full, Err(Full::All { limit: 100 }));
        for (id, host) in ids[101..104].iter().zip(1..) {
            assert_eq!(door.begin(*id, format!("2001:db8::{host}").parse().ok(), 0), Ok(()));
        }
        let full = door.begin(ids[104], "2001:db8::ffff:1".parse().ok(), 0);
        assert_eq!(full, Err(Full::Pending { limit: 3 }));
        assert_eq!(door.begin(ids[104], "2001:db8:0:1::1".parse().ok(), 0), Ok(()));
        // Within a process there are no addresses.
        assert_eq!(door.begin(ids[105], None, 0), Ok(()));
    }

    #[test]
    fn a_host_is_filled_by_four_addresses_and_not_by_one() {
        let limits = DoorLimits::of(4096);
        assert_eq!((limits.of_address, limits.connections), (1024, 4096));
        assert!(limits.pending_of_address * ADDRESSES_LEAST <= limits.pending);
    }
}
