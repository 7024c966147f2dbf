//! What runs over several machines are asked for with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::whole;
use crate::live::OnLost;

/// Hosts of a run on other machines.
#[derive(Debug, Args)]
pub(crate) struct SpreadArguments {
    /// Run the hosts in so many workers of other machines, `harness worker --connect`, which an engine starts: Kubernetes, Slurm, AWS Batch.
    #[arg(long, value_name = "COUNT", requires = "listen", value_parser = whole::<u32, 1, 10_000>)]
    pub(crate) workers: Option<u32>,
    /// Where they are awaited, such as 0.0.0.0:7440.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "workers", conflicts_with = "repeat")]
    pub(crate) listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) key: KeyArguments,
    /// Seconds within which they have to come.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) workers_within: Duration,
    /// When a worker is lost after the run has begun: end with what was measured (fail), or go on, and count its hosts that were not done as
    /// lost and infinitely late (count).
    #[arg(long, value_enum, default_value_t = OnLostWorker::Fail)]
    pub(crate) on_lost_worker: OnLostWorker,
}

/// What all processes of such a run have, and nobody else.
#[derive(Debug, Args)]
pub(crate) struct KeyArguments {
    /// File with the key of the run, the same for all of its processes: 16 bytes or more that only its owner can read, such as `openssl rand
    /// -hex 32` makes. The variable FLEETCAST_RUN_KEY where absent.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// The same as text, for engines that give secrets so.
    #[arg(long, env = "FLEETCAST_RUN_KEY", hide = true, hide_env_values = true)]
    pub(crate) run_key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArguments {
    /// Where the run awaits its workers. A worker without is one of `run` on this machine, which speaks to it over stdin and stdout.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) connect: Option<String>,
    #[command(flatten)]
    pub(crate) key: KeyArguments,
    /// Which part of the hosts, from 0. Where absent, JOB_COMPLETION_INDEX, SLURM_PROCID or AWS_BATCH_JOB_ARRAY_INDEX says it, or else the run.
    #[arg(long, value_name = "INDEX", requires = "connect", value_parser = whole::<u32, 0, 4_294_967_295>)]
    pub(crate) index: Option<u32>,
    /// Seconds within which the run has to be reached.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) within: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnLostWorker {
    /// The run ends with what was measured by then.
    Fail,
    /// It goes on without.
    Count,
}

impl From<OnLostWorker> for OnLost {
    fn from(on_lost: OnLostWorker) -> Self {
        match on_lost {
            OnLostWorker::Fail => Self::Fail,
            OnLostWorker::Count => Self::Count,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let expected = || "expected seconds, more than 0 and no more than 86400".to_owned();
    let seconds: f64 = text.parse().map_err(|_unread| expected())?;
    if seconds > 0.0 && seconds <= 86_400.0 {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(expected())
    }
}

/// What the machines of a run cost.
#[derive(Debug, Args)]
pub(crate) struct DollarsArguments {
    /// Availability zones that these machines are in: bytes between zones cost.
    #[arg(long, value_name = "COUNT", requires = "workers", default_value_t = 1, value_parser = whole::<u32, 1, 16>)]
    pub(crate) node_zones: u32,
    /// Dollars an hour of such a machine. Prices of machines are in no file here: they differ by the hour, and by who asks.
    #[arg(long, value_name = "USD", requires = "workers", value_parser = dollars)]
    pub(crate) node_price: Option<f64>,
    /// Prices of your own, as prices/aws.toml has them.
    #[arg(long, value_name = "FILE", requires = "workers")]
    pub(crate) prices: Option<PathBuf>,
}

fn dollars(text: &str) -> Result<f64, String> {
    let dollars = text
        .parse()
        .ok()
        .filter(|dollars: &f64| dollars.is_finite() && *dollars >= 0.0);
    dollars.ok_or_else(|| "expected dollars an hour, such as 0.17".to_owned())
}
