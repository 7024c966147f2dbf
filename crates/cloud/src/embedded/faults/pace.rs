//! How fast a service is that is slow: pure, the time is an argument.

use std::time::{Duration, Instant};

/// Bytes that pass one after another.
#[derive(Debug)]
pub(super) struct BytePace {
    bytes_per_second: u64,
    taken_until: Option<Instant>,
}

impl BytePace {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            taken_until: None,
        }
    }

    /// When these bytes have passed. Who comes late for the next, as on a busy machine, makes up for that, and more is not saved up: from the
    /// first byte on no more has passed than the rate lets.
    pub(super) fn pass(&mut self, now: Instant, bytes: u64) -> Instant {
        let least = now.checked_sub(LATE_MAX).unwrap_or(now);
        let begins = self.taken_until.map_or(now, |taken_until| taken_until.max(least));
        let ends = begins + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        self.taken_until = Some(ends);
        ends
    }
}

/// Rows that are taken or not: as many as there is room for, which grows by the second to a second's rows.
#[derive(Debug)]
pub(super) struct RowPace {
    rows_per_second: f64,
    room: f64,
    known_at: Option<Instant>,
}

impl RowPace {
    pub(super) fn new(rows_per_second: u32) -> Self {
        let rows_per_second = f64::from(rows_per_second.max(1));
        Self {
            rows_per_second,
            room: rows_per_second,
            known_at: None,
        }
    }

    /// How many of `rows` are taken.
    pub(super) fn take(&mut self, now: Instant, rows: usize) -> usize {
        let since = self
            .known_at
            .replace(now)
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.room = (self.room + since.as_secs_f64() * self.rows_per_second).min(self.rows_per_second);
        // A hair more: what has grown in steps may lack as much of a whole row.
        let taken = rows.min((self.room + 1e-6) as usize);
        self.room -= taken as f64;
        taken
    }
}

/// What is made up for.
const LATE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_one_after_another_and_a_second_is_made_up_for() {
        let mut pace = BytePace::new(1000);
        let now = Instant::now();
        let at = |ms: u64| now + Duration::from_millis(ms);
        assert_eq!(pace.pass(now, 500), at(500));
        assert_eq!(pace.pass(at(100), 250), at(750));
        assert_eq!(pace.pass(at(1250), 250), at(1000));
        assert_eq!(pace.pass(at(5000), 1500), at(5500));
    }

    #[test]
    fn a_table_takes_a_seconds_rows_at_once_and_then_as_many_as_have_come_free() {
        let mut pace = RowPace::new(10);
        let now = Instant::now();
        let at = |ms: u64| now + Duration::from_millis(ms);
        assert_eq!(pace.take(now, 25), 10);
        assert_eq!(pace.take(at(50), 15), 0);
        assert_eq!(pace.take(at(100), 15), 1);
        assert_eq!(pace.take(at(400), 2), 2);
        assert_eq!(pace.take(at(3_600_000), 25), 10);
    }
}
