//! A host's agent: drives the sans-IO swarm core over libp2p, keeps chunks, and logs the deployment.
//!
//! The same node, with the other half of the core, is the network side of the seeder.

mod belonging;
mod deployment_log;
mod directory;
mod files;
mod idle_memory;
mod members;
mod node;
mod notifier;
mod observed;
mod open_files;
mod proven;
mod rate_limit;
mod rate_schedule;
mod shared_link;
mod store;
mod threads;
mod traffic_class;
mod trust;

pub use belonging::{BelongingError, MemberArguments, OPEN_SWARM};
pub use deployment_log::{HostPlacement, deployment_log};
pub use directory::{Directory, DirectoryServer, HandedRow, Reach, RowFate, RowSender, SeededBuild};
#[doc(hidden)]
pub use directory::{read_answer, read_question, read_row};
pub use files::{Locked, read_at, replace_file, reserve_space, sync_folder, take_lock};
pub use idle_memory::give_back_memory;
pub use libp2p::swarm::DialError;
pub use libp2p::{Multiaddr, PeerId};
pub use members::{MemberFiles, Members, MembersError, Refusal};
pub use node::{
    AddressError, Addresses, Clock, Downlinks, Endpoint, EndpointConfig, InProcessNetwork, Limits, Node, NodeConfig,
    NodeError, NodeIdentity, NodeReport, Observer, PathDelay, PathFaults, PathState, Role, Shaping, Standstill,
    Traffic, TransportKind, cause_of, host_of,
};
pub use notifier::Notifier;
pub use observed::{
    AgentStatus, Asked, Caretakers, CaretakersError, HTTP_ADDRESS, HttpAddress, HttpError, Metric, MetricsText,
    OutputFormat, Question, StatusArguments, ask_agent, serve_metrics,
};
pub use open_files::{connections_within, raise_file_limit};
pub use rate_limit::{LinkUse, TokenBucket};
pub use rate_schedule::{RateLimit, RateSchedule};
pub use shared_link::SharedLink;
pub use store::{
    Answer, ChunkPool, ChunkSink, ChunkStore, Claiming, ClaimingStore, Corrupt, CorruptStore, DiskOptions, DiskStore,
    Faulty, Gate, Looked, MemoryStore, Placed, Received, Stalling, StallingStore, StoreError, StoreOpener,
};
pub use threads::agent_runtime;
pub use traffic_class::{TRAFFIC_CLASS, TrafficClass};
pub use trust::{Trust, TrustError};
