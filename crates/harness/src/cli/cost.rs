//! What `harness cost` takes.

use std::path::PathBuf;

use clap::Args;
use scenario::Override;

use super::Format;
use super::values::{whole, written_size};

#[derive(Debug, Args)]
pub(crate) struct CostArguments {
    /// The scenario; what --hosts, --size and --regions say where absent.
    pub(crate) scenario: Option<PathBuf>,
    /// Change a value of the scenario; can be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "scenario")]
    pub(crate) overrides: Vec<Override>,
    /// Hosts in all; each region has as many.
    #[arg(long, conflicts_with = "scenario", default_value_t = 1000, value_parser = whole::<u32, 1, 10_000_000>)]
    pub(crate) hosts: u32,
    /// Size of the build.
    #[arg(long, conflicts_with = "scenario", default_value = "1 GiB", value_parser = written_size)]
    pub(crate) size: String,
    /// The AWS regions that hosts are in, such as eu-west-1,us-west-2; of a scenario's regions in their order. All are --home where
    /// absent.
    #[arg(long, value_delimiter = ',', value_name = "REGIONS")]
    pub(crate) regions: Vec<String>,
    /// Zones of each region that hosts are in.
    #[arg(long, conflicts_with = "scenario", default_value_t = 3, value_parser = whole::<u32, 1, 16>)]
    pub(crate) zones: u32,
    /// The AWS region that builds are uploaded to, and of the workflow and the tables.
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    pub(crate) home: String,
    /// Prices of your own, as prices/aws.toml has them.
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}
