//! How the seeder of a queue is, at one moment: what its HTTP address says, and what `seeder status` shows. Words and units are those of the
//! host's agent.

use std::time::Duration;

use peer::{AgentStatus, Metric, MetricsText};
use serde::{Deserialize, Serialize};

/// All of it. Names end with their unit; sums count from when the process began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeederStatus {
    /// The release that runs.
    pub version: String,
    /// Where hosts find its directory.
    pub addresses: Vec<String>,
    /// Its spool.
    pub folder: String,
    /// Since it began.
    pub up_s: f64,
    /// Whether hosts are told what it seeds: it knows that soon after it began.
    pub is_telling: bool,
    /// The queue that tells of builds.
    pub queue: QueueStatus,
    /// Those that are seeded, and those on their way.
    pub builds: Vec<SeededStatus>,
    /// Hosts that follow the directory.
    pub followers: u64,
    /// Connections that there are.
    pub connections: u64,
    /// No limit where absent.
    pub upload_limit_bytes_per_s: Option<u64>,
    /// Payload that came from S3.
    pub pulled_bytes: u64,
    /// Payload that was sent to hosts.
    pub sent_bytes: u64,
    /// What was sent besides.
    pub control_sent_bytes: u64,
    /// Builds that were begun to be seeded.
    pub builds_seeded: u64,
    /// Builds that gave way before all hosts had them.
    pub builds_given_up: u64,
    /// Bytes of builds in the spool.
    pub store_bytes: u64,
    /// Unknown where absent.
    pub disk_free_bytes: Option<u64>,
    /// How long this question waited for the agent's loop.
    pub loop_lag_s: f64,
}

/// The queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Its name.
    pub name: String,
    /// It has answered the last question, or has still time to.
    pub answers: bool,
    /// Why it does not.
    pub error: Option<String>,
    /// Builds of the region's bucket of which it has told nothing in time.
    #[serde(default)]
    pub unheard: Vec<String>,
}

/// One version of a build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeededStatus {
    /// The key.
    pub build: String,
    /// The ETag, once it is known.
    pub version: String,
    /// How far it is.
    pub state: SeedingState,
    /// Bytes, once they are known.
    pub size_bytes: Option<u64>,
    /// Hosts in its swarm now.
    pub members: u64,
    /// How many of them lack chunks.
    pub lack: u64,
    /// Hosts that have it, or had it.
    pub have: u64,
}

/// How far a build is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeedingState {
    /// It waits for its turn, for room, or for another try.
    #[default]
    Waiting,
    /// It is on its way from S3.
    Pulling,
    /// Hosts have it from here.
    Seeding,
}

impl SeedingState {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Pulling, Self::Seeding];

    /// Its word in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pulling => "pulling",
            Self::Seeding => "seeding",
        }
    }
}

impl AgentStatus for SeederStatus {
    fn after(self, lag: Duration) -> Self {
        Self {
            loop_lag_s: lag.as_secs_f64(),
            ..self
        }
    }

    fn metrics(&self) -> String {
        let mut text = MetricsText::default();
        let info = ("info", "gauge", "The release that runs.");
        text.add_by(info, "version", [(self.version.as_str(), 1.0)]);
        let received = ("received_bytes_total", "counter", "Payload, by where it came from.");
        text.add_by(received, "source", [("s3", count(self.pulled_bytes))]);
        text.add_all("counter", self.counters());
        let states = SeedingState::ALL.map(|state| {
            let builds = self.builds.iter().filter(|build| build.state == state).count();
            (state.word(), builds as f64)
        });
        let builds = ("builds", "gauge", "Builds that are seeded, or on their way.");
        text.add_by(builds, "state", states);
        let limit = self.upload_limit_bytes_per_s.map_or(f64::INFINITY, count);
        let limits = ("limit_bytes_per_second", "gauge", "Payload a second at most.");
        text.add_by(limits, "direction", [("up", limit)]);
        text.add_all("gauge", self.gauges());
        text.into_text()
    }

    /// Whether hosts are told what it seeds.
    fn readiness(&self) -> Result<String, String> {
        match (&self.queue.error, self.is_telling) {
            (_, false) => Err("it is looking what it seeded before, and tells hosts nothing yet\n".to_owned()),
            (Some(error), true) => Ok(format!(
                "hosts are told what is seeded; the queue {} does not answer: {error}\n",
                self.queue.name
            )),
            (None, true) => Ok("hosts are told what is seeded\n".to_owned()),
        }
    }
}

impl SeederStatus {
    #[rustfmt::skip]
    fn counters(&self) -> [Metric; 4] {
        [
            ("sent_bytes_total", "Payload that was sent to hosts.", count(self.sent_bytes)),
            ("control_sent_bytes_total", "What was sent besides payload.", count(self.control_sent_bytes)),
            ("builds_seeded_total", "Builds that were begun to be seeded.", count(self.builds_seeded)),
            ("builds_given_up_total", "Builds that gave way before all hosts had them.", count(self.builds_given_up)),
        ]
    }

    #[rustfmt::skip]
    fn gauges(&self) -> [Metric; 10] {
        let lack = self.builds.iter().map(|build| build.lack).sum();
        [
            ("followers", "Hosts that follow the directory.", count(self.followers)),
            ("hosts_lacking", "Hosts that lack chunks, summed over builds.", count(lack)),
            ("connections", "Connections that there are.", count(self.connections)),
            ("store_bytes", "Bytes of builds in the spool.", count(self.store_bytes)),
            ("disk_free_bytes", "Bytes that are free where the spool is.", self.disk_free_bytes.map_or(f64::NAN, count)),
            ("queue_up", "Whether the queue answers.", f64::from(u8::from(self.queue.answers))),
            ("builds_unheard", "Builds in the bucket of which the queue has told nothing.", count(self.queue.unheard.len() as u64)),
            ("directory_up", "Whether hosts are told what is seeded.", f64::from(u8::from(self.is_telling))),
            ("loop_lag_seconds", "How long this question waited for the agent's loop.", self.loop_lag_s),
            ("up_seconds", "Since the process began.", self.up_s),
        ]
    }
}

const fn count(number: u64) -> f64 {
    number as f64
}
