//! What others on this machine want of the agent's loop: a status, a reload, a sign that it turns.

use std::time::{Duration, Instant};

use peer::{Directory, Notifier, Reach};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};

use super::http::{HttpServer, Question};
use super::status::Around;
use super::{Arguments, Failure};

/// Those others.
pub(super) struct Outside {
    pub(super) notifier: Notifier,
    pub(super) around: Around,
    http: HttpServer,
    hangups: Signal,
    watchdog: Option<Interval>,
}

/// What is wanted.
pub(super) enum Asked {
    /// To know how it is.
    Status(Question),
    /// That the configuration is read again.
    Reload,
    /// Nothing that the loop need do.
    Nothing,
}

impl Outside {
    /// Listens to them from now on.
    ///
    /// # Errors
    /// Exit code and sentence where that cannot be.
    pub(super) async fn start(arguments: &Arguments, directory: &Directory) -> Result<Self, Failure> {
        let notifier = Notifier::from_environment();
        let hangups = signal(SignalKind::hangup());
        let hangups = hangups.map_err(|error| (4, format!("failed to listen for SIGHUP: {error}")))?;
        let http = HttpServer::start(&arguments.http).await?;
        for address in &http.at {
            arguments.say(&format!("answers at {address}: /metrics, /healthz, /readyz, /status"));
        }
        let watchdog = notifier.watchdog_interval().map(|every| {
            let mut interval = tokio::time::interval(every.max(WATCHDOG_LEAST));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        let address = arguments.directory.as_ref().map(ToString::to_string);
        let around = Around {
            begun: Instant::now(),
            directory: address.unwrap_or_default(),
            reach: directory.reach(),
            has_answered: false,
        };
        Ok(Self {
            notifier,
            around,
            http,
            hangups,
            watchdog,
        })
    }

    /// What is wanted next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Asked {
        let watchdog = async {
            match &mut self.watchdog {
                Some(interval) => drop(interval.tick().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(question) = self.http.questions.recv() => Asked::Status(question),
            Some(()) = self.hangups.recv() => Asked::Reload,
            Ok(()) = self.around.reach.changed() => {
                self.tell_reach();
                Asked::Nothing
            }
            () = watchdog => {
                self.notifier.turns();
                Asked::Nothing
            }
            else => std::future::pending().await,
        }
    }

    /// The service manager hears whether the directory answers; from the first time on the agent is ready.
    fn tell_reach(&mut self) {
        let reach = self.around.reach.borrow_and_update().clone();
        match reach {
            Reach::Answers => {
                if !std::mem::replace(&mut self.around.has_answered, true) {
                    self.notifier.ready();
                }
                self.notifier.status("the directory answers");
            }
            Reach::Silent(why) => self.notifier.status(&format!("the directory does not answer: {why}")),
            Reach::Unknown => {}
        }
    }
}

/// A manager that loses patience sooner is mistaken.
const WATCHDOG_LEAST: Duration = Duration::from_millis(10);
