//! What `harness solve` takes.

use std::path::PathBuf;

use clap::Args;

use super::values::few_seeds;
use super::{Format, SetArguments};
use crate::commands::{Span, parse_percent};

#[derive(Debug, Args)]
pub(crate) struct SolveArguments {
    /// The scenario, with thresholds.
    pub(crate) scenario: PathBuf,
    /// A key and the values between which to look, such as swarm.degree=2..32 or "network.seeder.uplink=1..10 Gbit/s".
    #[arg(value_name = "KEY=FROM..TO")]
    pub(crate) span: Span,
    /// Look for the greatest value that meets the thresholds, and not for the least.
    #[arg(long)]
    pub(crate) greatest: bool,
    /// Each value is forecast with these seeds, and has to meet the thresholds with all of them.
    #[arg(long, value_name = "FROM..TO", default_value = "1..4", value_parser = few_seeds)]
    pub(crate) seeds: std::ops::Range<u64>,
    /// How near the answer is to be, such as 1%. Whole numbers are not told closer than by 1.
    #[arg(long, value_name = "PERCENT", default_value = "1%", value_parser = parse_percent)]
    pub(crate) within: f64,
    #[command(flatten)]
    pub(crate) set: SetArguments,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}
