//! How a peer stands, as it is seen from outside.

use std::sync::Arc;

use super::{Build, Peer};
use crate::bitfield::Bitfield;
use crate::holdings::{Heard, Holdings, Source};
use crate::manifest::Manifest;
use crate::stats::{Payload, PeerStats};
use crate::units::{ChunkIndex, HostId};

impl Peer {
    /// What [`Peer::next_wakeup`] is for, to be shown where it comes too often.
    pub fn wakeup_reason(&self) -> Option<impl std::fmt::Debug> {
        self.timers.next().map(|(timer, _)| timer)
    }

    /// Whether bytes of `chunk` from `from` are to be received; what is not expected is to be read and thrown away.
    #[inline]
    pub fn expects(&self, from: HostId, chunk: ChunkIndex) -> bool {
        self.download().is_some_and(|d| d.ledger.is_asked(from, chunk))
    }

    /// Chunks held and chunks of the build; `None` before the manifest is here.
    pub fn progress(&self) -> Option<(u32, u32)> {
        let held = self.download()?.ledger.held();
        Some((held.count(), held.len()))
    }

    /// Whether every chunk is held.
    pub fn is_complete(&self) -> bool {
        self.download().is_some_and(|d| d.ledger.is_complete())
    }

    /// The manifest, once it is known.
    pub fn manifest(&self) -> Option<&Arc<Manifest>> {
        match &self.build {
            Build::Unknown | Build::Announced { .. } => None,
            Build::Opening { manifest, .. } => Some(manifest),
            Build::Fetching(download) => Some(&download.manifest),
        }
    }

    /// Whether `host` is one of its region's seeders.
    #[inline]
    pub fn is_seeder(&self, host: HostId) -> bool {
        self.config.is_seeder(host)
    }

    /// How many members it is connected to, seeders not counted.
    pub fn neighbour_count(&self) -> usize {
        self.members().count()
    }

    /// Whether the tracker has answered: the peer has its place in the overlay.
    pub fn has_joined(&self) -> bool {
        self.tracker.has_answered() && self.tracker.dialling_count() == 0
    }

    /// Members that sent bad chunks or nonsense not long ago, in order.
    pub fn banned(&self) -> impl Iterator<Item = HostId> + '_ {
        self.banned.keys().copied()
    }

    /// What it has seen and done so far.
    pub fn stats(&self) -> &PeerStats {
        &self.stats
    }

    /// The payload that has come so far.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Payload bytes came and were thrown away: they were not expected, or their chunk did not come whole or could not be stored. Those
    /// of a corrupt chunk are counted when that is told. They are counted and nothing else; it may be said at any time.
    pub const fn count_discarded(&mut self, bytes: u64) {
        self.payload.wasted += bytes;
    }

    /// Which chunks nobody connected has, as far as this host knows: why it is not done.
    pub fn chunks_without_source(&self) -> Vec<ChunkIndex> {
        self.chunks_without_source_in(&Heard)
    }

    /// [`Peer::chunks_without_source`] of a peer that goes by a table.
    pub fn chunks_without_source_in(&self, table: &impl Holdings) -> Vec<ChunkIndex> {
        let Some(download) = self.download() else {
            return Vec::new();
        };
        let held = download.ledger.held();
        let mut lacking = Bitfield::full(held.len());
        lacking.subtract(held);
        for neighbour in self.neighbours.iter() {
            lacking.subtract(match self.source {
                Source::Messages => &neighbour.has,
                Source::Table => neighbour.holdings(table),
            });
        }
        lacking.iter().collect()
    }
}
