//! What the ledger says of what is on its way, each rule at the edge where it begins to hold.

use std::collections::BTreeSet;

use super::*;

impl Ledger {
    /// Breaks the invariant, for who is to notice.
    pub(in crate::peer) fn lose_count(&mut self) {
        let wanted = self.chunks.wanted().iter().next();
        wanted.into_iter().for_each(|chunk| self.chunks.mark_requested(chunk));
    }
}

const A: HostId = HostId::new(1);
const B: HostId = HostId::new(2);
const C: HostId = HostId::new(3);

fn chunk(index: u32) -> ChunkIndex {
    ChunkIndex::new(index)
}

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

fn ledger(policy: ChunkPolicy, chunks: u32) -> Ledger {
    Ledger::new(
        policy,
        Bitfield::new(chunks),
        Duration::from_secs(2),
        Duration::from_millis(1),
    )
}

fn ask(ledger: &mut Ledger, millis: u64, host: HostId, index: u32, why: Why) {
    let chunk = chunk(index);
    ledger.ask(at(millis), Ask { host, chunk, why }, 0);
    assert_eq!(ledger.check(), Ok(()));
}

/// Of 64 chunks: A was asked for 1 and B for 2 at time zero, and both are late since a second, but for who has begun.
fn two_late() -> Ledger {
    let mut ledger = ledger(ChunkPolicy::Sequential, 64);
    ask(&mut ledger, 0, A, 1, Why::Want);
    ask(&mut ledger, 0, B, 2, Why::Want);
    let late: BTreeSet<HostId> = ledger.mark_late(at(1000)).into_iter().collect();
    assert_eq!(late, [A, B].into());
    ledger
}

#[test]
fn of_each_that_is_late_with_a_chunk_it_is_told_once() {
    let mut ledger = two_late();
    assert_eq!(ledger.tell_late(chunk(1)).as_slice(), [A]);
    assert!(ledger.tell_late(chunk(1)).is_empty() && ledger.tell_late(chunk(9)).is_empty());
    ask(&mut ledger, 1000, C, 1, Why::Hedge);
    assert!(ledger.tell_late(chunk(1)).is_empty(), "C is in time");
    ledger.mark_late(at(3000));
    assert_eq!(ledger.tell_late(chunk(1)).as_slice(), [C]);
    assert_eq!(ledger.tell_late(chunk(2)).as_slice(), [B]);
}

#[test]
fn what_is_waited_for_comes_in_time_of_those_that_count() {
    let mut ledger = ledger(ChunkPolicy::Sequential, 64);
    assert!(!ledger.has_late() && !ledger.is_waiting_for(|_, _| true));
    ask(&mut ledger, 0, A, 1, Why::Want);
    ask(&mut ledger, 900, B, 2, Why::Want);
    ledger.started(at(950), B, chunk(2), Waited::NONE);
    let counts = |ledger: &Ledger, host: HostId, begun: bool| {
        ledger.is_waiting_for(|from, has_begun| from == host && has_begun == begun)
    };
    assert!(counts(&ledger, A, false) && counts(&ledger, B, true));
    assert!(!counts(&ledger, A, true) && !counts(&ledger, B, false));
    assert_eq!(ledger.mark_late(at(1000)).as_slice(), [A]);
    assert!(!counts(&ledger, A, false) && counts(&ledger, B, true), "A is late");
    assert_eq!(
        (ledger.has_late(), ledger.is_late(A), ledger.is_late(B)),
        (true, true, false)
    );
    assert_eq!((ledger.late_sources(chunk(1)), ledger.late_sources(chunk(2))), (1, 0));
    assert!(ledger.is_waiting());
}

#[test]
fn what_is_overdue_of_one_is_not_what_is_in_time_of_it_or_overdue_of_another() {
    let mut ledger = ledger(ChunkPolicy::Sequential, 64);
    ask(&mut ledger, 0, A, 1, Why::Want);
    ask(&mut ledger, 0, B, 2, Why::Want);
    ask(&mut ledger, 4000, A, 3, Why::Want);
    assert_eq!(ledger.expire(at(5000)).requests, 2);
    assert!(ledger.overdue_of(A).eq([chunk(1)]) && ledger.overdue_of(B).eq([chunk(2)]));
    assert_eq!(
        (ledger.outstanding(A), ledger.outstanding(B), ledger.in_flight()),
        (1, 0, 1)
    );
    assert!(ledger.asked().eq([A]));
    assert_eq!(
        [1, 2, 3].map(|index| ledger.is_requested(chunk(index))),
        [false, false, true]
    );
}

#[test]
fn who_was_asked_a_moment_ago_may_answer_and_is_not_asked_for_the_same_because_it_is_slow() {
    let mut ledger = ledger(ChunkPolicy::Sequential, 64);
    ask(&mut ledger, 0, A, 1, Why::Want);
    assert!(!ledger.is_recalled(A, chunk(1)), "it is asked");
    ledger.give_up(A, chunk(1));
    assert!(ledger.is_recalled(A, chunk(1)) && !ledger.is_recalled(A, chunk(2)) && !ledger.is_recalled(B, chunk(1)));
    for index in 10..26 {
        assert!(ledger.is_recalled(A, chunk(1)), "of the last sixteen");
        ask(&mut ledger, 0, B, index, Why::Want);
        ledger.give_up(B, chunk(index));
    }
    assert!(!ledger.is_recalled(A, chunk(1)) && ledger.is_recalled(B, chunk(10)));
}

#[test]
fn a_build_is_complete_when_every_chunk_is_held() {
    let mut ledger = ledger(ChunkPolicy::Sequential, 2);
    for (index, complete) in [(0, false), (1, true)] {
        ledger.found(chunk(index));
        assert_eq!(
            (ledger.is_complete(), ledger.wanted_count()),
            (complete, 1 - index as usize)
        );
    }
}

#[test]
fn holders_are_counted_as_they_come_lose_a_chunk_begin_anew_and_go() {
    use rand::SeedableRng;
    let mut ledger = ledger(ChunkPolicy::RarestFirst, 64);
    let set = |chunks: &[u32]| {
        let mut set = Bitfield::new(64);
        chunks.iter().for_each(|index| assert!(set.insert(chunk(*index))));
        set
    };
    let rarest = |ledger: &Ledger| {
        let mut chance = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1);
        ledger.choose(&set(&[1, 2, 3]), &[], &mut chance).unwrap().get()
    };
    for (index, holders) in [(1, 1), (2, 2), (3, 3)] {
        (0..holders).for_each(|_| ledger.holder_gained(chunk(index)));
    }
    assert_eq!(rarest(&ledger), 1);
    ledger.holder_lost(chunk(2));
    ledger.holder_lost(chunk(2));
    assert_eq!(rarest(&ledger), 2);
    (0..3).for_each(|_| ledger.holder_begins_anew(&set(&[3])));
    (0..2).for_each(|_| ledger.holder_gained(chunk(2)));
    assert_eq!(rarest(&ledger), 3);
    ledger.neighbour_gone(A, &set(&[1, 2]));
    (0..2).for_each(|_| ledger.holder_gained(chunk(3)));
    assert_eq!(rarest(&ledger), 1);
}

/// A chunk of 4 MiB comes in 64 frames. One that came though it was no longer wanted ended ties and hedges for the next 4,096.
#[test]
fn payload_that_nobody_asked_for_counts_once_for_each_chunk_and_each_time_it_is_sent() {
    let mut ledger = ledger(ChunkPolicy::Sequential, 1000);
    let deliver = |ledger: &mut Ledger, chunks: std::ops::Range<u32>| {
        for index in chunks {
            ask(ledger, 0, A, index, Why::Want);
            ledger.received(at(10), A, chunk(index));
            ledger.stored(at(500), A, chunk(index));
        }
        ledger.may_tie()
    };
    let frames = |ledger: &mut Ledger, from: HostId, index: u32| {
        (0..2).for_each(|_| drop(ledger.received(at(20), from, chunk(index))));
    };
    // Twelve have to come, and 64 for each chunk that came in vain.
    assert!(deliver(&mut ledger, 0..12));
    frames(&mut ledger, B, 900);
    assert!(!deliver(&mut ledger, 12..75) && deliver(&mut ledger, 75..76));
    frames(&mut ledger, B, 900);
    assert!(ledger.may_tie(), "the rest of it");
    frames(&mut ledger, B, 901);
    assert!(!deliver(&mut ledger, 76..139) && deliver(&mut ledger, 139..140));
    frames(&mut ledger, C, 901);
    assert!(!deliver(&mut ledger, 140..203) && deliver(&mut ledger, 203..204));
    ask(&mut ledger, 30, B, 900, Why::Want);
    ledger.give_up(B, chunk(900));
    frames(&mut ledger, B, 900);
    assert!(
        !deliver(&mut ledger, 204..267) && deliver(&mut ledger, 267..268),
        "sent anew"
    );
}
