//! Messages as bytes: each its kind, and its fields in order.

use bytes::{BufMut, BytesMut};

use super::kind;
use crate::bitfield::Bitfield;
use crate::manifest::{BuildInfo, Manifest};
use crate::units::{HostId, ZoneId};
use crate::wire::message::{ChunkList, Contact, DataHeader, LinkReport, Message, RejectReason};

pub(super) fn put_message(message: &Message, out: &mut BytesMut) {
    match message {
        Message::Hello { swarm } => {
            out.put_u8(kind::HELLO);
            out.put_slice(swarm.as_bytes());
        }
        Message::Proof(proof) => {
            out.put_u8(kind::PROOF);
            put_short_bytes(out, proof);
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
            put_links(out, links);
        }
        Message::Neighbours(contacts) => put_neighbours(out, contacts),
        Message::Build(info) => put_build(out, info),
        Message::ManifestRequest => out.put_u8(kind::MANIFEST_REQUEST),
        Message::Manifest(manifest) => put_manifest(out, manifest),
        Message::Have(chunks) => put_chunks(out, kind::HAVE, chunks),
        Message::HaveSet(set) => put_set(out, set),
        Message::HaveAll => out.put_u8(kind::HAVE_ALL),
        Message::HaveRequest => out.put_u8(kind::HAVE_REQUEST),
        Message::Busy { waiting } => {
            out.put_u8(kind::BUSY);
            out.put_u8(u8::from(*waiting));
        }
        Message::Request { chunk, held } => {
            put_number(out, kind::REQUEST, *chunk);
            out.put_u32_le(*held);
        }
        Message::Serving { chunk, waited } => {
            put_number(out, kind::SERVING, *chunk);
            out.put_u16_le(waited.tenths());
        }
        Message::Zone(zone) => put_number(out, kind::ZONE, zone.get()),
        Message::Invite { chunk } => put_number(out, kind::INVITE, *chunk),
        Message::Offer(chunks) => put_chunks(out, kind::OFFER, chunks),
        Message::Decline(chunks) => put_chunks(out, kind::DECLINE, chunks),
        Message::Cancel { chunk } => put_number(out, kind::CANCEL, *chunk),
        Message::Lost { chunk } => put_number(out, kind::LOST, *chunk),
        Message::Reject { chunk, reason } => {
            put_number(out, kind::REJECT, *chunk);
            out.put_u8(reject_reason(*reason));
        }
        Message::Complete => out.put_u8(kind::COMPLETE),
        Message::Complaint { host, chunk } => put_about(out, kind::COMPLAINT, *host, *chunk),
        Message::NotServing { host, chunk } => put_about(out, kind::NOT_SERVING, *host, *chunk),
    }
}

pub(super) fn put_data_header(header: &DataHeader, out: &mut BytesMut) {
    put_number(out, kind::DATA, header.chunk);
    out.put_u32_le(header.offset);
    out.put_u32_le(header.length);
}

fn put_links(out: &mut BytesMut, links: &LinkReport) {
    for hosts in [&links.up, &links.lost, &links.barred] {
        put_u16_length(out, hosts.len());
        hosts.iter().for_each(|host| out.put_u64_le(host.get()));
    }
}

fn put_neighbours(out: &mut BytesMut, contacts: &[Contact]) {
    out.put_u8(kind::NEIGHBOURS);
    put_u16_length(out, contacts.len());
    for contact in contacts {
        out.put_u64_le(contact.host.get());
        put_short_bytes(out, &contact.address);
    }
}

fn put_build(out: &mut BytesMut, info: &BuildInfo) {
    out.put_u8(kind::BUILD);
    out.put_slice(info.root.as_bytes());
    put_short_bytes(out, info.build_id.as_bytes());
    put_short_bytes(out, &info.signature);
}

fn put_manifest(out: &mut BytesMut, manifest: &Manifest) {
    out.put_u8(kind::MANIFEST);
    put_short_bytes(out, manifest.build_id().as_bytes());
    out.put_u64_le(manifest.size().get());
    out.put_u32_le(manifest.chunk_size());
    for hash in manifest.hashes() {
        out.put_slice(hash.as_bytes());
    }
}

fn put_set(out: &mut BytesMut, set: &Bitfield) {
    put_number(out, kind::HAVE_SET, set.len());
    set.words().iter().for_each(|word| out.put_u64_le(*word));
}

fn put_chunks(out: &mut BytesMut, kind: u8, chunks: &ChunkList) {
    out.put_u8(kind);
    chunks.iter().for_each(|chunk| out.put_u32_le(*chunk));
}

fn put_about(out: &mut BytesMut, kind: u8, host: HostId, chunk: u32) {
    out.put_u8(kind);
    out.put_u64_le(host.get());
    out.put_u32_le(chunk);
}

fn put_number(out: &mut BytesMut, kind: u8, number: u32) {
    out.put_u8(kind);
    out.put_u32_le(number);
}

/// 2 was one of version 3, and means nothing any more.
const fn reject_reason(reason: RejectReason) -> u8 {
    match reason {
        RejectReason::NotHeld => 0,
        RejectReason::QueueFull => 1,
        RejectReason::Spent => 3,
        RejectReason::SentElsewhere => 4,
    }
}

fn put_u16_length(out: &mut BytesMut, length: usize) {
    out.put_u16_le(u16::try_from(length).expect("our own lists are bounded below 65,536"));
}

fn put_short_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_u16_length(out, bytes.len());
    out.put_slice(bytes);
}
