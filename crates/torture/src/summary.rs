//! What came of many days.

use std::collections::BTreeMap;

use crate::class::Class;
use crate::play::Played;
use crate::verdict::Invariant;

/// What came of many days, by class.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// By class.
    pub classes: BTreeMap<Class, ClassSummary>,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// What came of the days of a class.
#[derive(Clone, Debug, Default)]
pub struct ClassSummary {
    /// Days played.
    pub days: usize,
    /// Days that broke a promise, by promise.
    pub failures: BTreeMap<Invariant, usize>,
    /// Things that happened.
    pub events: u64,
    /// Of each day, what share of its time the latest host took.
    lateness: Vec<f64>,
    /// The longest that a host took, in nanoseconds from when it could count on its time.
    pub longest: u64,
}

impl Summary {
    pub(crate) fn add(&mut self, class: Class, played: &Played) {
        let summary = self.classes.entry(class).or_default();
        summary.days += 1;
        summary.events += played.events;
        if let Some(broken) = &played.broken {
            *summary.failures.entry(broken.invariant).or_default() += 1;
        }
        summary.longest = summary.longest.max(played.took);
        let is_late = played
            .broken
            .as_ref()
            .is_some_and(|broken| matches!(broken.invariant, Invariant::Late | Invariant::Never));
        summary
            .lateness
            .push(if is_late { f64::INFINITY } else { played.lateness });
    }

    /// Days played.
    pub fn days(&self) -> usize {
        self.classes.values().map(|class| class.days).sum()
    }

    /// Days that broke a promise.
    pub fn failures(&self) -> usize {
        self.classes.values().map(ClassSummary::failed).sum()
    }
}

impl ClassSummary {
    /// Days that broke a promise.
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// What share of its time the latest host took, on so many days in a hundred at most; infinite where it was late. Zero
    /// where there was no day.
    pub fn lateness(&self, percent: usize) -> f64 {
        let mut sorted = self.lateness.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or(0.0)
    }
}
