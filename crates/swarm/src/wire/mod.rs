//! The swarm's wire format, version 7: length-prefixed frames with hard limits.
//!
//! A frame is a little-endian `u32` length of what follows, one byte for its kind, and the body. Payload bytes of a
//! [`DataHeader`] come after its frame and are not counted in the length. The version is part of the name under which
//! a driver negotiates the protocol ([`PROTOCOL_NAME`]); both sides of a connection speak the same one.

mod codec;
mod message;
mod waited;

pub use codec::{WireError, bytes_wanted, decode, encode};
pub use message::{ChunkList, Contact, DataHeader, Frame, LinkReport, Message, RejectReason};
pub use waited::Waited;

/// The name to negotiate on a connection. A change of the format changes the number.
pub const PROTOCOL_NAME: &str = "/fleetcast/swarm/7";

/// Bytes of a frame after its length prefix, at most: a manifest of the most chunks and its build id fit.
pub const FRAME_LENGTH_MAX: usize = 32 * crate::manifest::CHUNKS_MAX as usize + 2048;
/// Bytes of a contact's address at most: a peer id and a handful of addresses of both families, of 8 or 20 bytes each.
pub const ADDRESS_LENGTH_MAX: usize = 256;
/// Contacts in one message at most.
pub const CONTACTS_MAX: usize = 256;
/// Members in each list of a [`LinkReport`] at most; a host has no more than twice the largest degree and two.
pub const LINKS_MAX: usize = 256;
/// Bytes of a build's signature at most. They are those of whoever verifies it.
pub const SIGNATURE_LENGTH_MAX: usize = 512;
/// Bytes at most of what proves that somebody belongs to a swarm. They are those of whoever looks at it.
pub const PROOF_LENGTH_MAX: usize = 2048;
/// Payload bytes behind one [`DataHeader`] at most. Small enough that a control message waits for little.
pub const DATA_LENGTH_MAX: u32 = 256 << 10;

const _: () =
    assert!(FRAME_LENGTH_MAX > 32 * crate::manifest::CHUNKS_MAX as usize + crate::manifest::BUILD_ID_LENGTH_MAX + 64);
const _: () = assert!(FRAME_LENGTH_MAX > 3 * LINKS_MAX * 8 + ADDRESS_LENGTH_MAX + 64);
const _: () = assert!(FRAME_LENGTH_MAX > CONTACTS_MAX * (ADDRESS_LENGTH_MAX + 16));
