//! The rules by which the number of chunks that are sent at a time moves, each at the edge where it begins to hold.

use super::*;

/// An uplink whose slots are looked at again and again.
struct Uplink {
    slots: UploadSlots,
    now: Time,
}

impl Uplink {
    fn new(mut slots: UploadSlots, chunks: u32) -> Self {
        slots.set_chunks(chunks);
        slots.begins(Time::ZERO);
        Self { slots, now: Time::ZERO }
    }

    /// A host's, whose greatest rate was a million bytes a second.
    fn of_host(chunks: u32) -> Self {
        let mut uplink = Self::new(UploadSlots::measured(), chunks);
        assert_eq!(uplink.look(1_000_000, true), 1);
        uplink
    }

    /// So many bytes leave in a second, in as many chunks as it takes to look. How many may be sent at a time then.
    fn look(&mut self, rate: u64, others_wait: bool) -> usize {
        self.now = self.now + Duration::from_secs(1);
        let chunks = 2 * self.slots.get() as u64 + 2;
        for chunk in 0..chunks {
            let bytes = rate / chunks + if chunk == 0 { rate % chunks } else { 0 };
            self.slots.learn(self.now, bytes, Duration::from_secs(1), others_wait);
        }
        self.slots.get()
    }

    /// A look at which the uplink is full to so many thousandths of what it was, which has faded by then.
    fn filled_to(&mut self, thousandths: u64, others_wait: bool) -> usize {
        let best = self.slots.rate() - self.slots.rate() / 256;
        self.look((best * thousandths).div_ceil(1000), others_wait)
    }
}

#[test]
fn below_93_percent_of_the_greatest_rate_there_is_one_more_and_from_98_on_one_fewer() {
    for (thousandths, others_wait, expected) in [
        (500, true, 4),
        (929, true, 4),
        (929, false, 3),
        (930, true, 3),
        (979, true, 3),
        (980, true, 2),
        (980, false, 2),
        (1200, true, 2),
    ] {
        let mut uplink = Uplink::of_host(640);
        assert_eq!([500, 500].map(|filled| uplink.filled_to(filled, true)), [2, 3]);
        assert_eq!(
            uplink.filled_to(thousandths, others_wait),
            expected,
            "{thousandths} {others_wait}"
        );
    }
}

#[test]
fn a_host_sends_at_least_one_and_at_most_what_the_build_allows() {
    for (chunks, most) in [
        (1, 2),
        (64, 2),
        (80, 2),
        (81, 3),
        (640, 8),
        (899, 9),
        (900, 10),
        (1_000_000, 10),
    ] {
        let mut uplink = Uplink::of_host(chunks);
        assert_eq!(uplink.filled_to(1000, true), 1);
        let numbers: Vec<usize> = (0..18).map(|_| uplink.filled_to(500, true)).collect();
        let expected: Vec<usize> = (2..20).map(|number: usize| number.min(most)).collect();
        assert_eq!(numbers, expected, "{chunks} chunks");
    }
}

#[test]
fn where_a_host_receives_faster_than_it_sends_fewer_at_a_time_are_enough() {
    // A downlink in thousandths of the uplink, as far as it was seen, and what is enough of the eight that a build of 640 chunks allows.
    for (downlink, enough) in [
        (0, 8),
        (1000, 8),
        (1114, 8),
        (1120, 8),
        (1134, 7),
        (1180, 6),
        (1350, 4),
        (1600, 3),
        (1790, 3),
        (1810, 2),
        (1_000_000, 2),
    ] {
        let mut uplink = Uplink::of_host(640);
        let numbers: Vec<usize> = (0..9)
            .map(|_| {
                uplink.slots.set_downlink(uplink.slots.rate() * downlink / 1000);
                uplink.filled_to(800, true)
            })
            .collect();
        let expected: Vec<usize> = (2..11).map(|number: usize| number.min(enough)).collect();
        assert_eq!(numbers, expected, "{downlink}");
    }
}

#[test]
fn beyond_enough_there_is_one_more_below_60_percent_and_one_fewer_from_80_on() {
    for (thousandths, expected) in [(599, 5), (600, 4), (799, 4), (800, 3)] {
        let mut uplink = Uplink::of_host(640);
        let mut look = |thousandths| {
            uplink.slots.set_downlink(uplink.slots.rate() * 2);
            uplink.filled_to(thousandths, true)
        };
        assert_eq!([590, 590, 590].map(&mut look), [2, 3, 4]);
        assert_eq!(look(thousandths), expected, "{thousandths}");
    }
    // At what is enough it is as ever.
    let mut uplink = Uplink::of_host(640);
    uplink.slots.set_downlink(1_800_000);
    assert_eq!(
        [500, 979, 600, 980].map(|filled| uplink.filled_to(filled, true)),
        [2, 2, 2, 1]
    );
}

#[test]
fn what_is_given_stays_whatever_is_seen() {
    let mut uplink = Uplink::new(UploadSlots::fixed(3), 1_000_000);
    assert_eq!(
        [1_000_000, 1, 1, 9_000_000, 1].map(|rate| uplink.look(rate, true)),
        [3; 5]
    );
}

#[test]
fn slots_are_looked_at_when_two_chunks_have_left_for_each_and_two_more() {
    let mut uplink = Uplink::of_host(640);
    for (number, chunks) in [(1, 4), (2, 6), (3, 8)] {
        uplink.now = uplink.now + Duration::from_secs(1);
        for chunk in 0..chunks {
            assert_eq!(uplink.slots.get(), number, "after {chunk} chunks");
            uplink.slots.learn(uplink.now, 1, Duration::from_secs(1), true);
        }
        assert_eq!(uplink.slots.get(), number + 1);
    }
}

#[test]
fn the_greatest_rate_fades_by_a_256th_with_each_look_and_a_greater_one_takes_its_place() {
    let mut uplink = Uplink::new(UploadSlots::fixed(1), 640);
    for (rate, greatest) in [
        (256_000, 256_000),
        (10, 255_000),
        (10, 254_004),
        (254_000, 254_000),
        (300_000, 300_000),
    ] {
        uplink.look(rate, true);
        assert_eq!(uplink.slots.rate(), greatest);
    }
}

#[test]
fn one_chunk_that_leaves_faster_than_all_together_shows_the_rate_too() {
    let mut slots = UploadSlots::measured();
    for (bytes, millis, greatest) in [(1000, 500, 2000), (1000, 1000, 2000)] {
        slots.learn(Time::ZERO, bytes, Duration::from_millis(millis), false);
        assert_eq!(slots.rate(), greatest);
    }
    slots.learn(Time::ZERO, 1 << 63, Duration::ZERO, false);
    assert_eq!(slots.rate(), u64::MAX, "as much as can be told");
}

#[test]
fn while_nothing_is_sent_no_time_passes_for_the_rate() {
    let seconds = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
    let mut slots = UploadSlots::fixed(1);
    for (begins, rests) in [(0, 1), (9, 10), (20, 22)] {
        slots.begins(seconds(begins));
        slots.begins(seconds(rests));
        slots.rests(seconds(rests));
        slots.rests(seconds(rests + 5));
    }
    (0..4).for_each(|_| slots.learn(seconds(30), 1000, Duration::from_secs(100), true));
    assert_eq!(slots.rate(), 1000, "four seconds for four thousand bytes");
    // What is still being sent counts up to the look, and from there on for the next one.
    slots.begins(seconds(30));
    (0..4).for_each(|_| slots.learn(seconds(31), 500, Duration::from_secs(100), true));
    assert_eq!(slots.rate(), 2000);
    (0..4).for_each(|_| slots.learn(seconds(32), 1000, Duration::from_secs(100), true));
    assert_eq!(slots.rate(), 4000);
}

#[test]
fn a_seeder_takes_twice_as_many_while_half_of_that_shows_in_the_rate() {
    let mut uplink = Uplink::new(UploadSlots::measured_of_seeder(), 640);
    let numbers: Vec<usize> = (1..8).map(|doubled| uplink.look(1000 << doubled, true)).collect();
    assert_eq!(numbers, [4, 8, 16, 32, 64, 64, 64]);
    // Twice as many are to bring half as much again.
    for (rates, expected) in [
        (&[1000, 1500][..], 2),
        (&[1000, 1501], 8),
        (&[1000, 2000, 3000], 4),
        (&[1000, 2000, 3001], 16),
        (&[1000, 2000, 4000, 6000], 8),
        (&[1000, 2000, 4000, 6001], 32),
    ] {
        let mut uplink = Uplink::new(UploadSlots::measured_of_seeder(), 640);
        let last = rates.iter().map(|rate| uplink.look(*rate, false)).last();
        assert_eq!(last, Some(expected), "{rates:?}");
    }
}

#[test]
fn a_seeder_that_has_found_its_number_goes_by_one_to_half_more_than_hosts_may_and_never_below_two() {
    for (chunks, most) in [(64, 4), (640, 13), (3000, 16)] {
        let mut uplink = Uplink::new(UploadSlots::measured_of_seeder(), chunks);
        assert_eq!([1_000_000, 1_000_000].map(|rate| uplink.look(rate, true)), [4, 2]);
        assert_eq!(uplink.filled_to(1000, true), 2);
        let numbers: Vec<usize> = (0..30).map(|_| uplink.filled_to(500, true)).collect();
        let expected: Vec<usize> = (3..33).map(|number: usize| number.min(most)).collect();
        assert_eq!(numbers, expected, "{chunks} chunks");
    }
    // What it has found may be more than that.
    let mut uplink = Uplink::new(UploadSlots::measured_of_seeder(), 1);
    let rates = [1000, 2000, 4000, 8000, 16_000, 16_000];
    assert_eq!(rates.map(|rate| uplink.look(rate, true)), [4, 8, 16, 32, 64, 32]);
    assert_eq!(uplink.filled_to(500, true), 32);
    assert_eq!(uplink.filled_to(1000, true), 31);
}

/// A seeder's that has come to two slots, each more of which brings nothing, and whose first copies are out.
fn after_the_first_pass() -> Uplink {
    let mut uplink = Uplink::new(UploadSlots::measured_of_seeder(), 640);
    assert_eq!([1_000_000, 1_000_000].map(|rate| uplink.look(rate, true)), [4, 2]);
    assert_eq!(
        uplink.filled_to(1000, true),
        2,
        "it tries nothing while first copies wait"
    );
    uplink.slots.first_copies_are_out();
    uplink
}

#[test]
fn when_first_copies_are_out_a_seeder_tries_twice_as_many_each_third_look_while_others_wait() {
    let mut uplink = after_the_first_pass();
    assert_eq!(uplink.filled_to(1000, false), 2, "nobody waits");
    let numbers: Vec<usize> = (0..9).map(|_| uplink.filled_to(1000, true)).collect();
    assert_eq!(numbers, [4, 2, 2, 2, 4, 2, 2, 2, 4]);
    uplink.slots.first_copies_are_out();
    assert_eq!(uplink.look(2_000_000, true), 8, "it goes on where they bring more");
}

#[test]
fn more_are_not_tried_where_a_chunk_takes_a_second() {
    for (millis, expected) in [(2999, 4), (3000, 2)] {
        let mut uplink = after_the_first_pass();
        // Six chunks leave by two slots.
        uplink.now = uplink.now + Duration::from_millis(millis);
        let bytes = uplink.slots.rate() * millis / 1000 / 6 + 1;
        (0..6).for_each(|_| uplink.slots.learn(uplink.now, bytes, Duration::from_secs(10), true));
        assert_eq!(uplink.slots.get(), expected, "{millis}");
    }
}

#[test]
fn an_uplink_that_is_full_to_93_percent_exactly_has_no_room_for_one_more() {
    for (rate, expected) in [(23_715, 1), (23_714, 2)] {
        let mut uplink = Uplink::of_host(640);
        // It fades to 25,500 at the look.
        uplink.slots.best = 25_600;
        assert_eq!(uplink.look(rate, true), expected, "{rate}");
    }
}
