//! Buffers that pass an in-process stream by reference. `AsyncRead` and `AsyncWrite` speak of slices only, and libp2p has wrappers of
//! its own between the two ends; by a note of the thread the pipe below them learns which buffer a slice is of, and whoever reads learns
//! which buffer came. Any other stream copies as usual.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};

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
pub(super) fn share(slice: &[u8]) -> Bytes {
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
pub(super) fn is_read_target(buf: &[u8]) -> bool {
    READ_TARGET.get() == Some((buf.as_ptr().addr(), buf.len()))
}

/// Gives these bytes to the read in progress on this thread, whose target it was asked to fill.
pub(super) fn give_to_reader(bytes: Bytes) {
    READ_RESULT.set(Some(bytes));
}
