//! Who made a build, and who is a member: keys in files, signatures and certificates in a line of text, and the sets of keys that a host or a
//! seeder believes.
//!
//! Invariant: a [`Signature`] that [`TrustedKeys::verify`] lets through was made with one of its keys for this very build id and root,
//! and neither before nor after its time. What it says of the build's size is for the caller to hold against the manifest.
//!
//! The same of a [`Certificate`] that [`TrustedKeys::admit`] lets through: for this very peer id, and in its time.
//!
//! What is signed is [`Claim::message`], and [`Member::message`] of a member: a fixed order of fields, each of known length, behind the name of what it is for, so that
//! nothing that was signed for another purpose, or for another build, passes for it. Nothing here knows a network or a bucket.

mod certificate;
mod claim;
mod keys;
mod membership;
mod moment;
mod signature;
mod trust;

pub use certificate::{
    CERTIFICATE_TEXT_MAX, Certificate, DenyList, Member, MemberTerms, MembersFileError, NotACertificate, NotAMember,
};
pub use claim::{Claim, Terms};
pub use keys::{KeyError, PublicKey, SecretKey, public_file_of};
pub use membership::NotAdmitted;
pub use moment::Moment;
pub use signature::{NotASignature, SIGNATURE_TEXT_MAX, Signature};
pub use trust::{Refused, TrustError, TrustedKeys};
