//! What `harness bootstrap` and `harness doctor` are told.

use std::path::PathBuf;

use clap::Args;

use super::{Format, Place};

#[derive(Debug, Args)]
pub(crate) struct BootstrapArguments {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The regions.
    #[arg(long, value_delimiter = ',', default_values_t = ["region-a".to_owned(), "region-b".to_owned()])]
    pub(crate) regions: Vec<String>,
    /// Seeders of each region. Each has a queue of its own, and all hear of every build: REGION-builds-events, and from the second on
    /// REGION-builds-events-seeder-NUMBER.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=SEEDERS_MAX))]
    pub(crate) seeders_per_region: u32,
    /// Folder with FUNCTION/bootstrap.zip, as scripts/package-lambdas.sh makes them.
    #[arg(long, value_name = "FOLDER", default_value = "target/lambda-local")]
    pub(crate) packages: PathBuf,
    /// How functions reach the stack; the endpoint where absent.
    #[arg(long, value_name = "URL")]
    pub(crate) function_endpoint_url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The regions.
    #[arg(long, value_delimiter = ',', default_values_t = ["region-a".to_owned(), "region-b".to_owned()])]
    pub(crate) regions: Vec<String>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// As `cloud::SEEDERS_MAX` has it.
const SEEDERS_MAX: i64 = cloud::SEEDERS_MAX as i64;
