//! What happens to chunks and requests, and that the two never disagree: by hand, and by random histories.

use proptest::prelude::*;

use super::*;

const A: HostId = HostId::new(1);
const B: HostId = HostId::new(2);
const C: HostId = HostId::new(3);
const PATIENCE: Duration = Duration::from_secs(2);

fn chunk(index: u32) -> ChunkIndex {
    ChunkIndex::new(index)
}

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

fn ledger(chunks: u32) -> Ledger {
    let held = Bitfield::new(chunks);
    Ledger::new(ChunkPolicy::LatestUseful, held, PATIENCE, Duration::from_millis(1))
}

fn ask(ledger: &mut Ledger, millis: u64, host: HostId, index: u32, why: Why) {
    let chunk = chunk(index);
    ledger.ask(at(millis), Ask { host, chunk, why }, 0);
    assert_eq!(ledger.check(), Ok(()));
}

fn ties(ledger: &Ledger) -> Vec<u32> {
    ledger.tie_candidates().map(|(_, chunk)| chunk.get()).collect()
}

#[test]
fn of_two_tied_neighbours_the_one_that_begins_wins() {
    let mut ledger = ledger(64);
    ask(&mut ledger, 0, A, 7, Why::Want);
    assert_eq!(ties(&ledger), [7]);
    ask(&mut ledger, 1, B, 7, Why::Tie);
    assert_eq!(ties(&ledger), [0; 0], "two sources are enough");
    assert_eq!((ledger.chunks_in_flight(), ledger.in_flight()), (1, 2));
    assert_eq!(ledger.started(at(2), B, chunk(7), Waited::NONE).as_slice(), [A]);
    assert!(!ledger.is_asked(A, chunk(7)));
    assert_eq!(ledger.received(at(3), B, chunk(7)).as_slice(), []);
    assert_eq!(ledger.check(), Ok(()));
}

#[test]
fn a_request_without_progress_becomes_overdue_and_may_come_all_the_same() {
    let mut ledger = ledger(64);
    ask(&mut ledger, 0, A, 0, Why::Want);
    let stored = ledger.stored(at(1000), A, chunk(0));
    assert!(stored.is_new && stored.losers.is_empty());
    ask(&mut ledger, 1000, A, 1, Why::Want);
    assert_eq!(ledger.patience(), Duration::from_secs(3), "mean plus four deviations");
    assert_eq!(ledger.expire(at(3999)).hosts, []);
    let expired = ledger.expire(at(4000));
    assert_eq!((expired.requests, expired.hosts), (1, vec![A]));
    assert!(ledger.has_overdue() && ledger.overdue_of(A).eq([chunk(1)]));
    assert!(ledger.is_wanted(chunk(1)), "somebody else may be asked for it");
    assert_eq!(ledger.in_flight(), 0);
    assert!(ledger.is_asked(A, chunk(1)), "late bytes are still welcome");
    ledger.received(at(5000), A, chunk(1));
    assert!(!ledger.has_overdue());
    assert!(!ledger.is_wanted(chunk(1)), "it comes after all");
    assert_eq!(ledger.check(), Ok(()));
}

/// A chunk of 64 MiB takes a minute over a link of 10 Mbit/s. All that was asked for was given up after eight seconds, though bytes came
/// of each: with dozens on their way none ended.
#[test]
fn what_moves_over_a_link_that_nobody_knows_yet_is_given_up_ever_later() {
    let mut ledger = ledger(64);
    let mut given_up = Vec::new();
    let mut next = 0;
    for half in 0..240 {
        let now = half * 500;
        while ledger.chunks_in_flight() - ledger.late_chunks().min(2) < 2 {
            ask(&mut ledger, now, HostId::new(u64::from(next)), next, Why::Want);
            next += 1;
        }
        (0..next).for_each(|index| drop(ledger.received(at(now), HostId::new(index.into()), chunk(index))));
        ledger.mark_late(at(now));
        given_up.extend(ledger.expire(at(now)).hosts.iter().map(|_| now / 1000));
    }
    assert_eq!((next, given_up), (12, vec![8, 8, 17, 17, 40, 40, 82, 82]));
}

#[test]
fn who_stopped_halfway_and_goes_on_has_begun_when_he_began() {
    let mut ledger = ledger(64);
    ask(&mut ledger, 0, A, 0, Why::Want);
    ledger.started(at(100), A, chunk(0), Waited::NONE);
    assert_eq!(ledger.expire(at(5100)).requests, 1);
    ask(&mut ledger, 6000, B, 0, Why::Want);
    assert_eq!(
        ledger.received(at(7000), A, chunk(0)).as_slice(),
        [],
        "B need not be cancelled: A has stopped before"
    );
    assert_eq!((ledger.chunks_in_flight(), ledger.in_flight()), (1, 2));
    assert_eq!(ledger.stored(at(7100), A, chunk(0)).losers.as_slice(), [B]);
    assert_eq!(ledger.transfer(), Some(Duration::from_secs(7)));
    assert_eq!(ledger.check(), Ok(()));
}

#[test]
fn a_chunk_that_one_neighbour_takes_long_for_is_slow_until_another_is_asked_as_well() {
    let mut ledger = ledger(64 * 3);
    ask(&mut ledger, 0, A, 0, Why::Want);
    ledger.started(at(0), A, chunk(0), Waited::NONE);
    ledger.stored(at(100), A, chunk(0));
    ask(&mut ledger, 100, A, 1, Why::Want);
    let slow = |ledger: &Ledger| ledger.slow().collect::<Vec<_>>();
    assert_eq!(slow(&ledger), [], "it has not begun: that is what ties are for");
    ledger.started(at(200), A, chunk(1), Waited::NONE);
    assert_eq!(slow(&ledger), [(at(350), chunk(1))], "half as long again as usual");
    ask(&mut ledger, 350, B, 1, Why::Hedge);
    assert_eq!(slow(&ledger), [], "two are enough");
    assert_eq!(
        ledger.started(at(360), B, chunk(1), Waited::NONE).as_slice(),
        [],
        "both go on"
    );
    assert_eq!(
        ledger.stored(at(420), B, chunk(1)).losers.as_slice(),
        [A],
        "and the first copy wins"
    );
}

#[test]
fn a_sixty_fourth_of_the_build_may_be_asked_for_twice_because_it_is_slow() {
    let mut ledger = ledger(130);
    assert_eq!(ledger.hedges_left(), 0, "nothing has come yet");
    for index in 0..12 {
        ask(&mut ledger, 0, A, index, Why::Want);
        ledger.started(at(0), A, chunk(index), Waited::NONE);
        ledger.stored(at(100), A, chunk(index));
    }
    assert_eq!(ledger.hedges_left(), 2);
    ask(&mut ledger, 100, A, 20, Why::Want);
    ask(&mut ledger, 100, B, 20, Why::Hedge);
    assert_eq!(ledger.hedges_left(), 1);
    ask(&mut ledger, 100, A, 21, Why::Want);
    ask(&mut ledger, 100, B, 21, Why::Hedge);
    assert_eq!(ledger.hedges_left(), 0);
}

#[test]
fn a_pause_of_this_host_makes_nobody_overdue() {
    let mut ledger = ledger(64);
    ask(&mut ledger, 0, A, 0, Why::Want);
    let patience = ledger.patience();
    let woken = at(20_000);
    ledger.excuse(woken);
    assert!(ledger.mark_late(woken).is_empty());
    assert_eq!(ledger.expire(woken).requests, 0);
    ask(&mut ledger, 20_000, B, 1, Why::Want);
    ledger.excuse(woken);
    assert_eq!(
        ledger.expire(woken + patience).requests,
        2,
        "none is forgotten, and none is excused for more than the pause"
    );
}

/// A begins after 20 ms and is done 100 ms later, each time.
fn ledger_of_a_neighbour_that_delivers() -> Ledger {
    let mut ledger = ledger(64);
    for index in 0..16 {
        ask(&mut ledger, 0, A, index, Why::Want);
        ledger.started(at(20), A, chunk(index), Waited::NONE);
        ledger.received(at(20), A, chunk(index));
        ledger.stored(at(120), A, chunk(index));
    }
    ledger
}

#[test]
fn a_request_is_late_before_it_is_overdue_and_then_another_neighbour_may_be_asked_too() {
    let mut ledger = ledger_of_a_neighbour_that_delivers();
    let late = |ledger: &Ledger| ledger.late().map(|(_, chunk)| chunk.get()).collect::<Vec<u32>>();
    ask(&mut ledger, 1000, A, 20, Why::Want);
    ask(&mut ledger, 1000, B, 21, Why::Want);
    // That it begins is no payload.
    ledger.started(at(1100), B, chunk(21), Waited::NONE);
    let late_at = ledger.next_expiry().unwrap();
    assert_eq!(late_at, at(1000) + ledger.wait_max());
    assert_eq!(ledger.mark_late(late_at).as_slice(), [A]);
    assert!(ledger.mark_late(late_at).is_empty(), "said once");
    assert_eq!(
        (late(&ledger), ledger.chunks_in_flight(), ledger.late_chunks()),
        (vec![20], 2, 1)
    );
    ask(&mut ledger, 1300, C, 20, Why::Hedge);
    assert_eq!(
        (late(&ledger), ledger.late_chunks()),
        (vec![], 0),
        "somebody is in time"
    );
    assert!(
        ledger.mark_late(at(1299)).is_empty(),
        "it has begun, and may send several at a time"
    );
    assert_eq!(ledger.mark_late(at(1300)).as_slice(), [B]);
    assert_eq!(late(&ledger), [21]);
    // To say it again is none either.
    ledger.started(at(1600), B, chunk(21), Waited::NONE);
    assert_eq!(late(&ledger), [21]);
    ledger.received(at(1700), B, chunk(21));
    assert_eq!(late(&ledger), [0; 0], "it comes");
    assert_eq!(
        ledger.started(at(1710), C, chunk(20), Waited::NONE).as_slice(),
        [A],
        "who is late has not begun"
    );
    assert_eq!(ledger.check(), Ok(()));
}

/// The chunk was asked of a third neighbour at the moment the second was told that it is not needed.
#[test]
fn that_a_late_neighbour_begins_is_believed_if_it_has_ever_delivered() {
    let mut ledger = ledger_of_a_neighbour_that_delivers();
    for (host, index, is_late) in [(A, 20, false), (B, 21, true)] {
        ask(&mut ledger, 1000, host, index, Why::Want);
        assert_eq!(ledger.mark_late(at(2000)).as_slice(), [host]);
        ask(&mut ledger, 2000, C, index, Why::Hedge);
        assert_eq!(
            ledger.started(at(2100), host, chunk(index), Waited::NONE).as_slice(),
            [C]
        );
        let late: Vec<ChunkIndex> = ledger.late().map(|(_, chunk)| chunk).collect();
        assert_eq!(late.contains(&chunk(index)), is_late, "{host}");
    }
    let begin_max = Duration::from_millis(200);
    assert_eq!(
        ledger.mark_late(at(2100) + begin_max).as_slice(),
        [A],
        "it has to keep its word"
    );
}

/// Chunks come in 100 ms, and then A is asked for one that will take longer.
fn ledger_with_a_trickle() -> Ledger {
    let mut ledger = ledger(64);
    for index in 0..16 {
        ask(&mut ledger, 0, A, index, Why::Want);
        ledger.received(at(0), A, chunk(index));
        ledger.stored(at(100), A, chunk(index));
    }
    ask(&mut ledger, 1000, A, 20, Why::Want);
    ledger
}

#[test]
fn a_chunk_that_trickles_is_late_though_bytes_come() {
    let mut ledger = ledger_with_a_trickle();
    let mut now = 1000;
    while now < 4000 {
        ledger.received(at(now), A, chunk(20));
        let is_late = !ledger.mark_late(at(now)).is_empty();
        assert_eq!(is_late, now == 1400, "it loses its turn, once: at {now}");
        assert_eq!(ledger.expire(at(now)).requests, 0, "it is not given up");
        assert_eq!(ledger.late().count() > 0, now >= 1400, "at {now}");
        assert_eq!(ledger.is_counted_on(A, chunk(20)), now < 1400, "at {now}");
        assert_eq!(ledger.is_late(A), now >= 1400, "at {now}");
        now += 100;
    }
    assert_eq!((ledger.chunks_in_flight(), ledger.late_chunks()), (1, 1));
    assert!(!ledger.is_waiting(), "a trickle is nothing to wait for");
}

#[test]
fn a_chunk_that_trickles_for_ever_is_wanted_again_and_taken_all_the_same() {
    let mut ledger = ledger_with_a_trickle();
    for second in 1..40 {
        ledger.received(at(1000 * second), A, chunk(20));
        ledger.expire(at(1000 * second));
        ledger.forgive();
        assert_eq!(ledger.is_wanted(chunk(20)), second >= 9, "after {second} s");
        assert!(ledger.is_asked(A, chunk(20)), "after {second} s");
        assert_eq!(ledger.check(), Ok(()));
    }
    assert!(!ledger.is_counted_on(A, chunk(20)));
    assert!(ledger.stored(at(40_000), A, chunk(20)).is_new);
    assert_eq!(ledger.check(), Ok(()));
}

#[test]
fn trickles_are_doubled_for_a_part_of_the_build_only_unless_nothing_ever_came_of_them() {
    for (has_delivered, times) in [(true, 5), (false, 20)] {
        let mut ledger = ledger(64);
        if has_delivered {
            ask(&mut ledger, 0, A, 63, Why::Want);
            ledger.stored(at(0), A, chunk(63));
        }
        assert_eq!(ledger.has_delivered(A), has_delivered);
        for index in 0..20 {
            ask(&mut ledger, 0, A, index, Why::Want);
            ledger.received(at(0), A, chunk(index));
            ledger.mark_late(at(5000));
            assert_eq!(ledger.late().count() > 0, index < times, "{index}");
            if index < times {
                ask(&mut ledger, 5000, B, index, Why::Hedge);
                ledger.received(at(5000), B, chunk(index));
                ledger.stored(at(5000), B, chunk(index));
            }
        }
        ledger.neighbour_gone(A, &Bitfield::new(64));
        assert!(!ledger.has_delivered(A), "it is forgotten with its connection");
    }
}

#[test]
fn who_has_missed_requests_before_has_more_patience() {
    let mut ledger = ledger(64);
    let (host, index) = (A, chunk(0));
    let ask = Ask {
        host,
        chunk: index,
        why: Why::Want,
    };
    ledger.ask(at(0), ask, 2);
    let patience = ledger.patience();
    assert_eq!(
        ledger
            .expire(at(0) + (patience * 2 - Duration::from_millis(1)))
            .requests,
        0
    );
    assert_eq!(ledger.expire(at(0) + patience * 2).requests, 1);
}

#[test]
fn a_chunk_is_wanted_again_only_when_nobody_is_asked_for_it() {
    let mut ledger = ledger(64);
    ask(&mut ledger, 0, A, 3, Why::Want);
    ask(&mut ledger, 0, B, 3, Why::Tie);
    ledger.give_up(A, chunk(3));
    assert!(ledger.is_requested(chunk(3)) && !ledger.is_wanted(chunk(3)));
    ledger.neighbour_gone(B, &Bitfield::new(64));
    assert!(ledger.is_wanted(chunk(3)));
    ledger.stored(at(10), C, chunk(3));
    ledger.give_up(B, chunk(3));
    assert!(!ledger.is_wanted(chunk(3)), "it is held");
    assert!(ledger.lost(chunk(3)) && ledger.is_wanted(chunk(3)));
    assert!(!ledger.lost(chunk(3)));
    assert_eq!(ledger.check(), Ok(()));
}

#[test]
fn what_is_found_is_cancelled_wherever_it_was_asked_for() {
    let mut ledger = ledger(64);
    ask(&mut ledger, 0, A, 3, Why::Want);
    ask(&mut ledger, 0, B, 3, Why::Tie);
    let found = ledger.found(chunk(3));
    assert!(found.is_new);
    assert_eq!(found.losers.as_slice(), [A, B]);
    assert!(!ledger.found(chunk(3)).is_new);
    assert_eq!(ledger.check(), Ok(()));
}

#[test]
fn forgiven_neighbours_may_be_asked_again_and_their_late_bytes_are_not_expected() {
    let mut ledger = ledger(64);
    ask(&mut ledger, 0, A, 3, Why::Want);
    ledger.expire(at(60_000));
    ledger.forgive();
    assert!(!ledger.has_overdue() && !ledger.is_asked(A, chunk(3)));
    ask(&mut ledger, 60_000, A, 3, Why::Want);
}

/// Four that say they have everything and send nothing would keep a chunk for as long as the patience with them grows.
#[test]
fn who_was_overdue_before_and_is_late_again_keeps_nobody_from_being_asked() {
    for (strikes, expected) in [(0, 0), (1, 1)] {
        let mut ledger = ledger(64);
        for (turn, number) in (10..14).enumerate() {
            let (host, chunk) = (HostId::new(number), chunk(3));
            let why = if turn == 0 { Why::Want } else { Why::Hedge };
            ledger.ask(at(0), Ask { host, chunk, why }, strikes);
            ledger.mark_late(at(2_000));
        }
        assert_eq!(ledger.late().count(), expected, "with {strikes} strikes");
        assert_eq!(ledger.expire(at(2_000)).requests, 0);
    }
}

/// What comes of all of them comes over the same link, and two copies of it take twice as long.
#[test]
fn where_two_trickle_that_have_delivered_before_nobody_more_is_asked() {
    for have_delivered in [false, true] {
        let mut ledger = ledger(64);
        for (from, index) in [(A, 0), (B, 1)].into_iter().filter(|_| have_delivered) {
            ask(&mut ledger, 0, from, index, Why::Want);
            ledger.stored(at(0), from, chunk(index));
        }
        for (from, why) in [(A, Why::Want), (B, Why::Hedge)] {
            ask(&mut ledger, 0, from, 3, why);
            ledger.received(at(0), from, chunk(3));
            ledger.mark_late(at(5000));
        }
        assert_eq!(ledger.late().count() > 0, !have_delivered);
    }
}

/// Between two bytes of a very slow link the patience may end. Whoever forgot then what comes would throw the next bytes away.
#[test]
fn what_has_begun_is_expected_for_as_long_as_its_neighbour_is_there() {
    let mut ledger = ledger(64);
    ask(&mut ledger, 0, A, 3, Why::Want);
    ledger.started(at(0), A, chunk(3), Waited::NONE);
    ledger.expire(at(60_000));
    ledger.forgive();
    assert!(ledger.is_wanted(chunk(3)) && ledger.is_asked(A, chunk(3)));
    assert!(ledger.stored(at(600_000), A, chunk(3)).is_new);
    assert_eq!(ledger.check(), Ok(()));
}

#[test]
fn a_broken_ledger_says_what_is_broken() {
    type Break = fn(&mut Ledger);
    let table: [(Break, &str); 6] = [
        (
            |ledger| ledger.chunks.release(chunk(1)),
            "chunk 1 is wanted though h1 is asked for it",
        ),
        (
            |ledger| assert!(ledger.chunks.mark_held(chunk(1))),
            "chunk 1 is held though h1 is asked for it",
        ),
        (
            |ledger| ledger.chunks.mark_requested(chunk(5)),
            "2 chunks are requested, and somebody is asked for 1",
        ),
        (
            |ledger| drop(ledger.requests.withdraw(chunk(1))),
            "1 chunks are requested, and somebody is asked for 0",
        ),
        (
            |ledger| ledger.requests.ask(at(0), A, chunk(5), false),
            "chunk 5 is wanted though h1 is asked for it",
        ),
        (
            |ledger| ledger.requests.ask(at(0), B, chunk(0), false),
            "chunk 0 is held though h2 is asked for it",
        ),
    ];
    for (break_it, expected) in table {
        let mut ledger = ledger(64);
        ledger.stored(at(0), C, chunk(0));
        ask(&mut ledger, 0, A, 1, Why::Want);
        break_it(&mut ledger);
        assert_eq!(ledger.check(), Err(expected.to_owned()));
    }
}

/// Eight neighbours, and a seeder for each that a region can have.
#[test]
fn no_more_than_sixteen_are_asked_for_a_chunk_and_have_not_begun() {
    for (strikes, others, expected) in [
        (0, 15, Ok(())),
        (0, 16, Err("chunk 1 is asked of more than 16".to_owned())),
        (1, 40, Ok(())),
    ] {
        let mut ledger = ledger(64);
        ask(&mut ledger, 0, A, 1, Why::Want);
        for number in 10..10 + others {
            ledger.mark_late(at(100_000));
            ledger.requests.ask(at(0), HostId::new(number), chunk(1), strikes > 0);
        }
        assert_eq!(ledger.check(), expected, "of {others} with {strikes} strikes");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u64, u32),
    Second(u64, u32, bool),
    Started(u64, u32),
    Received(u64, u32),
    Stored(u64, u32),
    Found(u32),
    Lost(u32),
    GiveUp(u64, u32),
    Gone(u64),
    Expire,
    MarkLate,
    Excuse,
    Forgive,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let host = || 1u64..5;
    let chunk = || 0u32..12;
    prop_oneof![
        6 => (host(), chunk()).prop_map(|(host, chunk)| Step::Ask(host, chunk)),
        4 => (host(), chunk(), any::<bool>()).prop_map(|(host, chunk, tie)| Step::Second(host, chunk, tie)),
        3 => (host(), chunk()).prop_map(|(host, chunk)| Step::Started(host, chunk)),
        3 => (host(), chunk()).prop_map(|(host, chunk)| Step::Received(host, chunk)),
        2 => (host(), chunk()).prop_map(|(host, chunk)| Step::Stored(host, chunk)),
        1 => chunk().prop_map(Step::Found),
        2 => chunk().prop_map(Step::Lost),
        2 => (host(), chunk()).prop_map(|(host, chunk)| Step::GiveUp(host, chunk)),
        1 => host().prop_map(Step::Gone),
        3 => Just(Step::Expire),
        3 => Just(Step::MarkLate),
        1 => Just(Step::Excuse),
        1 => Just(Step::Forgive),
        3 => (1u64..3000).prop_map(Step::Wait),
    ]
}

/// Does what is possible of `step`, and says what it came to.
fn apply(ledger: &mut Ledger, now: &mut u64, step: &Step) {
    let time = at(*now);
    let host = HostId::new;
    match *step {
        Step::Ask(from, index) if ledger.is_wanted(chunk(index)) && !ledger.is_asked(host(from), chunk(index)) => {
            ask(ledger, *now, host(from), index, Why::Want);
        }
        Step::Second(from, index, tie) => {
            let (host, why) = (host(from), if tie { Why::Tie } else { Why::Hedge });
            let is_candidate = if tie {
                ledger.tie_candidates().any(|(_, other)| other == chunk(index))
            } else {
                ledger
                    .late()
                    .chain(ledger.slow())
                    .any(|(_, other)| other == chunk(index))
            };
            if is_candidate && !ledger.is_asked(host, chunk(index)) {
                ask(ledger, *now, host, index, why);
            }
        }
        Step::Started(from, index) => drop(ledger.started(time, host(from), chunk(index), Waited::NONE)),
        Step::Received(from, index) => drop(ledger.received(time, host(from), chunk(index))),
        Step::Stored(from, index) => {
            let stored = ledger.stored(time, host(from), chunk(index));
            assert!(!stored.losers.contains(&host(from)));
        }
        Step::Found(index) => drop(ledger.found(chunk(index))),
        Step::Lost(index) => assert_eq!(ledger.held().contains(chunk(index)), ledger.lost(chunk(index))),
        Step::GiveUp(from, index) => ledger.give_up(host(from), chunk(index)),
        Step::Gone(from) => ledger.neighbour_gone(host(from), &Bitfield::new(12)),
        Step::Expire => drop(ledger.expire(time)),
        Step::MarkLate => drop(ledger.mark_late(time)),
        Step::Excuse => ledger.excuse(time),
        Step::Forgive => ledger.forgive(),
        Step::Wait(millis) => *now += millis,
        Step::Ask(..) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_chunks_and_requests_agree(steps in prop::collection::vec(step(), 0..120)) {
        let mut ledger = ledger(12);
        let mut now = 0;
        for step in steps {
            apply(&mut ledger, &mut now, &step);
            prop_assert_eq!(ledger.check(), Ok(()), "after {:?}", step);
            prop_assert_eq!(ledger.next_expiry().is_some(), ledger.in_flight() > 0, "nobody is waited for without end");
        }
    }
}
