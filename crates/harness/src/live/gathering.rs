//! The workers of a run that come from other machines: they are awaited at one address, each shows that it has the run's key, and has a part
//! of the hosts that no other one has.
//!
//! Invariant: a part is free, or has one worker that has shown the key and has not gone.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use scenario::Stop;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::RunError;
use super::greeting::{Answer, Hello};
use super::node_parts::Place;
use super::pipe::Pipe;
use super::sealed::{self, RunKey, SealError};
use super::workers::Others;
use crate::progress::Progress;

/// Where workers are awaited, which, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Awaited {
    pub(crate) workers: u32,
    pub(crate) listen: SocketAddr,
    pub(crate) key: RunKey,
    pub(crate) patience: Duration,
}

/// A worker that has come.
pub(super) struct Arrived {
    pub(super) index: u32,
    /// Its hosts' address.
    pub(super) ip: IpAddr,
    /// This end of the connection.
    pub(super) own_ip: IpAddr,
    pub(super) cores: usize,
    pub(super) machine: String,
    pub(super) pipe: Pipe,
}

/// What has come of waiting.
pub(super) enum Gathered {
    /// They are all there, and the run is where they have reached it.
    All(Others, Place),
    Missing(String),
    Stopped(Stop),
}

/// Waits for all workers.
///
/// # Errors
/// Where they cannot be awaited.
pub(super) async fn gather(
    awaited: &Awaited,
    progress: &mut Progress,
    mut stop: watch::Receiver<Option<Stop>>,
) -> Result<Gathered, RunError> {
    let started = Gathering::start(awaited).await;
    let mut gathering = started.map_err(|source| RunError::Listen {
        at: awaited.listen,
        source,
    })?;
    progress.phase("waiting for workers");
    let arrived = tokio::select! {
        arrived = gathering.all(|there| progress.workers(there, awaited.workers)) => arrived,
        stopped = stop.wait_for(Option::is_some) => match stopped.ok().and_then(|stop| *stop) {
            Some(stop) => return Ok(Gathered::Stopped(stop)),
            None => return Ok(Gathered::Missing("nobody can stop it any more".to_owned())),
        },
    };
    let arrived = match arrived {
        Ok(arrived) => arrived,
        Err(missing) => return Ok(Gathered::Missing(missing)),
    };
    // Where any has reached it from another machine, all others can.
    let of_run = arrived.iter().map(|one| one.own_ip);
    let ip = of_run.min_by_key(IpAddr::is_loopback);
    let place = ip.map_or_else(Place::default, Place::at);
    Ok(Gathered::All(Others { arrived, gathering }, place))
}

/// Lets workers in.
pub(super) struct Gathering {
    awaited: Awaited,
    arrivals: mpsc::Receiver<Arrived>,
    /// Parts whose worker has not come.
    missing: BTreeSet<u32>,
    door: Arc<Door>,
    task: JoinHandle<()>,
}

/// What all who come are let in by.
struct Door {
    key: RunKey,
    of: u32,
    free: Mutex<BTreeSet<u32>>,
    /// Who was turned away last, and why: where somebody is missing, it may be that one.
    turned_away: Mutex<Option<String>>,
}

impl Gathering {
    /// Begins to listen, and says where.
    ///
    /// # Errors
    /// Where that cannot be listened on.
    pub(super) async fn start(awaited: &Awaited) -> std::io::Result<Self> {
        let listener = TcpListener::bind(awaited.listen).await?;
        let at = listener.local_addr()?;
        say!("harness: {} workers are awaited at {at}", awaited.workers);
        let door = Arc::new(Door {
            key: awaited.key.clone(),
            of: awaited.workers,
            free: Mutex::new((0..awaited.workers).collect()),
            turned_away: Mutex::default(),
        });
        let (sender, arrivals) = mpsc::channel(1);
        Ok(Self {
            awaited: awaited.clone(),
            arrivals,
            missing: (0..awaited.workers).collect(),
            task: tokio::spawn(listen(listener, Arc::clone(&door), sender)),
            door,
        })
    }

    /// Waits until all parts that are free have a worker; `told` hears how many are there.
    ///
    /// # Errors
    /// Which have not come in time, and who was turned away.
    pub(super) async fn all(&mut self, told: impl Fn(usize)) -> Result<Vec<Arrived>, String> {
        let until = Instant::now() + self.awaited.patience;
        let mut arrived: Vec<Arrived> = Vec::new();
        while !self.missing.is_empty() {
            told(self.awaited.workers as usize - self.missing.len());
            match tokio::time::timeout_at(until, self.arrivals.recv()).await {
                Ok(Some(one)) => {
                    self.missing.remove(&one.index);
                    arrived.push(one);
                }
                Ok(None) | Err(_) => return Err(self.who_is_missing()),
            }
        }
        arrived.sort_by_key(|one| one.index);
        Ok(arrived)
    }

    /// Somebody else may have this part.
    pub(super) fn give_back(&mut self, index: u32) {
        self.missing.insert(index);
        self.door.free.lock().insert(index);
    }

    fn who_is_missing(&self) -> String {
        let missing = &self.missing;
        let names: Vec<String> = missing.iter().take(NAMED_MAX).map(u32::to_string).collect();
        let more = missing.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let turned_away = self.door.turned_away.lock().clone();
        format!(
            "worker {}{more} of {} has not come within {} s{}",
            names.join(", "),
            self.awaited.workers,
            self.awaited.patience.as_secs_f64(),
            turned_away.map_or_else(String::new, |who| format!("; {who}"))
        )
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, door: Arc<Door>, arrivals: mpsc::Sender<Arrived>) {
    let at_once = Arc::new(Semaphore::new(AT_THE_DOOR_MAX));
    loop {
        let Ok(turn) = Arc::clone(&at_once).acquire_owned().await else {
            return;
        };
        let (stream, from) = match listener.accept().await {
            Ok(came) => came,
            Err(error) => {
                // Out of descriptors, for example: others go.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let (door, arrivals) = (Arc::clone(&door), arrivals.clone());
        tokio::spawn(async move {
            let _turn = turn;
            if let Some(arrived) = door.let_in(stream, from).await {
                let index = arrived.index;
                if arrivals.send(arrived).await.is_err() {
                    door.free.lock().insert(index);
                }
            }
        });
    }
}

impl Door {
    async fn let_in(&self, stream: TcpStream, from: SocketAddr) -> Option<Arrived> {
        let own_ip = stream.local_addr().ok()?.ip().to_canonical();
        let from = from.ip().to_canonical();
        let mut let_in = None;
        let met = sealed::receive(stream, &self.key, |said: Value| match self.place(&said) {
            Ok((index, hello)) => {
                let_in = Some((index, hello));
                Answer::Welcome { index, of: self.of }
            }
            Err(answer) => answer,
        });
        let met = met.await;
        match (met, let_in) {
            (Ok(pipe), Some((index, hello))) => Some(Arrived {
                index,
                ip: hello.ip,
                own_ip,
                cores: hello.cores,
                machine: hello.machine,
                pipe,
            }),
            (met, let_in) => {
                if let Some((index, _)) = let_in {
                    self.free.lock().insert(index);
                }
                // Why it was not, `place` has noted.
                if let Err(error) = met {
                    self.note_stranger(from, &error);
                }
                None
            }
        }
    }

    /// The part that who said this is to have, or why none.
    fn place(&self, said: &Value) -> Result<(u32, Hello), Answer> {
        let turned_away = |why: String, is_for_now: bool| Answer::TurnedAway { why, is_for_now };
        let hello = Hello::understood(said).map_err(|why| {
            self.note(format!("one was turned away: {why}"));
            turned_away(why, false)
        })?;
        let of = self.of;
        let mut free = self.free.lock();
        let index = match hello.index {
            Some(index) if index >= of => {
                let why = format!(
                    "the run has {of} workers, 0 to {}, and this one is to be {index}",
                    of - 1
                );
                drop(free);
                self.note(format!("one was turned away: {why}"));
                return Err(turned_away(why, false));
            }
            Some(index) if free.remove(&index) => index,
            Some(index) => return Err(turned_away(format!("worker {index} is there already"), true)),
            None => match free.pop_first() {
                Some(index) => index,
                None => return Err(turned_away(format!("all {of} workers are there already"), true)),
            },
        };
        Ok((index, hello))
    }

    /// Who came and is no worker of this run. Whoever reaches the port may be one, so the run goes on.
    fn note_stranger(&self, from: IpAddr, error: &SealError) {
        match error {
            SealError::OtherKey => self.note(format!("one that came from {from} has another key")),
            SealError::Broken(_) | SealError::Stranger | SealError::Silent => {
                tracing::info!(%from, %error, "somebody came who is no worker");
            }
        }
    }

    fn note(&self, who: String) {
        let mut last = self.turned_away.lock();
        if last.as_ref() != Some(&who) {
            say!("harness: of the workers {who}");
        }
        *last = Some(who);
    }
}

/// Connections that have not shown yet who they are, at a time.
const AT_THE_DOOR_MAX: usize = 64;
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Workers that are named one by one.
const NAMED_MAX: usize = 8;
