//! The seeders of a run, which a scenario may have go and come back.

use std::sync::Arc;
use std::time::Duration;

use cloud::Buckets;
use parking_lot::Mutex;
use peer::{EndpointConfig, Limits, Multiaddr, NodeError, Traffic};
use scenario::{Absence, FaultCounts, RegionPlan, Scenario, SeederPlan};
use seeder::{BuildFeed, Delivery, GetTurns, PullOptions, Pulled, RegionalSeeder, SeedError, SeederOptions, Spool};
use swarm::SwarmId;
use tokio::task::JoinHandle;

use super::fleet::Surroundings;
use super::node_parts;
use super::signed::Believed;

/// One of a region's seeders, there or away.
pub(super) struct LiveSeeder {
    /// Where it listens, from its first start on.
    endpoint: EndpointConfig,
    /// What it is started with, each time.
    options: Box<dyn Fn() -> SeederOptions + Send + Sync>,
    address: Multiaddr,
    current: Mutex<Option<Arc<RegionalSeeder>>>,
    /// Of earlier lives.
    traffic: Mutex<Traffic>,
    counts: Mutex<FaultCounts>,
    absences: Vec<Absence>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl LiveSeeder {
    /// Starts it: hosts can join when this returns.
    pub(super) async fn start(
        endpoint: EndpointConfig,
        options: impl Fn() -> SeederOptions + Send + Sync + 'static,
        absences: Vec<Absence>,
    ) -> Result<Arc<Self>, NodeError> {
        let seeder = RegionalSeeder::start(endpoint.clone(), options()).await?;
        let address = seeder.address();
        // Hosts know it by this address.
        let mut listen = address.clone();
        listen.pop();
        Ok(Arc::new(Self {
            endpoint: EndpointConfig {
                listen: vec![listen],
                ..endpoint
            },
            options: Box::new(options),
            address,
            current: Mutex::new(Some(Arc::new(seeder))),
            traffic: Mutex::default(),
            counts: Mutex::default(),
            absences,
            tasks: Mutex::default(),
        }))
    }

    /// Where hosts dial it.
    pub(super) fn address(&self) -> Multiaddr {
        self.address.clone()
    }

    /// Waits for a build and pulls it.
    pub(super) async fn pull_from(
        &self,
        buckets: &Buckets,
        feed: &mut impl BuildFeed,
    ) -> Result<(Pulled, Delivery), SeedError> {
        let seeder = self.current.lock().clone().ok_or(SeedError::NoBuild)?;
        seeder.pull_from(buckets, feed).await
    }

    /// Pulls the build of a notice.
    #[cfg(feature = "pipeline")]
    pub(super) async fn pull(&self, buckets: &Buckets, notice: &seeder::BuildNotice) -> Result<Pulled, SeedError> {
        let seeder = self.current.lock().clone().ok_or(SeedError::NoBuild)?;
        seeder.pull(buckets, notice).await
    }

    /// Seeds a build that was pulled. From now on it goes and comes back as the scenario says.
    pub(super) fn seed(self: &Arc<Self>, pulled: Pulled) {
        let seeder = self.current.lock().clone();
        if let Some(seeder) = seeder {
            seeder.seed(pulled.clone());
        }
        let mut absences = self.absences.clone();
        absences.sort_by_key(|absence| absence.at);
        if !absences.is_empty() {
            let task = tokio::spawn(Arc::clone(self).come_and_go(absences, pulled));
            self.tasks.lock().push(task);
        }
    }

    /// Bytes of all its lives; how it used its links in the last.
    pub(super) fn traffic(&self) -> Traffic {
        let before = *self.traffic.lock();
        let current = self.current.lock().as_ref().map(|seeder| seeder.report().traffic);
        let Some(current) = current else {
            return before;
        };
        Traffic {
            sent: before.sent + current.sent,
            control_sent: before.control_sent + current.control_sent,
            ..current
        }
    }

    /// How often it has gone and come back.
    pub(super) fn faults(&self) -> FaultCounts {
        *self.counts.lock()
    }

    /// Goes no more, and comes back no more.
    pub(super) fn settle(&self) {
        self.tasks.lock().iter().for_each(JoinHandle::abort);
    }

    async fn come_and_go(self: Arc<Self>, absences: Vec<Absence>, pulled: Pulled) {
        let began = tokio::time::Instant::now();
        for Absence { at, down } in absences {
            tokio::time::sleep_until(began + at).await;
            let before = self.traffic();
            if let Some(gone) = self.current.lock().take() {
                *self.traffic.lock() = before;
                self.counts.lock().begun += 1;
                tracing::info!(address = %self.address, "a seeder goes");
                drop(gone);
            }
            let Some(down) = down else {
                return;
            };
            tokio::time::sleep_until(began + at + down).await;
            if self.current.lock().is_none() {
                self.come_back(&pulled).await;
            }
        }
    }

    /// Its place may still be taken by what it was: a task that is stopped ends a moment later.
    async fn come_back(&self, pulled: &Pulled) {
        for _ in 0..STARTS_MAX {
            match RegionalSeeder::start(self.endpoint.clone(), (self.options)()).await {
                Ok(seeder) => {
                    seeder.seed(pulled.clone());
                    *self.current.lock() = Some(Arc::new(seeder));
                    self.counts.lock().ended += 1;
                    tracing::info!(address = %self.address, "a seeder is back");
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "a seeder has not started again yet");
                    tokio::time::sleep(STARTS_AGAIN_AFTER).await;
                }
            }
        }
        tracing::error!(address = %self.address, "a seeder could not be started again");
    }
}

/// What one of a region's seeders is given.
pub(super) fn seeder_options(
    scenario: &Scenario,
    fleet: &RegionPlan,
    plan: &SeederPlan,
    surroundings: &Surroundings,
    chunk_size: Option<u32>,
) -> SeederOptions {
    SeederOptions {
        swarm: SwarmId::ONLY,
        core: scenario.swarm.seeder_config(plan),
        shaping: node_parts::shaping(plan.links.as_ref(), &surroundings.downlinks[fleet.region], plan.zone),
        limits: Limits {
            segment: node_parts::segment(scenario, plan.links.as_ref()),
            ..Limits::default()
        },
        seed: plan.seed,
        clock: surroundings.clock,
        pull: PullOptions {
            chunk_size,
            turns: GetTurns::new(8),
            spool: Spool::Memory(surroundings.pool.clone()),
            trust: surroundings.believed.as_ref().map(Believed::keys),
        },
    }
}

/// How often a start is tried again, and with what pause: five seconds.
const STARTS_MAX: u32 = 100;
const STARTS_AGAIN_AFTER: Duration = Duration::from_millis(50);
