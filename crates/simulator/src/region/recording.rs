//! What passes at the border of the hosts' cores, for those who ask afterwards why a host was late.

use explain::{HostRecord, HostRecorder, RegionRecords, Sample, ticks};
use scenario::{HostState, RegionPlan};
use swarm::{Action, Event, Time};

use super::{HostResult, nanos};

/// The recorders of a region's hosts; none where nothing is recorded.
#[derive(Debug, Default)]
pub(super) struct Recording {
    hosts: Vec<HostRecorder>,
}

impl Recording {
    pub(super) fn new(hosts: usize, sample: Option<&Sample>) -> Self {
        let recorder = |sample: &Sample| vec![HostRecorder::new(sample.clone()); hosts];
        Self {
            hosts: sample.map(recorder).unwrap_or_default(),
        }
    }

    /// A host's core is told of this.
    #[inline]
    pub(super) fn event(&mut self, host: Option<usize>, now: u64, event: &Event) {
        if HostRecorder::wants_event(event)
            && let Some(recorder) = host.and_then(|host| self.hosts.get_mut(host))
        {
            recorder.event(Time::from_nanos(now), event);
        }
    }

    /// A host's core wants this done.
    #[inline]
    pub(super) fn action(&mut self, host: Option<usize>, now: u64, action: &Action) {
        if HostRecorder::wants_action(action)
            && let Some(recorder) = host.and_then(|host| self.hosts.get_mut(host))
        {
            recorder.action(Time::from_nanos(now), action);
        }
    }

    /// What is kept of it, where anything was recorded: seeders could send from `seeded_at`, and the region ended at `now`.
    pub(super) fn records(
        self,
        plan: &RegionPlan,
        results: &[HostResult],
        (seeded_at, now): (u64, u64),
    ) -> Option<RegionRecords> {
        if self.hosts.is_empty() {
            return None;
        }
        let at = |nanos: u64| ticks(Time::from_nanos(nanos));
        let hosts = self
            .hosts
            .iter()
            .zip(&plan.hosts)
            .zip(results)
            .map(|((recorder, plan), result)| {
                let members = recorder.members();
                let mut record = recorder.record();
                record.renumber(|place| {
                    members
                        .get(place as usize)
                        .and_then(|host| u32::try_from(host.get()).ok())
                });
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
