//! What neighbours are told of whether requests wait.

use super::*;

/// A host with one slot that holds the first two of four chunks of this size, and neighbours A, which has the others, and B.
fn with_one_slot(size: u32) -> Driven {
    let seeder = Contact {
        host: SEEDER,
        address: "".into(),
    };
    let mut config = PeerConfig::new(HostId::new(9), "".into(), seeder);
    config.upload_slots = Some(1);
    config.chunks_in_flight_max = Some(1);
    let mut driven = Driven::of(Peer::new(config, 1, Time::ZERO));
    let hashes = (0..4_u32).map(|index| Hash::of(&index.to_le_bytes())).collect();
    let manifest = Arc::new(Manifest::new("build", Bytes::new(4 * u64::from(size)), size, hashes).unwrap());
    driven.tell(Event::Connected(SEEDER));
    driven.tell(Event::Message(SEEDER, Message::Build(Box::new(manifest.info()))));
    for host in [A, B] {
        driven.tell(Event::Connected(host));
    }
    driven.tell(Event::Message(A, Message::Have([].into_iter().collect())));
    wait(&mut driven, 2000);
    driven.tell(Event::Message(A, Message::Manifest(manifest)));
    driven.tell(Event::StoreOpened { held: set(4, [0, 1]) });
    driven
}

/// What B is told of whether requests wait.
fn busy(actions: &[Action]) -> Vec<bool> {
    let said = sent_to(actions, B).into_iter().filter_map(|message| match message {
        Message::Busy { waiting } => Some(waiting),
        _ => None,
    });
    said.collect()
}

#[test]
fn with_large_chunks_it_is_said_when_requests_begin_to_wait_and_when_none_does_any_more() {
    for (size, is_said) in [(256 << 10, true), ((256 << 10) - 1, false)] {
        let mut driven = with_one_slot(size);
        driven.tell(Event::Message(A, request(0)));
        assert_eq!(busy(&wait(&mut driven, 10)), [], "it is served, and nobody waits");
        driven.tell(Event::Message(A, request(1)));
        let expected: &[bool] = if is_said { &[true] } else { &[] };
        assert_eq!(busy(&wait(&mut driven, 10)), expected);
        driven.tell(Event::ChunkServed { to: A, chunk: chunk(0) });
        let expected: &[bool] = if is_said { &[false] } else { &[] };
        assert_eq!(busy(&wait(&mut driven, 10)), expected);
    }
}

#[test]
fn with_small_chunks_it_is_said_with_the_next_chunk_and_at_once_where_chunks_take_long_and_the_processor_has_time() {
    for (takes, woken_late, at_once) in [(999, 0, false), (1000, 0, true), (1600, 50, true), (1600, 51, false)] {
        let mut driven = with_one_slot(1000);
        let come = |driven: &mut Driven, index: u32| {
            driven.tell(Event::Message(A, Message::Have([index].into_iter().collect())));
            driven.tell(Event::ChunkProgress {
                from: A,
                chunk: chunk(index),
            });
            driven.pass(takes);
            driven.stored(A, index);
            busy(&wait(driven, 10))
        };
        assert_eq!(come(&mut driven, 2), [], "nothing waits");
        if let Build::Fetching(download) = &mut driven.peer.build {
            download.ledger.woken_late(Duration::from_millis(woken_late));
        }
        driven.tell(Event::Message(A, request(0)));
        driven.tell(Event::Message(A, request(1)));
        let what = format!("chunks of {takes} ms, woken {woken_late} ms late");
        let (now, then): (&[bool], &[bool]) = if at_once { (&[true], &[]) } else { (&[], &[true]) };
        assert_eq!(busy(&wait(&mut driven, 10)), now, "{what}");
        assert_eq!(come(&mut driven, 3), then, "{what}, with the next chunk");
        driven.tell(Event::ChunkServed { to: A, chunk: chunk(0) });
        let told = busy(&wait(&mut driven, 10));
        assert_eq!(told, [false], "{what}: all chunks are here, so no other one brings it");
    }
}

#[test]
fn who_becomes_a_neighbour_while_requests_wait_is_told_before_what_is_held() {
    let mut driven = with_one_slot(256 << 10);
    driven.tell(Event::Message(A, request(0)));
    driven.tell(Event::Message(A, request(1)));
    wait(&mut driven, 10);
    let actions = driven.tell(Event::Connected(C));
    let told = sent_to(&actions, C);
    let place = |is: fn(&Message) -> bool| told.iter().position(is);
    let busy = place(|message| matches!(message, Message::Busy { waiting: true }));
    let have = place(|message| matches!(message, Message::Have(_)));
    assert!(busy.is_some() && busy < have, "{told:?}");
}
