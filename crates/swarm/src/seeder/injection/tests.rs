use proptest::prelude::*;

use super::*;

const CHUNKS: u32 = 6;

fn host(number: u64) -> HostId {
    HostId::new(number)
}

fn chunk(index: u32) -> ChunkIndex {
    ChunkIndex::new(index)
}

fn at(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

/// An injection of a few chunks in order, with these clients.
fn injection(clients: &[u64]) -> Injection {
    let mut injection = Injection::new();
    injection.begin((0..CHUNKS).map(chunk).collect());
    clients.iter().for_each(|client| injection.admit(host(*client), false));
    injection
}

/// Each offer is lost after two seconds.
fn lost_at(made_at: Time, _: HostId, _: ChunkIndex) -> Time {
    made_at + Duration::from_secs(2)
}

#[test]
fn clients_take_turns_and_so_many_chunks_are_offered_at_once() {
    let mut injection = injection(&[1, 2]);
    let mut offered = Vec::new();
    while let Some((to, chunk)) = injection.offer_next(at(0), 4) {
        offered.push((to.get(), chunk.get()));
    }
    assert_eq!(offered, [(1, 0), (2, 1), (1, 2), (2, 3)]);
    assert!(injection.settle(host(2), chunk(1)) && injection.is_out(chunk(1)));
    assert_eq!(
        injection.offer_next(at(1), 4),
        Some((host(2), chunk(4))),
        "who has the fewest"
    );
    assert!(!injection.settle(host(2), chunk(0)), "that is offered to somebody else");
    assert_eq!(injection.offers_to(host(2)).as_slice(), [3, 4]);
    assert_eq!(injection.check(), Ok(()));
}

/// A seeder that was started anew offered one chunk after another that all had by then: a third of a second for 600 of them.
#[test]
fn what_a_client_says_it_has_is_offered_last_and_many_at_a_time() {
    let mut injection = injection(&[1, 2]);
    let theirs = |chunks: &[u32]| {
        let mut set = Bitfield::new(CHUNKS);
        chunks.iter().for_each(|index| assert!(set.insert(chunk(*index))));
        set
    };
    injection.claim(host(1), &theirs(&[0, 1, 2, 3]));
    injection.claim(host(2), &theirs(&[0, 1, 2]));
    injection.claim(host(3), &theirs(&[4, 5]));
    injection.claim(host(1), &Bitfield::full(CHUNKS + 1));
    let mut offered = Vec::new();
    while let Some((_, chunk)) = injection.offer_next(at(0), 1) {
        offered.push(chunk.get());
    }
    assert_eq!(offered, [4], "it may be asked for, and so may the next");
    assert_eq!(injection.check(), Ok(()), "nothing is out because somebody says so");
    assert!(injection.settle(host(1), chunk(4)));
    injection.offer_next(at(0), 1).unwrap();
    assert!(injection.settle(host(2), chunk(5)));
    let rest: Vec<u32> = std::iter::from_fn(|| injection.offer_next(at(0), 1))
        .map(|(_, chunk)| chunk.get())
        .collect();
    assert_eq!(rest, [3, 0, 1, 2], "those first that one of two says it has");
}

#[test]
fn nothing_is_offered_where_nobody_is_there() {
    let mut injection = injection(&[]);
    assert_eq!(injection.offer_next(at(0), 4), None);
    assert!(injection.is_first_pass());
    assert_eq!(injection.check(), Ok(()));
}

/// A chunk that a client has asked for is counted on for longer than its other offers. Where these are lost and it is dismissed, the
/// chunk was once offered to nobody for ever, and the first pass never ended.
#[test]
fn a_client_that_strikes_out_leaves_no_offer_behind() {
    let mut injection = injection(&[1]);
    while injection.offer_next(at(0), 4).is_some() {}
    injection.asked_by(host(1));
    let asked_for_the_first = |made_at: Time, _: HostId, offered: ChunkIndex| {
        made_at + Duration::from_secs(if offered == chunk(0) { 60 } else { 2 })
    };
    assert_eq!(injection.expire(at(2), asked_for_the_first, 2), 3);
    assert!(!injection.is_client(host(1)));
    assert_eq!(injection.check(), Ok(()));
    injection.admit(host(2), false);
    let mut offered: Vec<ChunkIndex> = std::iter::from_fn(|| injection.offer_next(at(3), 99))
        .map(|(_, c)| c)
        .collect();
    offered.sort_unstable();
    assert_eq!(offered, (0..CHUNKS).map(chunk).collect::<Vec<_>>(), "all of them");
}

#[test]
fn a_client_is_not_replaced_where_nobody_could_take_its_place_and_what_it_asks_for_counts() {
    let mut alone = injection(&[1]);
    while alone.offer_next(at(0), 4).is_some() {}
    assert_eq!(alone.expire(at(1), lost_at, 1), 0, "not yet");
    assert_eq!(alone.next_expiry(lost_at), Some(at(2)));
    assert_eq!(alone.expire(at(2), lost_at, 1), 4);
    assert!(alone.is_client(host(1)));
    let mut asks = injection(&[1]);
    for second in 0..6 {
        while asks.offer_next(at(2 * second), 1).is_some() {}
        assert_eq!(asks.expire(at(2 * second + 2), lost_at, 2), 1);
        if second == 1 {
            asks.asked_by(host(1));
        }
        assert_eq!(asks.is_client(host(1)), second < 4, "three in a row, after {second}");
        if second == 4 {
            break;
        }
    }
}

/// When nothing is left to offer, what a slow host is sent is offered to one that is idle as well; whoever has it first settles it.
#[test]
fn what_is_slow_is_offered_to_another_when_nothing_waits() {
    let mut injection = injection(&[1, 2, 3]);
    let second = Duration::from_secs(1);
    let begun = |_: HostId, of: ChunkIndex| Some(at(u64::from(of.get())));
    while injection.offer_next(at(0), 2).is_some() {
        if !injection.waiting.is_empty() {
            assert_eq!(injection.offer_slow(at(99), begun, second, 2), None, "something waits");
        }
        let last = injection.offers.last().copied().unwrap();
        if last.chunk.get() > 0 && last.chunk.get() < 5 {
            injection.settle(last.to, last.chunk);
        }
    }
    let [first, last] = [chunk(0), chunk(5)];
    let slow: Vec<HostId> = injection.offers.iter().map(|offer| offer.to).collect();
    let idle = [1, 2, 3]
        .map(host)
        .into_iter()
        .find(|host| !slow.contains(host))
        .unwrap();
    assert_eq!(injection.next_slow(begun, second, 2), Some(at(1)));
    assert_eq!(injection.next_slow(begun, second, 1), None, "one copy is all");
    assert_eq!(
        injection.next_slow(|_, _| None, second, 2),
        None,
        "nobody has taken it up"
    );
    assert_eq!(injection.offer_slow(at(0), begun, second, 2), None, "not slow yet");
    assert_eq!(injection.offer_slow(at(1), begun, second, 2), Some((idle, first)));
    assert_eq!(injection.check(), Ok(()));
    assert_eq!(injection.offer_slow(at(99), begun, second, 2), None, "nobody is idle");
    injection.admit(host(4), false);
    assert_eq!(
        injection.offer_slow(at(99), begun, second, 2),
        Some((host(4), last)),
        "two have the other"
    );
    // Who goes takes its own offer with it, and what two were offered is lost when both are.
    assert!(injection.dismiss(idle) && injection.waiting.is_empty());
    assert_eq!(injection.check(), Ok(()));
    assert!(injection.settle(host(4), last) && injection.is_out(last));
    assert_eq!(injection.offers.len(), 1, "nobody else is counted on for it");
    injection.admit(idle, false);
    assert_eq!(injection.offer_slow(at(100), begun, second, 2), Some((idle, first)));
    injection.expire(at(200), lost_at, 0);
    assert_eq!((injection.waiting.len(), injection.check()), (1, Ok(())));
}

#[test]
fn what_was_offered_to_who_goes_waits_and_goes_first() {
    let mut injection = injection(&[1, 2]);
    while injection.offer_next(at(0), 4).is_some() {}
    assert!(injection.dismiss(host(1)) && !injection.dismiss(host(1)));
    assert_eq!(injection.check(), Ok(()));
    let next: Vec<u32> = std::iter::from_fn(|| injection.offer_next(at(0), 99))
        .map(|(_, c)| c.get())
        .collect();
    assert_eq!(next, [2, 0, 4, 5]);
}

#[test]
fn what_is_withdrawn_is_offered_to_nobody_until_it_is_put_back() {
    let mut injection = injection(&[1]);
    injection.offer_next(at(0), 1);
    assert!(injection.settle(host(1), chunk(0)));
    injection.offer_next(at(0), 1);
    let offered_to = [(0, vec![]), (1, vec![host(1)]), (2, vec![])];
    for (index, to) in offered_to {
        assert_eq!(injection.withdraw(chunk(index)), Some(to), "chunk {index}");
        assert_eq!(injection.withdraw(chunk(index)), None);
        assert!(injection.is_withdrawn(chunk(index)) && !injection.is_out(chunk(index)));
    }
    assert_eq!(injection.check(), Ok(()));
    assert!(injection.put_back(chunk(0)) && !injection.put_back(chunk(0)) && !injection.put_back(chunk(5)));
    assert_eq!(
        injection.offer_next(at(0), 1),
        Some((host(1), chunk(0))),
        "though it was out"
    );
    assert_eq!(injection.check(), Ok(()));
}

#[test]
fn a_pass_ends_when_all_is_out_and_what_was_out_can_go_out_again() {
    let mut injection = injection(&[1]);
    while let Some((to, chunk)) = injection.offer_next(at(0), 1) {
        assert!(injection.is_first_pass());
        assert!(injection.settle(to, chunk));
    }
    assert!(!injection.is_first_pass());
    injection.withdraw(chunk(3));
    injection.begin_again([2, 3].map(chunk));
    assert!(injection.is_first_pass());
    assert_eq!(injection.offer_next(at(1), 4), Some((host(1), chunk(2))));
    assert_eq!(injection.offer_next(at(1), 4), None, "what is withdrawn was not out");
    assert_eq!(injection.check(), Ok(()));
}

#[test]
fn check_tells_what_is_broken() {
    let mut twice = injection(&[1]);
    twice.waiting.push_back(chunk(2));
    let mut nowhere = injection(&[1]);
    nowhere.waiting.pop_back();
    let mut unknown = injection(&[1]);
    unknown.waiting.push_back(chunk(CHUNKS));
    let mut to_one_twice = injection(&[1]);
    to_one_twice.offer_next(at(0), 1);
    to_one_twice.offers.push(to_one_twice.offers[0]);
    let mut to_nobody = injection(&[1]);
    to_nobody.offer_next(at(0), 1);
    to_nobody.clients.clear();
    for (broken, what) in [
        (twice, "2 times"),
        (nowhere, "0 times"),
        (unknown, "not of this build"),
        (to_nobody, "no client"),
        (to_one_twice, "twice"),
    ] {
        let error = broken.check().unwrap_err();
        assert!(error.contains(what), "{error}");
    }
}

/// What may happen to an injection, with whatever arguments.
#[derive(Clone, Debug)]
enum Step {
    Admit(u64),
    Dismiss(u64),
    Asked(u64),
    Offer(usize),
    OfferSlow(usize),
    Settle(u64, u32),
    Expire(u64),
    BeginAgain(u32),
    Withdraw(u32),
    PutBack(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let (clients, chunks) = (1..4_u64, 0..CHUNKS);
    prop_oneof![
        1 => clients.clone().prop_map(Step::Admit),
        1 => clients.clone().prop_map(Step::Dismiss),
        1 => clients.clone().prop_map(Step::Asked),
        3 => (1..5_usize).prop_map(Step::Offer),
        2 => (1..4_usize).prop_map(Step::OfferSlow),
        2 => (clients, chunks.clone()).prop_map(|(client, chunk)| Step::Settle(client, chunk)),
        1 => (0..4_u64).prop_map(Step::Expire),
        1 => chunks.clone().prop_map(Step::BeginAgain),
        1 => chunks.clone().prop_map(Step::Withdraw),
        1 => chunks.prop_map(Step::PutBack),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_each_chunk_is_in_one_place(steps in prop::collection::vec(step(), 1..80), members in 0..5_usize) {
        let mut injection = injection(&[1]);
        let mut now = 0;
        for step in steps {
            match step {
                Step::Admit(client) => injection.admit(host(client), false),
                Step::Dismiss(client) => {
                    injection.dismiss(host(client));
                }
                Step::Asked(client) => injection.asked_by(host(client)),
                Step::Offer(at_once) => {
                    injection.offer_next(at(now), at_once);
                }
                Step::OfferSlow(copies_max) => {
                    let since = |_: HostId, of: ChunkIndex| (!of.get().is_multiple_of(3)).then_some(at(0));
                    injection.offer_slow(at(now), since, Duration::from_secs(1), copies_max);
                }
                Step::Settle(client, index) => {
                    injection.settle(host(client), chunk(index));
                }
                Step::Expire(seconds) => {
                    now += seconds;
                    injection.expire(at(now), |made_at, to, chunk| made_at + Duration::from_secs(1 + (to.get() + u64::from(chunk.get())) % 4), members);
                }
                Step::BeginAgain(index) => injection.begin_again([chunk(index)]),
                Step::Withdraw(index) => {
                    injection.withdraw(chunk(index));
                }
                Step::PutBack(index) => {
                    injection.put_back(chunk(index));
                }
            }
            prop_assert_eq!(injection.check(), Ok(()));
        }
    }
}
