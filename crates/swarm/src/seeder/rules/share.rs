//! How much of the build a seeder sends, and to whom beyond that.

use super::*;

#[test]
fn a_seeder_sends_the_build_twice_and_then_only_who_starves_is_served() {
    let mut told = Told::after_the_first_pass(3);
    told.join(B);
    for chunk in 0..3 {
        told.now = told.now + Duration::from_secs(2);
        told.sends(B, chunk);
    }
    told.now = told.now + Duration::from_secs(2);
    told.join(C);
    assert_eq!(told.ask(C, 0), [reject(C, 0, RejectReason::Spent)]);
    assert_eq!(told.say(C, Message::HaveRequest), [Action::Send(C, Message::HaveAll)]);
    // It starves for ten seconds, and for as long again after each chunk that it gets.
    let starved_at = told.now;
    told.now = starved_at + Duration::from_millis(9_999);
    told.sends(C, 0);
    told.now = told.now + Duration::from_millis(9_999);
    told.sends(C, 1);
    assert!(told.seeder.is_starving(told.now, C));
    told.now = told.now + Duration::from_secs(10);
    assert!(!told.seeder.is_starving(told.now, C));
    // To have said so is over when it is complete.
    told.say(C, Message::HaveRequest);
    told.say(C, Message::Complete);
    assert!(!told.seeder.is_starving(told.now, C));
}

/// Twenty hosts at 1 Mbit/s with a seeder of 1 Gbit/s took fifteen times as long as the seeder alone would have taken to send to each.
#[test]
fn beyond_its_share_a_seeder_sends_to_who_would_be_done_if_all_were_as_fast_and_half_a_build_to_slow_ones() {
    let mut told = Told::new(8);
    told.join(A);
    let send = |told: &mut Told, host: HostId, chunk: u32, millis: u64| {
        let is_sent = told.ask(host, chunk).contains(&serve(host, chunk));
        told.now = told.now + Duration::from_millis(millis);
        told.served(host, chunk);
        is_sent
    };
    (0..8).for_each(|chunk| assert!(send(&mut told, A, chunk, 10)));
    for chunk in 0..8 {
        told.now = told.now + Duration::from_secs(2);
        assert!(send(&mut told, A, chunk, 10));
    }
    told.join(B);
    let joined = told.now;
    // After three times what the build takes at its rate, and 64 chunks with their answers.
    let step = told.seeder.uploads.at_full_rate(u64::from(CHUNK_SIZE)) + told.seeder.answer;
    let done = joined + told.seeder.uploads.at_full_rate(8 * u64::from(CHUNK_SIZE)) * 3 + step * 64;
    assert!(told.seeder.is_spent(done, B));
    told.now = done + Duration::from_nanos(1);
    assert!(!told.seeder.is_spent(told.now, B));
    assert!((0..8).all(|chunk| {
        told.now = told.now + Duration::from_secs(2);
        send(&mut told, B, chunk, 40)
    }));
    let slow: Vec<bool> = (0..8)
        .map(|chunk| {
            told.now = told.now + Duration::from_secs(2);
            send(&mut told, B, chunk, 500)
        })
        .collect();
    assert_eq!(slow, [true, true, true, true, false, false, false, false]);
}

/// Whose link is a two hundredth of others' never let go of a seeder that it had once turned to.
#[test]
fn who_takes_long_has_to_say_again_that_nobody_serves_it() {
    let mut told = Told::after_the_first_pass(3);
    told.join(C);
    told.say(C, Message::HaveRequest);
    told.ask(C, 0);
    told.now = at(9_999);
    told.served(C, 0);
    assert!(told.seeder.is_starving(told.now, C));
    assert!(!told.seeder.is_starving(at(10_000), C));
}

#[test]
fn what_waits_here_counts_towards_what_is_sent() {
    let mut told = Told::after_the_first_pass(2);
    told.join(B);
    told.now = at(5000);
    assert!(told.ask(B, 0).contains(&serve(B, 0)));
    assert_eq!(told.ask(B, 1), [], "it waits");
    told.join(C);
    assert_eq!(told.ask(C, 0), [reject(C, 0, RejectReason::Spent)]);
}

#[test]
fn a_request_that_is_taken_back_is_not_served_to_its_end_and_does_not_count() {
    let mut told = Told::after_the_first_pass(2);
    told.now = at(5000);
    told.join(B);
    assert!(told.ask(B, 0).contains(&serve(B, 0)));
    told.ask(B, 1);
    assert_eq!(told.say(B, Message::Cancel { chunk: 1 }), [], "it waited");
    let stop = Action::StopServing {
        to: B,
        chunk: ChunkIndex::new(0),
    };
    assert_eq!(told.say(B, Message::Cancel { chunk: 0 }), [stop]);
    told.served(B, 0);
    assert_eq!(told.seeder.stats().chunks_served, 2);
    assert_eq!(told.say(B, Message::Cancel { chunk: 99 }), [], "there is no such chunk");
}

/// What its uplink adds to theirs is little then.
#[test]
fn of_many_members_nobody_is_late_before_they_would_be_done_without_this_seeder() {
    let spent_after = |members: u64| {
        let mut told = Told::after_the_first_pass(8);
        (0..8).for_each(|chunk| {
            told.now = told.now + Duration::from_secs(2);
            told.ask(A, chunk);
            told.now = told.now + Duration::from_millis(10);
            told.served(A, chunk);
        });
        (2..=members).for_each(|member| drop(told.join(HostId::new(member))));
        let build = told.seeder.uploads.at_full_rate(8 * u64::from(CHUNK_SIZE));
        let step = told.seeder.uploads.at_full_rate(u64::from(CHUNK_SIZE)) + told.seeder.answer;
        let is_late = |times: &u32| !told.seeder.is_spent(told.now + build * *times + step * 65, B);
        (1..100).find(is_late)
    };
    assert_eq!([2, 63, 64, 320].map(spent_after), [Some(3), Some(3), Some(4), Some(20)]);
}

#[test]
fn a_seeder_does_the_same_when_its_statistics_are_reset_at_any_time() {
    let story = |resets: bool| {
        let mut told = Told::after_the_first_pass(3);
        let mut actions = Vec::new();
        let mut next = |told: &mut Told, host: HostId, message: Message| {
            if resets {
                told.seeder.stats = SeederStats::default();
            }
            actions.push(told.say(host, message));
        };
        told.join(B);
        for chunk in 0..3 {
            told.now = told.now + Duration::from_secs(2);
            next(&mut told, B, Message::Request { chunk, held: 0 });
            told.served(B, chunk);
        }
        told.now = told.now + Duration::from_secs(2);
        told.join(C);
        next(&mut told, C, Message::Request { chunk: 0, held: 0 });
        for host in [B, C] {
            next(&mut told, host, Message::Complaint { host: SEEDER, chunk: 1 });
        }
        actions
    };
    let actions = story(true);
    assert_eq!(actions[3], [reject(C, 0, RejectReason::Spent)], "it has sent its share");
    let suspected = Action::Suspect { by: B, chunk: 1 };
    assert_eq!(actions[4..], [vec![suspected], vec![]], "it says so once");
    assert_eq!(actions, story(false));
}
