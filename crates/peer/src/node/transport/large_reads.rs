//! A socket that is read as far as it has something, whatever its reader asks for at a time: TLS asks for four KiB, and a call of the
//! kernel costs as much as copying that.
//!
//! Invariant: bytes come in the order in which the socket had them, and what was read from it is given before it is asked again. A
//! connection that waits owns no buffer: it borrows the one of its thread, and keeps it only while somebody has left something in it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};

/// A socket, or what is like one.
#[derive(Debug)]
pub(super) struct LargeReads<C> {
    inner: C,
    left: Option<Left>,
}

/// What was read and nobody has taken yet: never nothing.
#[derive(Debug)]
struct Left {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

impl<C> LargeReads<C> {
    pub(super) const fn new(inner: C) -> Self {
        Self { inner, left: None }
    }
}

impl Left {
    /// Gives as much as there is room for, and what is left then.
    fn give(mut self, buf: &mut [u8]) -> (usize, Option<Self>) {
        let count = buf.len().min(self.to - self.from);
        buf[..count].copy_from_slice(&self.buffer[self.from..self.from + count]);
        self.from += count;
        if self.from < self.to {
            return (count, Some(self));
        }
        SPARE.set(Some(self.buffer));
        (count, None)
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for LargeReads<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let left = match self.left.take() {
            Some(left) => left,
            None if buf.len() >= READ => return Pin::new(&mut self.inner).poll_read(cx, buf),
            None => {
                let mut buffer = SPARE.take().unwrap_or_else(|| vec![0; READ].into());
                let read = Pin::new(&mut self.inner).poll_read(cx, &mut buffer);
                let Poll::Ready(Ok(to @ 1..)) = read else {
                    SPARE.set(Some(buffer));
                    return read;
                };
                Left { buffer, from: 0, to }
            }
        };
        let (count, left) = left.give(buf);
        self.left = left;
        Poll::Ready(Ok(count))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for LargeReads<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

thread_local! {
    /// A buffer of [`READ`] bytes that nobody uses now.
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Bytes that are read at a time: four records of TLS, and a segment.
const READ: usize = 68 << 10;

#[cfg(test)]
mod tests {
    use super::super::pipe::pair;
    use super::*;
    use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};

    #[tokio::test]
    async fn bytes_come_in_order_whatever_is_asked_for_and_the_end_behind_them() {
        let sent: Vec<u8> = (0..=255).cycle().take(300_001).collect();
        for asked in [1, 7, 4096, READ - 1, READ, 2 * READ] {
            let (mut near, far) = pair(1 << 20, None);
            near.write_all(&sent).await.unwrap();
            near.close().await.unwrap();
            let (mut far, mut received) = (LargeReads::new(far), Vec::new());
            let mut buffer = vec![0; asked];
            while let Ok(count @ 1..) = far.read(&mut buffer).await {
                received.extend_from_slice(&buffer[..count]);
            }
            assert!(received == sent, "{asked} bytes at a time");
            assert!(far.left.is_none());
        }
    }

    #[tokio::test]
    async fn who_waits_owns_no_buffer_and_two_of_a_thread_do_not_mix() {
        let ((mut near, far), (mut other, other_far)) = (pair(1024, None), pair(1024, None));
        let (mut far, mut other_far) = (LargeReads::new(far), LargeReads::new(other_far));
        near.write_all(b"one two").await.unwrap();
        other.write_all(b"red blue").await.unwrap();
        let mut three = [0; 3];
        far.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"one");
        other_far.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"red");
        let mut rest = [0; 5];
        other_far.read_exact(&mut rest).await.unwrap();
        far.read_exact(&mut rest[..4]).await.unwrap();
        assert_eq!(&rest, b" twoe");
        assert!(far.read(&mut three).now_or_never().is_none());
        assert!(far.left.is_none() && other_far.left.is_none());
    }
}
