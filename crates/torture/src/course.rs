//! Plays many days over several threads. What comes of them does not depend on how many threads there are.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::class::Class;
use crate::day::{Day, Only};
use crate::draw::day;
use crate::play::{Played, play};
use crate::regressions::{Regression, regressions};
use crate::shrink::shrink;
use crate::summary::Summary;
use crate::trace::Trace;
use crate::verdict::{Invariant, Violation};

/// Which days are played.
#[derive(Clone, Debug)]
pub struct Course {
    /// Seeds.
    pub seeds: Range<u64>,
    /// The class of all days; where absent, seeds take the classes in turn.
    pub class: Option<Class>,
    /// Hosts of each day; as drawn where absent.
    pub hosts: Option<u32>,
    /// The part of each day that is played.
    pub only: Only,
    /// Whether days that once broke a promise come first.
    pub regressions: bool,
    /// Threads.
    pub jobs: usize,
    /// Plays that making a day smaller may take; 0 leaves it as it is.
    pub shrink_tries: u32,
}

/// What a day is drawn from: enough to play it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its class.
    pub class: Class,
    /// Its seed.
    pub seed: u64,
    /// Hosts, where they were said.
    pub hosts: Option<u32>,
    /// The part of it.
    pub only: Only,
}

impl Given {
    /// The day.
    pub fn day(&self) -> Day {
        day(self.class, self.seed, self.hosts).restricted(&self.only)
    }

    /// The command that plays it again with a readable log.
    pub fn command(&self) -> String {
        let seeds = format!("{}..{}", self.seed, self.seed.saturating_add(1));
        let hosts = self.hosts.map(|hosts| format!(" --hosts {hosts}")).unwrap_or_default();
        let only = if self.only.is_all() {
            String::new()
        } else {
            format!(" --only {}", self.only)
        };
        format!(
            "harness torture --class {} --seeds {seeds}{hosts}{only} --trace",
            self.class
        )
    }
}

impl From<&Regression> for Given {
    fn from(regression: &Regression) -> Self {
        Self {
            class: regression.class,
            seed: regression.seed,
            hosts: regression.hosts,
            only: regression.only.clone(),
        }
    }
}

/// A day that broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it is drawn from.
    pub given: Given,
    /// What was broken.
    pub broken: Violation,
    /// What was wrong with it before, where it is one of the days that are played first.
    pub was: Option<String>,
}

/// What is told while days are played, in the order of the days.
#[derive(Debug)]
pub enum Told<'a> {
    /// So many days of so many are played.
    Progress {
        /// Played.
        played: usize,
        /// Of how many.
        of: usize,
    },
    /// A day broke a promise.
    Failed(&'a Failure),
    /// A smaller day that breaks the same promise, told at the end for the first of each class and promise.
    Smaller(&'a Failure),
}

impl Course {
    fn days(&self) -> Vec<(Given, Option<String>)> {
        let known = if self.regressions { regressions() } else { Vec::new() };
        let known = known
            .into_iter()
            .filter(|day| self.class.is_none_or(|class| day.class == class));
        let known = known.map(|regression| (Given::from(&regression), Some(regression.reason)));
        let drawn = self.seeds.clone().map(|seed| {
            let turn = usize::try_from(seed).unwrap_or(0) % Class::ALL.len();
            let given = Given {
                class: self.class.unwrap_or(Class::ALL[turn]),
                seed,
                hosts: self.hosts,
                only: self.only.clone(),
            };
            (given, None)
        });
        known.chain(drawn).collect()
    }

    /// Plays all days, unless `stop` is set meanwhile: then what has been played by then counts.
    pub fn run(&self, stop: &AtomicBool, tell: &mut dyn FnMut(Told<'_>)) -> Summary {
        let days = self.days();
        let mut summary = Summary::default();
        let mut failures = Vec::new();
        let mut waiting: BTreeMap<usize, Played> = BTreeMap::new();
        let mut next = 0;
        let played = |index: usize| play(&days[index].0.day(), Trace::off());
        self.each(days.len(), stop, &played, &mut |index, played| {
            waiting.insert(index, played);
            while let Some(played) = waiting.remove(&next) {
                let (given, was) = &days[next];
                summary.add(given.class, &played);
                if let Some(broken) = played.broken {
                    let failure = Failure {
                        given: given.clone(),
                        broken,
                        was: was.clone(),
                    };
                    tell(Told::Failed(&failure));
                    failures.push(failure);
                }
                next += 1;
                tell(Told::Progress {
                    played: next,
                    of: days.len(),
                });
            }
        });
        summary.stopped = next < days.len();
        for smaller in self.smaller(stop, &failures) {
            tell(Told::Smaller(&smaller));
        }
        summary
    }

    /// The first failure of each class and promise, as small as it gets.
    fn smaller(&self, stop: &AtomicBool, failures: &[Failure]) -> Vec<Failure> {
        let mut firsts: BTreeMap<(Class, Invariant), &Failure> = BTreeMap::new();
        for failure in failures {
            firsts
                .entry((failure.given.class, failure.broken.invariant))
                .or_insert(failure);
        }
        let firsts: Vec<&Failure> = firsts.into_values().collect();
        if self.shrink_tries == 0 {
            return Vec::new();
        }
        let mut found: Vec<(usize, Failure)> = Vec::new();
        let smallest = |index: usize| {
            let failure: &Failure = firsts[index];
            let whole = Given {
                only: Only::default(),
                ..failure.given.clone()
            };
            let given_only = &failure.given.only;
            let (only, broken) = if given_only.is_all() {
                shrink(&whole.day(), &failure.broken, self.shrink_tries)
            } else {
                (given_only.clone(), failure.broken.clone())
            };
            Failure {
                given: Given { only, ..whole },
                broken,
                was: None,
            }
        };
        self.each(firsts.len(), stop, &smallest, &mut |index, smaller| {
            found.push((index, smaller))
        });
        found.sort_by_key(|(index, _)| *index);
        found.into_iter().map(|(_, smaller)| smaller).collect()
    }

    /// Does something for each of `count` numbers on as many threads as there are to be, and takes what comes of it.
    fn each<T: Send>(
        &self,
        count: usize,
        stop: &AtomicBool,
        of: &(dyn Fn(usize) -> T + Sync),
        take: &mut dyn FnMut(usize, T),
    ) {
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::sync_channel(BACKLOG);
        std::thread::scope(|threads| {
            for _ in 0..self.jobs.max(1) {
                let (sender, next) = (sender.clone(), &next);
                threads.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count || sender.send((index, of(index))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            for (index, value) in receiver {
                take(index, value);
            }
        });
    }
}

/// Days that are played and not yet told of.
const BACKLOG: usize = 1024;
