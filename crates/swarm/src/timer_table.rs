//! When something is to be done without an event: one optional time per timer, the earliest of which is the next wakeup.

use crate::units::Time;

/// Timers of one state machine, named by `T`.
#[derive(Clone, Debug)]
pub(crate) struct TimerTable<T> {
    due: Vec<(T, Time)>,
}

impl<T: Copy + PartialEq> TimerTable<T> {
    pub(crate) const fn new() -> Self {
        Self { due: Vec::new() }
    }

    /// Sets `timer`, whatever it was before.
    pub(crate) fn set(&mut self, timer: T, at: Time) {
        self.clear(timer);
        self.due.push((timer, at));
    }

    /// Sets `timer` unless it would fire earlier already.
    pub(crate) fn set_at_latest(&mut self, timer: T, at: Time) {
        if self.get(timer).is_none_or(|due| due > at) {
            self.set(timer, at);
        }
    }

    pub(crate) fn clear(&mut self, timer: T) {
        self.due.retain(|(other, _)| *other != timer);
    }

    pub(crate) fn get(&self, timer: T) -> Option<Time> {
        self.due.iter().find(|(other, _)| *other == timer).map(|(_, at)| *at)
    }

    /// The earliest time and whose it is.
    pub(crate) fn next(&self) -> Option<(T, Time)> {
        self.due.iter().min_by_key(|(_, at)| *at).copied()
    }

    /// Takes one timer that is due at `now`, with when it was due.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<(T, Time)> {
        let (timer, at) = self.next()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some((timer, at))
    }
}
