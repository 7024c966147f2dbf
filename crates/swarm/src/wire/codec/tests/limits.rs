//! What a frame may say at most, each at the edge.

use super::*;
use crate::manifest::BUILD_ID_LENGTH_MAX;
use crate::wire::{CONTACTS_MAX, LINKS_MAX};

#[test]
fn a_frame_may_be_as_long_as_the_limit_and_no_byte_longer() {
    let prefix = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let longest = prefix(FRAME_LENGTH_MAX);
    assert_eq!(decode(&mut BytesMut::from(&longest[..])), Ok(None));
    assert_eq!(bytes_wanted(&longest), Ok(FRAME_LENGTH_MAX));
    let length = FRAME_LENGTH_MAX + 1;
    let longer = prefix(length);
    assert_eq!(
        decode(&mut BytesMut::from(&longer[..])),
        Err(WireError::FrameTooLong { length })
    );
    assert_eq!(bytes_wanted(&longer), Err(WireError::FrameTooLong { length }));
}

#[test]
fn as_much_is_read_as_is_missing_of_a_frame_and_at_first_what_a_header_of_payload_takes() {
    for (input, wanted) in [
        (&[][..], 17),
        (&[9, 0, 0], 14),
        (&[9, 0, 0, 0], 9),
        (&[9, 0, 0, 0, 1, 1], 7),
        (&[1, 0, 0, 0, 1], 1),
        (&[0, 0, 0, 0], 1),
    ] {
        assert_eq!(bytes_wanted(input), Ok(wanted), "{input:?}");
    }
}

/// An announcement with so much of each.
fn announce(address: usize, links: usize) -> Message {
    let hosts = || (0..links as u64).map(HostId::new).collect();
    Message::Announce {
        address: vec![b'a'; address].into(),
        wanted: 1,
        complete: false,
        zone: None,
        links: Box::new(LinkReport {
            up: hosts(),
            lost: hosts(),
            barred: hosts(),
        }),
    }
}

#[test]
fn what_is_as_long_as_it_may_be_is_decoded() {
    let contact = Contact {
        host: HostId::new(1),
        address: "".into(),
    };
    let info = BuildInfo {
        build_id: "b".repeat(BUILD_ID_LENGTH_MAX),
        root: Hash::of(b"root"),
        signature: vec![1; SIGNATURE_LENGTH_MAX].into(),
    };
    let data = DataHeader {
        chunk: 1,
        offset: 2,
        length: DATA_LENGTH_MAX,
    };
    for frame in [
        Frame::Message(Message::Neighbours(vec![contact; CONTACTS_MAX])),
        Frame::Message(announce(ADDRESS_LENGTH_MAX, LINKS_MAX)),
        Frame::Message(Message::HaveSet(Box::new(Bitfield::full(CHUNKS_MAX)))),
        Frame::Message(Message::Have([CHUNKS_MAX - 1].into_iter().collect())),
        Frame::Message(Message::Build(Box::new(info))),
        Frame::Data(data),
    ] {
        let mut wire = BytesMut::new();
        encode(&frame, &mut wire);
        assert_eq!(decode(&mut wire), Ok(Some(frame)));
    }
}

#[test]
fn what_is_longer_than_it_may_be_is_refused_before_it_is_looked_at() {
    let two = |count: usize| u16::try_from(count).unwrap().to_le_bytes();
    let four = |count: u32| count.to_le_bytes();
    let announced = [0; 7];
    for (kind, body, field) in [
        (kind::NEIGHBOURS, two(CONTACTS_MAX + 1).to_vec(), "neighbours.count"),
        (
            kind::ANNOUNCE,
            [&announced[..], &two(ADDRESS_LENGTH_MAX + 1)].concat(),
            "address.length",
        ),
        (
            kind::ANNOUNCE,
            [&announced[..], &two(0), &two(LINKS_MAX + 1)].concat(),
            "announce.up",
        ),
        (kind::HAVE_SET, four(CHUNKS_MAX + 1).to_vec(), "have-set.length"),
        (
            kind::BUILD,
            [&[0; 32][..], &two(BUILD_ID_LENGTH_MAX + 1)].concat(),
            "build-id.length",
        ),
        (kind::BUILD, [&[0; 32][..], &two(0)].concat(), "build-id.length"),
        (
            kind::DATA,
            [four(1), four(2), four(DATA_LENGTH_MAX + 1)].concat(),
            "data.length",
        ),
    ] {
        let mut input = BytesMut::new();
        input.put_u32_le(u32::try_from(body.len()).unwrap() + 1);
        input.put_u8(kind);
        input.put_slice(&body);
        assert_eq!(decode(&mut input), Err(WireError::OutOfRange { field }), "{kind}");
    }
}
