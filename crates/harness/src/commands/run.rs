//! `harness run`.

use scenario::{LoadOptions, Scenario, Stop};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::folder::{self, write_whole};
use super::{print, reach, warn};
use crate::cli::{CloudKind, Format, RunArguments};
use crate::exit::{Exit, complain};
use crate::live::{self, CloudChoice, RunError};
use crate::machine;
use crate::progress::Progress;
use crate::report::{About, Asked, Made, Report};

pub(crate) async fn run(arguments: RunArguments) -> Exit {
    let options = LoadOptions {
        overrides: arguments.overrides.clone(),
        seed: arguments.seed,
        build: arguments.build.clone(),
    };
    let mut asked = Asked::new("run", &arguments.scenario, &options);
    asked.more = cloud_options(&arguments);
    let made = Made::now();
    let scenario = match Scenario::load(&arguments.scenario, &options) {
        Ok(scenario) => scenario,
        Err(error) => {
            say!("{error}");
            return Exit::Usage;
        }
    };
    warn([&scenario]);
    if arguments.cloud == CloudKind::Aws
        && let Err(exit) = reach::look(&arguments.place)
    {
        return exit;
    }
    let folder = match folder::make(arguments.out, &scenario.name) {
        Ok(folder) => folder,
        Err(error) => {
            complain("there is no folder for the run", &error);
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
    let mut progress = Progress::new(&scenario);
    let choice = match arguments.cloud {
        CloudKind::Embedded => CloudChoice::Embedded,
        CloudKind::Aws => CloudChoice::Pipeline(arguments.place.config()),
    };
    let outcome = Box::pin(live::run(
        &scenario,
        (&choice, !arguments.unsigned),
        &folder,
        &mut progress,
        stop,
    ))
    .await;
    progress.finish();
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            complain("the run has failed", &error);
            folder::leave_if_empty(&folder);
            return match error {
                RunError::WorkersWithoutSockets { .. } | RunError::OnlyInForecasts { .. } => Exit::Usage,
                #[cfg(not(feature = "pipeline"))]
                RunError::NotBuilt => Exit::Usage,
                _ => Exit::Failed,
            };
        }
    };
    let report = Report::new(&scenario, &outcome, About::new(&scenario, &asked, Some(made)));
    let path = folder.join("report.json");
    let page = folder.join("report.html");
    let rows = report
        .hosts_csv
        .as_ref()
        .map(|rows| (folder.join("hosts.csv"), rows.clone()));
    let files = [(path.clone(), report.to_json()), (page.clone(), report.to_html())];
    for (path, text) in files.into_iter().chain(rows) {
        if let Err(error) = write_whole(&path, &text) {
            complain(&format!("failed to write {}", path.display()), &error);
            return Exit::Failed;
        }
    }
    let cloud = match (choice, arguments.keep_cloud) {
        (CloudChoice::Embedded, false) => folder::drop_copies(&folder.join("cloud")),
        _ => None,
    };
    match arguments.format {
        Format::Text => {
            let cloud = cloud.map_or_else(String::new, |removed| {
                let removed = swarm::Bytes::new(removed);
                format!(
                    "cloud: its rows stay; its copies of the build, {removed}, are removed (--keep-cloud keeps them)\n"
                )
            });
            print(&format!(
                "{report}{cloud}report: {}\npage: {}\n",
                path.display(),
                page.display()
            ));
        }
        Format::Json => print(&report.to_json()),
    }
    report.exit(outcome.stopped)
}

/// Which cloud it was asked to run on, as options.
fn cloud_options(arguments: &RunArguments) -> Vec<String> {
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
