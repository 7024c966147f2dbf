//! Real hosts in this process: all of a run's, or a worker's part. Starts them, carries out their faults, notes when each
//! is done and writes its deployment log.
//!
//! One task owns what becomes of the hosts ([`owner`]). Nodes, faults and the run tell it what happens; how the fleet stands is
//! seen without asking.

mod configs;
mod members;
mod owner;

use std::sync::Arc;
use std::time::Duration;

use explain::Sample;
use peer::{ChunkPool, Clock, Downlinks, Multiaddr, NodeError, PathDelay, PathFaults};
use scenario::{FaultCounts, HostOutcome, HostPlan, RegionPlan, Scenario};
use serde::{Deserialize, Serialize};
use swarm::{PeerStats, Time};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::disturbances::Disturbed;
use super::held::Held;
use super::membership::Certifier;
use super::node_parts::Place;
use super::protocol::Spent;
use super::recorded::RecordedHost;
use super::rows::RowsTo;
use super::signed::Believed;
use super::told::{HostTimes, HostTold};
use crate::machine::ProcessLoad;
pub(super) use members::Members;
use owner::Owner;
pub(super) use owner::{Happened, What};

/// Which hosts: every `count`-th from `index` on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Slice {
    pub(crate) index: u32,
    pub(crate) count: u32,
}

impl Slice {
    /// Its hosts, with the indices of their regions.
    pub(super) fn of(self, plans: &[RegionPlan]) -> impl Iterator<Item = (usize, &HostPlan)> {
        let hosts = plans
            .iter()
            .flat_map(|plan| plan.hosts.iter().map(|host| (plan.region, host)));
        hosts.skip(self.index as usize).step_by(self.count as usize)
    }
}

/// Where a fleet is connected to.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// Where its members listen.
    pub(crate) place: Place,
    /// The scenario's latency, which the machine does not have by itself.
    pub(crate) path: Option<PathDelay>,
    /// Where paths may break, or let nothing pass.
    pub(crate) paths: Option<PathFaults>,
    /// Of each region's members in this process.
    pub(crate) downlinks: Vec<Downlinks>,
    pub(crate) pool: ChunkPool,
    pub(crate) clock: Clock,
    /// Where deployment logs go.
    pub(crate) rows: RowsTo,
    /// Addresses of each region's seeders.
    pub(crate) seeders: Vec<Vec<Multiaddr>>,
    /// Whose builds are believed; every seeder's where absent.
    pub(crate) believed: Option<Believed>,
    /// Who certifies members; everybody is let in where absent.
    pub(crate) certifier: Option<Certifier>,
    /// Which chunks are recorded of each host; nothing is where absent.
    pub(crate) recorded: Option<Sample>,
}

/// How a fleet stands, for progress and for knowing when it is done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FleetStatus {
    /// Hosts started.
    pub(crate) started: usize,
    /// Hosts that have their place in the overlay.
    pub(crate) joined: usize,
    /// Hosts that are done, by region.
    pub(crate) done: Vec<u32>,
    /// Hosts that cannot go on.
    pub(crate) failed: usize,
    /// Hosts that are expected to get the build and are neither done nor failed.
    pub(crate) pending: usize,
    /// What hosts hold, by region.
    pub(crate) held: Vec<Held>,
}

/// What a fleet has come to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FleetResult {
    pub(crate) outcomes: Vec<HostOutcome>,
    /// Of each of them.
    pub(crate) times: Vec<HostTimes>,
    /// Members that were banned for what they sent, by how many others, as region and host index.
    pub(crate) banned: Vec<(usize, u32)>,
    #[serde(with = "scenario::protocol_counts")]
    pub(crate) protocol: PeerStats,
    /// What went wrong with hosts and, in a worker, the connections that were cut.
    pub(crate) faults: FaultCounts,
    pub(crate) rows_written: u64,
    pub(crate) rows_unprocessed: u64,
    pub(crate) rows_failed: Vec<String>,
    pub(crate) peak_rss_bytes: u64,
    /// By its worker.
    pub(crate) spent: Spent,
    /// How it was for the process, and what its hosts' links let through.
    pub(crate) load: ProcessLoad,
    /// What passed at the hosts' cores, where that was recorded.
    pub(crate) records: Vec<RecordedHost>,
    /// How long the table of deployment logs took to have all rows, after the last of them was written.
    pub(crate) rows_after: Duration,
}

/// Hosts of this process.
pub(crate) struct Fleet {
    members: Members,
    status: watch::Receiver<FleetStatus>,
    faults: Vec<JoinHandle<()>>,
    owner: JoinHandle<FleetResult>,
}

impl Fleet {
    /// A part of the planned fleet, not started.
    pub(crate) async fn new(
        scenario: &Scenario,
        plans: Arc<[RegionPlan]>,
        slice: Slice,
        surroundings: Surroundings,
    ) -> Self {
        let rows = surroundings.rows.open().await;
        let slots = slice.of(&plans).count();
        let (sender, happened) = mpsc::channel((slots + 1) * TOLD_OF_A_HOST_MAX);
        let members = Members::new(scenario, plans, slice, surroundings, sender);
        let (owner, status) = Owner::new(&members, rows);
        Self {
            owner: tokio::spawn(owner.run(happened)),
            members,
            status,
            faults: Vec::new(),
        }
    }

    /// Starts the hosts that are there from the beginning.
    pub(crate) async fn start(&self) -> Result<(), NodeError> {
        for slot in 0..self.members.count() {
            if self.members.plan(slot).join_at.is_none() {
                self.members.start(slot).await?;
            }
        }
        Ok(())
    }

    /// The build is complete in the regional buckets, at these times: what the latencies and the faults count from.
    pub(crate) fn begin(&mut self, complete_at: Vec<Time>) {
        let clock = self.members.clock();
        for slot in 0..self.members.count() {
            let &HostPlan { join_at, leave_at, .. } = self.members.plan(slot);
            let from = complete_at[self.members.region(slot)];
            let wait = |after: Duration| (from + after).since(clock.now());
            if let Some(after) = join_at {
                let (members, wait) = (self.members.clone(), wait(after));
                self.faults.push(tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    if let Err(error) = members.start(slot).await {
                        members.tell(slot, What::Failed(crate::exit::chain(&error)));
                    }
                }));
            }
            if let Some(after) = leave_at {
                let (members, wait) = (self.members.clone(), wait(after));
                self.faults.push(tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    members.tell(slot, What::FaultBegan);
                    members.tell(slot, What::Stopped);
                }));
            }
            if let Some(disturbance) = self.members.disturbance(slot) {
                let members = self.members.clone();
                let wait = wait(disturbance.at);
                self.faults
                    .push(tokio::spawn(Disturbed { members, slot }.carry_out(disturbance, wait)));
            }
        }
        self.members.tell_all(Happened::Begun(complete_at));
    }

    /// What has become of hosts since this was last asked.
    pub(crate) async fn news(&self) -> Vec<HostTold> {
        let (answer, news) = oneshot::channel();
        self.members.tell_all(Happened::Asked(answer));
        // Nobody answers once the owner has failed, which `finish` tells.
        news.await.unwrap_or_default()
    }

    pub(crate) fn status(&self) -> FleetStatus {
        self.status.borrow().clone()
    }

    /// Ends it: hosts that are not done get a row that says so, and everything is told.
    pub(crate) async fn finish(self) -> FleetResult {
        self.faults.iter().for_each(JoinHandle::abort);
        self.members.tell_to_finish().await;
        match self.owner.await {
            Ok(result) => result,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
}

/// What can wait for the owner, for each host: more than a host tells in all its lives, so that its node never waits.
const TOLD_OF_A_HOST_MAX: usize = 256;

/// How long hosts may take to find their place, for each thousand of them and at least.
pub(super) fn join_patience(hosts: u32) -> Duration {
    Duration::from_secs(60) + Duration::from_millis(20) * hosts
}

#[cfg(test)]
mod tests;
