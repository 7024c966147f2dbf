//! The beginning of a path: what a seeder sent before, and what had to happen before anything could be asked for.

use crate::cause::Cause;
use crate::links::as_ticks;
use crate::path::Walk;
use crate::records::Member;

impl Walk<'_, '_> {
    /// The chunk at `place` was offered to `host` when its turn came.
    pub(crate) fn order(&mut self, host: u32, seeder: Member, place: usize) {
        let region = self.view.of_region();
        let record = &region.hosts[host as usize];
        let seeding = region.seeding_at.unwrap_or(self.at);
        // It cannot have been offered anything before it was there.
        let since = seeding.max(record.started.into());
        if since < self.at {
            self.turns(since, host, seeder, place);
        }
        self.before(host);
    }

    /// What a seeder did until it came to the chunk.
    fn turns(&mut self, since: i64, host: u32, seeder: Member, place: usize) {
        let (at, view) = (self.at, self.view);
        let away = self.away(seeder, (since, at)).min(at - since);
        let there = at - since - away;
        let part = view.uplink_use(seeder, (since, at)).unwrap_or_default();
        // Of the whole time: while it is away it sends nothing.
        let used = (((at - since) as f64 * part) as i64).min(there);
        self.step(at - used, Cause::SeederLink, host, Some(seeder), Some(place));
        let idle = (self.at - (there - used), self.at);
        let cause = self.idle_seeder(host, seeder, idle);
        self.step(idle.0, cause, host, Some(seeder), Some(place));
        self.step(since, Cause::SeederAway, host, Some(seeder), None);
    }

    /// Why a seeder whose uplink was not full did not send more.
    fn idle_seeder(&self, host: u32, seeder: Member, time: (i64, i64)) -> Cause {
        let view = self.view;
        let swarm = &view.scenario().swarm;
        if view.sends_across(seeder, time) {
            return Cause::SharedLink;
        }
        if swarm.seeder_slots.is_none() && swarm.chunks_in_flight.is_some() && self.has_full_window(host, time) {
            return Cause::Window;
        }
        Cause::SeederSlots
    }

    /// How long a seeder was away within a time.
    fn away(&self, seeder: Member, (from, to): (i64, i64)) -> i64 {
        let view = self.view;
        let index = seeder.seeder_index(view.hosts());
        let Some(plan) = index.and_then(|index| view.plan.seeders.get(index as usize)) else {
            return 0;
        };
        let seeding = view.of_region().seeding_at.unwrap_or_default();
        let absences = plan.absences.iter().map(|absence| {
            let begins = seeding.saturating_add(as_ticks(absence.at));
            let ends = absence
                .down
                .map_or(i64::MAX, |down| begins.saturating_add(as_ticks(down)));
            (ends.min(to) - begins.max(from)).max(0)
        });
        absences.sum()
    }

    /// A host that has nothing yet: it learns of the build, and of its chunks.
    pub(crate) fn start(&mut self, host: u32) {
        let region = self.view.of_region();
        let record = &region.hosts[host as usize];
        if record.opened != 0 {
            // It knew what there is, and nobody had it for it.
            let quick = self.at - i64::from(record.opened) <= 2 * self.news();
            let cause = if quick { Cause::Messages } else { Cause::NoNeighbour };
            self.step(record.opened.into(), cause, host, None, None);
        }
        let seeding = region.seeding_at.unwrap_or(self.at);
        let since = seeding.max(record.started.into());
        if since < self.at {
            let away = self.away(Member(0), (since, self.at)).min(self.at - since);
            self.step(since + away, Cause::Joining, host, None, None);
            self.step(since, Cause::SeederAway, host, Some(Member(0)), None);
        }
        self.before(host);
    }

    /// Until the host was there, and until the seeders could send: from when the build was in the bucket.
    fn before(&mut self, host: u32) {
        let region = self.view.of_region();
        let started = i64::from(region.hosts[host as usize].started);
        let Some(complete) = region.complete_at else {
            return;
        };
        let seeding = region.seeding_at.unwrap_or(self.at);
        // Who was there from the beginning is not waited for.
        let started = if started == 0 { complete } else { started };
        if started >= seeding {
            self.step(complete.max(started.min(self.at)), Cause::Joining, host, None, None);
            self.step(complete, Cause::CameLate, host, None, None);
            return;
        }
        self.step(seeding.max(complete), Cause::Joining, host, None, None);
        self.step(complete.max(started), Cause::Bucket, host, Some(Member(0)), None);
        self.step(complete, Cause::CameLate, host, None, None);
    }
}
