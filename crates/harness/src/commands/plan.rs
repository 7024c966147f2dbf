//! `harness plan`.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use scenario::{LoadOptions, Scenario, Stop};
use simulator::{SimulationError, Status};
use swarm::Bytes;
use tokio::sync::watch;

use super::folder;
use super::forecasts::{forecast_all, with_seeds};
use super::kept::Kept;
use super::run::watch_signals;
use super::spread::Spread;
use super::{print, warn};
use crate::cli::{Format, PlanArguments};
use crate::exit::{Exit, of_stop, print_error};
use crate::machine;
use crate::progress::Progress;
use crate::report::{About, Asked, Made};
use crate::virtual_time::{self, Forecasted, Timing};

pub(crate) async fn plan(arguments: PlanArguments) -> Exit {
    let options = arguments.changes.options();
    let made = match &arguments.seeds {
        Some(seeds) => of_seeds(&arguments, &options, seeds),
        None => of_one(&arguments, &options).await,
    };
    made.unwrap_or_else(|exit| exit)
}

async fn of_one(arguments: &PlanArguments, options: &LoadOptions) -> Result<Exit, Exit> {
    let scenario = Scenario::load(&arguments.scenario, options).map_err(|error| {
        say!("{error}");
        Exit::Usage
    })?;
    let threads = arguments.threads.map_or_else(machine::cores, usize::from);
    fits(&scenario, threads).map_err(refuse)?;
    warn([&scenario]);
    let folder = make_folder(arguments, &scenario.name)?;
    let stop = signals()?;
    let progress = Progress::new(&scenario);
    let about = About::new(&scenario, &Asked::new("plan", &arguments.scenario, options), None);
    let how = (threads, !arguments.no_records);
    let forecast = forecast(scenario, about, how, &progress, stop.clone()).await;
    progress.finish();
    let Forecasted {
        report,
        timing,
        records,
    } = forecast.map_err(|error| {
        print_error("there is no forecast", &error);
        folder::leave_if_empty(&folder);
        Exit::Usage
    })?;
    let timing_json = serde_json::to_string_pretty(&timing).expect("numbers make JSON") + "\n";
    let mut kept = Kept::in_folder(&folder);
    kept.report(&report);
    kept.write("timing.json", &timing_json);
    kept.records(records.as_ref());
    kept.for_ci(&arguments.outputs, &report);
    match arguments.format {
        Format::Text => print(&format!("{report}{}{}", took(&timing), kept.places())),
        Format::Json => print(&report.to_json()),
    }
    let stopped = *stop.borrow();
    Ok(Exit::worst([report.exit(stopped), kept.exit()]))
}

/// A forecast for each seed, a folder for each, and how far they are apart.
fn of_seeds(arguments: &PlanArguments, options: &LoadOptions, seeds: &Range<u64>) -> Result<Exit, Exit> {
    if arguments.outputs.junit.is_some() || arguments.outputs.markdown.is_some() {
        return Err(refuse(
            "--junit and --markdown are of one report; expected --seed and not --seeds".to_owned(),
        ));
    }
    let all = with_seeds(&arguments.scenario, options, seeds).map_err(|error| {
        say!("{error}");
        Exit::Usage
    })?;
    warn(all.iter().map(|one| &one.scenario));
    let folder = make_folder(arguments, &format!("{}-seeds", all[0].scenario.name))?;
    let stop = signals()?;
    let made = Made::now();
    let reports = tokio::task::block_in_place(|| forecast_all(&all, "forecast", &stop)).map_err(|message| {
        folder::leave_if_empty(&folder);
        refuse(message)
    })?;
    let mut kept = Kept::in_folder(&folder);
    let mut done = Vec::new();
    for report in reports.into_iter().flatten() {
        kept.write_below(&format!("seed-{}", report.seed()), "report.json", report.to_json());
        done.push(report);
    }
    let spread = Spread::of(&done);
    let json = serde_json::json!({
        "scenario": all[0].scenario.name, "seeds": [seeds.start, seeds.end], "forecasts": done.len(), "spread": spread,
        "made": made,
    });
    kept.write("seeds.json", format!("{json:#}\n"));
    match arguments.format {
        Format::Text => print(&format!(
            "{}: {} of {} forecasts, seeds {}..{}\n{spread}reports: {}\n",
            all[0].scenario.name,
            done.len(),
            all.len(),
            seeds.start,
            seeds.end,
            folder.display()
        )),
        Format::Json => print(&format!("{json:#}\n")),
    }
    let stopped = *stop.borrow();
    // The worst of them, as each would have ended alone.
    let exits = done.iter().map(|report| report.exit(stopped));
    Ok(Exit::worst(exits.chain(stopped.map(of_stop)).chain([kept.exit()])))
}

/// Says why nothing is begun.
fn refuse(message: String) -> Exit {
    say!("harness: {message}");
    Exit::Usage
}

fn make_folder(arguments: &PlanArguments, name: &str) -> Result<std::path::PathBuf, Exit> {
    folder::make(arguments.out.clone(), name).map_err(|error| {
        print_error("there is no folder for the forecast", &error);
        Exit::Failed
    })
}

fn signals() -> Result<watch::Receiver<Option<Stop>>, Exit> {
    watch_signals().map_err(|error| {
        print_error("failed to listen for signals", &error);
        Exit::Failed
    })
}

/// Simulates on a thread of its own, while this one shows how it stands and listens for signals.
async fn forecast(
    scenario: Scenario,
    about: About,
    how: (usize, bool),
    progress: &Progress,
    stop: watch::Receiver<Option<Stop>>,
) -> Result<Forecasted, SimulationError> {
    let status = Arc::new(Status::new(&scenario));
    let (of_thread, stop_of_thread) = (Arc::clone(&status), stop.clone());
    let mut simulating = tokio::task::spawn_blocking(move || {
        virtual_time::forecast(&scenario, about, how, &of_thread, || *stop_of_thread.borrow())
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

const SHOW_EVERY: Duration = Duration::from_millis(200);
