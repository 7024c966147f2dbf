//! A part of the hosts in a process of its own, and how the parent speaks to it: one JSON value a line, on stdin and
//! stdout. A worker ends when its stdin does, so none outlives its parent.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cloud::CloudConfig;
use parking_lot::Mutex;
use peer::{ChunkPool, Downlinks, InProcessNetwork, Multiaddr, PathDelay};
use scenario::{RegionPlan, Scenario};
use serde::{Deserialize, Serialize};
use swarm::Time;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use super::fleet::{Fleet, FleetResult, FleetStatus, Slice, Surroundings};
use super::interruptions::{self, Interruptions};
use super::{Guards, RunError, processes, recorded};
use crate::machine;

/// What a worker is told.
#[derive(Serialize, Deserialize)]
enum ToWorker {
    /// Start your part of the hosts. Said once, first.
    Start(Box<Job>),
    /// The build is complete in the regional buckets, at these nanoseconds of the run.
    Begin(Vec<u64>),
    /// Tell your result and end.
    Finish,
}

#[derive(Serialize, Deserialize)]
struct Job {
    scenario: Scenario,
    slice: Slice,
    epoch_nanos: u64,
    cloud: CloudConfig,
    seeders: Vec<Vec<String>>,
    guards: Guards,
    is_recorded: bool,
}

/// What a worker says.
#[derive(Serialize, Deserialize)]
enum FromWorker {
    Status(FleetStatus),
    Failed(String),
    Result(Box<FleetResult>),
}

/// A worker, seen from the parent.
pub(super) struct WorkerProcess {
    child: Child,
    stdin: ChildStdin,
    status: Arc<Mutex<FleetStatus>>,
    reader: JoinHandle<Result<FleetResult, String>>,
}

impl WorkerProcess {
    /// Starts a worker on its part of the hosts.
    pub(super) async fn spawn(
        scenario: &Scenario,
        slice: Slice,
        epoch_nanos: u64,
        surroundings: &Surroundings,
    ) -> Result<Self, RunError> {
        let failed = |source| RunError::Worker {
            index: slice.index,
            source,
        };
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        let status = Arc::new(Mutex::new(FleetStatus::default()));
        let reader = tokio::spawn(listen_to(BufReader::new(stdout).lines(), Arc::clone(&status)));
        let mut worker = Self {
            child,
            stdin,
            status,
            reader,
        };
        let job = Job {
            scenario: scenario.clone(),
            slice,
            epoch_nanos,
            cloud: surroundings.cloud.clone(),
            seeders: surroundings
                .seeders
                .iter()
                .map(|region| region.iter().map(Multiaddr::to_string).collect())
                .collect(),
            guards: Guards::of(surroundings),
            is_recorded: surroundings.recorded.is_some(),
        };
        worker.say(&ToWorker::Start(Box::new(job))).await.map_err(failed)?;
        Ok(worker)
    }

    pub(super) async fn begin(&mut self, complete_at: &[Time]) -> std::io::Result<()> {
        self.say(&ToWorker::Begin(complete_at.iter().map(|at| at.as_nanos()).collect()))
            .await
    }

    pub(super) fn status(&self) -> FleetStatus {
        self.status.lock().clone()
    }

    /// Whether it has ended before its time.
    pub(super) fn is_gone(&self) -> bool {
        self.reader.is_finished()
    }

    /// Its result, and its end.
    pub(super) async fn finish(mut self) -> Result<FleetResult, String> {
        let said = self.say(&ToWorker::Finish).await;
        let result = match tokio::time::timeout(FINISH_PATIENCE, &mut self.reader).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("did not tell its result in time".to_owned()),
        };
        drop(self.stdin);
        let ended = tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await;
        if ended.is_err() {
            let _ = self.child.kill().await;
        }
        if let (Err(_), Ok(Ok(status))) = (&result, &ended)
            && let Some(signal) = status.signal()
        {
            let why = if signal == rustix::process::Signal::KILL.as_raw() {
                " (was there no memory left?)"
            } else {
                ""
            };
            return Err(format!("was killed by signal {signal}{why}"));
        }
        match (result, said) {
            (Err(_), Err(error)) => Err(format!("has ended early: {error}")),
            (result, _) => result,
        }
    }

    async fn say(&mut self, message: &ToWorker) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.stdin.write_all(&line).await?;
        self.stdin.flush().await
    }
}

async fn listen_to(
    mut lines: Lines<BufReader<ChildStdout>>,
    status: Arc<Mutex<FleetStatus>>,
) -> Result<FleetResult, String> {
    loop {
        let line = match lines.next_line().await {
            Ok(Some(line)) => line,
            Ok(None) => return Err("has ended early".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        match serde_json::from_str(&line) {
            Ok(FromWorker::Status(news)) => *status.lock() = news,
            Ok(FromWorker::Failed(error)) => return Err(error),
            Ok(FromWorker::Result(result)) => return Ok(*result),
            Err(error) => return Err(format!("said something that is not understood: {error}")),
        }
    }
}

/// The worker's side: runs its hosts as it is told on stdin.
pub(crate) async fn serve() -> std::io::Result<()> {
    peer::raise_file_limit();
    // Ctrl-C goes to all processes of a terminal, and `timeout` and systemd end all of a group; a worker ends when its parent
    // says so, or is gone.
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        tokio::spawn(async move { while signals.recv().await.is_some() {} });
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let Some(ToWorker::Start(job)) = next(&mut lines).await? else {
        return Ok(());
    };
    processes::settle_memory(&job.scenario);
    let parse = |addresses: &Vec<String>| addresses.iter().map(|address| address.parse()).collect();
    let seeders: Result<Vec<Vec<Multiaddr>>, _> = job.seeders.iter().map(parse).collect();
    let seeders = seeders.map_err(std::io::Error::other)?;
    let plans: Arc<[RegionPlan]> = job.scenario.plans().into();
    let paths = interruptions::paths(&plans);
    let interruptions = paths.as_ref().map(|paths| Interruptions::new(&plans, paths));
    let (believed, certifier) = job.guards.parts(job.scenario.seed);
    let surroundings = Surroundings {
        network: InProcessNetwork::default(),
        path: PathDelay::new(job.scenario.network.latency),
        paths,
        downlinks: job.scenario.regions.iter().map(|_| Downlinks::default()).collect(),
        pool: ChunkPool::default(),
        clock: machine::clock_since(job.epoch_nanos),
        cloud: job.cloud,
        seeders,
        believed,
        certifier,
        recorded: job.is_recorded.then(|| recorded::sample(&job.scenario)),
    };
    let clock = surroundings.clock;
    let mut fleet = Fleet::new(&job.scenario, plans, job.slice, surroundings).await;
    let mut stdout = tokio::io::stdout();
    let starting = tokio::select! {
        started = fleet.start() => started,
        // The parent is gone, or has given up.
        _ = next(&mut lines) => return Ok(()),
    };
    if let Err(error) = starting {
        return say(&mut stdout, &FromWorker::Failed(crate::exit::chain(&error))).await;
    }
    let mut tick = tokio::time::interval(STATUS_INTERVAL);
    let mut watch: Option<machine::Watch> = None;
    let mut seen = machine::ProcessLoad::default();
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let status = fleet.status();
                // What comes after the last host is not what the run measured.
                if status.pending == 0 && let Some(watch) = watch.take() {
                    seen = watch.stop().0;
                }
                say(&mut stdout, &FromWorker::Status(status)).await?;
            }
            message = next(&mut lines) => match message? {
                Some(ToWorker::Begin(at)) => {
                    watch = Some(machine::Watch::start());
                    let complete_at: Vec<Time> = at.into_iter().map(Time::from_nanos).collect();
                    if let Some(interruptions) = &interruptions {
                        // They end with the process.
                        interruptions.begin(clock, &complete_at);
                    }
                    fleet.begin(complete_at);
                }
                Some(ToWorker::Finish) => {
                    if let Some(watch) = watch.take() {
                        seen = watch.stop().0;
                    }
                    let mut result = fleet.finish().await;
                    result.load.add(&seen);
                    if let Some(interruptions) = &interruptions {
                        // That they happened is said by the parent, once.
                        result.faults.connections_cut += interruptions.counts().connections_cut;
                    }
                    return say(&mut stdout, &FromWorker::Result(Box::new(result))).await;
                }
                Some(ToWorker::Start(_)) => {}
                None => return Ok(()),
            }
        }
    }
}

async fn next(lines: &mut Lines<BufReader<tokio::io::Stdin>>) -> std::io::Result<Option<ToWorker>> {
    match lines.next_line().await? {
        Some(line) => Ok(Some(serde_json::from_str(&line)?)),
        None => Ok(None),
    }
}

async fn say(stdout: &mut tokio::io::Stdout, message: &FromWorker) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stdout.write_all(&line).await?;
    stdout.flush().await
}

const STATUS_INTERVAL: Duration = Duration::from_millis(200);
/// A worker gets this long to write its last rows.
const FINISH_PATIENCE: Duration = Duration::from_secs(60);
