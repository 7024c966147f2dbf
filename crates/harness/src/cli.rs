//! What the command line takes.

mod baseline;
mod bootstrap;
mod certify;
mod changes;
mod cost;
mod dead_letters;
mod explain;
mod manual;
mod outputs;
mod render;
mod runs;
#[cfg(test)]
mod scripts;
mod signed;
mod solve;
mod sweep;
mod traces;
mod values;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cloud::{BuildId, CloudConfig};
use scenario::Override;

use crate::commands::parse_percent;
use baseline::BASELINES;
use values::{few_seeds, seeds, size, whole, written_rate, written_size};

pub(crate) use baseline::{BaselineArguments, BaselineName, OfBaselines};
pub(crate) use bootstrap::{BootstrapArguments, DoctorArguments};
pub(crate) use certify::{CertifyArguments, GuardArguments};
pub(crate) use changes::{ChangeArguments, SetArguments};
pub(crate) use cost::CostArguments;
pub(crate) use dead_letters::DeadLettersArguments;
#[cfg(feature = "pipeline")]
pub(crate) use dead_letters::OfDeadLetters;
pub(crate) use explain::ExplainArguments;
pub(crate) use manual::{CompletionsArguments, ManArguments};
pub(crate) use outputs::Outputs;
pub(crate) use render::{Engine, RenderArguments};
pub(crate) use runs::{OfRuns, RunsArguments};
pub(crate) use signed::{Expiry, KeygenArguments, SignArguments, TermArguments, VerifyArguments};
pub(crate) use solve::SolveArguments;
pub(crate) use sweep::SweepArguments;
pub(crate) use traces::TraceArguments;
pub(crate) use workers::{DollarsArguments, KeyArguments, SpreadArguments, WorkerArguments};

/// fleetcast's harness: distribute a build over a fleet of real peers on this machine and measure it, or forecast it for any
/// fleet.
///
/// To begin with:
///
///   harness scenarios                              what there is to run
///
///   harness run scenarios/smoke.toml               real peers, in seconds; runs/…/report.html shows it
///
///   harness init --hosts 20000 --size 5GB --out my.toml && harness check my.toml && harness plan my.toml
///
/// Words: `harness explain excused` says what that means, and so of each that is printed.
/// Exit codes: 0 well, 1 a threshold was missed, 2 bad usage or scenario, 3 hosts were left behind, 4 something failed, 5 no
/// verdict, 130 and 143 stopped.
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
    /// Say what a scenario comes to before anything runs: its values and where each is from, its thresholds, the lower bound of each
    /// region, and what a run and a forecast of it take. Exit 1 where this machine can do neither.
    Check(CheckArguments),
    /// Put two runs side by side, or pairs of them: live against forecast, or before against after. Exit 1 where B is worse, 5
    /// where that cannot be said: too few runs, no figures, another fleet, another build.
    Compare(CompareArguments),
    /// Keep the reports of a run under a name, to hold others against them; list such names, remove one.
    Baseline(BaselineArguments),
    /// Say why a host was late: its path back to the bucket, and what each step of it waited for. Or what a word means, one of a report,
    /// of a scenario, or of what is printed.
    Explain(ExplainArguments),
    /// Forecast a scenario over a grid of values, best first.
    Sweep(SweepArguments),
    /// Find the least value of a key with which a scenario meets its thresholds, by halving what is left. Exit 1 where none does.
    Solve(SolveArguments),
    /// Try the protocol's core on days with faults, drawn by the thousand, and check what is promised. Exit 1 where a promise is
    /// broken; what is printed then has the command that plays that day again.
    Torture(TortureArguments),
    /// Say what a deploy costs on AWS, line by line, and what stays of it for a month.
    Cost(CostArguments),
    /// Count the hosts that have a build, by their deployment logs.
    Count(CountArguments),
    /// Upload a build to the global bucket: the pipeline does the rest.
    Upload(UploadArguments),
    /// Make a key that signs builds, or one that certifies members: FILE with the secret, for its owner only, and FILE.pub for seeders and hosts.
    Keygen(KeygenArguments),
    /// Sign a build: prints one line, which is metadata of its object (`fleetcast-signature`).
    Sign(SignArguments),
    /// Say whether a build is what a trusted key has signed. Exit 1 where it is not.
    Verify(VerifyArguments),
    /// Make a member of a host or a seeder of a closed swarm: prints its certificate, which is for --certificate.
    Certify(CertifyArguments),
    /// Follow a build through the pipeline to the last host.
    Watch(WatchArguments),
    /// Keep the seeders and hosts of a scenario up, waiting for builds.
    Up(UpArguments),
    /// Show the last executions of the workflow.
    Status(StatusArguments),
    /// Make the pipeline at the endpoint of a local stack; on AWS that is for terraform/.
    Bootstrap(BootstrapArguments),
    /// Say what of the pipeline is there and what is missing.
    Doctor(DoctorArguments),
    /// Name the queues of what nobody could take up, show each message with its reason, send it back, or take it away.
    DeadLetters(DeadLettersArguments),
    /// List the scenarios that come with the program, or print one.
    Scenarios(ScenariosArguments),
    /// Write a commented scenario of your own.
    Init(InitArguments),
    /// List the runs that were kept, show one again, or remove old ones.
    Runs(RunsArguments),
    /// Print what a shell needs to complete commands and options of this program.
    Completions(CompletionsArguments),
    /// Write a page for `man` of each command.
    Man(ManArguments),
    /// Print the JSON Schema of a scenario file, or of a report.json.
    Schema {
        /// Of which.
        #[arg(value_enum, default_value_t = SchemaOf::Scenario)]
        of: SchemaOf,
    },
    /// Print what an engine is given so that it starts a run over several machines: manifests of Kubernetes, a script for Slurm, a job of AWS
    /// Batch.
    Render(RenderArguments),
    /// Run a part of the hosts of a run on another machine: `harness run --workers` gives it its part.
    Worker(WorkerArguments),
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The scenario, such as scenarios/smoke.toml.
    pub(crate) scenario: PathBuf,
    #[command(flatten)]
    pub(crate) changes: ChangeArguments,
    /// Run it so many times, with the seed and those after it, each in a process of its own; seeds.json says how far they are apart.
    #[arg(long, value_name = "TIMES", value_parser = whole::<u16, 2, 1000>)]
    pub(crate) repeat: Option<u16>,
    /// Distribute this file, instead of the scenario's build.
    #[arg(long, value_name = "FILE")]
    pub(crate) build: Option<PathBuf>,
    /// Where the build travels: in servers of this run's own, or by the pipeline that `terraform/` or `harness bootstrap` makes.
    #[arg(long, value_enum, default_value_t = CloudKind::Embedded)]
    pub(crate) cloud: CloudKind,
    #[command(flatten)]
    pub(crate) guards: GuardArguments,
    #[command(flatten)]
    pub(crate) spread: SpreadArguments,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Answer at this address, such as 127.0.0.1:9465, how the run stands, for Prometheus: http://ADDRESS/metrics. Nobody is asked who they
    /// are.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) traces: TraceArguments,
    /// Folder for report.json and the embedded cloud's data; runs/TIME-SCENARIO where absent. It must be new or empty.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Keep the copies of the build that the embedded cloud has: one, and one for each region.
    #[arg(long)]
    pub(crate) keep_cloud: bool,
    /// Record nothing for `harness explain`: a run takes some memory and up to a twentieth of the processor's time for it.
    #[arg(long)]
    pub(crate) no_records: bool,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
    /// What to print at the end.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// The scenario, such as scenarios/kraken-2600.toml.
    pub(crate) scenario: PathBuf,
    #[command(flatten)]
    pub(crate) changes: ChangeArguments,
    /// A forecast for each of these seeds, such as 1..21, the last not among them; seeds.json says how far they are apart.
    #[arg(long, value_name = "FROM..TO", value_parser = few_seeds, conflicts_with = "seed")]
    pub(crate) seeds: Option<std::ops::Range<u64>>,
    /// Threads, each with a region at a time; one for each core where absent. The result does not depend on it.
    #[arg(long, value_name = "COUNT", value_parser = whole::<u16, 1, 65_535>)]
    pub(crate) threads: Option<u16>,
    /// Folder for report.json and timing.json; runs/TIME-SCENARIO where absent. It must be new or empty.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Record nothing for `harness explain`: a run takes some memory and up to a twentieth of the processor's time for it.
    #[arg(long)]
    pub(crate) no_records: bool,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
    /// What to print at the end.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ScenariosArguments {
    /// The one to print, such as smoke.
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Hosts in all; each region has as many.
    #[arg(long, default_value_t = 1000, value_parser = whole::<u32, 1, 1_000_000>)]
    pub(crate) hosts: u32,
    /// Size of the build.
    #[arg(long, default_value = "1 GiB", value_parser = written_size)]
    pub(crate) size: String,
    /// What a host sends at most.
    #[arg(long, value_name = "RATE", default_value = "1 Gbit/s", value_parser = written_rate)]
    pub(crate) uplink: String,
    /// What a host receives at most.
    #[arg(long, value_name = "RATE", default_value = "2 Gbit/s", value_parser = written_rate)]
    pub(crate) downlink: String,
    /// The regions.
    #[arg(long, value_delimiter = ',', default_values_t = ["region-a".to_owned()])]
    pub(crate) regions: Vec<String>,
    /// The file, which is not to be there yet; printed where absent.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// The scenario.
    pub(crate) scenario: PathBuf,
    #[command(flatten)]
    pub(crate) changes: ChangeArguments,
    /// Of this file, instead of the scenario's build.
    #[arg(long, value_name = "FILE")]
    pub(crate) build: Option<PathBuf>,
    /// All values, those that nobody has given too.
    #[arg(long)]
    pub(crate) all: bool,
    /// Over so many workers of other machines: what each takes. Exit 1 where that does not fit.
    #[arg(long, value_name = "COUNT", value_parser = whole::<u32, 1, 10_000>)]
    pub(crate) workers: Option<u32>,
    /// Memory of each of these machines, such as 16GiB; what this one has free where absent.
    #[arg(long, value_name = "SIZE", requires = "workers", value_parser = size)]
    pub(crate) node_memory: Option<u64>,
    /// Open files that a process may have there; as here where absent.
    #[arg(long, value_name = "COUNT", requires = "workers", value_parser = whole::<u64, 0, { u64::MAX }>)]
    pub(crate) node_files: Option<u64>,
    #[command(flatten)]
    pub(crate) dollars: DollarsArguments,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// A run's folder, its report.json, a folder of such folders, or a scenario that is forecast.
    pub(crate) a: PathBuf,
    /// What is held against it.
    #[arg(required_unless_present = "baseline")]
    pub(crate) b: Option<PathBuf>,
    /// Hold A against what was kept under this name, in place of B against A.
    #[arg(long, value_name = "NAME", conflicts_with = "b")]
    pub(crate) baseline: Option<BaselineName>,
    /// The folder with the baselines.
    #[arg(long, value_name = "FOLDER", default_value = BASELINES, requires = "baseline")]
    pub(crate) baselines: PathBuf,
    /// Of reports, those with these seeds only; a scenario is forecast with each of them. Runs of one seed make a pair.
    #[arg(long, value_name = "FROM..TO", value_parser = few_seeds)]
    pub(crate) seeds: Option<std::ops::Range<u64>>,
    #[command(flatten)]
    pub(crate) set: SetArguments,
    /// Change a value of B, where that is a scenario; can be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set_b: Vec<Override>,
    /// Fail (exit 1) where B is later than A by more than this, such as 5%, for all that six or more pairs of runs say; fewer have no
    /// verdict (5). More hosts left behind than in A fail without it.
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub(crate) max_regression: Option<f64>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct TortureArguments {
    /// The seeds, such as 0..10000: a day each. Without a class they take the classes in turn.
    #[arg(long, value_name = "FROM..TO", default_value = "0..1000", value_parser = seeds)]
    pub(crate) seeds: std::ops::Range<u64>,
    /// Days of this class only, such as crash.
    #[arg(long)]
    pub(crate) class: Option<torture::Class>,
    /// Hosts of each day, instead of those drawn.
    #[arg(long, value_parser = whole::<u32, 1, 300>)]
    pub(crate) hosts: Option<u32>,
    /// Only this part of each day: hosts=10+11,faults=0,chunks=8, as it is printed for a day that failed.
    #[arg(long, value_name = "PART")]
    pub(crate) only: Option<torture::Only>,
    /// Play the first day with a log of all that is said and done.
    #[arg(long)]
    pub(crate) trace: bool,
    /// Leave out the days that once failed, which are played first.
    #[arg(long)]
    pub(crate) no_regressions: bool,
    /// Plays that making a day smaller may take, of the first that fails of each class and promise.
    #[arg(long, value_name = "PLAYS", default_value_t = 60, value_parser = whole::<u32, 0, 4_294_967_295>)]
    pub(crate) shrink: u32,
    /// Threads, with a day each; one for each core where absent. What comes of the days does not depend on it.
    #[arg(long, value_name = "COUNT", value_parser = whole::<u16, 1, 65_535>)]
    pub(crate) jobs: Option<u16>,
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
    #[command(flatten)]
    pub(crate) place: Place,
    /// The version of the build, as its rows name it; the newest where absent.
    #[arg(long)]
    pub(crate) version: Option<String>,
    /// Read every row. Without it what seeders have counted is taken, where it is all there is.
    #[arg(long)]
    pub(crate) exact: bool,
    /// Fail (exit 1) unless so many hosts have it: rows of hosts that failed do not count.
    #[arg(long, value_name = "HOSTS", value_parser = whole::<u64, 0, { u64::MAX }>)]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// What goes in.
    Scenario,
    /// What comes out.
    Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CloudKind {
    /// In-process S3 and DynamoDB.
    Embedded,
    /// AWS, or a local stack.
    Aws,
}

/// Where the cloud is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Place {
    /// Endpoint of a local stack; the standard AWS environment's where absent.
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) endpoint_url: Option<String>,
    /// The stage whose names are meant, such as staging.
    #[arg(
        long,
        value_name = "STAGE",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub(crate) stage: String,
}

#[derive(Debug, Args)]
pub(crate) struct UploadArguments {
    /// The build.
    pub(crate) file: Option<PathBuf>,
    /// Instead of a file, so many bytes made from the seed, such as 64MiB.
    #[arg(long, conflicts_with = "file", value_parser = size)]
    pub(crate) size: Option<u64>,
    /// Its key; the file's name, or build-TIME.zip, where absent.
    #[arg(long)]
    pub(crate) build_id: Option<BuildId>,
    /// Seed of the bytes.
    #[arg(long, default_value_t = 1, value_parser = whole::<u64, 0, { u64::MAX }>)]
    pub(crate) seed: u64,
    /// Sign it with this key, as `harness keygen` makes it: the signature is metadata of the object, and goes with it wherever it is
    /// copied.
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) terms: TermArguments,
    /// Put it where a build of this id is already: hosts that have that one get this one in its place.
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// The scenario whose hosts are to have it.
    #[arg(default_value = "scenarios/aws-1k.toml")]
    pub(crate) scenario: PathBuf,
    #[command(flatten)]
    pub(crate) set: SetArguments,
    /// The build; the newest in the global bucket where absent.
    #[arg(long)]
    pub(crate) build_id: Option<String>,
    /// The version of the build, as its rows name it; the newest where absent.
    #[arg(long)]
    pub(crate) version: Option<String>,
    /// Read every row at each look. Without it what seeders have counted is taken, where it is all there is, and latencies are up to a
    /// eleventh too long.
    #[arg(long)]
    pub(crate) exact: bool,
    /// Seconds after which hosts count as not converged.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = whole::<u64, 0, { u64::MAX }>)]
    pub(crate) timeout: u64,
    #[command(flatten)]
    pub(crate) place: Place,
    /// What to print at the end.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// The scenario whose hosts they are; its build is not uploaded.
    pub(crate) scenario: PathBuf,
    #[command(flatten)]
    pub(crate) set: SetArguments,
    /// Builds that a region sees to at a time.
    #[arg(long, default_value_t = 2, value_parser = whole::<u16, 1, 64>)]
    pub(crate) builds_at_a_time: u16,
    /// See only to builds that are signed with a key of this file. Without it seeders believe what is in the bucket.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Only those of this build: of the version that the bucket has now, or of the one of --version. The last 300 executions are looked at.
    #[arg(long, value_name = "BUILD")]
    pub(crate) build_id: Option<String>,
    /// The version of the build, as its rows or the bucket name it.
    #[arg(long, requires = "build_id")]
    pub(crate) version: Option<String>,
    /// Executions at most.
    #[arg(long, default_value_t = 10, value_parser = whole::<u16, 1, 1000>)]
    pub(crate) count: u16,
    #[command(flatten)]
    pub(crate) place: Place,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

impl Place {
    pub(crate) fn config(&self) -> CloudConfig {
        CloudConfig::at_or_environment(self.endpoint_url.as_deref()).in_stage(&self.stage)
    }
}
