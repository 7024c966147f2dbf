//! Why a host was late.
//!
//! What passes at the border of a host's core, its events and its actions, is the same in a live run and in a forecast. A
//! [`Recorder`] looks at it and keeps, for some of the chunks, when a host asked for each, whom, when that one began to send, and
//! when the chunk was stored. [`Records`] are what a run keeps of that, as a file. [`Reasons`] go from a host's last chunk back to the
//! bucket: what each step waited for is a [`Cause`].
//!
//! It decides nothing of the protocol, and nothing of the protocol knows of it.
//!
//! ```no_run
//! use explain::{Reasons, Records};
//! use scenario::Slack;
//!
//! let records = Records::from_bytes(&std::fs::read("forecast/records.bin")?)?;
//! let reasons = Reasons::new(&records, Slack::default());
//! for last in reasons.sentences(3) {
//!     println!("{}", last.sentence);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cause;
mod file;
mod flow;
mod links;
mod packed;
mod path;
mod reasons;
mod recorder;
mod records;
mod sample;
mod start;
mod text;
mod verdict;
mod words;

pub use cause::Cause;
pub use file::FileError;
pub use flow::{Flow, Received};
pub use path::{Path, Step};
pub use reasons::{LastHost, Reasons, Shares};
pub use recorder::Recorder;
pub use records::{Asked, ChunkRecord, HostRecord, Member, Records, RegionRecords, RunFacts, Source, State};
pub use sample::{CHUNKS_LEAST, RECORDS_MAX, Sample};
pub use verdict::Verdict;
pub use words::{WORDS, Word, markdown, meaning};

use swarm::Time;

/// Nanoseconds of one tick, in which times are kept: 32 bits of them are two days and a half.
pub const TICK_NANOS: u64 = 50_000;

/// Time as ticks; 0 stands for never, so the least is 1.
pub fn ticks(at: Time) -> u32 {
    u32::try_from(at.as_nanos() / TICK_NANOS).unwrap_or(u32::MAX).max(1)
}
