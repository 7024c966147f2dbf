//! Who made a build: keys in files, signatures in a line of text, and the set of keys that a host or a seeder believes.
//!
//! Invariant: a [`Signature`] that [`TrustedKeys::verify`] lets through was made with one of its keys for this very build id and root,
//! and neither before nor after its time. What it says of the build's size is for the caller to hold against the manifest.
//!
//! What is signed is [`Claim::message`]: a fixed order of fields, each of known length, behind the name of what it is for, so that
//! nothing that was signed for another purpose, or for another build, passes for it. Nothing here knows a network or a bucket.

mod claim;
mod keys;
mod moment;
mod signature;
mod trust;

pub use claim::{Claim, Terms};
pub use keys::{KeyError, PublicKey, SecretKey, public_file_of};
pub use moment::Moment;
pub use signature::{NotASignature, SIGNATURE_TEXT_MAX, Signature};
pub use trust::{Refused, TrustError, TrustedKeys};
