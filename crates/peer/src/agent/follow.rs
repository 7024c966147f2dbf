//! A directory's host: hears what is listed, keeps the folder by it, and writes rows, until it is stopped.
//!
//! One task does all of that: each build is a node and some state, and nothing is looked at while nothing is on its way.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud::DeploymentLog;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use peer::{Addresses, Multiaddr, give_back_memory};

use super::belonging::Who;
use super::builds::Builds;
use super::configuration::Configuration;
use super::fetch::LOOK_EVERY;
use super::kept::{BuildId, Kept};
use super::outside::{Asked, Outside};
use super::reloading::reload;
use super::rows::{LogBy, NotWritten, Rows, again_after};
use super::stop::{LAST_WORDS, Stop};
use super::surroundings::Surroundings;
use super::{Arguments, Failure, trusting};
use program::Exit;

/// What is followed, and where that goes.
pub(crate) struct Followed<'a> {
    pub(crate) address: &'a Multiaddr,
    pub(crate) folder: &'a Path,
}

/// Keeps the folder with what the directory lists, until it is stopped, which is no failure.
pub(crate) async fn follow(
    arguments: &Arguments,
    mut configuration: Configuration,
    who: Who,
    followed: Followed<'_>,
    mut stop: Stop,
) -> Result<(), Failure> {
    let Followed { address, folder } = followed;
    let addresses = Addresses::of([address]).map_err(|error| (Exit::Usage, format!("--directory {error}")))?;
    let logged_by = arguments.logged_by(who.members.is_some())?;
    let kept = Kept::open(folder)?;
    stop.is_planned_from_now_on();
    let trust = trusting::trust(arguments, || kept.sequences_path())?;
    let mut directory = who.follow(arguments, addresses.clone())?;
    let surroundings = Surroundings::start(arguments, who, std::slice::from_ref(&addresses), trust).await?;
    let mut outside = Outside::start(arguments, &directory).await?;
    let mut builds = Builds::new(arguments, folder, kept, &surroundings);
    let mut rows = RowsUnderWay::new(
        arguments.log,
        match logged_by {
            LogBy::Seeder => Rows::Seeder(directory.rows()),
            LogBy::Host => Rows::to_table(arguments),
        },
    );
    let mut rest = Rest(Some(tokio::time::Instant::now()));
    loop {
        builds.step();
        rows.begin(&builds);
        let is_busy = rest.note(builds.is_busy());
        tokio::select! {
            _ = stop.first() => break,
            listed = directory.changed() => match listed {
                Some(listed) => builds.listed(listed),
                None => return Err((Exit::Failed, "the directory is not followed any more".to_owned())),
            },
            () = surroundings.news.notified() => {}
            written = rows.next() => rows.end(&mut builds, written),
            asked = outside.next() => match asked {
                Asked::By(peer::Asked::Status(question)) => {
                    // Who has gone needs no answer.
                    let _ = question.send(builds.status(&outside.around));
                }
                Asked::By(peer::Asked::Reload) => reload(&mut configuration, &mut builds, &outside.caretakers.notifier),
                Asked::Nothing => {}
            },
            () = tokio::time::sleep(LOOK_EVERY), if is_busy => {}
            () = rest.gives_back() => {}
            // Limits may go by the time of day.
            () = tokio::time::sleep(CLOCK_EVERY), if builds.arguments.limits_change() => {}
        }
    }
    outside.caretakers.notifier.stopping();
    builds.stop();
    let last_words = async {
        rows.retry_at = None;
        rows.begin(&builds);
        while rows.are_under_way() && rows.failures == 0 {
            let written = rows.next().await;
            rows.end(&mut builds, written);
            rows.begin(&builds);
        }
    };
    // What is not written by then is on the list, and written after the next start.
    let _ = tokio::join!(
        tokio::time::timeout(LAST_WORDS, last_words),
        surroundings.endpoint.close()
    );
    builds.save();
    Ok(())
}

/// When something was on its way last, or the agent has begun; nothing when memory was given back since then.
struct Rest(Option<tokio::time::Instant>);

impl Rest {
    /// Whether something is on its way now, of which it keeps when it was last so.
    fn note(&mut self, is_busy: bool) -> bool {
        if is_busy {
            self.0 = Some(tokio::time::Instant::now());
        }
        is_busy
    }

    /// Waits until nothing has been on its way for a while, and gives memory back, once. Cancel-safe.
    async fn gives_back(&mut self) {
        match self.0 {
            Some(busy) => tokio::time::sleep_until(busy + AT_REST_AFTER).await,
            None => std::future::pending().await,
        }
        self.0 = None;
        give_back_memory();
    }
}

type Written = (BuildId, Box<DeploymentLog>, Result<(), NotWritten>);

/// The rows that are being written, some at a time.
struct RowsUnderWay {
    rows: Arc<Rows>,
    is_wanted: bool,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    ids: Vec<BuildId>,
    /// Failures since the last row that was written.
    failures: u32,
    /// Until when no row is tried.
    retry_at: Option<Instant>,
}

impl RowsUnderWay {
    fn new(is_wanted: bool, rows: Rows) -> Self {
        Self {
            rows: Arc::new(rows),
            is_wanted,
            writes: FuturesUnordered::new(),
            ids: Vec::new(),
            failures: 0,
            retry_at: None,
        }
    }

    fn are_under_way(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Begins to write what is due, as far as there is room. After a failure one row at a time is tried.
    fn begin(&mut self, builds: &Builds<'_>) {
        if !self.is_wanted || self.retry_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let room = if self.failures == 0 { ROWS_AT_A_TIME } else { 1 };
        for (id, row) in builds.rows_due() {
            if self.writes.len() >= room {
                break;
            }
            // Two rows of one key would be one row of the table: they are written one after the other.
            if self.ids.iter().any(|(key, _)| *key == id.0) {
                continue;
            }
            self.ids.push(id.clone());
            let rows = Arc::clone(&self.rows);
            let write = async move {
                let written = rows.write(&row).await;
                (id, row, written)
            };
            self.writes.push(write.boxed());
        }
    }

    /// The next one that has ended; waits where none is under way, until one may be tried again. Cancel-safe.
    async fn next(&mut self) -> Option<Written> {
        if let Some(written) = self.writes.next().await {
            return Some(written);
        }
        match self.retry_at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
        None
    }

    fn end(&mut self, builds: &mut Builds<'_>, written: Option<Written>) {
        let Some((id, row, written)) = written else {
            self.retry_at = None;
            return;
        };
        self.ids.retain(|other| *other != id);
        match written {
            Ok(()) => {
                if self.failures > 0 {
                    tracing::info!("{} can be reached again", self.rows.where_to());
                }
                (self.failures, self.retry_at) = (0, None);
                builds.row_is_written(&id, &row);
            }
            Err(NotWritten::Ever(error)) => {
                tracing::error!(key = id.0, "not logged, and not tried again: {error}");
                builds.row_is_written(&id, &row);
            }
            Err(NotWritten::Now(error)) => {
                self.failures += 1;
                if self.failures == 1 {
                    let list = builds.list_path().display();
                    tracing::warn!(
                        key = id.0,
                        "not logged yet: {error}; it is kept in {list} and tried until it is"
                    );
                }
                self.retry_at = Some(Instant::now() + again_after(self.failures, &row.host_id));
            }
        }
    }
}

/// Who has had nothing on its way for so long is at rest. Builds that come one after another are one burst of work.
const AT_REST_AFTER: Duration = Duration::from_secs(3);
/// How late a limit that goes by the time of day is at most.
const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// Rows that are being written at a time.
const ROWS_AT_A_TIME: usize = 4;
