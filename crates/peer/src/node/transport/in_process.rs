//! A libp2p transport between the peers of one process: no sockets, no encryption, a native muxer.
//!
//! It exists to put ten thousand real libp2p swarms on one machine. It proves nobody's identity: the ids of both ends
//! are simply told, which is all right among peers that one process made itself, and nowhere else.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::{Ready, ready};
use libp2p::PeerId;
use libp2p::core::Transport;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent};
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::{Multiaddr, Protocol};
use parking_lot::Mutex;

use super::pipe::{PipeEnd, pair, remember};

/// The listeners of one process, by number. Peers that share it can reach each other.
#[derive(Clone, Default)]
pub struct InProcessNetwork {
    listeners: Arc<Mutex<HashMap<u64, Arc<Listener>>>>,
}

impl fmt::Debug for InProcessNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessNetwork").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Listener {
    peer: Mutex<Option<PeerId>>,
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

/// The transport of one peer.
pub(super) struct InProcessTransport {
    network: InProcessNetwork,
    peer: PeerId,
    listening: Option<(ListenerId, u64, Arc<Listener>)>,
    events: VecDeque<TransportEvent<<Self as Transport>::ListenerUpgrade, io::Error>>,
    waker: Option<Waker>,
}

impl InProcessTransport {
    pub(super) fn new(network: InProcessNetwork, peer: PeerId) -> Self {
        Self {
            network,
            peer,
            listening: None,
            events: VecDeque::new(),
            waker: None,
        }
    }

    fn connect(&self, number: u64) -> io::Result<(PeerId, StreamMuxerBox)> {
        let listener = self.network.listeners.lock().get(&number).cloned();
        let refused = |why| io::Error::new(io::ErrorKind::ConnectionRefused, why);
        let listener = listener.ok_or_else(|| refused("nobody listens there"))?;
        let remote = listener.peer.lock().ok_or_else(|| refused("nobody listens there"))?;
        let (near, far) = InProcessMuxer::pair();
        let mut state = listener.state.lock();
        if state.incoming.len() >= BACKLOG {
            return Err(refused("the listener's backlog is full"));
        }
        state.incoming.push_back(Incoming {
            from: self.peer,
            muxer: far,
        });
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok((remote, StreamMuxerBox::new(near)))
    }
}

impl Transport for InProcessTransport {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<Self::Output>>;
    type Dial = Ready<io::Result<Self::Output>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        let number = number(&addr).ok_or_else(|| TransportError::MultiaddrNotSupported(addr.clone()))?;
        let mut listeners = self.network.listeners.lock();
        if listeners.contains_key(&number) {
            return Err(TransportError::Other(io::ErrorKind::AddrInUse.into()));
        }
        let listener = Arc::new(Listener::default());
        *listener.peer.lock() = Some(self.peer);
        listeners.insert(number, Arc::clone(&listener));
        self.listening = Some((id, number, listener));
        self.events.push_back(TransportEvent::NewAddress {
            listener_id: id,
            listen_addr: addr,
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let is_ours = self.listening.as_ref().is_some_and(|(ours, ..)| *ours == id);
        if is_ours && let Some((_, number, _)) = self.listening.take() {
            self.network.listeners.lock().remove(&number);
            self.events.push_back(TransportEvent::ListenerClosed {
                listener_id: id,
                reason: Ok(()),
            });
        }
        is_ours
    }

    fn dial(&mut self, addr: Multiaddr, _opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        match number(&addr) {
            Some(number) => Ok(ready(self.connect(number))),
            None => Err(TransportError::MultiaddrNotSupported(addr)),
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        remember(&mut self.waker, cx);
        let Some((listener_id, number, listener)) = &self.listening else {
            return Poll::Pending;
        };
        let mut state = listener.state.lock();
        let Some(Incoming { from, muxer }) = state.incoming.pop_front() else {
            remember(&mut state.waker, cx);
            return Poll::Pending;
        };
        Poll::Ready(TransportEvent::Incoming {
            listener_id: *listener_id,
            upgrade: ready(Ok((from, StreamMuxerBox::new(muxer)))),
            local_addr: Protocol::Memory(*number).into(),
            // Nobody listens at 0: the dialler's own address is not told.
            send_back_addr: Protocol::Memory(0).into(),
        })
    }
}

impl Drop for InProcessTransport {
    fn drop(&mut self) {
        if let Some((_, number, listener)) = self.listening.take() {
            self.network.listeners.lock().remove(&number);
            listener.state.lock().incoming.clear();
        }
    }
}

/// The number of `/memory/<number>`, with or without a peer id behind it.
fn number(addr: &Multiaddr) -> Option<u64> {
    match addr.iter().next()? {
        Protocol::Memory(number) if number != 0 => Some(number),
        _ => None,
    }
}

/// One end of an in-process connection; its streams are pipes of their own.
struct InProcessMuxer {
    shared: Arc<Mutex<[End; 2]>>,
    side: usize,
}

#[derive(Default)]
struct End {
    inbound: VecDeque<PipeEnd>,
    closed: bool,
    waker: Option<Waker>,
}

impl InProcessMuxer {
    fn pair() -> (Self, Self) {
        let shared = Arc::new(Mutex::new([End::default(), End::default()]));
        let far = Self {
            shared: Arc::clone(&shared),
            side: 1,
        };
        (Self { shared, side: 0 }, far)
    }

    fn close(&self) {
        let mut ends = self.shared.lock();
        ends[self.side].closed = true;
        ends[self.side].inbound.clear();
        let waker = ends[1 - self.side].waker.take();
        drop(ends);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl StreamMuxer for InProcessMuxer {
    type Substream = PipeEnd;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<PipeEnd>> {
        let mut ends = self.shared.lock();
        let near = &mut ends[self.side];
        if let Some(stream) = near.inbound.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        remember(&mut near.waker, cx);
        Poll::Pending
    }

    fn poll_outbound(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<PipeEnd>> {
        let mut ends = self.shared.lock();
        let far = &mut ends[1 - self.side];
        if far.closed || far.inbound.len() >= STREAMS_UNACCEPTED_MAX {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let (ours, theirs) = pair(WINDOW);
        far.inbound.push_back(theirs);
        let waker = far.waker.take();
        drop(ends);
        if let Some(waker) = waker {
            waker.wake();
        }
        Poll::Ready(Ok(ours))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let mut ends = self.shared.lock();
        if ends[1 - self.side].closed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        remember(&mut ends[self.side].waker, cx);
        Poll::Pending
    }
}

impl Drop for InProcessMuxer {
    fn drop(&mut self) {
        self.close();
    }
}

/// Bytes that wait in one direction of a stream at most. They are references where the writer has a shared buffer.
const WINDOW: usize = 64 << 10;
/// Connections that wait to be accepted at most: a region's hosts may all dial their seeder in the same moment.
const BACKLOG: usize = 65_536;
/// Streams of a connection that wait to be accepted at most. We open one.
const STREAMS_UNACCEPTED_MAX: usize = 64;
