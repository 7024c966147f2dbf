//! The body of a frame, field by field, and what frames it can be.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes as ByteBuffer;

use super::{WireError, kind};
use crate::bitfield::Bitfield;
use crate::manifest::{BUILD_ID_LENGTH_MAX, BuildInfo, CHUNKS_MAX, Hash, Manifest};
use crate::units::{Bytes, HostId, SwarmId, ZoneId};
use crate::wire::message::{ChunkList, Contact, DataHeader, Frame, LinkReport, Message, RejectReason};
use crate::wire::{
    ADDRESS_LENGTH_MAX, CONTACTS_MAX, DATA_LENGTH_MAX, LINKS_MAX, PROOF_LENGTH_MAX, SIGNATURE_LENGTH_MAX, Waited,
};

/// The body of a frame, from which fields are taken in order.
pub(super) struct Body<'a> {
    bytes: &'a [u8],
    kind: u8,
}

impl<'a> Body<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, kind: 0 }
    }

    /// Nothing may be left.
    pub(super) const fn end(&self) -> Result<(), WireError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(WireError::Trailing {
            kind: self.kind,
            left: self.bytes.len(),
        })
    }

    pub(super) fn frame(&mut self) -> Result<Frame, WireError> {
        self.kind = self.u8()?;
        let message = match self.kind {
            kind::DATA => return self.data_header().map(Frame::Data),
            kind::HELLO => Message::Hello {
                swarm: SwarmId::from_bytes(self.array()?),
            },
            kind::PROOF => Message::Proof(self.short_bytes("proof.length", PROOF_LENGTH_MAX)?),
            kind::ANNOUNCE => self.announce()?,
            kind::NEIGHBOURS => self.neighbours()?,
            kind::BUILD => self.build()?,
            kind::MANIFEST_REQUEST => Message::ManifestRequest,
            kind::MANIFEST => self.manifest()?,
            kind::HAVE => Message::Have(self.chunks("have")?),
            kind::HAVE_SET => self.have_set()?,
            kind::HAVE_ALL => Message::HaveAll,
            kind::HAVE_REQUEST => Message::HaveRequest,
            kind::BUSY => Message::Busy {
                waiting: self.bool("busy.waiting")?,
            },
            kind::REQUEST => Message::Request {
                chunk: self.u32()?,
                held: self.u32()?,
            },
            kind::SERVING => Message::Serving {
                chunk: self.u32()?,
                waited: Waited::from_tenths(self.u16()?),
            },
            kind::ZONE => {
                let zone = NonZeroU32::new(self.u32()?).ok_or(out_of_range("zone"))?;
                Message::Zone(ZoneId::new(zone))
            }
            kind::INVITE => Message::Invite { chunk: self.u32()? },
            kind::OFFER => Message::Offer(self.chunks("offer")?),
            kind::DECLINE => Message::Decline(self.chunks("decline")?),
            kind::CANCEL => Message::Cancel { chunk: self.u32()? },
            kind::LOST => Message::Lost { chunk: self.u32()? },
            kind::REJECT => Message::Reject {
                chunk: self.u32()?,
                reason: self.reject_reason()?,
            },
            kind::COMPLETE => Message::Complete,
            kind::COMPLAINT => Message::Complaint {
                host: self.host()?,
                chunk: self.u32()?,
            },
            kind::NOT_SERVING => Message::NotServing {
                host: self.host()?,
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

    fn announce(&mut self) -> Result<Message, WireError> {
        Ok(Message::Announce {
            wanted: self.u16()?,
            complete: self.bool("announce.complete")?,
            zone: NonZeroU32::new(self.u32()?).map(ZoneId::new),
            address: self.address()?,
            links: Box::new(LinkReport {
                up: self.hosts("announce.up")?,
                lost: self.hosts("announce.lost")?,
                barred: self.hosts("announce.barred")?,
            }),
        })
    }

    fn build(&mut self) -> Result<Message, WireError> {
        Ok(Message::Build(Box::new(BuildInfo {
            root: self.hash()?,
            build_id: self.build_id()?,
            signature: self.short_bytes("build.signature.length", SIGNATURE_LENGTH_MAX)?,
        })))
    }

    fn reject_reason(&mut self) -> Result<RejectReason, WireError> {
        match self.u8()? {
            0 => Ok(RejectReason::NotHeld),
            1 => Ok(RejectReason::QueueFull),
            3 => Ok(RejectReason::Spent),
            4 => Ok(RejectReason::SentElsewhere),
            _ => Err(out_of_range("reject.reason")),
        }
    }

    fn neighbours(&mut self) -> Result<Message, WireError> {
        let count = usize::from(self.u16()?);
        if count > CONTACTS_MAX {
            return Err(out_of_range("neighbours.count"));
        }
        let mut contacts = Vec::with_capacity(count);
        for _ in 0..count {
            contacts.push(Contact {
                host: self.host()?,
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
        (0..count).map(|_| self.host()).collect()
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

    /// Chunk numbers to the end of the body.
    fn chunks(&mut self, field: &'static str) -> Result<ChunkList, WireError> {
        let mut chunks = ChunkList::with_capacity(self.bytes.len() / 4);
        while !self.bytes.is_empty() {
            let chunk = self.u32()?;
            if chunk >= CHUNKS_MAX {
                return Err(out_of_range(field));
            }
            chunks.push(chunk);
        }
        Ok(chunks)
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
        self.short_bytes("address.length", ADDRESS_LENGTH_MAX)
    }

    /// Bytes behind their length, which is `most` at most.
    fn short_bytes(&mut self, field: &'static str, most: usize) -> Result<ByteBuffer, WireError> {
        let length = usize::from(self.u16()?);
        if length > most {
            return Err(out_of_range(field));
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

    fn host(&mut self) -> Result<HostId, WireError> {
        self.u64().map(HostId::new)
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
