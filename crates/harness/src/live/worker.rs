//! A worker, seen from the run: a process of this machine or one that has come from another. It has a part of the hosts, and says what
//! becomes of them.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cloud::DeploymentLog;
use parking_lot::Mutex;
use peer::Clock;
use swarm::Time;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::RunError;
use super::clocks::{ClockLine, Probes};
use super::coordination;
use super::fleet::{FleetResult, FleetStatus, Slice};
use super::gathering::Arrived;
use super::pipe::{self, Ended, Listener, Pipe};
use super::protocol::{FromWorker, Job, ToWorker};
use super::told::Told;

pub(super) struct Worker {
    /// As people are told of it.
    name: String,
    slice: Slice,
    /// Where it is a process of this machine.
    child: Option<Child>,
    out: mpsc::Sender<ToWorker>,
    known: Arc<Mutex<Known>>,
    reader: JoinHandle<Result<FleetResult, String>>,
    /// Asks a worker of another machine what its clock says.
    probing: Option<JoinHandle<()>>,
    clock: Clock,
    /// Why it is lost, once it is.
    lost: Option<String>,
}

/// What is known of a worker by what it has said.
#[derive(Default)]
pub(super) struct Known {
    status: FleetStatus,
    told: Told,
    probes: Probes,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.reader.abort();
        if let Some(probing) = &self.probing {
            probing.abort();
        }
    }
}

impl Worker {
    /// Starts a process on its part of the hosts.
    pub(super) async fn spawn(job: Job, clock: Clock) -> Result<Self, RunError> {
        let slice = job.slice;
        let name = format!("worker process {}", slice.index);
        let failed = |source| RunError::Worker {
            name: format!("worker process {}", slice.index),
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
        let mut worker = Self::at(Pipe::plain(stdout, stdin), (name, slice), clock, None);
        worker.child = Some(child);
        worker.say(ToWorker::Start(Box::new(job))).await;
        Ok(worker)
    }

    /// Gives its part to one that has come from another machine. Its rows are written here.
    pub(super) async fn engage(arrived: Arrived, job: Job, clock: Clock, rows: mpsc::Sender<DeploymentLog>) -> Self {
        let slice = job.slice;
        let name = format!("worker {} of {} ({})", slice.index, slice.count, arrived.ip);
        let mut worker = Self::at(arrived.pipe, (name, slice), clock, Some(rows));
        let probing = coordination::counted(probe(worker.out.clone(), clock));
        worker.probing = Some(tokio::spawn(probing));
        worker.say(ToWorker::Start(Box::new(job))).await;
        worker
    }

    pub(super) fn at(
        pipe: Pipe,
        (name, slice): (String, Slice),
        clock: Clock,
        rows: Option<mpsc::Sender<DeploymentLog>>,
    ) -> Self {
        let (out, _speaking) = pipe::speak(pipe.writer);
        let known = Arc::new(Mutex::new(Known::default()));
        let listener = Listener::new(pipe.reader);
        let reader = listen_to(listener, Arc::clone(&known), clock, (rows, pipe.ended));
        Self {
            name,
            slice,
            child: None,
            out,
            known,
            reader: tokio::spawn(coordination::counted(reader)),
            probing: None,
            clock,
            lost: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn slice(&self) -> Slice {
        self.slice
    }

    pub(super) const fn is_remote(&self) -> bool {
        self.probing.is_some()
    }

    /// The build is complete, at these times of the run.
    pub(super) async fn begin(&self, complete_at: &[Time]) {
        let clock = self.clock_line();
        let by_its_clock = complete_at.iter().map(|at| clock.to_worker(*at).as_nanos());
        self.say(ToWorker::Begin(by_its_clock.collect())).await;
    }

    pub(super) fn status(&self) -> FleetStatus {
        let known = self.known.lock();
        if self.lost.is_none() {
            return known.status.clone();
        }
        // Nobody waits for the others.
        let mut status = FleetStatus {
            pending: 0,
            joined: 0,
            ..known.status.clone()
        };
        status.done.fill(0);
        for ((region, _), _) in known.told.done() {
            if let Some(done) = status.done.get_mut(region) {
                *done += 1;
            }
        }
        status
    }

    /// How its clock runs.
    pub(super) fn clock_line(&self) -> ClockLine {
        let line = self.known.lock().probes.line();
        line.filter(|_| self.is_remote()).unwrap_or(ClockLine::SAME)
    }

    /// What it has told of its hosts, by its clock. Nothing is known after that.
    pub(super) fn take_told(&self) -> Told {
        std::mem::take(&mut self.known.lock().told)
    }

    /// Why it has ended before its time; `None` where it has not.
    pub(super) async fn loss(&mut self) -> Option<String> {
        if self.lost.is_none() && self.reader.is_finished() {
            let why = match (&mut self.reader).await {
                Ok(Err(why)) => why,
                Ok(Ok(_)) => "has told its result before it was asked".to_owned(),
                Err(error) => error.to_string(),
            };
            self.lost = Some(self.killed().await.unwrap_or(why));
        }
        self.lost.clone()
    }

    /// Its result, and its end.
    pub(super) async fn finish(&mut self) -> Result<FleetResult, String> {
        if let Some(lost) = self.loss().await {
            return Err(lost);
        }
        if self.is_remote() {
            for _ in 0..PROBES_AT_ONCE {
                let _ = self.out.try_send(ToWorker::Probe(self.clock.now().as_nanos()));
                tokio::time::sleep(PROBE_PAUSE).await;
            }
        }
        self.say(ToWorker::Finish).await;
        let result = match tokio::time::timeout(FINISH_PATIENCE, &mut self.reader).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!(
                "did not tell its result within {} s",
                FINISH_PATIENCE.as_secs()
            )),
        };
        let killed = match result {
            Ok(_) => None,
            Err(_) => self.killed().await,
        };
        // Its end is the end of what it hears.
        self.out = mpsc::channel(1).0;
        if let Some(child) = &mut self.child
            && tokio::time::timeout(END_PATIENCE, child.wait()).await.is_err()
        {
            let _ = child.kill().await;
        }
        match killed {
            Some(killed) => Err(killed),
            None => result,
        }
        .inspect_err(|why| self.lost = Some(why.clone()))
    }

    /// What has ended its process, where that was a signal.
    async fn killed(&mut self) -> Option<String> {
        let child = self.child.as_mut()?;
        let ended = tokio::time::timeout(END_PATIENCE, child.wait()).await;
        let signal = ended.ok()?.ok()?.signal()?;
        let why = if signal == rustix::process::Signal::KILL.as_raw() {
            " (was there no memory left?)"
        } else {
            ""
        };
        Some(format!("was killed by signal {signal}{why}"))
    }

    /// Where it is gone, its reader says so.
    async fn say(&self, message: ToWorker) {
        let _ = self.out.send_timeout(message, SAY_PATIENCE).await;
    }
}

/// Asks what its clock says, for as long as somebody answers: often at first, so that something is known soon.
async fn probe(out: mpsc::Sender<ToWorker>, clock: Clock) {
    let mut probes = 0;
    loop {
        match out.try_send(ToWorker::Probe(clock.now().as_nanos())) {
            Err(mpsc::error::TrySendError::Closed(_)) => return,
            // Behind a queue that is full it would say nothing of use.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => probes += 1,
        }
        tokio::time::sleep(if probes < PROBES_AT_ONCE {
            PROBE_PAUSE
        } else {
            PROBE_EVERY
        })
        .await;
    }
}

async fn listen_to(
    mut listener: Listener<FromWorker>,
    known: Arc<Mutex<Known>>,
    clock: Clock,
    (rows, ended): (Option<mpsc::Sender<DeploymentLog>>, Ended),
) -> Result<FleetResult, String> {
    let mut told_result = None;
    loop {
        let Some(message) = listener.next().await? else {
            // It has told all but what that took.
            if let Some(result) = told_result {
                return Ok(result);
            }
            let gone = ended.why().map(|why| format!("is gone: {why}"));
            return Err(gone.unwrap_or_else(|| "has ended early".to_owned()));
        };
        let heard = clock.now();
        match message {
            FromWorker::Status(news) => known.lock().status = news,
            FromWorker::Hosts(hosts) => known.lock().told.note(hosts),
            FromWorker::Records(records) => known.lock().told.note_records(records),
            FromWorker::Probed(probed) => known.lock().probes.note(probed, heard),
            FromWorker::Rows(told) => {
                if let Some(rows) = &rows {
                    for row in told {
                        // They are taken until all who have some are gone.
                        let _ = rows.send(row).await;
                    }
                }
            }
            FromWorker::Failed(error) => return Err(error),
            FromWorker::Result(result) => told_result = Some(*result),
            FromWorker::Spent(spent) => {
                if let Some(result) = told_result {
                    return Ok(FleetResult { spent, ..result });
                }
            }
        }
    }
}

/// A worker gets this long to write its last rows.
const FINISH_PATIENCE: Duration = Duration::from_secs(60);
/// A process that has nothing to do any more has ended within this.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// Who takes nothing for so long is as good as gone: its silence will say so.
const SAY_PATIENCE: Duration = Duration::from_secs(30);
const PROBES_AT_ONCE: u32 = 8;
const PROBE_PAUSE: Duration = Duration::from_millis(10);
const PROBE_EVERY: Duration = Duration::from_millis(250);
