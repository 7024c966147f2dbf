//! `harness run --repeat`: a scenario run several times, each in a process of its own, and how far the runs are apart.
//!
//! A process of its own, since memory, processor time and what a run leaves behind are counted by process. Runs have the scenario's seed and those
//! after it, as `plan --seeds` has, so that `compare` can put them in pairs.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use scenario::{LoadOptions, SEED_MAX, Scenario, Stop};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::watch;

use super::kept::Kept;
use super::run::{cloud_options, watch_signals};
use super::spread::Spread;
use super::{folder, print};
use crate::cli::{Format, RunArguments};
use crate::exit::{Exit, of_stop, print_error};
use crate::report::Made;

pub(super) async fn repeat(arguments: &RunArguments, times: u16) -> Result<Exit, Exit> {
    let made = Made::now();
    let options = LoadOptions {
        build: arguments.build.clone(),
        ..arguments.changes.options()
    };
    let scenario = Scenario::load(&arguments.scenario, &options).map_err(|error| {
        say!("{error}");
        Exit::Usage
    })?;
    check(arguments, &scenario, times)?;
    let folder = folder::make(arguments.out.clone(), &format!("{}-repeat", scenario.name)).map_err(|error| {
        print_error("there is no folder for the runs", &error);
        Exit::Failed
    })?;
    let mut stop = watch_signals().map_err(|error| {
        print_error("failed to listen for signals", &error);
        Exit::Failed
    })?;
    let seeds = scenario.seed..scenario.seed + u64::from(times);
    let (mut reports, mut exits) = (Vec::new(), Vec::new());
    for seed in seeds.clone() {
        if stop.borrow().is_some() {
            break;
        }
        say!("run {} of {times}, seed {seed}", seed - seeds.start + 1);
        let own = folder.join(format!("seed-{seed}"));
        exits.push(once(arguments, seed, &own, &mut stop).await?);
        reports.extend(report(&own));
    }
    let stopped = *stop.borrow();
    exits.extend(stopped.map(of_stop));
    if reports.is_empty() {
        folder::leave_if_empty(&folder);
        return Ok(Exit::worst(exits));
    }
    let spread = Spread::of_reports(&reports);
    let json = serde_json::json!({
        "scenario": scenario.name, "seeds": [seeds.start, seeds.end], "runs": reports.len(), "spread": spread, "made": made,
    });
    let mut kept = Kept::in_folder(&folder);
    kept.write("seeds.json", format!("{json:#}\n"));
    match arguments.format {
        Format::Text => print(&format!(
            "{}: {} of {times} runs, seeds {}..{}\n{spread}reports: {}\n",
            scenario.name,
            reports.len(),
            seeds.start,
            seeds.end,
            folder.display()
        )),
        Format::Json => print(&format!("{json:#}\n")),
    }
    Ok(Exit::worst(exits.into_iter().chain([kept.exit()])))
}

fn check(arguments: &RunArguments, scenario: &Scenario, times: u16) -> Result<(), Exit> {
    let problem = if arguments.outputs.junit.is_some() || arguments.outputs.markdown.is_some() {
        "--junit and --markdown are of one report; expected them without --repeat"
    } else if scenario.seed + u64::from(times) > SEED_MAX {
        "there are not so many seeds behind the scenario's; expected a smaller one"
    } else {
        return Ok(());
    };
    say!("harness: {problem}");
    Err(Exit::Usage)
}

/// One run, in a process of its own. Whoever stops this one stops that one.
async fn once(
    arguments: &RunArguments,
    seed: u64,
    out: &Path,
    stop: &mut watch::Receiver<Option<Stop>>,
) -> Result<Exit, Exit> {
    let failed = |error: std::io::Error| {
        print_error("the run's process has failed", &error);
        Exit::Failed
    };
    let program = std::env::current_exe().map_err(failed)?;
    let mut run = Command::new(program);
    run.arg("run")
        .arg(&arguments.scenario)
        .args(words(arguments, seed))
        .arg("--out")
        .arg(out);
    if let Some(build) = &arguments.build {
        run.arg("--build").arg(build);
    }
    let mut run = run.stdout(Stdio::null()).spawn().map_err(failed)?;
    let pid = run.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let status = tokio::select! {
        status = run.wait() => status,
        Ok(stopped) = stop.wait_for(Option::is_some) => {
            let signal = if *stopped == Some(Stop::Interrupted) { Signal::INT } else { Signal::TERM };
            drop(stopped);
            // A terminal has told it already, and a second time would end it without its report.
            if let Some(pid) = pid && signal == Signal::TERM {
                let _ = kill_process(pid, signal);
            }
            run.wait().await
        }
    };
    Ok(status.map_err(failed)?.code().map_or(Exit::Failed, Exit::of_code))
}

/// What is passed on to each run.
fn words(arguments: &RunArguments, seed: u64) -> Vec<String> {
    let mut words = vec!["--seed".to_owned(), seed.to_string()];
    for set in &arguments.changes.set.overrides {
        words.extend(["--set".to_owned(), set.pair()]);
    }
    words.extend(cloud_options(arguments));
    if let Some(at) = arguments.metrics {
        words.extend(["--metrics".to_owned(), at.to_string()]);
    }
    if let Some(url) = &arguments.traces.otlp {
        words.extend(["--otlp".to_owned(), url.to_string()]);
    }
    let flags = [
        (arguments.guards.unsigned, "--unsigned"),
        (arguments.guards.open, "--open"),
        (arguments.keep_cloud, "--keep-cloud"),
        (arguments.no_records, "--no-records"),
    ];
    words.extend(flags.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag.to_owned()));
    words
}

/// The report of a run that has one.
fn report(folder: &Path) -> Option<Value> {
    let file: PathBuf = folder.join("report.json");
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}
