//! The targets, a file each, and the machinery of those that drive a state machine.

pub(crate) mod certificate;
#[cfg(feature = "edges")]
pub(crate) mod directory;
mod driven;
#[cfg(feature = "edges")]
pub(crate) mod events;
pub(crate) mod manifest;
pub(crate) mod peer;
pub(crate) mod scenario;
pub(crate) mod seeder;
pub(crate) mod signature;
pub(crate) mod wire;
