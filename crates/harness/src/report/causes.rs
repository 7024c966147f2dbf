//! Why the last hosts were late, by what was recorded of the run.

use explain::{Reasons, Records};
use scenario::Slack;
use serde::Serialize;

use super::flows::flows;
use super::stretch::LIVE_SLACK;
use super::{Report, round};

/// What made the slowest hosts of a region late.
#[derive(Debug, Serialize)]
pub(super) struct RegionCauses {
    pub(super) region: String,
    /// Hosts that were looked at: the last hundredth of them.
    pub(super) hosts: u32,
    pub(super) cause: &'static str,
    /// Of how many of them it is the main one.
    pub(super) main_of: u32,
    /// Part of their time beyond their bounds.
    pub(super) share: f64,
}

impl Report {
    /// Adds why the last hosts of each region were late, and what passed over time.
    pub(crate) fn explain(&mut self, records: &Records) {
        self.flows = flows(records);
        let reasons = Reasons::new(records, slack(records));
        self.last_hosts = reasons.sentences(LAST_HOSTS);
        let regions = records.scenario.regions.iter().enumerate();
        let causes = regions.flat_map(|(index, region)| {
            let slowest = reasons.slowest(index);
            slowest.into_iter().flat_map(|slowest| {
                let main_of = |cause| {
                    slowest
                        .causes
                        .iter()
                        .find(|(of, _)| *of == cause)
                        .map_or(0, |(_, hosts)| *hosts)
                };
                let of_cause = |(cause, share): &(explain::Cause, f64)| RegionCauses {
                    region: region.name.clone(),
                    hosts: slowest.hosts,
                    cause: cause.word(),
                    main_of: main_of(*cause),
                    share: round(*share),
                };
                slowest.time.iter().map(of_cause).collect::<Vec<_>>()
            })
        });
        self.causes = causes.collect();
    }

    /// Why the machine is to blame for what hosts waited for, where it is.
    pub(crate) fn machine_was_busy(&self) -> Option<String> {
        self.limited_because.clone().filter(|_| self.limited_by == "machine")
    }
}

/// How far the links of a run were ahead of their rates.
pub(crate) fn slack(records: &Records) -> Slack {
    if records.facts.is_live {
        LIVE_SLACK
    } else {
        Slack::default()
    }
}

/// Hosts of each region that are told of in a report.
const LAST_HOSTS: usize = 3;
