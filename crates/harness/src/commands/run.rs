//! `harness run`.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use explain::Records;
use scenario::{LoadOptions, Scenario, Stop};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::kept::Kept;
use super::metrics::MetricsServer;
use super::{folder, print, reach, repeat, warn, worker};
use crate::cli::{CloudKind, Format, RunArguments};
use crate::exit::{Exit, of_stop, print_error};
use crate::live::{self, Choices, CloudChoice, NotRan, Ran, RunError, Timeline};
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
        print_error("there is no folder for the run", &error);
        Exit::Failed
    })?;
    let stop = watch_signals().map_err(|error| {
        print_error("failed to listen for signals", &error);
        Exit::Failed
    })?;
    let (began, mut progress) = (SystemTime::now(), Progress::told_to(&scenario, figures));
    let ran = Box::pin(live::run(&scenario, &choices, &folder, &mut progress, stop)).await;
    progress.finish();
    let Ran {
        outcome,
        mut records,
        timeline,
    } = match ran {
        Ok(ran) => ran,
        Err(NotRan { error, timeline }) => {
            let exit = failed(&error, &folder);
            // Bad usage was never begun.
            if let Some(collector) = collector.filter(|_| exit != Exit::Usage) {
                let nothing = || Timeline::nothing(&scenario, began).failed(&error);
                collector.send(&timeline.map_or_else(nothing, |known| *known)).await;
            }
            return Err(exit);
        }
    };
    let mut report = Report::new(&scenario, &outcome, About::new(&scenario, &asked, Some(made)));
    explain(&mut report, records.as_mut());
    let mut kept = Kept::in_folder(&folder);
    end(&arguments, (&report, records.as_ref()), &mut kept, &folder);
    if let Some(collector) = collector {
        let timeline = timeline.unwrap_or_else(|| Timeline::nothing(&scenario, began));
        collector.send(&timeline).await;
    }
    Ok(Exit::worst([report.exit(outcome.stopped), kept.exit()]))
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
    print_error("the run has failed", error);
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

/// Says why its last hosts were late, where that was recorded.
fn explain(report: &mut Report, records: Option<&mut Records>) {
    if let Some(records) = records {
        records.facts.machine = report.machine_was_busy();
        report.explain(records);
    }
}

/// Writes and prints what it has come to.
fn end(arguments: &RunArguments, (report, records): (&Report, Option<&Records>), kept: &mut Kept<'_>, folder: &Path) {
    kept.report(report);
    kept.records(records);
    kept.for_ci(&arguments.outputs, report);
    let cloud = match (arguments.cloud, arguments.keep_cloud) {
        (CloudKind::Embedded, false) => folder::drop_copies(&folder.join("cloud")),
        _ => None,
    };
    let cloud = cloud.map_or_else(String::new, |removed| {
        let removed = swarm::Bytes::new(removed);
        format!("cloud: its rows stay; its copies of the build, {removed}, are removed (--keep-cloud keeps them)\n")
    });
    match arguments.format {
        Format::Text => print(&format!("{report}{cloud}{}", kept.places())),
        Format::Json => print(&report.to_json()),
    }
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
                std::process::exit(of_stop(stop).code().into());
            }
            sender.send_replace(Some(stop));
        }
    });
    Ok(receiver)
}
