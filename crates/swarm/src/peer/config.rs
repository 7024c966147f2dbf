//! The settings of a peer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes as ByteBuffer;
use smallvec::SmallVec;

use crate::chunk_scheduler::ChunkPolicy;
use crate::units::{HostId, ZoneId};
use crate::verifier::Verifier;
use crate::wire::Contact;

/// How a peer behaves. The defaults are those of the measured scenarios; see `ARCHITECTURE.md`.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// This host.
    pub host: HostId,
    /// Where neighbours can dial it, as the driver understands it.
    pub address: ByteBuffer,
    /// The seeders of the region, at least one and in the same order for all hosts. The first that can be reached tracks the swarm.
    pub seeders: SmallVec<[Contact; 1]>,
    /// Neighbours wanted. Half of them are dialled, the others dial.
    pub degree: u16,
    /// Which chunk first.
    pub policy: ChunkPolicy,
    /// Different chunks asked for at a time; measured where absent. Fewer leave the downlink idle, more commit early to slow neighbours.
    pub chunks_in_flight_max: Option<usize>,
    /// Requests to one neighbour at a time; twice its share of them where absent.
    pub requests_per_neighbour_max: Option<usize>,
    /// Chunks served at a time; measured where absent.
    pub upload_slots: Option<usize>,
    /// HAVE messages, and news of how busy this host is, wait this long for company. More is fewer messages and staler views.
    pub have_interval: Duration,
    /// A request without progress is not given up before this, however fast the others are: on a busy machine two seconds are no sign
    /// of anything. Another neighbour may be asked too much earlier.
    pub patience_min: Duration,
    /// Where this host is, if chunks are to come from other zones only where they must.
    pub zone: Option<ZoneId>,
    /// Who says whether a build that a seeder announces is to be believed; every one is where absent.
    pub verifier: Option<Arc<dyn Verifier>>,
}

impl PeerConfig {
    /// The defaults for `host` in the swarm of one seeder.
    pub fn new(host: HostId, address: ByteBuffer, seeder: Contact) -> Self {
        Self::with_seeders(host, address, [seeder])
    }

    /// The defaults for `host` in the swarm of these seeders.
    pub fn with_seeders(host: HostId, address: ByteBuffer, seeders: impl IntoIterator<Item = Contact>) -> Self {
        Self {
            host,
            address,
            seeders: seeders.into_iter().collect(),
            degree: 12,
            policy: ChunkPolicy::default(),
            chunks_in_flight_max: None,
            requests_per_neighbour_max: None,
            upload_slots: None,
            have_interval: Duration::from_millis(5),
            patience_min: Duration::from_secs(2),
            zone: None,
            verifier: None,
        }
    }

    /// Whether `host` is one of the region's seeders.
    #[inline]
    pub fn is_seeder(&self, host: HostId) -> bool {
        self.seeders.iter().any(|seeder| seeder.host == host)
    }
}
