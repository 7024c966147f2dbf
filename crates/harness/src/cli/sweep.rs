//! What `harness sweep` takes.

use std::path::PathBuf;

use clap::Args;

use super::{ChangeArguments, Format};
use crate::commands::{Part, Vary};

#[derive(Debug, Args)]
pub(crate) struct SweepArguments {
    /// The scenario.
    #[arg(required_unless_present = "collect")]
    pub(crate) scenario: Option<PathBuf>,
    /// A key and its values, such as swarm.degree=4,8,16; can be given several times.
    #[arg(long, value_name = "KEY=VALUE,…", required_unless_present = "collect")]
    pub(crate) vary: Vec<Vary>,
    #[command(flatten)]
    pub(crate) changes: ChangeArguments,
    /// Field of the report to sort by, least first, such as regions.region-a.stretch.max.
    #[arg(long, value_name = "FIELD", default_value = "stretch.max")]
    pub(crate) metric: String,
    /// Make every N-th cell only, from the K-th on, such as 0/40, and leave each as a file in --out, which others write into too: for arrays
    /// of jobs.
    #[arg(long, value_name = "K/N", requires = "out")]
    pub(crate) cell: Option<Part>,
    /// Put the cells of a folder together into its sweep.json. Exit 4 where some are missing, with the commands that make them.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["scenario", "vary", "overrides", "seed", "metric", "out", "cell"])]
    pub(crate) collect: Option<PathBuf>,
    /// Folder for sweep.json; runs/TIME-SCENARIO-sweep where absent. It must be new or empty.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}
