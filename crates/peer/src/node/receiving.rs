//! What a connection's task has read of chunks: whether it is wanted, when it has passed the downlink, and what became of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::AsyncRead as _;
use futures::io::ReadHalf;
use libp2p::swarm::Stream;
use swarm::wire::DataHeader;
use swarm::{Bytes as ByteCount, ChunkIndex, Event, HostId, Time};

use super::carrier::without_blocking;
use super::shared::{Core, Shared, State};
use super::transport::{Arrived, read_shared};
use crate::store::{ChunkSink, Received};

/// What is to be done with the payload behind a header.
pub(super) enum Incoming {
    /// Begin a new chunk.
    Begin(ChunkSink),
    /// It continues the chunk that is being received.
    Continue,
    /// Read it and throw it away.
    Discard,
    /// The sender broke the protocol.
    Violation,
}

/// Fills `buf` as far as there is something to read. A hash of many small parts that begin anywhere costs half as much again as one of
/// large parts.
pub(super) fn read_much(
    stream: &mut ReadHalf<Stream>,
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> Poll<io::Result<Arrived>> {
    let mut filled = match ready!(read_shared(Pin::new(&mut *stream), cx, buf))? {
        Arrived::Copied(count @ 1..) => count,
        end_or_shared => return Poll::Ready(Ok(end_or_shared)),
    };
    while filled < buf.len() {
        match Pin::new(&mut *stream).poll_read(cx, &mut buf[filled..]) {
            Poll::Ready(Ok(count @ 1..)) => filled += count,
            // Whatever it is, it is found again by who reads next.
            _ => break,
        }
    }
    Poll::Ready(Ok(Arrived::Copied(filled)))
}

impl Shared {
    /// A header has come: what to do with its payload. `received` is what is there of the chunk being received.
    pub(super) fn begin_payload(
        self: &Arc<Self>,
        from: HostId,
        header: DataHeader,
        receiving: Option<(ChunkIndex, u32)>,
    ) -> Incoming {
        let mut state = self.state.lock();
        let state = &mut *state;
        let (Some(manifest), Some(store)) = (&state.manifest, &state.store) else {
            return Incoming::Violation;
        };
        let Some(chunk) = manifest.chunk(header.chunk) else {
            return Incoming::Violation;
        };
        if u64::from(header.offset) + u64::from(header.length) > u64::from(manifest.length(chunk)) {
            return Incoming::Violation;
        }
        let Some(Core::Peer(peer)) = &state.core else {
            return Incoming::Violation;
        };
        let link = state.links.get_mut(&from);
        if !link.is_some_and(|link| link.sends(header.length)) {
            return Incoming::Violation;
        }
        if !peer.expects(from, chunk) {
            if header.length > 0 {
                self.tell(state, Event::ChunkProgress { from, chunk });
            }
            return Incoming::Discard;
        }
        if header.length == 0 {
            self.tell(state, Event::ChunkAborted { from, chunk });
            return Incoming::Discard;
        }
        let incoming = if header.offset == 0 {
            Incoming::Begin(ChunkSink::new(Arc::clone(store), manifest, chunk))
        } else if receiving == Some((chunk, header.offset)) {
            Incoming::Continue
        } else {
            return Incoming::Discard;
        };
        if let Some(link) = state.links.get_mut(&from) {
            link.receives = true;
        }
        self.tell(state, Event::ChunkProgress { from, chunk });
        incoming
    }

    /// When the segment that has just been read has passed the downlink; `None` for at once, and where its sender has waited
    /// for that.
    pub(super) fn pass_downlink(&self, from: Option<HostId>, length: u32) -> Option<Time> {
        let state = self.state.lock();
        let (now, bytes) = (self.clock.now(), ByteCount::new(length.into()));
        let shared = state.shared_down.as_ref().map(|shared| now + shared.wait_for(bytes));
        let link = from.and_then(|from| state.links.get(&from));
        let has_waited = link.is_some_and(|link| link.downlink.is_some());
        let downlink = state.downlink.as_ref().filter(|_| !has_waited);
        let own = downlink.map(|downlink| downlink.lock().reserve(now, bytes));
        own.max(shared).filter(|at| *at > now)
    }

    pub(super) fn discarded(&self, bytes: u32) {
        self.state.lock().discarded(bytes);
    }

    /// A whole chunk was received from `from`, whose task this is called by.
    pub(super) fn take_chunk(self: &Arc<Self>, from: HostId, sink: Box<ChunkSink>) {
        let (chunk, length) = (sink.chunk(), sink.received());
        if !sink.is_blocking() {
            let received = sink.finish();
            let mut state = self.state.lock();
            state.awake = Some(from);
            self.chunk_received(&mut state, from, (chunk, length), received);
            state.awake = None;
            return;
        }
        let member = Arc::clone(self);
        let store = move || {
            let received = sink.finish();
            let mut state = member.state.lock();
            member.chunk_received(&mut state, from, (chunk, length), received);
        };
        if self.disk.is_behind() {
            without_blocking(store);
        } else {
            self.disk.run(store);
        }
    }

    fn chunk_received(
        self: &Arc<Self>,
        state: &mut State,
        from: HostId,
        (chunk, length): (ChunkIndex, u32),
        received: Received,
    ) {
        if let Some(link) = state.links.get_mut(&from) {
            link.receives = false;
        }
        let expected = matches!(&state.core, Some(Core::Peer(peer)) if peer.expects(from, chunk));
        match received {
            Received::Stored if expected => self.tell(state, Event::ChunkStored { from, chunk }),
            Received::Stored => {
                state.discarded(length);
                // While it was written its connection may have ended, and it is wanted again though it is here.
                self.tell(state, Event::ChunkFound { chunk });
            }
            Received::Corrupt => {
                tracing::warn!(host = %self.host, %from, %chunk, "chunk corrupt");
                self.tell(state, Event::ChunkCorrupt { from, chunk });
            }
            Received::Failed(error) => {
                tracing::error!(host = %self.host, %chunk, %error, "chunk not stored");
                state.observer.failed(self.host, &error);
                state.discarded(length);
                self.tell(state, Event::ChunkAborted { from, chunk });
            }
        }
    }
}
