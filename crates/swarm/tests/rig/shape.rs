//! What a mesh is made of, and what may be wrong with its members.

use std::time::Duration;

use swarm::{ByteRate, ChunkPolicy, PeerConfig, SeederConfig};

/// What the network and the members of a [`Mesh`] are like.
pub struct Shape {
    pub hosts: u64,
    /// The first is [`super::SEEDER`].
    pub seeders: u32,
    /// Hosts are in them by turns; in none where there are none.
    pub zones: u32,
    pub chunks: u32,
    pub chunk_size: u32,
    pub uplink: ByteRate,
    pub downlink: ByteRate,
    pub latency: Duration,
    /// Share of control messages that get lost, in percent.
    pub loss_percent: u32,
    pub seed: u64,
    pub policy: ChunkPolicy,
    pub peer: fn(&mut PeerConfig),
    pub seeder: fn(&mut SeederConfig),
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            hosts: 20,
            seeders: 1,
            zones: 0,
            chunks: 16,
            chunk_size: 64 << 10,
            uplink: ByteRate::from_bytes_per_second(1 << 20).unwrap(),
            downlink: ByteRate::from_bytes_per_second(1 << 20).unwrap(),
            latency: Duration::from_millis(1),
            loss_percent: 0,
            seed: 1,
            policy: ChunkPolicy::default(),
            peer: |_| {},
            seeder: |_| {},
        }
    }
}

/// What a host that comes back finds of what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Kept,
    Lost,
}

/// How a host misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every chunk it sends is corrupt.
    Corrupt,
    /// It takes requests and never sends.
    Stall,
    /// It gives up on whatever it is to send, and goes on saying that it has it.
    GiveUp,
}
