//! What the clock of a worker on another machine says, by the clock of the run: from probes with four timestamps, one line through the
//! two that say most. Pure: no clock is read here.
//!
//! A probe that took `trip` on its way there and back says what the offset was to half of that, whatever part of it was the way there.

use std::time::Duration;

use swarm::Time;

use super::protocol::Probed;

/// Probes of a worker's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    /// In order of time.
    all: Vec<Probe>,
}

/// Nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// In the middle of it, by the run's clock.
    at: i64,
    /// What the worker's clock was ahead.
    offset: i64,
    /// On the way there and back.
    trip: i64,
}

/// How a worker's clock runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClockLine {
    /// By the run's clock.
    at: i64,
    /// What the worker's clock was ahead then, nanoseconds.
    offset: i64,
    /// Nanoseconds that it gains in each.
    drift: f64,
    /// How far from the truth a time may be that it has mapped, within the time that was probed.
    uncertainty: Duration,
}

impl Probes {
    /// Notes an answer that came at `heard`.
    pub(super) fn note(&mut self, probed: Probed, heard: Time) {
        let Probed { asked, came, left } = probed;
        let [asked, came, left, heard] = [asked, came, left, heard.as_nanos()].map(signed);
        // An answer from before it was asked for is none.
        if heard < asked || left < came {
            return;
        }
        if self.all.len() >= PROBES_MAX {
            self.thin_out();
        }
        self.all.push(Probe {
            at: asked.midpoint(heard),
            offset: (came - asked).midpoint(left - heard),
            trip: ((heard - asked) - (left - came)).max(0),
        });
    }

    /// Of any two neighbours, the one that says more stays.
    fn thin_out(&mut self) {
        let better = |pair: &[Probe]| pair.iter().copied().min_by_key(|probe| probe.trip);
        self.all = self.all.chunks(2).filter_map(better).collect();
    }

    /// How the clock has run as far as is known; `None` before the first answer.
    pub(super) fn line(&self) -> Option<ClockLine> {
        let (first, last) = (self.all.first()?, self.all.last()?);
        let level = self.level()?;
        // As far apart as they may be: the best of the first third, and of the last.
        let third = (last.at - first.at) / 3;
        let early = self.best(|probe| probe.at <= first.at + third)?;
        let late = self.best(|probe| probe.at >= last.at - third)?;
        if late.at <= early.at {
            return Some(level);
        }
        let sloped = self.sloped(early, late, (first.at, last.at));
        Some(if sloped.uncertainty < level.uncertainty {
            sloped
        } else {
            level
        })
    }

    fn best(&self, is_meant: impl Fn(&Probe) -> bool) -> Option<Probe> {
        let meant = self.all.iter().copied().filter(is_meant);
        meant.min_by_key(|probe| probe.trip)
    }

    /// As if the clocks ran alike: short runs are held by the shortest trip and by what clocks may drift.
    fn level(&self) -> Option<ClockLine> {
        let best = self.best(|_| true)?;
        let far = self.all.iter().map(|probe| (probe.at - best.at).abs()).max()?;
        let drifted = far as f64 * DRIFT_MAX;
        Some(ClockLine {
            at: best.at,
            offset: best.offset,
            drift: 0.0,
            uncertainty: nanos(best.trip as f64 / 2.0 + drifted),
        })
    }

    fn sloped(&self, early: Probe, late: Probe, (from, to): (i64, i64)) -> ClockLine {
        let apart = (late.at - early.at) as f64;
        let mut line = ClockLine {
            at: early.at,
            offset: early.offset,
            drift: (late.offset - early.offset) as f64 / apart,
            uncertainty: Duration::ZERO,
        };
        // A line is as wrong as the two points through which it goes, and beyond them more so.
        let wrong_at = |at: i64| {
            let of_early = (late.at - at).abs() as f64 / apart * early.trip as f64 / 2.0;
            of_early + (at - early.at).abs() as f64 / apart * late.trip as f64 / 2.0
        };
        // Where another probe says that it cannot be so, the clock has not run evenly.
        let uneven = self.all.iter().map(|probe| {
            let off = probe.offset as f64 - line.ahead_at(probe.at);
            off.abs() - probe.trip as f64 / 2.0
        });
        let uneven = uneven.fold(0.0, f64::max);
        line.uncertainty = nanos(wrong_at(from).max(wrong_at(to)) + uneven);
        line
    }
}

impl ClockLine {
    /// Of a clock that is the run's.
    pub(super) const SAME: Self = Self {
        at: 0,
        offset: 0,
        drift: 0.0,
        uncertainty: Duration::ZERO,
    };

    fn ahead_at(&self, at: i64) -> f64 {
        self.offset as f64 + self.drift * (at - self.at) as f64
    }

    /// A time of the worker's clock, by the run's.
    pub(super) fn to_run(self, time: Time) -> Time {
        let since = signed(time.as_nanos()) - self.offset - self.at;
        time_at(self.at + (since as f64 / (1.0 + self.drift)).round() as i64)
    }

    /// A time of the run's clock, by the worker's.
    pub(super) fn to_worker(self, time: Time) -> Time {
        let since = signed(time.as_nanos()) - self.at;
        time_at(self.at + self.offset + since + (self.drift * since as f64).round() as i64)
    }

    pub(super) const fn uncertainty(self) -> Duration {
        self.uncertainty
    }

    /// What it is ahead of the run's clock, in nanoseconds.
    pub(super) const fn offset_nanos(self) -> i64 {
        self.offset
    }

    /// What it gains, in millionths.
    pub(super) const fn drift_ppm(self) -> f64 {
        self.drift * 1e6
    }
}

/// Both clocks begin with the run, so 292 years are enough.
fn signed(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

fn time_at(nanos: i64) -> Time {
    Time::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

fn nanos(nanos: f64) -> Duration {
    Duration::from_nanos(nanos.ceil().max(0.0) as u64)
}

/// What a clock gains or loses in each second at most: as fast as the system's own corrections may go.
const DRIFT_MAX: f64 = 500e-6;
/// Probes that are kept; half of them go when there are more.
const PROBES_MAX: usize = 4096;

#[cfg(test)]
mod tests;
