use super::*;

fn chunk(index: u32) -> ChunkIndex {
    ChunkIndex::new(index)
}

/// Who is served next, and with what.
fn next(queue: &mut UploadQueue, now: Time) -> Option<(HostId, ChunkIndex)> {
    queue.start_next(now).map(|(to, chunk, _)| (to, chunk))
}

#[test]
fn who_waited_is_told_how_long() {
    let mut queue = UploadQueue::new(UploadSlots::fixed(1));
    let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
    queue.push(at(5), HostId::new(1), chunk(0), 0);
    queue.push(at(6), HostId::new(2), chunk(1), 1);
    assert_eq!(queue.start_next(at(5)), Some((HostId::new(1), chunk(0), Waited::NONE)));
    queue.finish(at(40), HostId::new(1), chunk(0));
    let waited = Waited::of(Duration::from_millis(34));
    assert_eq!(queue.start_next(at(40)), Some((HostId::new(2), chunk(1), waited)));
}

#[test]
fn the_neediest_host_is_served_first_and_slots_are_bounded() {
    let mut queue = UploadQueue::new(UploadSlots::fixed(2));
    let (rich, poor, poorer) = (HostId::new(1), HostId::new(2), HostId::new(3));
    assert_eq!(queue.push(Time::ZERO, rich, chunk(0), 10), Enqueued::Waiting);
    assert_eq!(queue.push(Time::ZERO, poor, chunk(0), 5), Enqueued::Waiting);
    assert_eq!(queue.push(Time::ZERO, poorer, chunk(0), 1), Enqueued::Waiting);
    assert_eq!(queue.push(Time::ZERO, poorer, chunk(0), 1), Enqueued::Duplicate);
    assert_eq!(next(&mut queue, Time::ZERO), Some((poorer, chunk(0))));
    assert_eq!(queue.push(Time::ZERO, poorer, chunk(1), 1), Enqueued::Waiting);
    // Being served already, the poorest waits behind the others.
    assert_eq!(next(&mut queue, Time::ZERO), Some((poor, chunk(0))));
    assert_eq!(next(&mut queue, Time::ZERO), None);
    assert!(queue.finish(Time::ZERO, poorer, chunk(0)).is_some());
    assert_eq!(next(&mut queue, Time::ZERO), Some((poorer, chunk(1))));
}

#[test]
fn who_takes_nothing_gives_way_to_those_who_wait_and_comes_after_them() {
    let mut queue = UploadQueue::new(UploadSlots::fixed(1));
    let at = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
    let (bad, good) = (HostId::new(1), HostId::new(2));
    for index in 0..8 {
        queue.push(Time::ZERO, bad, chunk(index), 0);
    }
    // Each is late after two seconds, and then the next one begins.
    for index in 0..8 {
        assert_eq!(next(&mut queue, at(2 * u64::from(index))), Some((bad, chunk(index))));
    }
    assert_eq!(queue.stuck(at(17)), [], "nobody waits for what it keeps");
    queue.push(Time::ZERO, good, chunk(0), 9);
    assert_eq!(next(&mut queue, at(17)), None, "as many are served as may be");
    queue.progress(at(2), bad);
    assert_eq!(queue.stuck(at(17)), [], "nobody knows how fast bytes go out");
    (0..100).for_each(|_| queue.progress(at(2), bad));
    assert_eq!(queue.next_look(at(17)), Some(at(5)));
    assert_eq!(queue.stuck(at(17)), [bad]);
    queue.park(at(17), bad);
    queue.remove_host(bad);
    assert_eq!(next(&mut queue, at(17)), Some((good, chunk(0))));
    queue.push(Time::ZERO, bad, chunk(0), 0);
    queue.push(Time::ZERO, good, chunk(1), 10);
    assert_eq!(
        next(&mut queue, at(20)),
        Some((good, chunk(1))),
        "it is late, and not the one that was stuck"
    );
    assert_eq!(
        queue.finish(at(21), good, chunk(1)).map(|served| served.taken),
        Some(Duration::from_secs(1))
    );
    queue.finish(at(21), good, chunk(0));
    assert_eq!(next(&mut queue, at(22)), Some((bad, chunk(0))), "there is nobody else");
    queue.finish(at(22), bad, chunk(0));
    queue.push(Time::ZERO, bad, chunk(1), 0);
    queue.push(Time::ZERO, good, chunk(2), 11);
    assert_eq!(
        next(&mut queue, at(17) + PARKED_FIRST),
        Some((bad, chunk(1))),
        "it passes"
    );
}

#[test]
fn who_fills_the_queue_makes_room_for_those_with_fewer_requests() {
    let mut queue = UploadQueue::new(UploadSlots::fixed(1));
    let many = (UPLOAD_QUEUE_MAX / UPLOAD_QUEUE_PER_HOST_MAX) as u64;
    let each = u32::try_from(UPLOAD_QUEUE_PER_HOST_MAX).unwrap();
    for host in 0..many {
        for index in 0..each {
            assert_eq!(
                queue.push(Time::ZERO, HostId::new(host), chunk(index), 0),
                Enqueued::Waiting
            );
        }
    }
    let newcomer = HostId::new(1000);
    let last = HostId::new(many - 1);
    assert_eq!(
        queue.push(Time::ZERO, newcomer, chunk(0), 5),
        Enqueued::InPlaceOf(last, chunk(each - 1))
    );
    assert_eq!(
        queue.push(Time::ZERO, HostId::new(0), chunk(99), 0),
        Enqueued::Full,
        "it has as many as may be"
    );
    for index in 1..each {
        queue.push(Time::ZERO, newcomer, chunk(index), 5);
    }
    let of_newcomer = queue.waiting.iter().filter(|waiting| waiting.to == newcomer).count();
    assert_eq!(
        of_newcomer,
        UPLOAD_QUEUE_PER_HOST_MAX - 1,
        "all have as many as another"
    );
}

#[test]
fn who_waits_is_not_passed_for_ever() {
    let mut queue = UploadQueue::new(UploadSlots::fixed(1));
    queue.push(Time::ZERO, HostId::new(1), chunk(0), 5);
    let mut before = 0;
    for newcomer in 2..100 {
        queue.push(Time::ZERO, HostId::new(newcomer), chunk(0), 0);
        let (to, index) = next(&mut queue, Time::ZERO).unwrap();
        queue.finish(Time::ZERO, to, index);
        if to == HostId::new(1) {
            break;
        }
        before += 1;
    }
    assert_eq!(before, 5);
}

#[test]
fn who_takes_bytes_is_not_stuck_but_has_its_slot_for_a_while_only() {
    let mut queue = UploadQueue::new(UploadSlots::fixed(1));
    let (slow, other) = (HostId::new(1), HostId::new(2));
    let at = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
    queue.push(Time::ZERO, slow, chunk(0), 0);
    queue.push(Time::ZERO, other, chunk(1), 0);
    assert_eq!(next(&mut queue, at(0)), Some((slow, chunk(0))));
    for second in 0..300 {
        queue.progress(at(second), slow);
        assert_eq!(queue.stuck(at(second)), []);
    }
    assert_eq!(next(&mut queue, at(300)), Some((other, chunk(1))));
    assert_eq!(queue.next_stuck(), Some(at(299) + UPLOAD_STUCK_AFTER));
    assert_eq!(queue.stuck(at(419)), [slow]);
    queue.learn(at(419), Duration::from_secs(1), 1);
    assert_eq!(queue.next_late(at(300)), Some(at(304)), "four times what is usual");
    queue.learn(at(719), Duration::from_secs(300), 1);
    assert!(
        queue.next_late(at(300)) < Some(at(306)),
        "one slow receiver does not change what is usual"
    );
}

/// Two chunks of 64 MiB are under way for half a minute over a link of 100 Mbit/s, and were late after two seconds: others began beside
/// them, until a dozen shared the link and none ended for minutes.
#[test]
fn what_moves_over_a_link_that_nobody_knows_yet_is_not_late_before_long() {
    let mut queue = UploadQueue::new(UploadSlots::fixed(2));
    let at = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
    for number in 0..20 {
        queue.push(Time::ZERO, HostId::new(number), chunk(0), 0);
    }
    let mut begun = Vec::new();
    for second in 0..=40 {
        while let Some((to, _)) = next(&mut queue, at(second)) {
            begun.push((second, to.get()));
        }
        // The first moves no byte.
        begun[1..]
            .iter()
            .for_each(|(_, to)| queue.progress(at(second), HostId::new(*to)));
    }
    assert_eq!(begun, [(0, 0), (0, 1), (2, 2), (20, 3), (22, 4)]);
}

/// Over a slow link a second chunk waits behind the first, and moves no byte for as long as that takes.
#[test]
fn who_takes_one_chunk_is_not_stuck_with_the_next() {
    let mut queue = UploadQueue::new(UploadSlots::fixed(2));
    let slow = HostId::new(1);
    let at = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
    for index in 0..2 {
        queue.push(Time::ZERO, slow, chunk(index), 0);
        assert!(next(&mut queue, at(0)).is_some());
    }
    queue.progress(at(100), slow);
    assert_eq!(queue.stuck(at(200)), []);
    assert_eq!(queue.stuck(at(220)), [slow]);
}

#[test]
fn one_host_cannot_fill_the_queue() {
    let mut queue = UploadQueue::new(UploadSlots::fixed(1));
    let results: Vec<_> = (0..100)
        .map(|i| queue.push(Time::ZERO, HostId::new(1), chunk(i), 0))
        .collect();
    assert_eq!(
        results.iter().filter(|r| **r == Enqueued::Waiting).count(),
        UPLOAD_QUEUE_PER_HOST_MAX
    );
    assert_eq!(queue.push(Time::ZERO, HostId::new(2), chunk(0), 0), Enqueued::Waiting);
}

#[test]
fn what_is_asked_for_again_while_it_is_served_is_served_again() {
    let mut queue = UploadQueue::new(UploadSlots::fixed(2));
    let host = HostId::new(1);
    queue.push(Time::ZERO, host, chunk(0), 0);
    assert_eq!(next(&mut queue, Time::ZERO), Some((host, chunk(0))));
    assert_eq!(queue.push(Time::ZERO, host, chunk(0), 0), Enqueued::Waiting);
    assert_eq!(queue.push(Time::ZERO, host, chunk(0), 0), Enqueued::Duplicate);
    assert_eq!(next(&mut queue, Time::ZERO), None, "never twice at a time");
    assert!(queue.finish(Time::ZERO, host, chunk(0)).is_some());
    assert_eq!(next(&mut queue, Time::ZERO), Some((host, chunk(0))));
    queue.push(Time::ZERO, host, chunk(0), 0);
    assert_eq!(queue.cancel(host, chunk(0)), Cancelled::Active);
    assert_eq!(
        queue.finish(Time::ZERO, host, chunk(0)),
        None,
        "it was not sent to its end"
    );
    assert_eq!(next(&mut queue, Time::ZERO), None, "both were cancelled");
}

#[test]
fn a_cancelled_request_frees_its_place() {
    let mut queue = UploadQueue::new(UploadSlots::fixed(1));
    let host = HostId::new(1);
    queue.push(Time::ZERO, host, chunk(0), 0);
    queue.push(Time::ZERO, host, chunk(1), 0);
    next(&mut queue, Time::ZERO);
    assert_eq!(queue.cancel(host, chunk(0)), Cancelled::Active);
    assert_eq!(queue.cancel(host, chunk(1)), Cancelled::Waiting);
    assert_eq!(queue.cancel(host, chunk(1)), Cancelled::Unknown);
    queue.remove_host(host);
    assert_eq!(queue.next_stuck(), None);
}
