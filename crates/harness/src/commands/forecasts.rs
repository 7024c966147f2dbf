//! Several forecasts at once, each on one thread: the cells of a sweep, the seeds of a plan, both sides of a comparison.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use scenario::{LoadOptions, Scenario, Stop};
use simulator::Status;
use tokio::sync::watch;

use super::plan::fits;
use crate::exit::chain;
use crate::machine;
use crate::progress;
use crate::report::{About, Asked, Report};
use crate::virtual_time;

/// A forecast to make.
pub(super) struct ToForecast {
    pub(super) scenario: Scenario,
    pub(super) asked: Asked,
}

/// A scenario with each of these seeds.
pub(super) fn with_seeds(
    path: &Path,
    options: &LoadOptions,
    seeds: &Range<u64>,
) -> Result<Vec<ToForecast>, scenario::ScenarioError> {
    let of_seed = |seed: u64| {
        let options = LoadOptions {
            seed: Some(seed),
            ..options.clone()
        };
        let scenario = Scenario::load(path, &options)?;
        let asked = Asked::new("plan", path, &options);
        Ok(ToForecast { scenario, asked })
    };
    seeds.clone().map(of_seed).collect()
}

/// Makes them all, as many at a time as there are cores and as there is memory for; `what` says what they are. Once `stop` says
/// so, those that are not done are left out.
///
/// # Errors
/// What keeps any of them from being made.
pub(super) fn forecast_all(
    all: &[ToForecast],
    what: &str,
    stop: &watch::Receiver<Option<Stop>>,
) -> Result<Vec<Option<Report>>, String> {
    let at_once = how_many_fit(all)?;
    let next = AtomicUsize::new(0);
    let running: Mutex<Vec<Arc<Status>>> = Mutex::default();
    let made: Mutex<Vec<(usize, Result<Report, String>)>> = Mutex::default();
    let bar = progress::Steps::new(what, all.len());
    std::thread::scope(|threads| {
        let workers: Vec<_> = (0..at_once)
            .map(|_| {
                threads.spawn(|| {
                    while let Some((index, one)) = take(&next, all)
                        && stop.borrow().is_none()
                    {
                        let status = Arc::new(Status::new(&one.scenario));
                        lock(&running).push(Arc::clone(&status));
                        let about = About::new(&one.scenario, &one.asked, None);
                        let report =
                            virtual_time::forecast(&one.scenario, about, (1, false), &status, || *stop.borrow());
                        lock(&running).retain(|other| !Arc::ptr_eq(other, &status));
                        if stop.borrow().is_none() {
                            let report = report.map_err(|error| chain(&error)).map(|mut done| {
                                // Nobody asks for the hosts of so many.
                                done.report.host_rows.bytes = Vec::new();
                                done.report
                            });
                            lock(&made).push((index, report));
                        }
                    }
                })
            })
            .collect();
        while !workers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            if stop.borrow().is_some() {
                lock(&running).iter().for_each(|status| status.stop());
            }
            bar.show(lock(&made).len());
            std::thread::sleep(LOOK_EVERY);
        }
    });
    bar.finish();
    let mut reports: Vec<Option<Report>> = all.iter().map(|_| None).collect();
    for (index, report) in made.into_inner().unwrap_or_else(PoisonError::into_inner) {
        reports[index] = Some(report?);
    }
    Ok(reports)
}

fn take<'a>(next: &AtomicUsize, all: &'a [ToForecast]) -> Option<(usize, &'a ToForecast)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, all.get(index)?))
}

/// One for each core, and no more than there is memory for.
fn how_many_fit(all: &[ToForecast]) -> Result<usize, String> {
    let most = machine::cores().min(all.len()).max(1);
    let needed = |one: &&ToForecast| simulator::memory_estimate(&one.scenario, 1);
    let Some(largest) = all.iter().max_by_key(needed) else {
        return Ok(most);
    };
    fits(&largest.scenario, 1)?;
    let fitting = machine::free_memory().map_or(u64::MAX, |free| free.bytes / needed(&largest).max(1));
    Ok(usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, most))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How soon a signal is heeded.
const LOOK_EVERY: Duration = Duration::from_millis(20);
