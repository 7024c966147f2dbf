//! From a scenario's settings to the core's: the same for a live run and a forecast.

use swarm::{ChunkPolicy, HostId, PeerConfig, SeederConfig};

use crate::{Policy, Region, SwarmSettings};

impl Region {
    /// Who its hosts are in the swarm, by index.
    pub fn host_id(&self, index: u32) -> HostId {
        HostId::new(u64::from(index) + 1)
    }

    /// Who its seeders are: the first comes before the hosts and the others after them.
    pub fn seeder_ids(&self) -> impl Iterator<Item = HostId> {
        let others = (1..self.seeders).map(u64::from);
        let hosts = u64::from(self.hosts);
        std::iter::once(HostId::new(0)).chain(others.map(move |other| HostId::new(hosts + other)))
    }
}

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

    /// The `index`-th seeder of a region.
    pub fn seeder_config(&self, region: &Region, index: u32) -> SeederConfig {
        let host = region.seeder_ids().nth(index as usize).unwrap_or(HostId::new(0));
        SeederConfig {
            part: (index, region.seeders),
            degree: self.degree,
            clients: self.seeder_clients,
            // With one slot a slow client would hold up the injection of everything.
            upload_slots: self.seeder_slots.unwrap_or_else(|| self.upload_slots.max(2)),
            ..SeederConfig::new(host)
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
