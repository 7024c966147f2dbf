//! When a chunk counts as lost, each rule at the edge where it begins to hold.

use super::*;

const A: HostId = HostId::new(1);
const B: HostId = HostId::new(2);

fn chunk(index: u32) -> ChunkIndex {
    ChunkIndex::new(index)
}

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

/// Of three chunks: A holds 0 and 1, B holds 1 and 2.
fn copies() -> Copies {
    let mut copies = Copies::new(3);
    for (host, index) in [(A, 0), (A, 1), (B, 1), (B, 2)] {
        copies.note(host, chunk(index));
    }
    copies
}

#[test]
fn what_a_complete_member_held_is_lost_when_it_goes_and_looked_for_in_a_moment() {
    let mut copies = copies();
    assert!(!copies.has_changed() && copies.lost(at(0)).is_empty());
    assert_eq!(copies.member_gone(at(1000), A, true), at(1050));
    assert!(copies.has_changed() && copies.is_certain(), "it does not come back");
    assert_eq!((copies.next_look(), copies.lost(at(1000))), (None, vec![chunk(0)]));
    assert!(!copies.has_changed() && !copies.has_some(A) && copies.has_some(B));
}

#[test]
fn a_member_that_goes_on_its_way_is_waited_for_and_may_be_back_with_what_it_had() {
    for comes_back in [true, false] {
        let mut copies = copies();
        assert_eq!(copies.member_gone(at(1000), A, false), at(2500));
        assert_eq!((copies.is_certain(), copies.next_look()), (false, Some(at(2500))));
        assert_eq!(copies.lost(at(2499)), []);
        assert!(copies.has_changed(), "it may yet be lost");
        if comes_back {
            copies.member_here(A);
            assert!(copies.is_certain());
        }
        let expected = if comes_back { vec![] } else { vec![chunk(0)] };
        assert_eq!(copies.lost(at(2500)), expected);
        assert_eq!(
            (copies.is_certain(), copies.next_look(), copies.has_some(A)),
            (true, None, comes_back)
        );
    }
}

#[test]
fn of_several_that_are_away_the_first_that_is_given_up_is_looked_for_next() {
    let mut copies = copies();
    copies.member_gone(at(1000), B, false);
    copies.member_gone(at(500), A, false);
    assert_eq!(copies.next_look(), Some(at(2000)));
    assert_eq!(
        (copies.lost(at(2000)), copies.next_look()),
        (vec![chunk(0)], Some(at(2500)))
    );
    assert_eq!(copies.lost(at(2500)), [chunk(0), chunk(1), chunk(2)]);
}

#[test]
fn who_holds_nothing_is_not_waited_for() {
    let mut copies = copies();
    copies.member_gone(at(0), HostId::new(9), false);
    assert!(copies.is_certain());
}

#[test]
fn of_a_chunk_four_holders_are_remembered_and_the_oldest_is_forgotten_for_another() {
    let mut copies = Copies::new(2);
    for number in [1, 1, 2, 3, 4] {
        copies.note(HostId::new(number), chunk(0));
    }
    copies.note(A, chunk(1));
    copies.note(HostId::new(5), chunk(0));
    assert!(copies.has_some(A), "it holds another");
    copies.note(HostId::new(6), chunk(0));
    assert!(!copies.has_some(B), "it held nothing else");
    for number in 3..=5 {
        copies.discard(HostId::new(number));
        assert_eq!(copies.lost(at(0)), [], "{number}");
    }
    copies.discard(HostId::new(6));
    assert_eq!(copies.lost(at(0)), [chunk(0)]);
    copies.discard(A);
    assert_eq!(copies.lost(at(0)), [chunk(0), chunk(1)]);
}

#[test]
fn who_is_away_and_has_nothing_left_that_counts_is_not_waited_for_any_more() {
    let mut copies = Copies::new(1);
    copies.note(A, chunk(0));
    copies.member_gone(at(0), A, false);
    for number in 2..=5 {
        assert!(!copies.is_certain());
        copies.note(HostId::new(number), chunk(0));
    }
    assert!(copies.is_certain());
}

#[test]
fn what_is_discarded_counts_as_if_it_had_never_been_held() {
    let mut copies = copies();
    copies.discard(A);
    assert!(copies.has_changed() && !copies.has_some(A));
    assert_eq!(copies.lost(at(0)), [chunk(0)]);
}

#[test]
fn nobody_is_named_as_holder_who_has_gone_for_good() {
    let mut copies = copies();
    assert_eq!(copies.check(|_| true), Ok(()));
    let wrong = "h1 is named as holder of chunk 0, and has gone";
    assert_eq!(copies.check(|host| host != A), Err(wrong.to_owned()));
    copies.member_gone(at(0), A, false);
    assert_eq!(copies.check(|host| host != A), Ok(()), "it is away for a moment");
}
