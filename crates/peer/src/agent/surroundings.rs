//! What the fetches of a process have in common: its endpoint, its limits, whom it believes, and what was said already.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use peer::{Addresses, Endpoint, EndpointConfig, TransportKind, Trust};
use tokio::sync::Notify;

use super::belonging::Who;
use super::limits::NetworkLimits;
use super::totals::Totals;
use super::{Arguments, Failure};
use program::Exit;

/// What the fetches of a process have in common.
pub(crate) struct Surroundings {
    /// What they listen with.
    pub(crate) endpoint: Endpoint,
    /// Told when something has happened to one of them.
    pub(crate) news: Notify,
    /// Those that have ended, until their files are let go.
    endings: Mutex<Vec<Ending>>,
    /// Warnings that were given: many builds of one seeder have one cause.
    warned: Mutex<BTreeSet<String>>,
    /// What those that have ended have moved, and what all have verified.
    pub(crate) totals: Totals,
    /// What all of them may send and receive.
    pub(crate) limits: NetworkLimits,
    /// Whose builds are believed; every seeder's where absent.
    pub(super) trust: Option<Arc<Trust>>,
}

/// A fetch that has ended may still be in the middle of a read or a write: the next one of the same place waits for that.
struct Ending {
    out: PathBuf,
    holds_files: Box<dyn Fn() -> bool + Send>,
    since: Instant,
}

impl Surroundings {
    /// Starts what this process listens with: the seeders, or the directory, say how.
    ///
    /// # Errors
    /// Exit code and sentence where an address cannot be listened on.
    pub(crate) async fn start(
        arguments: &Arguments,
        who: Who,
        seeders: &[Addresses],
        trust: Option<Arc<Trust>>,
    ) -> Result<Arc<Self>, Failure> {
        let first = seeders.first().and_then(|seeder| seeder.at().first());
        let transport = first.map_or(TransportKind::Tcp, TransportKind::of);
        let are_here = seeders.iter().all(Addresses::is_on_loopback);
        let mut config = if are_here {
            EndpointConfig::on_loopback(who.identity, transport)
        } else {
            EndpointConfig::everywhere(who.identity, transport)
        };
        if !arguments.listen.is_empty() {
            config.listen.clone_from(&arguments.listen);
        }
        config.advertise.clone_from(&arguments.advertise);
        config.members = who.members;
        config.traffic_class = arguments.traffic_class;
        let files = peer::raise_file_limit();
        config.connections = peer::connections_within(files / 2, arguments.connections_max);
        if config.connections < arguments.connections_max {
            let fit = config.connections;
            arguments.say(&format!(
                "the limit of {files} open files leaves room for {fit} connections of others; `ulimit -n` raises it"
            ));
        }
        let endpoint = Endpoint::start(config)
            .await
            .map_err(|error| (Exit::Failed, program::chain(&error)))?;
        let own = Addresses::new(endpoint.peer_id(), endpoint.addresses());
        if own.is_on_loopback() && !are_here {
            tracing::warn!(
                "other hosts reach this one on its own machine only: {own}; --listen with an address of its network is the cure"
            );
        }
        Ok(Arc::new(Self {
            endpoint,
            news: Notify::new(),
            endings: Mutex::default(),
            warned: Mutex::default(),
            totals: Totals::default(),
            limits: NetworkLimits::new(arguments, are_here),
            trust,
        }))
    }

    pub(super) fn warn_once(&self, warning: String) {
        let mut warned = self.warned.lock();
        if !warned.contains(&warning) && warned.len() < WARNINGS_MAX {
            tracing::warn!("{warning}");
            warned.insert(warning);
        }
    }

    /// A fetch of the place `out` has ended, and may hold files there as long as that says so.
    pub(super) fn ends(&self, out: PathBuf, holds_files: impl Fn() -> bool + Send + 'static) {
        self.endings.lock().push(Ending {
            out,
            holds_files: Box::new(holds_files),
            since: Instant::now(),
        });
    }

    /// Whether no fetch that has ended has its hands on the file at `out` any more.
    pub(crate) fn is_free(&self, out: &Path) -> bool {
        let mut endings = self.endings.lock();
        endings.retain(|ending| (ending.holds_files)() && ending.since.elapsed() < LET_GO_WITHIN);
        endings.iter().all(|ending| ending.out != out)
    }
}

/// A fetch that has ended lets its files go by then, whatever it is in the middle of.
const LET_GO_WITHIN: Duration = Duration::from_secs(30);
/// Different warnings of a process. A swarm of thousands has as many reasons.
const WARNINGS_MAX: usize = 100;
