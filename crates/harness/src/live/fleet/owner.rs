//! What becomes of the hosts of a fleet. One task owns all of it and is told of each thing in the order in which it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cloud::DeploymentLog;
use peer::{Node, NodeIdentity, NodeReport};
use scenario::{FaultCounts, HostOutcome, HostPlan, HostState, Links};
use swarm::{HostId, PeerStats, Time};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::members::{Fixed, Members};
use super::{FleetResult, FleetStatus};
use crate::live::held::{HELD_EVERY, Held, stride};
use crate::live::recorded::RecordedHost;
use crate::live::rows::Rows;
use crate::live::told::{HostTimes, HostTold, TOLD_AT_ONCE};
use crate::machine::ProcessLoad;

/// Something that happens to a fleet.
pub(in crate::live) enum Happened {
    /// To the host of a slot.
    To(usize, What),
    /// The build is complete in each region's bucket, since these times.
    Begun(Vec<Time>),
    /// Somebody wants to know what has become of hosts since this was last asked.
    Asked(oneshot::Sender<Vec<HostTold>>),
    /// It is to end.
    Finish,
}

/// Something that happens to a host.
pub(in crate::live) enum What {
    /// It runs, since this time; perhaps not for the first time.
    Started(Box<Node>, Time),
    /// It has its place in the overlay.
    Joined,
    /// It has the build.
    Complete(Time),
    /// It had the build, and has not all of it any more.
    LostChunks,
    /// It goes without a word.
    Stopped,
    /// Its links are these now.
    Linked(Links),
    /// It cannot go on.
    Failed(String),
    /// It has banned another for what that one sent.
    Banned(HostId),
    FaultBegan,
    FaultEnded,
}

/// A host as it is now.
#[derive(Default)]
struct Host {
    node: Option<Box<Node>>,
    started_at: Option<Time>,
    /// Since then it has the build.
    complete_at: Option<Time>,
    /// Its row is written, or waits for the beginning.
    has_row: bool,
    /// What it had come to when it was last stopped, with the bytes of all its lives.
    last_report: Option<NodeReport>,
    /// Why it cannot go on.
    failed: Option<String>,
}

/// Owns a fleet.
pub(super) struct Owner {
    fixed: Arc<Fixed>,
    hosts: Vec<Host>,
    /// Shown to everybody.
    shown: watch::Sender<FleetStatus>,
    status: FleetStatus,
    /// By region: the numbers of those that were banned in it.
    banned: Vec<(usize, HostId)>,
    /// Slots of hosts of which nobody was told since they were done, or not done any more.
    news: BTreeSet<usize>,
    /// Of hosts that were stopped.
    protocol: PeerStats,
    faults: FaultCounts,
    /// When the build was complete in each region's bucket.
    begun: Option<Vec<Time>>,
    /// Done before this process had heard of the beginning. Their rows wait for it.
    early: Vec<usize>,
    rows: Sender<DeploymentLog>,
    writing: JoinHandle<Rows>,
}

impl Owner {
    pub(super) fn new(members: &Members, rows: Rows) -> (Self, watch::Receiver<FleetStatus>) {
        let fixed = Arc::clone(members.fixed());
        let regions = fixed.scenario.regions.len();
        let status = FleetStatus {
            done: vec![0; regions],
            held: vec![Held::default(); regions],
            pending: (0..fixed.slots().len())
                .filter(|slot| fixed.plan(*slot).is_required())
                .count(),
            ..FleetStatus::default()
        };
        let (shown, seen) = watch::channel(status.clone());
        let (sender, inbox) = channel(fixed.slots().len().max(1));
        let owner = Self {
            hosts: fixed.slots().iter().map(|_| Host::default()).collect(),
            fixed,
            shown,
            status,
            banned: Vec::new(),
            news: BTreeSet::new(),
            protocol: PeerStats::default(),
            faults: FaultCounts::default(),
            begun: None,
            early: Vec::new(),
            rows: sender,
            writing: tokio::spawn(write_rows(inbox, rows)),
        };
        (owner, seen)
    }

    /// Until it is told to end.
    pub(super) async fn run(mut self, mut happened: Receiver<Happened>) -> FleetResult {
        let mut look = tokio::time::interval(HELD_EVERY);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                _ = look.tick() => self.look_at_held(),
                count = happened.recv_many(&mut batch, TOLD_AT_ONCE) => {
                    let mut ends = count == 0;
                    for each in batch.drain(..) {
                        ends |= matches!(each, Happened::Finish);
                        self.note(each);
                    }
                    if ends {
                        return self.finish().await;
                    }
                }
            }
            self.shown.send_replace(self.status.clone());
        }
    }

    fn note(&mut self, happened: Happened) {
        match happened {
            Happened::To(slot, what) => {
                let was_pending = self.is_pending(slot);
                self.note_host(slot, what);
                self.status.pending += usize::from(self.is_pending(slot));
                self.status.pending -= usize::from(was_pending);
            }
            Happened::Begun(complete_at) => {
                self.begun = Some(complete_at);
                for slot in std::mem::take(&mut self.early) {
                    self.write_row(slot);
                }
            }
            Happened::Asked(answer) => {
                let news = std::mem::take(&mut self.news).into_iter();
                let told = |slot| HostTold {
                    outcome: self.outcome(slot),
                    times: self.times(slot),
                };
                // Whoever asked may be gone, and everything with it.
                let _ = answer.send(news.map(told).collect());
            }
            Happened::Finish => {}
        }
    }

    fn note_host(&mut self, slot: usize, what: What) {
        let host = &mut self.hosts[slot];
        match what {
            What::Started(node, at) => {
                self.status.started += usize::from(host.started_at.is_none());
                host.started_at.get_or_insert(at);
                host.node = Some(node);
            }
            What::Joined => self.status.joined += 1,
            What::Complete(at) => self.is_done(slot, at),
            What::LostChunks => {
                if host.complete_at.take().is_some() {
                    self.status.done[self.fixed.slots()[slot].region] -= 1;
                    self.news.insert(slot);
                }
            }
            What::Stopped => self.stop(slot),
            What::Linked(links) => {
                if let Some(node) = &host.node {
                    node.set_links(links.uplink(), links.downlink());
                }
            }
            What::Failed(error) => {
                self.status.failed += 1;
                host.failed.get_or_insert(error);
            }
            What::Banned(other) => self.banned.push((self.fixed.slots()[slot].region, other)),
            What::FaultBegan => self.faults.begun += 1,
            What::FaultEnded => self.faults.ended += 1,
        }
    }

    /// Whether the build is expected of it and it may still get it.
    fn is_pending(&self, slot: usize) -> bool {
        let host = &self.hosts[slot];
        self.fixed.plan(slot).is_required() && host.complete_at.is_none() && host.failed.is_none()
    }

    fn is_done(&mut self, slot: usize, at: Time) {
        let host = &mut self.hosts[slot];
        if self.fixed.plan(slot).serves.claims_all() || host.complete_at.is_some() {
            return;
        }
        host.complete_at = Some(at);
        let is_first = !std::mem::replace(&mut host.has_row, true);
        self.news.insert(slot);
        self.status.done[self.fixed.slots()[slot].region] += 1;
        if !is_first {
            return;
        }
        if self.begun.is_some() {
            self.write_row(slot);
        } else {
            // A fast host of a worker may be done before the worker has heard when the build was complete.
            self.early.push(slot);
        }
    }

    fn stop(&mut self, slot: usize) {
        let report = self.report(slot);
        if let Some(node) = self.hosts[slot].node.take() {
            self.hosts[slot].last_report = Some(report);
            self.protocol.add(&node.peer_stats().unwrap_or_default());
            node.stop();
        }
    }

    fn write_row(&self, slot: usize) {
        let ended = self.hosts[slot].complete_at.unwrap_or_default();
        let row = self.row(slot, ended, None);
        // There is room for one of each host, and they are written for as long as the owner is there.
        let _ = self.rows.try_send(row);
    }

    fn row(&self, slot: usize, ended: Time, error: Option<String>) -> DeploymentLog {
        let since = self.counts_from(slot).unwrap_or(ended);
        self.fixed.row(slot, ended.since(since), &self.report(slot), error)
    }

    /// What some of the hosts hold, looked at now and then: asking a host takes its lock.
    fn look_at_held(&mut self) {
        let scenario = &self.fixed.scenario;
        let of = scenario.build_size().get().div_ceil(scenario.chunk_size().into());
        let mut held = vec![Held::default(); self.status.held.len()];
        for slot in (0..self.hosts.len()).step_by(stride(self.hosts.len())) {
            let chunks = self.report(slot).chunks_held.into();
            held[self.fixed.slots()[slot].region].add(Held { chunks, of });
        }
        self.status.held = held;
    }

    /// Latencies count from when the build was complete in the region's bucket, a late joiner's from when it came.
    fn counts_from(&self, slot: usize) -> Option<Time> {
        let begun = self.begun.as_ref()?[self.fixed.slots()[slot].region];
        Some(begun.max(self.hosts[slot].started_at.unwrap_or_default()))
    }

    fn times(&self, slot: usize) -> HostTimes {
        let host = &self.hosts[slot];
        HostTimes {
            started: host.started_at.map(Time::as_nanos),
            complete: host.complete_at.map(Time::as_nanos),
        }
    }

    fn report(&self, slot: usize) -> NodeReport {
        let host = &self.hosts[slot];
        let live = host.node.as_ref().map(|node| node.report());
        match (live, host.last_report.clone()) {
            (Some(mut live), Some(last)) => {
                live.traffic.add_bytes(&last.traffic);
                live
            }
            (live, last) => live.or(last).unwrap_or_default(),
        }
    }

    fn outcome(&self, slot: usize) -> HostOutcome {
        let report = self.report(slot);
        let (plan, host) = (self.fixed.plan(slot), &self.hosts[slot]);
        let verified_after = host
            .complete_at
            .zip(self.counts_from(slot))
            .map(|(at, since)| at.since(since));
        let state = match (verified_after, &host.failed) {
            (Some(_), _) => HostState::Verified,
            (None, Some(error)) => HostState::Failed(error.clone()),
            (None, None) if plan.is_required() => HostState::Pending,
            (None, None) => HostState::Excused,
        };
        HostOutcome {
            region: self.fixed.slots()[slot].region,
            host: plan.index,
            state,
            verified_after,
            bytes_from_seeder: report.traffic.from_seeder,
            bytes_from_peers: report.traffic.from_peers,
            bytes_wasted: report.traffic.wasted,
            bytes_control: Some(report.traffic.control_sent),
            chunks_held: report.chunks_held,
            chunks_total: report.chunks_total,
            chunks_without_source: u32::try_from(report.chunks_without_source).unwrap_or(u32::MAX),
            neighbours: u32::try_from(report.neighbours).unwrap_or(u32::MAX),
        }
    }

    async fn finish(mut self) -> FleetResult {
        let slots = 0..self.hosts.len();
        let outcomes: Vec<HostOutcome> = slots.clone().map(|slot| self.outcome(slot)).collect();
        let now = self.fixed.surroundings.clock.now();
        let unfinished = slots.clone().zip(&outcomes).filter_map(|(slot, outcome)| {
            let error = match &outcome.state {
                HostState::Pending => format!(
                    "not complete: {} of {} chunks",
                    outcome.chunks_held, outcome.chunks_total
                ),
                HostState::Failed(error) => error.clone(),
                HostState::Verified | HostState::Lost | HostState::Excused => return None,
            };
            Some(self.row(slot, now, Some(error)))
        });
        let unfinished: Vec<DeploymentLog> = unfinished.collect();
        let mut load = ProcessLoad::default();
        for slot in slots.clone() {
            let build = self.fixed.scenario.build_size();
            load.note_links(self.fixed.slots()[slot].region, build, &self.report(slot).traffic);
            self.stop(slot);
        }
        let mut result = FleetResult {
            records: self.records(&outcomes),
            times: slots.map(|slot| self.times(slot)).collect(),
            outcomes,
            protocol: self.protocol,
            faults: self.faults,
            banned: self.banned_places(),
            load,
            ..FleetResult::default()
        };
        if self.begun.is_some() {
            self.finish_rows(unfinished, now, &mut result).await;
        } else {
            self.writing.abort();
        }
        result.peak_rss_bytes = crate::machine::peak_rss_bytes();
        result
    }

    /// Writes what is left, behind the row of the last host that was done.
    async fn finish_rows(self, unfinished: Vec<DeploymentLog>, now: Time, result: &mut FleetResult) {
        drop(self.rows);
        let rows = match self.writing.await {
            Ok(rows) => rows,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        };
        rows.write(unfinished).await;
        let written = rows.finish().await;
        result.rows_after = self.fixed.surroundings.clock.now().since(now);
        result.rows_written = written.rows_written;
        result.rows_unprocessed = written.rows_unprocessed;
        let failed = written.failed.iter();
        result.rows_failed = failed.map(|row| format!("{}: {}", row.host_id, row.error)).collect();
    }

    /// The places in their regions of the hosts that were banned. Numbers go with keys, which are made anew where there are any.
    fn banned_places(&self) -> Vec<(usize, u32)> {
        let regions: BTreeSet<usize> = self.banned.iter().map(|(region, _)| *region).collect();
        let numbers = |region: &usize| {
            let plan = &self.fixed.plans[*region];
            let number = |host: &HostPlan| NodeIdentity::from_seed(plan.seed, host.id).host();
            let hosts = plan.hosts.iter().map(|host| ((*region, number(host)), host.index));
            hosts.collect::<Vec<_>>()
        };
        let places: BTreeMap<(usize, HostId), u32> = regions.iter().flat_map(numbers).collect();
        let place = |member: &(usize, HostId)| Some((member.0, *places.get(member)?));
        self.banned.iter().filter_map(place).collect()
    }

    /// What was recorded of each host.
    fn records(&self, outcomes: &[HostOutcome]) -> Vec<RecordedHost> {
        let recorded = |(slot, outcome): (usize, &HostOutcome)| {
            let recorder = self.fixed.slots()[slot].recorder.as_ref()?.lock();
            let host = &self.hosts[slot];
            let came_at = self.fixed.plan(slot).join_at.and(host.started_at);
            Some(RecordedHost::new(&recorder, outcome, came_at, host.complete_at))
        };
        outcomes.iter().enumerate().filter_map(recorded).collect()
    }
}

/// Writes rows as they come, those that have come together.
async fn write_rows(mut inbox: Receiver<DeploymentLog>, rows: Rows) -> Rows {
    let mut batch = Vec::new();
    while inbox.recv_many(&mut batch, TOLD_AT_ONCE).await > 0 {
        rows.write(std::mem::take(&mut batch)).await;
    }
    rows
}
