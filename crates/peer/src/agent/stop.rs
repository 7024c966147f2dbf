//! Signals: the first asks to stop, and what asks has little time for it; the second ends the process where it stands.
//!
//! Whatever the process is in the middle of may be cut: files come into place by a rename, and what is still to be told is on
//! disk before it is tried.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use program::Exit;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::watch;

use super::Failure;

/// A signal that asks to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What `kill` and `systemctl stop` send.
    Terminate,
}

impl Signal {
    const fn exit(self) -> Exit {
        match self {
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate => Exit::Terminated,
        }
    }

    /// The end of something that was not done.
    pub(crate) fn unfinished(self) -> Failure {
        let what = match self {
            Self::Interrupt => "interrupted",
            Self::Terminate => "terminated",
        };
        (self.exit(), format!("{what}; run it again to go on"))
    }
}

/// Hears of the first signal.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    first: watch::Receiver<Option<Signal>>,
    /// To be stopped is what ends this process well.
    is_planned: Arc<AtomicBool>,
}

impl Stop {
    /// Listens for signals from now on. To be called within a runtime.
    ///
    /// # Errors
    /// Where the system lets no handler be installed.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        let (sender, first) = watch::channel(None);
        let is_planned = Arc::new(AtomicBool::new(false));
        let planned = Arc::clone(&is_planned);
        tokio::spawn(async move {
            let first = either(&mut interrupts, &mut terminations).await;
            sender.send_replace(Some(first));
            // A thread, since the runtime may be what hangs: a disk or a network file system may let its threads wait.
            std::thread::spawn(move || {
                std::thread::sleep(PATIENCE);
                let exit = if planned.load(Ordering::Relaxed) {
                    Exit::Success
                } else {
                    first.exit()
                };
                std::process::exit(exit.code().into());
            });
            let second = either(&mut interrupts, &mut terminations).await;
            std::process::exit(second.exit().code().into());
        });
        Ok(Self { first, is_planned })
    }

    /// From now on to be stopped is no failure.
    pub(crate) fn is_planned_from_now_on(&self) {
        self.is_planned.store(true, Ordering::Relaxed);
    }

    /// Waits for the first signal, which may have come before. Cancel-safe.
    pub(crate) async fn first(&mut self) -> Signal {
        match self.first.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(signal)) => *signal,
            // Nobody sends any more: the runtime is ending.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

async fn either(interrupts: &mut Signals, terminations: &mut Signals) -> Signal {
    tokio::select! {
        _ = interrupts.recv() => Signal::Interrupt,
        _ = terminations.recv() => Signal::Terminate,
    }
}

/// What the first signal leaves to end in order: below the two seconds after which an operator's script loses patience.
const PATIENCE: Duration = Duration::from_millis(1_800);
/// What is left of that to tell DynamoDB what it can be told.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(1_000);
const _: () = assert!(LAST_WORDS.as_millis() < PATIENCE.as_millis());
