//! What `harness runs` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Format;

#[derive(Debug, Args)]
pub(crate) struct RunsArguments {
    #[command(subcommand)]
    pub(crate) what: Option<OfRuns>,
    /// The folder with the runs.
    #[arg(long = "in", value_name = "FOLDER", default_value = "runs", global = true)]
    pub(crate) folder: PathBuf,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OfRuns {
    /// List them, the newest last: what was run, how it ended, and how much room it takes.
    List,
    /// Show one again, from its report.json.
    Show {
        /// Its folder, or its name among the runs; the newest where absent.
        run: Option<PathBuf>,
    },
    /// Remove all but the newest. What has no report is left alone: it may be under way.
    Prune {
        /// How many stay.
        #[arg(long, value_name = "COUNT")]
        keep: usize,
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
}
