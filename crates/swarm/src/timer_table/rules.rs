//! When timers fire, each rule at the edge where it begins to hold.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    First,
    Second,
    Third,
}

impl TimerKind for Timer {
    const ALL: &'static [Self] = &[Self::First, Self::Second, Self::Third];

    fn index(self) -> usize {
        self as usize
    }
}

fn at(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

#[test]
fn the_earliest_timer_fires_first_and_of_those_due_at_once_the_first_of_the_list() {
    let mut timers = TimerTable::new();
    assert_eq!(
        (timers.next(), timers.next_at(), timers.take_due(at(100))),
        (None, None, None)
    );
    timers.set(Timer::Second, at(7));
    timers.set(Timer::Third, at(5));
    timers.set(Timer::First, at(7));
    assert_eq!(
        (timers.next(), timers.next_at()),
        (Some((Timer::Third, at(5))), Some(at(5)))
    );
    assert_eq!(timers.take_due(at(4)), None, "it is not due yet");
    assert_eq!(timers.take_due(at(5)), Some((Timer::Third, at(5))));
    assert_eq!(timers.take_due(at(6)), None);
    assert_eq!(
        [at(9); 3].map(|now| timers.take_due(now)),
        [Some((Timer::First, at(7))), Some((Timer::Second, at(7))), None]
    );
}

#[test]
fn a_timer_is_set_anew_or_at_latest_or_cleared() {
    let mut timers = TimerTable::new();
    timers.set_at_latest(Timer::First, at(7));
    timers.set_at_latest(Timer::First, at(9));
    assert_eq!(timers.get(Timer::First), Some(at(7)));
    timers.set_at_latest(Timer::First, at(5));
    assert_eq!(timers.get(Timer::First), Some(at(5)));
    timers.set(Timer::First, at(9));
    assert_eq!(
        (timers.get(Timer::First), timers.get(Timer::Second)),
        (Some(at(9)), None)
    );
    timers.clear(Timer::First);
    assert_eq!((timers.get(Timer::First), timers.next_at()), (None, None));
}
