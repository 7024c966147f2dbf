//! What manifests of engines are asked for with.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::SetArguments;
use super::values::whole;

#[derive(Debug, Args)]
pub(crate) struct RenderArguments {
    /// For which engine.
    #[arg(value_enum)]
    pub(crate) engine: Engine,
    /// The scenario.
    pub(crate) scenario: PathBuf,
    /// Workers, beside the run itself.
    #[arg(long, value_name = "COUNT", value_parser = whole::<u32, 1, 10_000>)]
    pub(crate) workers: u32,
    #[command(flatten)]
    pub(crate) set: SetArguments,
    /// What its objects are called; fleetcast-SCENARIO where absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The image with the harness as its entry point. Kubernetes and AWS Batch need one.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// Kubernetes: let pods be in any zone. They are all in one otherwise, since what they send each other between zones is slower and costs.
    #[arg(long)]
    pub(crate) any_zone: bool,
    /// Slurm: the harness, as all nodes find it.
    #[arg(long, value_name = "FILE", default_value = "harness")]
    pub(crate) program: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// A Job for the run, an Indexed Job for its workers, a headless Service: YAML for `kubectl apply -f -`.
    Kubernetes,
    /// A script for `sbatch`.
    Slurm,
    /// A job definition and the submission of an array job of AWS Batch, as the `aws` command takes them.
    Batch,
}
