//! What a run says to its workers and they to it, whatever they speak over: the same messages on stdin and stdout of a process of this
//! machine and over a connection to another one. `pipe` has the codec.

use std::net::IpAddr;

use cloud::{CloudConfig, DeploymentLog};
use scenario::Scenario;
use serde::{Deserialize, Serialize};

use super::Guards;
use super::coordination;
use super::fleet::{FleetResult, FleetStatus, Slice};
use super::recorded::RecordedHost;
use super::told::HostTold;
use crate::machine;

/// Another number where a message has got another meaning. Workers of another machine are asked for it.
pub(super) const PROTOCOL: u32 = 3;

/// What a worker is told.
#[derive(Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// Start your part of the hosts. Said once, first.
    Start(Box<Job>),
    /// The build is complete in the regional buckets, at these nanoseconds of your clock.
    Begin(Vec<u64>),
    /// What does your clock say? It is so many nanoseconds by mine.
    Probe(u64),
    /// Tell your result and end.
    Finish,
}

/// A part of a run.
#[derive(Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) scenario: Scenario,
    pub(super) slice: Slice,
    /// When the run's clock was zero by the monotonic clock of this machine. A worker on another one has a clock of its own.
    pub(super) epoch_nanos: Option<u64>,
    /// Where rows go. They come to whoever sent the job where it is absent.
    pub(super) cloud: Option<CloudConfig>,
    /// Where the hosts listen.
    pub(super) ip: IpAddr,
    /// Addresses of each region's seeders.
    pub(super) seeders: Vec<Vec<String>>,
    pub(super) guards: Guards,
    pub(super) is_recorded: bool,
}

/// What a worker says. Times are nanoseconds of its clock.
#[derive(Serialize, Deserialize)]
pub(super) enum FromWorker {
    Status(FleetStatus),
    /// What has become of hosts since it was last said, and at the end of all of them.
    Hosts(Vec<HostTold>),
    /// What was recorded of hosts.
    Records(Vec<RecordedHost>),
    /// Rows for the table of deployment logs.
    Rows(Vec<DeploymentLog>),
    /// The answer to a probe.
    Probed(Probed),
    Failed(String),
    /// The rest of its result: hosts and what was recorded of them it has told.
    Result(Box<FleetResult>),
    /// What all that took. Said last, when all else is written.
    Spent(Spent),
}

/// What a process has spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spent {
    pub(crate) cpu_seconds: f64,
    /// Of that what it took to hear and to say.
    pub(crate) coordination_cpu_seconds: f64,
}

impl Spent {
    pub(super) fn so_far() -> Self {
        let coordination_cpu_seconds = coordination::cpu_seconds();
        Self {
            cpu_seconds: machine::cpu_seconds(),
            coordination_cpu_seconds,
        }
    }
}

/// Times of a probe.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Probed {
    /// By the clock of who asked.
    pub(super) asked: u64,
    pub(super) came: u64,
    pub(super) left: u64,
}
