//! The subcommands, one file each.

#[cfg(feature = "pipeline")]
mod bootstrap;
mod compare;
mod count;
mod folder;
mod forecasts;
#[cfg(not(feature = "pipeline"))]
mod no_pipeline;
mod plan;
mod reach;
mod run;
mod spread;
#[cfg(feature = "pipeline")]
mod status;
mod sweep;
mod torture;
#[cfg(feature = "pipeline")]
mod up;
mod upload;
mod watch;

use scenario::Scenario;

use crate::cli::SchemaOf;
use crate::exit::{Exit, complain};
use crate::live;

#[cfg(feature = "pipeline")]
pub(crate) use bootstrap::{bootstrap, doctor};
pub(crate) use compare::{compare, parse_percent};
pub(crate) use count::count;
#[cfg(not(feature = "pipeline"))]
pub(crate) use no_pipeline::{bootstrap, doctor, status, up};
pub(crate) use plan::plan;
pub(crate) use run::run;
#[cfg(feature = "pipeline")]
pub(crate) use status::status;
pub(crate) use sweep::{Vary, sweep};
pub(crate) use torture::torture;
#[cfg(feature = "pipeline")]
pub(crate) use up::up;
pub(crate) use upload::upload;
pub(crate) use watch::watch;

/// Prints a result to stdout.
#[expect(clippy::print_stdout, reason = "results go to stdout, and only from here")]
fn print(text: &str) {
    print!("{text}");
}

/// Says on stderr what is legal in these scenarios and hardly meant, each thing once.
fn warn<'a>(scenarios: impl IntoIterator<Item = &'a Scenario>) {
    let mut told: Vec<String> = Vec::new();
    for warning in scenarios.into_iter().flat_map(Scenario::warnings) {
        if !told.contains(&warning) {
            eprintln!("harness: warning: {warning}");
            told.push(warning);
        }
    }
}

/// `harness schema`.
pub(crate) fn schema(of: SchemaOf) -> Exit {
    let schema = match of {
        SchemaOf::Scenario => scenario::schema(),
        SchemaOf::Report => scenario::report_schema(),
    };
    print(&format!("{schema:#}\n"));
    Exit::Well
}

/// `harness worker`.
pub(crate) async fn worker() -> Exit {
    match live::serve_worker().await {
        Ok(()) => Exit::Well,
        Err(error) => {
            complain("worker", &error);
            Exit::Failed
        }
    }
}
