//! The kind bytes of frames. A number is never used again for something else.

pub(super) const HELLO: u8 = 1;
pub(super) const ANNOUNCE: u8 = 2;
pub(super) const NEIGHBOURS: u8 = 3;
pub(super) const BUILD: u8 = 4;
pub(super) const MANIFEST_REQUEST: u8 = 5;
pub(super) const MANIFEST: u8 = 6;
pub(super) const HAVE: u8 = 7;
pub(super) const HAVE_SET: u8 = 8;
pub(super) const HAVE_ALL: u8 = 9;
pub(super) const HAVE_REQUEST: u8 = 10;
pub(super) const REQUEST: u8 = 11;
pub(super) const CANCEL: u8 = 12;
pub(super) const REJECT: u8 = 13;
pub(super) const COMPLETE: u8 = 14;
pub(super) const COMPLAINT: u8 = 15;
pub(super) const DATA: u8 = 16;
pub(super) const SERVING: u8 = 17;
pub(super) const BUSY: u8 = 18;
pub(super) const ZONE: u8 = 19;
pub(super) const INVITE: u8 = 20;
pub(super) const NOT_SERVING: u8 = 21;
pub(super) const OFFER: u8 = 22;
pub(super) const DECLINE: u8 = 23;
pub(super) const LOST: u8 = 24;
pub(super) const PROOF: u8 = 25;

/// The highest of them.
#[cfg(test)]
pub(super) const LAST: u8 = PROOF;
