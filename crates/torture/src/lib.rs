//! Deterministic simulation testing of the swarm's core.
//!
//! A *day* ([`Day`]) is drawn from a class and a seed: a fleet, a build, a network, and what goes wrong when. It is played in
//! virtual time by a driver of its own, and a referee checks while it runs what is promised ([`Invariant`]). What breaks a promise
//! is made smaller ([`shrink`]) and can be played again by its seed. [`Course`] plays days by the thousand, over all cores.
//!
//! ```
//! use torture::{Class, Trace, day, play};
//!
//! let played = play(&day(Class::Calm, 1, Some(3)), Trace::off());
//! assert_eq!(played.broken, None);
//! ```

mod bound;
mod class;
mod course;
mod day;
mod draw;
mod play;
mod queue;
mod referee;
mod regressions;
mod shrink;
mod summary;
mod trace;
mod verdict;
mod world;

pub use class::Class;
pub use course::{Course, Failure, Given, Told};
pub use day::{
    Build, Day, FOR_EVER, Fault, FaultKind, Flood, HostPlan, Joins, Leaves, Link, MILLISECOND, Nanos, Network, Only,
    Role, SECOND, Settings, Share, Store, Way,
};
pub use draw::day;
pub use play::{Played, play};
pub use regressions::{Regression, regressions};
pub use shrink::shrink;
pub use summary::{ClassSummary, Summary};
pub use trace::Trace;
pub use verdict::{Invariant, Violation};
