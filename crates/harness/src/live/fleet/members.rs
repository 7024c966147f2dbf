//! Who the hosts of a fleet are, and what each is given: what does not change while they run.

use std::sync::Arc;

use cloud::DeploymentLog;
use explain::{Recorder, Sample};
use parking_lot::Mutex;
use peer::{
    Clock, HostPlacement, Node, NodeError, NodeReport, Observer, Standstill, StoreError, Traffic, deployment_log,
};
use scenario::{Disturbance, HostPlan, RegionPlan, Scenario, Trouble};
use swarm::{Action, DisconnectReason, Event, HostId};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::configs::{endpoint_config, node_config};
use super::owner::{Happened, What};
use super::{Slice, Surroundings};
use crate::live::disturbances::KeptChunks;

/// The hosts of a fleet, by their slots, and whom to tell of what happens to them.
#[derive(Clone)]
pub(in crate::live) struct Members {
    fixed: Arc<Fixed>,
    owner: Sender<Happened>,
}

pub(super) struct Fixed {
    pub(super) scenario: Scenario,
    /// By region: all hosts, those of other processes too.
    pub(super) plans: Arc<[RegionPlan]>,
    pub(super) surroundings: Surroundings,
    slots: Vec<Slot>,
}

/// A host.
pub(super) struct Slot {
    pub(super) region: usize,
    pub(super) index: u32,
    /// What goes wrong with it, and passes.
    pub(super) disturbance: Option<Disturbance>,
    /// Where it stands still at some time.
    pub(super) standstill: Option<Standstill>,
    /// What it holds, where it goes down at some time.
    pub(super) kept: KeptChunks,
    /// Of all its lives.
    pub(super) recorder: Option<Mutex<Recorder>>,
}

impl Members {
    pub(super) fn new(
        scenario: &Scenario,
        plans: Arc<[RegionPlan]>,
        slice: Slice,
        surroundings: Surroundings,
        owner: Sender<Happened>,
    ) -> Self {
        let fixed = Fixed {
            scenario: scenario.clone(),
            slots: slots(&plans, slice, surroundings.recorded.as_ref()),
            plans,
            surroundings,
        };
        Self {
            fixed: Arc::new(fixed),
            owner,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.fixed.slots.len()
    }

    pub(super) const fn fixed(&self) -> &Arc<Fixed> {
        &self.fixed
    }

    pub(super) fn clock(&self) -> Clock {
        self.fixed.surroundings.clock
    }

    pub(super) fn region(&self, slot: usize) -> usize {
        self.fixed.slots[slot].region
    }

    pub(super) fn disturbance(&self, slot: usize) -> Option<Disturbance> {
        self.fixed.slots[slot].disturbance
    }

    pub(in crate::live) fn plan(&self, slot: usize) -> &HostPlan {
        self.fixed.plan(slot)
    }

    pub(in crate::live) fn host_name(&self, slot: usize) -> String {
        let Slot { region, index, .. } = self.fixed.slots[slot];
        self.fixed.scenario.regions[region].host_name(index)
    }

    pub(in crate::live) fn standstill(&self, slot: usize) -> Option<&Standstill> {
        self.fixed.slots[slot].standstill.as_ref()
    }

    /// Something happens to a host.
    pub(in crate::live) fn tell(&self, slot: usize, what: What) {
        self.tell_all(Happened::To(slot, what));
    }

    /// A node's observer must not wait, so nobody does.
    pub(super) fn tell_all(&self, happened: Happened) {
        if let Err(TrySendError::Full(_)) = self.owner.try_send(happened) {
            tracing::error!("a host tells more than there is room for: the report will lack it");
        }
    }

    /// After all that is told already. Where the owner has failed, it is there to be seen.
    pub(super) async fn tell_to_finish(&self) {
        let _ = self.owner.send(Happened::Finish).await;
    }

    pub(in crate::live) async fn start(&self, slot: usize) -> Result<(), NodeError> {
        let observer = Arc::new(HostObserver {
            members: self.clone(),
            slot,
        });
        let node = Node::start(
            endpoint_config(&self.fixed, slot),
            node_config(&self.fixed, slot, observer),
        )
        .await?;
        self.tell(slot, What::Started(Box::new(node), self.clock().now()));
        Ok(())
    }
}

impl Fixed {
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(super) fn plan(&self, slot: usize) -> &HostPlan {
        let Slot { region, index, .. } = self.slots[slot];
        &self.plans[region].hosts[index as usize]
    }

    /// What a host writes into the table after `took`.
    pub(super) fn row(
        &self,
        slot: usize,
        took: std::time::Duration,
        report: &NodeReport,
        error: Option<String>,
    ) -> DeploymentLog {
        let Slot { region, index, .. } = self.slots[slot];
        let shape = &self.scenario.regions[region];
        let placement = HostPlacement {
            host_id: shape.host_name(index),
            region: shape.name.clone(),
            zone: shape.zone_name(self.plan(slot).zone),
        };
        deployment_log(&placement, &self.scenario.build.id, took, report, error)
    }
}

/// Every `count`-th host of the fleet.
fn slots(plans: &[RegionPlan], slice: Slice, recorded: Option<&Sample>) -> Vec<Slot> {
    let of_slice = |(region, host): (usize, &HostPlan)| {
        let (plan, index) = (&plans[region], host.index);
        let found = plan
            .disturbances
            .binary_search_by_key(&index, |disturbance| disturbance.host);
        let disturbance = found.ok().map(|place| plan.disturbances[place]);
        let stands_still = disturbance.is_some_and(|disturbance| disturbance.what == Trouble::Pause);
        Slot {
            region: plan.region,
            index,
            disturbance,
            standstill: stands_still.then(Standstill::default),
            kept: KeptChunks::default(),
            recorder: recorded.map(|sample| Mutex::new(Recorder::new(sample.clone(), 1))),
        }
    };
    slice.of(plans).map(of_slice).collect()
}

/// Records what passes at a host's core, and tells the owner the rest.
struct HostObserver {
    members: Members,
    slot: usize,
}

impl HostObserver {
    fn recorder(&self) -> Option<&Mutex<Recorder>> {
        self.members.fixed.slots[self.slot].recorder.as_ref()
    }
}

impl Observer for HostObserver {
    fn event(&self, _host: HostId, at: swarm::Time, event: &Event) {
        if Recorder::wants_event(event)
            && let Some(recorder) = self.recorder()
        {
            recorder.lock().event(0, at, event);
        }
    }

    fn action(&self, _host: HostId, action: &Action) {
        if Recorder::wants_action(action)
            && let Some(recorder) = self.recorder()
        {
            recorder.lock().action(0, self.members.clock().now(), action);
        }
    }

    fn joined(&self, _host: HostId) {
        self.members.tell(self.slot, What::Joined);
    }

    fn complete(&self, _host: HostId, at: swarm::Time, _traffic: Traffic) {
        self.members.tell(self.slot, What::Complete(at));
    }

    fn failed(&self, _host: HostId, error: &StoreError) {
        self.members.tell(self.slot, What::Failed(crate::exit::chain(error)));
    }

    fn banned(&self, _host: HostId, other: HostId, _reason: DisconnectReason) {
        self.members.tell(self.slot, What::Banned(other));
    }
}
