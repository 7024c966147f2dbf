//! A live run: embedded cloud, seeders, hosts; a build goes into the global bucket and is followed to the last host.
//!
//! Map: `fleet` are the hosts of a process. `workers` are all that have a part of them, `worker` one of those as the run sees it, `serving` its
//! own side; they speak `protocol` over a `pipe`, hosts and rows many at a time (`told`). Those of other machines come to `gathering` by `connecting`, `sealed` with the run's key, after a
//! `greeting`, and `clocks` maps their times; of the hosts of one that is gone `lost` tells. `node_parts` is what their nodes are given,
//! `build` what is uploaded, `seeders` are there or away, `signed` says who signs builds and who is believed, `membership` who is let in. What goes wrong is put around them: `disturbances` with hosts,
//! `interruptions` between members.

mod build;
#[cfg(feature = "pipeline")]
mod by_pipeline;
#[cfg(not(feature = "pipeline"))]
#[path = "no_pipeline.rs"]
mod by_pipeline;
mod clocks;
mod connecting;
mod coordination;
mod disturbances;
mod endpoints;
mod error;
mod fitting;
mod fleet;
mod gathering;
mod greeting;
mod held;
mod interruptions;
mod lost;
mod membership;
mod node_parts;
mod own_cloud;
mod pipe;
mod processes;
mod protocol;
mod ran;
mod recorded;
#[cfg(feature = "pipeline")]
mod region;
mod rows;
mod sealed;
mod seeders;
mod serving;
mod signed;
mod timeline;
mod told;
mod worker;
mod workers;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cloud::{Cloud, CloudConfig, RegionCopy, regional_bucket, replicate};
use explain::{Records, Sample};
use peer::{ChunkPool, Clock, PathDelay};
use scenario::{LiveFacts, RegionOutcome, RegionPlan, Scenario, SeederPlan, Slack, Stop};
use seeder::{BuildNotice, ChannelFeed};
use swarm::Time;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::machine::{self, MachineUse, ProcessLoad};
use crate::progress::Progress;
use endpoints::seeder_endpoint;
use fleet::{Fleet, FleetResult, Slice, Surroundings};
use gathering::Gathered;
use interruptions::Interruptions;
use node_parts::Place;
use ran::Ended;
use recorded::RunTimes;
use rows::RowsTo;
use seeders::{LiveSeeder, seeder_options};
use workers::{Others, Workers};

pub(crate) use build::{file, generated};
pub(crate) use connecting::{Connecting, work};
pub(crate) use error::RunError;
pub(crate) use fitting::fits;
pub(crate) use fleet::FleetStatus;
pub(crate) use gathering::Awaited;
#[cfg(all(test, feature = "pipeline"))]
pub(crate) use held::Held;
pub(crate) use membership::Guards;
pub(crate) use processes::{OfNodes, of_nodes};
pub(crate) use ran::{NotRan, Ran};
#[cfg(feature = "pipeline")]
pub(crate) use region::deploy;
pub(crate) use sealed::RunKey;
pub(crate) use serving::serve_parent;
#[cfg(feature = "pipeline")]
pub(crate) use signed::Believed as BelievedBuilds;
pub(crate) use signed::manifest as manifest_of;
pub(crate) use timeline::{Stage, Timeline};
pub(crate) use workers::OnLost;

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
    Workers(Box<Workers>),
}

/// Where they will be.
enum Spread {
    /// In so many processes of this machine, 0 for this one.
    Here(u32),
    Others(Others),
}

/// How a run is made, beside its scenario.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    pub(crate) cloud: CloudChoice,
    /// What it does against who is not of it.
    pub(crate) guards: Guards,
    /// Whether what passes at the hosts' cores is recorded.
    pub(crate) is_recorded: bool,
    /// Workers of other machines, where its hosts are to be there.
    pub(crate) awaited: Option<Awaited>,
    pub(crate) on_lost: OnLost,
}

/// Runs `scenario` with the cloud's data under `folder`. `stop` ends it early, with what was measured by then, and what was recorded.
pub(crate) async fn run(
    scenario: &Scenario,
    choices: &Choices,
    folder: &Path,
    progress: &mut Progress,
    stop: watch::Receiver<Option<Stop>>,
) -> Result<Ran, NotRan> {
    let choice = &choices.cloud;
    let started = Instant::now();
    let epoch = machine::monotonic_nanos();
    let (spread, place) = match &choices.awaited {
        None => (Spread::Here(fits(scenario, folder, choice)?), Place::default()),
        Some(awaited) => {
            fitting::fits_beside_hosts(scenario, folder, choice)?;
            fitting::fits_over_processes(scenario, awaited.workers)?;
            processes::seeders_fit(scenario, awaited.workers, peer::raise_file_limit())?;
            match gathering::gather(awaited, progress, stop.clone()).await? {
                Gathered::All(others, place) => (Spread::Others(others), place),
                Gathered::Missing(why) => {
                    let nothing = lost::nothing_ran(scenario, Some(why), None, started.elapsed());
                    return Ok(Ran::nothing(nothing));
                }
                Gathered::Stopped(by) => {
                    let nothing = lost::nothing_ran(scenario, None, Some(by), started.elapsed());
                    return Ok(Ran::nothing(nothing));
                }
            }
        }
    };
    processes::settle_memory(scenario);
    let regions: Vec<String> = scenario.regions.iter().map(|region| region.name.clone()).collect();
    let (embedded, config) = match choice {
        CloudChoice::Embedded => {
            progress.phase("starting the embedded cloud");
            let embedded = own_cloud::start(scenario, folder).await?;
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
        on_lost: choices.on_lost,
        is_spread: choices.awaited.is_some(),
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
        place,
        path: PathDelay::new(scenario.network.latency),
        paths,
        downlinks: node_parts::downlinks(scenario),
        pool: ChunkPool::default(),
        clock: run.clock,
        rows: RowsTo::Table(config),
        seeders: Vec::new(),
        believed,
        certifier,
        recorded: choices.is_recorded.then(|| recorded::sample(scenario)),
    };
    let (mut stop, mut stopped_by) = (run.stop.clone(), None);
    let went = tokio::select! {
        went = run.go(progress, &mut surroundings, spread, epoch) => went,
        stopped = stop.wait_for(Option::is_some) => {
            stopped_by = stopped.ok().and_then(|stop| *stop);
            Ok(())
        }
    };
    progress.phase("writing the last rows");
    let ended = Ended {
        went,
        stopped: stopped_by,
        sample: surroundings.recorded,
        embedded,
        started,
    };
    ended.concluded(run).await
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
    on_lost: OnLost,
    /// Whether its hosts are to be on other machines.
    is_spread: bool,
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
        spread: Spread,
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
        self.start_hosts(surroundings, spread, epoch).await?;
        self.wait_joined(progress).await?;
        self.live.joined_after = Some(self.clock.now().since(Time::ZERO));

        progress.phase("uploading the build");
        let scenario = self.scenario;
        let source = build::source(scenario)?;
        let (key, size) = (&scenario.build.id, scenario.build_size().get());
        let (mut buckets, mut root) = (self.cloud.buckets(), None);
        if surroundings.believed.is_some() {
            let (signing, of) = signed::signing(scenario, &source, buckets).await?;
            (buckets, root) = (signing, Some(of));
        }
        let upload_began = self.clock.now();
        self.times.upload_began = Some(upload_began);
        let began_at = SystemTime::now();
        buckets
            .put(&self.cloud.global_bucket(), key, size, &source, &|_| {})
            .await?;
        self.times.uploaded = Some(self.clock.now());
        if let Some(mut feeds) = self.pipeline.take() {
            return self.go_by_events(progress, &mut feeds, upload_began, began_at).await;
        }
        progress.phase("replicating to the regions");
        let regions: Vec<String> = scenario.regions.iter().map(|region| region.name.clone()).collect();
        let execution = format!("embedded-{}-{epoch}", scenario.seed);
        let copies = replicate(&self.cloud, key, &regions, (&execution, root)).await?;
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
        let seeding = self.regions.iter().filter_map(|region| region.seeding_after).max();
        progress.seeding(scenario, seeding.unwrap_or_default());
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
            Some(Hosts::Workers(workers)) => workers.begin(complete_at).await,
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

    async fn start_hosts(&mut self, surroundings: &Surroundings, spread: Spread, epoch: u64) -> Result<(), RunError> {
        let workers = match spread {
            Spread::Here(0) => {
                let slice = Slice { index: 0, count: 1 };
                let plans = Arc::clone(&self.plans);
                let fleet = Fleet::new(self.scenario, plans, slice, surroundings.clone()).await;
                let fleet = self.hosts.insert(Hosts::Local(Box::new(fleet)));
                if let Hosts::Local(fleet) = fleet {
                    fleet.start().await?;
                }
                return Ok(());
            }
            Spread::Here(count) => Workers::spawn(count, self.on_lost, (self.scenario, epoch), surroundings).await?,
            Spread::Others(others) => {
                Workers::engage(others, self.on_lost, self.scenario, (surroundings, &self.cloud)).await?
            }
        };
        self.hosts = Some(Hosts::Workers(Box::new(workers)));
        Ok(())
    }

    /// Waits until every host that is there from the start has its place in the overlay.
    async fn wait_joined(&mut self, progress: &mut Progress) -> Result<(), RunError> {
        let hosts = self.plans.iter().flat_map(|plan| &plan.hosts);
        let expected = hosts.filter(|host| host.join_at.is_none()).count();
        progress.phase("hosts are joining");
        let patience = fleet::join_patience(self.scenario.host_count());
        let began = Instant::now();
        loop {
            let status = self.status().await?;
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

    /// Waits until every host that is expected to get the build has it or has failed, or the deadline has passed.
    async fn wait_done(&mut self, progress: &Progress, complete_at: &[Time]) -> Result<(), RunError> {
        let begin = complete_at.iter().copied().max().unwrap_or_default();
        let end = begin + self.deadline;
        loop {
            let status = self.status().await?;
            progress.fan_out(&status, (complete_at, self.clock.now()), || self.seeders_sent());
            let done: u32 = status.done.iter().sum();
            if done as usize + status.failed >= self.scenario.host_count() as usize {
                return Ok(());
            }
            // Nobody waits for hosts that are not expected to get it.
            if status.started > 0 && status.pending == 0 {
                return Ok(());
            }
            if self.clock.now() > end {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn status(&mut self) -> Result<FleetStatus, RunError> {
        match &mut self.hosts {
            Some(Hosts::Local(fleet)) => Ok(fleet.status()),
            Some(Hosts::Workers(workers)) => coordination::counted(workers.status()).await,
            None => Ok(FleetStatus::default()),
        }
    }

    /// What the seeders of each region have sent.
    fn seeders_sent(&self) -> Vec<u64> {
        let sent = |seeders: &Vec<Arc<LiveSeeder>>| seeders.iter().map(|seeder| seeder.traffic().sent).sum();
        self.seeders.iter().map(sent).collect()
    }

    /// Whether there is something to report where a worker is lost.
    const fn is_partial(&self) -> bool {
        self.live.joined_after.is_some() || self.is_spread
    }

    /// Why a worker was lost, in all words: who has come in its place is told here only.
    fn note_loss(&mut self, name: &str, message: &str) {
        let whole = format!("{name} {message}");
        match self.live.lost.iter_mut().find(|lost| lost.starts_with(name)) {
            Some(lost) => *lost = whole,
            None => self.live.lost.push(whole),
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
            self.live.load = Some(machine::machine_load(
                &processes,
                &machine,
                self.live.cores.unwrap_or_else(machine::cores),
            ));
        }
    }

    /// What was recorded of all hosts, once they have ended.
    fn records(&mut self, sample: Sample, stopped: Option<Stop>) -> Records {
        let began = self.times.complete_at.iter().flatten();
        let seeding = began
            .zip(&self.regions)
            .map(|(at, region)| Some(*at + region.seeding_after?));
        self.times.seeding_at = seeding.collect();
        let hosts = std::mem::take(&mut self.result.records);
        recorded::records(self.scenario, &self.plans, (sample, &hosts), &self.times, stopped)
    }

    async fn finish(&mut self) -> Result<(), RunError> {
        self.end_watch();
        self.times.ended_at = self.clock.now();
        self.times.rows_after = self.result.rows_after;
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
                let (result, failure) = workers.finish(&self.plans, &mut self.live).await;
                self.result = result;
                if let Some(failure) = failure.filter(|_| !self.is_partial()) {
                    return Err(failure);
                }
            }
            None if self.is_spread => {
                self.result.outcomes = lost::all(&self.plans);
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

/// Status of the row of a host that has the build.
pub(crate) const SUCCEEDED: &str = "SUCCEEDED";
const POLL_INTERVAL: Duration = Duration::from_millis(50);
