//! A build by way of the agent that keeps the folder: it is waited for there, and copied where it is wanted elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use peer::{HttpAddress, ask_agent};

use super::super::asking::parsed;
use super::super::fetch::LOOK_EVERY;
use super::super::kept::{Kept, Made, Record, Stamp};
use super::super::status::{BuildState, BuildStatus, Status};
use super::super::stop::Stop;
use super::super::{Arguments, Failure};
use super::Wanted;
use super::copying::{Copy, NoCopy};
use super::telling::{From, Got, HowFar, Progress};
use program::Exit;

/// Gets it from the agent that keeps `folder`; `None` where that ends before it has it.
pub(super) async fn get(
    arguments: &Arguments,
    wanted: &Wanted<'_>,
    folder: &Path,
    progress: &Progress,
    stop: &mut Stop,
) -> Result<Option<Got>, Failure> {
    let there = tokio::select! {
        there = come(arguments, wanted, folder, progress) => there?,
        signal = stop.first() => return Err(signal.unfinished()),
    };
    let Some(Found { record, path, size }) = there else {
        return Ok(None);
    };
    let copied = if wanted.out == path {
        0
    } else {
        copy(arguments, wanted, path, record.made.clone(), stop).await?
    };
    Ok(Some(Got {
        build: record.key,
        version: record.version,
        path: wanted.out.clone(),
        size_bytes: size,
        took_s: wanted.begun.elapsed().as_secs_f64(),
        from: From::Agent,
        from_seeders_bytes: 0,
        from_hosts_bytes: 0,
        copied_bytes: copied,
    }))
}

/// A build that the agent has.
struct Found {
    record: Record,
    path: PathBuf,
    size: u64,
}

/// Waits until the agent has it. Cancel-safe.
async fn come(
    arguments: &Arguments,
    wanted: &Wanted<'_>,
    folder: &Path,
    progress: &Progress,
) -> Result<Option<Found>, Failure> {
    let begun = Instant::now();
    let mut silent_until = begun;
    loop {
        let records = Kept::look(folder)?;
        let of_key = records.iter().rev().find(|record| record.key == wanted.key);
        if let Some(found) = of_key.and_then(|record| found(record, wanted)) {
            return Ok(Some(found));
        }
        let status = status(arguments).await;
        // What the directory lists it does not know before that has answered, and then within a moment. One that cannot be asked may have been
        // started a moment ago.
        let silence = status.as_ref().and_then(silence);
        if silence.is_some() {
            silent_until = Instant::now();
        }
        let status = status.and_then(|status| of_build(status, wanted.key));
        if of_key.is_none() && status.is_none() && silent_until.elapsed() >= HEARD_WITHIN {
            let known = records.iter().map(|record| record.key.as_str());
            return Err(super::by_network::not_listed(
                wanted.key,
                known,
                "the agent has heard of",
            ));
        }
        match &status {
            Some(BuildStatus {
                state: BuildState::Refused,
                why,
                ..
            }) => {
                let (key, why) = (wanted.key, why.as_deref().unwrap_or("it does not say why"));
                return Err((Exit::Failed, format!("{key}: the agent has refused it: {why}")));
            }
            Some(BuildStatus { why: Some(why), .. }) => progress.waits(why),
            Some(build) => progress.show(HowFar {
                chunks_held: build.chunks_held,
                chunks_total: build.chunks_total,
                size: build.size_bytes.unwrap_or_default(),
                neighbours: build.neighbours,
            }),
            None => progress.waits(silence.as_deref().unwrap_or("the agent of this machine fetches it")),
        }
        if !Kept::is_in_use(folder) {
            return Ok(None);
        }
        if begun.elapsed() >= arguments.patience() {
            let why = status.and_then(|status| status.why).or(silence);
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            let (key, seconds) = (wanted.key, arguments.timeout);
            return Err((
                Exit::NotConverged,
                format!("{key}: the agent has not got it after {seconds} s{why}"),
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where the file stands as the agent has put it there.
fn found(record: &Record, wanted: &Wanted<'_>) -> Option<Found> {
    let (path, stamp) = (wanted.in_folder()?, record.file?);
    let is_there = Stamp::of(&path) == Some(stamp);
    is_there.then(|| Found {
        record: record.clone(),
        path,
        size: stamp.size,
    })
}

/// How the agent is, where it can be asked.
async fn status(arguments: &Arguments) -> Option<Status> {
    let address: &HttpAddress = arguments.http.first()?;
    let answered = ask_agent(address, "/status").await.ok()?;
    parsed(&answered).ok()
}

/// That its directory has not answered yet.
fn silence(status: &Status) -> Option<String> {
    let directory = &status.directory;
    let error = directory.error.as_deref();
    let why = error.map_or_else(String::new, |error| format!(": {error}"));
    (!directory.has_answered).then(|| format!("its directory {} has not answered yet{why}", directory.address))
}

fn of_build(status: Status, key: &str) -> Option<BuildStatus> {
    status.builds.into_iter().rev().find(|build| build.build == key)
}

async fn copy(
    arguments: &Arguments,
    wanted: &Wanted<'_>,
    from: PathBuf,
    made: Option<Made>,
    stop: &mut Stop,
) -> Result<u64, Failure> {
    if made.is_none() {
        tracing::warn!(
            "the agent's list has no hashes of {}, as those of earlier releases: it is copied as it stands",
            wanted.key
        );
    }
    let stopped = Arc::new(AtomicBool::new(false));
    let (is_told, mode) = (Arc::clone(&stopped), arguments.mode);
    let (key, to) = (wanted.key.to_owned(), wanted.out.clone());
    let mut copied = tokio::task::spawn_blocking(move || {
        let copy = Copy {
            key: &key,
            from: &from,
            to: &to,
            made: made.as_ref(),
            mode,
        };
        copy.make(&is_told)
    });
    let copied = tokio::select! {
        copied = &mut copied => copied,
        signal = stop.first() => {
            stopped.store(true, Ordering::Relaxed);
            // So that nothing is left beside it.
            let _ = tokio::time::timeout(LETS_GO_WITHIN, copied).await;
            return Err(signal.unfinished());
        }
    };
    match copied {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error @ (NoCopy::Failed { .. } | NoCopy::Changed { .. } | NoCopy::Stopped))) => {
            Err((Exit::Failed, error.to_string()))
        }
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// An agent that runs hears of its builds within a round trip, and writes that down.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// A copy that is told to stop does so within a chunk.
const LETS_GO_WITHIN: Duration = Duration::from_secs(1);
