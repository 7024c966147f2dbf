//! A connection over a path with a delay: what is written into its streams passes a pipe that delays, and a task of each stream
//! sends on what has landed there. Around the muxer of any transport.
//!
//! Invariant: bytes go on in the order in which they were written, none before its time, and the end of a stream behind them. A
//! stream whose other end does not take what is due takes no more than a window itself: a delay is no buffer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, StreamMuxerExt, SubstreamBox};

use super::path::PathDelay;
use super::pipe::{PipeEnd, pair};

/// One end of a connection whose streams are delayed on their way out.
pub(super) struct Delayed {
    inner: StreamMuxerBox,
    path: PathDelay,
}

impl Delayed {
    pub(super) fn new(inner: StreamMuxerBox, path: PathDelay) -> Self {
        Self { inner, path }
    }
}

impl StreamMuxer for Delayed {
    type Substream = DelayedStream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<DelayedStream>> {
        let stream = ready!(self.inner.poll_inbound_unpin(cx))?;
        Poll::Ready(Ok(DelayedStream::new(stream, &self.path)))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<DelayedStream>> {
        let stream = ready!(self.inner.poll_outbound_unpin(cx))?;
        Poll::Ready(Ok(DelayedStream::new(stream, &self.path)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_close_unpin(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.inner.poll_unpin(cx)
    }
}

/// A stream of a [`Delayed`] connection.
pub(super) struct DelayedStream {
    inlet: ReadHalf<SubstreamBox>,
    line: PipeEnd,
}

impl DelayedStream {
    /// Within a runtime.
    fn new(inner: SubstreamBox, path: &PathDelay) -> Self {
        let (inlet, outlet) = inner.split();
        let (line, landing) = pair(WINDOW, Some(path));
        tokio::spawn(async move {
            // Whoever writes learns from the end of the line that it leads nowhere any more.
            let _ = send_on(landing, outlet).await;
        });
        Self { inlet, line }
    }
}

async fn send_on(mut landing: PipeEnd, mut outlet: WriteHalf<SubstreamBox>) -> io::Result<()> {
    while let Some(bytes) = landing.next().await {
        outlet.write_all(&bytes).await?;
        outlet.flush().await?;
    }
    outlet.close().await
}

impl AsyncRead for DelayedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inlet).poll_read(cx, buf)
    }
}

impl AsyncWrite for DelayedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.line).poll_write(cx, buf)
    }

    /// What is on its way needs no more of whoever wrote it.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_close(cx)
    }
}

/// Bytes that are due and wait for the transport to take them at most.
const WINDOW: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::Instant;

    const DELAY: Duration = Duration::from_millis(20);

    /// A delayed stream whose other end is not delayed.
    fn delayed(limit: usize) -> (DelayedStream, PipeEnd) {
        let (near, far) = pair(limit, None);
        let path = PathDelay::new(DELAY).unwrap();
        (DelayedStream::new(SubstreamBox::new(near), &path), far)
    }

    #[tokio::test]
    async fn bytes_arrive_in_order_and_none_before_its_time_though_the_window_is_small() {
        let (mut near, mut far) = delayed(7);
        let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let began = Instant::now();
        near.write_all(&sent[..5_000]).await.unwrap();
        near.write_all(&sent[5_000..]).await.unwrap();
        near.close().await.unwrap();
        let mut received = vec![0; 1];
        far.read_exact(&mut received).await.unwrap();
        assert!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
        far.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn a_reader_that_has_gone_is_an_error_for_the_writer() {
        let (mut near, far) = delayed(4);
        drop(far);
        let lost = loop {
            if let Err(error) = near.write_all(b"lost").await {
                break error;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(lost.kind(), io::ErrorKind::BrokenPipe);
    }
}
