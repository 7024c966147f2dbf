//! When the stages of a run's pipeline began and ended, from what the run knows at its end, well or not.
//!
//! A stage that had not ended when the run did ends with the run, and says what was missing.

use std::error::Error;
use std::time::{Duration, SystemTime};

use peer::Clock;
use scenario::{HostState, LiveFacts, RegionPlan, RunOutcome, Scenario};
use swarm::Time;

use super::recorded::RunTimes;
use crate::exit::chain;

/// The stages of a run.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    /// The build's key, and its bytes.
    pub(crate) build: (String, u64),
    pub(crate) scenario: String,
    pub(crate) seed: u64,
    /// From the upload on, or from the run's begin where nothing was uploaded.
    pub(crate) begins: SystemTime,
    pub(crate) ends: SystemTime,
    pub(crate) stages: Vec<Stage>,
    /// Why the whole of it did not end well, as a sentence.
    pub(crate) problem: Option<String>,
}

/// A part of the way from the upload to the last row.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// The same for each region.
    pub(crate) name: &'static str,
    pub(crate) region: Option<String>,
    pub(crate) begins: SystemTime,
    pub(crate) ends: SystemTime,
    /// What was counted, by its name.
    pub(crate) counts: Vec<(&'static str, u64)>,
    /// What was missing at its end, as a sentence.
    pub(crate) missing: Option<String>,
}

/// What a timeline is made of.
pub(super) struct Known<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) plans: &'a [RegionPlan],
    pub(super) times: &'a RunTimes,
    pub(super) outcome: &'a RunOutcome,
    pub(super) live: &'a LiveFacts,
}

impl Timeline {
    /// Of a run that has ended.
    pub(super) fn of(known: &Known<'_>, clock: Clock) -> Self {
        let now = SystemTime::now();
        let epoch = now - clock.now().since(Time::ZERO);
        let mut stages = Vec::new();
        if let Some(begins) = known.times.upload_began {
            stages.push(known.stage("upload", None, begins, known.times.uploaded));
            if let Some(uploaded) = known.times.uploaded {
                for region in 0..known.plans.len() {
                    known.of_region(region, (begins, uploaded), &mut stages);
                }
                stages.extend(known.rows());
            }
        }
        let on_the_clock = |stage: KnownStage| Stage {
            name: stage.name,
            region: stage.region,
            begins: epoch + stage.begins.since(Time::ZERO),
            ends: epoch + stage.ends.max(stage.begins).since(Time::ZERO),
            counts: stage.counts,
            missing: stage.missing,
        };
        let stages: Vec<Stage> = stages.into_iter().map(on_the_clock).collect();
        let missing = stages.iter().find_map(|stage| {
            let missing = stage.missing.as_ref()?;
            Some(format!("{}: {missing}", stage.name))
        });
        Self {
            begins: stages.iter().map(|stage| stage.begins).min().unwrap_or(epoch),
            ends: stages.iter().map(|stage| stage.ends).max().unwrap_or(now),
            problem: match stages.is_empty() {
                true => Some(NOTHING_UPLOADED.to_owned()),
                false => missing,
            },
            stages,
            ..Self::nothing(known.scenario, epoch)
        }
    }

    /// Of a run of which nothing is known but when it began.
    pub(crate) fn nothing(scenario: &Scenario, began: SystemTime) -> Self {
        Self {
            build: (scenario.build.id.clone(), scenario.build_size().get()),
            scenario: scenario.name.clone(),
            seed: scenario.seed,
            begins: began,
            ends: SystemTime::now().max(began),
            stages: Vec::new(),
            problem: Some(NOTHING_UPLOADED.to_owned()),
        }
    }

    /// The same, of a run that has failed.
    pub(crate) fn failed(self, error: &(dyn Error + 'static)) -> Self {
        Self {
            problem: Some(chain(error)),
            ..self
        }
    }
}

/// A stage by the run's clock.
struct KnownStage {
    name: &'static str,
    region: Option<String>,
    begins: Time,
    ends: Time,
    counts: Vec<(&'static str, u64)>,
    missing: Option<String>,
}

impl Known<'_> {
    fn stage(&self, name: &'static str, region: Option<usize>, begins: Time, ends: Option<Time>) -> KnownStage {
        KnownStage {
            name,
            region: region.map(|region| self.scenario.regions[region].name.clone()),
            begins,
            ends: ends.unwrap_or(self.times.ended_at),
            counts: Vec::new(),
            missing: ends.is_none().then(|| "the run ended first".to_owned()),
        }
    }

    /// Copy, pull and fan-out, as far as it came.
    fn of_region(&self, region: usize, (began, uploaded): (Time, Time), stages: &mut Vec<KnownStage>) {
        let copied = self.live.replicated_after.get(region).copied().flatten();
        let copied = copied.map(|after| began + after);
        stages.push(self.stage("copy", Some(region), uploaded, copied));
        let complete = self.times.complete_at.as_ref().and_then(|at| at.get(region)).copied();
        let Some(complete) = complete else {
            return;
        };
        let seeding = self.outcome.regions.get(region).and_then(|region| region.seeding_after);
        let seeding = seeding.map(|after| complete + after);
        stages.push(self.stage("pull", Some(region), complete, seeding));
        if let Some(seeding) = seeding {
            stages.push(self.fan_out(region, complete, seeding));
        }
    }

    fn fan_out(&self, region: usize, complete: Time, seeding: Time) -> KnownStage {
        let hosts = self.outcome.hosts.iter().filter(|host| host.region == region);
        let expected = hosts.filter(|host| host.state != HostState::Excused);
        let (mut verified, mut missing, mut last) = (0, 0, seeding);
        for host in expected {
            match self.done_at(host.region, host.host, host.verified_after, complete) {
                Some(at) => (verified, last) = (verified + 1, last.max(at)),
                None => missing += 1,
            }
        }
        let ends = (missing == 0).then_some(last);
        let mut stage = self.stage("fan-out", Some(region), seeding, ends);
        stage.missing = (missing > 0).then(|| format!("hosts without the build: {missing}"));
        stage.counts = vec![("hosts", verified + missing), ("hosts.verified", verified)];
        stage
    }

    /// When a host had the build. What its latency counts from is when it came, where it came later.
    fn done_at(&self, region: usize, host: u32, after: Option<Duration>, complete: Time) -> Option<Time> {
        let plan = self.plans.get(region)?.hosts.get(host as usize);
        let came = plan.and_then(|host| host.join_at).unwrap_or_default();
        Some(complete + came + after?)
    }

    /// From when the first host had the build until the last row was in the table.
    fn rows(&self) -> Option<KnownStage> {
        let complete = self.times.complete_at.as_ref()?;
        let done = self.outcome.hosts.iter().filter_map(|host| {
            let complete = *complete.get(host.region)?;
            self.done_at(host.region, host.host, host.verified_after, complete)
        });
        let first = done.min()?;
        let mut stage = self.stage(
            "log rows",
            None,
            first,
            Some(self.times.ended_at + self.times.rows_after),
        );
        let failed = self.live.rows_failed.len();
        stage.missing = (failed > 0).then(|| format!("{failed} rows were not written"));
        stage.counts = vec![("rows", self.live.log_rows)];
        Some(stage)
    }
}

const NOTHING_UPLOADED: &str = "the run ended before the build was uploaded";
