//! One in-process connection: two ends that open streams to each other, every stream a pair of pipes of its own.
//!
//! Invariant: once either end is closed or dropped, both ends report it, no stream can be opened, and every stream of
//! the connection ends with an error after the bytes that were on their way. Knows nothing of listeners and addresses.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use parking_lot::Mutex;

use super::path::PathDelay;
use super::pipe::{PipeCut, PipeEnd, pair, remember};

/// One end of an in-process connection.
pub(super) struct InProcessMuxer {
    shared: Arc<Mutex<Shared>>,
    side: usize,
    /// What its streams have to pass.
    path: Option<PathDelay>,
}

#[derive(Default)]
struct Shared {
    ends: [End; 2],
    closed: bool,
    /// What ends the streams that are still open when the connection does.
    cuts: Vec<PipeCut>,
}

#[derive(Default)]
struct End {
    /// Streams that the other end has opened and this one has not accepted.
    inbound: VecDeque<PipeEnd>,
    waker: Option<Waker>,
}

impl InProcessMuxer {
    /// The two ends of a new connection, over a path with a delay where one is given.
    pub(super) fn pair(path: Option<&PathDelay>) -> (Self, Self) {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let end = |side| Self {
            shared: Arc::clone(&shared),
            side,
            path: path.cloned(),
        };
        (end(0), end(1))
    }

    fn close(&self) {
        let mut shared = self.shared.lock();
        shared.closed = true;
        let cuts = std::mem::take(&mut shared.cuts);
        let [left, right] = &mut shared.ends;
        let unaccepted = [std::mem::take(&mut left.inbound), std::mem::take(&mut right.inbound)];
        let wakers = [left.waker.take(), right.waker.take()];
        // What follows wakes others, who may come back for this lock.
        drop(shared);
        for cut in cuts {
            cut.end();
        }
        drop(unaccepted);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl StreamMuxer for InProcessMuxer {
    type Substream = PipeEnd;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<PipeEnd>> {
        let mut shared = self.shared.lock();
        if shared.closed {
            return Poll::Ready(Err(closed()));
        }
        let near = &mut shared.ends[self.side];
        if let Some(stream) = near.inbound.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        remember(&mut near.waker, cx);
        Poll::Pending
    }

    fn poll_outbound(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<PipeEnd>> {
        let mut shared = self.shared.lock();
        if shared.closed {
            return Poll::Ready(Err(closed()));
        }
        if shared.ends[1 - self.side].inbound.len() >= STREAMS_UNACCEPTED_MAX {
            let why = format!("the other end has yet to accept {STREAMS_UNACCEPTED_MAX} streams");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::QuotaExceeded, why)));
        }
        let (ours, theirs) = pair(WINDOW, self.path.as_ref());
        if shared.cuts.len() == shared.cuts.capacity() {
            shared.cuts.retain(PipeCut::is_of_use);
        }
        // Nearly every connection has one stream for its whole life.
        shared.cuts.reserve_exact(1);
        shared.cuts.push(ours.cut());
        let far = &mut shared.ends[1 - self.side];
        far.inbound.push_back(theirs);
        let waker = far.waker.take();
        drop(shared);
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
        let mut shared = self.shared.lock();
        if shared.closed {
            return Poll::Ready(Err(closed()));
        }
        remember(&mut shared.ends[self.side].waker, cx);
        Poll::Pending
    }
}

impl Drop for InProcessMuxer {
    fn drop(&mut self) {
        self.close();
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection is closed")
}

/// Bytes that wait in one direction of a stream at most. They are references where the writer has a shared buffer.
const WINDOW: usize = 64 << 10;
/// Streams of a connection that wait to be accepted at most. We open one.
const STREAMS_UNACCEPTED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
    use libp2p::core::muxing::StreamMuxerExt;
    use std::future::poll_fn;

    async fn open(from: &mut InProcessMuxer, to: &mut InProcessMuxer) -> (PipeEnd, PipeEnd) {
        let near = poll_fn(|cx| from.poll_outbound_unpin(cx)).await.unwrap();
        let far = poll_fn(|cx| to.poll_inbound_unpin(cx)).await.unwrap();
        (near, far)
    }

    #[tokio::test]
    async fn streams_of_a_connection_do_not_mix_whoever_opens_them() {
        let (mut a, mut b) = InProcessMuxer::pair(None);
        let (mut first, mut first_far) = open(&mut a, &mut b).await;
        let (mut second, mut second_far) = open(&mut b, &mut a).await;
        first.write_all(b"first").await.unwrap();
        second.write_all(b"other").await.unwrap();
        second_far.write_all(b"reply").await.unwrap();
        for (stream, expected) in [
            (&mut first_far, b"first"),
            (&mut second_far, b"other"),
            (&mut second, b"reply"),
        ] {
            let mut read = [0; 5];
            stream.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, expected);
        }
    }

    #[tokio::test]
    async fn whoever_waits_for_a_stream_is_woken_by_it() {
        let (mut a, mut b) = InProcessMuxer::pair(None);
        let accepted = tokio::spawn(async move { poll_fn(|cx| b.poll_inbound_unpin(cx)).await.map(|_| ()) });
        tokio::task::yield_now().await;
        let _near = poll_fn(|cx| a.poll_outbound_unpin(cx)).await.unwrap();
        accepted.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_dropped_end_resets_the_streams_that_the_other_end_holds_after_what_was_sent() {
        let (mut a, mut b) = InProcessMuxer::pair(None);
        let (mut near, mut far) = open(&mut a, &mut b).await;
        near.write_all(b"last words").await.unwrap();
        // The near stream lives on: what ends the far one is the connection alone.
        drop(a);
        let mut read = [0; 10];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"last words");
        let reset = far.read(&mut read).await.unwrap_err();
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
        for stream in [&mut near, &mut far] {
            let refused = stream.write(b"x").await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
        }
        assert!(poll_fn(|cx| b.poll_unpin(cx)).await.is_err());
        assert!(poll_fn(|cx| b.poll_outbound_unpin(cx)).await.is_err());
    }

    #[tokio::test]
    async fn closing_wakes_a_reader_a_writer_and_the_other_end() {
        let (mut a, mut b) = InProcessMuxer::pair(None);
        let (near, far) = open(&mut a, &mut b).await;
        let (mut full, _unread) = open(&mut a, &mut b).await;
        let reader = tokio::spawn(async move { { far }.read(&mut [0]).await });
        let writer = tokio::spawn(async move { full.write_all(&[0; 2 * WINDOW]).await });
        let other = tokio::spawn(async move { poll_fn(|cx| b.poll_unpin(cx)).await.map(|_| ()) });
        // All three have waited once when this task runs again: the test's runtime has one thread.
        tokio::task::yield_now().await;
        poll_fn(|cx| a.poll_close_unpin(cx)).await.unwrap();
        assert!(reader.await.unwrap().is_err());
        assert!(writer.await.unwrap().is_err());
        assert!(other.await.unwrap().is_err());
        drop(near);
    }

    #[tokio::test]
    async fn streams_that_nobody_accepts_are_bounded_and_end_with_the_connection() {
        let (mut a, b) = InProcessMuxer::pair(None);
        let mut streams = Vec::new();
        for _ in 0..STREAMS_UNACCEPTED_MAX {
            streams.push(poll_fn(|cx| a.poll_outbound_unpin(cx)).await.unwrap());
        }
        let refused = poll_fn(|cx| a.poll_outbound_unpin(cx)).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
        drop(b);
        for mut stream in streams {
            assert!(stream.read(&mut [0]).now_or_never().unwrap().is_err());
        }
    }

    #[tokio::test]
    async fn streams_that_have_come_and_gone_are_forgotten() {
        let (mut a, mut b) = InProcessMuxer::pair(None);
        let _kept = open(&mut a, &mut b).await;
        for _ in 0..100 {
            open(&mut a, &mut b).await;
        }
        assert!(
            a.shared.lock().cuts.len() <= 3,
            "{} are kept",
            a.shared.lock().cuts.len()
        );
    }
}
