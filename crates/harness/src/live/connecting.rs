//! A worker on another machine: which part it is, how it finds its run, and how it ends.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::greeting::{Answer, Hello};
use super::pipe::Pipe;
use super::sealed::{self, RunKey, SealError};
use super::serving;
use crate::exit::Exit;

/// How a worker comes to its run.
#[derive(Clone, Debug)]
pub(crate) struct Connecting {
    /// Name or address and port.
    pub(crate) to: String,
    pub(crate) key: RunKey,
    pub(crate) index: Option<u32>,
    pub(crate) patience: Duration,
}

/// Why a worker of another machine has ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("the run at {to} was not reached within {} s: {why}", patience.as_secs_f64())]
    NotReached {
        to: String,
        patience: Duration,
        why: String,
    },
    #[error("the run at {to} has another key; expected the file that it was given with --key-file")]
    OtherKey { to: String },
    #[error("the run at {to} has turned this worker away: {why}")]
    TurnedAway { to: String, why: String },
    #[error("worker {index} of {of}: the run at {to} is gone: {why}")]
    RunGone {
        index: u32,
        of: u32,
        to: String,
        why: String,
    },
    #[error("worker {index} of {of} cannot do its part: {why}")]
    Failed { index: u32, of: u32, why: String },
    #[error("worker {index} of {of} was told to end by {signal}")]
    Stopped {
        index: u32,
        of: u32,
        signal: &'static str,
        exit: Exit,
    },
    #[error("was told to end by {signal} before it has reached the run at {to}")]
    StoppedBefore {
        to: String,
        signal: &'static str,
        exit: Exit,
    },
    #[error("failed to listen for signals")]
    Signals(#[from] std::io::Error),
}

impl WorkerError {
    /// How the program ends. What will not be otherwise when it is tried again is bad usage.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::OtherKey { .. } | Self::TurnedAway { .. } => Exit::Usage,
            Self::Stopped { exit, .. } | Self::StoppedBefore { exit, .. } => *exit,
            Self::NotReached { .. } | Self::RunGone { .. } | Self::Failed { .. } | Self::Signals(_) => Exit::Failed,
        }
    }
}

/// Does a part of the run that is at `connecting.to`, to its end.
///
/// # Errors
/// Why not, or not to its end.
pub(crate) async fn work(connecting: &Connecting) -> Result<(), WorkerError> {
    let signals = [
        (signal(SignalKind::interrupt())?, "SIGINT", Exit::Interrupted),
        (signal(SignalKind::terminate())?, "SIGTERM", Exit::Terminated),
    ];
    let [mut interrupted, mut terminated] = signals;
    let stopped = async {
        tokio::select! {
            _ = interrupted.0.recv() => (interrupted.1, interrupted.2),
            _ = terminated.0.recv() => (terminated.1, terminated.2),
        }
    };
    tokio::pin!(stopped);
    let to = connecting.to.clone();
    let (pipe, index, of) = tokio::select! {
        connected = connect(connecting) => connected?,
        (signal, exit) = &mut stopped => return Err(WorkerError::StoppedBefore { to, signal, exit }),
    };
    say!("harness: worker {index} of {of} is at the run at {to}");
    let ended = pipe.ended.clone();
    match serving::serve(pipe, stopped).await {
        Ok(serving::Ended::Done) => Ok(()),
        Ok(serving::Ended::Stopped((signal, exit))) => Err(WorkerError::Stopped {
            index,
            of,
            signal,
            exit,
        }),
        Ok(serving::Ended::Failed(why)) => Err(WorkerError::Failed { index, of, why }),
        Ok(serving::Ended::ParentGone) => {
            let why = ended.why().unwrap_or_else(|| "the connection was closed".to_owned());
            Err(WorkerError::RunGone { index, of, to, why })
        }
        Err(error) => Err(WorkerError::RunGone {
            index,
            of,
            to,
            why: error.to_string(),
        }),
    }
}

/// Tries until it is let in, turned away for good, or its patience has ended: the run may begin after its workers, and its name be known
/// later.
async fn connect(connecting: &Connecting) -> Result<(Pipe, u32, u32), WorkerError> {
    let Connecting {
        to,
        key,
        index,
        patience,
    } = connecting;
    let until = Instant::now() + *patience;
    let mut is_told = false;
    loop {
        let met = tokio::time::timeout_at(until, meet(to, key, *index)).await;
        let why = match met {
            Ok(Ok((Answer::Welcome { index, of }, pipe))) => return Ok((pipe, index, of)),
            Ok(Ok((Answer::TurnedAway { why, is_for_now }, _))) => {
                if !is_for_now {
                    return Err(WorkerError::TurnedAway { to: to.clone(), why });
                }
                why
            }
            Ok(Err(SealError::OtherKey)) => return Err(WorkerError::OtherKey { to: to.clone() }),
            Ok(Err(error)) => crate::exit::chain(&error),
            Err(_) => "it did not answer".to_owned(),
        };
        // Once: what is in the way may last.
        if !is_told {
            say!("harness: the run at {to} is not reached yet: {why}");
            is_told = true;
        }
        if Instant::now() + TRY_AGAIN > until {
            return Err(WorkerError::NotReached {
                to: to.clone(),
                patience: *patience,
                why,
            });
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

async fn meet(to: &str, key: &RunKey, index: Option<u32>) -> Result<(Answer, Pipe), SealError> {
    let mut last = std::io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in lookup_host(to).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let own = stream.local_addr()?.ip().to_canonical();
                return sealed::introduce(stream, key, &Hello::of_this(index, own)).await;
            }
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

const TRY_AGAIN: Duration = Duration::from_millis(500);
