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
//!
//! ```
//! use signing::{Moment, SecretKey, Terms, TrustedKeys};
//! use swarm::Manifest;
//!
//! let manifest = Manifest::of("build-1.zip", &[7; 3000], 1024)?;
//! let key = SecretKey::generate()?;
//! let terms = Terms { sequence: 1, signed: Moment::now(), expires: None };
//! let text = key.sign(&manifest, terms).to_string();
//! // At a host, which has the public key and the text.
//! let trusted = TrustedKeys::of([key.public()]);
//! let signature = trusted.check("build-1.zip", Some(&text), Moment::now())?;
//! assert!(signature.fits(&manifest));
//! assert!(trusted.check("build-2.zip", Some(&text), Moment::now()).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
