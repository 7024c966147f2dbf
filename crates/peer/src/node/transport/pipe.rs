//! One direction of an in-process stream: a bounded queue of byte buffers between a writer and a reader.
//!
//! Invariant: no more than `limit` bytes wait, except that one write is always taken whole by an empty pipe.
//! A writer that owns its bytes as [`Bytes`] hands over a reference instead of a copy, see [`write_shared`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use futures::{AsyncRead, AsyncWrite};
use parking_lot::Mutex;

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

/// One end of a bidirectional in-process stream.
#[derive(Debug)]
pub(super) struct PipeEnd {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

/// Two ends that are connected with each other.
pub(super) fn pair(limit: usize) -> (PipeEnd, PipeEnd) {
    let (there, back) = (Arc::new(Pipe::new(limit)), Arc::new(Pipe::new(limit)));
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

#[derive(Debug)]
struct Pipe {
    limit: usize,
    state: Mutex<PipeState>,
}

#[derive(Debug, Default)]
struct PipeState {
    queue: VecDeque<Bytes>,
    waiting: usize,
    writer_gone: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
        }
    }
}

impl AsyncRead for PipeEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.incoming.state.lock();
        let mut filled = 0;
        while filled < buf.len()
            && let Some(front) = state.queue.front_mut()
        {
            let taken = front.len().min(buf.len() - filled);
            buf[filled..filled + taken].copy_from_slice(&front[..taken]);
            front.advance(taken);
            filled += taken;
            if front.is_empty() {
                state.queue.pop_front();
            }
        }
        if filled == 0 && !buf.is_empty() {
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
        if state.reader_gone || state.writer_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = self.outgoing.limit.saturating_sub(state.waiting);
        if room == 0 {
            remember(&mut state.writer, cx);
            return Poll::Pending;
        }
        let taken = buf.len().min(room);
        if taken > 0 {
            state.queue.push_back(share(&buf[..taken]));
            state.waiting += taken;
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
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

fn end_writing(pipe: &Pipe) {
    let mut state = pipe.state.lock();
    state.writer_gone = true;
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

pub(super) fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};

    #[tokio::test]
    async fn bytes_arrive_in_order_through_a_window_smaller_than_a_write() {
        let (mut near, mut far) = pair(7);
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
        let (mut near, mut far) = pair(4);
        assert_eq!(near.write(b"abcdef").await.unwrap(), 4);
        assert!(near.write(b"ef").now_or_never().is_none());
        let mut buf = [0; 2];
        far.read_exact(&mut buf).await.unwrap();
        assert_eq!(near.write(b"ef").await.unwrap(), 2);
    }

    #[tokio::test]
    async fn each_end_sees_that_the_other_has_gone() {
        let (mut near, far) = pair(4);
        drop(far);
        assert_eq!(near.write(b"a").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_shared_buffer_is_not_copied_and_a_foreign_slice_is() {
        let (mut near, far) = pair(100);
        let bytes = Bytes::from(vec![7; 50]);
        let written = std::future::poll_fn(|cx| write_shared(Pin::new(&mut near), cx, &bytes)).await;
        assert_eq!(written.unwrap(), 50);
        near.write_all(b"foreign").await.unwrap();
        let state = far.incoming.state.lock();
        assert_eq!(state.queue[0].as_ptr(), bytes.as_ptr());
        assert_eq!(&state.queue[1][..], b"foreign");
    }
}
