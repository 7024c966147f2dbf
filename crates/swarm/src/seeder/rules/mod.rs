//! What a seeder answers to whom, each rule at the edge where it begins to hold.

mod offers;
mod requests;
mod share;

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::units::ZoneId;
use crate::wire::{ChunkList, LinkReport, RejectReason};

const SEEDER: HostId = HostId::new(0);
const A: HostId = HostId::new(1);
const B: HostId = HostId::new(2);
const C: HostId = HostId::new(3);
const CHUNK_SIZE: u32 = 64;

/// A seeder that is told what happens by hand.
struct Told {
    seeder: Seeder,
    now: Time,
}

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

fn list(chunks: &[u32]) -> ChunkList {
    chunks.iter().copied().collect()
}

fn offer(to: HostId, chunks: &[u32]) -> Action {
    Action::Send(to, Message::Offer(list(chunks)))
}

fn serve(to: HostId, chunk: u32) -> Action {
    let chunk = ChunkIndex::new(chunk);
    Action::ServeChunk { to, chunk }
}

fn reject(to: HostId, chunk: u32, reason: RejectReason) -> Action {
    Action::Send(to, Message::Reject { chunk, reason })
}

fn announce(complete: bool) -> Message {
    Message::Announce {
        address: "here".into(),
        wanted: 0,
        complete,
        zone: None,
        links: Box::new(LinkReport::default()),
    }
}

impl Told {
    /// Of a build of so many chunks, of which it sends one at a time to one client.
    fn new(chunks: u32) -> Self {
        let mut told = Self::without_build(1, 1);
        told.seed(chunks);
        told
    }

    fn without_build(clients: usize, upload_slots: usize) -> Self {
        let mut config = SeederConfig::new(SEEDER);
        (config.clients, config.upload_slots) = (clients, Some(upload_slots));
        Self {
            seeder: Seeder::new(config, 1, Time::ZERO),
            now: Time::ZERO,
        }
    }

    /// Which has sent each of so many chunks to A once, in no time, and is not asked to send more.
    fn after_the_first_pass(chunks: u32) -> Self {
        let mut told = Self::new(chunks);
        told.join(A);
        (0..chunks).for_each(|chunk| told.sends(A, chunk));
        assert!(!told.seeder.injection.is_first_pass());
        told
    }

    fn seed(&mut self, chunks: u32) -> Vec<Action> {
        let manifest = Manifest::of("build.zip", &vec![0; (chunks * CHUNK_SIZE) as usize], CHUNK_SIZE).unwrap();
        self.seeder.seed(self.now, Arc::new(manifest));
        self.actions()
    }

    fn actions(&mut self) -> Vec<Action> {
        assert_eq!(self.seeder.check(), Ok(()));
        std::iter::from_fn(|| self.seeder.poll_action()).collect()
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.seeder.handle_event(self.now, event);
        self.actions()
    }

    fn say(&mut self, host: HostId, message: Message) -> Vec<Action> {
        self.tell(Event::Message(host, message))
    }

    fn join(&mut self, host: HostId) -> Vec<Action> {
        self.tell(Event::Connected(host));
        self.say(host, announce(false))
    }

    fn ask(&mut self, host: HostId, chunk: u32) -> Vec<Action> {
        self.say(host, Message::Request { chunk, held: 0 })
    }

    fn served(&mut self, to: HostId, chunk: u32) -> Vec<Action> {
        let chunk = ChunkIndex::new(chunk);
        self.tell(Event::ChunkServed { to, chunk })
    }

    /// `host` asks for `chunk` and gets it.
    fn sends(&mut self, host: HostId, chunk: u32) {
        let actions = self.ask(host, chunk);
        assert!(actions.contains(&serve(host, chunk)), "{actions:?}");
        self.served(host, chunk);
    }

    /// Time passes up to `now`, and the seeder is woken whenever it wants to be.
    fn wait_until(&mut self, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(at) = self.seeder.next_wakeup().filter(|at| *at <= now) {
            self.now = at.max(self.now);
            actions.extend(self.tell(Event::Wakeup));
        }
        self.now = now;
        actions
    }
}

/// What is offered to whom, but for lists of nothing.
fn offers(actions: &[Action]) -> Vec<(HostId, u32)> {
    let offered = actions.iter().filter_map(|action| match action {
        Action::Send(to, Message::Offer(chunks)) => Some((*to, chunks)),
        _ => None,
    });
    offered
        .flat_map(|(to, chunks)| chunks.iter().map(move |chunk| (to, *chunk)))
        .collect()
}

#[test]
fn who_announces_itself_is_told_of_the_build_each_time_unless_it_has_it() {
    let mut told = Told::without_build(1, 1);
    told.tell(Event::Connected(A));
    let nobody = Action::Send(A, Message::Neighbours(Vec::new()));
    assert_eq!(
        told.say(A, announce(false)),
        std::slice::from_ref(&nobody),
        "there is no build yet"
    );
    assert_eq!(told.say(A, Message::ManifestRequest), []);
    assert_eq!(told.seeder.stats().messages_ignored, 1);
    let builds = |actions: &[Action]| {
        let is_build = |action: &&Action| matches!(action, Action::Send(A, Message::Build(_)));
        actions.iter().filter(is_build).count()
    };
    assert_eq!(builds(&told.seed(4)), 1);
    for complete in [false, false, true] {
        let actions = told.say(A, announce(complete));
        assert!(actions.contains(&nobody));
        assert_eq!(builds(&actions), usize::from(!complete));
    }
    let manifest = told.seeder.manifest().cloned().unwrap();
    assert_eq!(
        told.say(A, Message::ManifestRequest),
        [Action::Send(A, Message::Manifest(manifest))]
    );
}

#[test]
fn members_that_came_before_the_build_are_told_of_it_clients_before_others() {
    let mut told = Told::without_build(1, 1);
    (1..=3).for_each(|number| drop(told.join(HostId::new(number))));
    let actions = told.seed(4);
    let hosts: Vec<HostId> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Send(host, Message::Build(_)) => Some(*host),
            _ => None,
        })
        .collect();
    assert_eq!(hosts.len(), 3, "each once");
    assert!(told.seeder.injection.is_client(hosts[0]));
}

#[test]
fn a_build_is_said_with_who_vouches_for_it_and_a_signature_that_is_too_long_is_none() {
    for (length, is_said) in [(SIGNATURE_LENGTH_MAX, true), (SIGNATURE_LENGTH_MAX + 1, false)] {
        let mut told = Told::without_build(1, 1);
        told.seeder.sign(vec![7; length].into());
        told.seed(1);
        let signature = told.join(A).into_iter().find_map(|action| match action {
            Action::Send(A, Message::Build(info)) => Some(info.signature),
            _ => None,
        });
        assert_eq!(
            signature.map(|signature| signature.len()),
            Some(if is_said { length } else { 0 })
        );
    }
}

#[test]
fn offers_go_two_ahead_of_the_slots_and_one_goes_out_for_each_that_is_settled() {
    for slots in [1, 3] {
        let mut told = Told::without_build(1, slots);
        told.seed(20);
        let count = u32::try_from(slots).unwrap() + 2;
        let expected: Vec<(HostId, u32)> = (0..count).map(|chunk| (A, chunk)).collect();
        assert_eq!(offers(&told.join(A)), expected);
        assert_eq!(
            offers(&told.say(A, Message::Decline(list(&[1, 19])))),
            [(A, count)],
            "19 was not offered"
        );
        assert_eq!(told.seeder.stats().chunks_injected, 1);
        assert_eq!(offers(&told.ask(A, 0)), []);
        assert_eq!(offers(&told.served(A, 0)), [(A, count + 1)]);
        assert_eq!(told.seeder.stats().chunks_injected, 2);
        assert_eq!(
            offers(&told.say(A, Message::Cancel { chunk: 2 })),
            [(A, count + 2)],
            "it has it from elsewhere"
        );
    }
}

#[test]
fn while_answers_are_on_their_way_more_is_offered_so_that_the_uplink_does_not_rest() {
    let mut told = Told::without_build(3, 1);
    told.seed(2000);
    told.now = at(1000);
    [A, B, C].into_iter().for_each(|host| drop(told.join(host)));
    // It answers after 100 ms, and a chunk takes 10 ms: ten pass meanwhile, and half as many again.
    told.now = at(1100);
    [A, B, C]
        .into_iter()
        .zip(0..)
        .for_each(|(host, chunk)| drop(told.ask(host, chunk)));
    told.now = at(1110);
    assert_eq!(told.seeder.answer, Duration::from_millis(100));
    assert_eq!(offers(&told.served(A, 0)).len(), 1 + 15);
    // An answer that takes longer says nothing of the path.
    told.now = at(1900);
    told.ask(A, 3);
    assert_eq!(told.seeder.answer, Duration::from_millis(100));
}

#[test]
fn no_more_than_256_offers_are_on_their_way() {
    let mut told = Told::without_build(20, 1);
    told.seed(2000);
    (1..=20).for_each(|number| drop(told.join(HostId::new(number))));
    told.now = at(1500);
    told.ask(A, 0);
    assert_eq!(offers(&told.served(A, 0)).len(), 1 + 256);
}

#[test]
fn nobody_is_offered_more_than_may_wait_of_it() {
    let mut told = Told::new(2000);
    told.join(A);
    told.now = at(1500);
    told.ask(A, 0);
    told.served(A, 0);
    assert_eq!(told.seeder.injection.offers_to(A).into_iter().count(), 16);
}

#[test]
fn an_offer_that_nobody_takes_up_goes_to_somebody_else_after_two_seconds() {
    let mut told = Told::without_build(2, 1);
    told.seed(3);
    told.join(A);
    told.join(B);
    assert_eq!(told.seeder.injection.offers_to(A).len(), 3);
    assert_eq!(told.wait_until(at(1999)), []);
    let actions = told.wait_until(at(2000));
    let to: Vec<HostId> = offers(&actions).into_iter().map(|(to, _)| to).collect();
    assert!(to.contains(&B), "{to:?}");
    assert_eq!(told.seeder.stats().offers_lost, 3);
}

#[test]
fn when_all_is_out_the_clients_are_told_so_and_may_ask_for_anything() {
    let mut told = Told::new(2);
    told.join(A);
    told.sends(A, 0);
    told.ask(A, 1);
    assert!(told.served(A, 1).contains(&Action::Send(A, Message::HaveAll)));
    told.say(A, Message::Complete);
    told.say(A, Message::Complete);
    assert_eq!(
        (told.seeder.stats().members_complete, told.seeder.incomplete_count()),
        (1, 0)
    );
    assert!(!told.seeder.injection.is_client(A), "it needs nothing more");
    assert!(told.join(B).contains(&Action::Send(B, Message::HaveAll)));
}

#[test]
fn what_only_they_held_who_have_gone_goes_out_again_and_may_be_sent_as_often_again() {
    let mut told = Told::after_the_first_pass(3);
    let budget = told.seeder.budget;
    told.join(B);
    told.now = at(1000);
    told.tell(Event::Disconnected(A));
    assert_eq!(offers(&told.wait_until(at(2499))), [], "it may be back");
    let actions = told.wait_until(at(2500));
    assert_eq!(offers(&actions), [(B, 0), (B, 1), (B, 2)]);
    assert!(
        actions.contains(&offer(B, &[])),
        "it is not to ask for just anything any more"
    );
    assert_eq!(told.seeder.budget, budget + 6);
}

#[test]
fn while_a_member_has_everything_nothing_is_lost() {
    let mut told = Told::after_the_first_pass(3);
    told.join(B);
    told.say(B, Message::Complete);
    told.tell(Event::Disconnected(A));
    assert_eq!(offers(&told.wait_until(at(10_000))), []);
    assert!(!told.seeder.injection.is_first_pass());
    told.join(C);
    told.tell(Event::Disconnected(B));
    let lost: BTreeSet<(HostId, u32)> = offers(&told.wait_until(at(20_000))).into_iter().collect();
    assert_eq!(lost, [(C, 0), (C, 1), (C, 2)].into(), "nobody is left that had it");
}

#[test]
fn joiners_are_told_whom_to_dial() {
    let mut told = Told::new(4);
    told.tell(Event::Connected(A));
    told.tell(Event::Connected(B));
    for host in [A, B] {
        let wanted = Message::Announce {
            address: "here".into(),
            wanted: 6,
            complete: false,
            zone: None,
            links: Box::new(LinkReport::default()),
        };
        let actions = told.say(host, wanted);
        assert!(
            !actions
                .iter()
                .any(|action| matches!(action, Action::Send(_, Message::Neighbours(_))))
        );
    }
    let actions = told.wait_until(at(100));
    let dials: usize = actions
        .iter()
        .map(|action| match action {
            Action::Send(_, Message::Neighbours(contacts)) => contacts.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(dials, 1);
}

#[test]
fn a_client_is_linked_with_hosts_of_other_zones_as_they_come() {
    let mut told = Told::without_build(1, 1);
    told.seed(4);
    let join_in = |told: &mut Told, number, zone: &str, wanted| {
        let host = HostId::new(number);
        told.tell(Event::Connected(host));
        told.say(
            host,
            Message::Announce {
                address: "here".into(),
                wanted,
                complete: false,
                zone: Some(ZoneId::named(zone)),
                links: Box::new(LinkReport::default()),
            },
        )
    };
    for number in 1..=20 {
        join_in(&mut told, number, "a", 0);
    }
    assert!(told.seeder.injection.is_client(A));
    join_in(&mut told, 30, "b", 1);
    let actions = told.wait_until(at(100));
    let told_of_b = actions.iter().any(|action| match action {
        Action::Send(host, Message::Neighbours(contacts)) => {
            *host == A && contacts.iter().any(|contact| contact.host == HostId::new(30))
        }
        _ => false,
    });
    assert!(told_of_b, "{actions:?}");
}

#[test]
fn the_last_chunk_of_the_first_pass_is_offered_to_another_when_it_takes_twice_as_long_as_usual() {
    let mut told = Told::without_build(2, 2);
    told.seed(3);
    told.join(A);
    told.join(B);
    let offered: Vec<HostId> = (0..3)
        .map(|chunk| {
            let chunk = ChunkIndex::new(chunk);
            if told.seeder.injection.is_offered(A, chunk) {
                A
            } else {
                B
            }
        })
        .collect();
    for (chunk, host) in (0..2).zip(&offered) {
        told.ask(*host, chunk);
        told.now = told.now + Duration::from_millis(400);
        told.served(*host, chunk);
    }
    let (slow, other) = if offered[2] == A { (A, B) } else { (B, A) };
    let asked_at = told.now;
    told.ask(slow, 2);
    let before = told.wait_until(asked_at + Duration::from_millis(799));
    assert_eq!(offers(&before), []);
    let slow = told.wait_until(asked_at + Duration::from_millis(800));
    assert_eq!(offers(&slow), [(other, 2)]);
}

#[test]
fn what_was_not_to_be_told_to_a_seeder_is_counted_and_nothing_else() {
    let mut told = Told::new(2);
    assert_eq!(told.say(A, announce(false)), [], "it is not connected");
    told.join(A);
    let chunk = ChunkIndex::new(0);
    for event in [
        Event::ChunkProgress { from: A, chunk },
        Event::ChunkStored { from: A, chunk },
        Event::Message(A, Message::HaveAll),
        Event::Message(A, Message::Busy { waiting: true }),
    ] {
        assert_eq!(told.tell(event), []);
    }
    assert_eq!(told.seeder.stats().messages_ignored, 5);
}

#[test]
fn who_connects_anew_without_a_word_is_taken_to_have_gone_before() {
    let mut told = Told::new(2);
    told.join(A);
    told.ask(A, 0);
    told.tell(Event::Connected(A));
    assert_eq!((told.seeder.member_count(), told.seeder.uploads.len()), (0, 0));
    assert_ne!(told.say(A, announce(false)), []);
}

#[test]
fn with_its_build_a_seeder_sends_the_manifest_to_as_many_as_cost_a_256th_of_it() {
    for (chunk_size, expected) in [(8 << 10, 1), (16 << 10, 2), (8 * 1024 - 1, 0)] {
        let mut told = Told::without_build(1, 1);
        for host in [A, B, C] {
            told.join(host);
        }
        let hashes = (0..40_u32).map(|chunk| Hash::of(&chunk.to_le_bytes())).collect();
        let size = crate::units::Bytes::new(40 * u64::from(chunk_size));
        let manifest = Arc::new(Manifest::new("build.zip", size, chunk_size, hashes).unwrap());
        told.seeder.seed(told.now, Arc::clone(&manifest));
        let actions = told.actions();
        let sent = |action: &&Action| matches!(action, Action::Send(_, Message::Manifest(sent)) if *sent == manifest);
        assert_eq!(actions.iter().filter(sent).count(), expected, "chunks of {chunk_size}");
        let told_of_it = |action: &&Action| matches!(action, Action::Send(_, Message::Build(_)));
        assert_eq!(actions.iter().filter(told_of_it).count(), 3);
    }
}
