//! Where a member can be dialled: several addresses of one peer, as they travel through the core, which does not read them.
//!
//! A machine has more addresses than one, and which of them lead to it depends on who asks. So a member tells all that others may
//! reach, whoever dials tries them side by side, and an address of the loopback interface is tried by those only who are on it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use bytes::{BufMut, Bytes, BytesMut};
use libp2p::core::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// A peer and where it may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    peer: PeerId,
    /// Without the peer id.
    at: Vec<Multiaddr>,
}

/// What is no contact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The address does not say whose it is.
    #[error("{0}: expected an address that ends with /p2p/<peer id>")]
    NoPeerId(Multiaddr),
    /// Two addresses are of two peers.
    #[error("{0} is of another peer than the addresses before it")]
    OtherPeer(Multiaddr),
    /// There is no address.
    #[error("no address")]
    None,
    /// What another member has sent is no list of addresses.
    #[error("malformed addresses")]
    Malformed,
}

impl Addresses {
    /// Of `peer`.
    pub fn new(peer: PeerId, at: impl IntoIterator<Item = Multiaddr>) -> Self {
        let at = at.into_iter().map(|address| split(address).0).collect();
        Self { peer, at }
    }

    /// Addresses that each end with the same peer id.
    ///
    /// # Errors
    /// Where one has no peer id or another one, and where there are none.
    pub fn of<'a>(addresses: impl IntoIterator<Item = &'a Multiaddr>) -> Result<Self, AddressError> {
        let mut all: Option<Self> = None;
        for address in addresses {
            let (at, peer) = split(address.clone());
            let peer = peer.ok_or_else(|| AddressError::NoPeerId(address.clone()))?;
            let all = all.get_or_insert_with(|| Self::new(peer, []));
            if all.peer != peer {
                return Err(AddressError::OtherPeer(address.clone()));
            }
            all.at.push(at);
        }
        all.ok_or(AddressError::None)
    }

    /// Addresses by the peers that they are of, in the order in which the peers come first.
    ///
    /// # Errors
    /// Where one has no peer id.
    pub fn by_peer<'a>(addresses: impl IntoIterator<Item = &'a Multiaddr>) -> Result<Vec<Self>, AddressError> {
        let mut peers: Vec<Self> = Vec::new();
        for address in addresses {
            let one = Self::of([address])?;
            match peers.iter_mut().find(|peer| peer.peer == one.peer) {
                Some(known) => known.at.extend(one.at),
                None => peers.push(one),
            }
        }
        Ok(peers)
    }

    /// Whose they are.
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// The addresses, without the peer id.
    pub fn at(&self) -> &[Multiaddr] {
        &self.at
    }

    /// As a contact carries them.
    pub fn encode(&self) -> Bytes {
        self.encode_within(usize::MAX)
    }

    /// As a contact carries them, without those that do not fit into so many bytes.
    pub(super) fn encode_within(&self, limit: usize) -> Bytes {
        let mut out = BytesMut::new();
        put_short(&mut out, &self.peer.to_bytes());
        for address in &self.at {
            let bytes = address.to_vec();
            if bytes.len() <= usize::from(u8::MAX) && out.len() + 1 + bytes.len() <= limit {
                put_short(&mut out, &bytes);
            }
        }
        out.freeze()
    }

    /// What [`Addresses::encode`] made.
    ///
    /// # Errors
    /// Where it is something else.
    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, AddressError> {
        let peer = take_short(&mut bytes).ok_or(AddressError::Malformed)?;
        let peer = PeerId::from_bytes(peer).map_err(|_not_a_peer| AddressError::Malformed)?;
        let mut at = Vec::new();
        while !bytes.is_empty() {
            let address = take_short(&mut bytes).ok_or(AddressError::Malformed)?;
            at.push(Multiaddr::try_from(address.to_vec()).map_err(|_not_an_address| AddressError::Malformed)?);
        }
        Ok(Self { peer, at })
    }

    /// With the place where this peer was seen to come from: a machine does not know how others see it. `None` where that says
    /// nothing new.
    pub(super) fn seen_at(mut self, ip: IpAddr) -> Option<Self> {
        if self.at.iter().any(|address| ip_of(address) == Some(ip)) {
            return None;
        }
        let like = self.at.iter().find(|address| ip_of(address).is_some())?;
        self.at.insert(0, with_ip(like, ip));
        Some(self)
    }

    /// What is told to others of a member that was seen to come from `seen`: where the socket shows it, and what else it says of itself that can
    /// be true. In a closed swarm that is what it is `certified` for. Nobody is sent to loopback or to one link by who is not there, nor to
    /// what `is_anothers`.
    pub(super) fn told(
        self,
        seen: IpAddr,
        certified: Option<&[IpAddr]>,
        is_anothers: impl Fn(IpAddr, u16) -> bool,
    ) -> Self {
        let mut told = match self.clone().seen_at(seen) {
            Some(with_seen) => with_seen,
            None => self,
        };
        told.at.retain(|address| match ip_of(address) {
            Some(ip) if ip == seen => ip.is_loopback() || is_routable(address),
            Some(ip) => {
                let port = port_of(address).unwrap_or_default();
                is_routable(address) && certified.is_none_or(|of| of.contains(&ip)) && !is_anothers(ip, port)
            }
            // A name leads anywhere.
            None => certified.is_none(),
        });
        told.at.truncate(TOLD_MAX);
        told
    }

    /// Without addresses that lead whoever is on another machine to itself, or nowhere.
    pub(super) fn leading_elsewhere(mut self) -> Self {
        self.at.retain(|address| is_loopback(address) || is_routable(address));
        self
    }

    /// Without addresses of the loopback interface, which lead whoever is on another machine to itself.
    pub(super) fn without_loopback(mut self) -> Self {
        self.at.retain(|address| !is_loopback(address));
        self
    }

    /// Whether all of them are on the loopback interface.
    pub fn is_on_loopback(&self) -> bool {
        !self.at.is_empty() && self.at.iter().all(is_loopback)
    }

    /// Whether one of them is a name.
    pub(super) fn has_name(&self) -> bool {
        self.at.iter().any(|address| name_of(address).is_some())
    }

    /// With names replaced by what they mean now, by the system's own resolver.
    ///
    /// # Errors
    /// Where there is no address left because no name could be resolved.
    pub(crate) async fn resolved(self) -> io::Result<Self> {
        let (mut at, mut failed) = (Vec::new(), None);
        for address in self.at {
            let Some((name, family)) = name_of(&address) else {
                at.push(address);
                continue;
            };
            match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(found) => {
                    let ips = found.map(|socket| socket.ip()).filter(|ip| family.takes(*ip));
                    at.extend(ips.map(|ip| with_ip(&address, ip)));
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if at.is_empty() => Err(error),
            _ => Ok(Self { at, ..self }),
        }
    }
}

impl std::fmt::Display for Addresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, address) in self.at.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{address}/p2p/{}", self.peer)?;
        }
        Ok(())
    }
}

/// Which addresses a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Both,
    V4,
    V6,
}

impl Family {
    const fn takes(self, ip: IpAddr) -> bool {
        match self {
            Self::Both => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }
}

fn name_of(address: &Multiaddr) -> Option<(String, Family)> {
    match address.iter().next()? {
        Protocol::Dns(name) => Some((name.into_owned(), Family::Both)),
        Protocol::Dns4(name) => Some((name.into_owned(), Family::V4)),
        Protocol::Dns6(name) => Some((name.into_owned(), Family::V6)),
        _ => None,
    }
}

/// The address and whose it is.
fn split(mut address: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match address.pop() {
        Some(Protocol::P2p(peer)) => (address, Some(peer)),
        Some(last) => (address.with(last), None),
        None => (address, None),
    }
}

/// The IP address, where it has one.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    ip_of(address).is_some_and(|ip| ip.is_loopback())
}

/// Whether it stands for every address of the machine.
pub(super) fn is_wildcard(address: &Multiaddr) -> bool {
    ip_of(address).is_some_and(|ip| ip.is_unspecified())
}

/// Whether another machine may reach it: not loopback, and not of one link only, where it means nothing without an interface.
pub(super) fn is_routable(address: &Multiaddr) -> bool {
    match ip_of(address) {
        Some(IpAddr::V4(ip)) => {
            let leads_nowhere = ip.is_loopback() || ip.is_link_local() || ip.is_unspecified();
            !leads_nowhere && !ip.is_multicast() && !ip.is_broadcast()
        }
        Some(IpAddr::V6(ip)) => {
            let leads_nowhere = ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified();
            !leads_nowhere && !ip.is_multicast()
        }
        // A name, or within this process.
        None => true,
    }
}

/// The same port and protocols at another IP address.
fn with_ip(address: &Multiaddr, ip: IpAddr) -> Multiaddr {
    std::iter::once(Protocol::from(ip))
        .chain(address.iter().skip(1))
        .collect()
}

/// The port, of TCP or UDP.
pub(super) fn port_of(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    })
}

/// The same with another port.
pub(super) fn with_port(address: &Multiaddr, port: u16) -> Multiaddr {
    let parts = address.iter().map(|part| match part {
        Protocol::Tcp(_) => Protocol::Tcp(port),
        Protocol::Udp(_) => Protocol::Udp(port),
        other => other,
    });
    parts.collect()
}

/// The address that the kernel gives to what this machine sends there: the one at which the other side can reach it. No packet
/// is sent.
pub(super) fn local_towards(address: &Multiaddr) -> Option<IpAddr> {
    let (ip, port) = (ip_of(address)?, port_of(address)?);
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(ip, port)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn put_short(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u8(u8::try_from(bytes.len()).expect("checked by the caller; a peer id has 42 bytes at most"));
    out.put_slice(bytes);
}

fn take_short<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first()?;
    let (taken, rest) = rest.split_at_checked(usize::from(*length))?;
    *bytes = rest;
    Some(taken)
}

/// Addresses of a member that others are told.
const TOLD_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::NodeIdentity;
    use super::*;

    fn parsed(addresses: &[&str]) -> Vec<Multiaddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn some(addresses: &[&str]) -> Addresses {
        Addresses::new(NodeIdentity::random().peer_id(), parsed(addresses))
    }

    #[test]
    fn addresses_survive_the_wire_and_what_does_not_fit_is_left_out() {
        let all = some(&[
            "/ip4/10.0.0.1/tcp/4001",
            "/ip6/fd00::1/udp/4001/quic-v1",
            "/dns4/a.test/tcp/1",
            "/memory/7",
        ]);
        assert_eq!(Addresses::decode(&all.encode()), Ok(all.clone()));
        let first = all.encode_within(all.encode_within(usize::MAX).len() - 1);
        assert_eq!(Addresses::decode(&first).unwrap().at(), &all.at()[..3]);
        for cut in 1..all.encode().len() {
            // A shorter list may be one too; it is never a panic.
            let _ = Addresses::decode(&all.encode()[..cut]);
        }
        assert_eq!(Addresses::decode(b"nonsense"), Err(AddressError::Malformed));
    }

    #[test]
    fn addresses_are_sorted_by_the_peers_they_are_of() {
        let (a, b) = (some(&["/ip4/10.0.0.1/tcp/1"]), some(&["/ip4/10.0.0.2/tcp/1"]));
        let full = |of: &Addresses, at: &str| -> Multiaddr { format!("{at}/p2p/{}", of.peer).parse().unwrap() };
        let given = [
            full(&a, "/ip4/10.0.0.1/tcp/1"),
            full(&b, "/ip4/10.0.0.2/tcp/1"),
            full(&a, "/ip6/::1/tcp/1"),
        ];
        let peers = Addresses::by_peer(&given).unwrap();
        assert_eq!([peers[0].peer, peers[1].peer], [a.peer, b.peer]);
        assert_eq!(peers[0].at(), parsed(&["/ip4/10.0.0.1/tcp/1", "/ip6/::1/tcp/1"]));
        assert!(matches!(Addresses::of(&given), Err(AddressError::OtherPeer(_))));
        let nobody = parsed(&["/ip4/10.0.0.1/tcp/1"]);
        assert!(matches!(Addresses::by_peer(&nobody), Err(AddressError::NoPeerId(_))));
    }

    #[test]
    fn where_a_peer_was_seen_is_added_once_with_its_own_port() {
        let host = some(&["/ip4/172.17.0.1/tcp/4001"]);
        let seen = host.seen_at("10.0.0.5".parse().unwrap()).unwrap();
        assert_eq!(
            seen.at(),
            parsed(&["/ip4/10.0.0.5/tcp/4001", "/ip4/172.17.0.1/tcp/4001"])
        );
        assert_eq!(seen.clone().seen_at("172.17.0.1".parse().unwrap()), None);
        let v6 = seen.seen_at("fd00::5".parse().unwrap()).unwrap();
        assert_eq!(v6.at()[0], "/ip6/fd00::5/tcp/4001".parse().unwrap());
        assert_eq!(some(&["/memory/7"]).seen_at("10.0.0.5".parse().unwrap()), None);
    }

    #[test]
    fn what_is_told_of_a_member_is_where_its_socket_is_and_what_can_be_true() {
        let said = some(&[
            "/ip4/172.17.0.1/tcp/4001",
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/169.254.1.1/tcp/4001",
            "/ip6/fe80::1/tcp/4001",
            "/ip4/224.0.0.1/tcp/4001",
            "/ip4/255.255.255.255/tcp/4001",
            "/ip4/10.0.0.9/tcp/4001",
            "/dns4/a.test/tcp/4001",
        ]);
        let seen = "10.0.0.5".parse().unwrap();
        let nobodys = |_, _| false;
        let open = said.clone().told(seen, None, nobodys);
        let expected = [
            "/ip4/10.0.0.5/tcp/4001",
            "/ip4/172.17.0.1/tcp/4001",
            "/ip4/10.0.0.9/tcp/4001",
            "/dns4/a.test/tcp/4001",
        ];
        assert_eq!(open.at(), parsed(&expected));
        let taken = said
            .clone()
            .told(seen, None, |ip, port| (ip, port) == ("10.0.0.9".parse().unwrap(), 4001));
        assert!(!taken.at().contains(&parsed(&["/ip4/10.0.0.9/tcp/4001"])[0]));
        // In a closed swarm nothing is told that is neither seen nor certified.
        let closed = said.clone().told(seen, Some(&[]), nobodys);
        assert_eq!(closed.at(), parsed(&["/ip4/10.0.0.5/tcp/4001"]));
        let certified = said.clone().told(seen, Some(&["10.0.0.9".parse().unwrap()]), nobodys);
        assert_eq!(
            certified.at(),
            parsed(&["/ip4/10.0.0.5/tcp/4001", "/ip4/10.0.0.9/tcp/4001"])
        );
        // Who is on loopback is told of to those who are there too; of one link nobody is.
        let here = said.clone().told("127.0.0.1".parse().unwrap(), Some(&[]), nobodys);
        assert_eq!(here.at(), parsed(&["/ip4/127.0.0.1/tcp/4001"]));
        let on_link = said.told("fe80::1".parse().unwrap(), Some(&[]), nobodys);
        assert!(on_link.at().is_empty());
    }

    #[test]
    fn loopback_and_addresses_of_one_link_lead_nowhere_from_elsewhere() {
        let kinds = |address: &str| {
            let address = address.parse().unwrap();
            (is_loopback(&address), is_routable(&address))
        };
        assert_eq!(kinds("/ip4/127.0.0.1/tcp/1"), (true, false));
        assert_eq!(kinds("/ip6/::1/tcp/1"), (true, false));
        assert_eq!(kinds("/ip6/fe80::1/tcp/1"), (false, false));
        assert_eq!(kinds("/ip4/169.254.1.1/tcp/1"), (false, false));
        assert_eq!(kinds("/ip6/fd00::1/tcp/1"), (false, true));
        assert_eq!(kinds("/ip4/10.0.0.1/tcp/1"), (false, true));
        let both = some(&["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1"]);
        assert!(!both.is_on_loopback());
        let elsewhere = both.without_loopback();
        assert_eq!(elsewhere.at(), parsed(&["/ip4/10.0.0.1/tcp/1"]));
        assert!(some(&["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"]).is_on_loopback());
    }

    #[tokio::test]
    async fn names_become_the_addresses_of_their_family_and_a_dead_one_is_an_error() {
        let named = some(&["/dns4/localhost/tcp/4301", "/ip4/10.0.0.1/tcp/1"]);
        assert!(named.has_name());
        let resolved = named.resolved().await.unwrap();
        assert_eq!(
            resolved.at(),
            parsed(&["/ip4/127.0.0.1/tcp/4301", "/ip4/10.0.0.1/tcp/1"])
        );
        assert!(!resolved.has_name());
        assert!(some(&["/dns4/no-such-name.invalid/tcp/1"]).resolved().await.is_err());
        let one_is_alive = some(&["/dns4/no-such-name.invalid/tcp/1", "/dns/localhost/tcp/2"]);
        assert!(!one_is_alive.resolved().await.unwrap().at().is_empty());
    }

    #[test]
    fn the_way_to_loopback_begins_at_loopback() {
        let ip = local_towards(&"/ip4/127.0.0.1/tcp/9".parse().unwrap());
        assert_eq!(ip, Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(local_towards(&"/memory/7".parse().unwrap()), None);
    }
}
