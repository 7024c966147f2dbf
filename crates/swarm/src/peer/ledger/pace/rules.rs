//! What is learned of how long things take, each rule by its figures.

use super::*;

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn pace(round_trip: u64) -> Pace {
    Pace::new(Duration::from_secs(2), millis(round_trip))
}

#[test]
fn between_two_chunks_is_the_first_gap_and_then_each_counts_for_a_sixteenth() {
    let mut pace = pace(1);
    for (now, micros) in [(100, 0), (260, 160_000), (420, 160_000), (740, 170_000), (740, 159_375)] {
        pace.completed(at(now), at(0), None);
        assert_eq!(pace.between(), Duration::from_micros(micros), "at {now}");
    }
}

#[test]
fn a_round_trip_is_what_passes_but_for_the_wait_and_each_counts_for_a_sixteenth() {
    let mut pace = pace(0);
    for (after, waited, micros) in [
        (50, None, 0),
        // The first is taken as it is.
        (50, Some(34), 16_000),
        (40, Some(8), 17_000),
        // One that is far out counts as four times the mean.
        (10_000, Some(0), 20_187),
        (5, Some(9), 18_925),
    ] {
        pace.begun(millis(after), waited.map(millis));
        let seen = pace.round_trip().as_micros();
        assert!(
            seen.abs_diff(micros) <= 1,
            "{seen} and not {micros} after {after} and {waited:?}"
        );
    }
}

/// A host whose link fell to a hundredth before its first chunk asked everybody again each second, and for ever.
#[test]
fn before_the_first_chunk_sixteen_that_are_late_double_the_time_that_requests_take_up_to_sixty_four_times() {
    let mut pace = pace(1);
    let limits = |pace: &Pace| {
        let limits = pace.limits();
        [limits.wait_max, limits.begin_max, limits.silence_max, limits.patience]
    };
    let usual = limits(&pace);
    for (late, times) in [(15, 1), (1, 2), (32, 8), (1000, 64)] {
        pace.are_late(late);
        assert_eq!(limits(&pace), usual.map(|nanos| times * nanos));
    }
    pace.completed(at(1100), at(0), Some(at(20)));
    let known = limits(&pace);
    pace.are_late(1000);
    assert_eq!(limits(&pace), known, "who stalls wins nothing by it");
}

/// Builds of 64 MiB on links of 10 Gbit/s: nobody asked a second one for the last chunks, and who did not send one was late after 180 ms.
#[test]
fn a_chunk_as_fast_as_messages_is_slow_when_hardly_any_takes_as_long_and_two_round_trips_have_passed() {
    for (round_trip, slow_after) in [(15, 24), (16, 24), (17, 2 * 17 + 32), (100, 2 * 100 + 32)] {
        let mut pace = Pace::new(Duration::from_secs(2), millis(round_trip));
        assert_eq!(pace.slow_after(), None, "nothing has come");
        (0..100).for_each(|_| pace.completed(at(1000), at(0), Some(at(984))));
        let seen = pace.slow_after().unwrap();
        assert!(
            seen.abs_diff(millis(slow_after)) < Duration::from_micros(100),
            "{seen:?} and not {slow_after} ms"
        );
    }
}

/// Several were asked for a chunk, and the fastest of them taught how long chunks take: all others were late, and each was asked of more.
#[test]
fn first_bytes_that_come_late_teach_how_long_who_has_begun_may_be_silent() {
    let mut pace = Pace::new(Duration::from_secs(2), millis(1));
    (0..100).for_each(|_| pace.completed(at(1000), at(0), Some(at(950))));
    let before = pace.limits().begin_max;
    assert_eq!(before, LATE_LEAST_NANOS);
    (0..20).for_each(|_| pace.pays(millis(300)));
    let after = pace.limits().begin_max;
    assert!((600_000_000..1_500_000_000).contains(&after), "{after}");
}

#[test]
fn the_shortest_of_the_last_eight_waits_is_what_a_tie_is_measured_by() {
    let mut pace = pace(1);
    (0..12).for_each(|_| pace.completed(at(1000), at(0), Some(at(968))));
    assert!(pace.may_tie(), "a chunk takes 32 ms, a message one");
    for count in 1..=8 {
        pace.begun(millis(3), None);
        assert_eq!(pace.may_tie(), count < 8, "after {count}");
    }
    pace.begun(millis(2), None);
    assert!(pace.may_tie());
    for count in 1..=8 {
        pace.begun(millis(3), None);
        assert_eq!(pace.may_tie(), count < 8, "after {count} more");
    }
}

#[test]
fn ties_count_as_chunks_that_went_well() {
    let mut pace = pace(1);
    (0..10).for_each(|_| pace.completed(at(1000), at(0), Some(at(900))));
    for ties in 0..2 {
        assert!(!pace.may_tie(), "{ties}");
        pace.tied();
    }
    assert!(pace.may_tie(), "twelve");
}

#[test]
fn as_many_may_be_on_their_way_twice_as_a_64th_of_the_build_and_four() {
    for (chunks, twice, left) in [(0, 0, 4), (63, 0, 4), (64, 0, 5), (640, 3, 11), (64, 5, 0), (64, 9, 0)] {
        let mut pace = pace(1);
        (0..twice).for_each(|_| pace.twice_on_its_way());
        assert_eq!(pace.twice_left(chunks), left, "{chunks} {twice}");
    }
}

#[test]
fn a_chunk_is_slow_when_it_takes_half_as_long_again_as_usual() {
    let mut pace = pace(1);
    assert_eq!((pace.transfer(), pace.slow_after()), (None, None));
    pace.completed(at(500), at(0), Some(at(100)));
    assert_eq!(
        (pace.transfer(), pace.slow_after()),
        (Some(millis(400)), Some(millis(600)))
    );
}

/// Whoever sends nothing says soon that it begins, or after long: that is neither what neighbours take that send.
#[test]
fn to_say_that_one_begins_teaches_no_patience() {
    let mut pace = pace(1);
    (0..20).for_each(|_| pace.completed(at(150), at(0), Some(at(50))));
    let wait_max = pace.wait_max();
    (0..20).for_each(|_| pace.begun(Duration::from_secs(30), None));
    assert_eq!(pace.wait_max(), wait_max);
}

/// What waits least is here first, and says little of what others wait.
#[test]
fn of_the_first_few_chunks_no_haste_is_learned() {
    let mut pace = pace(1);
    (1..HASTE_FROM).for_each(|_| pace.completed(at(10), at(0), Some(at(1))));
    assert_eq!(pace.wait_max(), Duration::from_nanos(LATE_LEAST_NANOS));
    pace.completed(at(10), at(0), Some(at(1)));
    assert_eq!(pace.wait_max(), Duration::from_millis(50));
}

#[test]
fn in_the_beginning_what_passes_between_two_is_that_of_the_last_few() {
    let mut pace = Pace::new(Duration::from_secs(2), millis(1));
    let mut now = 0;
    for _ in 0..4 {
        now += 160;
        pace.completed(at(now), at(now - 20), None);
    }
    assert_eq!(pace.between(), Duration::from_millis(160));
    for _ in 0..4 {
        now += 10;
        pace.completed(at(now), at(now - 20), None);
    }
    assert_eq!(pace.between(), Duration::from_millis(10), "ten times as fast at once");
    (0..60).for_each(|_| {
        now += 160;
        pace.completed(at(now), at(now - 20), None);
    });
    let before = pace.between();
    for _ in 0..4 {
        now += 10;
        pace.completed(at(now), at(now - 20), None);
    }
    assert!(pace.between() > before / 2, "and later not: {:?}", pace.between());
}

/// On a machine that is busy everybody's messages wait.
#[test]
fn who_is_woken_late_gives_four_times_that_until_it_is_woken_in_time_again() {
    let mut pace = pace(1);
    let all = |pace: &Pace| {
        let Limits {
            patience,
            wait_max,
            begin_max,
            silence_max,
            transfer_max,
            given_up,
        } = pace.limits();
        ([patience, wait_max, begin_max, silence_max, transfer_max], given_up)
    };
    let (before, given_up) = all(&pace);
    pace.woken_late(millis(100));
    let more = before.map(|nanos| nanos + 400_000_000);
    assert_eq!(all(&pace), (more, given_up), "what moves is given up as ever");
    // The most of late counts, and fades by a quarter each time.
    pace.woken_late(millis(40));
    assert_eq!(all(&pace).0, before.map(|nanos| nanos + 300_000_000));
    pace.woken_late(millis(80));
    assert_eq!(all(&pace).0, before.map(|nanos| nanos + 320_000_000));
    (0..100).for_each(|_| pace.woken_late(Duration::ZERO));
    assert_eq!(all(&pace), (before, given_up));
}
