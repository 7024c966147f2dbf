//! Builds on their way from a message to a swarm. Invariant: there is one job for a key of a bucket, with one message that stands
//! for it; what was told meanwhile is at most one more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cloud::ObjectInfo;

use super::intake::Taken;
use super::status::{SeededStatus, SeedingState};
use crate::build_feed::{BuildNotice, Delivery};
use crate::s3_pull::Pulled;

/// One build's way.
pub(super) struct Job {
    stage: Stage,
    message: Taken,
    /// Came while the object was being pulled: it may tell of a newer version.
    newer: Option<Taken>,
    taken_at: Instant,
    /// Its number among all that came.
    number: u64,
}

/// Where it is.
pub(super) enum Stage {
    /// It is to be looked at when its time has come.
    Resting(Instant),
    /// It did not fit, and is looked at again when something has gone, or when its time has come.
    NoRoom(Instant),
    /// It is being looked at.
    Looking,
    /// It waits for a place among those that are pulled.
    Waiting(ObjectInfo),
    /// It is being pulled.
    Pulling(ObjectInfo),
    /// It is here, and waits for a place among those that are seeded.
    Here(Box<Pulled>),
    /// It is just being seeded.
    Leaving,
}

/// All of them.
#[derive(Default)]
pub(super) struct Jobs {
    jobs: BTreeMap<(String, String), Job>,
    came: u64,
    begun: u64,
}

impl Jobs {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// How each is.
    pub(super) fn status(&self) -> impl Iterator<Item = SeededStatus> {
        self.jobs.iter().map(|((_, key), job)| {
            let (state, object) = match &job.stage {
                Stage::Pulling(object) => (SeedingState::Pulling, Some(object)),
                Stage::Waiting(object) => (SeedingState::Waiting, Some(object)),
                Stage::Here(pulled) => (SeedingState::Waiting, Some(&pulled.object)),
                Stage::Resting(_) | Stage::NoRoom(_) | Stage::Looking | Stage::Leaving => (SeedingState::Waiting, None),
            };
            SeededStatus {
                build: key.clone(),
                version: object.map(|object| object.etag.clone()).unwrap_or_default(),
                state,
                size_bytes: object.map(|object| object.size),
                ..SeededStatus::default()
            }
        })
    }

    /// Takes a message in. What it makes needless is the result.
    pub(super) fn take(&mut self, taken: Taken) -> Option<Delivery> {
        let key = key(&taken.delivery.notice);
        let Some(job) = self.jobs.get_mut(&key) else {
            self.came += 1;
            let job = Job {
                stage: Stage::Resting(Instant::now()),
                message: taken,
                newer: None,
                taken_at: Instant::now(),
                number: self.came,
            };
            self.jobs.insert(key, job);
            return None;
        };
        let older = match &job.stage {
            // What it is will be seen when it is looked at.
            Stage::Resting(_) | Stage::NoRoom(_) => Some(std::mem::replace(&mut job.message, taken)),
            Stage::Waiting(_) | Stage::Here(_) => {
                job.stage = Stage::Resting(Instant::now());
                Some(std::mem::replace(&mut job.message, taken))
            }
            Stage::Looking | Stage::Pulling(_) | Stage::Leaving => job.newer.replace(taken),
        };
        older.map(|older| older.delivery)
    }

    pub(super) fn set(&mut self, notice: &BuildNotice, stage: Stage) {
        if let Some(job) = self.jobs.get_mut(&key(notice)) {
            job.stage = stage;
        }
    }

    /// Whether one waits for room.
    pub(super) fn one_has_no_room(&self) -> bool {
        self.jobs.values().any(|job| matches!(job.stage, Stage::NoRoom(_)))
    }

    /// What waits for room is tried soon, when the swarm that made it has let go of its files.
    pub(super) fn there_is_room(&mut self) {
        for job in self.jobs.values_mut() {
            if matches!(job.stage, Stage::NoRoom(_)) {
                job.stage = Stage::Resting(Instant::now() + SWARM_ENDS);
            }
        }
    }

    pub(super) fn object(&self, notice: &BuildNotice) -> Option<&ObjectInfo> {
        match &self.jobs.get(&key(notice))?.stage {
            Stage::Waiting(object) | Stage::Pulling(object) => Some(object),
            _ => None,
        }
    }

    /// Whether no queue would tell of it again.
    pub(super) fn is_ours_alone(&self, notice: &BuildNotice) -> bool {
        self.jobs
            .get(&key(notice))
            .is_some_and(|job| !job.message.delivery.is_held())
    }

    /// It was pulled, and waits for a place.
    pub(super) fn pulled(&mut self, notice: &BuildNotice, pulled: Pulled) {
        self.set(notice, Stage::Here(Box::new(pulled)));
    }

    /// Those that are to be looked at now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<BuildNotice> {
        let is_due = |stage: &Stage| match stage {
            Stage::Resting(until) | Stage::NoRoom(until) => *until <= now,
            _ => false,
        };
        let due = self.jobs.values_mut().filter(|job| is_due(&job.stage));
        due.map(|job| {
            job.stage = Stage::Looking;
            job.message.delivery.notice.clone()
        })
        .collect()
    }

    /// The next one to pull: the smallest, and every fourth time the one that has waited longest. Those that come with one GET have
    /// places of their own.
    pub(super) fn next_to_pull(&mut self) -> Option<(BuildNotice, ObjectInfo)> {
        let count = |is: fn(&Stage) -> bool| self.jobs.values().filter(|job| is(&job.stage)).count();
        let pulling = count(|stage| matches!(stage, Stage::Pulling(_)));
        let here = count(|stage| matches!(stage, Stage::Here(_)));
        if here >= HERE_MAX || pulling >= PULLS_MAX + SMALL_PULLS_MAX {
            return None;
        }
        let small_only = pulling >= PULLS_MAX;
        let waiting = self.jobs.iter().filter_map(|(key, job)| match &job.stage {
            Stage::Waiting(object) if !small_only || object.size <= SMALL => Some((key, job.number, object.size)),
            _ => None,
        });
        let next = if self.begun % EVERY == EVERY - 1 {
            waiting.min_by_key(|(_, number, _)| *number)
        } else {
            waiting.min_by_key(|(_, number, size)| (*size, *number))
        };
        let key = next?.0.clone();
        self.begun += 1;
        let job = self.jobs.get_mut(&key)?;
        let Stage::Waiting(object) = &job.stage else {
            return None;
        };
        let object = object.clone();
        job.stage = Stage::Pulling(object.clone());
        Some((job.message.delivery.notice.clone(), object))
    }

    /// The next one to seed, of those that are here: first what is a newer version of what is seeded, then who was first.
    pub(super) fn next_to_seed(&self, is_newer: impl Fn(&BuildNotice) -> bool) -> Option<BuildNotice> {
        let here = self.jobs.values().filter(|job| matches!(job.stage, Stage::Here(_)));
        let next = here.min_by_key(|job| (!is_newer(&job.message.delivery.notice), job.number));
        next.map(|job| job.message.delivery.notice.clone())
    }

    /// What is here of it.
    pub(super) fn take_pulled(&mut self, notice: &BuildNotice) -> Option<Pulled> {
        let job = self.jobs.get_mut(&key(notice))?;
        match std::mem::replace(&mut job.stage, Stage::Leaving) {
            Stage::Here(pulled) => Some(*pulled),
            other => {
                job.stage = other;
                None
            }
        }
    }

    /// It is seeded: the message to be told. If another one came meanwhile, that one's way begins.
    pub(super) fn finish(&mut self, notice: &BuildNotice) -> Option<Delivery> {
        let job = self.jobs.remove(&key(notice))?;
        if let Some(newer) = job.newer {
            self.take(newer);
        }
        Some(job.message.delivery)
    }

    /// It cannot be seeded: the message that is to go back. If another one came meanwhile, that one's way begins.
    pub(super) fn remove(&mut self, notice: &BuildNotice) -> Option<Delivery> {
        self.finish(notice)
    }

    /// How long the oldest has waited.
    pub(super) fn oldest_wait(&self, now: Instant) -> Duration {
        let waits = self
            .jobs
            .values()
            .map(|job| now.saturating_duration_since(job.taken_at));
        waits.max().unwrap_or_default()
    }

    /// All messages.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Delivery> + use<> {
        let jobs = std::mem::take(&mut self.jobs).into_values();
        jobs.flat_map(|job| std::iter::once(job.message).chain(job.newer))
            .map(|taken| taken.delivery)
    }
}

fn key(notice: &BuildNotice) -> (String, String) {
    (notice.bucket.clone(), notice.key.clone())
}

/// A swarm that was ended has let go of its files after this.
const SWARM_ENDS: Duration = Duration::from_millis(200);
/// Builds that are pulled at a time …
const PULLS_MAX: usize = 16;
/// … and so many more of those that come with a single GET.
const SMALL_PULLS_MAX: usize = 16;
/// Bytes of such a build at most.
const SMALL: u64 = 8 << 20;
/// Builds that are here and wait for a place among the seeded ones: the spool is not filled with what nobody can have yet.
const HERE_MAX: usize = 16;
/// Of so many one is the oldest and not the smallest.
const EVERY: u64 = 4;
