//! How the agent is, at one moment: what its HTTP address says, and what `peer status` shows.

use std::time::{Duration, Instant};

use peer::{AgentStatus, RateLimit, Reach, Traffic};
use serde::{Deserialize, Serialize};
use swarm::ByteRate;
use tokio::sync::watch;

use super::build::{Build, Phase};
use super::builds::Builds;
use super::kept::BuildId;
use super::limits::Rates;
use super::metrics;

/// All of it. Names end with their unit; sums count from when the process began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) host: String,
    pub(crate) folder: String,
    pub(crate) up_s: f64,
    pub(crate) directory: DirectoryStatus,
    pub(crate) builds: Vec<BuildStatus>,
    pub(crate) neighbours: u64,
    pub(crate) connections: u64,
    /// No limit where absent.
    pub(crate) upload_limit_bytes_per_s: Option<u64>,
    pub(crate) download_limit_bytes_per_s: Option<u64>,
    pub(crate) bytes: Bytes,
    pub(crate) chunks_verified: u64,
    pub(crate) chunks_refused: u64,
    pub(crate) builds_installed: u64,
    pub(crate) install_s: f64,
    pub(crate) builds_given_up: u64,
    pub(crate) hooks_failed: u64,
    pub(crate) rows_waiting: u64,
    pub(crate) store_bytes: u64,
    /// Unknown where absent.
    pub(crate) disk_free_bytes: Option<u64>,
    /// How long this question waited for the agent's loop.
    pub(crate) loop_lag_s: f64,
}

impl AgentStatus for Status {
    fn after(self, lag: Duration) -> Self {
        Self {
            loop_lag_s: lag.as_secs_f64(),
            ..self
        }
    }

    fn metrics(&self) -> String {
        metrics::text(self)
    }

    /// Whether it has reached its directory.
    fn readiness(&self) -> Result<String, String> {
        let directory = &self.directory;
        match (&directory.error, directory.has_answered) {
            (None, true) => Ok("the directory answers\n".to_owned()),
            // What is in place is served all the same.
            (Some(error), true) => Ok(format!("the directory has answered and does not now: {error}\n")),
            (Some(error), false) => Err(format!("{} does not answer: {error}\n", directory.address)),
            (None, false) => Err(format!("{} has not answered yet\n", directory.address)),
        }
    }
}

/// The directory that is followed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DirectoryStatus {
    pub(crate) address: String,
    pub(crate) answers: bool,
    /// It has answered since the agent began.
    pub(crate) has_answered: bool,
    /// Why it does not.
    pub(crate) error: Option<String>,
}

/// Payload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bytes {
    pub(crate) from_seeders: u64,
    pub(crate) from_hosts: u64,
    pub(crate) from_older_builds: u64,
    pub(crate) discarded: u64,
    pub(crate) sent: u64,
    pub(crate) control_sent: u64,
}

/// One version of a build that is fetched or served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BuildStatus {
    pub(crate) build: String,
    pub(crate) version: String,
    pub(crate) state: BuildState,
    pub(crate) is_listed: bool,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) chunks_held: u32,
    pub(crate) chunks_total: u32,
    pub(crate) neighbours: u64,
    /// Since the agent heard of it.
    pub(crate) heard_s: f64,
    /// What keeps it from going on.
    pub(crate) why: Option<String>,
}

/// How far a build is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BuildState {
    #[default]
    Waiting,
    Fetching,
    InPlace,
    Refused,
}

impl BuildState {
    pub(crate) const ALL: [Self; 4] = [Self::Waiting, Self::Fetching, Self::InPlace, Self::Refused];

    /// Its word in metrics.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Fetching => "fetching",
            Self::InPlace => "in_place",
            Self::Refused => "refused",
        }
    }
}

/// What a status says besides what builds know.
pub(super) struct Around {
    pub(super) begun: Instant,
    pub(super) directory: String,
    pub(super) reach: watch::Receiver<Reach>,
    pub(super) has_answered: bool,
}

impl Around {
    fn directory(&self) -> DirectoryStatus {
        let reach = self.reach.borrow();
        DirectoryStatus {
            address: self.directory.clone(),
            answers: *reach == Reach::Answers,
            has_answered: self.has_answered,
            error: match &*reach {
                Reach::Silent(error) => Some(error.clone()),
                Reach::Answers | Reach::Unknown => None,
            },
        }
    }
}

impl Builds<'_> {
    /// How everything is now. The lag is left to who was asked.
    pub(super) fn status(&self, around: &Around) -> Status {
        let surroundings = &self.surroundings;
        let moving: Vec<Traffic> = self.builds.values().filter_map(Build::traffic).collect();
        let moved = surroundings.totals.with(moving.iter());
        let builds: Vec<BuildStatus> = self.builds.iter().map(|(id, build)| status_of(id, build)).collect();
        let (chunks_verified, chunks_refused) = surroundings.totals.chunks();
        let Rates { up, down } = surroundings.limits.rates(&self.arguments);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: self
                .arguments
                .host_id
                .clone()
                .unwrap_or_else(|| self.kept.host_id().to_owned()),
            folder: self.folder.display().to_string(),
            up_s: around.begun.elapsed().as_secs_f64(),
            directory: around.directory(),
            neighbours: builds.iter().map(|build| build.neighbours).sum(),
            builds,
            connections: surroundings.endpoint.connections().into(),
            upload_limit_bytes_per_s: bytes_of(up),
            download_limit_bytes_per_s: bytes_of(down),
            bytes: Bytes {
                from_seeders: moved.from_seeder,
                from_hosts: moved.from_peers,
                from_older_builds: moved.reused,
                discarded: moved.wasted,
                sent: moved.sent,
                control_sent: moved.control_sent,
            },
            chunks_verified,
            chunks_refused,
            builds_installed: self.installed.0,
            install_s: self.installed.1.as_secs_f64(),
            builds_given_up: self.given_up,
            hooks_failed: self.hooks.failures(),
            rows_waiting: self.rows_due().count() as u64,
            store_bytes: self.stored(),
            disk_free_bytes: self.room().free(),
            loop_lag_s: 0.0,
        }
    }
}

fn status_of((key, version): &BuildId, build: &Build) -> BuildStatus {
    let state = match &build.phase {
        _ if build.is_refused => BuildState::Refused,
        Phase::Waiting { .. } => BuildState::Waiting,
        Phase::UnderWay(_) => BuildState::Fetching,
        Phase::InPlace(_) => BuildState::InPlace,
    };
    let report = build.report().unwrap_or_default();
    let waits = matches!(build.phase, Phase::Waiting { .. });
    let why = build.waits_for.clone().or_else(|| build.last_error.clone());
    let why = why.or_else(|| waits.then(|| "others come first".to_owned()));
    let why = why.or_else(|| build.stalled().then(|| "nothing of it has come for a while".to_owned()));
    BuildStatus {
        build: key.clone(),
        version: version.clone(),
        state,
        is_listed: build.is_listed,
        size_bytes: build.size(),
        chunks_held: report.chunks_held,
        chunks_total: report.chunks_total,
        neighbours: report.neighbours as u64,
        heard_s: build.took().as_secs_f64(),
        why: why.filter(|_| state != BuildState::InPlace),
    }
}

fn bytes_of(limit: RateLimit) -> Option<u64> {
    limit.rate().map(ByteRate::bytes_per_second)
}
