//! A connection that is one stream: what is written goes into the connection as it is, without frames, windows or copies of a muxer
//! in between. Whoever has made the connection opens the stream.
//!
//! Invariant: when the stream is closed both ways, dropped or broken the connection ends; when the connection is closed or dropped the
//! stream ends with an error. What the stream has taken before is flushed when the connection is closed.
//!
//! Members need no more than one stream. Who does (whoever follows a directory) asks for yamux.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::iter::{Once, once};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use parking_lot::Mutex;

use super::pipe::remember;

/// What sides agree on who are content with one stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct OneStream;

impl UpgradeInfo for OneStream {
    type Info = &'static str;
    type InfoIter = Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        once("/fleetcast/one-stream/1")
    }
}

impl<C> InboundConnectionUpgrade<C> for OneStream {
    type Output = OneStreamMuxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, connection: C, _name: &'static str) -> Self::Future {
        ready(Ok(OneStreamMuxer::new(connection, Side::Accepted)))
    }
}

impl<C> OutboundConnectionUpgrade<C> for OneStream {
    type Output = OneStreamMuxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, connection: C, _name: &'static str) -> Self::Future {
        ready(Ok(OneStreamMuxer::new(connection, Side::Made)))
    }
}

/// Who has made the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Made,
    Accepted,
}

/// One end of a connection with one stream.
#[derive(Debug)]
pub(super) struct OneStreamMuxer<C> {
    shared: Arc<Mutex<Shared<C>>>,
    side: Side,
    /// The stream, as long as nobody has asked for it.
    stream: Option<OnlyStream<C>>,
}

/// The stream of a connection.
#[derive(Debug)]
pub(super) struct OnlyStream<C>(Arc<Mutex<Shared<C>>>);

#[derive(Debug)]
struct Shared<C> {
    /// `None` when it is closed.
    connection: Option<C>,
    /// The stream is gone.
    has_ended: bool,
    muxer: Option<Waker>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl<C> OneStreamMuxer<C> {
    fn new(connection: C, side: Side) -> Self {
        let shared = Arc::new(Mutex::new(Shared {
            connection: Some(connection),
            has_ended: false,
            muxer: None,
            reader: None,
            writer: None,
        }));
        let stream = Some(OnlyStream(Arc::clone(&shared)));
        Self { shared, side, stream }
    }

    /// Waits until the connection is of no more use.
    fn poll_end<T>(&self, cx: &Context<'_>) -> Poll<io::Result<T>> {
        let mut shared = self.shared.lock();
        if shared.has_ended || shared.connection.is_none() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the connection's stream has ended",
            )));
        }
        remember(&mut shared.muxer, cx);
        Poll::Pending
    }
}

impl<C> Shared<C> {
    /// Takes the connection away from its stream.
    fn close(&mut self) {
        self.connection = None;
        for waiting in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waiting.wake();
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for OneStreamMuxer<C> {
    type Substream = OnlyStream<C>;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<OnlyStream<C>>> {
        match self.side {
            Side::Accepted => match self.stream.take() {
                Some(stream) => Poll::Ready(Ok(stream)),
                None => self.poll_end(cx),
            },
            Side::Made => self.poll_end(cx),
        }
    }

    fn poll_outbound(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<OnlyStream<C>>> {
        let stream = match self.side {
            Side::Made => self.stream.take(),
            Side::Accepted => None,
        };
        Poll::Ready(stream.ok_or_else(|| {
            let why = "this connection has one stream, which whoever made it opens once";
            io::Error::new(io::ErrorKind::QuotaExceeded, why)
        }))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared.lock();
        let Some(connection) = &mut shared.connection else {
            return Poll::Ready(Ok(()));
        };
        let closed = std::task::ready!(Pin::new(connection).poll_close(cx));
        shared.close();
        Poll::Ready(closed)
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.poll_end(cx)
    }
}

impl<C> Drop for OneStreamMuxer<C> {
    fn drop(&mut self) {
        self.shared.lock().close();
    }
}

impl<C> Drop for OnlyStream<C> {
    /// The connection stays until its owner has closed it: what was written may not have left yet.
    fn drop(&mut self) {
        let mut shared = self.0.lock();
        shared.has_ended = true;
        let muxer = shared.muxer.take();
        drop(shared);
        if let Some(muxer) = muxer {
            muxer.wake();
        }
    }
}

impl<C: Unpin> OnlyStream<C> {
    /// Has the connection do something for a reader or a writer, who is woken when the connection is closed meanwhile.
    fn poll_with<T>(
        &self,
        cx: &mut Context<'_>,
        slot: impl FnOnce(&mut Shared<C>) -> &mut Option<Waker>,
        act: impl FnOnce(Pin<&mut C>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut shared = self.0.lock();
        let Some(connection) = &mut shared.connection else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let done = act(Pin::new(connection), cx);
        if done.is_pending() {
            remember(slot(&mut shared), cx);
        }
        done
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for OnlyStream<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_with(
            cx,
            |shared| &mut shared.reader,
            |connection, cx| connection.poll_read(cx, buf),
        )
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for OnlyStream<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_with(
            cx,
            |shared| &mut shared.writer,
            |connection, cx| connection.poll_write(cx, buf),
        )
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = |connection: Pin<&mut C>, cx: &mut Context<'_>| connection.poll_write_vectored(cx, bufs);
        self.poll_with(cx, |shared| &mut shared.writer, write)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(
            cx,
            |shared| &mut shared.writer,
            |connection, cx| connection.poll_flush(cx),
        )
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(
            cx,
            |shared| &mut shared.writer,
            |connection, cx| connection.poll_close(cx),
        )
    }
}

#[cfg(test)]
mod tests;
