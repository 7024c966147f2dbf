//! The worker's side: runs its part of the hosts as it is told.

use std::sync::Arc;
use std::time::Duration;

use peer::{ChunkPool, Clock, Multiaddr, PathDelay};
use scenario::RegionPlan;
use swarm::Time;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::fleet::{Fleet, Surroundings};
use super::interruptions::{self, Interruptions};
use super::node_parts::{self, Place};
use super::pipe::{self, Listener, Pipe, Speaking};
use super::protocol::{FromWorker, Job, Probed, Spent, ToWorker};
use super::rows::RowsTo;
use super::{coordination, processes, recorded, told};
use crate::machine;

/// How a worker has ended.
pub(super) enum Ended<S> {
    /// Its result is told.
    Done,
    /// It was told to stop, by somebody else.
    Stopped(S),
    /// It has told why it cannot go on.
    Failed(String),
    /// Nobody is there any more who wants to know.
    ParentGone,
}

/// Serves a parent that has started this process, on stdin and stdout. It ends when its stdin does, so none outlives its parent.
pub(crate) async fn serve_parent() -> std::io::Result<()> {
    // Ctrl-C goes to all processes of a terminal, and `timeout` and systemd end all of a group; a worker ends when its parent
    // says so, or is gone.
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        tokio::spawn(async move { while signals.recv().await.is_some() {} });
    }
    let pipe = Pipe::plain(tokio::io::stdin(), tokio::io::stdout());
    serve(pipe, std::future::pending::<()>()).await?;
    Ok(())
}

/// What a worker hears and says.
struct Parent {
    inbox: mpsc::Receiver<ToWorker>,
    out: mpsc::Sender<FromWorker>,
    hearing: JoinHandle<()>,
    speaking: Speaking,
    carriers: Vec<JoinHandle<()>>,
}

impl Parent {
    fn at(pipe: Pipe, clock: Clock) -> Self {
        let (out, speaking) = pipe::speak(pipe.writer);
        let (sender, inbox) = mpsc::channel(16);
        let listener = Listener::new(pipe.reader);
        let ended = pipe.ended;
        let answers = out.clone();
        let hearing = async move {
            if let Err(why) = hear(listener, clock, answers, sender).await {
                ended.because(why);
            }
        };
        let hearing = tokio::spawn(coordination::counted(hearing));
        Self {
            inbox,
            out,
            hearing,
            speaking,
            carriers: pipe.carriers,
        }
    }

    async fn say(&self, message: FromWorker) {
        // Where nobody reads any more, the inbox ends too.
        let _ = self.out.send(message).await;
    }

    /// Tells what has become of hosts, and how many are pending.
    async fn tell_of(&self, fleet: &Fleet) -> usize {
        for news in told::of_hosts(fleet.news().await) {
            self.say(news).await;
        }
        let status = fleet.status();
        let pending = status.pending;
        self.say(FromWorker::Status(status)).await;
        pending
    }

    /// Sees to it that all that was said has left, and says last what all of it took.
    async fn end(self) {
        self.hearing.abort();
        let _ = self.hearing.await;
        self.speaking.end(|| FromWorker::Spent(Spent::so_far())).await;
        // The first of them writes. It ends with what it has to write, or when nobody reads it any more.
        if let Some(writing) = self.carriers.into_iter().next() {
            let _ = writing.await;
        }
    }
}

/// Answers probes at once and hands on what else is said.
async fn hear(
    mut listener: Listener<ToWorker>,
    clock: Clock,
    answers: mpsc::Sender<FromWorker>,
    sender: mpsc::Sender<ToWorker>,
) -> Result<(), String> {
    while let Some(message) = listener.next().await? {
        let came = clock.now().as_nanos();
        match message {
            ToWorker::Probe(asked) => {
                let left = clock.now().as_nanos();
                // Behind a queue that is full it would say nothing of use.
                let _ = answers.try_send(FromWorker::Probed(Probed { asked, came, left }));
            }
            message => {
                if sender.send(message).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Does its part, until it is told to end, `stopped` says so, or the other side is gone.
pub(super) async fn serve<S>(pipe: Pipe, stopped: impl Future<Output = S>) -> std::io::Result<Ended<S>> {
    peer::raise_file_limit();
    let clock = Clock::start();
    let mut parent = Parent::at(pipe, clock);
    tokio::pin!(stopped);
    let ended = tokio::select! {
        ended = Box::pin(serve_until_told(&mut parent, clock)) => ended?,
        stopped = &mut stopped => {
            parent.say(FromWorker::Failed("was told to end by somebody else".to_owned())).await;
            Ended::Stopped(stopped)
        }
    };
    match ended {
        Ended::ParentGone => {}
        Ended::Done | Ended::Stopped(_) | Ended::Failed(_) => {
            let _ = tokio::time::timeout(LAST_WORD, parent.end()).await;
        }
    }
    Ok(ended)
}

async fn serve_until_told<S>(parent: &mut Parent, own_clock: Clock) -> std::io::Result<Ended<S>> {
    let Some(ToWorker::Start(job)) = parent.inbox.recv().await else {
        return Ok(Ended::ParentGone);
    };
    if job.epoch_nanos.is_none()
        && let Err(error) = processes::slice_fits(&job.scenario, job.slice, peer::raise_file_limit())
    {
        let why = crate::exit::chain(&error);
        parent.say(FromWorker::Failed(why.clone())).await;
        return Ok(Ended::Failed(why));
    }
    processes::settle_memory(&job.scenario);
    let plans: Arc<[RegionPlan]> = job.scenario.plans().into();
    let paths = interruptions::paths(&plans);
    let interruptions = paths.as_ref().map(|paths| Interruptions::new(&plans, paths));
    let rows = match &job.cloud {
        Some(cloud) => RowsTo::Table(cloud.clone()),
        None => RowsTo::Run(parent.out.clone()),
    };
    let surroundings = surroundings(&job, paths, (own_clock, rows))?;
    let clock = surroundings.clock;
    let mut fleet = Fleet::new(&job.scenario, plans, job.slice, surroundings).await;
    let mut is_ending = false;
    let mut seen = machine::ProcessLoad::default();
    let starting = tokio::select! {
        started = fleet.start() => started,
        said = parent.inbox.recv() => match said {
            // Another worker is lost, or somebody wants it to end.
            Some(ToWorker::Finish) => {
                is_ending = true;
                Ok(())
            }
            _ => return Ok(Ended::ParentGone),
        },
    };
    if let Err(error) = starting {
        let why = crate::exit::chain(&error);
        parent.say(FromWorker::Failed(why.clone())).await;
        return Ok(Ended::Failed(why));
    }
    if !is_ending && !run_hosts(parent, &mut fleet, interruptions.as_ref(), clock, &mut seen).await {
        return Ok(Ended::ParentGone);
    }
    let mut result = fleet.finish().await;
    result.load.add(&seen);
    if let Some(interruptions) = &interruptions {
        // That they happened is said by the parent, once.
        result.faults.connections_cut += interruptions.counts().connections_cut;
    }
    for message in told::of_result(result) {
        parent.say(message).await;
    }
    Ok(Ended::Done)
}

/// Runs hosts that are started, until the parent says that they are to finish; false where it is gone.
async fn run_hosts(
    parent: &mut Parent,
    fleet: &mut Fleet,
    interruptions: Option<&Arc<Interruptions>>,
    clock: Clock,
    seen: &mut machine::ProcessLoad,
) -> bool {
    let mut tick = tokio::time::interval(STATUS_INTERVAL);
    let mut watch: Option<machine::Watch> = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let pending = coordination::counted(parent.tell_of(fleet)).await;
                // What comes after the last host is not what the run measured.
                if pending == 0 && let Some(watch) = watch.take() {
                    *seen = watch.stop().0;
                }
            }
            message = parent.inbox.recv() => match message {
                Some(ToWorker::Begin(at)) => {
                    watch = Some(machine::Watch::start());
                    let complete_at: Vec<Time> = at.into_iter().map(Time::from_nanos).collect();
                    if let Some(interruptions) = interruptions {
                        // They end with the process.
                        interruptions.begin(clock, &complete_at);
                    }
                    fleet.begin(complete_at);
                }
                Some(ToWorker::Finish) => {
                    if let Some(watch) = watch.take() {
                        *seen = watch.stop().0;
                    }
                    return true;
                }
                Some(ToWorker::Start(_) | ToWorker::Probe(_)) => {}
                None => return false,
            }
        }
    }
}

fn surroundings(
    job: &Job,
    paths: Option<peer::PathFaults>,
    (own_clock, rows): (Clock, RowsTo),
) -> std::io::Result<Surroundings> {
    let parse = |addresses: &Vec<String>| addresses.iter().map(|address| address.parse()).collect();
    let seeders: Result<Vec<Vec<Multiaddr>>, _> = job.seeders.iter().map(parse).collect();
    let (believed, certifier) = job.guards.parts(job.scenario.seed);
    Ok(Surroundings {
        place: Place::at(job.ip),
        path: PathDelay::new(job.scenario.network.latency),
        paths,
        downlinks: node_parts::downlinks(&job.scenario),
        pool: ChunkPool::default(),
        clock: job.epoch_nanos.map_or(own_clock, machine::clock_since),
        rows,
        seeders: seeders.map_err(std::io::Error::other)?,
        believed,
        certifier,
        recorded: job.is_recorded.then(|| recorded::sample(&job.scenario)),
    })
}

const STATUS_INTERVAL: Duration = Duration::from_millis(200);
/// What was said last has left within this: where nobody reads it any more, the process ends all the same.
const LAST_WORD: Duration = Duration::from_secs(120);
