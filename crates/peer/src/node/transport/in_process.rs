//! A libp2p transport between the peers of one process: no sockets, no encryption, a native muxer.
//!
//! It exists to put ten thousand real libp2p swarms on one machine. It proves nobody's identity: the ids of both ends
//! are simply told, which is all right among peers that one process made itself, and nowhere else. Invariant: a number
//! is registered for exactly as long as its listener lives.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::{Ready, ready};
use libp2p::PeerId;
use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::{Multiaddr, Protocol};
use parking_lot::Mutex;

use super::muxer::InProcessMuxer;
use super::path::PathDelay;
use super::pipe::remember;

/// The listeners of one process, by the number of their address `/memory/<number>`. Peers that share it can reach each
/// other. At `/memory/0` a listener gets a number that nobody has.
#[derive(Clone, Default)]
pub struct InProcessNetwork {
    listeners: Arc<Mutex<BTreeMap<u64, Arc<Listener>>>>,
}

impl fmt::Debug for InProcessNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessNetwork").finish_non_exhaustive()
    }
}

impl InProcessNetwork {
    fn register(&self, wanted: u64, peer: PeerId) -> io::Result<(u64, Arc<Listener>)> {
        let mut listeners = self.listeners.lock();
        let number = match wanted {
            0 => {
                let free = |last: &u64| last.checked_add(1).map(|next| next.max(ASSIGNED_FROM));
                let next = listeners.keys().next_back().map_or(Some(ASSIGNED_FROM), free);
                next.ok_or_else(|| refused(io::ErrorKind::AddrNotAvailable, "no number is free".to_owned()))?
            }
            number => number,
        };
        match listeners.entry(number) {
            Entry::Occupied(_) => {
                let why = format!("somebody listens at /memory/{number} already");
                Err(refused(io::ErrorKind::AddrInUse, why))
            }
            Entry::Vacant(vacant) => {
                let state = Mutex::default();
                let listener = Arc::clone(vacant.insert(Arc::new(Listener { peer, state })));
                Ok((number, listener))
            }
        }
    }

    fn connect(&self, from: PeerId, number: u64, path: Option<&PathDelay>) -> io::Result<(PeerId, StreamMuxerBox)> {
        let listener = self.listeners.lock().get(&number).cloned();
        let listener = listener.ok_or_else(|| {
            let why = format!("nobody listens at /memory/{number}");
            refused(io::ErrorKind::ConnectionRefused, why)
        })?;
        let (near, far) = InProcessMuxer::pair(path);
        let mut state = listener.state.lock();
        if state.incoming.len() >= BACKLOG {
            let why = format!("/memory/{number} has yet to accept {BACKLOG} connections");
            return Err(refused(io::ErrorKind::ConnectionRefused, why));
        }
        state.incoming.push_back(Incoming { from, muxer: far });
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok((listener.peer, StreamMuxerBox::new(near)))
    }
}

struct Listener {
    peer: PeerId,
    state: Mutex<ListenerState>,
}

#[derive(Default)]
struct ListenerState {
    incoming: VecDeque<Incoming>,
    waker: Option<Waker>,
}

struct Incoming {
    from: PeerId,
    muxer: InProcessMuxer,
}

/// A listener of this transport. Its number is free again when this is dropped, and whoever was dialling is cut off.
struct Listening {
    id: ListenerId,
    number: u64,
    listener: Arc<Listener>,
    network: InProcessNetwork,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let unregistered = self.network.listeners.lock().remove(&self.number);
        // A dialler that found the listener before that ends the last reference, and its connection, by itself.
        let unaccepted = std::mem::take(&mut self.listener.state.lock().incoming);
        drop((unregistered, unaccepted));
    }
}

/// The transport of one peer.
pub(super) struct InProcessTransport {
    network: InProcessNetwork,
    peer: PeerId,
    /// What the connections that it dials have to pass, both ways.
    path: Option<PathDelay>,
    listening: Vec<Listening>,
    events: VecDeque<TransportEvent<<Self as Transport>::ListenerUpgrade, io::Error>>,
    waker: Option<Waker>,
}

impl InProcessTransport {
    pub(super) fn new(network: InProcessNetwork, peer: PeerId, path: Option<PathDelay>) -> Self {
        Self {
            network,
            peer,
            path,
            listening: Vec::new(),
            events: VecDeque::new(),
            waker: None,
        }
    }

    fn tell(&mut self, event: TransportEvent<<Self as Transport>::ListenerUpgrade, io::Error>) {
        self.events.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Transport for InProcessTransport {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<Self::Output>>;
    type Dial = Ready<io::Result<Self::Output>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        let wanted = number(&addr).ok_or_else(|| TransportError::MultiaddrNotSupported(addr))?;
        let registered = self.network.register(wanted, self.peer);
        let (number, listener) = registered.map_err(TransportError::Other)?;
        self.listening.push(Listening {
            id,
            number,
            listener,
            network: self.network.clone(),
        });
        self.tell(TransportEvent::NewAddress {
            listener_id: id,
            listen_addr: Protocol::Memory(number).into(),
        });
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let Some(place) = self.listening.iter().position(|listening| listening.id == id) else {
            return false;
        };
        drop(self.listening.remove(place));
        self.tell(TransportEvent::ListenerClosed {
            listener_id: id,
            reason: Ok(()),
        });
        true
    }

    fn dial(&mut self, addr: Multiaddr, _opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        match number(&addr) {
            Some(number) => Ok(ready(self.network.connect(self.peer, number, self.path.as_ref()))),
            None => Err(TransportError::MultiaddrNotSupported(addr)),
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        remember(&mut self.waker, cx);
        for Listening {
            id, number, listener, ..
        } in &self.listening
        {
            let mut state = listener.state.lock();
            let Some(Incoming { from, muxer }) = state.incoming.pop_front() else {
                remember(&mut state.waker, cx);
                continue;
            };
            return Poll::Ready(TransportEvent::Incoming {
                listener_id: *id,
                upgrade: ready(Ok((from, StreamMuxerBox::new(muxer)))),
                local_addr: Protocol::Memory(*number).into(),
                // Nobody listens at 0: the dialler's own address is not told.
                send_back_addr: Protocol::Memory(0).into(),
            });
        }
        Poll::Pending
    }
}

/// The number of `/memory/<number>`, with or without a peer id behind it.
fn number(addr: &Multiaddr) -> Option<u64> {
    let mut parts = addr.iter();
    match (parts.next()?, parts.next(), parts.next()) {
        (Protocol::Memory(number), None | Some(Protocol::P2p(_)), None) => Some(number),
        _ => None,
    }
}

fn refused(kind: io::ErrorKind, why: String) -> io::Error {
    io::Error::new(kind, why)
}

/// Connections that wait to be accepted at most: a region's hosts may all dial their seeder in the same moment.
const BACKLOG: usize = 65_536;
/// Numbers are given out from here on to whoever listens at 0, so that they do not get in the way of chosen ones.
const ASSIGNED_FROM: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
    use libp2p::core::Endpoint;
    use libp2p::core::muxing::StreamMuxerExt;
    use libp2p::core::transport::PortUse;
    use std::future::poll_fn;

    type Event = TransportEvent<<InProcessTransport as Transport>::ListenerUpgrade, io::Error>;

    fn transport(network: &InProcessNetwork) -> InProcessTransport {
        InProcessTransport::new(network.clone(), PeerId::random(), None)
    }

    fn listen(transport: &mut InProcessTransport, address: &str) -> ListenerId {
        let id = ListenerId::next();
        transport.listen_on(id, address.parse().unwrap()).unwrap();
        id
    }

    fn dial(transport: &mut InProcessTransport, address: &str) -> io::Result<(PeerId, StreamMuxerBox)> {
        let (role, port_use) = (Endpoint::Dialer, PortUse::New);
        let dial = transport.dial(address.parse().unwrap(), DialOpts { role, port_use });
        dial.unwrap().now_or_never().unwrap()
    }

    async fn event(transport: &mut InProcessTransport) -> Event {
        poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).await
    }

    async fn accept(transport: &mut InProcessTransport) -> (ListenerId, PeerId, StreamMuxerBox) {
        loop {
            if let Event::Incoming {
                listener_id, upgrade, ..
            } = event(transport).await
            {
                let (peer, muxer) = upgrade.await.unwrap();
                return (listener_id, peer, muxer);
            }
        }
    }

    #[tokio::test]
    async fn both_ends_are_told_who_the_other_is_and_bytes_pass() {
        let network = InProcessNetwork::default();
        let (mut a, mut b) = (transport(&network), transport(&network));
        listen(&mut b, "/memory/7");
        let (remote, mut near) = dial(&mut a, &format!("/memory/7/p2p/{}", b.peer)).unwrap();
        let (_, from, mut far) = accept(&mut b).await;
        assert_eq!((remote, from), (b.peer, a.peer));
        let mut out = poll_fn(|cx| near.poll_outbound_unpin(cx)).await.unwrap();
        let mut back = poll_fn(|cx| far.poll_inbound_unpin(cx)).await.unwrap();
        out.write_all(b"hello").await.unwrap();
        out.close().await.unwrap();
        let mut read = Vec::new();
        back.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"hello");
    }

    #[tokio::test]
    async fn a_dial_to_nobody_is_refused_and_names_the_address() {
        let network = InProcessNetwork::default();
        let error = dial(&mut transport(&network), "/memory/9").err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains("/memory/9"), "{error}");
    }

    #[test]
    fn addresses_of_other_transports_are_left_to_those() {
        let mut transport = transport(&InProcessNetwork::default());
        for address in ["/ip4/127.0.0.1/tcp/1", "/memory/3/ws", "/p2p-circuit"] {
            let refused = transport.listen_on(ListenerId::next(), address.parse().unwrap());
            assert!(
                matches!(refused, Err(TransportError::MultiaddrNotSupported(_))),
                "{address}"
            );
        }
    }

    #[tokio::test]
    async fn a_number_has_one_listener_and_is_free_again_when_that_has_gone() {
        let network = InProcessNetwork::default();
        let (mut a, mut b, mut dialler) = (transport(&network), transport(&network), transport(&network));
        listen(&mut a, "/memory/7");
        let taken = b.listen_on(ListenerId::next(), "/memory/7".parse().unwrap());
        let Err(TransportError::Other(error)) = taken else {
            panic!("{taken:?}");
        };
        assert!(error.to_string().contains("/memory/7"), "{error}");
        let (_, mut waiting) = dial(&mut dialler, "/memory/7").unwrap();
        drop(a);
        // Whoever was not accepted yet learns that it never will be.
        assert!(poll_fn(|cx| waiting.poll_unpin(cx)).await.is_err());
        assert!(dial(&mut dialler, "/memory/7").is_err());
        listen(&mut b, "/memory/7");
        assert_eq!(dial(&mut dialler, "/memory/7").unwrap().0, b.peer);
    }

    #[tokio::test]
    async fn several_listeners_of_one_peer_accept_and_go_one_by_one() {
        let network = InProcessNetwork::default();
        let (mut a, mut dialler) = (transport(&network), transport(&network));
        let first = listen(&mut a, "/memory/1");
        let second = listen(&mut a, "/memory/2");
        let _near = dial(&mut dialler, "/memory/2").unwrap();
        assert_eq!(accept(&mut a).await.0, second);
        let _near = dial(&mut dialler, "/memory/1").unwrap();
        assert_eq!(accept(&mut a).await.0, first);
        assert!(a.remove_listener(first));
        assert!(!a.remove_listener(first));
        assert!(matches!(event(&mut a).await, Event::ListenerClosed { listener_id, .. } if listener_id == first));
        assert!(dial(&mut dialler, "/memory/1").is_err());
        assert!(dial(&mut dialler, "/memory/2").is_ok());
    }

    #[tokio::test]
    async fn listeners_at_0_get_numbers_that_nobody_has_and_tell_them() {
        let network = InProcessNetwork::default();
        let (mut a, mut b) = (transport(&network), transport(&network));
        let mut addresses = Vec::new();
        for transport in [&mut a, &mut b] {
            listen(transport, "/memory/0");
            let Event::NewAddress { listen_addr, .. } = event(transport).await else {
                panic!("the address was not told");
            };
            addresses.push(listen_addr.to_string());
        }
        assert_ne!(addresses[0], addresses[1]);
        assert_eq!(dial(&mut a, &addresses[1]).unwrap().0, b.peer);
    }

    #[tokio::test]
    async fn a_listener_that_waits_is_woken_by_a_dial_and_by_its_removal() {
        let network = InProcessNetwork::default();
        let (mut a, mut dialler) = (transport(&network), transport(&network));
        let id = listen(&mut a, "/memory/1");
        assert!(matches!(event(&mut a).await, Event::NewAddress { .. }));
        let accepting = tokio::spawn(async move {
            accept(&mut a).await;
            a
        });
        tokio::task::yield_now().await;
        let _near = dial(&mut dialler, "/memory/1").unwrap();
        let mut a = accepting.await.unwrap();
        let (woken, waker) = futures_waker();
        assert!(Pin::new(&mut a).poll(&mut Context::from_waker(&waker)).is_pending());
        a.remove_listener(id);
        assert!(woken.load(std::sync::atomic::Ordering::Relaxed));
    }

    #[test]
    fn a_full_backlog_refuses_instead_of_growing() {
        let network = InProcessNetwork::default();
        let (mut a, mut dialler) = (transport(&network), transport(&network));
        listen(&mut a, "/memory/1");
        let waiting: Vec<_> = (0..BACKLOG).map(|_| dial(&mut dialler, "/memory/1").unwrap()).collect();
        let error = dial(&mut dialler, "/memory/1").err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        drop(waiting);
    }

    /// A waker that notes that it was woken.
    fn futures_waker() -> (Arc<std::sync::atomic::AtomicBool>, Waker) {
        struct Note(Arc<std::sync::atomic::AtomicBool>);
        impl std::task::Wake for Note {
            fn wake(self: Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let woken = Arc::new(std::sync::atomic::AtomicBool::new(false));
        (Arc::clone(&woken), Arc::new(Note(woken)).into())
    }
}
