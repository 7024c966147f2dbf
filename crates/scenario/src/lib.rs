//! What goes into a run and what comes out of it, however it is run: live or in virtual time.
//!
//! A [`Scenario`] is parsed and checked once, here; runners get values that cannot be wrong. Pure but for reading files.
//!
//! ```
//! use scenario::{LoadOptions, Scenario, Slack};
//!
//! let folder = tempfile::tempdir()?;
//! let file = folder.path().join("fleet.toml");
//! let links = "[network.host]\nuplink = \"1 Gbit/s\"\ndownlink = \"1 Gbit/s\"\n";
//! std::fs::write(&file, format!("[regions.region-a]\nhosts = 100\n[build]\nsize = \"1 GiB\"\n{links}"))?;
//! let options = LoadOptions {
//!     overrides: vec!["regions.region-a.hosts=50".parse()?],
//!     ..LoadOptions::default()
//! };
//! let scenario = Scenario::load(&file, &options)?;
//! // Who its hosts are, and what no schedule beats for them.
//! let plan = scenario.plan(0);
//! assert_eq!(plan.hosts.len(), 50);
//! let bounds = scenario.bounds(&plan, Slack::default()).expect("links are limited");
//! assert!(bounds.makespan().as_secs_f64() > 8.0);
//! // What is wrong is told with its place and with what was expected.
//! let options = LoadOptions { overrides: vec!["swarm.degre=4".parse()?], ..LoadOptions::default() };
//! let error = Scenario::load(&file, &options).unwrap_err().to_string();
//! assert!(error.contains("did you mean swarm.degree?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bounds;
mod draw;
mod faults;
mod file;
mod host_parts;
mod host_plan;
mod kernel_keys;
mod latency_files;
mod links;
mod machine_load;
mod outcome;
mod protocol;
mod reader;
mod report_fields;
mod report_schema;
mod run_outcome;
mod schema;
mod section;
mod shares;
mod thresholds;
mod values;
mod warnings;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use swarm::{ByteRate, Bytes};

pub use bounds::Slack;
pub use faults::{
    Chosen, Cut, Disturbance, Fault, FaultKind, FaultTime, HostShare, Interruption, KeptStore, Member, NetworkFault,
    NetworkFaultKind, NetworkTrouble, Passage, Reset, SeederFault, SeederFaultKind, Trouble, Way,
};
pub use file::Override;
pub use host_parts::HostParts;
pub use host_plan::{Absence, HostPlan, RegionPlan, SeederPlan, Serves, host_index};
pub use latency_files::{interval_log, percentiles};
pub use machine_load::{MachineLoad, TimerLag};
pub use outcome::{HostOutcome, HostState, LatencyHistogram, LatencySummary, nearest_rank};
pub use reader::SEED_MAX;
pub use report_fields::{REPORT_FIELDS, REPORT_LISTS, ReportField, ReportsOf, Unit, UnknownField, find_in_report};
pub use report_schema::{REPORT_SCHEMA_VERSION, report_schema};
pub use run_outcome::{
    ClockFacts, Facts, FaultCounts, ForecastFacts, KernelDifference, LiveFacts, RegionEnd, RegionOutcome, RegionStages,
    RunOutcome, Stages, Stop, WorkerFacts, protocol_counts,
};
pub use schema::schema;
pub use settings::{Problem, Problems as ScenarioError, QuantityError, parse_duration, parse_rate, parse_size};
pub use swarm::ChunkPolicy as Policy;
pub use thresholds::{Threshold, ThresholdError, Verdict};
pub use values::{KeyValue, Origin};

/// A checked scenario. Goes to worker processes as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// One line on what it is for.
    pub description: String,
    /// Seed of everything random.
    pub seed: u64,
    /// When to give up, counted from when the build is complete in the regional buckets; derived by the runner where absent.
    pub deadline: Option<Duration>,
    /// What a forecast simulates.
    pub fidelity: Fidelity,
    /// The regions, by name.
    pub regions: Vec<Region>,
    /// The build.
    pub build: Build,
    /// How hosts are connected.
    pub network: Network,
    /// How the swarm behaves.
    pub swarm: SwarmSettings,
    /// Worker processes for a live run; as few as the limit of open files allows where absent.
    pub worker_processes: Option<u32>,
    /// What goes wrong with hosts.
    pub faults: Vec<Fault>,
    /// What goes wrong between members.
    pub network_faults: Vec<NetworkFault>,
    /// Seeders that go.
    pub seeder_faults: Vec<SeederFault>,
    /// What must hold at the end.
    pub thresholds: Vec<Threshold>,
    /// What the command line says twice; for [`Scenario::warnings`].
    pub(crate) given_twice: Vec<String>,
    /// What each key comes to, and who says so.
    pub values: Vec<KeyValue>,
}

/// What a forecast simulates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fidelity {
    /// The state machines of the protocol, and all they say to each other.
    #[default]
    Faithful,
    /// The bare policy with perfect knowledge, without messages: for fleets that are too large for the other.
    Kernel,
}

/// A region of the fleet: a swarm of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// How many hosts it has, at least 1.
    pub hosts: u32,
    /// Over how many zones they are spread, at least 1.
    pub zones: u32,
    /// How many seeders it has, at least 1.
    pub seeders: u32,
}

/// The build to distribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its key.
    pub id: String,
    /// Where its bytes come from.
    pub source: BuildSource,
    /// Bytes of a chunk; chosen from the size where absent.
    pub chunk_size: Option<u32>,
}

/// Where a build's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuildSource {
    /// Made from the seed.
    Generated {
        /// Its size in bytes.
        bytes: u64,
    },
    /// A file that is there.
    File {
        /// Where.
        path: PathBuf,
        /// Its size in bytes when the scenario was read.
        bytes: u64,
    },
}

/// How a live run connects its hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Ours, between the peers of one process.
    InProcess,
    /// libp2p's memory transport.
    Memory,
    /// TCP with TLS 1.3.
    Tcp,
    /// QUIC.
    Quic,
}

/// How hosts are connected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// The transport of a live run.
    pub transport: Transport,
    /// One-way delay between hosts. A live run holds for so long what hosts say to each other.
    pub latency: Duration,
    /// Links of a host; not limited where absent.
    pub host: Option<Links>,
    /// What else limits a host, in a forecast.
    pub host_parts: HostParts,
    /// Links of a seeder; those of a host where absent.
    pub seeder: Option<Links>,
    /// How far the links of hosts differ, in percent; 0 for not at all.
    pub spread_percent: f64,
    /// Kinds of hosts with links of their own.
    pub classes: Vec<HostClass>,
    /// Between the zones of a region.
    pub zones: ZoneNetwork,
    /// Racks, in a forecast.
    pub racks: Option<RackNetwork>,
    /// How fast a seeder pulls from its bucket, bytes a second; not limited where absent.
    pub bucket_rate: Option<u64>,
    /// The table of deployment logs.
    pub logs: LogNetwork,
}

/// A kind of hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostClass {
    /// Its name.
    pub name: String,
    /// How many hosts of each region.
    pub hosts: HostShare,
    /// Their links.
    pub links: Links,
    /// What else limits them, in a forecast; as with other hosts where absent.
    pub parts: HostParts,
}

/// What is between the zones of a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZoneNetwork {
    /// One-way delay.
    pub latency: Duration,
    /// What a zone sends to the others, and what it receives from them, bytes a second; not limited where absent.
    pub uplink: Option<u64>,
    /// What a GiB between zones costs, in US dollars; not counted where absent.
    pub usd_per_gib: Option<f64>,
}

/// Racks of equal size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RackNetwork {
    /// Hosts of a rack.
    pub hosts: u32,
    /// What a rack sends out, and what it receives, bytes a second.
    pub uplink: u64,
}

/// The table that hosts write a row to when they are done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogNetwork {
    /// How long writing a row takes, in a forecast.
    pub latency: Duration,
    /// Rows that the table takes a second.
    pub rows_per_second: u32,
}

impl LogNetwork {
    /// Whether it takes fewer rows than a table that has room for a fleet. Only then does a live run limit its table.
    pub const fn is_limited(&self) -> bool {
        self.rows_per_second < ROWS_PER_SECOND
    }
}

/// What the table of a fleet takes a second, where a scenario does not say otherwise.
pub(crate) const ROWS_PER_SECOND: u32 = 16_000;

/// Rates of a link, bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// What is sent at most.
    pub uplink: u64,
    /// What is received at most.
    pub downlink: u64,
}

impl Links {
    /// The uplink as a rate.
    pub fn uplink(&self) -> ByteRate {
        ByteRate::from_bytes_per_second(self.uplink).expect("checked when the scenario was read")
    }

    /// The downlink as a rate.
    pub fn downlink(&self) -> ByteRate {
        ByteRate::from_bytes_per_second(self.downlink).expect("checked when the scenario was read")
    }
}

/// How the swarm behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmSettings {
    /// Neighbours of a host.
    pub degree: u16,
    /// Which chunk first. Goes to worker processes as its word.
    #[serde(with = "words::policy")]
    pub policy: Policy,
    /// Chunks served at a time; measured where absent.
    pub upload_slots: Option<usize>,
    /// Different chunks asked for at a time; measured where absent.
    pub chunks_in_flight: Option<usize>,
    /// Hosts that a seeder serves.
    pub seeder_clients: usize,
    /// Chunks that a seeder serves at a time; where absent as many as a host, but two at least, or measured.
    pub seeder_slots: Option<usize>,
    /// How long HAVE messages wait for company.
    pub have_interval: Duration,
    /// No request without progress is given up before this.
    pub patience: Duration,
    /// Whether payload is to stay within zones as far as possible.
    pub locality: bool,
}

/// What the command line adds to a scenario file.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// `--set` values, in order.
    pub overrides: Vec<Override>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--build`.
    pub build: Option<PathBuf>,
}

impl Scenario {
    /// Reads and checks a scenario file. The error has every problem of it, each with its place.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, ScenarioError> {
        let tree = file::load(path, options)?;
        reader::read(path, &tree, file::given_twice(options))
    }

    /// Checks a scenario that is in no file, and is called `name`.
    pub fn of_text(name: &str, text: &str, options: &LoadOptions) -> Result<Self, ScenarioError> {
        let tree = file::load_text(name, text.to_owned(), options)?;
        reader::read(Path::new(name), &tree, file::given_twice(options))
    }

    /// Hosts of all regions.
    pub fn host_count(&self) -> u32 {
        self.regions.iter().map(|region| region.hosts).sum()
    }

    /// Size of the build.
    pub fn build_size(&self) -> Bytes {
        match &self.build.source {
            BuildSource::Generated { bytes } | BuildSource::File { bytes, .. } => Bytes::new(*bytes),
        }
    }

    /// Bytes of a chunk.
    pub fn chunk_size(&self) -> u32 {
        self.build
            .chunk_size
            .unwrap_or_else(|| swarm::default_chunk_size(self.build_size()))
    }

    /// The links of a seeder, where links are limited.
    pub fn seeder_links(&self) -> Option<Links> {
        self.network.seeder.or(self.network.host)
    }

    /// Whether all hosts have the same links.
    pub fn has_equal_links(&self) -> bool {
        self.network.classes.is_empty() && self.network.spread_percent <= 0.0
    }

    /// Whether anything goes wrong.
    pub fn has_faults(&self) -> bool {
        !(self.faults.is_empty() && self.network_faults.is_empty() && self.seeder_faults.is_empty())
    }

    /// What a live run cannot do of what the scenario asks for: the network between hosts is the machine's own.
    pub fn only_in_forecasts(&self) -> Vec<&'static str> {
        let network = &self.network;
        let asked = [
            (network.latency > LIVE_LATENCY_MAX, "network.latency of more than 10 s"),
            (network.zones.latency != network.latency, "network.zones.latency"),
            (network.racks.is_some(), "network.racks"),
            (network.host_parts.disk.is_some(), "network.host.disk"),
            (network.host_parts.cores.is_some(), "network.host.cores"),
            (
                network.classes.iter().any(|class| class.parts.cores.is_some()),
                "network.classes.*.cores",
            ),
            (
                network.classes.iter().any(|class| class.parts.disk.is_some()),
                "network.classes.*.disk",
            ),
        ];
        asked.into_iter().filter_map(|(is, what)| is.then_some(what)).collect()
    }

    /// What a live run can only do with a cloud of its own, of what the scenario asks for: a service that is there is as fast as it is.
    pub fn only_with_own_cloud(&self) -> Vec<&'static str> {
        let network = &self.network;
        let asked = [
            (network.bucket_rate.is_some(), "network.bucket.rate"),
            (network.logs.is_limited(), "network.logs.rows_per_second"),
        ];
        asked.into_iter().filter_map(|(is, what)| is.then_some(what)).collect()
    }

    /// What a live run can only do in one process, of what the scenario asks for: links that several hosts share, and a
    /// table for which workers would wait longer than the run waits for them.
    pub fn only_in_one_process(&self) -> Vec<&'static str> {
        let has_zones = self.regions.iter().any(|region| region.zones > 1);
        let asked = [
            (has_zones && self.network.zones.uplink.is_some(), "network.zones.uplink"),
            (self.network.logs.is_limited(), "network.logs.rows_per_second"),
        ];
        asked.into_iter().filter_map(|(is, what)| is.then_some(what)).collect()
    }

    /// What the kernel fidelity cannot do of what the scenario asks for. A scenario that was read with this fidelity asks for
    /// none of it: this is for one whose fidelity was changed since.
    pub fn not_in_kernel(&self) -> Vec<&'static str> {
        let network = &self.network;
        let asked = [
            (self.has_faults(), "faults"),
            (self.swarm.policy != Policy::LatestUseful, "swarm.policy"),
            (network.zones.uplink.is_some(), "network.zones.uplink"),
            (network.racks.is_some(), "network.racks"),
            (
                self.regions.iter().any(|region| region.seeders > 1),
                "regions.*.seeders",
            ),
        ];
        asked.into_iter().filter_map(|(is, what)| is.then_some(what)).collect()
    }
}

/// A live connection is given up where it is not made within a minute, which is two delays and the machine's own time.
const LIVE_LATENCY_MAX: Duration = Duration::from_secs(10);
