//! Where an endpoint listens: all that was asked for, or a sentence on why not.

use std::io;
use std::net::{IpAddr, Ipv6Addr, TcpListener, TcpStream};
use std::time::Duration;

use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm};

use super::NodeError;
use super::addresses;
use super::endpoint::Hub;

/// Listens at all of `wanted`. Of several wildcards one may fail, for a machine may lack a family.
pub(super) async fn listen_at<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    hub: &Hub,
    wanted: &[Multiaddr],
) -> Result<(), NodeError> {
    let failed = |address: &Multiaddr, source: Box<dyn std::error::Error + Send + Sync>| NodeError::Listen {
        address: address.clone(),
        source,
    };
    for address in wanted {
        if is_taken(address) {
            return Err(failed(address, io::Error::from(io::ErrorKind::AddrInUse).into()));
        }
    }
    let is_everywhere = wanted.iter().any(addresses::is_wildcard);
    let mut port = None;
    let mut last_failure = None;
    for address in wanted {
        if let Some(reason) = cannot_be_listened_on(address) {
            return Err(failed(address, reason.into()));
        }
        let same_port = port
            .filter(|_| addresses::port_of(address) == Some(0))
            .map(|port| addresses::with_port(address, port));
        let begun = match same_port.map(|address| swarm.listen_on(address)) {
            Some(Ok(listener)) => Ok(listener),
            _ => swarm.listen_on(address.clone()),
        };
        match begun {
            Ok(listener) => match first_address(swarm, hub, listener, address).await? {
                Some(at) => port = addresses::port_of(&at),
                None => tracing::warn!(%address, "no network interface has an address yet"),
            },
            Err(error) if wanted.len() > 1 && addresses::is_wildcard(address) => {
                tracing::debug!(%address, %error, "this family is left out");
                last_failure = Some(failed(address, Box::new(error)));
            }
            Err(error) => return Err(failed(address, Box::new(error))),
        }
    }
    if let Some(failure) = last_failure.filter(|_| port.is_none()) {
        return Err(failure);
    }
    // The addresses of a wildcard come one after the other, loopback first.
    while is_everywhere && let Ok(event) = tokio::time::timeout(SETTLE, swarm.select_next_some()).await {
        hub.note(&event);
    }
    Ok(())
}

/// Waits until a listener has an address; `None` where it has none for long, as without any interface.
async fn first_address<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    hub: &Hub,
    listener: ListenerId,
    wanted: &Multiaddr,
) -> Result<Option<Multiaddr>, NodeError> {
    let failed = |source: io::Error| NodeError::Listen {
        address: wanted.clone(),
        source: source.into(),
    };
    loop {
        let Ok(event) = tokio::time::timeout(FIRST_ADDRESS, swarm.select_next_some()).await else {
            return Ok(None);
        };
        hub.note(&event);
        match event {
            SwarmEvent::NewListenAddr { listener_id, address } if listener_id == listener => return Ok(Some(address)),
            SwarmEvent::ListenerError { listener_id, error } if listener_id == listener => return Err(failed(error)),
            SwarmEvent::ListenerClosed {
                listener_id,
                reason: Err(error),
                ..
            } if listener_id == listener => return Err(failed(error)),
            _ => {}
        }
    }
}

/// Whether somebody listens there already. TCP listeners of libp2p let others listen beside them, and then some connections
/// reach the one and some the other.
fn is_taken(address: &Multiaddr) -> bool {
    use libp2p::core::multiaddr::Protocol;
    let (Some(ip), Some(port)) = (addresses::ip_of(address), addresses::port_of(address)) else {
        return false;
    };
    if port == 0 || !address.iter().any(|part| matches!(part, Protocol::Tcp(_))) {
        return false;
    }
    match ip {
        // All of IPv6 would be all of IPv4, too, which may be somebody else's.
        IpAddr::V6(all) if all.is_unspecified() => {
            let here = (Ipv6Addr::LOCALHOST, port).into();
            TcpStream::connect_timeout(&here, PROBE).is_ok()
        }
        ip => TcpListener::bind((ip, port)).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse),
    }
}

/// Why nobody can listen there, where the transport would only say that it does not support it.
fn cannot_be_listened_on(address: &Multiaddr) -> Option<&'static str> {
    use libp2p::core::multiaddr::Protocol;
    match address.iter().next() {
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)) => Some(
            "a name; expected an address of this machine, /ip4/… or /ip6/…, and the name where others are told of it (--advertise)",
        ),
        _ => None,
    }
}

/// Who listens on this machine answers within this.
const PROBE: Duration = Duration::from_millis(200);
/// Without an address for so long there is no interface.
const FIRST_ADDRESS: Duration = Duration::from_secs(2);
/// The addresses of a wildcard come within this of each other.
const SETTLE: Duration = Duration::from_millis(20);
