//! Whether a seeder hears of what comes into its region's bucket. A queue gives each message to one listener, so of two seeders on one queue
//! each hears of about half of the builds, and both are content with that. Here the bucket is looked at beside the queue: a build that has
//! come there, and of which no message has told for minutes, is told of.
//!
//! Invariant: times of the service and of this machine are not compared. A build has come between the look that saw it first and the look
//! before; what was heard of its key from that look before on is its message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud::{BUILD_SUFFIXES, Buckets};
use parking_lot::Mutex;

/// What was heard, and what there is. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Hearing(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// By key: when a message last told of it.
    heard: BTreeMap<String, Instant>,
    /// The build that was changed last, and when this was asked.
    looked: Option<(Option<(String, i64)>, Instant)>,
    /// Builds that have come and were not heard of yet.
    awaited: Vec<Awaited>,
}

#[derive(Debug)]
struct Awaited {
    key: String,
    /// It was there at this time, and the queue has answered since.
    since: Instant,
    is_told: bool,
}

/// How often the bucket is looked at, and how long a message may take.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// Between two looks.
    pub every: Duration,
    /// From when a build is seen until it counts as one that was not told of.
    pub patience: Duration,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(60),
            patience: Duration::from_secs(180),
        }
    }
}

impl Hearing {
    /// A message tells of `key`.
    pub fn heard(&self, key: &str) {
        self.0.lock().heard(key, Instant::now());
    }

    /// Builds in the bucket of which this seeder was told nothing in time.
    pub fn unheard(&self) -> Vec<String> {
        let state = self.0.lock();
        let told = state.awaited.iter().filter(|awaited| awaited.is_told);
        told.map(|awaited| awaited.key.clone()).collect()
    }

    /// Looks at `bucket` again and again, and says it once of each build that `queue` has not told of. `answers` says whether the queue
    /// does. Ends where the bucket may not be looked at.
    pub async fn watch(
        self,
        buckets: Buckets,
        (bucket, queue): (String, String),
        looks: Looks,
        answers: impl Fn() -> bool,
    ) {
        loop {
            // Of before it was asked: what comes while it answers may be heard of before the answer is here.
            let asked = Instant::now();
            match buckets.last_changed(&bucket, BUILD_SUFFIXES).await {
                Ok(newest) => {
                    let new = self.0.lock().look(newest, answers(), looks.patience, asked);
                    for build in new {
                        tracing::error!(
                            queue,
                            build,
                            bucket,
                            metric = "builds_unheard",
                            "a build has come into the bucket and the queue has told nothing of it: another seeder takes its messages, and each \
                             hears of a part of the builds, or the bucket does not tell this queue; expected a queue for each \
                             seeder (seeders_per_region)"
                        );
                    }
                }
                Err(error) if error.is_retryable() => {
                    tracing::debug!(bucket, %error, "the bucket cannot be looked at now")
                }
                Err(error) => {
                    tracing::warn!(bucket, %error, "the bucket may not be looked at, so a build that the queue does not tell of is not noticed");
                    return;
                }
            }
            tokio::time::sleep(looks.every).await;
        }
    }
}

impl State {
    fn heard(&mut self, key: &str, now: Instant) {
        self.heard.insert(key.to_owned(), now);
        self.awaited.retain(|awaited| awaited.key != key);
    }

    /// The builds that are given up now, of what was there at `now`.
    fn look(&mut self, newest: Option<(String, i64)>, answers: bool, patience: Duration, now: Instant) -> Vec<String> {
        // What was there when this began came before.
        let before = self.looked.replace((newest.clone(), now));
        let (before, looked_at) = before.unwrap_or_else(|| (newest.clone(), now));
        // Where the newest was deleted the one before it is no news.
        let changed = |build: &Option<(String, i64)>| build.as_ref().map(|(_, at)| *at);
        let has_come = newest != before && changed(&newest) >= changed(&before);
        if let Some((key, _)) = newest.filter(|_| has_come)
            && self.heard.get(&key).is_none_or(|at| *at < looked_at)
            && self.awaited.len() < AWAITED_MAX
        {
            self.awaited.retain(|awaited| awaited.key != key);
            self.awaited.push(Awaited {
                key,
                since: now,
                is_told: false,
            });
        }
        self.awaited
            .retain(|awaited| !awaited.is_told || now.saturating_duration_since(awaited.since) < TOLD_KEPT);
        self.heard
            .retain(|_, at| now.saturating_duration_since(*at) < HEARD_KEPT);
        let mut new = Vec::new();
        for awaited in self.awaited.iter_mut().filter(|awaited| !awaited.is_told) {
            if !answers {
                // A queue that does not answer is told of already.
                awaited.since = now;
            }
            if now.saturating_duration_since(awaited.since) >= patience {
                awaited.is_told = true;
                new.push(awaited.key.clone());
            }
        }
        new
    }
}

/// Builds that are awaited at a time: the first few say what is wrong.
const AWAITED_MAX: usize = 64;
/// A build that was told of counts for a day: it may be gone by then, or the other seeder.
const TOLD_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Longer than a look takes, by far.
const HEARD_KEPT: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(180);

    fn build(key: &str, changed: i64) -> Option<(String, i64)> {
        Some((key.to_owned(), changed))
    }

    #[test]
    fn a_build_that_no_message_tells_of_is_told_once_and_one_that_comes_late_is_forgotten() {
        let (mut state, begun) = (State::default(), Instant::now());
        let at = |minute: u64| begun + Duration::from_secs(60 * minute);
        let none: [String; 0] = [];
        // What was there before is somebody's who was here before.
        for minute in 0..10 {
            assert_eq!(state.look(build("old.zip", 1), true, PATIENCE, at(minute)), none);
        }
        state.look(build("a.zip", 2), true, PATIENCE, at(10));
        assert_eq!(state.look(build("a.zip", 2), true, PATIENCE, at(12)), none);
        assert_eq!(state.look(build("a.zip", 2), true, PATIENCE, at(13)), ["a.zip"]);
        assert_eq!(state.look(build("a.zip", 2), true, PATIENCE, at(14)), none);
        assert_eq!(state.awaited.len(), 1);
        state.heard("a.zip", at(15));
        assert!(state.awaited.is_empty());
    }

    #[test]
    fn a_message_counts_for_the_version_that_came_with_it_and_not_for_a_later_one() {
        let (mut state, begun) = (State::default(), Instant::now());
        let at = |minute: u64| begun + Duration::from_secs(60 * minute);
        let none: [String; 0] = [];
        state.look(None, true, PATIENCE, at(0));
        // Heard of before the bucket was looked at again, and after.
        state.heard("a.zip", at(1));
        state.look(build("a.zip", 1), true, PATIENCE, at(2));
        state.look(build("b.zip", 2), true, PATIENCE, at(3));
        state.heard("b.zip", at(4));
        assert!(state.awaited.is_empty());
        assert_eq!(state.look(build("b.zip", 2), true, PATIENCE, at(9)), none);
        // The next version of a key, of which the old message says nothing.
        state.look(build("b.zip", 3), true, PATIENCE, at(10));
        assert_eq!(state.look(build("b.zip", 3), true, PATIENCE, at(13)), ["b.zip"]);
    }

    #[test]
    fn a_build_that_was_there_before_is_no_news_when_a_newer_one_is_deleted() {
        let (mut state, begun) = (State::default(), Instant::now());
        let at = |minute: u64| begun + Duration::from_secs(60 * minute);
        let none: [String; 0] = [];
        state.look(build("a.zip", 1), true, PATIENCE, at(0));
        state.heard("b.zip", at(1));
        state.look(build("b.zip", 2), true, PATIENCE, at(2));
        for minute in 3..9 {
            assert_eq!(state.look(build("a.zip", 1), true, PATIENCE, at(minute)), none);
        }
        assert!(state.awaited.is_empty());
    }

    #[test]
    fn what_was_told_counts_for_a_day() {
        let (mut state, begun) = (State::default(), Instant::now());
        let at = |hour: u64| begun + Duration::from_secs(3600 * hour);
        state.look(None, true, PATIENCE, at(0));
        state.look(build("a.zip", 1), true, PATIENCE, at(1));
        for (hour, awaited) in [(2, 1), (24, 1), (25, 0)] {
            state.look(build("a.zip", 1), true, PATIENCE, at(hour));
            assert_eq!(state.awaited.len(), awaited, "after {hour} h");
        }
    }

    #[test]
    fn while_the_queue_does_not_answer_nothing_is_held_against_it() {
        let (mut state, begun) = (State::default(), Instant::now());
        let at = |minute: u64| begun + Duration::from_secs(60 * minute);
        let none: [String; 0] = [];
        state.look(None, true, PATIENCE, at(0));
        for minute in 1..60 {
            assert_eq!(state.look(build("a.zip", 1), false, PATIENCE, at(minute)), none);
        }
        assert_eq!(state.look(build("a.zip", 1), true, PATIENCE, at(61)), none);
        assert_eq!(state.look(build("a.zip", 1), true, PATIENCE, at(62)), ["a.zip"]);
    }
}
