//! One direction of an in-process stream: a bounded queue of byte buffers between a writer and a reader.
//!
//! Invariant: a writer waits while `limit` bytes are there to be read; they are read in the order in which they were written,
//! all of them before the end is seen. On a path with a delay bytes land here when their time has come; those that are on
//! the way do not count against the limit, as with a window that is as large as the path is long. A writer that owns its
//! bytes as [`Bytes`] hands over a reference instead of a copy, see [`write_shared`](super::write_shared), and a reader may have that reference,
//! see [`read_shared`](super::read_shared): then no byte is copied at all.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use futures::{AsyncRead, AsyncWrite};
use parking_lot::Mutex;

use super::handover::{give_to_reader, is_read_target, share};
use super::path::{ON_THE_WAY_MAX, PathDelay};

/// One end of a bidirectional in-process stream.
#[derive(Debug)]
pub(super) struct PipeEnd {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

impl PipeEnd {
    /// What ends this stream, both ways, without owning it.
    pub(super) fn cut(&self) -> PipeCut {
        PipeCut([Arc::downgrade(&self.incoming), Arc::downgrade(&self.outgoing)])
    }

    /// The next bytes as they were written; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.incoming.poll_next(cx)).await
    }
}

/// Ends a stream whose connection is no more. Keeps neither its ends nor its bytes alive.
#[derive(Debug)]
pub(super) struct PipeCut([Weak<Pipe>; 2]);

impl PipeCut {
    /// Whether an end of the stream is left.
    pub(super) fn is_of_use(&self) -> bool {
        self.0.iter().any(|pipe| pipe.strong_count() > 0)
    }

    /// Lets readers have what is on its way and then an error; writers get an error at once.
    pub(super) fn end(self) {
        for pipe in self.0.iter().filter_map(Weak::upgrade) {
            let mut state = pipe.state.lock();
            // Whoever had closed its half properly did so before: that end stays a proper one.
            state.cut = !state.writer_gone;
            let wakers = [state.reader.take(), state.writer.take()];
            drop(state);
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }
}

/// Two ends that are connected with each other, by a path with a delay where one is given.
pub(super) fn pair(limit: usize, path: Option<&PathDelay>) -> (PipeEnd, PipeEnd) {
    let (there, back) = (Arc::new(Pipe::new(limit, path)), Arc::new(Pipe::new(limit, path)));
    let near = PipeEnd {
        incoming: Arc::clone(&back),
        outgoing: Arc::clone(&there),
    };
    let far = PipeEnd {
        incoming: there,
        outgoing: back,
    };
    (near, far)
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    limit: usize,
    path: Option<PathDelay>,
    state: Mutex<PipeState>,
}

/// Bytes of one write that wait.
#[derive(Debug)]
pub(super) enum Piece {
    Shared(Bytes),
    /// A message, which needs no memory of its own: most writes are one.
    Small {
        start: u8,
        end: u8,
        bytes: [u8; SMALL],
    },
}

/// Bytes that a piece holds without growing.
const SMALL: usize = 22;
const _: () = assert!(size_of::<Piece>() == size_of::<Bytes>());

impl Piece {
    fn of(slice: &[u8]) -> Self {
        match u8::try_from(slice.len()) {
            Ok(end) if slice.len() <= SMALL => {
                let mut bytes = [0; SMALL];
                bytes[..slice.len()].copy_from_slice(slice);
                Self::Small { start: 0, end, bytes }
            }
            _ => Self::Shared(share(slice)),
        }
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Small { start, end, bytes } => &bytes[usize::from(*start)..usize::from(*end)],
        }
    }

    /// Takes up to as many bytes as there is room for in `buf`.
    fn move_to(&mut self, buf: &mut [u8]) -> usize {
        let slice = self.as_slice();
        let taken = slice.len().min(buf.len());
        buf[..taken].copy_from_slice(&slice[..taken]);
        match self {
            Self::Shared(bytes) => bytes.advance(taken),
            Self::Small { start, .. } => *start += u8::try_from(taken).expect("no more than is there"),
        }
        taken
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Small { .. } => Bytes::copy_from_slice(self.as_slice()),
        }
    }
}

#[derive(Debug, Default)]
struct PipeState {
    queue: VecDeque<Piece>,
    waiting: usize,
    /// Bytes written that have not landed.
    on_the_way: usize,
    writer_gone: bool,
    reader_gone: bool,
    /// The connection ended before the writer did.
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(limit: usize, path: Option<&PathDelay>) -> Self {
        Self {
            limit,
            path: path.cloned(),
            state: Mutex::default(),
        }
    }

    /// Takes the next bytes as they were written; `None` at the end.
    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.state.lock();
        let Some(bytes) = state.queue.pop_front().map(Piece::into_bytes) else {
            if state.on_the_way == 0 && (state.cut || state.writer_gone) {
                return Poll::Ready(None);
            }
            remember(&mut state.reader, cx);
            return Poll::Pending;
        };
        state.waiting -= bytes.len();
        let has_room = state.waiting < self.limit;
        let writer = if has_room { state.writer.take() } else { None };
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Some(bytes))
    }

    /// What was on the way is here.
    pub(super) fn land(&self, piece: Piece) {
        let mut state = self.state.lock();
        let length = piece.as_slice().len();
        state.on_the_way -= length;
        if state.reader_gone {
            return;
        }
        state.waiting += length;
        state.queue.push_back(piece);
        // Whoever waits to write may have waited for the way to be free.
        let has_room = state.waiting < self.limit;
        let writer = if has_room { state.writer.take() } else { None };
        let reader = state.reader.take();
        drop(state);
        [reader, writer].into_iter().flatten().for_each(Waker::wake);
    }
}

impl PipeState {
    /// Up to `most` of the next bytes as they were written, where that is worth more than a copy of them.
    fn take_large(&mut self, most: usize) -> Option<Bytes> {
        match self.queue.front_mut()? {
            Piece::Shared(front) if front.len() < SHARED_FROM => None,
            Piece::Shared(front) if front.len() > most => Some(front.split_to(most)),
            Piece::Shared(_) => self.queue.pop_front().map(Piece::into_bytes),
            Piece::Small { .. } => None,
        }
    }

    /// Copies what is there to `buf`, as far as there is room.
    fn fill(&mut self, buf: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < buf.len()
            && let Some(front) = self.queue.front_mut()
        {
            filled += front.move_to(&mut buf[filled..]);
            if front.as_slice().is_empty() {
                self.queue.pop_front();
            }
        }
        filled
    }
}

impl AsyncRead for PipeEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.incoming.state.lock();
        let shared = if is_read_target(buf) {
            state.take_large(buf.len())
        } else {
            None
        };
        let filled = match shared {
            Some(bytes) => {
                let length = bytes.len();
                give_to_reader(bytes);
                length
            }
            None => state.fill(buf),
        };
        if filled == 0 && !buf.is_empty() {
            if state.on_the_way > 0 {
                remember(&mut state.reader, cx);
                return Poll::Pending;
            }
            if state.cut {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if state.writer_gone {
                return Poll::Ready(Ok(0));
            }
            remember(&mut state.reader, cx);
            return Poll::Pending;
        }
        state.waiting -= filled;
        let writer = if state.waiting < self.incoming.limit {
            state.writer.take()
        } else {
            None
        };
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Ok(filled))
    }
}

impl AsyncWrite for PipeEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.outgoing.state.lock();
        if state.reader_gone || state.writer_gone || state.cut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let pipe = &self.outgoing;
        let mut room = pipe.limit.saturating_sub(state.waiting);
        if pipe.path.is_some() && room > 0 {
            room = ON_THE_WAY_MAX.saturating_sub(state.on_the_way);
        }
        if room == 0 {
            remember(&mut state.writer, cx);
            return Poll::Pending;
        }
        let taken = buf.len().min(room);
        if taken == 0 {
            return Poll::Ready(Ok(0));
        }
        if let Some(path) = &pipe.path {
            state.on_the_way += taken;
            drop(state);
            path.send(Arc::clone(pipe), Piece::of(&buf[..taken]));
        } else {
            state.queue.push_back(Piece::of(&buf[..taken]));
            state.waiting += taken;
            let reader = state.reader.take();
            drop(state);
            if let Some(reader) = reader {
                reader.wake();
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        end_writing(&self.outgoing);
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        end_writing(&self.outgoing);
        let mut state = self.incoming.state.lock();
        state.reader_gone = true;
        state.queue.clear();
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

/// The writer is done: readers see the end after what is on its way.
fn end_writing(pipe: &Pipe) {
    let mut state = pipe.state.lock();
    state.writer_gone = true;
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// Keeps the waker of `cx` in `slot`.
pub(super) fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

/// From this many bytes on a buffer is handed over; less is copied together with what comes after it.
const SHARED_FROM: usize = 1 << 10;

#[cfg(test)]
mod tests;
