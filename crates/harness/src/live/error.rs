//! Why a run could not be made.

use std::path::PathBuf;
#[cfg(feature = "pipeline")]
use std::time::Duration;

use cloud::{CloudError, EmbeddedError};
use peer::NodeError;

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("the embedded cloud has not started")]
    Embedded(#[from] EmbeddedError),
    #[error("the cloud has failed")]
    Cloud(#[from] CloudError),
    #[error(
        "the pipeline's clients are not in this program; expected one that is built with them, such as \
         `cargo run --release -p harness --features pipeline -- run --cloud aws`"
    )]
    #[cfg(not(feature = "pipeline"))]
    NotBuilt,
    #[error("the build did not reach region {region}")]
    Replication { region: String, source: CloudError },
    #[error("the seeder of region {region} has failed")]
    Seeder {
        region: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "only forecasts have {keys}: between the hosts of a live run there is only this machine; expected a scenario without, \
         or `harness plan`"
    )]
    OnlyInForecasts { keys: String },
    #[error(
        "{keys} slow an embedded cloud down, and one that is there is as fast as it is; expected a scenario without, or a run without \
         --cloud aws"
    )]
    OnlyWithOwnCloud { keys: String },
    #[error(
        "{keys} is what hosts of one process share, and this run's would be in others (worker processes: {workers}); expected a scenario without, \
         or one process for all hosts"
    )]
    OnlyInOneProcess { keys: String, workers: u32 },
    #[cfg(feature = "pipeline")]
    #[error("the pipeline is not there as a whole: {missing}; expected what `harness bootstrap` or terraform makes")]
    NoPipeline { missing: String },
    #[cfg(feature = "pipeline")]
    #[error(
        "{region} did not hear of the build within {} s of its upload; `harness status` and `harness doctor` may tell why",
        patience.as_secs()
    )]
    NotDelivered { region: String, patience: Duration },
    #[error("a host has not started")]
    Host(#[from] NodeError),
    #[error("{name} has failed")]
    Worker { name: String, source: std::io::Error },
    #[error("{name} {message}")]
    WorkerSaid { name: String, message: String },
    #[error("workers cannot be awaited at {at}; expected an address of this machine and a port that is free")]
    Listen {
        at: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error("{hosts} hosts are fewer than {workers} workers; expected no more workers than hosts")]
    MoreWorkersThanHosts { hosts: u32, workers: u32 },
    #[error("failed to read the build {}", path.display())]
    Build { path: PathBuf, source: std::io::Error },
    #[error("build {build} could not be read to be signed")]
    Unread { build: String, source: std::io::Error },
    #[error(
        "{needed} open files are needed and {limit} are allowed per process; {advice}, fewer hosts, or a smaller swarm.degree"
    )]
    FileLimit { needed: u64, limit: u64, advice: String },
    #[error(
        "{hosts} hosts take about {needed}, and {free}; expected fewer hosts, a smaller swarm.degree, or \
         network.transport = \"in-process\", which takes least"
    )]
    Memory {
        hosts: u32,
        needed: swarm::Bytes,
        free: String,
    },
    #[error("{message}")]
    Disk { message: String },
    #[error("this harness is built without QUIC; expected network.transport tcp, or a build with `--features quic`")]
    NoQuic,
    #[error("the {transport} transport works within one process; expected no workers.processes")]
    WorkersWithoutSockets { transport: &'static str },
}
