//! What a node tells: what happens at it, as it happens, and what it has done so far.

use std::io;

use libp2p::swarm::DialError;
use swarm::{Action, ChunkIndex, DisconnectReason, Event, Hash, HostId, PeerStats, SeederStats, Time};

use super::shared::{Core, Shared};
use crate::rate_limit::{LinkUse, TokenBucket};
use crate::store::StoreError;

/// Is told what happens at a node. Called with the node's lock held: it must not wait or call the node.
pub trait Observer: Send + Sync {
    /// The core of a host, or of a seeder, is about to be told of this at `_at`.
    fn event(&self, _host: HostId, _at: Time, _event: &Event) {}
    /// The core of a host, or of a seeder, wants this done.
    fn action(&self, _host: HostId, _action: &Action) {}
    /// The host has its place in the overlay.
    fn joined(&self, _host: HostId) {}
    /// The host holds the whole build, verified, at this time of the run.
    fn complete(&self, _host: HostId, _at: Time, _traffic: Traffic) {}
    /// The host cannot go on.
    fn failed(&self, _host: HostId, _error: &StoreError) {}
    /// A member could not be dialled.
    fn unreachable(&self, _host: HostId, _other: HostId, _error: &DialError) {}
    /// The name of a member could not be resolved.
    fn unresolved(&self, _host: HostId, _other: HostId, _names: &str, _error: &io::Error) {}
    /// The host has banned another for what it sent.
    fn banned(&self, _host: HostId, _other: HostId, _reason: DisconnectReason) {}
    /// A seeder announces a build that is not believed, and why: it is tried again later.
    fn refused(&self, _host: HostId, _by: HostId, _build_id: &str, _why: &str) {}
    /// Bytes that were kept are gone or changed, as was found when they were to be served or looked at; told once a loss. A host
    /// fetches the chunk again by itself. For a seeder its owner can [`crate::ChunkStore::keep`] it again, on a thread that may wait, and say
    /// so with [`super::Node::chunk_found`].
    fn chunk_lost(&self, _host: HostId, _chunk: ChunkIndex, _error: &StoreError) {}
    /// A host says that a chunk which this seeder sent was corrupt; told once, of the first. One host may lie; a second opinion
    /// is in [`SeederStats::complaints_of_self`].
    fn suspected(&self, _host: HostId, _by: HostId, _chunk: u32) {}
}

/// Payload bytes of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Of chunks stored that came from the seeder.
    pub from_seeder: u64,
    /// Of chunks stored that came from other hosts.
    pub from_peers: u64,
    /// Of chunks that were found on this machine and so not fetched.
    pub reused: u64,
    /// Received and thrown away: duplicates, corrupt chunks, chunks that came twice.
    pub wasted: u64,
    /// Sent.
    pub sent: u64,
    /// Sent as control messages, all that is not payload.
    pub control_sent: u64,
    /// How payload used the uplink, where that is limited.
    pub uplink: LinkUse,
    /// How payload used the downlink, likewise.
    pub downlink: LinkUse,
}

impl Traffic {
    /// Adds the bytes of another node, or of an earlier life of this one. How it used its links does not add up.
    pub const fn add_bytes(&mut self, other: &Self) {
        self.from_seeder += other.from_seeder;
        self.from_peers += other.from_peers;
        self.reused += other.reused;
        self.wasted += other.wasted;
        self.sent += other.sent;
        self.control_sent += other.control_sent;
    }
}

/// What a node has done so far.
#[derive(Clone, Debug, Default)]
pub struct NodeReport {
    /// Its bytes.
    pub traffic: Traffic,
    /// Chunks held.
    pub chunks_held: u32,
    /// Chunks of the build; 0 while it is unknown.
    pub chunks_total: u32,
    /// Root of its manifest, once that is known.
    pub root: Option<Hash>,
    /// Connected members, the seeder not counted.
    pub neighbours: usize,
    /// Chunks that no connected member has.
    pub chunks_without_source: usize,
    /// Members banned for what they sent.
    pub banned: Vec<HostId>,
}

/// What it tells when it is asked.
impl Shared {
    pub(super) fn report(&self) -> NodeReport {
        let state = self.state.lock();
        let traffic = Traffic {
            uplink: state.uplink.as_ref().map(TokenBucket::used).unwrap_or_default(),
            downlink: state
                .downlink
                .as_ref()
                .map(|link| link.lock().used())
                .unwrap_or_default(),
            ..state.traffic()
        };
        match &state.core {
            Some(Core::Peer(peer)) => {
                let (chunks_held, chunks_total) = peer.progress().unwrap_or_default();
                NodeReport {
                    traffic,
                    chunks_held,
                    chunks_total,
                    root: peer.manifest().map(|manifest| manifest.root()),
                    neighbours: peer.neighbour_count(),
                    chunks_without_source: peer.chunks_without_source().len(),
                    banned: peer.banned().collect(),
                }
            }
            Some(Core::Seeder(_)) | None => NodeReport {
                traffic,
                ..NodeReport::default()
            },
        }
    }

    pub(super) fn build_id(&self) -> Option<String> {
        self.state
            .lock()
            .manifest
            .as_ref()
            .map(|manifest| manifest.build_id().to_owned())
    }

    pub(super) fn root(&self) -> Option<Hash> {
        self.state.lock().manifest.as_ref().map(|manifest| manifest.root())
    }

    pub(super) fn chunk_size(&self) -> Option<u32> {
        self.state
            .lock()
            .manifest
            .as_ref()
            .map(|manifest| manifest.chunk_size())
    }

    pub(super) fn peer_stats(&self) -> Option<PeerStats> {
        match &self.state.lock().core {
            Some(Core::Peer(peer)) => Some(*peer.stats()),
            Some(Core::Seeder(_)) | None => None,
        }
    }

    pub(super) fn seeder_stats(&self) -> Option<SeederStats> {
        match &self.state.lock().core {
            Some(Core::Seeder(seeder)) => Some(*seeder.stats()),
            Some(Core::Peer(_)) | None => None,
        }
    }

    pub(super) fn member_count(&self) -> usize {
        match &self.state.lock().core {
            Some(Core::Seeder(seeder)) => seeder.member_count(),
            Some(Core::Peer(_)) | None => 0,
        }
    }

    pub(super) fn incomplete_count(&self) -> usize {
        match &self.state.lock().core {
            Some(Core::Seeder(seeder)) => seeder.incomplete_count(),
            Some(Core::Peer(_)) | None => 0,
        }
    }
}
