//! Which chunks are out: held by a member that is still there, as far as the seeder knows. Invariant: nobody is named as
//! holder of a chunk that has gone for good.
//!
//! The seeder knows to whom it sent a chunk, who turned an offer down because it had the chunk, and who is complete. It does not
//! know what hosts got from each other: a chunk that only such hosts hold counts as not out, and is offered once more, which
//! costs a message where the client has it by then and a chunk where it has not.

use std::collections::BTreeMap;
use std::time::Duration;

use smallvec::SmallVec;

use crate::units::{ChunkIndex, HostId, Time};

/// Who holds what, as far as the seeder had a part in it.
#[derive(Debug, Default)]
pub(super) struct Copies {
    holders: Vec<SmallVec<[HostId; 2]>>,
    /// How many chunks each of the holders holds: most members hold none, and need not be searched for.
    held: BTreeMap<HostId, u32>,
    /// Holders that went before they were complete, and until when they may be back with what they had.
    away: BTreeMap<HostId, Time>,
    /// Whether a chunk may have lost its last holder since [`Copies::lost`].
    changed: bool,
}

impl Copies {
    pub(super) fn new(chunk_count: u32) -> Self {
        Self {
            holders: vec![SmallVec::new(); chunk_count as usize],
            ..Self::default()
        }
    }

    /// `host`, a member, holds `chunk`, or is about to.
    pub(super) fn note(&mut self, host: HostId, chunk: ChunkIndex) {
        let holders = &mut self.holders[chunk.as_usize()];
        if holders.contains(&host) {
            return;
        }
        if holders.len() >= HOLDERS_MAX {
            let first = holders.remove(0);
            self.discount(first);
        }
        self.holders[chunk.as_usize()].push(host);
        *self.held.entry(host).or_default() += 1;
    }

    /// A member has gone. The time at which chunks may be found to be lost by that.
    pub(super) fn member_gone(&mut self, now: Time, host: HostId, was_complete: bool) -> Time {
        self.changed = true;
        if was_complete {
            // It has what it came for.
            self.forget(host);
            return now + LOOK_SETTLE;
        }
        let until = now + AWAY_PATIENCE;
        if self.held.contains_key(&host) {
            self.away.insert(host, until);
        }
        until
    }

    /// A member is here, for the first time or again.
    pub(super) fn member_here(&mut self, host: HostId) {
        self.away.remove(&host);
    }

    /// Whether a look for lost chunks may find some.
    pub(super) const fn has_changed(&self) -> bool {
        self.changed
    }

    /// Whether nobody is away who may be back.
    pub(super) fn is_certain(&self) -> bool {
        self.away.is_empty()
    }

    /// When to look again, where some may be found then that have not been by now.
    pub(super) fn next_look(&self) -> Option<Time> {
        self.away.values().min().copied()
    }

    /// The chunks that nobody holds, where no member is complete.
    pub(super) fn lost(&mut self, now: Time) -> Vec<ChunkIndex> {
        let gone = self.away.iter().filter(|(_, until)| **until <= now);
        for host in gone.map(|(host, _)| *host).collect::<Vec<HostId>>() {
            self.forget(host);
        }
        self.changed = !self.away.is_empty();
        let chunks = (0..).map(ChunkIndex::new).zip(&self.holders);
        chunks
            .filter(|(_, holders)| holders.is_empty())
            .map(|(chunk, _)| chunk)
            .collect()
    }

    /// Whether the seeder had a part in something that `host` holds.
    pub(super) fn has_some(&self, host: HostId) -> bool {
        self.held.contains_key(&host)
    }

    /// Whether `host` holds `chunk`, and nobody else, as far as is known.
    pub(super) fn is_only_at(&self, host: HostId, chunk: ChunkIndex) -> bool {
        self.holders[chunk.as_usize()].as_slice() == [host]
    }

    /// What `host` holds and nobody else, as far as is known.
    pub(super) fn only_at(&self, host: HostId) -> impl Iterator<Item = ChunkIndex> {
        let chunks = (0..).map(ChunkIndex::new).take(self.holders.len());
        chunks.filter(move |chunk| self.is_only_at(host, *chunk))
    }

    /// What `host` holds does not count, as if it did not hold it.
    pub(super) fn discard(&mut self, host: HostId) {
        self.changed = true;
        self.forget(host);
    }

    /// What of the invariant is broken, where these are there.
    ///
    /// # Errors
    /// A chunk that somebody is named as holder of who has gone and is not away for a moment.
    pub(super) fn check(&self, is_there: impl Fn(HostId) -> bool) -> Result<(), String> {
        let is_wrong = |host: HostId| !is_there(host) && !self.away.contains_key(&host);
        for (chunk, holders) in self.holders.iter().enumerate() {
            if let Some(host) = holders.iter().find(|host| is_wrong(**host)) {
                return Err(format!("{host} is named as holder of chunk {chunk}, and has gone"));
            }
        }
        Ok(())
    }

    fn forget(&mut self, host: HostId) {
        self.away.remove(&host);
        if self.held.remove(&host).is_some() {
            self.holders
                .iter_mut()
                .for_each(|holders| holders.retain(|h| *h != host));
        }
    }

    fn discount(&mut self, host: HostId) {
        if let Some(count) = self.held.get_mut(&host) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&host);
                self.away.remove(&host);
            }
        }
    }
}

/// Holders of a chunk that are remembered; the oldest is forgotten for another.
const HOLDERS_MAX: usize = 4;
/// Members that go together are looked at together.
const LOOK_SETTLE: Duration = Duration::from_millis(50);
/// A host that goes with a part of the build may only have lost its connection; it is back in less than this.
const AWAY_PATIENCE: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod rules;
