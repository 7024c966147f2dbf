//! What passed at the cores of a run's hosts, from the processes that ran them to one set of records.

use std::collections::HashMap;

use explain::{HostRecord, Recorder, Records, RegionRecords, RunFacts, Sample, TICK_NANOS, ticks};
use peer::NodeIdentity;
use scenario::{HostOutcome, HostState, RegionPlan, Scenario, Stop};
use serde::{Deserialize, Serialize};
use swarm::Time;

use super::clocks::ClockLine;

/// What was recorded of a host. It names members as [`Recorder::named`] does, since only the parent knows who is who.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RecordedHost {
    region: usize,
    host: u32,
    record: String,
    error: Option<String>,
}

impl RecordedHost {
    /// Of a host that came at `came_at`, where it was not there from the beginning, and had the build at `complete_at`.
    pub(super) fn new(
        recorder: &Recorder,
        outcome: &HostOutcome,
        came_at: Option<Time>,
        complete_at: Option<Time>,
    ) -> Self {
        let done = complete_at.filter(|_| outcome.state == HostState::Verified);
        let record = HostRecord {
            state: (&outcome.state).into(),
            started: came_at.map_or(0, ticks),
            done: done.map_or(0, ticks),
            ..recorder.record(0)
        };
        Self {
            region: outcome.region,
            host: outcome.host,
            record: record.to_text(),
            error: match &outcome.state {
                HostState::Failed(error) => Some(error.clone()),
                HostState::Verified | HostState::Pending | HostState::Lost | HostState::Excused => None,
            },
        }
    }
}

impl RecordedHost {
    /// Maps its times to the run's clock.
    pub(super) fn map_to_run(&mut self, clock: ClockLine) {
        let Some(mut record) = HostRecord::from_text(&self.record) else {
            return;
        };
        // 0 is never, whatever the clock.
        let map = |tick: &mut u32| {
            if *tick != 0 {
                *tick = ticks(clock.to_run(Time::from_nanos(u64::from(*tick) * TICK_NANOS)));
            }
        };
        let HostRecord {
            started,
            learned,
            opened,
            complete,
            done,
            chunks,
            state: _,
        } = &mut record;
        [started, learned, opened, complete, done].into_iter().for_each(map);
        for chunk in chunks {
            map(&mut chunk.stored);
            for asked in &mut chunk.asked {
                map(&mut asked.at);
                map(&mut asked.began);
            }
        }
        self.record = record.to_text();
    }
}

/// What a run knows of its times.
#[derive(Clone, Debug, Default)]
pub(super) struct RunTimes {
    /// When its upload began.
    pub(super) upload_began: Option<Time>,
    /// When it was in the global bucket.
    pub(super) uploaded: Option<Time>,
    /// When the build was complete in each region's bucket.
    pub(super) complete_at: Option<Vec<Time>>,
    /// When the seeders of each region could send.
    pub(super) seeding_at: Vec<Option<Time>>,
    /// When the hosts were ended.
    pub(super) ended_at: Time,
    /// How long the table took to have the last row.
    pub(super) rows_after: std::time::Duration,
}

/// The chunks that are recorded of a run.
pub(super) fn sample(scenario: &Scenario) -> Sample {
    let chunks = scenario.build_size().get().div_ceil(scenario.chunk_size().into());
    Sample::new(scenario.host_count().into(), u32::try_from(chunks).unwrap_or(u32::MAX))
}

/// Puts together what all processes have recorded. Hosts of a process that was lost are as if nothing had happened at them.
pub(super) fn records(
    scenario: &Scenario,
    plans: &[RegionPlan],
    (sample, hosts): (Sample, &[RecordedHost]),
    times: &RunTimes,
    stopped: Option<Stop>,
) -> Records {
    let at = |time: Time| i64::from(ticks(time));
    let region = |(index, plan): (usize, &RegionPlan)| RegionRecords {
        complete_at: times.complete_at.as_ref().and_then(|at| at.get(index)).copied().map(at),
        seeding_at: times.seeding_at.get(index).copied().flatten().map(at),
        ended_at: at(times.ended_at),
        hosts: vec![HostRecord::default(); plan.hosts.len()],
    };
    let mut regions: Vec<RegionRecords> = plans.iter().enumerate().map(region).collect();
    let numbers: Vec<HashMap<u32, Option<u32>>> = plans.iter().map(numbers).collect();
    let mut errors = Vec::new();
    for recorded in hosts {
        let slot = regions
            .get_mut(recorded.region)
            .and_then(|region| region.hosts.get_mut(recorded.host as usize));
        let (Some(slot), Some(mut record)) = (slot, HostRecord::from_text(&recorded.record)) else {
            continue;
        };
        let known = &numbers[recorded.region];
        record.renumber(|named| known.get(&named).copied().flatten());
        *slot = record;
        if let Some(error) = recorded.error.as_ref().filter(|_| errors.len() < ERRORS_MAX) {
            errors.push((recorded.region, recorded.host, error.clone()));
        }
    }
    Records {
        scenario: scenario.clone(),
        facts: RunFacts {
            is_live: true,
            stopped: stopped.map(|_| "stopped".to_owned()),
            machine: None,
            rows_after: Some(at(Time::ZERO + times.rows_after)),
            errors,
        },
        sample,
        regions,
    }
}

/// The numbers that the plan of a region has for its members, by what they are named by; none where two are named alike.
fn numbers(plan: &RegionPlan) -> HashMap<u32, Option<u32>> {
    let of_hosts = plan.hosts.iter().map(|host| host.id);
    let mut numbers = HashMap::new();
    for id in of_hosts.chain(plan.seeders.iter().map(|seeder| seeder.id)) {
        let named = Recorder::named(NodeIdentity::from_seed(plan.seed, id).host());
        numbers
            .entry(named)
            .and_modify(|number| *number = None)
            .or_insert_with(|| u32::try_from(id.get()).ok());
    }
    numbers
}

/// Reasons of hosts that gave up which are kept.
const ERRORS_MAX: usize = 100;
