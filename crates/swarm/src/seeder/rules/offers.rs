//! To whom a seeder offers what, and when it looks again.

use super::*;

#[test]
fn whom_two_members_do_not_talk_to_is_no_client_while_another_can_be() {
    let mut told = Told::without_build(1, 1);
    for host in [A, B, C] {
        told.join(host);
    }
    for reporter in [B, C] {
        let mut word = announce(false);
        if let Message::Announce { links, .. } = &mut word {
            links.up.push(HostId::new(9));
            links.barred.push(A);
        }
        told.say(reporter, word);
    }
    told.seed(4);
    assert_eq!(told.seeder.injection.client_count(), 1);
    assert!(!told.seeder.injection.is_client(A));
}

#[test]
fn after_the_first_pass_a_seeder_that_idles_shows_one_member_more_for_each_slot_what_it_has() {
    let mut told = Told::after_the_first_pass(8);
    for host in [B, C] {
        told.join(host);
    }
    assert_eq!(told.seeder.injection.clients(), [A]);
    told.now = at(5000);
    told.ask(A, 0);
    let actions = told.served(A, 0);
    let shown = |host: &HostId| actions.contains(&Action::Send(*host, Message::HaveAll));
    assert_eq!([A, B, C].iter().filter(|host| shown(host)).count(), 1);
    assert!(!shown(&A), "it knows");
    assert_eq!(told.seeder.injection.client_count(), 2);
}

#[test]
fn while_its_slots_are_taken_a_seeder_shows_nobody_more_what_it_has() {
    let mut told = Told::after_the_first_pass(8);
    told.join(B);
    told.now = at(5000);
    told.ask(A, 0);
    told.ask(A, 1);
    let actions = told.served(A, 0);
    assert!(actions.contains(&serve(A, 1)), "{actions:?}");
    assert_eq!(told.seeder.injection.clients(), [A]);
}

/// The only chunk goes to a slow client by the only slot.
#[test]
fn a_slow_first_copy_that_could_not_be_offered_to_another_is_looked_at_again_after_a_while() {
    let mut told = Told::without_build(2, 1);
    told.seed(1);
    told.join(A);
    told.join(B);
    let is_offered_to_a = told.seeder.injection.is_offered(A, ChunkIndex::new(0));
    told.ask(if is_offered_to_a { A } else { B }, 0);
    for millis in [500, 1000, 1500] {
        assert_eq!(told.seeder.timers.get(SeederTimer::ExpireOffers), Some(at(millis)));
        assert_eq!(offers(&told.wait_until(at(millis))), []);
    }
}

#[test]
fn in_the_first_pass_there_are_at_most_twice_as_many_clients_as_usual() {
    for clients in 1..4 {
        let mut told = Told::without_build(clients, 1);
        told.seed(20);
        let hosts = (1..10).map(HostId::new);
        hosts.clone().for_each(|host| drop(told.join(host)));
        hosts.for_each(|host| drop(told.say(host, Message::HaveRequest)));
        assert_eq!(told.seeder.injection.client_count(), 2 * clients);
    }
}
