//! The subcommands, one file each.

mod baseline;
#[cfg(feature = "pipeline")]
mod bootstrap;
mod certify;
mod check;
mod compare;
mod cost;
mod count;
#[cfg(feature = "pipeline")]
mod dead_letters;
mod explain;
mod folder;
mod forecasts;
mod kept;
#[cfg(feature = "manual")]
mod manual;
mod metrics;
#[cfg(not(feature = "manual"))]
mod no_manual;
#[cfg(not(feature = "pipeline"))]
mod no_pipeline;
mod plan;
mod reach;
mod render;
mod repeat;
mod rows_seen;
mod run;
mod runs;
mod sign;
mod solve;
mod spread;
mod starters;
#[cfg(feature = "pipeline")]
mod status;
mod sweep;
mod torture;
#[cfg(feature = "pipeline")]
mod up;
mod upload;
mod watch;
mod words;
mod worker;

use std::io::{ErrorKind, Write};

use scenario::Scenario;

use crate::cli::SchemaOf;
use crate::exit::{Exit, print_error};

pub(crate) use baseline::baseline;
#[cfg(feature = "pipeline")]
pub(crate) use bootstrap::{bootstrap, doctor};
pub(crate) use certify::certify;
pub(crate) use check::check;
pub(crate) use compare::{compare, parse_percent};
pub(crate) use cost::cost;
pub(crate) use count::count;
#[cfg(feature = "pipeline")]
pub(crate) use dead_letters::dead_letters;
pub(crate) use explain::explain;
#[cfg(feature = "manual")]
pub(crate) use manual::{completions, man};
#[cfg(not(feature = "manual"))]
pub(crate) use no_manual::{completions, man};
#[cfg(not(feature = "pipeline"))]
pub(crate) use no_pipeline::{bootstrap, dead_letters, doctor, status, up};
pub(crate) use plan::plan;
pub(crate) use render::render;
pub(crate) use rows_seen::{interval_of_looks, items_of_a_look};
pub(crate) use run::run;
pub(crate) use runs::runs;
pub(crate) use sign::{keygen, sign, verify};
pub(crate) use solve::{Span, solve};
pub(crate) use starters::{init, scenarios};
#[cfg(feature = "pipeline")]
pub(crate) use status::status;
pub(crate) use sweep::{Part, Vary, sweep};
pub(crate) use torture::torture;
#[cfg(feature = "pipeline")]
pub(crate) use up::up;
pub(crate) use upload::upload;
pub(crate) use watch::watch;
pub(crate) use worker::worker;

/// Prints a result to stdout.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever has read enough has what he wanted: the exit code is the command's own.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            print_error("the result cannot be printed", &error);
            std::process::exit(Exit::Failed.code().into());
        }
        _ => {}
    }
}

/// Says on stderr what is legal in these scenarios and hardly meant, each thing once.
fn warn<'a>(scenarios: impl IntoIterator<Item = &'a Scenario>) {
    let mut told: Vec<String> = Vec::new();
    for warning in scenarios.into_iter().flat_map(Scenario::warnings) {
        if !told.contains(&warning) {
            say!("harness: warning: {warning}");
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
    Exit::Success
}
