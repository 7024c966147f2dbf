//! The builds of a directory's host: which are fetched, in place, over, and what is told of each.
//!
//! Invariant: what is told is on the list before it is told, so a restart tells it not again; and a transfer is on the list
//! before it begins, so a restart knows whether what it finds in place has come or stood there.
//!
//! A build that is listed no more is fetched on from its neighbours, and when it is in place it is served until nobody has taken
//! anything of it for a while: each swarm costs connections to some dozen hosts. It gives way only to another version of its key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cloud::DeploymentLog;
use peer::{Placed, SeededBuild, Traffic};

use super::arguments::place_of;
use super::build::{Build, Phase, Serving};
use super::fetch::State;
use super::hooks::{Hooks, Told, When, told_of};
use super::kept::{BuildId, Kept, Record, Row, Stamp};
use super::leftovers::{Leaving, remove_parts};
use super::surroundings::Surroundings;
use super::turns::Turns;
use super::{Arguments, speech};

/// All builds of the host.
pub(crate) struct Builds<'a> {
    pub(super) arguments: Arguments,
    pub(super) folder: &'a Path,
    pub(super) kept: Kept,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) builds: BTreeMap<BuildId, Build>,
    pub(super) turns: Turns,
    /// Numbers the turns that are waited for.
    waits: u64,
    /// Keys that were refused, so that each is told once while it is listed.
    refused: BTreeSet<String>,
    pub(super) to_print: Vec<BuildId>,
    /// Places of what is on the list as come: as soon as that is on disk their notes are of no more use.
    pub(super) written_down: Vec<PathBuf>,
    /// Something has come or is listed no more, so something may have to leave the folder.
    pub(super) may_be_over: bool,
    pub(super) hooks: Hooks,
    pub(super) is_stopped: bool,
    /// There is no room for what waits, and this was said.
    pub(super) is_full: bool,
    /// Builds that have left the swarm, whose files are to be deleted.
    pub(super) leaving: Vec<Leaving>,
    /// How many builds were given up since this process began.
    pub(super) given_up: u64,
    /// How many have come since then, and how long that took, summed.
    pub(super) installed: (u64, Duration),
}

impl<'a> Builds<'a> {
    /// None yet; news of `surroundings` wake whoever calls [`Builds::step`].
    pub(crate) fn new(
        arguments: &'a Arguments,
        folder: &'a Path,
        kept: Kept,
        surroundings: &Arc<Surroundings>,
    ) -> Self {
        let mut builds = Self {
            arguments: arguments.clone(),
            folder,
            kept,
            surroundings: Arc::clone(surroundings),
            builds: BTreeMap::new(),
            turns: Turns::new(arguments.fetches_max.into()),
            waits: 0,
            refused: BTreeSet::new(),
            to_print: Vec::new(),
            written_down: Vec::new(),
            may_be_over: false,
            hooks: Hooks::new(arguments),
            is_stopped: false,
            is_full: false,
            leaving: Vec::new(),
            given_up: 0,
            installed: (0, Duration::ZERO),
        };
        builds.take_up_what_was_placed();
        builds.point_current();
        builds
    }

    /// The directory lists these builds now, the newest version of a key last.
    pub(crate) fn listed(&mut self, listed: Vec<SeededBuild>) {
        if listed.is_empty() {
            // So says a directory that has just been started, too: it does not know yet.
            tracing::info!("the directory lists nothing; what there is stays as it is");
            return;
        }
        let listed: BTreeMap<String, SeededBuild> =
            listed.into_iter().map(|build| (build.key.clone(), build)).collect();
        self.may_be_over = true;
        self.refused.retain(|key| listed.contains_key(key));
        let is_listed = |(key, version): &BuildId| listed.get(key).is_some_and(|build| build.version == *version);
        for (id, build) in &mut self.builds {
            build.is_listed = is_listed(id);
        }
        let is_over = |(id, build): (&BuildId, &Build)| {
            let is_over = !build.is_listed && build.is_unfinished() && listed.contains_key(&id.0);
            is_over.then(|| id.clone())
        };
        let superseded: Vec<BuildId> = self.builds.iter().filter_map(is_over).collect();
        for id in superseded {
            let (key, version) = (&id.0, &id.1);
            self.arguments.say(&format!(
                "{key}: version {version} is given up for the one that is listed now"
            ));
            self.builds.remove(&id);
            self.kept.forget(&id);
        }
        for (_, build) in listed {
            self.list(build);
        }
        self.give_up_what_is_not_listed_since_long_ago();
    }

    fn list(&mut self, seeded: SeededBuild) {
        let id = (seeded.key.clone(), seeded.version.clone());
        let number = self.next_number();
        if let Some(build) = self.builds.get_mut(&id) {
            build.seeders_are(seeded, number);
            return;
        }
        let Some(out) = self.place_of(&seeded.key) else {
            if self.refused.insert(seeded.key.clone()) {
                tracing::error!(key = seeded.key, "leads out of the folder; the build is not fetched");
            }
            return;
        };
        let heard_ago = self.kept.change(&id).heard_ago();
        let build = Build::new(seeded, out, heard_ago, number);
        self.builds.insert(id, build);
    }

    /// The file of a build by its key; `None` where the key leads out of the folder or to something that is no build.
    pub(super) fn place_of(&self, key: &str) -> Option<PathBuf> {
        place_of(self.folder, key).filter(|out| self.current_link().as_ref() != Some(out))
    }

    fn next_number(&mut self) -> u64 {
        self.waits += 1;
        self.waits
    }

    /// Carries on: ends what has ended, begins what has its turn, removes what is over, and tells what is to be told.
    pub(crate) fn step(&mut self) {
        self.surroundings.limits.apply(&self.arguments);
        self.look();
        self.give_up_what_cannot_begin();
        self.begin();
        self.remove_what_is_over();
        self.delete_what_has_left();
        self.leave_what_nobody_wants();
        self.save();
        self.print();
    }

    /// Whether something is on its way that has to be looked at from time to time.
    pub(crate) fn is_busy(&self) -> bool {
        !self.leaving.is_empty() || self.builds.values().any(Build::is_busy)
    }

    /// Ends every transfer. What is told afterwards is what has come before.
    pub(crate) fn stop(&mut self) {
        self.is_stopped = true;
        self.step();
        self.builds.clear();
        // Now that nobody takes it for a refusal.
        self.hooks.stop();
    }

    /// Writes the list where it has changed.
    pub(crate) fn save(&mut self) {
        // The list is what others wait for, so it is written here; the runtime's other tasks go on meanwhile.
        tokio::task::block_in_place(|| {
            self.kept.save();
            if self.kept.is_saved() {
                self.written_down.drain(..).for_each(|out| Placed::forget(&out));
            }
        });
    }

    /// The rows that are to be written, the oldest first.
    pub(crate) fn rows_due(&self) -> impl Iterator<Item = (BuildId, Box<DeploymentLog>)> {
        self.kept.records().iter().filter_map(|record| match &record.row {
            Row::Due(row) => Some(((record.key.clone(), record.version.clone()), row.clone())),
            Row::None | Row::Written => None,
        })
    }

    /// A row is in the table, or never will be. Another one may be due by now.
    pub(crate) fn row_is_written(&mut self, id: &BuildId, row: &DeploymentLog) {
        let is_due = |due: &Row| matches!(due, Row::Due(due) if **due == *row);
        if self.kept.get(id).is_some_and(|record| is_due(&record.row)) {
            self.kept.change(id).row = Row::Written;
        }
    }

    /// Where the list is kept.
    pub(crate) fn list_path(&self) -> &Path {
        self.kept.path()
    }

    fn look(&mut self) {
        let mut ended = Vec::new();
        for (id, build) in &mut self.builds {
            let Phase::UnderWay(fetch) = &mut build.phase else {
                continue;
            };
            let patience = self.arguments.patience();
            match fetch.state() {
                State::Complete(traffic) => ended.push((id.clone(), Ok(traffic))),
                State::Failed(error) => ended.push((id.clone(), Err(error))),
                State::Refused(error) => {
                    build.is_refused = true;
                    ended.push((id.clone(), Err(error)));
                }
                State::Fetching if fetch.age() >= patience => ended.push((id.clone(), Err(fetch.timed_out(patience)))),
                State::Fetching => {
                    fetch.look();
                    if fetch.lacks_chunks() && !self.kept.get(id).is_some_and(|record| record.is_begun) {
                        self.kept.change(id).is_begun = true;
                    }
                    if build.has_moved && fetch.is_stalled() {
                        build.move_over();
                    }
                }
            }
        }
        for (id, end) in ended {
            match end {
                Ok(traffic) => self.has_come(&id, &traffic),
                Err(error) => self.has_failed(&id, &error),
            }
        }
    }

    fn has_come(&mut self, id: &BuildId, traffic: &Traffic) {
        let Some(build) = self.builds.get_mut(id) else {
            return;
        };
        let Phase::UnderWay(fetch) = build.waits(0, Duration::ZERO) else {
            return;
        };
        let took = build.took();
        let (was_there, made) = (fetch.was_there(), fetch.made());
        let (out, stamp, report) = (build.out.clone(), Stamp::of(&build.out), fetch.report());
        build.phase = Phase::InPlace(Serving::by(fetch));
        (build.failures, build.last_error, build.has_moved) = (0, None, false);
        let stood_there = self.kept.records().iter().any(|record| {
            let is_other = record.key == id.0 && record.version != id.1;
            is_other && record.file.is_some()
        });
        let host_id = self.kept.host_id().to_owned();
        let record = self.kept.change(id);
        let size = stamp.map_or(0, |stamp| stamp.size);
        if record.has_come() {
            // Another version was in place meanwhile: whoever deploys what is in place has to hear of the change.
            if stood_there && !was_there {
                record.is_printed = false;
                self.arguments.say(&speech::has_come(&id.0, size, took, traffic));
            }
        } else if was_there && !record.is_begun {
            record.is_printed = true;
            self.arguments.say(&speech::was_there(&id.0, size, took));
        } else {
            self.installed = (self.installed.0 + 1, self.installed.1 + took);
            self.arguments.say(&speech::has_come(&id.0, size, took, traffic));
            if self.arguments.log {
                let row = self
                    .arguments
                    .row(&host_id, &id.0, Some(id.1.clone()), took, &report, None);
                record.row = Row::Due(Box::new(row));
            }
        }
        let is_news = record.file.is_none() || stood_there;
        record.come(stamp);
        record.made = made.or_else(|| record.made.take());
        if !record.is_printed {
            self.to_print.push(id.clone());
        }
        if is_news {
            self.kept.put_last(id);
        }
        self.point_current();
        self.may_be_over = true;
        self.written_down.push(out);
        // What stood there before is served no more: its file is this one now.
        self.builds
            .retain(|other, build| other.0 != id.0 || other.1 == id.1 || build.is_unfinished());
    }

    pub(super) fn has_failed(&mut self, id: &BuildId, error: &str) {
        let number = self.next_number();
        let Some(build) = self.builds.get_mut(id) else {
            return;
        };
        let wait = (AGAIN_FIRST * (1 << build.failures.min(10))).min(AGAIN_MAX);
        build.failures += 1;
        let report = match build.waits(number, wait) {
            Phase::UnderWay(fetch) => fetch.report(),
            Phase::Waiting { .. } | Phase::InPlace(_) => peer::NodeReport::default(),
        };
        let (is_listed, took) = (build.is_listed, build.took());
        let is_in_place = self.kept.get(id).is_some_and(|record| record.file.is_some()) && build.may_be_there;
        let error = match is_listed {
            true => error.to_owned(),
            false => format!("delisted: {error}"),
        };
        // What is tried again and again is told when it is news.
        if build.last_error.as_ref() != Some(&error) {
            build.last_error = Some(error.clone());
            match (is_in_place, is_listed) {
                (true, true) => tracing::warn!(key = id.0, "in place, but not served to others: {error}"),
                (true, false) => {}
                (false, true) if build.is_refused => tracing::error!(
                    key = id.0,
                    "refused: {error}; it is not tried again before SIGHUP, a restart or a newer version"
                ),
                (false, true) => tracing::error!(key = id.0, "not in place: {error}; it is tried until it is"),
                (false, false) => self.tell_given_up(id, &error),
            }
            let has_come = self.kept.get(id).is_some_and(Record::has_come);
            if !is_in_place && let Some(out) = self.place_of(&id.0) {
                let error = error.clone();
                let told = told_of(id, &out);
                self.hooks.tell(When::Failed, Told { error, ..told });
            }
            if !has_come {
                self.owe_failed_row(id, took, &report, error);
            }
        }
        if !is_listed && let Some(build) = self.builds.remove(id) {
            self.may_be_over = true;
            self.kept.forget(id);
            if !self.builds.keys().any(|other| other.0 == id.0) {
                remove_parts(&build.out);
            }
        }
    }

    /// What is not begun and is listed no more has nobody to tell it what it is.
    fn give_up_what_cannot_begin(&mut self) {
        let cannot_begin = |build: &Build| !build.is_listed && matches!(build.phase, Phase::Waiting { .. });
        let hopeless = self.builds.iter().filter(|(_, build)| cannot_begin(build));
        for id in hopeless.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            let build = self.builds.get(&id);
            // Of one that was refused that was told.
            match build.and_then(|build| build.last_error.clone().filter(|_| build.is_refused)) {
                Some(refused) => self.give_up_refused(&id, &refused),
                None => {
                    let why = build.map_or_else(String::new, Build::why_not_begun);
                    self.has_failed(&id, &why);
                }
            }
        }
    }

    /// What an earlier process has begun and nobody lists any more is given up when a build's time is over.
    fn give_up_what_is_not_listed_since_long_ago(&mut self) {
        let is_over = |record: &&Record| {
            !record.has_come() && record.row == Row::None && record.heard_ago() >= self.arguments.patience()
        };
        let over = self.kept.records().iter().filter(is_over);
        let over: Vec<BuildId> = over
            .map(|record| (record.key.clone(), record.version.clone()))
            .filter(|id| !self.builds.contains_key(id))
            .collect();
        for id in over {
            let error = "delisted before it had come";
            self.tell_given_up(&id, error);
            let took = self.kept.get(&id).map(Record::heard_ago).unwrap_or_default();
            self.owe_failed_row(&id, took, &peer::NodeReport::default(), error.to_owned());
            self.kept.forget(&id);
            let is_key = self.builds.keys().any(|other| other.0 == id.0);
            if let Some(out) = place_of(self.folder, &id.0).filter(|_| !is_key) {
                remove_parts(&out);
            }
        }
    }

    fn tell_given_up(&mut self, id: &BuildId, error: &str) {
        self.given_up += 1;
        tracing::error!(
            metric = "builds_given_up",
            count = self.given_up,
            key = id.0,
            "given up: {error}"
        );
    }

    /// The row that says that a build has not come is to be written, where rows are wanted.
    fn owe_failed_row(&mut self, id: &BuildId, took: Duration, report: &peer::NodeReport, error: String) {
        if self.arguments.log {
            let (host_id, version) = (self.kept.host_id().to_owned(), Some(id.1.clone()));
            let row = self.arguments.row(&host_id, &id.0, version, took, report, Some(error));
            self.kept.change(id).row = Row::Due(Box::new(row));
        }
    }

    /// Ends the swarms of builds that are listed no more, so that nobody can come, and of which nobody takes anything. Their files
    /// stay; if one is listed again it is checked and served as after a restart.
    fn leave_what_nobody_wants(&mut self) {
        let patience = self.arguments.serve_patience();
        self.builds.retain(|(key, version), build| {
            let is_left = build.has_been_left(patience);
            if is_left {
                tracing::debug!(
                    key,
                    version,
                    "not listed, and nobody takes anything of it: not served any more"
                );
            }
            !is_left
        });
    }

    /// What was refused and is not listed any more.
    fn give_up_refused(&mut self, id: &BuildId, why: &str) {
        tracing::info!(key = id.0, why, "refused, and not listed any more");
        self.kept.forget(id);
        self.may_be_over = true;
        if let Some(build) = self.builds.remove(id)
            && !self.builds.keys().any(|other| other.0 == id.0)
        {
            remove_parts(&build.out);
        }
    }

    fn tell_installed(&self, id: &BuildId, out: &Path) {
        let root = match self.builds.get(id).map(|build| &build.phase) {
            Some(Phase::InPlace(serving)) => serving.root(),
            _ => None,
        };
        let root = root.unwrap_or_default();
        self.hooks.tell(
            When::Installed,
            Told {
                root,
                ..told_of(id, out)
            },
        );
    }

    fn print(&mut self) {
        let ids = std::mem::take(&mut self.to_print);
        if ids.is_empty() {
            return;
        }
        // On the list first: a line that is printed twice deploys twice.
        for id in &ids {
            self.kept.change(id).is_printed = true;
        }
        self.save();
        for id in ids {
            let Some(out) = place_of(self.folder, &id.0) else {
                continue;
            };
            self.tell_installed(&id, &out);
            if let Err(error) = speech::print_line(&format!("{} {}", id.0, out.display())) {
                tracing::warn!(key = id.0, %error, "nobody reads what is in place; it is printed after the next start");
                self.kept.change(&id).is_printed = false;
            }
        }
    }
}

/// A build that could not be fetched is tried again after this at first; doubles.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
/// Longest such wait.
const AGAIN_MAX: Duration = Duration::from_secs(10);
