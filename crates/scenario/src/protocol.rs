//! From a scenario's settings to the core's: the same for a live run and a forecast.

use swarm::{HostId, Part, PeerConfig, SeederConfig};

use crate::{HostPlan, SeederPlan, SwarmSettings};

impl SwarmSettings {
    /// A host of this swarm. In `base` is what its driver knows: its address, and those of the seeders.
    pub fn peer_config(&self, host: &HostPlan, base: PeerConfig) -> PeerConfig {
        PeerConfig {
            host: host.id,
            zone: host.swarm_zone,
            degree: self.degree,
            policy: self.policy,
            upload_slots: self.upload_slots,
            chunks_in_flight_max: self.chunks_in_flight,
            have_interval: self.have_interval,
            patience_min: self.patience,
            ..base
        }
    }

    /// A seeder of this swarm.
    pub fn seeder_config(&self, seeder: &SeederPlan) -> SeederConfig {
        let base = SeederConfig::new(seeder.id);
        SeederConfig {
            part: Part::new(seeder.index, seeder.of).expect("seeders are numbered below their count"),
            degree: self.degree,
            clients: self.seeder_clients,
            // With one slot a slow client would hold up the injection of everything.
            upload_slots: self
                .seeder_slots
                .or_else(|| self.upload_slots.map(|slots| slots.max(SEEDER_SLOTS_LEAST))),
            ..base
        }
    }
}

/// Chunks that a seeder sends at a time at least, where hosts' slots are given.
const SEEDER_SLOTS_LEAST: usize = 2;

/// The core's own defaults: they stand there and nowhere else.
impl Default for SwarmSettings {
    fn default() -> Self {
        let nobody = HostId::new(0);
        let host = PeerConfig::with_seeders(nobody, Vec::new().into(), []);
        let seeder = SeederConfig::new(nobody);
        Self {
            degree: host.degree,
            policy: host.policy,
            upload_slots: host.upload_slots,
            chunks_in_flight: host.chunks_in_flight_max,
            seeder_clients: seeder.clients,
            seeder_slots: None,
            have_interval: host.have_interval,
            patience: host.patience_min,
            locality: true,
        }
    }
}
