//! A live run: embedded cloud, seeders, hosts; a build goes into the global bucket and is followed to the last host.
//!
//! Map: `fleet` are the hosts of a process, `worker` spreads them over processes, `node_parts` is what their nodes are given,
//! `build` what is uploaded, `seeders` are there or away, `signed` says who signs builds and who is believed, `membership` who is let in. What goes wrong is put around them: `disturbances` with hosts,
//! `interruptions` between members.

mod build;
#[cfg(feature = "pipeline")]
mod by_pipeline;
#[cfg(not(feature = "pipeline"))]
#[path = "no_pipeline.rs"]
mod by_pipeline;
mod disturbances;
mod endpoints;
mod error;
mod fleet;
mod held;
mod interruptions;
mod membership;
mod node_parts;
mod processes;
mod recorded;
#[cfg(feature = "pipeline")]
mod region;
mod seeders;
mod signed;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cloud::{Cloud, CloudConfig, EmbeddedCloud, RegionCopy, regional_bucket, replicate};
use explain::{Records, Sample};
use peer::{ChunkPool, Clock, Downlinks, InProcessNetwork, Limits, PathDelay};
use scenario::{Facts, LiveFacts, RegionOutcome, RegionPlan, RunOutcome, Scenario, SeederPlan, Slack, Stop, Transport};
use seeder::{BuildNotice, ChannelFeed, GetTurns, PullOptions, SeederOptions, Spool};
use swarm::{SwarmId, Time};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::estimates;
use crate::machine::{self, MachineUse, ProcessLoad};
use crate::progress::Progress;
use endpoints::seeder_endpoint;
use fleet::{Fleet, FleetResult, Slice, Surroundings};
use interruptions::Interruptions;
use recorded::RunTimes;
use seeders::LiveSeeder;
use signed::Believed;
use worker::WorkerProcess;

pub(crate) use build::{file, generated};
pub(crate) use error::RunError;
pub(crate) use fleet::FleetStatus;
pub(crate) use membership::Guards;
#[cfg(feature = "pipeline")]
pub(crate) use region::deploy;
#[cfg(feature = "pipeline")]
pub(crate) use signed::Believed as BelievedBuilds;
pub(crate) use signed::manifest as manifest_of;
pub(crate) use worker::serve as serve_worker;

/// Which cloud a run is on.
#[derive(Clone, Debug)]
pub(crate) enum CloudChoice {
    /// Servers of its own, and a plain copy for the workflow.
    Embedded,
    /// The pipeline that is there: an upload, and events do the rest.
    Pipeline(CloudConfig),
}

/// The hosts of a run, wherever they are.
enum Hosts {
    Local(Box<Fleet>),
    Workers(Vec<WorkerProcess>),
}

/// Over how many worker processes this machine can run `scenario`, with an embedded cloud's data under `folder`; 0 for none.
///
/// # Errors
/// The first thing that is in the way.
pub(crate) fn fits(scenario: &Scenario, folder: &Path, choice: &CloudChoice) -> Result<u32, RunError> {
    let only_in_forecasts = scenario.only_in_forecasts();
    if !only_in_forecasts.is_empty() {
        return Err(RunError::OnlyInForecasts {
            keys: only_in_forecasts.join(", "),
        });
    }
    if scenario.network.transport == Transport::Quic && !cfg!(feature = "quic") {
        return Err(RunError::NoQuic);
    }
    let workers = processes::worker_count(scenario, peer::raise_file_limit())?;
    if let CloudChoice::Embedded = choice
        && let Some(message) = estimates::lacks_disk(scenario, folder)
    {
        return Err(RunError::Disk { message });
    }
    processes::fits_into_memory(scenario)?;
    Ok(workers)
}

/// How a run is made, beside its scenario.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    pub(crate) cloud: CloudChoice,
    /// What it does against who is not of it.
    pub(crate) guards: Guards,
    /// Whether what passes at the hosts' cores is recorded.
    pub(crate) is_recorded: bool,
}

/// Runs `scenario` with the cloud's data under `folder`. `stop` ends it early, with what was measured by then, and what was recorded.
pub(crate) async fn run(
    scenario: &Scenario,
    choices: &Choices,
    folder: &Path,
    progress: &mut Progress,
    stop: watch::Receiver<Option<Stop>>,
) -> Result<(RunOutcome, Option<Records>), RunError> {
    let choice = &choices.cloud;
    let started = Instant::now();
    let epoch = machine::monotonic_nanos();
    let workers = fits(scenario, folder, choice)?;
    processes::settle_memory(scenario);
    let regions: Vec<String> = scenario.regions.iter().map(|region| region.name.clone()).collect();
    let (embedded, config) = match choice {
        CloudChoice::Embedded => {
            progress.phase("starting the embedded cloud");
            let embedded = EmbeddedCloud::start(&folder.join("cloud")).await?;
            let config = embedded.config().clone();
            (Some(embedded), config)
        }
        CloudChoice::Pipeline(config) => (None, config.clone()),
    };
    let cloud = Cloud::connect(&config).await;
    let pipeline = match &embedded {
        Some(_) => {
            cloud.bootstrap(&regions).await?;
            None
        }
        None => {
            progress.phase("looking for the pipeline");
            Some(by_pipeline::Feeds::find(&cloud, &regions).await?)
        }
    };
    let plans: Arc<[RegionPlan]> = scenario.plans().into();
    let paths = interruptions::paths(&plans);
    let mut run = Run {
        scenario,
        cloud,
        clock: machine::clock_since(epoch),
        pipeline,
        interruptions: paths.as_ref().map(|paths| Interruptions::new(&plans, paths)),
        plans,
        seeders: Vec::new(),
        hosts: None,
        tasks: Vec::new(),
        stop,
        watch: None,
        seen: None,
        deadline: scenario.time_limit(),
        regions: vec![RegionOutcome::default(); regions.len()],
        live: LiveFacts {
            replicated_after: vec![None; regions.len()],
            ..LiveFacts::default()
        },
        result: FleetResult::default(),
        times: RunTimes::default(),
    };
    let (believed, certifier) = choices.guards.parts(scenario.seed);
    let mut surroundings = Surroundings {
        network: InProcessNetwork::default(),
        path: PathDelay::new(scenario.network.latency),
        paths,
        downlinks: regions.iter().map(|_| Downlinks::default()).collect(),
        pool: ChunkPool::default(),
        clock: run.clock,
        cloud: config,
        seeders: Vec::new(),
        believed,
        certifier,
        recorded: choices.is_recorded.then(|| recorded::sample(scenario)),
    };
    let (mut stop, mut stopped_by) = (run.stop.clone(), None);
    let went = tokio::select! {
        went = run.go(progress, &mut surroundings, workers, epoch) => went,
        stopped = stop.wait_for(Option::is_some) => {
            stopped_by = stopped.ok().and_then(|stop| *stop);
            Ok(())
        }
    };
    progress.phase("writing the last rows");
    let finished = run.finish().await;
    match went {
        // What the others have measured is there.
        Err(RunError::WorkerSaid { .. }) if run.live.joined_after.is_some() => {}
        went => went?,
    }
    finished?;
    let records = surroundings.recorded.map(|sample| run.records(sample, stopped_by));
    let mut outcome = RunOutcome {
        hosts: run.result.outcomes,
        regions: run.regions,
        protocol: run.result.protocol,
        faults: run.result.faults,
        banned: run.result.banned,
        deadline: run.deadline,
        stopped: stopped_by,
        facts: Facts::Live(Box::default()),
    };
    let mut live = run.live;
    if let Some(stages) = &mut live.stages {
        stages.note_hosts(&outcome.hosts);
    }
    live.rows_unprocessed = run.result.rows_unprocessed;
    live.rows_failed = run.result.rows_failed;
    let rows = run.cloud.deployment_logs().count_by_status(&scenario.build.id).await?;
    live.log_rows = rows.get(SUCCEEDED).copied().unwrap_or_default();
    live.failure_rows = rows.values().sum::<u64>() - live.log_rows;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    live.wall = started.elapsed();
    live.cpu_seconds += machine::cpu_seconds();
    live.peak_rss_bytes += machine::peak_rss_bytes();
    outcome.facts = Facts::Live(Box::new(live));
    Ok((outcome, records))
}

struct Run<'a> {
    scenario: &'a Scenario,
    cloud: Cloud,
    clock: Clock,
    pipeline: Option<by_pipeline::Feeds>,
    /// By region.
    plans: Arc<[RegionPlan]>,
    /// Between the members of this process.
    interruptions: Option<Arc<Interruptions>>,
    /// By region.
    seeders: Vec<Vec<Arc<LiveSeeder>>>,
    hosts: Option<Hosts>,
    /// What carries out faults in this process.
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Receiver<Option<Stop>>,
    /// From when the hosts begin until the last of them is done.
    watch: Option<machine::Watch>,
    seen: Option<(ProcessLoad, MachineUse)>,
    deadline: Duration,
    /// By region.
    regions: Vec<RegionOutcome>,
    live: LiveFacts,
    result: FleetResult,
    times: RunTimes,
}

impl Run<'_> {
    async fn go(
        &mut self,
        progress: &mut Progress,
        surroundings: &mut Surroundings,
        workers: u32,
        epoch: u64,
    ) -> Result<(), RunError> {
        for fleet in &*Arc::clone(&self.plans) {
            let mut seeders = Vec::new();
            for plan in &fleet.seeders {
                seeders.push(self.start_seeder(fleet, plan, surroundings).await?);
            }
            let addresses = seeders.iter().map(|seeder| seeder.address());
            surroundings.seeders.push(addresses.collect());
            self.seeders.push(seeders);
        }
        progress.phase("starting hosts");
        self.start_hosts(surroundings, workers, epoch).await?;
        self.wait_joined(progress).await?;
        self.live.joined_after = Some(self.clock.now().since(Time::ZERO));

        progress.phase("uploading the build");
        let scenario = self.scenario;
        let source = build::source(scenario)?;
        let (key, size) = (&scenario.build.id, scenario.build_size().get());
        let mut buckets = self.cloud.buckets();
        if surroundings.believed.is_some() {
            let failed = |source| RunError::Unread {
                build: key.clone(),
                source,
            };
            let manifest = signed::manifest(key, size, scenario.chunk_size(), &source)
                .await
                .map_err(failed)?;
            buckets = buckets.signed(signed::sign(scenario, &manifest).to_string());
        }
        let upload_began = self.clock.now();
        let began_at = SystemTime::now();
        buckets
            .put(&self.cloud.global_bucket(), key, size, &source, &|_| {})
            .await?;
        if let Some(mut feeds) = self.pipeline.take() {
            return self.go_by_events(progress, &mut feeds, upload_began, began_at).await;
        }
        progress.phase("replicating to the regions");
        let regions: Vec<String> = scenario.regions.iter().map(|region| region.name.clone()).collect();
        let execution = format!("embedded-{}-{epoch}", scenario.seed);
        let copies = replicate(&self.cloud, key, &regions, &execution).await?;
        let mut complete_at = vec![Time::ZERO; regions.len()];
        for RegionCopy { region, result } in copies {
            let index = regions.iter().position(|name| *name == region).unwrap_or_default();
            let at = self
                .clock
                .at(result.map_err(|source| RunError::Replication { region, source })?);
            complete_at[index] = at;
            self.live.replicated_after[index] = Some(at.since(upload_began));
        }
        self.begin_hosts(&complete_at).await?;
        progress.phase("seeders are pulling the build");
        self.seed(&complete_at).await?;
        progress.phase("fan-out");
        progress.bound(self.bound());
        self.wait_done(progress, &complete_at).await?;
        self.end_watch();
        Ok(())
    }

    /// The build is complete in the regional buckets: what the hosts' latencies count from.
    async fn begin_hosts(&mut self, complete_at: &[Time]) -> Result<(), RunError> {
        self.watch = Some(machine::Watch::start());
        self.times.complete_at = Some(complete_at.to_vec());
        if let Some(interruptions) = &self.interruptions {
            self.tasks = interruptions.begin(self.clock, complete_at);
        }
        match &mut self.hosts {
            Some(Hosts::Local(fleet)) => fleet.begin(complete_at.to_vec()),
            Some(Hosts::Workers(workers)) => {
                for (index, worker) in (0..).zip(workers) {
                    let said = worker.begin(complete_at).await;
                    said.map_err(|source| RunError::Worker { index, source })?;
                }
            }
            None => {}
        }
        Ok(())
    }

    async fn start_seeder(
        &self,
        fleet: &RegionPlan,
        plan: &SeederPlan,
        surroundings: &Surroundings,
    ) -> Result<Arc<LiveSeeder>, RunError> {
        let scenario = self.scenario;
        let endpoint = seeder_endpoint(scenario, fleet, plan, surroundings);
        let options = {
            let (scenario, plans, surroundings) = (scenario.clone(), Arc::clone(&self.plans), surroundings.clone());
            let (region, seeder) = (fleet.region, plan.index as usize);
            move || {
                let (fleet, chunk_size) = (&plans[region], Some(scenario.chunk_size()));
                seeder_options(&scenario, fleet, &fleet.seeders[seeder], &surroundings, chunk_size)
            }
        };
        LiveSeeder::start(endpoint, options, plan.absences.clone())
            .await
            .map_err(|error| RunError::Seeder {
                region: scenario.regions[fleet.region].name.clone(),
                source: Box::new(error),
            })
    }

    async fn start_hosts(&mut self, surroundings: &Surroundings, workers: u32, epoch: u64) -> Result<(), RunError> {
        if workers == 0 {
            let slice = Slice { index: 0, count: 1 };
            let plans = Arc::clone(&self.plans);
            let fleet = Fleet::new(self.scenario, plans, slice, surroundings.clone()).await;
            let fleet = self.hosts.insert(Hosts::Local(Box::new(fleet)));
            if let Hosts::Local(fleet) = fleet {
                fleet.start().await?;
            }
            return Ok(());
        }
        let mut processes = Vec::new();
        for index in 0..workers {
            let slice = Slice { index, count: workers };
            processes.push(WorkerProcess::spawn(self.scenario, slice, epoch, surroundings).await?);
        }
        self.hosts = Some(Hosts::Workers(processes));
        Ok(())
    }

    /// Waits until every host that is there from the start has its place in the overlay.
    async fn wait_joined(&self, progress: &mut Progress) -> Result<(), RunError> {
        let hosts = self.plans.iter().flat_map(|plan| &plan.hosts);
        let expected = hosts.filter(|host| host.join_at.is_none()).count();
        progress.phase("hosts are joining");
        let patience = fleet::join_patience(self.scenario.host_count());
        let began = Instant::now();
        loop {
            let status = self.status()?;
            progress.hosts(status.joined);
            if status.joined >= expected {
                return Ok(());
            }
            if began.elapsed() > patience {
                // The fan-out will say who is missing.
                tracing::error!(joined = status.joined, expected, "not all hosts have joined in time");
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// All regions at once. Seeders have machines of their own: none is to fall behind here because the hosts of another
    /// region have the cores already, so all have pulled before one begins to send.
    async fn seed(&mut self, complete_at: &[Time]) -> Result<(), RunError> {
        let buckets = self.cloud.buckets();
        let (scenario, clock) = (self.scenario, self.clock);
        let seeders = self.seeders.iter().enumerate();
        let seeders = seeders.flat_map(|(index, seeders)| seeders.iter().map(move |seeder| (index, seeder)));
        let seeding = seeders.map(|(index, seeder)| {
            let buckets = &buckets;
            async move {
                let region = &scenario.regions[index].name;
                let (notices, mut feed) = ChannelFeed::new();
                let notice = BuildNotice {
                    bucket: regional_bucket(region),
                    key: scenario.build.id.clone(),
                };
                // A new channel has room for one.
                let _ = notices.send(notice).await;
                let pulled = seeder.pull_from(buckets, &mut feed).await;
                let (pulled, _) = pulled.map_err(|error| RunError::Seeder {
                    region: region.clone(),
                    source: Box::new(error),
                })?;
                Ok::<_, RunError>((index, seeder, pulled))
            }
        });
        let pulled = futures::future::try_join_all(seeding).await?;
        for (index, seeder, pulled) in pulled {
            seeder.seed(pulled);
            self.regions[index].seeding_after = Some(clock.now().since(complete_at[index]));
        }
        Ok(())
    }

    /// What no schedule beats, by the slowest region; `None` where links are not limited.
    fn bound(&self) -> Option<Duration> {
        let bounds = self
            .plans
            .iter()
            .filter_map(|plan| self.scenario.bounds(plan, Slack::default()));
        bounds.map(|bounds| bounds.makespan()).max()
    }

    /// Waits until every host of which it is expected is done, or the deadline has passed.
    async fn wait_done(&self, progress: &Progress, complete_at: &[Time]) -> Result<(), RunError> {
        let begin = complete_at.iter().copied().max().unwrap_or_default();
        let end = begin + self.deadline;
        loop {
            let status = self.status()?;
            progress.fan_out(&status);
            let done: u32 = status.done.iter().sum();
            if done as usize + status.failed >= self.scenario.host_count() as usize {
                return Ok(());
            }
            // Hosts of which nothing is expected may be done or not: those of which it is are counted by themselves.
            if status.started > 0 && status.pending == 0 {
                return Ok(());
            }
            if self.clock.now() > end {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn status(&self) -> Result<FleetStatus, RunError> {
        match &self.hosts {
            Some(Hosts::Local(fleet)) => Ok(fleet.status()),
            Some(Hosts::Workers(workers)) => {
                let mut total = FleetStatus {
                    done: vec![0; self.scenario.regions.len()],
                    held: vec![held::Held::default(); self.scenario.regions.len()],
                    ..FleetStatus::default()
                };
                for (index, worker) in workers.iter().enumerate() {
                    if worker.is_gone() {
                        let message = "has ended early; its errors are above".to_owned();
                        return Err(RunError::WorkerSaid { index, message });
                    }
                    let status = worker.status();
                    total.started += status.started;
                    total.joined += status.joined;
                    total.failed += status.failed;
                    total.pending += status.pending;
                    for (sum, held) in total.held.iter_mut().zip(status.held) {
                        sum.add(held);
                    }
                    for (sum, done) in total.done.iter_mut().zip(status.done) {
                        *sum += done;
                    }
                }
                Ok(total)
            }
            None => Ok(FleetStatus::default()),
        }
    }

    /// Ends the watch, where it has begun and not ended yet.
    fn end_watch(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.seen = Some(watch.stop());
        }
    }

    /// What all processes of the run saw.
    fn note_load(&mut self) {
        self.end_watch();
        if let Some((mut processes, machine)) = self.seen.take() {
            processes.add(&self.result.load);
            for (region, seeders) in self.seeders.iter().enumerate() {
                for seeder in seeders {
                    processes.note_links(region, self.scenario.build_size(), &seeder.traffic());
                }
            }
            self.live.load = Some(machine::machine_load(&processes, &machine, machine::cores()));
        }
    }

    /// What was recorded of all hosts, once they have ended.
    fn records(&mut self, sample: Sample, stopped: Option<Stop>) -> Records {
        let began = self.times.complete_at.iter().flatten();
        let seeding = began
            .zip(&self.regions)
            .map(|(at, region)| Some(*at + region.seeding_after?));
        self.times.seeding_at = seeding.collect();
        self.times.rows_after = self.result.rows_after;
        let hosts = std::mem::take(&mut self.result.records);
        recorded::records(self.scenario, &self.plans, (sample, &hosts), &self.times, stopped)
    }

    async fn finish(&mut self) -> Result<(), RunError> {
        self.end_watch();
        self.times.ended_at = self.clock.now();
        self.tasks.iter().for_each(JoinHandle::abort);
        for (region, seeders) in self.regions.iter_mut().zip(&self.seeders) {
            seeders.iter().for_each(|seeder| seeder.settle());
            region.seeder_bytes = seeders.iter().map(|seeder| seeder.traffic().sent).sum();
        }
        match self.hosts.take() {
            Some(Hosts::Local(fleet)) => {
                let result = fleet.finish().await;
                // This process is counted at the very end.
                self.result = result;
            }
            Some(Hosts::Workers(workers)) => {
                let mut failure = None;
                for (index, worker) in workers.into_iter().enumerate() {
                    match worker.finish().await {
                        Ok(result) => {
                            let all = &mut self.result;
                            all.outcomes.extend(result.outcomes);
                            all.banned.extend(result.banned);
                            all.protocol.add(&result.protocol);
                            all.faults.add(&result.faults);
                            all.rows_written += result.rows_written;
                            all.rows_unprocessed += result.rows_unprocessed;
                            all.rows_failed.extend(result.rows_failed);
                            all.load.add(&result.load);
                            all.records.extend(result.records);
                            all.rows_after = all.rows_after.max(result.rows_after);
                            self.live.cpu_seconds += result.cpu_seconds;
                            self.live.peak_rss_bytes += result.peak_rss_bytes;
                        }
                        Err(message) => {
                            self.live.lost.push(format!("worker process {index} {message}"));
                            failure = failure.or(Some(RunError::WorkerSaid { index, message }));
                        }
                    }
                }
                if let Some(failure) = failure.filter(|_| self.live.joined_after.is_none()) {
                    return Err(failure);
                }
            }
            None => {}
        }
        for seeder in self.seeders.iter().flatten() {
            self.result.faults.add(&seeder.faults());
        }
        if let Some(interruptions) = &self.interruptions {
            self.result.faults.add(&interruptions.counts());
        }
        self.note_load();
        Ok(())
    }
}

/// One of a region's seeders.
fn seeder_options(
    scenario: &Scenario,
    fleet: &RegionPlan,
    plan: &SeederPlan,
    surroundings: &Surroundings,
    chunk_size: Option<u32>,
) -> SeederOptions {
    SeederOptions {
        swarm: SwarmId::ONLY,
        core: scenario.swarm.seeder_config(plan),
        shaping: node_parts::shaping(plan.links.as_ref(), &surroundings.downlinks[fleet.region]),
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

/// Status of the row of a host that has the build.
pub(crate) const SUCCEEDED: &str = "SUCCEEDED";
const POLL_INTERVAL: Duration = Duration::from_millis(50);
