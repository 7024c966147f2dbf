//! One build to one file. Ends when it is in place, or later where it is to be served.
//!
//! A file that is in place already has come before: no row is written of it. A row that cannot be written now is kept beside the
//! file, and the next run for this file writes it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cloud::{DeploymentLog, DeploymentStatus};
use peer::{Addresses, Placed, Traffic, replace_file};
use swarm::SwarmId;
use tokio::sync::Notify;

use super::belonging::Who;
use super::fetch::{Fetch, FetchTo, LOOK_EVERY, State};
use super::kept::milliseconds;
use super::rows::{NotWritten, Rows, again_after};
use super::stop::{LAST_WORDS, Stop};
use super::surroundings::Surroundings;
use super::{Arguments, Failure, machine, speech, taking_up, trusting};
use program::Exit;

/// Fetches the build of the seeders to `out`, writes its row, and serves it for as long as it is to linger.
pub(crate) async fn fetch(arguments: &Arguments, who: Who, out: &Path, mut stop: Stop) -> Result<(), Failure> {
    let seeders = Addresses::by_peer(&arguments.seeder).map_err(|error| (Exit::Usage, format!("--seeder {error}")))?;
    let trust = trusting::trust(arguments, || beside(out, ".sequences"))?;
    let surroundings = Surroundings::start(arguments, who, &seeders, trust).await?;
    let ended = fetch_and_serve(arguments, seeders, out, &mut stop, &surroundings).await;
    surroundings.endpoint.close().await;
    ended
}

async fn fetch_and_serve(
    arguments: &Arguments,
    seeders: Vec<Addresses>,
    out: &Path,
    stop: &mut Stop,
    surroundings: &Arc<Surroundings>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    // An earlier run has put it there and was killed before it could keep the row.
    let placed = Placed::at(out);
    let place = FetchTo {
        out,
        // When it was begun, for its row.
        label: arguments.log.then(|| milliseconds(SystemTime::now()).to_string()),
        older: Vec::new(),
        key: None,
        gate: None,
    };
    let mut fetch = Fetch::start(arguments, SwarmId::ONLY, seeders, place, surroundings);
    let outcome = fetched(&mut fetch, arguments, surroundings, stop).await;
    let placed = placed.filter(|_| outcome.is_ok() && fetch.was_there());
    let is_first = outcome.is_err() || !fetch.was_there() || placed.is_some();
    let waiting = WaitingRow::beside(out);
    if let Ok(traffic) = &outcome {
        let size = std::fs::metadata(out).map_or(0, |file| file.len());
        let name = out.display().to_string();
        arguments.say(&match is_first {
            true => speech::has_come(&name, size, begun.elapsed(), traffic),
            false => speech::was_there(&name, size, begun.elapsed()),
        });
    }
    let row = if arguments.log && is_first {
        let error = outcome.as_ref().err().map(|(_, error)| error.clone());
        let id = surroundings.endpoint.peer_id();
        let row = row_of(arguments, &fetch, &id.to_string(), (placed.as_ref(), begun), error);
        Some(waiting.keep(row))
    } else {
        waiting.there().filter(|_| arguments.log)
    };
    if outcome.is_ok() && arguments.log {
        Placed::forget(out);
    }
    if outcome.is_ok() && arguments.linger > 0 {
        stop.is_planned_from_now_on();
    }
    let serves_until = Instant::now() + Duration::from_secs(arguments.linger);
    let written = match (&row, &outcome) {
        (None, _) => Ok(()),
        (Some(row), Err(_)) => waiting.write(row, arguments, Instant::now() + LAST_WORDS).await,
        (Some(row), Ok(_)) => write_unless_stopped(&waiting, row, arguments, stop, serves_until).await?,
    };
    if let (Err(_), Err(lost)) = (&outcome, &written) {
        tracing::warn!("{lost}");
    }
    outcome?;
    if let Err(lost) = written {
        if arguments.linger == 0 {
            return Err((Exit::Failed, lost));
        }
        tracing::warn!("{lost}");
    }
    tokio::select! {
        () = tokio::time::sleep_until(serves_until.into()) => {}
        _ = stop.first() => {}
    }
    Ok(())
}

/// The row of what has become of a build: `placed` by an earlier run, or since `begun`.
fn row_of(
    arguments: &Arguments,
    fetch: &Fetch,
    peer_id: &str,
    (placed, begun): (Option<&Placed>, Instant),
    error: Option<String>,
) -> DeploymentLog {
    let (build, version) = fetch.build().unzip();
    let host_id = machine::name().unwrap_or_else(|| peer_id.to_owned());
    let build = build.unwrap_or_else(|| "unknown".to_owned());
    let took = placed.map_or_else(|| begun.elapsed(), took);
    let row = arguments.row(&host_id, &build, version, took, &fetch.report(), error);
    match placed {
        Some(placed) => taking_up::at(placed, row),
        None => row,
    }
}

/// Writes the row of a build that is in place, for which one that lingers has time until `serves_until`; the inner result says
/// whether it is written.
///
/// # Errors
/// Where it is told to stop before that and lingers for nobody.
async fn write_unless_stopped(
    waiting: &WaitingRow,
    row: &DeploymentLog,
    arguments: &Arguments,
    stop: &mut Stop,
    serves_until: Instant,
) -> Result<Result<(), String>, Failure> {
    let deadline = serves_until.max(Instant::now() + ROW_PATIENCE);
    tokio::select! {
        written = waiting.write(row, arguments, deadline) => Ok(written),
        signal = stop.first() => match waiting.write(row, arguments, Instant::now() + LAST_WORDS).await {
            Err(lost) if arguments.linger == 0 => {
                let (code, _) = signal.unfinished();
                Err((code, format!("the file is in place, and {lost}")))
            }
            written => Ok(written),
        },
    }
}

/// How long an earlier run took for what it has put in place.
fn took(placed: &Placed) -> Duration {
    let begun = placed.label.parse().unwrap_or(u64::MAX);
    Duration::from_millis(milliseconds(placed.time()).saturating_sub(begun))
}

/// Waits until the build is in place or a signal comes, within limits that may go by the time of day.
async fn fetched(
    fetch: &mut Fetch,
    arguments: &Arguments,
    surroundings: &Surroundings,
    stop: &mut Stop,
) -> Result<Traffic, Failure> {
    let limit = |_: &Fetch| {
        surroundings.limits.apply(arguments);
    };
    tokio::select! {
        outcome = come(fetch, arguments, &surroundings.news, limit) => outcome,
        signal = stop.first() => Err(signal.unfinished()),
    }
}

/// Waits until the build is in place; `look` is called from time to time. Cancel-safe.
pub(super) async fn come(
    fetch: &mut Fetch,
    arguments: &Arguments,
    news: &Notify,
    mut look: impl FnMut(&Fetch),
) -> Result<Traffic, Failure> {
    loop {
        match fetch.state() {
            State::Complete(traffic) => return Ok(traffic),
            State::Failed(error) | State::Refused(error) => return Err((Exit::Failed, error)),
            State::Fetching if fetch.age() >= arguments.patience() => {
                return Err((Exit::NotConverged, fetch.timed_out(arguments.patience())));
            }
            State::Fetching => fetch.look(),
        }
        look(fetch);
        let left = arguments.patience().saturating_sub(fetch.age());
        // In time or not, the state says what there is.
        let _ = tokio::time::timeout(LOOK_EVERY.min(left), news.notified()).await;
    }
}

/// The file beside `out` whose name goes on like this.
pub(super) fn beside(out: &Path, more: &str) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(more);
    out.with_file_name(name)
}

/// The row that waits beside a file until the table can be reached.
struct WaitingRow {
    path: PathBuf,
}

impl WaitingRow {
    fn beside(out: &Path) -> Self {
        Self {
            path: beside(out, ".row"),
        }
    }

    /// Keeps a row before it is tried, and gives back the one that is to be written: what says that a build has come is not
    /// given up for a later failure.
    fn keep(&self, row: DeploymentLog) -> DeploymentLog {
        let is_success = |row: &DeploymentLog| row.status == DeploymentStatus::Succeeded;
        if let Some(there) = self.there().filter(|there| is_success(there) && !is_success(&row)) {
            return there;
        }
        let kept = serde_json::to_vec(&row)
            .map_err(io::Error::from)
            .and_then(|text| replace_file(&self.path, &text));
        if let Err(error) = kept {
            let file = self.path.display();
            tracing::warn!(%file, %error, "the row is lost if it cannot be written now: it cannot be kept");
        }
        row
    }

    /// The row that waits, if one does.
    fn there(&self) -> Option<DeploymentLog> {
        let text = std::fs::read(&self.path).ok()?;
        let row = serde_json::from_slice(&text);
        let file = self.path.display();
        row.inspect_err(|error| tracing::warn!(%file, %error, "is no row, and is not written"))
            .ok()
    }

    /// Writes it until `deadline`.
    async fn write(&self, row: &DeploymentLog, arguments: &Arguments, deadline: Instant) -> Result<(), String> {
        let file = self.path.display();
        let rows = Rows::to_table(arguments);
        let (mut failures, mut last) = (0, "there was no time to write it".to_owned());
        while Instant::now() < deadline {
            match tokio::time::timeout_at(deadline.into(), rows.write(row)).await {
                Ok(Ok(())) => {
                    // What stays is written once more by the next run, which changes nothing in the table.
                    let _ = std::fs::remove_file(&self.path);
                    return Ok(());
                }
                Ok(Err(NotWritten::Now(error) | NotWritten::Ever(error))) => last = error,
                Err(_) => break,
            }
            failures += 1;
            let wait = Instant::now() + again_after(failures, &row.host_id);
            tokio::time::sleep_until(wait.min(deadline).into()).await;
        }
        Err(format!(
            "the row was not written: {last}; it is kept in {file}, and written when this is run again"
        ))
    }
}

/// How long the end waits for a row.
const ROW_PATIENCE: Duration = Duration::from_secs(12);
