//! What the book of requests notices when it is broken.

use super::*;

const A: HostId = HostId::new(1);

fn requests(asked: &[(u64, u32)]) -> Requests {
    let mut requests = Requests::default();
    for (from, index) in asked.iter().copied() {
        requests.list.push(Request {
            chunk: ChunkIndex::new(index),
            from: HostId::new(from),
            asked_at: Time::ZERO,
            progress_at: Time::ZERO,
            state: State::Asked,
            late: false,
            reported: false,
            trickles: false,
            again: false,
            struck: false,
            after: 0,
        });
    }
    requests.count();
    requests
}

#[test]
fn a_request_made_twice_of_more_than_two_or_not_counted_is_told_of() {
    for (asked, expected) in [
        (&[(1, 7), (2, 7), (1, 8), (2, 8)][..], None),
        (&[(1, 7), (2, 8), (1, 7)], Some("h1 is asked for chunk 7 twice")),
        (&[(1, 7), (2, 7), (3, 7)], Some("chunk 7 is asked of more than 2")),
    ] {
        let broken = requests(asked).check().err();
        assert_eq!(broken.as_deref(), expected, "{asked:?}");
    }
    for slow in [
        |request: &mut Request| request.late = true,
        |request: &mut Request| request.trickles = true,
    ] {
        let mut requests = requests(&[(1, 7), (2, 7), (3, 7)]);
        requests.list.iter_mut().take(1).for_each(slow);
        requests.count();
        assert_eq!(requests.check(), Ok(()), "who is slow with it does not count");
        requests.list.clear();
        assert!(requests.check().unwrap_err().contains("and not"));
    }
}

#[test]
fn requests_are_late_or_slow_only_where_they_are() {
    let mut requests = requests(&[(1, 7), (1, 8)]);
    assert!(!requests.has_late() && !requests.has_overdue());
    requests.list[0].trickles = true;
    requests.count();
    assert_eq!(
        (
            requests.has_late(),
            requests.late_chunks(),
            requests.late_sources(ChunkIndex::new(7))
        ),
        (true, 1, 1)
    );
    assert_eq!((requests.outstanding(A), requests.chunks_in_flight()), (2, 2));
}

#[test]
fn only_of_what_moves_and_is_given_up_more_is_borne_the_next_time() {
    let bears_more = |moves: bool| {
        let mut requests = requests(&[(1, 7)]);
        let mut pace = Pace::new(std::time::Duration::from_secs(2), std::time::Duration::from_millis(1));
        let before = pace.limits().given_up;
        let now = Time::ZERO.plus_nanos(before);
        requests.list[0].state = State::Sending {
            since: Time::ZERO,
            paid: true,
        };
        requests.list[0].progress_at = if moves { now } else { Time::ZERO };
        requests.count();
        assert_eq!(requests.expire(now, &mut pace).requests, 1);
        pace.limits().given_up > before
    };
    assert_eq!([true, false].map(bears_more), [true, false]);
}

#[test]
fn that_a_neighbour_begins_says_how_long_the_request_waited_and_payload_says_nothing() {
    use crate::wire::Waited;
    let waited = std::time::Duration::from_millis(7);
    assert_eq!(Sign::Begins(Waited::of(waited)).waited(), Some(waited));
    assert_eq!(Sign::Payload.waited(), None);
}

/// All that hold a chunk may have long queues, and each that is asked in vain makes them longer. Who has never delivered may be a liar.
#[test]
fn each_that_was_late_with_a_chunk_doubles_the_time_of_the_next_and_those_that_never_delivered_once() {
    let times = |have_delivered: bool| {
        let mut pace = Pace::new(
            std::time::Duration::from_secs(1000),
            std::time::Duration::from_millis(1),
        );
        let mut requests = Requests::default();
        if have_delivered {
            requests.delivered = (0..7).map(HostId::new).collect();
        }
        let (mut now, mut times) = (Time::ZERO, Vec::new());
        for index in 0..7 {
            requests.ask(now, HostId::new(index), ChunkIndex::new(7), false);
            let request = *requests.list.last().unwrap();
            let limits = pace.limits();
            let late_at = |state| Request { state, ..request }.late_at(&limits);
            let times_of = |state, usual: u64| late_at(state).since(now).as_nanos() / u128::from(usual);
            let sending = |paid| State::Sending { since: now, paid };
            times.push((
                times_of(State::Asked, limits.wait_max),
                times_of(sending(false), limits.begin_max),
                times_of(sending(true), limits.silence_max),
            ));
            now = request.late_at(&limits);
            requests.mark_late(now, &mut pace);
        }
        requests.ask(now, HostId::new(1), ChunkIndex::new(8), false);
        assert_eq!(
            requests.list.last().unwrap().after,
            0,
            "with another chunk nobody was late"
        );
        times
    };
    let doubled = |times: [u128; 7]| times.map(|times| (times, times, 1));
    assert_eq!(
        times(true),
        doubled([1, 2, 4, 8, 16, 16, 16]),
        "who sends is not given more"
    );
    assert_eq!(times(false), doubled([1, 2, 2, 2, 2, 2, 2]));
}
