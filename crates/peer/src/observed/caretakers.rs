//! Those who look after an agent, each of whom wants a moment of its loop: who asks over HTTP, who has it read its configuration again, and
//! the service manager, which wants to see that it turns.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};

use super::AgentStatus;
use super::http::{HttpAddress, HttpError, HttpServer, Question};
use crate::notifier::Notifier;

/// Those who look after an agent.
#[derive(Debug)]
pub struct Caretakers<S> {
    /// The service manager.
    pub notifier: Notifier,
    http: HttpServer<S>,
    hangups: Signal,
    watchdog: Option<Interval>,
}

/// What one of them wants.
#[derive(Debug)]
pub enum Asked<S> {
    /// To know how it is.
    Status(Question<S>),
    /// That the configuration is read again.
    Reload,
}

/// Why they are not heard.
#[derive(Debug, thiserror::Error)]
pub enum CaretakersError {
    /// An address cannot be had.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The system lets no handler be installed.
    #[error("failed to listen for SIGHUP: {0}")]
    Hangups(io::Error),
}

impl<S: AgentStatus> Caretakers<S> {
    /// They are heard when this returns. To be called within a runtime.
    ///
    /// # Errors
    /// Where that cannot be.
    pub async fn start(addresses: &[HttpAddress]) -> Result<Self, CaretakersError> {
        let notifier = Notifier::from_environment();
        let hangups = signal(SignalKind::hangup()).map_err(CaretakersError::Hangups)?;
        let http = HttpServer::start(addresses).await?;
        let watchdog = notifier.watchdog_interval().map(|every| {
            let mut interval = tokio::time::interval(every.max(WATCHDOG_LEAST));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        Ok(Self {
            notifier,
            http,
            hangups,
            watchdog,
        })
    }

    /// Where it is asked, for people.
    pub fn addresses(&self) -> impl Iterator<Item = String> {
        let at = self.http.at.iter();
        at.map(|address| format!("answers at {address}: /metrics, /healthz, /readyz, /status"))
    }

    /// What is wanted next; meanwhile the service manager sees that the loop turns. Cancel-safe.
    pub async fn next(&mut self) -> Asked<S> {
        loop {
            let watchdog = async {
                match &mut self.watchdog {
                    Some(interval) => drop(interval.tick().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(question) = self.http.questions.recv() => return Asked::Status(question),
                Some(()) = self.hangups.recv() => return Asked::Reload,
                () = watchdog => self.notifier.turns(),
                else => std::future::pending().await,
            }
        }
    }
}

/// A manager that loses patience sooner is mistaken.
const WATCHDOG_LEAST: Duration = Duration::from_millis(10);
