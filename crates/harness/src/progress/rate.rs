//! How fast a share grows, by the last seconds of it, and when it is whole.

use std::collections::VecDeque;
use std::time::Duration;

/// The last seconds of a share of something.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate {
    /// Times with the shares then, oldest first.
    seen: VecDeque<(Duration, f64)>,
}

impl Rate {
    /// Whether it is time to note one more.
    pub(super) fn wants(&self, at: Duration) -> bool {
        self.seen.back().is_none_or(|(last, _)| at >= *last + BETWEEN)
    }

    pub(super) fn note(&mut self, at: Duration, share: f64) {
        if !self.wants(at) {
            return;
        }
        self.seen.push_back((at, share));
        // One that is older than the window stays, so that there is a window.
        while self.seen.get(1).is_some_and(|(second, _)| *second + WINDOW < at) {
            self.seen.pop_front();
        }
    }

    /// Share a second.
    pub(super) fn per_second(&self) -> f64 {
        match (self.seen.front(), self.seen.back()) {
            (Some((from, before)), Some((to, now))) if to > from => {
                ((now - before) / (*to - *from).as_secs_f64()).max(0.0)
            }
            _ => 0.0,
        }
    }

    /// When it is whole, if it goes on so; `None` while it stands.
    pub(super) fn left(&self) -> Option<Duration> {
        let (_, share) = self.seen.back()?;
        let left = (1.0 - share).max(0.0) / self.per_second();
        Duration::try_from_secs_f64(left).ok().filter(|left| *left < LEFT_MAX)
    }
}

/// A second is too short to tell anything, a minute says what has been.
const WINDOW: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_millis(200);
/// What takes longer stands.
const LEFT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_the_last_seconds() {
        let mut rate = Rate::default();
        assert_eq!(rate.left(), None);
        for second in 0..=20 {
            rate.note(Duration::from_secs(second), second as f64 * 0.01);
        }
        assert!((rate.left().unwrap().as_secs_f64() - 80.0).abs() < 1e-6);
        // It becomes five times as fast.
        for second in 21..=32 {
            rate.note(Duration::from_secs(second), 0.2 + (second - 20) as f64 * 0.05);
        }
        assert!((rate.per_second() - 0.05).abs() < 1e-6, "{rate:?}");
        // It stands.
        for second in 33..=60 {
            rate.note(Duration::from_secs(second), 0.8);
        }
        assert_eq!(rate.left(), None);
        assert!(rate.seen.len() < 20, "{}", rate.seen.len());
    }
}
