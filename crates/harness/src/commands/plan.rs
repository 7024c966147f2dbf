//! `harness plan`.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use scenario::{LoadOptions, Scenario, Stop};
use simulator::{SimulationError, Status};
use swarm::Bytes;
use tokio::sync::watch;

use super::folder::{self, write_whole};
use super::run::watch_signals;
use super::{print, warn};
use crate::cli::{Format, PlanArguments};
use crate::exit::{Exit, complain};
use crate::machine;
use crate::progress::Progress;
use crate::report::Report;
use crate::virtual_time::{self, Timing};

pub(crate) async fn plan(arguments: PlanArguments) -> Exit {
    let options = LoadOptions {
        overrides: arguments.overrides,
        seed: arguments.seed,
        build: None,
    };
    let scenario = match Scenario::load(&arguments.scenario, &options) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Usage;
        }
    };
    let threads = arguments.threads.map_or_else(machine::cores, usize::from);
    if let Err(message) = fits(&scenario, threads) {
        eprintln!("harness: {message}");
        return Exit::Usage;
    }
    warn(std::slice::from_ref(&scenario));
    let folder = match folder::make(arguments.out, &scenario.name) {
        Ok(folder) => folder,
        Err(error) => {
            complain("there is no folder for the forecast", &error);
            return Exit::Failed;
        }
    };
    let stop = match watch_signals() {
        Ok(stop) => stop,
        Err(error) => {
            complain("failed to listen for signals", &error);
            return Exit::Failed;
        }
    };
    let progress = Progress::new(&scenario);
    let (report, timing) = match forecast(scenario, threads, &progress, stop.clone()).await {
        Ok(done) => done,
        Err(error) => {
            progress.finish();
            complain("there is no forecast", &error);
            folder::leave_if_empty(&folder);
            return Exit::Usage;
        }
    };
    progress.finish();
    let timing_json = serde_json::to_string_pretty(&timing).expect("numbers make JSON") + "\n";
    for (name, text) in [("report.json", report.to_json()), ("timing.json", timing_json)] {
        let path = folder.join(name);
        if let Err(error) = write_whole(&path, &text) {
            complain(&format!("failed to write {}", path.display()), &error);
            return Exit::Failed;
        }
    }
    match arguments.format {
        Format::Text => {
            let replay = replay(&report, &arguments.scenario);
            let path = folder.join("report.json");
            print(&format!(
                "{report}{}{replay}report: {}\n",
                took(&timing),
                path.display()
            ));
        }
        Format::Json => print(&report.to_json()),
    }
    let stopped = *stop.borrow();
    report.exit(stopped)
}

/// Simulates on a thread of its own, while this one shows how it stands and listens for signals.
async fn forecast(
    scenario: Scenario,
    threads: usize,
    progress: &Progress,
    stop: watch::Receiver<Option<Stop>>,
) -> Result<(Report, Timing), SimulationError> {
    let status = Arc::new(Status::new(&scenario));
    let (of_thread, stop_of_thread) = (Arc::clone(&status), stop.clone());
    let mut simulating = tokio::task::spawn_blocking(move || {
        virtual_time::forecast(&scenario, threads, &of_thread, || *stop_of_thread.borrow())
    });
    loop {
        tokio::select! {
            done = &mut simulating => return match done {
                Ok(done) => done,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            },
            () = tokio::time::sleep(SHOW_EVERY) => {
                if stop.borrow().is_some() {
                    status.stop();
                }
                progress.forecast(&status);
            }
        }
    }
}

/// Whether there is memory for it, before it is begun.
pub(super) fn fits(scenario: &Scenario, threads: usize) -> Result<(), String> {
    let needed = simulator::memory_estimate(scenario, threads);
    match machine::free_memory() {
        Some(free) if needed > free.bytes => Err(format!(
            "simulating {} hosts on {threads} threads takes about {}, and {free}; expected fewer hosts a region, larger \
             chunks (build.chunk_size), or --threads 1",
            scenario.host_count(),
            Bytes::new(needed),
        )),
        _ => Ok(()),
    }
}

fn took(timing: &Timing) -> String {
    format!(
        "took: {:.1} s on {} threads, {:.0} k transfers/s, {:.2} x real time, peak memory {}\n",
        timing.wall_seconds,
        timing.threads,
        timing.transfers_per_second / 1e3,
        timing.speed_up,
        Bytes::new(timing.peak_rss_bytes),
    )
}

/// What repeats a forecast in which hosts were left behind.
fn replay(report: &Report, scenario: &std::path::Path) -> String {
    if report.pending() == 0 {
        return String::new();
    }
    let mut sets = String::new();
    let mut arguments = std::env::args();
    while let Some(argument) = arguments.next() {
        if argument == "--set" {
            let _ = write!(sets, " --set {:?}", arguments.next().unwrap_or_default());
        } else if let Some(set) = argument.strip_prefix("--set=") {
            let _ = write!(sets, " --set {set:?}");
        }
    }
    format!(
        "replay: harness plan {} --seed {}{sets}\n",
        scenario.display(),
        report.seed()
    )
}

const SHOW_EVERY: Duration = Duration::from_millis(200);
