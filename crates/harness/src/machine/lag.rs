//! How late timers are: the delay that everything in a process has that waits for its turn, whatever the cause. Ticks are
//! due every ten milliseconds, and a pause makes each tick in it late by what was left of the pause; otherwise a pause of
//! five seconds would be one late tick among five hundred.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Counts of latenesses by class: eight classes to a doubling, so each within 12.5 %.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LagHistogram {
    counts: BTreeMap<u32, u64>,
    sum_micros: u64,
    max_micros: u64,
}

impl LagHistogram {
    /// Counts every tick that was due by `now`, the first of them at `due`; when the next one is.
    pub(crate) fn note_ticks(&mut self, mut due: Duration, now: Duration) -> Duration {
        while due <= now {
            self.record(now.saturating_sub(due));
            due += TICK;
        }
        due
    }

    /// Adds what another has counted.
    pub(crate) fn add(&mut self, other: &Self) {
        for (class, count) in &other.counts {
            *self.counts.entry(*class).or_default() += count;
        }
        self.sum_micros = self.sum_micros.saturating_add(other.sum_micros);
        self.max_micros = self.max_micros.max(other.max_micros);
    }

    /// How late ticks were on average; `None` where there was none.
    pub(crate) fn mean(&self) -> Option<Duration> {
        let mean = self.sum_micros.checked_div(self.ticks())?;
        Some(Duration::from_micros(mean))
    }

    /// So many of a thousand ticks were at most this late, by nearest rank; `None` where there was none.
    pub(crate) fn at(&self, per_mille: u64) -> Option<Duration> {
        let rank = (self.ticks() * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        let class = self.counts.iter().find_map(|(class, count)| {
            seen += count;
            (seen >= rank).then_some(*class)
        })?;
        Some(Duration::from_micros(last_of(class).min(self.max_micros)))
    }

    /// How many ticks were counted.
    pub(crate) fn ticks(&self) -> u64 {
        self.counts.values().sum()
    }

    fn record(&mut self, lag: Duration) {
        let micros = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        *self.counts.entry(class_of(micros)).or_default() += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
        self.max_micros = self.max_micros.max(micros);
    }
}

fn class_of(micros: u64) -> u32 {
    if micros < CLASSES {
        return u32::try_from(micros).unwrap_or_default();
    }
    let shift = micros.ilog2() - CLASSES.ilog2();
    let within = u32::try_from((micros >> shift) - CLASSES).unwrap_or_default();
    (shift + 1) * 8 + within
}

/// The largest value of a class.
fn last_of(class: u32) -> u64 {
    let (shift, within) = ((class / 8).saturating_sub(1), u64::from(class % 8));
    let first = if class < 8 { within } else { (CLASSES + within) << shift };
    first + ((1 << shift) - 1)
}

/// Classes to a doubling.
const CLASSES: u64 = 8;

/// How often lateness is looked at: often enough for a hundredth of a run of a few seconds, and so rarely that the looking
/// takes next to nothing.
pub(crate) const TICK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn classes_follow_each_other_and_hold_what_is_put_into_them() {
        let mut before = None;
        for micros in (0..5000).chain([1 << 20, (1 << 40) + 12345, u64::MAX / 2]) {
            let class = class_of(micros);
            assert!(before <= Some(class));
            before = Some(class);
            let last = last_of(class);
            assert!(last >= micros && last - micros <= micros / 8, "{last} for {micros}");
            assert_eq!(class_of(last), class);
        }
    }

    #[test]
    fn a_pause_makes_every_tick_in_it_late() {
        let mut lag = LagHistogram::default();
        // 90 ticks of a millisecond's lateness, then a pause of 100 ms.
        let mut due = ms(10);
        for _ in 0..90 {
            due = lag.note_ticks(due, due + ms(1));
        }
        assert_eq!(due, ms(910));
        assert_eq!(lag.note_ticks(due, ms(1000)), ms(1010));
        assert_eq!(lag.at(1000), Some(ms(90)));
        // 90 of a millisecond, and 90, 80, … 0.
        assert_eq!(lag.mean(), Some(Duration::from_micros((90 + 450) * 1000 / 100)));
        let (p50, p95) = (lag.at(500).unwrap(), lag.at(950).unwrap());
        assert!(p50 >= ms(1) && p50 < ms(2), "{p50:?}");
        assert!(p95 >= ms(40) && p95 < ms(60), "{p95:?}");
    }

    #[test]
    fn before_a_tick_is_due_nothing_is_counted() {
        let mut lag = LagHistogram::default();
        assert_eq!(lag.note_ticks(ms(10), ms(9)), ms(10));
        assert_eq!((lag.at(990), lag.mean()), (None, None));
    }

    #[test]
    fn what_workers_counted_adds_up_and_goes_through_json() {
        let of = |latenesses: &[u64]| {
            let mut lag = LagHistogram::default();
            for late in latenesses {
                lag.note_ticks(ms(10), ms(10) + Duration::from_micros(*late));
            }
            lag
        };
        let mut sum = of(&[3, 900]);
        let text = serde_json::to_string(&of(&[1200, 5])).unwrap();
        sum.add(&serde_json::from_str(&text).unwrap());
        assert_eq!(sum, of(&[3, 5, 900, 1200]));
        assert_eq!(sum.at(1000), Some(Duration::from_micros(1200)));
    }
}
