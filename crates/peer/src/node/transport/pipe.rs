//! One direction of an in-process stream: a bounded queue of byte buffers between a writer and a reader.
//!
//! Invariant: a writer waits while `limit` bytes are there to be read; they are read in the order in which they were written,
//! all of them before the end is seen. On a path with a delay bytes land here when their time has come; those that are on
//! the way do not count against the limit, as with a window that is as large as the path is long. A writer that owns its
//! bytes as [`Bytes`] hands over a reference instead of a copy, see [`write_shared`], and a reader may have that reference,
//! see [`read_shared`]: then no byte is copied at all.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use futures::{AsyncRead, AsyncWrite};
use parking_lot::Mutex;

use super::path::{ON_THE_WAY_MAX, PathDelay};

thread_local! {
    /// The buffer that the write in progress on this thread comes from. `AsyncWrite` speaks of slices only; through this
    /// the pipe at the other end of libp2p's wrappers learns that the slice is part of a shared buffer.
    static WRITE_SOURCE: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Writes from a shared buffer: an in-process pipe takes a reference to it, any other stream copies as usual.
pub(crate) fn write_shared(
    stream: Pin<&mut (impl AsyncWrite + ?Sized)>,
    cx: &mut Context<'_>,
    bytes: &Bytes,
) -> Poll<io::Result<usize>> {
    WRITE_SOURCE.set(Some(bytes.clone()));
    let result = stream.poll_write(cx, bytes);
    WRITE_SOURCE.set(None);
    result
}

/// `slice` as a reference into the buffer that it comes from, or as a copy.
fn share(slice: &[u8]) -> Bytes {
    WRITE_SOURCE.with_borrow(|source| {
        let Some(source) = source else {
            return Bytes::copy_from_slice(slice);
        };
        let (outer, inner) = (source.as_ptr_range(), slice.as_ptr_range());
        if outer.start <= inner.start && inner.end <= outer.end {
            source.slice_ref(slice)
        } else {
            Bytes::copy_from_slice(slice)
        }
    })
}

thread_local! {
    /// Where the buffer of the read in progress on this thread begins and how long it is. A pipe that is asked to fill just that
    /// one was asked by nobody who has put anything before.
    static READ_TARGET: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
    /// What a pipe gave that read instead of filling its buffer.
    static READ_RESULT: Cell<Option<Bytes>> = const { Cell::new(None) };
}

/// What a read has brought.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// So many bytes, to be found in the buffer.
    Copied(usize),
    /// These bytes; the buffer is as it was.
    Shared(Bytes),
}

/// Reads into `buf`, or by reference what came through an in-process pipe from a shared buffer.
pub(crate) fn read_shared(
    stream: Pin<&mut (impl AsyncRead + ?Sized)>,
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> Poll<io::Result<Arrived>> {
    READ_TARGET.set(Some((buf.as_ptr().addr(), buf.len())));
    let result = stream.poll_read(cx, buf);
    READ_TARGET.set(None);
    match (READ_RESULT.take(), result) {
        (None, result) => result.map_ok(Arrived::Copied),
        (Some(bytes), Poll::Ready(Ok(count))) if count == bytes.len() => Poll::Ready(Ok(Arrived::Shared(bytes))),
        // Some wrapper did more with the bytes than to pass them on.
        (Some(_), _) => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
    }
}

/// Whether `buf` is all of the buffer that [`read_shared`] was called with.
fn is_read_target(buf: &[u8]) -> bool {
    READ_TARGET.get() == Some((buf.as_ptr().addr(), buf.len()))
}

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
                READ_RESULT.set(Some(bytes));
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
mod tests {
    use super::*;
    use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
    use libp2p::core::muxing::SubstreamBox;
    use proptest::prelude::*;

    #[tokio::test]
    async fn bytes_arrive_in_order_through_a_window_smaller_than_a_write() {
        let (mut near, mut far) = pair(7, None);
        let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let copy = sent.clone();
        let writer = tokio::spawn(async move {
            near.write_all(&copy).await.unwrap();
            near.close().await.unwrap();
        });
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        writer.await.unwrap();
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn a_writer_waits_while_nobody_reads() {
        let (mut near, mut far) = pair(4, None);
        assert_eq!(near.write(b"abcdef").await.unwrap(), 4);
        assert!(near.write(b"ef").now_or_never().is_none());
        let mut buf = [0; 2];
        far.read_exact(&mut buf).await.unwrap();
        assert_eq!(near.write(b"ef").await.unwrap(), 2);
    }

    #[tokio::test]
    async fn each_end_sees_that_the_other_has_gone() {
        let (mut near, far) = pair(4, None);
        drop(far);
        assert_eq!(near.write(b"a").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_writer_that_waits_is_woken_by_a_read_and_by_the_reader_leaving() {
        let (mut near, mut far) = pair(4, None);
        near.write_all(b"full").await.unwrap();
        let writer = tokio::spawn(async move {
            near.write_all(b"more").await.unwrap();
            near.write_all(b"lost").await
        });
        tokio::task::yield_now().await;
        let mut read = [0; 4];
        far.read_exact(&mut read).await.unwrap();
        tokio::task::yield_now().await;
        drop(far);
        assert_eq!(writer.await.unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_half_that_was_closed_properly_ends_properly_though_the_connection_is_cut() {
        let (mut near, mut far) = pair(4, None);
        near.write_all(b"bye").await.unwrap();
        near.close().await.unwrap();
        far.cut().end();
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"bye");
        assert_eq!(
            near.read(&mut [0]).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
    }

    #[test]
    fn a_cut_keeps_no_stream_alive() {
        let (near, far) = pair(4, None);
        let cut = near.cut();
        drop(near);
        assert!(cut.is_of_use());
        drop(far);
        assert!(!cut.is_of_use());
        cut.end();
    }

    #[tokio::test]
    async fn a_shared_buffer_is_not_copied_and_a_foreign_slice_is() {
        let (mut near, far) = pair(100, None);
        let bytes = Bytes::from(vec![7; 50]);
        let written = std::future::poll_fn(|cx| write_shared(Pin::new(&mut near), cx, &bytes)).await;
        assert_eq!(written.unwrap(), 50);
        near.write_all(b"foreign").await.unwrap();
        let state = far.incoming.state.lock();
        assert_eq!(state.queue[0].as_slice().as_ptr(), bytes.as_ptr());
        assert_eq!(state.queue[1].as_slice(), b"foreign");
    }

    #[tokio::test]
    async fn a_shared_buffer_passes_libp2p_s_boxes_and_a_full_window_uncopied() {
        let (near, mut far) = pair(30, None);
        let mut boxed = SubstreamBox::new(near);
        let bytes = Bytes::from(vec![7; 60]);
        let written = std::future::poll_fn(|cx| write_shared(Pin::new(&mut boxed), cx, &bytes)).await;
        assert_eq!(written.unwrap(), 30);
        assert_eq!(far.incoming.state.lock().queue[0].as_slice().as_ptr(), bytes.as_ptr());
        far.read_exact(&mut [0; 30]).await.unwrap();
        let rest = bytes.slice(30..);
        let written = std::future::poll_fn(|cx| write_shared(Pin::new(&mut boxed), cx, &rest)).await;
        assert_eq!(written.unwrap(), 30);
        assert_eq!(far.incoming.state.lock().queue[0].as_slice().as_ptr(), rest.as_ptr());
    }

    #[tokio::test]
    async fn a_large_buffer_is_read_as_it_was_written_and_a_small_one_is_copied() {
        let (mut near, far) = pair(9000, None);
        let mut far = SubstreamBox::new(far);
        let bytes = Bytes::from(vec![7; 5000]);
        let written = std::future::poll_fn(|cx| write_shared(Pin::new(&mut near), cx, &bytes)).await;
        assert_eq!(written.unwrap(), 5000);
        near.write_all(b"small").await.unwrap();
        let mut buf = [0; 3000];
        for part in [bytes.slice(..3000), bytes.slice(3000..)] {
            let read = std::future::poll_fn(|cx| read_shared(Pin::new(&mut far), cx, &mut buf)).await;
            match read.unwrap() {
                Arrived::Shared(read) => assert_eq!((read.as_ptr(), read.len()), (part.as_ptr(), part.len())),
                Arrived::Copied(count) => panic!("{count} bytes were copied"),
            }
        }
        let read = std::future::poll_fn(|cx| read_shared(Pin::new(&mut far), cx, &mut buf)).await;
        assert!(matches!(read.unwrap(), Arrived::Copied(5)));
        assert_eq!(&buf[..5], b"small");
        // All of it has left the window.
        near.write_all(&[1; 9000]).now_or_never().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_wrapper_that_has_bytes_of_its_own_reads_copies_and_one_that_keeps_some_back_is_an_error() {
        /// Puts a byte before what it reads, or keeps the last one.
        struct Wrapper {
            inner: PipeEnd,
            adds: bool,
        }
        impl AsyncRead for Wrapper {
            fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                if self.adds {
                    buf[0] = b'>';
                    return Pin::new(&mut self.inner)
                        .poll_read(cx, &mut buf[1..])
                        .map_ok(|count| count + 1);
                }
                Pin::new(&mut self.inner).poll_read(cx, buf).map_ok(|count| count - 1)
            }
        }
        for adds in [true, false] {
            let (mut near, inner) = pair(9000, None);
            near.write_all(&[7; 2000]).await.unwrap();
            let mut wrapper = Wrapper { inner, adds };
            let mut buf = [0; 2001];
            let read = std::future::poll_fn(|cx| read_shared(Pin::new(&mut wrapper), cx, &mut buf)).await;
            match read {
                Ok(Arrived::Copied(2001)) if adds => assert_eq!(buf[..3], *b">\x07\x07"),
                Err(error) if !adds => assert_eq!(error.kind(), io::ErrorKind::InvalidData),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_wrapper_that_writes_something_else_in_between_is_not_misled() {
        /// Writes a length before what it is asked to write, as a framing wrapper does.
        struct Framing(PipeEnd);
        impl AsyncWrite for Framing {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                let length = [u8::try_from(buf.len()).unwrap()];
                assert!(Pin::new(&mut self.0).poll_write(cx, &length).is_ready());
                Pin::new(&mut self.0).poll_write(cx, buf)
            }
            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_flush(cx)
            }
            fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_close(cx)
            }
        }
        let (near, mut far) = pair(100, None);
        let mut framing = Framing(near);
        let bytes = Bytes::from_static(b"payload");
        let written = std::future::poll_fn(|cx| write_shared(Pin::new(&mut framing), cx, &bytes)).await;
        assert_eq!(written.unwrap(), 7);
        framing.close().await.unwrap();
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"\x07payload");
    }

    #[tokio::test]
    async fn on_a_path_bytes_land_in_order_and_none_before_its_time() {
        let path = PathDelay::new(DELAY).unwrap();
        let (mut near, mut far) = pair(7, Some(&path));
        let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let copy = sent.clone();
        let began = tokio::time::Instant::now();
        let writer = tokio::spawn(async move {
            for part in copy.chunks(999) {
                near.write_all(part).await.unwrap();
            }
            near.close().await.unwrap();
        });
        let mut received = vec![0; 1];
        far.read_exact(&mut received).await.unwrap();
        assert!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
        // The end comes behind what is on the way.
        far.read_to_end(&mut received).await.unwrap();
        writer.await.unwrap();
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn what_is_on_the_way_is_no_room_taken_and_what_has_landed_is() {
        let path = PathDelay::new(DELAY).unwrap();
        let (mut near, mut far) = pair(4, Some(&path));
        near.write_all(b"abcdef").await.unwrap();
        near.write_all(b"ghi").await.unwrap();
        far.read_exact(&mut [0; 1]).await.unwrap();
        assert!(near.write(b"j").now_or_never().is_none());
        far.read_exact(&mut [0; 8]).await.unwrap();
        assert_eq!(near.write(b"j").await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_cut_comes_behind_what_is_on_the_way() {
        let path = PathDelay::new(DELAY).unwrap();
        let (mut near, mut far) = pair(9, Some(&path));
        near.write_all(b"last").await.unwrap();
        near.cut().end();
        let mut read = [0; 4];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"last");
        let reset = far.read(&mut read).await.unwrap_err();
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn what_lands_after_its_reader_has_gone_is_dropped_and_the_next_is_carried() {
        let path = PathDelay::new(DELAY).unwrap();
        let (mut near, far) = pair(9, Some(&path));
        near.write_all(b"lost").await.unwrap();
        drop(far);
        let (mut near, mut far) = pair(9, Some(&path));
        for _ in 0..2 {
            near.write_all(b"kept").await.unwrap();
            // Meanwhile whoever has carried this is done, and the next has to be found.
            far.read_exact(&mut [0; 4]).await.unwrap();
            tokio::task::yield_now().await;
        }
    }

    const DELAY: std::time::Duration = std::time::Duration::from_millis(20);

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Write { length: usize, shared: bool },
        Read(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let write = (1..40_usize, any::<bool>()).prop_map(|(length, shared)| Step::Write { length, shared });
        prop::collection::vec(prop_oneof![write, (1..40_usize).prop_map(Step::Read)], 1..200)
    }

    proptest! {
        /// The model: a writer's and a reader's count, whose difference is what waits.
        #[test]
        fn any_interleaving_keeps_order_bytes_and_the_bound(limit in 1..50_usize, steps in steps()) {
            let (mut near, mut far) = pair(limit, None);
            let cx = &mut Context::from_waker(Waker::noop());
            let sent = Bytes::from_iter((0..200 * 40_u32).map(|n| n.to_le_bytes()[(n % 2) as usize]));
            let (mut written, mut read) = (0, 0);
            for step in steps {
                match step {
                    Step::Write { length, shared } => {
                        let bytes = sent.slice(written..written + length);
                        let result = if shared {
                            write_shared(Pin::new(&mut near), cx, &bytes)
                        } else {
                            Pin::new(&mut near).poll_write(cx, &bytes)
                        };
                        let room = limit - (written - read);
                        match result {
                            Poll::Ready(taken) => {
                                let taken = taken.unwrap();
                                prop_assert_eq!(taken, length.min(room));
                                written += taken;
                            }
                            Poll::Pending => prop_assert_eq!(room, 0),
                        }
                    }
                    Step::Read(length) => {
                        let mut buf = vec![0; length];
                        match Pin::new(&mut far).poll_read(cx, &mut buf) {
                            Poll::Ready(filled) => {
                                let filled = filled.unwrap();
                                prop_assert_eq!(filled, length.min(written - read));
                                prop_assert_eq!(&buf[..filled], &sent[read..read + filled]);
                                read += filled;
                            }
                            Poll::Pending => prop_assert_eq!(written, read),
                        }
                    }
                }
                prop_assert!(written - read <= limit);
            }
            drop(near);
            let mut rest = Vec::new();
            far.read_to_end(&mut rest).now_or_never().unwrap().unwrap();
            prop_assert_eq!(&rest[..], &sent[read..written]);
        }
    }
}
