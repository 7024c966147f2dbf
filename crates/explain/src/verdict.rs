//! Of a path: what it was spent on, and what made the host late.

use std::collections::BTreeMap;

use scenario::Serves;

use crate::cause::Cause;
use crate::links::{View, as_ticks};
use crate::path::{Path, Step, path};
use crate::records::{Member, State};

/// Why a host had the build when it had it, or has not got it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Its index in the region.
    pub host: u32,
    /// How it ended.
    pub state: State,
    /// From when the build was in the bucket until it had it, or the run ended; ticks.
    pub total: i64,
    /// What no schedule beats, counted likewise; none where links are not limited.
    pub bound: Option<i64>,
    /// What its path was spent on, the most first; ticks.
    pub shares: Vec<(Cause, i64)>,
    /// What made it late: what most of the time beyond its bound was spent on. Where it was hardly later than that, what most of its
    /// time was.
    pub main: Cause,
    /// What of [`Verdict::main`] is beyond the bound; all of it where the host was hardly later.
    pub main_ticks: i64,
    /// For whom it, or who it waited for, waited most so.
    pub with: Option<Member>,
    /// Who waited most so: a host's index.
    pub who: u32,
    /// The path.
    pub path: Path,
}

impl Verdict {
    /// Of a host that is the `rank`-th of its region; `rows_after` is how long its row took, where that is known.
    pub(crate) fn new(view: &View<'_>, host: u32, bound: Option<i64>, rows_after: i64) -> Self {
        let mut path = path(view, host);
        let record = &view.of_region().hosts[host as usize];
        let facts = &view.records.facts;
        let bound = bound.map(|bound| {
            let came = view.plan.hosts[host as usize].join_at.map_or(0, as_ticks);
            bound + came
        });
        let total = path.ticks();
        if rows_after > 0
            && let Some(end) = path.steps.last().map(|step| step.to)
        {
            let to = end + rows_after;
            path.steps.push(Step {
                from: end,
                to,
                host,
                with: None,
                chunk: None,
                cause: Cause::Log,
            });
        }
        let shares = shares(&path);
        let late = beyond(&shares, bound.unwrap_or_default());
        // What is left may be more than that: a bound is not made of waiting alone.
        let lateness = bound.map_or(total, |bound| (total - bound).max(0)) + rows_after.max(0);
        let is_late = bound.is_none() || lateness * 100 > total * LATE_PERCENT;
        let machine = facts.machine.is_some() && is_late && record.state == State::Verified;
        let of = if is_late && lateness > 0 { &late } else { &shares };
        let known = of.iter().filter(|(cause, _)| **cause != Cause::Unrecorded);
        let most = known
            .max_by_key(|(_, ticks)| **ticks)
            .map(|(cause, ticks)| (*cause, *ticks));
        let planned = |cause: Cause| is_planned(view, cause, whom(&path, cause, host));
        let (main, main_ticks) = match most {
            Some((cause, _)) if machine && cause.is_of_a_machine() && !planned(cause) => (Cause::Machine, lateness),
            Some(most) => most,
            None => (Cause::Unrecorded, total),
        };
        let (who, with) = whom(&path, main, host);
        let mut shares: Vec<(Cause, i64)> = shares.into_iter().collect();
        shares.sort_by_key(|(cause, ticks)| (-ticks, *cause));
        Self {
            host,
            state: record.state,
            total,
            bound,
            shares,
            main,
            main_ticks,
            with,
            who,
            path,
        }
    }

    /// How much later than its bound, in ticks; none where there is none.
    pub fn lateness(&self) -> Option<i64> {
        self.bound.map(|bound| (self.total - bound).max(0))
    }

    /// Part of its time that was spent on a cause.
    pub fn part(&self, cause: Cause) -> f64 {
        let all: i64 = self.shares.iter().map(|(_, ticks)| ticks).sum();
        let own = self.shares.iter().find(|(other, _)| *other == cause);
        own.map_or(0.0, |(_, ticks)| *ticks as f64 / all.max(1) as f64)
    }
}

/// What a path was spent on. While a host received chunks that are not recorded it waited for what it waits for with those that are.
fn shares(path: &Path) -> BTreeMap<Cause, i64> {
    let mut of_hosts: BTreeMap<u32, BTreeMap<Cause, i64>> = BTreeMap::new();
    for step in &path.steps {
        *of_hosts.entry(step.host).or_default().entry(step.cause).or_default() += step.to - step.from;
    }
    let mut shares: BTreeMap<Cause, i64> = BTreeMap::new();
    for mut spent in of_hosts.into_values() {
        let others = |cause: &Cause| cause.is_of_a_chunk();
        let known: i64 = spent
            .iter()
            .filter(|(cause, _)| others(cause))
            .map(|(_, ticks)| ticks)
            .sum();
        if let Some(unrecorded) = spent.get(&Cause::Unrecorded).copied().filter(|_| known > 0) {
            let mut left = unrecorded;
            for (_, ticks) in spent.iter_mut().filter(|(cause, _)| others(cause)) {
                let own = (i128::from(unrecorded) * i128::from(*ticks) / i128::from(known)) as i64;
                *ticks += own;
                left -= own;
            }
            spent.insert(Cause::Unrecorded, left);
        }
        for (cause, ticks) in spent.into_iter().filter(|(_, ticks)| *ticks > 0) {
            *shares.entry(cause).or_default() += ticks;
        }
    }
    shares
}

/// What is left where a bound is taken from what it is made of: links that did what they can, and then the way of messages.
pub(crate) fn beyond(shares: &BTreeMap<Cause, i64>, bound: i64) -> BTreeMap<Cause, i64> {
    let mut left = bound.max(0);
    let mut beyond = shares.clone();
    let in_bound = Cause::ALL.into_iter().filter(|cause| cause.is_in_bound());
    for cause in in_bound.chain([Cause::Unrecorded, Cause::Queue, Cause::Messages]) {
        if let Some(ticks) = beyond.get_mut(&cause) {
            let taken = left.min(*ticks);
            *ticks -= taken;
            left -= taken;
        }
    }
    beyond
}

/// Whether the scenario itself has this happen, so that a machine which was busy too is not to blame: a small window or few slots that it sets, a
/// class of slower links, hosts that do not serve.
fn is_planned(view: &View<'_>, cause: Cause, (who, with): (u32, Option<Member>)) -> bool {
    let swarm = &view.scenario().swarm;
    let plan = |host: u32| view.plan.hosts.get(host as usize);
    let with = with.and_then(|with| with.host_index(view.hosts())).and_then(plan);
    match cause {
        Cause::Window => swarm.chunks_in_flight.is_some(),
        Cause::SeederSlots => swarm.seeder_slots.is_some(),
        Cause::SharedLink => true,
        Cause::OwnLink => plan(who).is_some_and(|host| host.class.is_some()),
        Cause::SenderLink => with.is_some_and(|host| host.class.is_some()),
        Cause::Silence | Cause::Refused => with.is_some_and(|host| {
            let is_disturbed = view
                .plan
                .disturbances
                .iter()
                .any(|disturbance| disturbance.host == host.index);
            host.serves != Serves::Honest || host.leave_at.is_some() || is_disturbed
        }),
        _ => false,
    }
}

/// A host that is later than its bound by no more than this part of its time is hardly later: no schedule is without waiting.
const LATE_PERCENT: i64 = 15;

/// Who waited longest for what was the matter, and for whom.
fn whom(path: &Path, main: Cause, host: u32) -> (u32, Option<Member>) {
    let mut waited: BTreeMap<(u32, Option<Member>), i64> = BTreeMap::new();
    for step in path.steps.iter().filter(|step| step.cause == main) {
        *waited.entry((step.host, step.with)).or_default() += step.to - step.from;
    }
    let most = waited.into_iter().max_by_key(|(_, ticks)| *ticks);
    most.map_or((host, None), |(of, _)| of)
}
