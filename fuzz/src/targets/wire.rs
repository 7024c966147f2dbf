//! Frames of a connection, as they come in: decoding ends in frames, in "more bytes needed", or in an error, and what was decoded is
//! what its encoding decodes to.

use bytes::BytesMut;
use swarm::wire::{FRAME_LENGTH_MAX, bytes_wanted, decode, encode};

pub(crate) fn run(data: &[u8]) {
    let mut input = BytesMut::from(data);
    loop {
        let before = input.len();
        let wanted = bytes_wanted(&input);
        match decode(&mut input) {
            Ok(Some(frame)) => {
                assert!(input.len() < before, "a frame takes bytes");
                let mut out = BytesMut::new();
                encode(&frame, &mut out);
                let again = decode(&mut out).expect("what we encode is a frame");
                assert_eq!(again.as_ref(), Some(&frame));
                assert!(out.is_empty(), "{} bytes are left of what we encode", out.len());
            }
            Ok(None) => {
                let wanted = wanted.expect("a frame that may still come has a length");
                assert!(
                    (1..=FRAME_LENGTH_MAX + 4).contains(&wanted),
                    "{wanted} bytes are wanted"
                );
                assert_eq!(input.len(), before, "what is no frame yet stays");
                return;
            }
            Err(_) => return,
        }
    }
}
