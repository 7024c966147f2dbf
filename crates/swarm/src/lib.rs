//! The swarm's protocol core. It does no I/O: no sockets, no clock, no threads, no AWS.

mod units;

pub use units::{ByteRate, Bytes, ChunkIndex, HostId, Time};
