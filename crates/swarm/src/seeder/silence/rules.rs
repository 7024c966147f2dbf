//! When the word of members makes another one silent, each rule at the edge where it begins to hold.

use super::*;

const HOST: HostId = HostId::new(1);
const A: HostId = HostId::new(2);
const B: HostId = HostId::new(3);

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

#[test]
fn two_words_count_together_for_less_than_ten_seconds() {
    for (second, is_silent) in [(9_999, true), (10_000, false)] {
        let mut silence = Silence::default();
        assert!(!silence.accuse(at(0), A, HOST, 9));
        assert_eq!(silence.accuse(at(second), B, HOST, 9), is_silent);
        assert_eq!(silence.is_silent(at(second), HOST), is_silent);
        assert!(!silence.is_silent(at(second), A));
    }
}

#[test]
fn who_repeats_its_word_is_one_and_its_last_word_counts() {
    let mut silence = Silence::default();
    assert!(!silence.accuse(at(0), A, HOST, 9));
    assert!(!silence.accuse(at(9_000), A, HOST, 9));
    assert!(silence.accuse(at(15_000), B, HOST, 9));
}

#[test]
fn silence_lasts_for_half_a_minute_and_room_for_another_comes_with_its_end() {
    let mut silence = Silence::default();
    for by in [A, B] {
        silence.accuse(at(0), by, HOST, 7);
    }
    let other = HostId::new(9);
    for (now, has_room) in [(29_999, false), (30_000, true)] {
        assert_eq!(silence.is_silent(at(now), HOST), !has_room, "at {now}");
        let accused = [A, B].map(|by| silence.accuse(at(now), by, other, 7));
        assert_eq!(accused, [false, has_room], "at {now}");
        silence.forget(other);
    }
}
