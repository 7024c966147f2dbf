//! When something is to be done without an event: one optional time per timer, the earliest of which is the next wakeup.

use crate::units::Time;

/// The timers of a state machine, in the order in which those due at the same time fire.
pub(crate) trait TimerKind: Copy + PartialEq + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// Its place in [`TimerKind::ALL`].
    fn index(self) -> usize;
}

/// Timers of one state machine, named by `T`. Inline: the next wakeup is looked up after every event.
#[derive(Clone, Debug)]
pub(crate) struct TimerTable<T> {
    /// When each is due; [`Time::MAX`] where it is not set.
    due: [Time; TIMERS_MAX],
    kinds: std::marker::PhantomData<T>,
}

/// Timers of a state machine at most.
const TIMERS_MAX: usize = 8;

impl<T: TimerKind> TimerTable<T> {
    pub(crate) const fn new() -> Self {
        assert!(T::ALL.len() <= TIMERS_MAX);
        Self {
            due: [Time::MAX; TIMERS_MAX],
            kinds: std::marker::PhantomData,
        }
    }

    /// Sets `timer`, whatever it was before.
    pub(crate) fn set(&mut self, timer: T, at: Time) {
        self.due[timer.index()] = at;
    }

    /// Sets `timer` unless it would fire earlier already.
    pub(crate) fn set_at_latest(&mut self, timer: T, at: Time) {
        let due = &mut self.due[timer.index()];
        *due = (*due).min(at);
    }

    pub(crate) fn clear(&mut self, timer: T) {
        self.due[timer.index()] = Time::MAX;
    }

    pub(crate) fn get(&self, timer: T) -> Option<Time> {
        let at = self.due[timer.index()];
        (at < Time::MAX).then_some(at)
    }

    /// The earliest time and whose it is.
    pub(crate) fn next(&self) -> Option<(T, Time)> {
        let earliest = T::ALL.iter().min_by_key(|timer| self.due[timer.index()])?;
        self.get(*earliest).map(|at| (*earliest, at))
    }

    /// The earliest time: looked up after every event, in which whose it is does not matter.
    pub(crate) fn next_at(&self) -> Option<Time> {
        let at = self.due.iter().copied().fold(Time::MAX, Time::min);
        (at < Time::MAX).then_some(at)
    }

    /// Takes one timer that is due at `now`, with when it was due.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<(T, Time)> {
        if self.next_at().is_none_or(|at| at > now) {
            return None;
        }
        let (timer, at) = self.next()?;
        self.clear(timer);
        Some((timer, at))
    }
}

#[cfg(test)]
mod rules;
