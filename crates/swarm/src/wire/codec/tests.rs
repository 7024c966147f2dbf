mod limits;

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes as ByteBuffer};
use proptest::prelude::*;

use super::*;
use crate::bitfield::Bitfield;
use crate::manifest::{BuildInfo, CHUNKS_MAX, Hash, Manifest};
use crate::units::{HostId, SwarmId, ZoneId};
use crate::wire::{
    ADDRESS_LENGTH_MAX, ChunkList, Contact, DATA_LENGTH_MAX, DataHeader, LinkReport, Message, RejectReason,
    SIGNATURE_LENGTH_MAX, Waited,
};

fn contact() -> impl Strategy<Value = Contact> {
    (any::<u64>(), prop::collection::vec(any::<u8>(), 0..ADDRESS_LENGTH_MAX)).prop_map(|(host, address)| Contact {
        host: HostId::new(host),
        address: address.into(),
    })
}

fn signature() -> impl Strategy<Value = ByteBuffer> {
    prop::collection::vec(any::<u8>(), 0..=SIGNATURE_LENGTH_MAX).prop_map(ByteBuffer::from)
}

const REASONS: [RejectReason; 4] = [
    RejectReason::NotHeld,
    RejectReason::QueueFull,
    RejectReason::SentElsewhere,
    RejectReason::Spent,
];

fn links() -> impl Strategy<Value = LinkReport> {
    let hosts = || prop::collection::vec(any::<u64>().prop_map(HostId::new), 0..30);
    (hosts(), hosts(), hosts()).prop_map(|(up, lost, barred)| LinkReport { up, lost, barred })
}

/// The messages that list chunks.
const CHUNK_LISTS: [fn(ChunkList) -> Message; 3] = [Message::Have, Message::Offer, Message::Decline];

fn chunks() -> impl Strategy<Value = ChunkList> {
    prop::collection::vec(0..CHUNKS_MAX, 0..100).prop_map(ChunkList::from)
}

fn frame() -> impl Strategy<Value = Frame> {
    let message = prop_oneof![
        any::<[u8; SwarmId::LENGTH]>().prop_map(|swarm| Message::Hello {
            swarm: SwarmId::from_bytes(swarm),
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
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|proof| Message::Proof(proof.into())),
        any::<NonZeroU32>().prop_map(|zone| Message::Zone(ZoneId::new(zone))),
        any::<u32>().prop_map(|chunk| Message::Invite { chunk }),
        prop::collection::vec(contact(), 0..20).prop_map(Message::Neighbours),
        ("[a-z/.]{1,80}", any::<[u8; 32]>(), signature()).prop_map(|(build_id, root, signature)| {
            let root = Hash::from_bytes(root);
            Message::Build(Box::new(BuildInfo {
                build_id,
                root,
                signature,
            }))
        }),
        Just(Message::ManifestRequest),
        ("[a-z/.]{1,80}", prop::collection::vec(any::<u8>(), 1..2000), 16u32..300)
            .prop_map(|(id, data, size)| { Message::Manifest(Arc::new(Manifest::of(id, &data, size).unwrap())) }),
        (chunks(), 0..CHUNK_LISTS.len()).prop_map(|(chunks, kind)| CHUNK_LISTS[kind](chunks)),
        (1u32..500).prop_map(|len| Message::HaveSet(Box::new(Bitfield::full(len)))),
        Just(Message::HaveAll),
        Just(Message::HaveRequest),
        any::<bool>().prop_map(|waiting| Message::Busy { waiting }),
        any::<(u32, u32)>().prop_map(|(chunk, held)| Message::Request { chunk, held }),
        any::<(u32, u16)>().prop_map(|(chunk, tenths)| Message::Serving {
            chunk,
            waited: Waited::from_tenths(tenths),
        }),
        any::<u32>().prop_map(|chunk| Message::Cancel { chunk }),
        any::<u32>().prop_map(|chunk| Message::Lost { chunk }),
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
    fn any_bytes_end_in_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..=kind::LAST) {
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

#[test]
fn what_is_no_chunk_no_reason_and_no_truth_is_refused() {
    let refused = |kind: u8, body: &[u8]| {
        let mut input = BytesMut::new();
        input.put_u32_le(u32::try_from(body.len()).unwrap() + 1);
        input.put_u8(kind);
        input.put_slice(body);
        decode(&mut input).unwrap_err()
    };
    let beyond = CHUNKS_MAX.to_le_bytes();
    let lists = [(kind::HAVE, "have"), (kind::OFFER, "offer"), (kind::DECLINE, "decline")];
    for (kind, field) in lists {
        assert_eq!(refused(kind, &beyond), WireError::OutOfRange { field });
    }
    // The reason of version 3 that an offer was not needed for, and one that never was.
    for reason in [2, 5] {
        let field = "reject.reason";
        assert_eq!(
            refused(kind::REJECT, &[0, 0, 0, 0, reason]),
            WireError::OutOfRange { field }
        );
    }
    // A build as version 5 said it, and one whose signature is longer than any.
    let unsigned = [&[0; 32][..], &[1, 0, b'b']].concat();
    assert_eq!(
        refused(kind::BUILD, &unsigned),
        WireError::Truncated { kind: kind::BUILD }
    );
    let field = "build.signature.length";
    let length = u16::try_from(SIGNATURE_LENGTH_MAX + 1).unwrap().to_le_bytes();
    let signed = [&unsigned[..], &length, &[0; SIGNATURE_LENGTH_MAX + 1]].concat();
    assert_eq!(refused(kind::BUILD, &signed), WireError::OutOfRange { field });
    assert_eq!(
        refused(kind::BUSY, &[2]),
        WireError::OutOfRange { field: "busy.waiting" }
    );
}

#[test]
fn each_kind_up_to_the_last_is_known_and_none_after_it() {
    for kind in 1..=kind::LAST {
        let mut input = BytesMut::from(&[1u8, 0, 0, 0, kind][..]);
        assert_ne!(decode(&mut input), Err(WireError::UnknownKind { kind }));
    }
    let mut beyond = BytesMut::from(&[1u8, 0, 0, 0, kind::LAST + 1][..]);
    assert!(matches!(decode(&mut beyond), Err(WireError::UnknownKind { .. })));
}
