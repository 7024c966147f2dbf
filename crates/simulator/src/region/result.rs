//! What came of a region and of its hosts.

use std::time::Duration;

use explain::RegionRecords;
use scenario::{FaultCounts, HostState, RegionEnd};
use swarm::PeerStats;

/// What came of one region.
#[derive(Clone, Debug)]
pub struct RegionResult {
    /// How it ended.
    pub end: RegionEnd,
    /// By host.
    pub hosts: Vec<HostResult>,
    /// Chunks that arrived, duplicates included.
    pub transfers: u64,
    /// Events handled.
    pub events: u64,
    /// Payload bytes that the seeder sent.
    pub seeder_bytes: u64,
    /// Payload bytes that went from one zone to another; `None` where that is not simulated.
    pub cross_zone_bytes: Option<u64>,
    /// Control messages, without those that HAVE messages would have been.
    pub messages: u64,
    /// Counters of all peers.
    pub protocol: PeerStats,
    /// What went wrong.
    pub faults: FaultCounts,
    /// Virtual time since seeding when it ended.
    pub virtual_time: Duration,
    /// What passed at its hosts, where that was recorded.
    pub records: Option<RegionRecords>,
}

impl RegionResult {
    /// Of a region in which nothing has happened yet.
    pub(crate) fn new(hosts: usize) -> Self {
        Self {
            end: RegionEnd::Converged,
            hosts: vec![HostResult::default(); hosts],
            transfers: 0,
            events: 0,
            seeder_bytes: 0,
            cross_zone_bytes: Some(0),
            messages: 0,
            protocol: PeerStats::default(),
            faults: FaultCounts::default(),
            virtual_time: Duration::ZERO,
            records: None,
        }
    }
}

/// What came of one host.
#[derive(Clone, Debug)]
pub struct HostResult {
    /// How it ended.
    pub state: HostState,
    /// When it had the build, since seeding began; since it joined where it joined later.
    pub verified_after: Option<Duration>,
    /// Useful bytes from the seeder.
    pub bytes_from_seeder: u64,
    /// Useful bytes from other hosts.
    pub bytes_from_peers: u64,
    /// Bytes thrown away.
    pub bytes_wasted: u64,
    /// Chunks held.
    pub chunks_held: u32,
    /// Chunks that no neighbour holds.
    pub chunks_without_source: u32,
    /// Connected hosts.
    pub neighbours: u32,
    /// Members that it banned.
    pub banned: Vec<u32>,
}

impl Default for HostResult {
    fn default() -> Self {
        Self {
            state: HostState::Pending,
            verified_after: None,
            bytes_from_seeder: 0,
            bytes_from_peers: 0,
            bytes_wasted: 0,
            chunks_held: 0,
            chunks_without_source: 0,
            neighbours: 0,
            banned: Vec::new(),
        }
    }
}
