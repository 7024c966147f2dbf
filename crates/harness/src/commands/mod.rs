//! The subcommands, one file each.

mod bootstrap;
mod compare;
mod count;
mod plan;
mod run;
mod status;
mod sweep;
mod up;
mod upload;
mod watch;

use crate::exit::{Exit, complain};
use crate::live;

pub(crate) use bootstrap::{bootstrap, doctor};
pub(crate) use compare::{compare, parse_percent};
pub(crate) use count::count;
pub(crate) use plan::plan;
pub(crate) use run::run;
pub(crate) use status::status;
pub(crate) use sweep::{Vary, sweep};
pub(crate) use up::up;
pub(crate) use upload::upload;
pub(crate) use watch::watch;

/// Prints a result to stdout.
#[expect(clippy::print_stdout, reason = "results go to stdout, and only from here")]
fn print(text: &str) {
    print!("{text}");
}

/// `harness schema`.
pub(crate) fn schema() -> Exit {
    print(&format!("{:#}\n", scenario::schema()));
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
