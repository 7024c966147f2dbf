//! SIGTERM and Ctrl-C: the first asks the program to end, the second ends it at once.

use std::io;
use std::process::ExitCode;

use program::Exit;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A signal that asks the program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Interrupt,
    Terminate,
}

impl Stop {
    /// The exit code of a program that has not done what it was to do.
    pub(crate) fn exit_code(self) -> ExitCode {
        self.exit().into()
    }

    const fn exit(self) -> Exit {
        match self {
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate => Exit::Terminated,
        }
    }
}

/// The signals of the process, from now on.
#[derive(Clone, Debug)]
pub(crate) struct Signals(watch::Receiver<Option<Stop>>);

impl Signals {
    /// Listens for them.
    ///
    /// # Errors
    /// Where the system does not let us.
    pub(crate) fn listen() -> io::Result<Self> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (told, first) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let stop = tokio::select! {
                    _ = interrupt.recv() => Stop::Interrupt,
                    _ = terminate.recv() => Stop::Terminate,
                };
                if told.send_replace(Some(stop)).is_some() {
                    std::process::exit(stop.exit().code().into());
                }
            }
        });
        Ok(Self(first))
    }

    /// The first signal, whether it comes or has come. Cancel-safe.
    pub(crate) async fn first(&mut self) -> Stop {
        // What is borrowed here is let go before anything is waited for: tasks wait for signals too.
        let stop = self.0.wait_for(Option::is_some).await.map(|stop| *stop);
        match stop {
            Ok(stop) => stop.unwrap_or(Stop::Terminate),
            // The task that listens ends with the process only.
            Err(_) => std::future::pending().await,
        }
    }
}
