//! Frames to bytes and back. Whatever a peer sends, decoding ends in a frame, in "more bytes needed", or in a
//! [`WireError`]; it never panics and never allocates more than the frame's own length allows.

mod decoding;
mod encoding;
mod kind;

use bytes::{Buf, BufMut, BytesMut};

use super::FRAME_LENGTH_MAX;
use super::message::Frame;
use crate::manifest::ManifestError;
use decoding::Body;

/// Why bytes are no frame. The connection cannot be trusted after one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The length prefix is beyond the limit.
    #[error("frame of {length} bytes; expected at most {FRAME_LENGTH_MAX}")]
    FrameTooLong {
        /// The length it claims.
        length: usize,
    },
    /// The kind byte is none of this version.
    #[error("unknown frame kind {kind}")]
    UnknownKind {
        /// The byte.
        kind: u8,
    },
    /// The body ends before its fields do.
    #[error("frame of kind {kind} ends early")]
    Truncated {
        /// The frame's kind.
        kind: u8,
    },
    /// Bytes are left after the last field.
    #[error("{left} bytes too many in a frame of kind {kind}")]
    Trailing {
        /// The frame's kind.
        kind: u8,
        /// How many bytes are left.
        left: usize,
    },
    /// A field has a value that it cannot have.
    #[error("{field} is out of range")]
    OutOfRange {
        /// The field.
        field: &'static str,
    },
    /// A manifest that cannot be.
    #[error("manifest is impossible")]
    Manifest(#[from] ManifestError),
}

/// Appends `frame` to `out`. Payload bytes are the caller's.
pub fn encode(frame: &Frame, out: &mut BytesMut) {
    let start = out.len();
    out.put_u32_le(0);
    match frame {
        Frame::Message(message) => encoding::put_message(message, out),
        Frame::Data(header) => encoding::put_data_header(header, out),
    }
    let length = out.len() - start - PREFIX;
    assert!(length <= FRAME_LENGTH_MAX, "we made a frame of {length} bytes");
    let length = u32::try_from(length).expect("below FRAME_LENGTH_MAX");
    out[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
}

/// Takes one frame from the front of `input`; `None` while it is not there as a whole.
pub fn decode(input: &mut BytesMut) -> Result<Option<Frame>, WireError> {
    let Some(prefix) = input.first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > FRAME_LENGTH_MAX {
        return Err(WireError::FrameTooLong { length });
    }
    if input.len() < PREFIX + length {
        return Ok(None);
    }
    input.advance(PREFIX);
    let mut body = Body::new(&input[..length]);
    let frame = body.frame()?;
    body.end()?;
    input.advance(length);
    Ok(Some(frame))
}

/// How many bytes to read next for the frame that `input` is the beginning of. Some of them may be of the frame after it,
/// and none are payload, which has a buffer of its own: a frame whose length is not known yet is read as far as the header
/// of payload reaches, and no payload comes sooner.
pub fn bytes_wanted(input: &[u8]) -> Result<usize, WireError> {
    let Some(prefix) = input.first_chunk::<PREFIX>() else {
        return Ok(DATA_FRAME_LENGTH - input.len());
    };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > FRAME_LENGTH_MAX {
        return Err(WireError::FrameTooLong { length });
    }
    // Never zero: a frame of no bytes is decoded, and refused, as soon as its prefix is here.
    Ok((PREFIX + length).saturating_sub(input.len()).max(1))
}

/// Bytes of the length prefix.
const PREFIX: usize = 4;
/// Bytes of the frame of a [`DataHeader`], with its prefix.
const DATA_FRAME_LENGTH: usize = PREFIX + 1 + 3 * 4;

#[cfg(test)]
mod tests;
