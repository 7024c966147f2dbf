//! What members ask of a seeder, and what they say of each other.

use super::*;

#[test]
fn a_chunk_that_is_not_of_the_build_ends_the_connection() {
    let mut told = Told::new(2);
    told.join(A);
    let reason = DisconnectReason::ProtocolViolation;
    assert!(told.ask(A, 2).contains(&Action::Disconnect { host: A, reason }));
    assert_eq!(told.seeder.member_count(), 0);
}

/// A trial was taken for a first pass, in which whoever asks is served: a hundred hosts had 3.3 builds of a seeder like them. And each time
/// one ended all clients took it for a word that there was room.
#[test]
fn in_a_trial_the_share_is_kept_and_only_who_was_offered_something_hears_that_all_is_here() {
    let mut told = Told::without_build(2, 1);
    told.seed(2);
    [A, B, C].into_iter().for_each(|host| drop(told.join(host)));
    let offered_to = |told: &Told, chunk: u32| {
        let is_offered = |host: &HostId| told.seeder.injection.is_offered(*host, ChunkIndex::new(chunk));
        [A, B, C]
            .into_iter()
            .find(is_offered)
            .expect("it is offered to somebody")
    };
    let holders = [0, 1].map(|chunk| offered_to(&told, chunk));
    for round in 0..2 {
        told.now = at(200 * round);
        for (chunk, holder) in (0..).zip(holders) {
            assert!(told.ask(holder, chunk).contains(&serve(holder, chunk)));
            told.now = told.now + Duration::from_millis(10);
            told.served(holder, chunk);
        }
    }
    told.now = at(500);
    let asks_in_vain = |told: &mut Told| told.ask(C, 1) == [reject(C, 1, RejectReason::Spent)];
    assert!(asks_in_vain(&mut told));
    accuse(&mut told, holders[0]);
    let tried = offered_to(&told, 0);
    assert!(asks_in_vain(&mut told), "in the trial as well");
    let actions = told.say(tried, Message::Decline(list(&[0])));
    let hears = |host: &HostId| actions.contains(&Action::Send(*host, Message::HaveAll));
    assert!([A, B, C].into_iter().filter(hears).eq([tried]), "{actions:?}");
}

#[test]
fn a_slow_first_copy_is_offered_to_another_even_by_who_is_to_send_each_once() {
    let mut config = SeederConfig::new(SEEDER);
    (config.clients, config.upload_slots, config.copies_max) = (2, Some(2), 1);
    let mut told = Told {
        seeder: Seeder::new(config, 1, Time::ZERO),
        now: Time::ZERO,
    };
    told.seed(1);
    told.join(A);
    told.join(B);
    let [first, other] = if told.seeder.injection.is_offered(A, ChunkIndex::new(0)) {
        [A, B]
    } else {
        [B, A]
    };
    told.ask(first, 0);
    assert!(told.wait_until(at(600)).contains(&offer(other, &[0])));
}

#[test]
fn strangers_do_not_starve() {
    let mut told = Told::after_the_first_pass(1);
    told.tell(Event::Connected(B));
    assert_eq!(told.say(B, Message::HaveRequest), [Action::Send(B, Message::HaveAll)]);
    assert!(told.seeder.starving.is_empty());
}

#[test]
fn in_the_first_pass_who_starves_becomes_a_client_up_to_twice_as_many_and_hears_its_offers_again() {
    let mut told = Told::new(20);
    for number in 1..=3 {
        told.join(HostId::new(number));
    }
    assert_eq!(told.seeder.injection.client_count(), 1);
    for (host, clients) in [(B, 2), (C, 2), (B, 2)] {
        let actions = told.say(host, Message::HaveRequest);
        let theirs: Vec<u32> = told.seeder.injection.offers_to(host).into_iter().collect();
        assert!(actions.contains(&offer(host, &theirs)), "{actions:?}");
        assert_eq!(told.seeder.injection.client_count(), clients);
    }
}

#[test]
fn after_the_first_pass_a_chunk_is_not_sent_again_before_who_got_it_can_pass_it_on() {
    // How long a chunk takes, and for how long it is not sent again: sixteen times that, and a second at most.
    for (taken, apart) in [(10, 160), (62, 992), (500, 1000)] {
        for (since, is_sent) in [(apart - 1, false), (apart, true)] {
            let mut told = Told::new(4);
            told.join(A);
            for chunk in 0..4 {
                told.ask(A, chunk);
                told.now = told.now + Duration::from_millis(taken);
                told.served(A, chunk);
            }
            told.join(B);
            told.now = at(3 * taken + since);
            let answer = told.ask(B, 3);
            if is_sent {
                assert!(answer.contains(&serve(B, 3)), "after {since} ms");
            } else {
                assert_eq!(answer, [reject(B, 3, RejectReason::SentElsewhere)], "after {since} ms");
            }
        }
    }
}

#[test]
fn bytes_that_are_gone_are_taken_from_everybody_and_offered_again_when_they_are_back() {
    let lost = |chunk| Event::ChunkLost {
        chunk: ChunkIndex::new(chunk),
    };
    let found = |chunk| Event::ChunkFound {
        chunk: ChunkIndex::new(chunk),
    };
    let mut told = Told::new(6);
    assert_eq!(Told::without_build(1, 1).tell(lost(0)), [], "of which nobody knows");
    told.join(A);
    told.ask(A, 0);
    let actions = told.tell(lost(0));
    let stop = Action::StopServing {
        to: A,
        chunk: ChunkIndex::new(0),
    };
    assert!(actions.contains(&stop));
    let word = Action::Send(A, Message::Lost { chunk: 0 });
    assert_eq!(actions.iter().filter(|action| **action == word).count(), 1, "said once");
    assert_eq!(offers(&actions), [(A, 3)], "there is room for another");
    assert_eq!(told.tell(lost(0)), [], "it is known");
    told.served(A, 0);
    assert_eq!(
        (told.seeder.stats().chunks_served, told.seeder.stats().chunks_injected),
        (0, 0)
    );
    assert_eq!(told.ask(A, 0), [reject(A, 0, RejectReason::NotHeld)]);
    // One that waits to be sent is taken away as well.
    told.ask(A, 1);
    told.ask(A, 2);
    assert!(
        told.tell(lost(2))
            .contains(&Action::Send(A, Message::Lost { chunk: 2 }))
    );
    assert_eq!(told.tell(found(5)), [], "it was not lost");
    told.tell(found(0));
    assert_eq!(
        offers(&told.say(A, Message::Decline(list(&[3])))),
        [(A, 0)],
        "it goes first"
    );
}

/// Who hears that a chunk is gone takes the seeder for one that has not all. It did not hear of it when the chunk was back.
#[test]
fn who_was_told_of_a_lost_chunk_is_told_that_all_is_here_again() {
    let mut told = Told::without_build(2, 1);
    told.seed(2);
    [A, B].into_iter().for_each(|host| drop(told.join(host)));
    for index in 0..2 {
        let is_offered = |host: &HostId| told.seeder.injection.is_offered(*host, ChunkIndex::new(index));
        let to = [A, B].into_iter().find(is_offered).expect("it is offered to somebody");
        told.sends(to, index);
    }
    told.now = at(5000);
    let chunk = ChunkIndex::new(0);
    [A, B].into_iter().for_each(|host| drop(told.ask(host, 0)));
    told.tell(Event::ChunkLost { chunk });
    let offered = offers(&told.tell(Event::ChunkFound { chunk }));
    let [(to, 0)] = offered[..] else {
        panic!("expected one offer: {offered:?}");
    };
    let actions = told.say(to, Message::Decline(list(&[0])));
    let hears = |host: &HostId| actions.contains(&Action::Send(*host, Message::HaveAll));
    assert!([A, B].iter().all(hears), "{actions:?}");
}

#[test]
fn who_is_complained_of_by_most_of_its_neighbours_is_expelled_and_not_let_in_again_for_a_while() {
    let mut told = Told::new(4);
    for number in 1..=4 {
        told.join(HostId::new(number));
    }
    let up = (1..=3).map(HostId::new).collect();
    let links = LinkReport {
        up,
        ..LinkReport::default()
    };
    let accused = HostId::new(4);
    told.say(
        accused,
        Message::Announce {
            address: "here".into(),
            wanted: 0,
            complete: false,
            zone: None,
            links: Box::new(links),
        },
    );
    let complaint = || Message::Complaint {
        host: accused,
        chunk: 0,
    };
    told.tell(Event::Connected(HostId::new(9)));
    assert_eq!(told.say(HostId::new(9), complaint()), [], "it has not announced itself");
    assert_eq!([A, B].map(|by| told.say(by, complaint()).len()), [0, 0]);
    let reason = DisconnectReason::CorruptChunk;
    assert!(
        told.say(C, complaint())
            .contains(&Action::Disconnect { host: accused, reason })
    );
    assert_eq!(
        (told.seeder.stats().members_expelled, told.seeder.member_count()),
        (1, 3)
    );
    let reason = DisconnectReason::Banned;
    let banned = Action::Disconnect { host: accused, reason };
    assert_eq!(told.tell(Event::Connected(accused)), [banned]);
    told.wait_until(at(599_999));
    assert_eq!(told.tell(Event::Connected(accused)).len(), 1);
    told.wait_until(at(600_000));
    assert_eq!(told.tell(Event::Connected(accused)), []);
}

#[test]
fn that_this_seeder_sent_wrong_bytes_is_told_once_to_who_runs_it() {
    let mut told = Told::new(4);
    told.join(A);
    told.join(B);
    told.tell(Event::Connected(C));
    let complaint = |chunk| Message::Complaint { host: SEEDER, chunk };
    assert_eq!(told.say(C, complaint(0)), [], "a stranger's word");
    assert_eq!(told.say(A, complaint(4)), [], "there is no such chunk");
    assert_eq!(told.seeder.stats().messages_ignored, 2);
    assert_eq!(told.say(A, complaint(3)), [Action::Suspect { by: A, chunk: 3 }]);
    assert_eq!(told.say(B, complaint(1)), []);
    assert_eq!(told.seeder.stats().complaints_of_self, 2);
}

#[test]
fn a_member_that_misses_three_signs_of_life_is_let_go() {
    let mut told = Told::new(4);
    told.join(A);
    told.now = at(1);
    told.join(B);
    let silent = |host| Action::Disconnect {
        host,
        reason: DisconnectReason::Silent,
    };
    let interval = ANNOUNCE_INTERVAL.as_secs() * 1000;
    assert!(!told.wait_until(at(3 * interval)).contains(&silent(A)));
    told.say(B, announce(false));
    let actions = told.wait_until(at(4 * interval));
    assert!(actions.contains(&silent(A)) && !actions.contains(&silent(B)));
}

#[test]
fn the_word_that_a_member_does_not_serve_counts_where_it_can_be_true() {
    let word = |host| Message::NotServing { host, chunk: 0 };
    let mut told = Told::without_build(1, 1);
    told.seed(4);
    for host in [A, B, C] {
        told.join(host);
    }
    told.sends(A, 0);
    told.tell(Event::Connected(HostId::new(9)));
    for (by, about) in [(A, A), (HostId::new(9), A), (B, C)] {
        told.say(by, word(about));
    }
    assert_eq!(
        told.seeder.stats().messages_ignored,
        3,
        "itself, a stranger, and who was sent nothing"
    );
    told.say(B, word(A));
    assert_eq!(told.seeder.stats().members_silent, 0);
    let actions = told.say(C, word(A));
    assert_eq!(told.seeder.stats().members_silent, 1);
    assert!(
        offers(&actions).iter().all(|(to, _)| *to != A),
        "it gets no first copies"
    );
    assert!(told.seeder.injection.client_count() == 1 && !told.seeder.injection.is_client(A));
    told.say(B, word(A));
    assert_eq!(told.seeder.stats().messages_ignored, 4, "it is taken to have nothing");
}

#[test]
fn who_takes_none_of_what_it_asked_for_is_let_go_and_does_not_keep_its_chunk() {
    let mut told = Told::after_the_first_pass(4);
    told.now = at(10_000);
    told.join(B);
    told.ask(B, 0);
    let reason = DisconnectReason::NotReading;
    let let_go = Action::Disconnect { host: B, reason };
    for millis in [50_000, 100_000] {
        told.wait_until(at(millis));
        told.say(A, announce(false));
        told.say(B, announce(false));
    }
    assert!(!told.wait_until(at(129_999)).contains(&let_go));
    assert!(told.seeder.uploads.contains(B, ChunkIndex::new(0)));
    assert!(told.wait_until(at(130_000)).contains(&let_go));
}

#[test]
fn an_offer_that_waits_here_is_counted_on_and_one_that_is_being_sent_for_a_while() {
    let is_offered = |told: &Told, index| told.seeder.injection.is_offered(A, ChunkIndex::new(index));
    // Nothing is known of the links yet: ten seconds without a byte.
    let mut told = Told::new(3);
    told.join(A);
    told.ask(A, 0);
    told.ask(A, 1);
    told.wait_until(at(9_999));
    assert_eq!(
        [0, 1, 2].map(|index| is_offered(&told, index)),
        [true, true, true],
        "the third is offered anew"
    );
    assert!(told.seeder.stats().offers_lost >= 1, "and was lost after two seconds");
    let to = A;
    let chunk = ChunkIndex::new(0);
    told.tell(Event::ServingProgress { to, chunk });
    let lost = told.seeder.stats().offers_lost;
    told.wait_until(at(11_000));
    assert!(
        is_offered(&told, 0) && told.seeder.uploads.contains(A, chunk),
        "bytes move"
    );
    assert!(told.seeder.stats().offers_lost <= lost + 1);
    // Once it is known, sixteen times what a chunk usually takes, counted from when it began.
    for (millis, is_lost) in [(7_999, false), (8_000, true)] {
        let mut told = Told::new(2);
        told.join(A);
        told.ask(A, 0);
        told.now = at(500);
        told.served(A, 0);
        told.ask(A, 1);
        told.wait_until(at(500 + millis));
        assert_eq!(told.seeder.stats().offers_lost == 1, is_lost, "after {millis} ms");
    }
}

#[test]
fn those_that_are_not_complete_are_counted() {
    let mut told = Told::new(2);
    for host in [A, B, C] {
        told.join(host);
    }
    told.say(B, Message::Complete);
    assert_eq!((told.seeder.member_count(), told.seeder.incomplete_count()), (3, 2));
}

/// A seeder with two clients that has sent each of three chunks to one of them, a long time ago; and whom it sent the first to, and the other.
fn told_with_two_clients() -> (Told, HostId, HostId) {
    let mut told = Told::without_build(2, 1);
    told.seed(30);
    for host in [A, B, C] {
        told.join(host);
    }
    let first = [A, B, C]
        .into_iter()
        .find(|host| told.seeder.injection.is_offered(*host, ChunkIndex::new(0)))
        .expect("it is offered to somebody");
    told.ask(first, 0);
    told.now = at(10);
    told.served(first, 0);
    let clients = told.seeder.injection.clients();
    let other = clients.into_iter().find(|host| *host != first).expect("there are two");
    told.now = at(10_000);
    (told, first, other)
}

/// Two members that are not `host` say that it does not serve.
fn accuse(told: &mut Told, host: HostId) -> Vec<Action> {
    let others = [A, B, C].into_iter().filter(|by| *by != host);
    others
        .flat_map(|by| told.say(by, Message::NotServing { host, chunk: 0 }))
        .collect()
}

#[test]
fn who_is_said_not_to_serve_is_cleared_by_another_client_that_has_what_only_it_was_sent() {
    let (mut told, first, other) = told_with_two_clients();
    assert!(accuse(&mut told, first).contains(&offer(other, &[0])));
    told.say(other, Message::Decline(list(&[0])));
    assert_eq!(told.seeder.stats().members_silent, 0);
    assert!(told.seeder.injection.is_client(first) && told.seeder.injection.is_out(ChunkIndex::new(0)));
}

#[test]
fn who_was_cleared_may_be_tried_again_by_what_only_it_was_sent_since() {
    let (mut told, first, other) = told_with_two_clients();
    accuse(&mut told, first);
    told.say(other, Message::Decline(list(&[0])));
    let next = told.seeder.injection.offers_to(first).into_iter().next();
    let next = next.expect("it is offered more");
    told.sends(first, next);
    told.now = at(11_000);
    assert!(accuse(&mut told, first).contains(&offer(other, &[next])));
    assert_eq!(told.seeder.stats().members_silent, 0);
}

#[test]
fn nobody_is_tried_by_what_goes_out_again_anyhow() {
    let (mut told, first, _) = told_with_two_clients();
    told.now = at(20);
    accuse(&mut told, first);
    told.tell(Event::ChunkLost {
        chunk: ChunkIndex::new(0),
    });
    told.wait_until(at(1000));
    assert_eq!(told.seeder.stats().members_silent, 0);
}

#[test]
fn who_is_said_not_to_serve_is_silent_where_another_client_asks_for_what_only_it_was_sent() {
    let (mut told, first, other) = told_with_two_clients();
    accuse(&mut told, first);
    told.ask(other, 0);
    assert_eq!(told.seeder.stats().members_silent, 1);
    assert!(!told.seeder.injection.is_client(first));
}

#[test]
fn what_was_sent_a_moment_ago_is_tried_when_it_should_have_been_passed_on() {
    let (mut told, first, other) = told_with_two_clients();
    assert_eq!(told.seeder.uploads.serving_time(), Duration::from_millis(10));
    // It began to be sent at the beginning.
    told.now = at(20);
    let is_tried = |actions: &[Action]| actions.contains(&offer(other, &[0]));
    assert!(!is_tried(&accuse(&mut told, first)));
    let before = told.wait_until(Time::from_nanos(159_999_999));
    assert!(!is_tried(&before));
    assert!(is_tried(&told.wait_until(at(160))));
}

#[test]
fn who_sends_wrong_bytes_is_looked_into_as_who_sends_none() {
    let (mut told, first, other) = told_with_two_clients();
    let complaints = [A, B, C].into_iter().filter(|by| *by != first);
    let actions: Vec<Action> = complaints
        .flat_map(|by| told.say(by, Message::Complaint { host: first, chunk: 0 }))
        .collect();
    assert!(actions.contains(&offer(other, &[0])), "{actions:?}");
}

#[test]
fn whom_two_members_do_not_talk_to_becomes_a_client_last() {
    for (by, expected) in [(1, 2), (2, 1)] {
        let mut told = Told::new(20);
        told.join(A);
        told.join(B);
        let reporters = [A, HostId::new(8)];
        told.join(reporters[1]);
        for reporter in &reporters[..by] {
            let mut word = announce(false);
            if let Message::Announce { links, .. } = &mut word {
                links.up.push(HostId::new(9));
                links.barred.push(B);
            }
            told.say(*reporter, word);
        }
        told.say(B, Message::HaveRequest);
        assert_eq!(told.seeder.injection.client_count(), expected, "{by} bar it");
    }
}
