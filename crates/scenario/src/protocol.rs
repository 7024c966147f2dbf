//! From a scenario's settings to the core's: the same for a live run and a forecast.

use swarm::{ChunkPolicy, PeerConfig, SeederConfig};

use crate::{Policy, SwarmSettings};

impl SwarmSettings {
    /// A host of this swarm; who it is and where is in `base`.
    pub fn peer_config(&self, base: PeerConfig) -> PeerConfig {
        PeerConfig {
            degree: self.degree,
            policy: self.policy.into(),
            upload_slots: self.upload_slots,
            chunks_in_flight_max: self.chunks_in_flight,
            have_interval: self.have_interval,
            patience_min: self.patience,
            ..base
        }
    }

    /// A seeder of this swarm; who it is is in `base`.
    pub fn seeder_config(&self, base: SeederConfig) -> SeederConfig {
        SeederConfig {
            degree: self.degree,
            clients: self.seeder_clients,
            // With one slot a slow client would hold up the injection of everything.
            upload_slots: self.seeder_slots.unwrap_or_else(|| self.upload_slots.max(2)),
            ..base
        }
    }
}

impl From<Policy> for ChunkPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::LatestUseful => Self::LatestUseful,
            Policy::RarestFirst => Self::RarestFirst,
            Policy::Random => Self::Random,
            Policy::Sequential => Self::Sequential,
        }
    }
}
