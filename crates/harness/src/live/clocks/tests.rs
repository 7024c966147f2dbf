//! Clocks that are far off and do not run alike, over ways that are busy at times and not alike in both directions.

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;

const SECOND: i64 = 1_000_000_000;

/// A worker's clock: ahead of the run's by `offset` at zero, and gaining `drift`.
#[derive(Clone, Copy, Debug)]
struct Clock {
    offset: i64,
    drift: f64,
}

impl Clock {
    fn at(self, run: i64) -> i64 {
        run + self.offset + (self.drift * run as f64) as i64
    }
}

/// Four a second for so long, each way taking `way` and up to `more`; every sixteenth is a quick one.
fn probes(clock: Clock, seconds: i64, way: i64, more: u64, seed: u64) -> Probes {
    let mut chance = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut probes = Probes::default();
    // A worker's clock begins before it is asked.
    let from = SECOND + (-clock.offset).max(0);
    for index in 0..seconds * 4 {
        let asked = from + index * SECOND / 4;
        let mut late = || {
            if index % 16 == 0 {
                0
            } else {
                (chance.next_u64() % (more + 1)) as i64
            }
        };
        let (there, back) = (asked + way + late(), late());
        let left = there + 20_000;
        let probed = Probed {
            asked: asked as u64,
            came: clock.at(there) as u64,
            left: clock.at(left) as u64,
        };
        probes.note(probed, Time::from_nanos((left + way + back) as u64));
    }
    probes
}

fn wrong(line: ClockLine, clock: Clock, run: i64) -> Duration {
    let mapped = line.to_run(Time::from_nanos(clock.at(run) as u64));
    Duration::from_nanos(mapped.as_nanos().abs_diff(run as u64))
}

#[test]
fn a_clock_a_thousand_seconds_off_is_mapped_to_its_uncertainty_which_is_half_of_a_trip() {
    for offset in [1_000 * SECOND, -1_000 * SECOND, 50_000_000, -50_000_000, 0] {
        for drift in [0.0, 30e-6, -200e-6] {
            let clock = Clock { offset, drift };
            let probes = probes(clock, 120, 100_000, 8_000_000, 7);
            let line = probes.line().unwrap();
            let uncertainty = line.uncertainty();
            assert!(uncertainty < Duration::from_micros(400), "{clock:?}: {uncertainty:?}");
            let from = SECOND + (-offset).max(0);
            for second in 0..120 {
                let off = wrong(line, clock, from + second * SECOND);
                assert!(
                    off <= uncertainty + Duration::from_nanos(100),
                    "{clock:?}: {off:?} of {uncertainty:?}"
                );
            }
            assert!((line.drift_ppm() - drift * 1e6).abs() < 6.0, "{clock:?}: {line:?}");
        }
    }
}

#[test]
fn a_time_that_is_mapped_there_and_back_is_the_same() {
    let clock = Clock {
        offset: 1_000 * SECOND,
        drift: 150e-6,
    };
    let line = probes(clock, 60, 300_000, 1_000_000, 3).line().unwrap();
    for second in 1..3_600 {
        let time = Time::from_nanos(second * SECOND as u64);
        let back = line.to_run(line.to_worker(time));
        assert!(back.as_nanos().abs_diff(time.as_nanos()) <= 2, "{second}");
    }
}

#[test]
fn latencies_are_the_same_whatever_the_worker_s_clock_says() {
    let latency = |offset| {
        let clock = Clock { offset, drift: 20e-6 };
        let line = probes(clock, 30, 80_000, 3_000_000, 5).line().unwrap();
        let begun = SECOND + (-offset).max(0) + 10 * SECOND;
        let done = Time::from_nanos(clock.at(begun + 7 * SECOND) as u64);
        line.to_run(done).since(Time::from_nanos(begun as u64))
    };
    let there = latency(0);
    for offset in [1_000 * SECOND, -1_000 * SECOND] {
        let off = latency(offset).abs_diff(there);
        assert!(off < Duration::from_millis(1), "{off:?}");
    }
}

#[test]
fn one_way_that_is_slow_is_within_the_uncertainty() {
    let clock = Clock { offset: 0, drift: 0.0 };
    let mut probes = Probes::default();
    for index in 1..100 {
        let asked = index * SECOND;
        let came = asked + 9_000_000;
        let (came, left) = (came as u64, came as u64);
        probes.note(
            Probed {
                asked: asked as u64,
                came,
                left,
            },
            Time::from_nanos(left + 1_000_000),
        );
    }
    let line = probes.line().unwrap();
    assert!(wrong(line, clock, 50 * SECOND) <= line.uncertainty());
    assert!(line.uncertainty() >= Duration::from_millis(4), "{line:?}");
}

#[test]
fn a_clock_that_is_set_meanwhile_is_uncertain_by_that() {
    let mut all = probes(Clock { offset: 0, drift: 0.0 }, 30, 100_000, 0, 1);
    let later = probes(
        Clock {
            offset: 20_000_000,
            drift: 0.0,
        },
        60,
        100_000,
        0,
        1,
    );
    all.all.extend(later.all.into_iter().skip(120));
    assert!(
        all.line().unwrap().uncertainty() > Duration::from_millis(5),
        "{:?}",
        all.line()
    );
}

#[test]
fn nothing_is_known_without_an_answer_and_nonsense_is_none() {
    let mut probes = Probes::default();
    let nonsense = Probed {
        asked: 5,
        came: 9,
        left: 7,
    };
    probes.note(nonsense, Time::from_nanos(4));
    assert_eq!(probes.line(), None);
    assert_eq!(ClockLine::SAME.to_run(Time::from_nanos(77)), Time::from_nanos(77));
}

#[test]
fn hours_of_probes_are_thinned_out_and_still_say_it() {
    let clock = Clock {
        offset: -3 * SECOND,
        drift: 40e-6,
    };
    let probes = probes(clock, 4 * 3_600, 100_000, 4_000_000, 11);
    assert!(probes.all.len() <= PROBES_MAX);
    assert!(probes.line().unwrap().uncertainty() < Duration::from_millis(1));
}

proptest! {
    #[test]
    fn a_mapped_time_is_within_its_uncertainty(
        offset in -1_000 * SECOND..1_000 * SECOND,
        ppm in -400i32..400,
        seconds in 1i64..90,
        way in 10_000i64..3_000_000,
        more in 0u64..50_000_000,
        seed: u64,
    ) {
        let clock = Clock { offset, drift: f64::from(ppm) * 1e-6 };
        let line = probes(clock, seconds, way, more, seed).line().unwrap();
        let from = SECOND + (-offset).max(0);
        for part in 0..10 {
            let off = wrong(line, clock, from + part * (seconds * SECOND - SECOND / 4) / 10);
            prop_assert!(off <= line.uncertainty() + Duration::from_micros(2), "{:?} of {:?}", off, line.uncertainty());
        }
    }
}
