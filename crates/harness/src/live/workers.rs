//! All workers of a run: they are given their parts, told when it begins, watched, replaced where that can be, and what they have come to is
//! put together by the clock of the run.

use std::collections::BTreeSet;

use cloud::{Cloud, DeploymentLog, DeploymentLogWriter, WriterReport};
use peer::{Clock, Multiaddr};
use scenario::{ClockFacts, LatencySummary, LiveFacts, RegionPlan, Scenario, WorkerFacts};
use swarm::Time;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::clocks::ClockLine;
use super::fleet::{FleetResult, FleetStatus, Slice, Surroundings};
use super::gathering::{Arrived, Gathering};
use super::held::Held;
use super::protocol::Job;
use super::rows::RowsTo;
use super::worker::Worker;
use super::{Guards, RunError, coordination, lost};
use crate::machine;

/// What becomes of a run that has lost a worker, once it has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnLost {
    /// It ends.
    Fail,
    /// It goes on, and the hosts that were not done are lost.
    Count,
}

/// Workers that have come from other machines, and the door for those that come in the place of one that is lost.
pub(super) struct Others {
    pub(super) arrived: Vec<Arrived>,
    pub(super) gathering: Gathering,
}

pub(super) struct Workers {
    list: Vec<Worker>,
    on_lost: OnLost,
    scenario: Scenario,
    surroundings: Surroundings,
    begun: Option<Vec<Time>>,
    others: Option<OfOthers>,
}

/// What there is where workers are on other machines.
struct OfOthers {
    /// Until the run begins.
    gathering: Option<Gathering>,
    rows: mpsc::Sender<DeploymentLog>,
    writing: JoinHandle<WriterReport>,
    /// Processors of each machine.
    cores: Vec<(String, usize)>,
}

impl Workers {
    /// Processes of this machine.
    pub(super) async fn spawn(
        count: u32,
        on_lost: OnLost,
        (scenario, epoch_nanos): (&Scenario, u64),
        surroundings: &Surroundings,
    ) -> Result<Self, RunError> {
        let mut list = Vec::new();
        for index in 0..count {
            let job = Job {
                epoch_nanos: Some(epoch_nanos),
                ..job(scenario, Slice { index, count }, surroundings)
            };
            list.push(Worker::spawn(job, surroundings.clock).await?);
        }
        Ok(Self {
            list,
            on_lost,
            scenario: scenario.clone(),
            surroundings: surroundings.clone(),
            begun: None,
            others: None,
        })
    }

    /// Those that have come from other machines.
    pub(super) async fn engage(
        others: Others,
        on_lost: OnLost,
        scenario: &Scenario,
        (surroundings, cloud): (&Surroundings, &Cloud),
    ) -> Result<Self, RunError> {
        let (rows, inbox) = mpsc::channel(ROWS_WAITING_MAX);
        let writer = DeploymentLogWriter::start(cloud.deployment_logs());
        let mut workers = Self {
            list: Vec::new(),
            on_lost,
            scenario: scenario.clone(),
            surroundings: surroundings.clone(),
            begun: None,
            others: Some(OfOthers {
                gathering: Some(others.gathering),
                rows,
                writing: tokio::spawn(write_rows(writer, inbox)),
                cores: vec![(machine::boot_id(), machine::cores())],
            }),
        };
        let count = u32::try_from(others.arrived.len()).unwrap_or(u32::MAX);
        for arrived in others.arrived {
            let worker = workers.engage_one(arrived, count).await?;
            workers.list.push(worker);
        }
        Ok(workers)
    }

    async fn engage_one(&mut self, arrived: Arrived, count: u32) -> Result<Worker, RunError> {
        let slice = Slice {
            index: arrived.index,
            count,
        };
        let Some(others) = &mut self.others else {
            unreachable!("only those of other machines arrive");
        };
        let run_is_at = self.surroundings.place.ip();
        if arrived.ip.is_loopback() != run_is_at.is_loopback() {
            return Err(RunError::WorkerSaid {
                name: format!("worker {} of {count} ({})", slice.index, arrived.ip),
                message: format!(
                    "has an address that others cannot reach, since the run is at {run_is_at}; expected --connect with an address of the \
                     run that is not loopback"
                ),
            });
        }
        others.cores.push((arrived.machine.clone(), arrived.cores));
        let mut job = job(&self.scenario, slice, &self.surroundings);
        (job.cloud, job.ip) = (None, arrived.ip);
        Ok(Worker::engage(arrived, job, self.surroundings.clock, others.rows.clone()).await)
    }

    /// The build is complete. Who comes from now on comes too late.
    pub(super) async fn begin(&mut self, complete_at: &[Time]) {
        self.begun = Some(complete_at.to_vec());
        if let Some(others) = &mut self.others {
            others.gathering = None;
        }
        for worker in &self.list {
            worker.begin(complete_at).await;
        }
    }

    /// How all hosts stand. Before the run begins it waits for somebody else in the place of a worker that is lost.
    ///
    /// # Errors
    /// Which worker is lost, where the run does not go on without it.
    pub(super) async fn status(&mut self) -> Result<FleetStatus, RunError> {
        for index in 0..self.list.len() {
            let Some(why) = self.list[index].loss().await else {
                continue;
            };
            if self.begun.is_some() && self.on_lost == OnLost::Count {
                continue;
            }
            let lost = |message: String, worker: &Worker| RunError::WorkerSaid {
                name: worker.name().to_owned(),
                message,
            };
            match self.replace(index, &why).await {
                Some(replaced) => replaced.map_err(|message| lost(message, &self.list[index]))?,
                None => return Err(lost(why, &self.list[index])),
            }
        }
        let mut total = FleetStatus {
            done: vec![0; self.scenario.regions.len()],
            held: vec![Held::default(); self.scenario.regions.len()],
            ..FleetStatus::default()
        };
        self.list.iter().for_each(|worker| total.add(&worker.status()));
        Ok(total)
    }

    /// Somebody else in the place of a worker, where somebody else may come.
    async fn replace(&mut self, index: usize, why: &str) -> Option<Result<(), String>> {
        let gathering = self.others.as_mut()?.gathering.as_mut()?;
        let Slice { index: part, count } = self.list[index].slice();
        say!(
            "harness: {} {why}; another one is awaited in its place",
            self.list[index].name()
        );
        gathering.give_back(part);
        let arrived = match gathering.all(|_| {}).await {
            Ok(arrived) => arrived,
            Err(missing) => return Some(Err(format!("{why}; {missing}"))),
        };
        for one in arrived {
            match self.engage_one(one, count).await {
                Ok(worker) => self.list[index] = worker,
                Err(error) => return Some(Err(error.to_string())),
            }
        }
        Some(Ok(()))
    }

    /// Ends them all at once, and puts together what they have come to. Notes who was lost.
    pub(super) async fn finish(
        mut self,
        plans: &[RegionPlan],
        live: &mut LiveFacts,
    ) -> (FleetResult, Option<RunError>) {
        let begun = self.begun.as_deref();
        let (mut all, failure) = coordination::counted(merged(&mut self.list, plans, live, begun)).await;
        live.coordination_cpu_seconds += coordination::cpu_seconds();
        self.list.clear();
        if let Some(others) = self.others {
            live.cores = Some(others.cores());
            drop(others.rows);
            all.note_rows(others.writing, self.surroundings.clock).await;
        }
        live.is_lost_counted = begun.is_some() && self.on_lost == OnLost::Count;
        (all, failure)
    }
}

/// Ends these, and puts together what they have come to. Where one is lost: which, and why.
pub(super) async fn merged(
    workers: &mut [Worker],
    plans: &[RegionPlan],
    live: &mut LiveFacts,
    begun: Option<&[Time]>,
) -> (FleetResult, Option<RunError>) {
    let finished = futures::future::join_all(workers.iter_mut().map(Worker::finish)).await;
    let (mut all, mut failure) = (FleetResult::default(), None);
    for (worker, result) in workers.iter().zip(finished) {
        let clock = worker.clock_line();
        let told = worker.take_told();
        let mut result = match result {
            Ok(mut result) => {
                told.complete(&mut result);
                result
            }
            Err(message) => {
                let name = worker.name().to_owned();
                live.lost.push(format!("{name} {message}"));
                failure = failure.or(Some(RunError::WorkerSaid { name, message }));
                FleetResult {
                    outcomes: lost::outcomes(plans, worker.slice(), (&told, clock), begun),
                    ..FleetResult::default()
                }
            }
        };
        if worker.is_remote() {
            result.map_to_run(clock, begun);
        }
        live.workers.push(facts(worker, clock, &result));
        live.cpu_seconds += result.spent.cpu_seconds;
        live.coordination_cpu_seconds += result.spent.coordination_cpu_seconds;
        live.peak_rss_bytes += result.peak_rss_bytes;
        all.merge(result);
    }
    (all, failure)
}

/// Writes what workers of other machines send, until none of them is left.
async fn write_rows(writer: DeploymentLogWriter, mut inbox: mpsc::Receiver<DeploymentLog>) -> WriterReport {
    while let Some(row) = inbox.recv().await {
        writer.write(row).await;
    }
    writer.finish().await
}

fn facts(worker: &Worker, clock: ClockLine, result: &FleetResult) -> WorkerFacts {
    let latency = LatencySummary::new(result.outcomes.iter().map(|outcome| outcome.verified_after));
    WorkerFacts {
        name: worker.name().to_owned(),
        hosts: result.outcomes.len(),
        not_done: latency.pending,
        p50: latency.p50,
        last: latency.max,
        clock: worker.is_remote().then(|| ClockFacts {
            offset_ms: clock.offset_nanos() as f64 / 1e6,
            drift_ppm: clock.drift_ppm(),
            uncertainty: clock.uncertainty(),
        }),
    }
}

/// A part of a run for somebody who has the same clock and can reach the same cloud.
fn job(scenario: &Scenario, slice: Slice, surroundings: &Surroundings) -> Job {
    Job {
        scenario: scenario.clone(),
        slice,
        epoch_nanos: None,
        cloud: match &surroundings.rows {
            RowsTo::Table(config) => Some(config.clone()),
            RowsTo::Run(_) => None,
        },
        ip: surroundings.place.ip(),
        seeders: surroundings
            .seeders
            .iter()
            .map(|region| region.iter().map(Multiaddr::to_string).collect())
            .collect(),
        guards: Guards::of(surroundings),
        is_recorded: surroundings.recorded.is_some(),
    }
}

impl OfOthers {
    /// Processors of all machines, each machine once.
    fn cores(&self) -> usize {
        let mut seen = BTreeSet::new();
        let own = self.cores.iter().filter(|(machine, _)| seen.insert(machine));
        own.map(|(_, cores)| cores).sum()
    }
}

impl FleetResult {
    /// Adds what another part has come to.
    fn merge(&mut self, other: Self) {
        self.outcomes.extend(other.outcomes);
        self.banned.extend(other.banned);
        self.protocol.add(&other.protocol);
        self.faults.add(&other.faults);
        self.rows_written += other.rows_written;
        self.rows_unprocessed += other.rows_unprocessed;
        self.rows_failed.extend(other.rows_failed);
        self.load.add(&other.load);
        self.records.extend(other.records);
        self.rows_after = self.rows_after.max(other.rows_after);
    }

    /// Maps all times, once: until then they are by the worker's clock.
    fn map_to_run(&mut self, clock: ClockLine, begun: Option<&[Time]>) {
        for (outcome, times) in self.outcomes.iter_mut().zip(&self.times) {
            let at = |nanos: Option<u64>| nanos.map(|nanos| clock.to_run(Time::from_nanos(nanos)));
            let (started, complete) = (at(times.started), at(times.complete));
            let begun = begun.and_then(|begun| begun.get(outcome.region)).copied();
            if let (Some(_), Some(complete), Some(begun)) = (outcome.verified_after, complete, begun) {
                outcome.verified_after = Some(complete.since(begun.max(started.unwrap_or_default())));
            }
        }
        for record in &mut self.records {
            record.map_to_run(clock);
        }
    }

    /// Waits until all rows that were sent here are in the table.
    async fn note_rows(&mut self, writing: JoinHandle<WriterReport>, clock: Clock) {
        let began = clock.now();
        let written = match writing.await {
            Ok(written) => written,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.rows_after = clock.now().since(began);
        self.rows_written += written.rows_written;
        self.rows_unprocessed += written.rows_unprocessed;
        let failed = written
            .failed
            .iter()
            .map(|row| format!("{}: {}", row.host_id, row.error));
        self.rows_failed.extend(failed);
    }
}

impl FleetStatus {
    fn add(&mut self, other: &Self) {
        self.started += other.started;
        self.joined += other.joined;
        self.failed += other.failed;
        self.pending += other.pending;
        for (sum, held) in self.held.iter_mut().zip(&other.held) {
            sum.add(*held);
        }
        for (sum, done) in self.done.iter_mut().zip(&other.done) {
            *sum += done;
        }
    }
}

/// Rows on their way to the table.
const ROWS_WAITING_MAX: usize = 1024;
