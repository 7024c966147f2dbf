//! Questions to a run's records.

use std::collections::BTreeMap;

use scenario::Slack;
use serde::Serialize;
use swarm::lower_bound::Bounds;

use crate::cause::Cause;
use crate::links::{View, as_ticks};
use crate::records::{Records, State};
use crate::verdict::{Verdict, beyond};

/// Answers from a run's records.
pub struct Reasons<'a> {
    records: &'a Records,
    regions: Vec<OfRegion<'a>>,
}

struct OfRegion<'a> {
    view: View<'a>,
    bounds: Option<Bounds>,
    /// Hosts in the order in which they were done, those that were not at the end; hosts of which nothing is expected are not among
    /// them.
    order: Vec<u32>,
}

/// A host of the last, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastHost {
    /// Name of its region.
    pub region: String,
    /// Its name.
    pub host: String,
    /// What made it late, as a word.
    pub cause: &'static str,
    /// The same as a sentence.
    pub sentence: String,
}

/// What made the slowest hosts of a region late.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    /// Hosts that were looked at: the last hundredth, and one at least; of very many some, evenly.
    pub hosts: u32,
    /// Of each cause that is the main one of some of them: how many. The most first.
    pub causes: Vec<(Cause, u32)>,
    /// Part of their time beyond their bounds that each cause took, the most first; of all their time where links are not limited.
    pub time: Vec<(Cause, f64)>,
}

impl<'a> Reasons<'a> {
    /// Of a run whose links were ahead of their rates by `slack`.
    pub fn new(records: &'a Records, slack: Slack) -> Self {
        let count = records.regions.len().min(records.scenario.regions.len());
        let regions = (0..count).map(|region| {
            let view = View::new(records, region);
            let bounds = records
                .scenario
                .bounds(&view.plan, slack)
                .filter(|bounds| bounds.expected() > 0);
            let order = order(&view);
            OfRegion { view, bounds, order }
        });
        Self {
            records,
            regions: regions.collect(),
        }
    }

    /// What was recorded.
    pub const fn records(&self) -> &'a Records {
        self.records
    }

    /// The last hosts of a region by its index, the very last first; those that are not done before them.
    pub fn last(&self, region: usize, count: usize) -> Vec<u32> {
        self.regions
            .get(region)
            .map_or_else(Vec::new, |of| of.order.iter().rev().take(count).copied().collect())
    }

    /// The last host of all, by region and index: of those that are not done where there are some, else the last that was. None where
    /// nothing is expected of any.
    pub fn last_of_all(&self) -> Option<(usize, u32)> {
        let lasts = self
            .regions
            .iter()
            .enumerate()
            .filter_map(|(region, of)| Some((region, *of.order.last()?)));
        lasts.max_by_key(|(region, host)| ended_at(&self.regions[*region].view, *host))
    }

    /// A host by its name, as region and index.
    pub fn named(&self, name: &str) -> Option<(usize, u32)> {
        self.records
            .scenario
            .regions
            .iter()
            .enumerate()
            .find_map(|(region, shape)| {
                let index = name.strip_prefix(&shape.name)?.strip_prefix('-')?.parse().ok()?;
                (index < shape.hosts && shape.host_name(index) == name).then_some((region, index))
            })
    }

    /// Why this host had the build when it had it. None where there is no such host.
    pub fn why(&self, region: usize, host: u32) -> Option<Verdict> {
        let of = self.regions.get(region)?;
        if host as usize >= of.view.of_region().hosts.len().min(of.view.plan.hosts.len()) {
            return None;
        }
        let rank = of.order.iter().position(|other| *other == host);
        let bound = of.bounds.as_ref().map(|bounds| {
            let of_rank = rank.map(|rank| bounds.of_rank(rank + 1)).unwrap_or_default();
            as_ticks(bounds.of_host(host as usize).max(of_rank))
        });
        let is_last = self.last_of_all() == Some((region, host));
        let rows_after = self.records.facts.rows_after.filter(|_| is_last).unwrap_or_default();
        Some(Verdict::new(&of.view, host, bound, rows_after))
    }

    /// The last hosts of each region in one sentence each.
    pub fn sentences(&self, count: usize) -> Vec<LastHost> {
        let regions = 0..self.regions.len();
        let lasts = regions.flat_map(|region| self.last(region, count).into_iter().map(move |host| (region, host)));
        let told = lasts.filter_map(|(region, host)| {
            let verdict = self.why(region, host)?;
            let shape = &self.records.scenario.regions[region];
            Some(LastHost {
                region: shape.name.clone(),
                host: shape.host_name(host),
                cause: verdict.main.word(),
                sentence: self.sentence(region, &verdict),
            })
        });
        told.collect()
    }

    /// What made the slowest hosts of a region late. None where nothing is expected of any.
    pub fn slowest(&self, region: usize) -> Option<Shares> {
        let order = &self.regions.get(region)?.order;
        let count = order.len().div_ceil(100);
        let looked_at = order[order.len() - count..]
            .iter()
            .rev()
            .step_by(count.div_ceil(LOOKED_AT_MAX).max(1));
        let mut causes: BTreeMap<Cause, u32> = BTreeMap::new();
        let mut time: BTreeMap<Cause, i64> = BTreeMap::new();
        let mut hosts = 0;
        for host in looked_at {
            let verdict = self.why(region, *host)?;
            hosts += 1;
            *causes.entry(verdict.main).or_default() += 1;
            let spent = verdict.shares.iter().copied().collect();
            for (cause, ticks) in beyond(&spent, verdict.bound.unwrap_or_default()) {
                *time.entry(cause).or_default() += ticks;
            }
        }
        let all = time.values().sum::<i64>().max(1);
        let mut causes: Vec<(Cause, u32)> = causes.into_iter().collect();
        causes.sort_by_key(|(cause, count)| (std::cmp::Reverse(*count), *cause));
        let mut time: Vec<(Cause, f64)> = time
            .into_iter()
            .filter(|(_, ticks)| *ticks > 0)
            .map(|(cause, ticks)| (cause, ticks as f64 / all as f64))
            .collect();
        time.sort_by(|a, b| b.1.total_cmp(&a.1));
        (hosts > 0).then_some(Shares { hosts, causes, time })
    }

    pub(crate) fn view(&self, region: usize) -> &View<'a> {
        &self.regions[region].view
    }
}

fn order(view: &View<'_>) -> Vec<u32> {
    let hosts = (0..view.hosts()).filter(|host| view.plan.hosts[*host as usize].is_required());
    let mut order: Vec<u32> = hosts
        .filter(|host| (*host as usize) < view.of_region().hosts.len())
        .collect();
    order.sort_by_key(|host| (ended_at(view, *host), *host));
    order
}

/// Ticks; of who is not done later than of anybody who is.
fn ended_at(view: &View<'_>, host: u32) -> i64 {
    match &view.of_region().hosts[host as usize] {
        record if record.state == State::Verified && record.done != 0 => record.done.into(),
        _ => i64::MAX,
    }
}

/// Hosts of the slowest hundredth that are looked at, at most: of 20,000 hosts all of it.
const LOOKED_AT_MAX: usize = 200;
