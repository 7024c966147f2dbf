//! The swarm's protocol core. It does no I/O: no sockets, no clock, no threads, no AWS, and it never sees payload bytes.
//!
//! A driver (live over libp2p, or a simulation in virtual time) feeds [`Event`]s, carries out [`Action`]s, and comes back
//! at the next wakeup. Time and the seed of all randomness are arguments, so equal input gives equal output:
//!
//! ```
//! use swarm::{Action, Contact, Event, HostId, Message, Peer, PeerConfig, Time};
//!
//! let seeder = Contact { host: HostId::new(0), address: "seeder".into() };
//! let mut peer = Peer::new(PeerConfig::new(HostId::new(1), "me".into(), seeder.clone()), 7, Time::ZERO);
//!
//! // It wants to reach its seeder first …
//! assert_eq!(peer.poll_action(), Some(Action::Connect(seeder)));
//! assert_eq!(peer.poll_action(), None);
//!
//! // … and once it has, it announces itself there.
//! peer.handle_event(Time::from_nanos(1_000), Event::Connected(HostId::new(0)));
//! let announce = peer.poll_action();
//! assert!(matches!(announce, Some(Action::Send(_, Message::Announce { wanted: 6, .. }))));
//!
//! // Nothing else to do: wait for input, or until the time at which it would repeat itself.
//! assert_eq!(peer.poll_action(), None);
//! assert!(peer.next_wakeup().is_some());
//! ```

#![warn(clippy::iter_over_hash_type, clippy::cast_possible_truncation, clippy::float_cmp)]

mod availability;
mod bitfield;
mod chunk_scheduler;
mod event;
mod holdings;
pub mod lower_bound;
mod manifest;
mod neighbours;
mod overlay;
mod peer;
mod seeder;
mod stats;
mod timer_table;
mod tracker;
mod units;
mod upload_queue;
mod upload_slots;
mod verifier;
pub mod wire;

pub use availability::Availability;
pub use bitfield::Bitfield;
pub use chunk_scheduler::{ChunkPolicy, ChunkScheduler};
pub use event::{Action, DisconnectReason, Event, News, PROGRESS_INTERVAL};
pub use holdings::{Heard, Holdings};
pub use manifest::{
    BUILD_ID_LENGTH_MAX, BuildInfo, CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, CHUNKS_MAX, Hash, Manifest, ManifestError,
    default_chunk_size,
};
pub use overlay::Overlay;
pub use peer::{Peer, PeerConfig};
pub use seeder::{Part, Seeder, SeederConfig};
pub use stats::{Payload, PeerStats, SeederStats};
pub use units::{ByteRate, Bytes, ChunkIndex, HostId, SwarmId, Time, ZoneId};
pub use verifier::{Signed, Verifier};
pub use wire::{Contact, Message};
