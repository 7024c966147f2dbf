//! The rules of who is served when, each at the edge where it begins to hold.

use super::*;

const A: HostId = HostId::new(1);
const B: HostId = HostId::new(2);
const C: HostId = HostId::new(3);

fn chunk(index: u32) -> ChunkIndex {
    ChunkIndex::new(index)
}

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

fn queue(slots: usize) -> UploadQueue {
    UploadQueue::new(UploadSlots::fixed(slots))
}

fn push(queue: &mut UploadQueue, now: Time, to: HostId, index: u32, held: u32) {
    assert_eq!(queue.push(now, to, chunk(index), held), Enqueued::Waiting);
}

fn next(queue: &mut UploadQueue, now: Time) -> Option<(HostId, u32)> {
    queue.start_next(now).map(|(to, chunk, _)| (to, chunk.get()))
}

/// A queue in which `host` is served chunks 0 to `count`, and more at a time than there are slots, since each is late.
fn crowded_by(host: HostId, slots: usize) -> UploadQueue {
    let mut queue = queue(slots);
    for index in 0..u32::try_from(slots * ACTIVE_TIMES).unwrap() {
        push(&mut queue, Time::ZERO, host, index, 0);
        let round = u64::from(index) / slots as u64;
        assert_eq!(next(&mut queue, at(2000 * round)), Some((host, index)));
    }
    queue
}

#[test]
fn what_waits_and_what_is_served_are_both_in_the_queue() {
    let mut queue = queue(1);
    assert_eq!(
        (queue.len(), queue.has_waiting(), queue.has_free_slot(at(0))),
        (0, false, true)
    );
    push(&mut queue, at(0), A, 0, 0);
    push(&mut queue, at(0), B, 1, 0);
    assert_eq!(
        (queue.len(), queue.has_waiting(), queue.has_free_slot(at(0))),
        (2, true, false)
    );
    assert_eq!(next(&mut queue, at(5)), Some((A, 0)));
    assert_eq!(
        (queue.len(), queue.has_waiting(), queue.has_free_slot(at(5))),
        (2, true, false)
    );
    for (to, index, is_there) in [(A, 0, true), (B, 1, true), (A, 1, false), (B, 0, false), (C, 0, false)] {
        assert_eq!(queue.contains(to, chunk(index)), is_there, "{index} for {to}");
    }
    let since = [(A, 0), (A, 1), (B, 0), (B, 1)].map(|(to, index)| queue.since(to, chunk(index)));
    assert_eq!(since, [Some(at(5)), None, None, None], "what waits has not begun");
    assert_eq!(queue.cancel(B, chunk(1)), Cancelled::Waiting);
    assert_eq!(
        (queue.len(), queue.has_waiting(), queue.has_free_slot(at(5))),
        (1, false, false)
    );
    assert_eq!(queue.finish(at(7), A, chunk(1)), None, "it is sent another");
    assert_eq!(queue.finish(at(7), B, chunk(0)), None, "another is sent it");
    assert_eq!(
        queue.finish(at(7), A, chunk(0)).map(|served| served.taken),
        Some(Duration::from_millis(2))
    );
    assert_eq!((queue.len(), queue.has_free_slot(at(7))), (0, true));
}

#[test]
fn among_equally_needy_hosts_who_came_first_is_first() {
    let mut queue = queue(3);
    for (to, index) in [(C, 0), (A, 1), (B, 2)] {
        push(&mut queue, at(0), to, index, 4);
    }
    let served: Vec<_> = std::iter::from_fn(|| next(&mut queue, at(0))).collect();
    assert_eq!(served, [(C, 0), (A, 1), (B, 2)]);
}

#[test]
fn a_host_that_is_served_already_comes_after_one_that_holds_far_more() {
    let mut queue = queue(3);
    for (to, index, held) in [(A, 0, 0), (A, 1, 0), (B, 2, 1000), (A, 3, 0)] {
        push(&mut queue, at(0), to, index, held);
    }
    let served: Vec<_> = std::iter::from_fn(|| next(&mut queue, at(0))).collect();
    assert_eq!(served, [(A, 0), (B, 2), (A, 1)], "and no more than there are slots");
}

#[test]
fn each_serving_that_passes_a_host_makes_it_needier_by_a_chunk() {
    for (servings, first) in [(2, B), (3, A), (4, A)] {
        let mut queue = queue(1);
        // Servings before it came do not count.
        for index in 0..5 {
            push(&mut queue, at(0), C, index, 0);
            assert_eq!(next(&mut queue, at(0)), Some((C, index)));
            queue.finish(at(0), C, chunk(index));
        }
        push(&mut queue, at(0), A, 10, 13);
        for index in 20..20 + servings {
            push(&mut queue, at(0), C, index, 0);
            assert_eq!(next(&mut queue, at(0)), Some((C, index)));
            queue.finish(at(0), C, chunk(index));
        }
        push(&mut queue, at(0), B, 30, 10);
        assert_eq!(next(&mut queue, at(0)).unwrap().0, first, "after {servings}");
    }
}

#[test]
fn a_serving_keeps_its_slot_for_two_seconds_at_first_and_four_usual_servings_later() {
    let table: [(&[u64], u64); 5] = [
        (&[], 2000),
        (&[300], 1200),
        // Half a second at least.
        (&[100], 500),
        (&[1000, 1800], 4400),
        // One that takes far longer counts as four usual ones.
        (&[1000, 100_000], 5500),
    ];
    for (taken, late_after) in table {
        let mut queue = queue(1);
        for taken in taken {
            queue.learn(at(*taken), Duration::from_millis(*taken), 1000);
        }
        push(&mut queue, at(0), A, 0, 0);
        push(&mut queue, at(0), B, 1, 0);
        assert_eq!(next(&mut queue, at(10)), Some((A, 0)));
        let late_at = 10 + late_after;
        assert_eq!(queue.next_late(at(11)), Some(at(late_at)), "{taken:?}");
        assert_eq!(queue.next_late(at(late_at)), None, "it is late now");
        assert_eq!(next(&mut queue, at(late_at - 1)), None, "{taken:?}");
        assert_eq!(next(&mut queue, at(late_at)), Some((B, 1)), "{taken:?}");
    }
}

#[test]
fn what_is_usual_is_the_mean_of_the_last_servings() {
    let mut queue = queue(1);
    assert_eq!(queue.serving_time(), Duration::ZERO);
    for (taken, usual) in [(800, 800), (1600, 900), (100, 800), (80_000, 1100)] {
        queue.learn(at(0), Duration::from_millis(taken), 1000);
        assert_eq!(queue.serving_time(), Duration::from_millis(usual), "after {taken} ms");
    }
}

#[test]
fn eight_times_the_slots_are_served_at_most_however_late_they_are() {
    for slots in 1..4 {
        let mut queue = crowded_by(A, slots);
        let full = slots * ACTIVE_TIMES;
        assert_eq!(queue.len(), full);
        assert!(!queue.has_free_slot(at(1_000_000)));
        push(&mut queue, at(0), B, 1000, 0);
        assert_eq!(next(&mut queue, at(1_000_000)), None);
        queue.finish(at(1_000_000), A, chunk(0));
        assert_eq!(next(&mut queue, at(1_000_000)), Some((B, 1000)));
    }
}

#[test]
fn who_takes_no_byte_is_stuck_sooner_where_others_wait_and_nobody_else_can_be_served() {
    // The gaps between bytes of who does take them, who waits, and after how long one is stuck.
    for (gap, waits, stuck_after) in [
        (5000, None, 120_000),
        // It waits for itself.
        (5000, Some(A), 120_000),
        (5000, Some(B), 20_000),
        (10_000, Some(B), 40_000),
        // Two minutes at most, and three seconds at least.
        (40_000, Some(B), 120_000),
        (1, Some(B), 3000),
    ] {
        let mut queue = crowded_by(A, 1);
        queue.gap = Duration::from_millis(gap);
        if let Some(host) = waits {
            push(&mut queue, at(0), host, 1000, 0);
        }
        // The first of its chunks began at zero, and is as old as the last byte that went out.
        let stuck_at = at(stuck_after);
        assert_eq!(queue.next_stuck(), Some(stuck_at), "{gap} {waits:?}");
        assert_eq!(queue.stuck(at(stuck_after - 1)), [], "{gap} {waits:?}");
        assert_eq!(queue.stuck(stuck_at), [A], "{gap} {waits:?}");
    }
}

#[test]
fn one_free_place_and_nobody_is_stuck_for_two_minutes() {
    let mut queue = crowded_by(A, 1);
    push(&mut queue, at(0), B, 1000, 0);
    assert_eq!(queue.stuck(at(20_000)), [A]);
    queue.finish(at(20_000), A, chunk(7));
    assert_eq!(queue.stuck(at(20_000)), []);
    assert_eq!(queue.stuck(at(120_000)), [A]);
}

#[test]
fn the_gap_between_bytes_is_the_longest_of_late_and_fades_by_a_sixteenth() {
    let mut queue = queue(1);
    push(&mut queue, at(0), A, 0, 0);
    next(&mut queue, at(0));
    for (now, gap) in [
        // Five seconds are assumed at first.
        (1000, 4687.5),
        (9000, 8000.0),
        (9000, 7500.0),
        (16_500, 7500.0),
    ] {
        queue.progress(at(now), B);
        queue.progress(at(now), A);
        assert_eq!(queue.gap, Duration::from_secs_f64(gap / 1000.0), "at {now}");
    }
}

#[test]
fn a_queue_is_looked_at_when_somebody_is_late_or_stuck_and_it_matters() {
    let mut queue = queue(1);
    assert_eq!(queue.next_look(at(0)), None, "nobody is served");
    push(&mut queue, at(0), A, 0, 0);
    next(&mut queue, at(0));
    assert_eq!(queue.next_look(at(0)), Some(at(120_000)), "nobody waits for its slot");
    push(&mut queue, at(0), B, 1, 0);
    assert_eq!(queue.next_look(at(0)), Some(at(2000)), "somebody does");
    assert_eq!(queue.next_look(at(2000)), Some(at(120_000)), "it is late already");
    let mut crowded = crowded_by(A, 1);
    push(&mut crowded, at(0), B, 1000, 0);
    // The last of its chunks began at 14 s and is late at 16; the first one is stuck at 20.
    assert_eq!(crowded.next_look(at(15_000)), Some(at(16_000)));
    crowded.gap = Duration::from_millis(3750);
    assert_eq!(crowded.next_look(at(14_500)), Some(at(15_000)), "whichever comes first");
}

#[test]
fn who_was_stuck_comes_after_all_others_for_half_a_minute_and_twice_as_long_each_time() {
    let mut queue = queue(1);
    let mut now = 0;
    for seconds in [30, 60, 120, 240, 480, 600, 600] {
        queue.park(at(now), A);
        for (millis, first) in [(seconds * 1000 - 1, B), (seconds * 1000, A)] {
            let then = at(now + millis);
            push(&mut queue, then, A, 0, 0);
            push(&mut queue, then, B, 0, 100);
            let (to, index) = next(&mut queue, then).unwrap();
            assert_eq!(to, first, "{millis} ms after it was parked for {seconds} s");
            queue.finish(then, to, chunk(index));
            queue.cancel(A, chunk(0));
            queue.cancel(B, chunk(0));
        }
        now += 1_000_000;
    }
    // Another one begins anew.
    queue.park(at(now), B);
    push(&mut queue, at(now + 30_000), A, 0, 100);
    push(&mut queue, at(now + 30_000), B, 0, 0);
    assert_eq!(next(&mut queue, at(now + 30_000)), Some((B, 0)));
}

#[test]
fn of_those_that_were_stuck_the_last_sixty_four_are_remembered() {
    let mut queue = queue(1);
    for host in 0..=64 {
        queue.park(at(0), HostId::new(host));
    }
    for (host, is_remembered) in [(0, false), (1, true), (64, true)] {
        push(&mut queue, at(1), HostId::new(host), 0, 0);
        push(&mut queue, at(1), HostId::new(99), 0, 1);
        let (to, _) = next(&mut queue, at(1)).unwrap();
        assert_eq!(to == HostId::new(99), is_remembered, "{host}");
        for host in [host, 99] {
            queue.remove_host(HostId::new(host));
        }
    }
}

#[test]
fn who_goes_leaves_nothing_behind_and_takes_nothing_of_others() {
    let mut queue = queue(2);
    for (to, index) in [(A, 0), (B, 0), (A, 1), (B, 1)] {
        push(&mut queue, at(0), to, index, 0);
    }
    next(&mut queue, at(0));
    next(&mut queue, at(0));
    queue.remove_host(A);
    for (to, index, is_there) in [(A, 0, false), (A, 1, false), (B, 0, true), (B, 1, true)] {
        assert_eq!(queue.contains(to, chunk(index)), is_there, "{index} for {to}");
    }
}

#[test]
fn a_chunk_that_is_lost_is_taken_from_who_waits_and_its_servings_end() {
    let mut queue = queue(2);
    for (to, index) in [(A, 7), (B, 1), (C, 7), (C, 2)] {
        push(&mut queue, at(0), to, index, 0);
    }
    assert_eq!(next(&mut queue, at(0)), Some((A, 7)));
    assert_eq!(next(&mut queue, at(0)), Some((B, 1)));
    assert_eq!(queue.remove_chunk(chunk(7)), (vec![C], vec![A]));
    assert!(queue.contains(A, chunk(7)) && !queue.contains(C, chunk(7)) && queue.contains(C, chunk(2)));
    assert_eq!(queue.finish(at(9), A, chunk(7)), None, "its time says nothing");
    assert_eq!(
        queue.finish(at(9), B, chunk(1)).map(|served| served.taken),
        Some(Duration::from_millis(9)),
        "another's does"
    );
}

#[test]
fn a_serving_that_is_cancelled_stops_and_others_go_on() {
    let mut queue = queue(3);
    for (to, index) in [(A, 0), (B, 0), (A, 1)] {
        push(&mut queue, at(0), to, index, 0);
        next(&mut queue, at(0));
    }
    assert_eq!(queue.cancel(A, chunk(0)), Cancelled::Active);
    assert_eq!(queue.finish(at(4), A, chunk(0)), None);
    assert_eq!(
        queue.finish(at(4), B, chunk(0)).map(|served| served.taken),
        Some(Duration::from_millis(4))
    );
    assert_eq!(
        queue.finish(at(4), A, chunk(1)).map(|served| served.taken),
        Some(Duration::from_millis(4))
    );
    assert_eq!(queue.cancel(A, chunk(1)), Cancelled::Unknown);
}

#[test]
fn a_full_queue_takes_a_request_of_who_would_still_have_fewer_than_another() {
    let each = u32::try_from(UPLOAD_QUEUE_PER_HOST_MAX).unwrap();
    let many = u64::try_from(UPLOAD_QUEUE_MAX / UPLOAD_QUEUE_PER_HOST_MAX).unwrap();
    // The host that asks, how many of its requests waited, and whether one more may.
    for (asks_before, is_taken) in [(0, true), (each - 2, true), (each - 1, false)] {
        let mut queue = queue(1);
        for index in 0..asks_before {
            push(&mut queue, at(0), A, index, 0);
        }
        let mut room = UPLOAD_QUEUE_MAX - asks_before as usize;
        for host in 100..=100 + many {
            for index in 0..each.min(u32::try_from(room).unwrap()) {
                push(&mut queue, at(0), HostId::new(host), index, 0);
                room -= 1;
            }
        }
        let taken = matches!(queue.push(at(0), A, chunk(99), 0), Enqueued::InPlaceOf(..));
        assert_eq!(taken, is_taken, "{asks_before} wait already");
        assert_eq!(queue.len(), UPLOAD_QUEUE_MAX);
    }
}

#[test]
fn the_rate_of_the_uplink_is_seen_from_when_it_begins_to_when_it_rests() {
    let mut queue = UploadQueue::new(UploadSlots::measured());
    assert_eq!((queue.rate(), queue.slots()), (0, 1));
    queue.set_chunks(640);
    for index in 0..4 {
        push(&mut queue, at(0), A, index, 0);
        // It rests for as long as it sends: a second each.
        next(&mut queue, at(2000 * u64::from(index)));
        let taken = queue
            .finish(at(2000 * u64::from(index) + 1000), A, chunk(index))
            .unwrap()
            .taken;
        queue.learn(at(2000 * u64::from(index) + 1000), taken, 5000);
    }
    assert_eq!(queue.rate(), 5000);
    assert_eq!(queue.slots(), 1, "alone it fills the uplink");
}

#[test]
fn bytes_have_moved_of_what_is_being_sent_only_and_servings_that_are_late_are_counted() {
    let mut queue = queue(2);
    for (to, index) in [(A, 0), (B, 1)] {
        push(&mut queue, at(0), to, index, 0);
        next(&mut queue, at(100));
    }
    push(&mut queue, at(0), C, 2, 0);
    queue.progress(at(700), A);
    let moved = [(A, 0), (B, 1), (C, 2), (A, 1), (B, 0)].map(|(to, index)| queue.moved_at(to, chunk(index)));
    assert_eq!(moved, [Some(at(700)), Some(at(100)), None, None, None]);
    // B has moved nothing for two seconds; A is given two more since its last byte.
    assert_eq!([2099, 2100, 2699, 2700].map(|now| queue.late(at(now))), [0, 1, 1, 2]);
}

#[test]
fn where_others_wait_and_the_uplink_is_not_full_one_more_is_sent_at_a_time() {
    for (chunks, waits, expected) in [(3000, true, 3), (3000, false, 1), (1, true, 2)] {
        let mut queue = UploadQueue::new(UploadSlots::measured());
        queue.set_chunks(chunks);
        if waits {
            push(&mut queue, at(0), B, 0, 0);
        }
        queue.slots.begins(at(0));
        queue.learn(at(1), Duration::from_millis(1), 1_000_000);
        for second in 1..20 {
            queue.learn(at(second * 1000), Duration::from_secs(1), 1);
        }
        assert!(
            queue.slots() >= expected && (expected > 2 || queue.slots() == expected),
            "{chunks} {waits}: {}",
            queue.slots()
        );
    }
}
