//! One member of a swarm on the network: a libp2p `Swarm` in a task of its own, around the state machine of a peer or a
//! seeder. Everything a protocol decides is decided by the core; this module holds, sends and hashes bytes.
//!
//! Map: `endpoint` is what a process has once for all its swarms; `shared` is one member's core with its connections, behind one lock that is never held while waiting, `acting` what the core
//! wants done, `sending` and `receiving` what connections ask and tell of chunks, `losses` what is lost, `report` what is told outside; `link` is a connection
//! as the core's driver sees it, `standing` who is a member and what is told of members, `greeting` what comes first on a connection and `carrier` the task that moves its bytes; `listening` is where it listens, `door` how many connections there may be; `disk_jobs` is what may wait for a disk; `alarm` keeps the core's time; `behaviour` and
//! `handler` are what libp2p asks for: they dial, close and open streams; `transport` are the ways to connect.

mod acting;
mod addresses;
mod alarm;
mod behaviour;
mod carrier;
mod disk_jobs;
mod door;
mod downlinks;
mod endpoint;
mod greeting;
mod handler;
mod link;
mod listening;
mod losses;
mod receiving;
mod report;
mod sending;
mod shared;
mod standing;
mod standstill;
mod timer;
mod transport;
mod zone_links;

use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use swarm::{
    ByteRate, ChunkIndex, Hash, HostId, Manifest, Peer, PeerConfig, PeerStats, Seeder, SeederConfig, SeederStats,
    SwarmId, Time, ZoneId,
};
use tokio::task::AbortHandle;

use crate::shared_link::SharedLink;
use crate::store::{ChunkStore, StoreOpener};
use crate::traffic_class::TrafficClass;
use shared::{Core, Shared};

pub(crate) use behaviour::Behaviour as MembersBehaviour;
pub(crate) use endpoint::{FIRST_MESSAGE, Hub, open};
pub(crate) use transport::Admission;

pub use addresses::{AddressError, Addresses};
pub use behaviour::cause_of;
pub use downlinks::Downlinks;
pub use endpoint::{Endpoint, EndpointConfig};
pub use report::{NodeReport, Observer, Traffic};
pub use standstill::Standstill;
pub use transport::{InProcessNetwork, PathDelay, PathFaults, PathState, TransportKind};

/// The moment from which a run counts its time, shared by its nodes.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock whose zero is now.
    pub fn start() -> Self {
        Self { epoch: Instant::now() }
    }

    /// A clock whose zero is `epoch`.
    pub const fn since(epoch: Instant) -> Self {
        Self { epoch }
    }

    /// The time since zero.
    pub fn now(self) -> Time {
        self.at(Instant::now())
    }

    /// An instant as time since zero.
    pub fn at(self, instant: Instant) -> Time {
        Time::ZERO + instant.saturating_duration_since(self.epoch)
    }

    pub(crate) fn instant(self, time: Time) -> Instant {
        self.epoch + time.since(Time::ZERO)
    }
}

/// Who a node is: the key that proves its peer id.
#[derive(Clone, Debug)]
pub struct NodeIdentity(Keypair);

impl NodeIdentity {
    /// A new identity.
    pub fn random() -> Self {
        Self(Keypair::generate_ed25519())
    }

    /// The identity that is kept in `file`, 32 secret bytes; a new one is written there where there is none.
    ///
    /// # Errors
    /// Where the file cannot be read or written, is something else, or can be read by others.
    pub fn kept_in(file: &Path) -> io::Result<Self> {
        let secret = match std::fs::read(file) {
            Ok(secret) => {
                let mode = std::fs::metadata(file)?.permissions().mode() & 0o7777;
                if mode & 0o077 != 0 {
                    let message =
                        format!("it can be read by others (mode {mode:04o}); expected 0600, as by `chmod 600`");
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
                }
                secret
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = Keypair::generate_ed25519();
                let secret = identity.clone().try_into_ed25519().map_err(io::Error::other)?;
                let secret = secret.secret().as_ref().to_vec();
                if let Some(folder) = file.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                let mut options = std::fs::OpenOptions::new();
                options.write(true).create_new(true).mode(0o600);
                let mut made = options.open(file)?;
                if let Err(error) = made.write_all(&secret).and_then(|()| made.sync_all()) {
                    // Half a key would be in the way of the next start.
                    let _ = std::fs::remove_file(file);
                    return Err(error);
                }
                secret
            }
            Err(error) => return Err(error),
        };
        Keypair::ed25519_from_bytes(secret).map(Self).map_err(|_not_a_key| {
            let message = "it is not an identity; expected 32 bytes, or no file";
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }

    /// The identity that a run's seed gives to a host: for harness runs, where it has nothing to protect.
    pub fn from_seed(seed: u64, host: HostId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("fleetcast 1 harness identity");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&host.get().to_le_bytes());
        let keypair = Keypair::ed25519_from_bytes(*hasher.finalize().as_bytes());
        Self(keypair.expect("any 32 bytes are an ed25519 secret"))
    }

    /// The number in a swarm that goes with this identity.
    pub fn host(&self) -> HostId {
        host_of(self.peer_id())
    }

    /// The peer id of this identity.
    pub fn peer_id(&self) -> PeerId {
        self.0.public().to_peer_id()
    }
}

/// The number of the member with this peer id: the first eight bytes of its hash. A member proves its key to whoever it is connected
/// with, and so its number; nobody has it said to them.
pub fn host_of(peer: PeerId) -> HostId {
    let [number, _] = numbers_of(peer);
    HostId::new(number)
}

/// The first sixteen bytes of the hash of a peer id.
pub(crate) fn numbers_of(peer: PeerId) -> [u64; 2] {
    let hash = blake3::hash(&peer.to_bytes());
    let (words, _) = hash.as_bytes().as_chunks::<8>();
    [words[0], words[1]].map(u64::from_le_bytes)
}

/// What a host may send and receive.
#[derive(Clone, Debug, Default)]
pub struct Shaping {
    /// Limit of what is sent; none where absent.
    pub uplink: Option<ByteRate>,
    /// Limit of what is received; none where absent.
    pub downlink: Option<ByteRate>,
    /// Whose downlinks it waits for when it sends; nobody's where it has these for itself.
    pub downlinks: Downlinks,
    /// Its zone, where what passes between zones is limited ([`Downlinks::between_zones`]).
    pub zone: Option<u32>,
    /// What it sends waits for this besides, as does what others send that have the same; for nothing where absent.
    pub shared_up: Option<SharedLink>,
    /// What it receives, likewise.
    pub shared_down: Option<SharedLink>,
}

/// Hard limits of a node.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Payload bytes between two control messages of a connection, and the grain of shaping.
    pub segment: u32,
    /// Control bytes that may wait for a connection that does not take them, before it is closed.
    pub outbox: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment: 64 << 10,
            outbox: 8 << 20,
        }
    }
}

/// Which half of the core a node drives.
pub enum Role {
    /// A host that fetches the build. Given its number and the address that it can be dialled at, it makes the configuration.
    Host(Box<dyn FnOnce(HostId, Bytes) -> PeerConfig + Send>),
    /// The seeder and tracker, whatever number its configuration says.
    Seeder(SeederConfig),
}

/// Everything a member of a swarm needs besides its endpoint.
pub struct NodeConfig {
    /// Which swarm.
    pub swarm: SwarmId,
    /// Its links.
    pub shaping: Shaping,
    /// Its limits.
    pub limits: Limits,
    /// How it gets the store of its chunks.
    pub store: StoreOpener,
    /// Peer or seeder.
    pub role: Role,
    /// Seed of its random choices.
    pub seed: u64,
    /// The run's clock.
    pub clock: Clock,
    /// Told of what happens.
    pub observer: Arc<dyn Observer>,
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The transport could not be made.
    #[error("failed to set up the transport")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The address cannot be listened on.
    #[error("failed to listen on {address}; is the port taken, or the limit of open files reached?")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the transport says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A member of a swarm. Dropping it ends its part in the swarm.
pub struct Node {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    /// The endpoint is nobody else's.
    is_alone: bool,
    keeper: AbortHandle,
}

impl Node {
    /// Starts a node with an endpoint of its own: it listens when this returns.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub async fn start(endpoint: EndpointConfig, config: NodeConfig) -> Result<Self, NodeError> {
        let endpoint = Endpoint::start(endpoint).await?;
        let mut node = Self::joined(endpoint, config);
        node.is_alone = true;
        Ok(node)
    }

    pub(super) fn joined(endpoint: Endpoint, config: NodeConfig) -> Self {
        let shared = Arc::new(Shared::new(
            Arc::clone(endpoint.hub()),
            config.swarm,
            config.clock,
            config.shaping,
            config.limits,
            config.store,
            config.observer,
        ));
        let now = config.clock.now();
        let host = shared.host;
        let core = match config.role {
            Role::Host(configure) => {
                let mut of_host = configure(host, endpoint.hub().contact(&[]));
                if let Some(members) = &endpoint.hub().members {
                    // Others go by the certificate, and so does it.
                    of_host.zone = members.own().zone().map(ZoneId::named);
                }
                Core::Peer(Peer::new(PeerConfig { host, ..of_host }, config.seed, now))
            }
            Role::Seeder(seeder) => Core::Seeder(Seeder::new(SeederConfig { host, ..seeder }, config.seed, now)),
        };
        endpoint.hub().enter(config.swarm, &shared);
        shared.start(core);
        let keeper = endpoint.hub().spawn(Arc::clone(&shared).keep_time()).abort_handle();
        Self {
            shared,
            endpoint,
            is_alone: false,
            keeper,
        }
    }

    /// The listener that it shares with other swarms of this process.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where others can dial it, peer id included: the best of its addresses.
    pub fn address(&self) -> Multiaddr {
        self.endpoint
            .addresses()
            .into_iter()
            .next()
            .unwrap_or_else(Multiaddr::empty)
    }

    /// Begins to seed a build whose chunks are all in `store`. Only a seeder can, and only once.
    pub fn seed(&self, manifest: Arc<Manifest>, store: Arc<dyn ChunkStore>) {
        self.shared.seed(manifest, store);
    }

    /// Who vouches for its build: said with it to the hosts that come from now on, at most [`swarm::wire::SIGNATURE_LENGTH_MAX`] bytes.
    pub fn sign(&self, signature: impl Into<Bytes>) {
        self.shared.sign(signature.into());
    }

    /// A chunk is held again that was lost ([`Observer::chunk_lost`]), or was found otherwise: it is in the store already.
    pub fn chunk_found(&self, chunk: ChunkIndex) {
        self.shared.chunk_found(chunk);
    }

    /// Gives it other links, in place of those it was started with; where a direction has no limit it stays without.
    pub fn set_links(&self, uplink: ByteRate, downlink: ByteRate) {
        self.shared.set_links(uplink, downlink);
    }

    /// What it has done so far.
    pub fn report(&self) -> NodeReport {
        self.shared.report()
    }

    /// The build it fetches or seeds, once it knows.
    pub fn build_id(&self) -> Option<String> {
        self.shared.build_id()
    }

    /// The root of its manifest, once it knows: equal versions of a build have equal ones.
    pub fn root(&self) -> Option<Hash> {
        self.shared.root()
    }

    /// Bytes of its chunks, once it knows.
    pub fn chunk_size(&self) -> Option<u32> {
        self.shared.chunk_size()
    }

    /// Counters of a host's core; `None` for a seeder.
    pub fn peer_stats(&self) -> Option<PeerStats> {
        self.shared.peer_stats()
    }

    /// Counters of a seeder's core; `None` for a host.
    pub fn seeder_stats(&self) -> Option<SeederStats> {
        self.shared.seeder_stats()
    }

    /// How many hosts have joined this seeder's swarm; 0 for a host.
    pub fn member_count(&self) -> usize {
        self.shared.member_count()
    }

    /// How many of them lack chunks; 0 for a host.
    pub fn incomplete_count(&self) -> usize {
        self.shared.incomplete_count()
    }

    /// Ends it at once: connections are dropped, as when a host dies.
    pub fn stop(&self) {
        self.keeper.abort();
        if self.is_alone {
            self.endpoint.abort();
        }
        self.shared.stop();
    }
}

/// The transport of a member with this identity.
pub(crate) fn transport_of(
    kind: &TransportKind,
    identity: &NodeIdentity,
    admission: Option<&Admission>,
    class: Option<TrafficClass>,
    path: Option<&PathDelay>,
    faults: Option<&PathFaults>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NodeError> {
    transport::build(kind, &identity.0, admission, class, path, faults)
        .map_err(|error| NodeError::Transport(Box::new(error)))
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}
