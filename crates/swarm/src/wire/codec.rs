//! Frames to bytes and back. Whatever a peer sends, decoding ends in a frame, in "more bytes needed", or in a
//! [`WireError`]; it never panics and never allocates more than the frame's own length allows.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes as ByteBuffer, BytesMut};

use super::message::{ChunkList, Contact, DataHeader, Frame, LinkReport, Message, RejectReason};
use super::{ADDRESS_LENGTH_MAX, CONTACTS_MAX, DATA_LENGTH_MAX, FRAME_LENGTH_MAX, LINKS_MAX};
use crate::bitfield::Bitfield;
use crate::manifest::{BUILD_ID_LENGTH_MAX, BuildInfo, CHUNKS_MAX, Hash, Manifest, ManifestError};
use crate::units::{Bytes, HostId, SwarmId, ZoneId};

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
        Frame::Message(message) => encode_message(message, out),
        Frame::Data(header) => {
            out.put_u8(kind::DATA);
            out.put_u32_le(header.chunk);
            out.put_u32_le(header.offset);
            out.put_u32_le(header.length);
        }
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
    let mut body = Body {
        bytes: &input[..length],
        kind: 0,
    };
    let frame = body.frame()?;
    if !body.bytes.is_empty() {
        return Err(WireError::Trailing {
            kind: body.kind,
            left: body.bytes.len(),
        });
    }
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

fn encode_message(message: &Message, out: &mut BytesMut) {
    match message {
        Message::Hello { swarm, host } => {
            out.put_u8(kind::HELLO);
            out.put_slice(swarm.as_bytes());
            out.put_u64_le(host.get());
        }
        Message::Announce {
            address,
            wanted,
            complete,
            zone,
            links,
        } => {
            out.put_u8(kind::ANNOUNCE);
            out.put_u16_le(*wanted);
            out.put_u8(u8::from(*complete));
            out.put_u32_le(zone.map_or(0, ZoneId::get));
            put_short_bytes(out, address);
            for hosts in [&links.up, &links.lost, &links.barred] {
                put_u16_length(out, hosts.len());
                hosts.iter().for_each(|host| out.put_u64_le(host.get()));
            }
        }
        Message::Neighbours(contacts) => {
            out.put_u8(kind::NEIGHBOURS);
            put_u16_length(out, contacts.len());
            for contact in contacts {
                out.put_u64_le(contact.host.get());
                put_short_bytes(out, &contact.address);
            }
        }
        Message::Build(info) => {
            out.put_u8(kind::BUILD);
            out.put_slice(info.root.as_bytes());
            put_short_bytes(out, info.build_id.as_bytes());
        }
        Message::ManifestRequest => out.put_u8(kind::MANIFEST_REQUEST),
        Message::Manifest(manifest) => {
            out.put_u8(kind::MANIFEST);
            put_short_bytes(out, manifest.build_id().as_bytes());
            out.put_u64_le(manifest.size().get());
            out.put_u32_le(manifest.chunk_size());
            for hash in manifest.hashes() {
                out.put_slice(hash.as_bytes());
            }
        }
        Message::Have(chunks) => {
            out.put_u8(kind::HAVE);
            for chunk in chunks {
                out.put_u32_le(*chunk);
            }
        }
        Message::HaveSet(set) => {
            out.put_u8(kind::HAVE_SET);
            out.put_u32_le(set.len());
            for word in set.words() {
                out.put_u64_le(*word);
            }
        }
        Message::HaveAll => out.put_u8(kind::HAVE_ALL),
        Message::HaveRequest => out.put_u8(kind::HAVE_REQUEST),
        Message::Busy { waiting } => {
            out.put_u8(kind::BUSY);
            out.put_u8(u8::from(*waiting));
        }
        Message::Request { chunk, held } => {
            out.put_u8(kind::REQUEST);
            out.put_u32_le(*chunk);
            out.put_u32_le(*held);
        }
        Message::Serving { chunk } => {
            out.put_u8(kind::SERVING);
            out.put_u32_le(*chunk);
        }
        Message::Zone(zone) => {
            out.put_u8(kind::ZONE);
            out.put_u32_le(zone.get());
        }
        Message::Invite { chunk } => {
            out.put_u8(kind::INVITE);
            out.put_u32_le(*chunk);
        }
        Message::Cancel { chunk } => {
            out.put_u8(kind::CANCEL);
            out.put_u32_le(*chunk);
        }
        Message::Reject { chunk, reason } => {
            out.put_u8(kind::REJECT);
            out.put_u32_le(*chunk);
            out.put_u8(match reason {
                RejectReason::NotHeld => 0,
                RejectReason::Busy => 1,
                RejectReason::NotNeeded => 2,
                RejectReason::Spent => 3,
            });
        }
        Message::Complete => out.put_u8(kind::COMPLETE),
        Message::Complaint { host, chunk } => put_complaint(out, kind::COMPLAINT, *host, *chunk),
        Message::NotServing { host, chunk } => put_complaint(out, kind::NOT_SERVING, *host, *chunk),
    }
}

fn put_complaint(out: &mut BytesMut, kind: u8, host: HostId, chunk: u32) {
    out.put_u8(kind);
    out.put_u64_le(host.get());
    out.put_u32_le(chunk);
}

fn put_u16_length(out: &mut BytesMut, length: usize) {
    out.put_u16_le(u16::try_from(length).expect("our own lists are bounded below 65,536"));
}

fn put_short_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_u16_length(out, bytes.len());
    out.put_slice(bytes);
}

/// The body of a frame, from which fields are taken in order.
struct Body<'a> {
    bytes: &'a [u8],
    kind: u8,
}

impl Body<'_> {
    fn frame(&mut self) -> Result<Frame, WireError> {
        self.kind = self.u8()?;
        let message = match self.kind {
            kind::DATA => return self.data_header().map(Frame::Data),
            kind::HELLO => Message::Hello {
                swarm: SwarmId::from_bytes(self.array()?),
                host: HostId::new(self.u64()?),
            },
            kind::ANNOUNCE => Message::Announce {
                wanted: self.u16()?,
                complete: self.bool("announce.complete")?,
                zone: NonZeroU32::new(self.u32()?).map(ZoneId::new),
                address: self.address()?,
                links: Box::new(LinkReport {
                    up: self.hosts("announce.up")?,
                    lost: self.hosts("announce.lost")?,
                    barred: self.hosts("announce.barred")?,
                }),
            },
            kind::NEIGHBOURS => self.neighbours()?,
            kind::BUILD => Message::Build(Box::new(BuildInfo {
                root: self.hash()?,
                build_id: self.build_id()?,
            })),
            kind::MANIFEST_REQUEST => Message::ManifestRequest,
            kind::MANIFEST => self.manifest()?,
            kind::HAVE => self.have()?,
            kind::HAVE_SET => self.have_set()?,
            kind::HAVE_ALL => Message::HaveAll,
            kind::HAVE_REQUEST => Message::HaveRequest,
            kind::BUSY => Message::Busy {
                waiting: self.u8()? != 0,
            },
            kind::REQUEST => Message::Request {
                chunk: self.u32()?,
                held: self.u32()?,
            },
            kind::SERVING => Message::Serving { chunk: self.u32()? },
            kind::ZONE => {
                let zone = NonZeroU32::new(self.u32()?).ok_or(out_of_range("zone"))?;
                Message::Zone(ZoneId::new(zone))
            }
            kind::INVITE => Message::Invite { chunk: self.u32()? },
            kind::CANCEL => Message::Cancel { chunk: self.u32()? },
            kind::REJECT => Message::Reject {
                chunk: self.u32()?,
                reason: match self.u8()? {
                    0 => RejectReason::NotHeld,
                    1 => RejectReason::Busy,
                    2 => RejectReason::NotNeeded,
                    3 => RejectReason::Spent,
                    _ => return Err(out_of_range("reject.reason")),
                },
            },
            kind::COMPLETE => Message::Complete,
            kind::COMPLAINT => Message::Complaint {
                host: HostId::new(self.u64()?),
                chunk: self.u32()?,
            },
            kind::NOT_SERVING => Message::NotServing {
                host: HostId::new(self.u64()?),
                chunk: self.u32()?,
            },
            kind => return Err(WireError::UnknownKind { kind }),
        };
        Ok(Frame::Message(message))
    }

    fn data_header(&mut self) -> Result<DataHeader, WireError> {
        let header = DataHeader {
            chunk: self.u32()?,
            offset: self.u32()?,
            length: self.u32()?,
        };
        if header.length > DATA_LENGTH_MAX {
            return Err(out_of_range("data.length"));
        }
        Ok(header)
    }

    fn neighbours(&mut self) -> Result<Message, WireError> {
        let count = usize::from(self.u16()?);
        if count > CONTACTS_MAX {
            return Err(out_of_range("neighbours.count"));
        }
        let mut contacts = Vec::with_capacity(count);
        for _ in 0..count {
            contacts.push(Contact {
                host: HostId::new(self.u64()?),
                address: self.address()?,
            });
        }
        Ok(Message::Neighbours(contacts))
    }

    fn hosts(&mut self, field: &'static str) -> Result<Vec<HostId>, WireError> {
        let count = usize::from(self.u16()?);
        if count > LINKS_MAX {
            return Err(out_of_range(field));
        }
        (0..count).map(|_| self.u64().map(HostId::new)).collect()
    }

    fn manifest(&mut self) -> Result<Message, WireError> {
        let build_id = self.build_id()?;
        let size = Bytes::new(self.u64()?);
        let chunk_size = self.u32()?;
        let mut hashes = Vec::with_capacity(self.bytes.len() / 32);
        while !self.bytes.is_empty() {
            hashes.push(self.hash()?);
        }
        let manifest = Manifest::new(build_id, size, chunk_size, hashes)?;
        Ok(Message::Manifest(Arc::new(manifest)))
    }

    fn have(&mut self) -> Result<Message, WireError> {
        let mut chunks = ChunkList::with_capacity(self.bytes.len() / 4);
        while !self.bytes.is_empty() {
            let chunk = self.u32()?;
            if chunk >= CHUNKS_MAX {
                return Err(out_of_range("have.chunk"));
            }
            chunks.push(chunk);
        }
        Ok(Message::Have(chunks))
    }

    fn have_set(&mut self) -> Result<Message, WireError> {
        let length = self.u32()?;
        if length > CHUNKS_MAX {
            return Err(out_of_range("have-set.length"));
        }
        let mut words = Vec::with_capacity(self.bytes.len() / 8);
        while !self.bytes.is_empty() {
            words.push(self.u64()?);
        }
        Bitfield::from_words(&words, length)
            .map(|set| Message::HaveSet(Box::new(set)))
            .ok_or(out_of_range("have-set.words"))
    }

    fn address(&mut self) -> Result<ByteBuffer, WireError> {
        let length = usize::from(self.u16()?);
        if length > ADDRESS_LENGTH_MAX {
            return Err(out_of_range("address.length"));
        }
        self.take(length).map(ByteBuffer::copy_from_slice)
    }

    fn build_id(&mut self) -> Result<String, WireError> {
        let length = usize::from(self.u16()?);
        if length == 0 || length > BUILD_ID_LENGTH_MAX {
            return Err(out_of_range("build-id.length"));
        }
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes).map_err(|_not_utf8| out_of_range("build-id (UTF-8)"))
    }

    fn hash(&mut self) -> Result<Hash, WireError> {
        self.array().map(Hash::from_bytes)
    }

    fn bool(&mut self, field: &'static str) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(out_of_range(field)),
        }
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (array, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or(WireError::Truncated { kind: self.kind })?;
        self.bytes = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&[u8], WireError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or(WireError::Truncated { kind: self.kind })?;
        self.bytes = rest;
        Ok(taken)
    }
}

const fn out_of_range(field: &'static str) -> WireError {
    WireError::OutOfRange { field }
}

/// Bytes of the length prefix.
const PREFIX: usize = 4;
/// Bytes of the frame of a [`DataHeader`], with its prefix.
const DATA_FRAME_LENGTH: usize = PREFIX + 1 + 3 * 4;

/// The kind bytes of version 1. A number is never used again for something else.
mod kind {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contact() -> impl Strategy<Value = Contact> {
        (any::<u64>(), prop::collection::vec(any::<u8>(), 0..ADDRESS_LENGTH_MAX)).prop_map(|(host, address)| Contact {
            host: HostId::new(host),
            address: address.into(),
        })
    }

    const REASONS: [RejectReason; 4] = [
        RejectReason::NotHeld,
        RejectReason::Busy,
        RejectReason::NotNeeded,
        RejectReason::Spent,
    ];

    fn links() -> impl Strategy<Value = LinkReport> {
        let hosts = || prop::collection::vec(any::<u64>().prop_map(HostId::new), 0..30);
        (hosts(), hosts(), hosts()).prop_map(|(up, lost, barred)| LinkReport { up, lost, barred })
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let message = prop_oneof![
            any::<([u8; SwarmId::LENGTH], u64)>().prop_map(|(swarm, host)| Message::Hello {
                swarm: SwarmId::from_bytes(swarm),
                host: HostId::new(host)
            }),
            (contact(), any::<(u16, bool, u32)>(), links()).prop_map(|(contact, (wanted, complete, zone), links)| {
                Message::Announce {
                    address: contact.address,
                    wanted,
                    complete,
                    zone: NonZeroU32::new(zone % 4).map(ZoneId::new),
                    links: Box::new(links),
                }
            }),
            any::<NonZeroU32>().prop_map(|zone| Message::Zone(ZoneId::new(zone))),
            any::<u32>().prop_map(|chunk| Message::Invite { chunk }),
            prop::collection::vec(contact(), 0..20).prop_map(Message::Neighbours),
            ("[a-z/.]{1,80}", any::<[u8; 32]>()).prop_map(|(build_id, root)| {
                let root = Hash::from_bytes(root);
                Message::Build(Box::new(BuildInfo { build_id, root }))
            }),
            Just(Message::ManifestRequest),
            ("[a-z/.]{1,80}", prop::collection::vec(any::<u8>(), 1..2000), 16u32..300)
                .prop_map(|(id, data, size)| { Message::Manifest(Arc::new(Manifest::of(id, &data, size).unwrap())) }),
            prop::collection::vec(0..CHUNKS_MAX, 0..100).prop_map(|chunks| Message::Have(chunks.into())),
            (1u32..500).prop_map(|len| Message::HaveSet(Box::new(Bitfield::full(len)))),
            Just(Message::HaveAll),
            Just(Message::HaveRequest),
            any::<bool>().prop_map(|waiting| Message::Busy { waiting }),
            any::<(u32, u32)>().prop_map(|(chunk, held)| Message::Request { chunk, held }),
            any::<u32>().prop_map(|chunk| Message::Serving { chunk }),
            any::<u32>().prop_map(|chunk| Message::Cancel { chunk }),
            (any::<u32>(), 0..REASONS.len()).prop_map(|(chunk, reason)| Message::Reject {
                chunk,
                reason: REASONS[reason],
            }),
            Just(Message::Complete),
            any::<(u64, u32)>().prop_map(|(host, chunk)| Message::Complaint {
                host: HostId::new(host),
                chunk
            }),
            any::<(u64, u32)>().prop_map(|(host, chunk)| Message::NotServing {
                host: HostId::new(host),
                chunk
            }),
        ];
        prop_oneof![
            8 => message.prop_map(Frame::Message),
            1 => (any::<u32>(), any::<u32>(), 0..=DATA_LENGTH_MAX)
                .prop_map(|(chunk, offset, length)| Frame::Data(DataHeader { chunk, offset, length })),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_however_it_arrives(frames in prop::collection::vec(frame(), 1..8), step in 1usize..50) {
            let mut wire = BytesMut::new();
            for frame in &frames {
                encode(frame, &mut wire);
            }
            let mut arrived = BytesMut::new();
            let mut decoded = Vec::new();
            for part in wire.chunks(step) {
                arrived.extend_from_slice(part);
                while let Some(frame) = decode(&mut arrived).unwrap() {
                    decoded.push(frame);
                }
            }
            prop_assert_eq!(decoded, frames);
            prop_assert!(arrived.is_empty());
        }

        /// Frames with payload among them, read as a driver does: in as many bytes at a time as are wanted, or as few as come.
        #[test]
        fn what_is_read_for_a_frame_is_never_payload(
            frames in prop::collection::vec(frame(), 1..20),
            come in prop::collection::vec(1usize..30, 1..20),
        ) {
            let mut wire = BytesMut::new();
            for frame in &frames {
                encode(frame, &mut wire);
                if let Frame::Data(header) = frame {
                    wire.put_bytes(0xff, header.length.min(50) as usize);
                }
            }
            let mut come = come.iter().cycle();
            let mut arrived = BytesMut::new();
            let mut decoded = Vec::new();
            while !wire.is_empty() {
                let wanted = bytes_wanted(&arrived).unwrap();
                let count = wanted.min(*come.next().unwrap()).min(wire.len());
                arrived.extend_from_slice(&wire.split_to(count));
                while let Some(frame) = decode(&mut arrived).unwrap() {
                    if let Frame::Data(header) = &frame {
                        prop_assert!(arrived.is_empty(), "{} bytes of payload were read", arrived.len());
                        wire.advance(header.length.min(50) as usize);
                    }
                    decoded.push(frame);
                }
            }
            prop_assert_eq!(decoded, frames);
        }

        #[test]
        fn any_bytes_end_in_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..20) {
            let mut input = BytesMut::new();
            input.put_u32_le(u32::try_from(bytes.len()).unwrap() + 1);
            input.put_u8(kind);
            input.extend_from_slice(&bytes);
            let _ = decode(&mut input);
            let mut raw = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode(&mut raw) {}
        }

        #[test]
        fn a_cut_body_is_an_error(frame in frame(), cut in 1usize..40) {
            let mut wire = BytesMut::new();
            encode(&frame, &mut wire);
            let body = wire.len() - PREFIX;
            if cut < body {
                wire.truncate(PREFIX + body - cut);
                let length = u32::try_from(body - cut).unwrap();
                wire[..PREFIX].copy_from_slice(&length.to_le_bytes());
                if let Ok(Some(other)) = decode(&mut wire) {
                    // A list may stay well-formed when it is cut, but then it says something else.
                    prop_assert_ne!(other, frame);
                }
            }
        }
    }

    #[test]
    fn a_message_of_one_chunk_takes_one_read_and_a_header_of_payload_takes_one() {
        let have = Frame::Message(Message::Have(ChunkList::from_slice(&[7])));
        let data = Frame::Data(DataHeader {
            chunk: 7,
            offset: 0,
            length: 1,
        });
        let lengths = [have, data].map(|frame| {
            let mut wire = BytesMut::new();
            encode(&frame, &mut wire);
            wire.len()
        });
        let wanted = bytes_wanted(&[]).unwrap();
        assert!(lengths[0] <= wanted);
        assert_eq!(lengths[1], wanted);
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_is_read() {
        assert!(matches!(
            bytes_wanted(&u32::MAX.to_le_bytes()),
            Err(WireError::FrameTooLong { .. })
        ));
        let mut input = BytesMut::from(&u32::MAX.to_le_bytes()[..]);
        assert!(matches!(decode(&mut input), Err(WireError::FrameTooLong { .. })));
    }

    #[test]
    fn an_empty_frame_and_an_unknown_kind_are_errors() {
        let mut empty = BytesMut::from(&[0u8, 0, 0, 0][..]);
        assert_eq!(decode(&mut empty), Err(WireError::Truncated { kind: 0 }));
        let mut unknown = BytesMut::from(&[1u8, 0, 0, 0, 99][..]);
        assert_eq!(decode(&mut unknown), Err(WireError::UnknownKind { kind: 99 }));
        let mut trailing = BytesMut::from(&[2u8, 0, 0, 0, 9, 9][..]);
        assert_eq!(decode(&mut trailing), Err(WireError::Trailing { kind: 9, left: 1 }));
    }
}
