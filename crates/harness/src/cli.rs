//! What the command line takes.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use scenario::Override;

use crate::commands::{Vary, parse_percent};

/// Distribute a build over a fleet of real peers on this machine and measure it, or forecast it for any fleet.
#[derive(Debug, Parser)]
#[command(name = "harness", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a scenario live: real peers, real libp2p, an embedded cloud.
    Run(RunArguments),
    /// Forecast a scenario in virtual time: the same protocol, a modelled network, any number of hosts.
    Plan(PlanArguments),
    /// Put two reports side by side: live against forecast, or before against after.
    Compare(CompareArguments),
    /// Forecast a scenario over a grid of values, best first.
    Sweep(SweepArguments),
    /// Count the deployment logs of a build.
    Count(CountArguments),
    /// Print the JSON Schema of a scenario file.
    Schema,
    /// Run a part of the hosts of a run; started by `run`, which speaks to it over stdin and stdout.
    #[command(hide = true)]
    Worker,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The scenario, such as scenarios/smoke.toml.
    pub(crate) scenario: PathBuf,
    /// Change a value of the scenario; can be given several times. The value is TOML or a plain word.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<Override>,
    /// Seed of everything random, instead of the scenario's.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Distribute this file, instead of the scenario's build.
    #[arg(long, value_name = "FILE")]
    pub(crate) build: Option<PathBuf>,
    /// Folder for report.json and the embedded cloud's data; runs/<time>-<scenario> where absent. It must be new or empty.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// What to print at the end.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// The scenario, such as scenarios/kraken-2600.toml.
    pub(crate) scenario: PathBuf,
    /// Change a value of the scenario; can be given several times. The value is TOML or a plain word.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<Override>,
    /// Seed of everything random, instead of the scenario's.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Threads, each with a region at a time; one for each core where absent. The result does not depend on it.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// Folder for report.json and timing.json; runs/<time>-<scenario> where absent. It must be new or empty.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// What to print at the end.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// A run's folder, or its report.json.
    pub(crate) a: PathBuf,
    /// Another one.
    pub(crate) b: PathBuf,
    /// Fail (exit 1) where B is later than A by more than this, such as 5%.
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub(crate) max_regression: Option<f64>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct SweepArguments {
    /// The scenario.
    pub(crate) scenario: PathBuf,
    /// A key and its values, such as swarm.degree=4,8,16; can be given several times.
    #[arg(long, value_name = "KEY=VALUE,…", required = true)]
    pub(crate) vary: Vec<Vary>,
    /// Change a value in all cells; can be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<Override>,
    /// Seed of everything random, instead of the scenario's.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Field of the report to sort by, least first.
    #[arg(long, value_name = "FIELD", default_value = "stretch.max")]
    pub(crate) metric: String,
    /// Folder for sweep.json; runs/<time>-<scenario>-sweep where absent. It must be new or empty.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct CountArguments {
    /// The build, such as build-123.zip.
    #[arg(long)]
    pub(crate) build_id: String,
    /// The folder of a run; the newest under runs/ where neither this nor an endpoint is given.
    #[arg(long, value_name = "FOLDER", conflicts_with = "endpoint_url")]
    pub(crate) run: Option<PathBuf>,
    /// Endpoint of DynamoDB, with the standard AWS environment's credentials.
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint_url: Option<String>,
    /// Fail (exit 1) unless it is this many.
    #[arg(long, value_name = "ROWS")]
    pub(crate) expect: Option<u64>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}
