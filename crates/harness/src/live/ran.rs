//! What a live run hands to who asked for it, whether it has something to report or has failed.

use std::time::Instant;

use cloud::EmbeddedCloud;
use explain::{Records, Sample};
use scenario::{Facts, RunOutcome, Stop};

use super::timeline::{Known, Timeline};
use super::{Run, RunError, SUCCEEDED};
use crate::machine;

/// What a run has come to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) outcome: RunOutcome,
    pub(crate) records: Option<Records>,
    /// None where no host was to be started.
    pub(crate) timeline: Option<Timeline>,
}

impl Ran {
    /// No host was started.
    pub(super) const fn nothing(outcome: RunOutcome) -> Self {
        Self {
            outcome,
            records: None,
            timeline: None,
        }
    }
}

/// A run that has failed, and how far it came.
#[derive(Debug)]
pub(crate) struct NotRan {
    pub(crate) error: RunError,
    /// None where nothing was begun yet.
    pub(crate) timeline: Option<Box<Timeline>>,
}

impl<E> From<E> for NotRan
where
    RunError: From<E>,
{
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            timeline: None,
        }
    }
}

/// How the work of a run has ended.
pub(super) struct Ended {
    pub(super) went: Result<(), RunError>,
    pub(super) stopped: Option<Stop>,
    /// Of what was recorded.
    pub(super) sample: Option<Sample>,
    pub(super) embedded: Option<EmbeddedCloud>,
    pub(super) started: Instant,
}

impl Ended {
    /// Ends the members, and puts together what is known of them.
    pub(super) async fn concluded(self, mut run: Run<'_>) -> Result<Ran, NotRan> {
        let finished = run.finish().await;
        let went = match self.went {
            // What the others have measured is there.
            Err(RunError::WorkerSaid { name, message }) if run.is_partial() => {
                run.note_loss(&name, &message);
                Ok(())
            }
            went => went,
        };
        let mut failure = went.and(finished).err();
        let records = self.sample.map(|sample| run.records(sample, self.stopped));
        let mut outcome = RunOutcome {
            hosts: run.result.outcomes,
            regions: run.regions,
            protocol: run.result.protocol,
            faults: run.result.faults,
            banned: run.result.banned,
            deadline: run.deadline,
            stopped: self.stopped,
            facts: Facts::Live(Box::default()),
        };
        let mut live = run.live;
        if let Some(stages) = &mut live.stages {
            stages.note_hosts(&outcome.hosts);
        }
        live.rows_unprocessed = run.result.rows_unprocessed;
        live.rows_failed = run.result.rows_failed;
        if failure.is_none() {
            match run
                .cloud
                .deployment_logs()
                .count_by_status(&run.scenario.build.id)
                .await
            {
                Ok(rows) => {
                    live.log_rows = rows.get(SUCCEEDED).copied().unwrap_or_default();
                    live.failure_rows = rows.values().sum::<u64>() - live.log_rows;
                }
                Err(error) => failure = Some(error.into()),
            }
        }
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
        live.wall = self.started.elapsed();
        live.cpu_seconds += machine::cpu_seconds();
        live.peak_rss_bytes += machine::peak_rss_bytes();
        let known = Known {
            scenario: run.scenario,
            plans: &run.plans,
            times: &run.times,
            outcome: &outcome,
            live: &live,
        };
        let timeline = Timeline::of(&known, run.clock);
        if let Some(error) = failure {
            let timeline = Some(Box::new(timeline.failed(&error)));
            return Err(NotRan { error, timeline });
        }
        outcome.facts = Facts::Live(Box::new(live));
        Ok(Ran {
            outcome,
            records,
            timeline: Some(timeline),
        })
    }
}
