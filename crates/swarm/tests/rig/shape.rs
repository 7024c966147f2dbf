//! What a mesh is made of, and what may be wrong with its members.

use std::time::Duration;

use swarm::{ByteRate, ChunkPolicy, PeerConfig, SeederConfig};

/// What the network and the members of a [`Mesh`] are like.
pub struct Shape {
    pub hosts: u64,
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
