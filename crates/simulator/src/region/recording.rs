//! What passes at the border of the hosts' cores, for those who ask afterwards why a host was late.

use explain::{HostRecord, Recorder, RegionRecords, Sample, ticks};
use scenario::{HostState, RegionPlan};
use swarm::{Action, Event, Time};

use super::{HostResult, nanos};

/// What is recorded of a region's hosts; nothing where there is no recorder.
#[derive(Debug, Default)]
pub(super) struct Recording(Option<Recorder>);

impl Recording {
    pub(super) fn new(hosts: usize, sample: Option<&Sample>) -> Self {
        Self(sample.map(|sample| Recorder::new(sample.clone(), hosts)))
    }

    /// A host's core is told of this.
    #[inline]
    pub(super) fn event(&mut self, host: Option<usize>, now: u64, event: &Event) {
        if let (Some(recorder), Some(host)) = (&mut self.0, host) {
            recorder.event(host, Time::from_nanos(now), event);
        }
    }

    /// A host's core wants this done.
    #[inline]
    pub(super) fn action(&mut self, host: Option<usize>, now: u64, action: &Action) {
        if let (Some(recorder), Some(host)) = (&mut self.0, host) {
            recorder.action(host, Time::from_nanos(now), action);
        }
    }

    /// What is kept of it, where anything was recorded: seeders could send from `seeded_at`, and the region ended at `now`.
    pub(super) fn records(
        self,
        plan: &RegionPlan,
        results: &[HostResult],
        (seeded_at, now): (u64, u64),
    ) -> Option<RegionRecords> {
        let recorder = self.0?;
        let at = |nanos: u64| ticks(Time::from_nanos(nanos));
        let hosts = plan
            .hosts
            .iter()
            .zip(results)
            .enumerate()
            .map(|(index, (plan, result))| {
                // Members are numbered by a u32 here, which is what they are named by.
                let record = recorder.record(index);
                let began = seeded_at + nanos(plan.join_at.unwrap_or_default());
                HostRecord {
                    state: (&result.state).into(),
                    started: plan.join_at.map_or(0, |_| at(began)),
                    done: match (&result.state, result.verified_after) {
                        (HostState::Verified, Some(after)) => at(began + nanos(after)),
                        _ => 0,
                    },
                    ..record
                }
            });
        let seeded = i64::from(at(seeded_at));
        Some(RegionRecords {
            complete_at: Some(seeded),
            seeding_at: Some(seeded),
            ended_at: at(now).into(),
            hosts: hosts.collect(),
        })
    }
}
