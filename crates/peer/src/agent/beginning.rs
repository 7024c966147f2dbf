//! Which of the builds that wait are begun now: those whose turn it is and for which there is room.

use std::path::PathBuf;
use std::time::Instant;

use peer::{Addresses, Gate};

use super::build::{Build, Phase};
use super::builds::Builds;
use super::fetch::{Fetch, FetchTo};
use super::hooks::{self, told_of};
use super::kept::BuildId;
use super::leftovers::bytes_of_parts;
use super::room::{Limits, Room};
use super::turns::{UnderWay, Waiting};

impl Builds<'_> {
    /// Begins what has its turn.
    pub(super) fn begin(&mut self) {
        if self.is_stopped {
            return;
        }
        let (mut ids, mut waiting, mut under_way) = self.candidates();
        if waiting.is_empty() && !self.is_full {
            return;
        }
        let (mut room, mut why_not) = (self.room(), None);
        let mut begins = Vec::new();
        while let Some(index) = self.turns.next(&waiting, &under_way) {
            let (id, begun) = (ids.swap_remove(index), waiting.swap_remove(index));
            // What is only read takes nothing.
            let needs = self.builds.get(&id).filter(|_| !begun.is_check).map_or(0, needs);
            if let Some(lacks) = room.lacks(needs).filter(|_| !begun.is_check) {
                let why = room.why_not(needs, self.folder);
                if let Some(build) = self.builds.get_mut(&id) {
                    build.waits_for = Some(why.clone());
                }
                why_not.get_or_insert((why, lacks));
                continue;
            }
            room.take(needs);
            under_way.push(UnderWay {
                lacks: begun.lacks,
                is_check: begun.is_check,
                is_stalled: false,
            });
            if !begun.is_check && self.kept.get(&id).is_some_and(|record| !record.is_begun) {
                self.kept.change(&id).is_begun = true;
            }
            begins.push(id);
        }
        self.tell_of_room(why_not, &room);
        if !begins.is_empty() {
            self.save();
            self.start(begins);
        }
    }

    /// Those that wait and may begin, and those that are under way.
    fn candidates(&self) -> (Vec<BuildId>, Vec<Waiting>, Vec<UnderWay>) {
        let now = Instant::now();
        let (mut ids, mut waiting, mut under_way) = (Vec::new(), Vec::new(), Vec::new());
        for (id, build) in &self.builds {
            match &build.phase {
                Phase::Waiting { number, not_before }
                    if *not_before <= now && !build.is_refused && self.surroundings.is_free(&build.out) =>
                {
                    ids.push(id.clone());
                    waiting.push(Waiting {
                        lacks: build.size(),
                        is_check: build.may_be_there,
                        number: *number,
                    });
                }
                Phase::UnderWay(fetch) => under_way.push(UnderWay {
                    lacks: fetch.lacks(build.size()),
                    is_check: build.may_be_there && !fetch.lacks_chunks(),
                    is_stalled: fetch.is_stalled(),
                }),
                Phase::Waiting { .. } | Phase::InPlace(_) => {}
            }
        }
        (ids, waiting, under_way)
    }

    /// The room that there is when what is under way has all that it needs.
    pub(super) fn room(&self) -> Room {
        let under_way = self
            .builds
            .values()
            .filter(|build| matches!(build.phase, Phase::UnderWay(_)));
        let under_way: Vec<(u64, u64)> = under_way
            .filter(|build| !build.may_be_there)
            .map(|build| (build.size().unwrap_or_default(), needs(build)))
            .collect();
        let had: u64 = under_way.iter().map(|(size, needs)| size.saturating_sub(*needs)).sum();
        let mut room = Room::of(self.folder, Limits::of(&self.arguments), self.stored() + had);
        for (_, needs) in under_way {
            room.take(needs);
        }
        room
    }

    /// Bytes of the builds in the folder.
    pub(super) fn stored(&self) -> u64 {
        let files = self.kept.records().iter().filter_map(|record| record.file);
        files.map(|file| file.size).sum()
    }

    /// Says once that nothing new is begun, and once that there is room again.
    fn tell_of_room(&mut self, why_not: Option<(String, u64)>, room: &Room) {
        match why_not {
            Some((why, lacks)) => {
                if !std::mem::replace(&mut self.is_full, true) {
                    tracing::warn!("nothing new is fetched: {why}; it is begun as soon as there is room");
                }
                self.make_room(lacks);
            }
            // One that waits for room may just not have had its turn.
            None if self.is_full && room.lacks(0).is_none() && self.waits_for_room().next().is_none() => {
                self.is_full = false;
                tracing::warn!("there is room for builds again");
            }
            None => {}
        }
    }

    fn waits_for_room(&self) -> impl Iterator<Item = &Build> {
        self.builds.values().filter(|build| build.waits_for.is_some())
    }

    /// Starts what has its turn. Each is on the list.
    fn start(&mut self, begins: Vec<BuildId>) {
        let in_folder = self.kept.records().iter().rev().filter(|record| record.file.is_some());
        let older: Vec<(String, PathBuf)> = in_folder
            .filter_map(|record| Some((record.key.clone(), self.place_of(&record.key)?)))
            .take(OLDER_MAX)
            .collect();
        for id in begins {
            let older = older.iter().filter(|(key, _)| *key != id.0);
            let older = older.map(|(_, file)| file.clone()).collect();
            let Some(build) = self.builds.get_mut(&id) else {
                continue;
            };
            build.waits_for = None;
            let (swarm, seeders) = (build.seeded.swarm(), Addresses::by_peer(&build.seeded.seeders));
            let place = FetchTo {
                out: &build.out,
                label: Some(id.1.clone()),
                older,
                key: Some(id.0.clone()),
                gate: Some(Gate::new(hooks::gate(&self.hooks, told_of(&id, &build.out)))),
            };
            let started =
                seeders.map(|seeders| Fetch::start(&self.arguments, swarm, seeders, place, &self.surroundings));
            match started {
                Ok(fetch) => build.phase = Phase::UnderWay(Box::new(fetch)),
                Err(error) => self.has_failed(&id, &format!("its seeder {error}")),
            }
        }
    }
}

/// Bytes of the disk that a build takes beyond what a part of it has.
fn needs(build: &Build) -> u64 {
    let size = build.size().unwrap_or_default();
    size.saturating_sub(bytes_of_parts(&build.out))
}

/// Newest files of the folder in which chunks of a new build are looked for. What it reads of them it reads while others may wait.
const OLDER_MAX: usize = 3;
