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
        assert!(!silence.is_silent(at(second), HOST), "that is looked into first");
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
    silence.condemn(at(0), HOST);
    let other = HostId::new(9);
    for (now, has_room) in [(29_999, false), (30_000, true)] {
        assert_eq!(silence.is_silent(at(now), HOST), !has_room, "at {now}");
        let accused = [A, B].map(|by| silence.accuse(at(now), by, other, 7));
        assert_eq!(accused, [false, has_room], "at {now}");
        silence.forget(other);
    }
}

#[test]
fn who_is_tried_is_not_accused_again_until_the_trial_has_shown_something_or_was_lost() {
    let chunk = ChunkIndex::new(5);
    let accused =
        |silence: &mut Silence, millis| [A, B].map(|by| silence.accuse(at(millis), by, HOST, 9)).contains(&true);
    let mut silence = Silence::default();
    assert!(accused(&mut silence, 0));
    silence.try_by(at(0), HOST, chunk);
    assert!(!accused(&mut silence, 3_999));
    assert!(accused(&mut silence, 4_000), "the offer was lost");
    silence.try_by(at(4_000), HOST, chunk);
    assert_eq!(silence.next_trial(), Some((at(4_000), HOST, chunk)));
    assert_eq!(silence.end_trial(A, chunk), None, "it is not offered to anybody yet");
    silence.trial_begins(HOST);
    assert_eq!(silence.next_trial(), None);
    assert_eq!(silence.end_trial(HOST, chunk), None, "its own word");
    assert_eq!(silence.end_trial(A, ChunkIndex::new(6)), None, "another chunk");
    assert_eq!(silence.end_trial(A, chunk), Some(HOST));
    assert_eq!(silence.end_trial(B, chunk), None, "it has ended");
    assert!(accused(&mut silence, 4_001));
}
