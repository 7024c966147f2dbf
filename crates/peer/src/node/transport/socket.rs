//! A TCP socket that takes little before it has left, and tells when it has.
//!
//! The kernel would take up to 4 MiB. Then a chunk counts as served when it is written and long before it is through: a link of 4 MB a second
//! seemed to have a gigabyte, slots were free that were not, and what was more urgent waited behind it. So a socket is told to take no more
//! while a little is unsent (`TCP_NOTSENT_LOWAT`), and whoever has written a chunk waits until the other side has confirmed most of it
//! (`SIOCOUTQ`). Sent is not enough: what has left the socket may wait in the queue of the interface, or of a switch, as long as the link is slow.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};
use libp2p::tcp::tokio::TcpStream;
#[cfg(target_os = "linux")]
use waits::Waits;

use crate::traffic_class::TrafficClass;

/// A connected socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    #[cfg(target_os = "linux")]
    waits: Waits,
}

impl Socket {
    /// This one, whose packets are of that class.
    pub(super) fn new(stream: TcpStream, class: Option<TrafficClass>) -> Self {
        if let Some(class) = class {
            class.put_on(&stream.0);
        }
        #[cfg(target_os = "linux")]
        if let Err(error) = socket2::SockRef::from(&stream.0).set_tcp_notsent_lowat(UNSENT_MAX) {
            tracing::debug!(%error, "a socket keeps as much unsent as the kernel likes");
        }
        Self {
            stream,
            #[cfg(target_os = "linux")]
            waits: Waits::default(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ON_ITS_WAY_MAX.get() {
            #[cfg(target_os = "linux")]
            Some(most) => {
                let this = self.get_mut();
                this.waits.poll_confirmed(&this.stream.0, cx, most)
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

thread_local! {
    /// Where the flush in progress on this thread waits until what was written is through: how many bytes may be on their way. `AsyncWrite`
    /// knows no such thing, and to flush every message that way would cost calls of the kernel each.
    static ON_ITS_WAY_MAX: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Waits until no more than so many bytes of what was written to `stream` are on their way: as far as it can be told, where it is not a
/// socket of this kind.
pub(crate) fn poll_through(
    stream: Pin<&mut (impl AsyncWrite + ?Sized)>,
    cx: &mut Context<'_>,
    on_its_way_max: u32,
) -> Poll<io::Result<()>> {
    ON_ITS_WAY_MAX.set(Some(on_its_way_max));
    let through = stream.poll_flush(cx);
    ON_ITS_WAY_MAX.set(None);
    through
}

/// Bytes that a socket takes beyond those that it has sent: half a chunk of the smallest size.
#[cfg(target_os = "linux")]
const UNSENT_MAX: u32 = 32 << 10;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
#[cfg(target_os = "linux")]
mod waits;
