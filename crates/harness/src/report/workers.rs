//! What the worker processes of a run came to, where there were any, and how far their clocks can be trusted.

use std::time::Duration;

use scenario::{LiveFacts, WorkerFacts};
use serde::Serialize;

use super::{milliseconds, round};

#[derive(Debug, Serialize)]
pub(super) struct WorkerReport {
    name: String,
    hosts: usize,
    /// Those of them that were not done.
    not_done: usize,
    /// When half of them were done.
    p50_ms: Option<f64>,
    /// When all of them were done.
    last_ms: Option<f64>,
    /// What its clock was ahead of the run's; null where that is the same one.
    clock_offset_ms: Option<f64>,
    clock_drift_ppm: Option<f64>,
    clock_uncertainty_ms: Option<f64>,
}

pub(super) fn workers(live: Option<&LiveFacts>) -> Vec<WorkerReport> {
    let report = |of: &WorkerFacts| WorkerReport {
        name: of.name.clone(),
        hosts: of.hosts,
        not_done: of.not_done,
        p50_ms: of.p50.map(milliseconds),
        last_ms: of.last.map(milliseconds),
        clock_offset_ms: of.clock.map(|clock| round(clock.offset_ms)),
        clock_drift_ppm: of.clock.map(|clock| round(clock.drift_ppm)),
        clock_uncertainty_ms: of.clock.map(|clock| milliseconds(clock.uncertainty)),
    };
    live.iter().flat_map(|live| &live.workers).map(report).collect()
}

/// Of all clocks of other machines; `None` where there are none.
pub(super) fn clock_uncertainty(live: Option<&LiveFacts>) -> Option<Duration> {
    let clocks = live?.workers.iter().filter_map(|of| of.clock);
    clocks.map(|clock| clock.uncertainty).max()
}

/// What makes latencies of several machines hard to believe: clocks that are not known well, and a machine whose hosts are late.
pub(super) fn warnings(live: Option<&LiveFacts>, p50: Option<Duration>) -> Vec<String> {
    let mut warnings = Vec::new();
    let Some(live) = live else {
        return warnings;
    };
    let allowed = p50.map_or(UNCERTAINTY_MAX, |p50| {
        (p50 / UNCERTAINTY_PART_OF_P50).min(UNCERTAINTY_MAX)
    });
    for worker in &live.workers {
        let uncertain = worker.clock.filter(|clock| clock.uncertainty > allowed);
        if let Some(clock) = uncertain {
            warnings.push(format!(
                "the clock of {} is known to {} ms, and latencies of its hosts no better; expected {} ms (5 ms, or 1 % of p50)",
                worker.name,
                milliseconds(clock.uncertainty),
                milliseconds(allowed),
            ));
        }
        let is_late = |(own, all): (Duration, Duration)| own.as_secs_f64() > LATE * all.as_secs_f64();
        let late = worker
            .p50
            .zip(p50)
            .filter(|both| live.workers.len() > 1 && is_late(*both));
        if let Some((own, all)) = late {
            warnings.push(format!(
                "the hosts of {} are late: half of them were done after {} ms, and of all after {} ms; is its machine slower, or busy?",
                worker.name,
                milliseconds(own),
                milliseconds(all),
            ));
        }
    }
    warnings
}

const UNCERTAINTY_MAX: Duration = Duration::from_millis(5);
const UNCERTAINTY_PART_OF_P50: u32 = 100;
/// Hosts are dealt out in turn, so that every worker has some of each kind.
const LATE: f64 = 1.25;

#[cfg(test)]
mod tests {
    use scenario::ClockFacts;

    use super::*;

    fn facts(workers: &[(u64, Duration)]) -> LiveFacts {
        let of = |(index, (p50, uncertainty)): (usize, &(u64, Duration))| WorkerFacts {
            name: format!("worker {index} of {} (10.0.0.{index})", workers.len()),
            hosts: 10,
            not_done: 0,
            p50: Some(Duration::from_millis(*p50)),
            last: None,
            clock: Some(ClockFacts {
                offset_ms: 1_000_000.0,
                drift_ppm: 3.0,
                uncertainty: *uncertainty,
            }),
        };
        LiveFacts {
            workers: workers.iter().enumerate().map(of).collect(),
            ..LiveFacts::default()
        }
    }

    #[test]
    fn a_clock_that_is_not_known_well_is_warned_of_by_what_it_is_to_measure() {
        let said = |uncertainty: u64, p50: u64| {
            let live = facts(&[(p50, Duration::from_micros(uncertainty))]);
            warnings(Some(&live), Some(Duration::from_millis(p50))).len()
        };
        assert_eq!((said(4_900, 2_000), said(5_100, 2_000)), (0, 1));
        assert_eq!((said(900, 100), said(1_100, 100)), (0, 1));
    }

    #[test]
    fn the_worker_whose_hosts_are_late_is_named() {
        let quick = Duration::from_micros(10);
        let live = facts(&[(1_000, quick), (1_100, quick), (1_900, quick)]);
        let said = warnings(Some(&live), Some(Duration::from_millis(1_100)));
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].contains("worker 2 of 3") && said[0].contains("1900 ms"),
            "{said:?}"
        );
    }
}
