//! `harness run`.

use std::path::Path;
use std::sync::Arc;

use explain::Records;
use scenario::{LoadOptions, Scenario, Stop};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::metrics::MetricsServer;
use super::plan::{write_for_ci, write_records, write_report};
use super::{folder, print, reach, repeat, warn, worker};
use crate::cli::{CloudKind, Format, RunArguments};
use crate::exit::{Exit, complain};
use crate::live::{self, Choices, CloudChoice, Ran, RunError};
use crate::machine;
use crate::progress::{Figures, Progress};
use crate::report::{About, Asked, Made, Report};
use crate::traces::Collector;

pub(crate) async fn run(arguments: RunArguments) -> Exit {
    let ran = match arguments.repeat {
        Some(times) => Box::pin(repeat::repeat(&arguments, times)).await,
        None => Box::pin(begin(arguments)).await,
    };
    ran.unwrap_or_else(|exit| exit)
}

async fn begin(arguments: RunArguments) -> Result<Exit, Exit> {
    let options = LoadOptions {
        build: arguments.build.clone(),
        ..arguments.changes.options()
    };
    let mut asked = Asked::new("run", &arguments.scenario, &options);
    asked.more = cloud_options(&arguments);
    let made = Made::now();
    let scenario = Scenario::load(&arguments.scenario, &options).map_err(|error| {
        say!("{error}");
        Exit::Usage
    })?;
    warn([&scenario]);
    let choices = choices(&arguments).map_err(|message| {
        say!("harness: {message}");
        Exit::Usage
    })?;
    if arguments.cloud == CloudKind::Aws {
        reach::look(&arguments.place)?;
    }
    let collector = Collector::of(arguments.traces.otlp.as_deref(), |name| std::env::var(name).ok());
    let figures = Arc::new(Figures::new(&scenario));
    // It answers for as long as there is a run to speak of.
    let _metrics = match arguments.metrics {
        Some(at) => Some(MetricsServer::start(at, Arc::clone(&figures)).await?),
        None => None,
    };
    let folder = folder::make(arguments.out.clone(), &scenario.name).map_err(|error| {
        complain("there is no folder for the run", &error);
        Exit::Failed
    })?;
    let stop = watch_signals().map_err(|error| {
        complain("failed to listen for signals", &error);
        Exit::Failed
    })?;
    let mut progress = Progress::told_to(&scenario, figures);
    let ran = Box::pin(live::run(&scenario, &choices, &folder, &mut progress, stop)).await;
    progress.finish();
    let Ran {
        outcome,
        records,
        timeline,
    } = ran.map_err(|error| failed(&error, &folder))?;
    let report = Report::new(&scenario, &outcome, About::new(&scenario, &asked, Some(made)));
    let report = explained(report, records, &folder)?;
    end(&arguments, &report, &folder)?;
    if let Some((collector, timeline)) = collector.zip(timeline) {
        collector.send(&timeline).await;
    }
    Ok(report.exit(outcome.stopped))
}

fn choices(arguments: &RunArguments) -> Result<Choices, String> {
    Ok(Choices {
        cloud: match arguments.cloud {
            CloudKind::Embedded => CloudChoice::Embedded,
            CloudKind::Aws => CloudChoice::Pipeline(arguments.place.config()),
        },
        guards: arguments.guards.guards(),
        is_recorded: !arguments.no_records,
        awaited: worker::awaited(&arguments.spread)?,
        on_lost: arguments.spread.on_lost_worker.into(),
    })
}

/// Says why there is no run.
fn failed(error: &RunError, folder: &Path) -> Exit {
    complain("the run has failed", error);
    folder::leave_if_empty(folder);
    match error {
        RunError::WorkersWithoutSockets { .. }
        | RunError::OnlyInForecasts { .. }
        | RunError::OnlyWithOwnCloud { .. }
        | RunError::OnlyInOneProcess { .. }
        | RunError::MoreWorkersThanHosts { .. } => Exit::Usage,
        #[cfg(not(feature = "pipeline"))]
        RunError::NotBuilt => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// With why its last hosts were late, where that was recorded. The records are kept for `harness explain`.
fn explained(mut report: Report, records: Option<Records>, folder: &Path) -> Result<Report, Exit> {
    if let Some(mut records) = records {
        records.facts.machine = report.machine_was_busy();
        report.explain(&records);
        write_records(folder, Some(&records))?;
    }
    Ok(report)
}

/// Writes and prints what it has come to.
fn end(arguments: &RunArguments, report: &Report, folder: &Path) -> Result<(), Exit> {
    write_report(folder, report)?;
    write_for_ci(&arguments.outputs, report)?;
    let cloud = match (arguments.cloud, arguments.keep_cloud) {
        (CloudKind::Embedded, false) => folder::drop_copies(&folder.join("cloud")),
        _ => None,
    };
    let cloud = cloud.map_or_else(String::new, |removed| {
        let removed = swarm::Bytes::new(removed);
        format!("cloud: its rows stay; its copies of the build, {removed}, are removed (--keep-cloud keeps them)\n")
    });
    match arguments.format {
        Format::Text => print(&format!(
            "{report}{cloud}report: {}\npage: {}\n",
            folder.join("report.json").display(),
            folder.join("report.html").display()
        )),
        Format::Json => print(&report.to_json()),
    }
    Ok(())
}

/// Which cloud it was asked to run on, as options.
pub(super) fn cloud_options(arguments: &RunArguments) -> Vec<String> {
    let mut options = Vec::new();
    if arguments.cloud == CloudKind::Aws {
        options.extend(["--cloud", "aws"].map(str::to_owned));
    }
    if let Some(url) = &arguments.place.endpoint_url {
        options.extend(["--endpoint-url".to_owned(), url.clone()]);
    }
    if !arguments.place.stage.is_empty() {
        options.extend(["--stage".to_owned(), arguments.place.stage.clone()]);
    }
    options
}

/// The first signal ends the run with a partial report, a second one ends the program.
pub(super) fn watch_signals() -> std::io::Result<watch::Receiver<Option<Stop>>> {
    let (sender, receiver) = watch::channel(None);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // A terminal that is closed ends it with a report too, unless `nohup` wants it to go on.
    let mut hang_up = match machine::ignores_hang_up() {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    tokio::spawn(async move {
        loop {
            let stop = tokio::select! {
                _ = interrupt.recv() => Stop::Interrupted,
                _ = terminate.recv() => Stop::Terminated,
                _ = async { hang_up.as_mut()?.recv().await }, if hang_up.is_some() => Stop::Terminated,
            };
            if sender.borrow().is_some() {
                std::process::exit(if stop == Stop::Interrupted { 130 } else { 143 });
            }
            sender.send_replace(Some(stop));
        }
    });
    Ok(receiver)
}
