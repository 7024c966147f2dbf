//! A build from its swarm: the directory says who seeds it, and it is fetched as an agent would.

use std::path::PathBuf;

use peer::{Addresses, Gate, Placed, SeededBuild};

use super::super::belonging::{self, Who};
use super::super::fetch::{Fetch, FetchTo};
use super::super::hooks::{self, Hooks, told_of};
use super::super::kept::{Kept, SEQUENCES};
use super::super::leftovers::bytes_of_parts;
use super::super::room::{Limits, Room};
use super::super::single::{beside, come};
use super::super::stop::Stop;
use super::super::surroundings::Surroundings;
use super::super::{Arguments, Failure, trusting};
use super::telling::{From, Got, HowFar, Progress};
use super::{Get, Wanted};
use program::Exit;

/// Gets it from its swarm.
pub(super) async fn get(get: &Get, wanted: &Wanted<'_>, progress: &Progress, stop: &mut Stop) -> Result<Got, Failure> {
    let mut arguments = get.arguments.clone();
    if !get.listens {
        // Those are the agent's, which may run with another folder.
        (arguments.listen, arguments.advertise) = (Vec::new(), Vec::new());
    }
    if arguments.belonging.members.is_none() {
        // Whoever is known by the agent's key is the agent.
        arguments.belonging.identity = None;
    }
    let who = belonging::take_up(&mut arguments)?;
    if who.members.is_none() {
        arguments.find_zone().await;
    }
    progress.waits("the directory is asked");
    let found = tokio::select! {
        found = find(&arguments, &who, wanted.key) => found?,
        signal = stop.first() => return Err(signal.unfinished()),
    };
    // A build that somebody has asked for has no limit by default, as one by its seeders.
    arguments.directory = None;
    let seeders = Addresses::by_peer(&found.seeders).map_err(|error| (Exit::Failed, format!("its seeder {error}")))?;
    let memory = || match wanted.folder.filter(|_| wanted.is_for_folder()) {
        Some(folder) => folder.join(SEQUENCES),
        None => beside(&wanted.out, ".sequences"),
    };
    let trust = trusting::trust(&arguments, memory)?;
    let hooks = Hooks::new(&arguments);
    let place = place(&arguments, &hooks, wanted, &found)?;
    let surroundings = Surroundings::start(&arguments, who, &seeders, trust).await?;
    let mut fetch = Fetch::start(&arguments, found.swarm(), seeders, place, &surroundings);
    let look = |fetch: &Fetch| {
        surroundings.limits.apply(&arguments);
        let report = fetch.report();
        progress.show(HowFar {
            chunks_held: report.chunks_held,
            chunks_total: report.chunks_total,
            size: found.size,
            neighbours: report.neighbours as u64,
        });
    };
    let ended = tokio::select! {
        ended = come(&mut fetch, &arguments, &surroundings.news, look) => ended,
        signal = stop.first() => Err(signal.unfinished()),
    };
    progress.clear();
    hooks.stop();
    let was_there = fetch.was_there();
    surroundings.endpoint.close().await;
    let traffic = ended.map_err(|(code, why)| (code, format!("{}: {why}", wanted.key)))?;
    Placed::forget(&wanted.out);
    Ok(Got {
        build: found.key,
        version: found.version,
        path: wanted.out.clone(),
        size_bytes: std::fs::metadata(&wanted.out).map_or(found.size, |there| there.len()),
        took_s: wanted.begun.elapsed().as_secs_f64(),
        from: if was_there { From::Place } else { From::Swarm },
        from_seeders_bytes: traffic.from_seeder,
        from_hosts_bytes: traffic.from_peers,
        copied_bytes: traffic.reused,
    })
}

/// What the directory says of the build.
async fn find(arguments: &Arguments, who: &Who, key: &str) -> Result<SeededBuild, Failure> {
    let Some(address) = &arguments.directory else {
        // The command line does not let it come to this.
        return Err((Exit::Usage, "expected --directory".to_owned()));
    };
    let addresses = Addresses::of([address]).map_err(|error| (Exit::Usage, format!("--directory {error}")))?;
    let directory = who.follow(arguments, addresses)?;
    let listed = tokio::time::timeout(arguments.patience(), directory.listed()).await;
    let Ok(listed) = listed else {
        let seconds = arguments.timeout;
        return Err((
            Exit::NotConverged,
            format!("{address}: the directory has not answered within {seconds} s"),
        ));
    };
    let listed = listed.unwrap_or_default();
    match listed.iter().rfind(|build| build.key == key) {
        Some(build) => Ok(build.clone()),
        None => {
            let known = listed.iter().map(|build| build.key.as_str());
            Err(not_listed(key, known, "the directory lists"))
        }
    }
}

/// That nobody knows of such a build, and which one may be meant.
pub(super) fn not_listed<'a>(key: &str, known: impl Iterator<Item = &'a str>, who: &str) -> Failure {
    let known: Vec<&str> = known.collect();
    let hint = match settings::nearest(key, known.iter().copied()) {
        _ if known.is_empty() => format!("{who} no build at all"),
        Some(near) => format!("did you mean {near}?"),
        None if known.len() <= NAMED_MAX => format!("{who} {}", known.join(", ")),
        None => format!(
            "{who} {} and {} more",
            known[..NAMED_MAX].join(", "),
            known.len() - NAMED_MAX
        ),
    };
    (Exit::Usage, format!("{key}: there is no such build — {hint}"))
}

/// Where it goes, and what may help. In the agent's folder its rules hold: there is to be room, and who is asked before a build is put there
/// is asked.
fn place<'a>(
    arguments: &Arguments,
    hooks: &Hooks,
    wanted: &'a Wanted<'_>,
    found: &SeededBuild,
) -> Result<FetchTo<'a>, Failure> {
    let records = wanted.folder.map(Kept::look).transpose()?.unwrap_or_default();
    let in_folder = records.iter().rev().filter(|record| record.file.is_some());
    let older: Vec<PathBuf> = in_folder
        .filter_map(|record| super::place_of(wanted.folder?, &record.key))
        .filter(|older| *older != wanted.out)
        .collect();
    let mut gate = None;
    if let Some(folder) = wanted.folder.filter(|_| wanted.is_for_folder()) {
        let made = std::fs::create_dir_all(folder);
        made.map_err(|error| {
            (
                Exit::Failed,
                format!("failed to use the folder {}: {error}", folder.display()),
            )
        })?;
        let stored = records
            .iter()
            .filter_map(|record| record.file)
            .map(|file| file.size)
            .sum();
        let room = Room::of(folder, Limits::of(arguments), stored);
        let is_there = std::fs::metadata(&wanted.out).is_ok_and(|there| there.len() == found.size);
        let needs = found.size.saturating_sub(bytes_of_parts(&wanted.out));
        if !is_there && room.lacks(needs).is_some() {
            return Err((Exit::Failed, format!("{}: {}", wanted.key, room.why_not(needs, folder))));
        }
        let id = (found.key.clone(), found.version.clone());
        gate = Some(Gate::new(hooks::gate(hooks, told_of(&id, &wanted.out))));
    }
    Ok(FetchTo {
        out: &wanted.out,
        label: None,
        older,
        key: Some(found.key.clone()),
        gate,
    })
}

/// Keys that are named where none is near.
const NAMED_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_what_is_not_there_hears_what_is() {
        let told = |key: &str, known: &[&str]| not_listed(key, known.iter().copied(), "the directory lists").1;
        assert_eq!(
            told("app.zp", &["v1/lib.zip", "app.zip"]),
            "app.zp: there is no such build — did you mean app.zip?"
        );
        assert_eq!(
            told("zzzzzzzzzzzz", &["a", "b"]),
            "zzzzzzzzzzzz: there is no such build — the directory lists a, b"
        );
        let many: Vec<String> = (10..30).map(|number| format!("build-{number}.zip")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(told("zzzzzzzzzzzz", &many).ends_with("build-19.zip and 10 more"));
        assert!(told("a", &[]).ends_with("the directory lists no build at all"));
    }
}
