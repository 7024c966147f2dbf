//! Whom to believe: a set of public keys, from a file with one in a line, and what they say of a build.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use swarm::Hash;

use crate::keys::{PublicKey, read_short};
use crate::moment::{Moment, in_words};
use crate::signature::{NotASignature, Signature};

/// Keys whose word on a build is believed: several while one takes the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKeys {
    keys: Vec<PublicKey>,
}

/// Why there is no set of keys.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file system.
    #[error("failed to read the trusted keys in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// A line has no key in it.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// No line has.
    #[error("{} has no key in it, so nothing would be believed; expected a public key in a line, as `harness keygen` writes it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Why a build is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody has signed it.
    #[error("it is not signed")]
    NotSigned,
    /// What it comes with is no signature.
    #[error("what it comes with is no signature: {0}")]
    NotASignature(#[from] NotASignature),
    /// Somebody else has signed it.
    #[error("it is signed with {key}, which is not trusted here ({})", trusted(*.count))]
    Untrusted {
        /// The key.
        key: Box<PublicKey>,
        /// How many are trusted.
        count: usize,
    },
    /// What was signed is another build.
    #[error("its signature is of another build: of root {signed}, and this one's is {root}")]
    OtherRoot {
        /// The root that was signed.
        signed: Hash,
        /// That of the build.
        root: Hash,
    },
    /// The proof is none.
    #[error("its signature with {key} is not of this build id, or was changed since it was made")]
    Forged {
        /// The key that it names.
        key: Box<PublicKey>,
    },
    /// Its time is over.
    #[error(
        "its signature has expired at {expired}, {} ago by this machine's clock ({now}); sign it again, or set the clock if that is wrong",
        in_words(now.since(*expired))
    )]
    Expired {
        /// When.
        expired: Moment,
        /// What the clock says.
        now: Moment,
    },
    /// Its time has not come, which cannot be.
    #[error(
        "its signature was made at {signed}, {} from now by this machine's clock ({now}), which is behind: set it",
        in_words(signed.since(*now))
    )]
    ClockBehind {
        /// When it was made.
        signed: Moment,
        /// What the clock says.
        now: Moment,
    },
}

impl TrustedKeys {
    /// These keys.
    pub fn of(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let keys = keys.into_iter().collect();
        Self { keys }
    }

    /// The keys of a file: one in a line. What follows a `#` is not read, and words after a key are what it is called.
    ///
    /// # Errors
    /// Where the file cannot be read, a line is none of these, or there is no key at all.
    pub fn read(path: &Path) -> Result<Self, TrustError> {
        let text = File::open(path)
            .and_then(read_short)
            .map_err(|source| TrustError::File {
                path: path.to_owned(),
                source,
            })?;
        let mut keys = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.split('#').next().unwrap_or_default();
            let Some(key) = text.split_whitespace().next() else {
                continue;
            };
            let key: PublicKey = key.parse().map_err(|reason| TrustError::Line {
                path: path.to_owned(),
                line,
                reason,
            })?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Err(TrustError::Empty { path: path.to_owned() });
        }
        Ok(Self { keys })
    }

    /// All of them.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// What a signature says, before there is anything to hold it against but the id: that it is of a trusted key, is this build's,
    /// and that its time is now.
    ///
    /// # Errors
    /// Where it is none, or one of that does not hold.
    pub fn check(&self, build_id: &str, text: Option<&str>, now: Moment) -> Result<Signature, Refused> {
        self.check_all(build_id, None, text, now)
    }

    /// The same for a build whose manifest has this root. Size and chunks are still to be held against it ([`Signature::fits`]).
    ///
    /// # Errors
    /// As [`TrustedKeys::check`], and where another root was signed.
    pub fn verify(&self, build_id: &str, root: Hash, text: Option<&str>, now: Moment) -> Result<Signature, Refused> {
        self.check_all(build_id, Some(root), text, now)
    }

    /// In an order in which what helps most is said first. Whoever hears that a signature has expired knows that all else holds.
    fn check_all(
        &self,
        build_id: &str,
        root: Option<Hash>,
        text: Option<&str>,
        now: Moment,
    ) -> Result<Signature, Refused> {
        let signature: Signature = text.ok_or(Refused::NotSigned)?.parse()?;
        let key = signature.key();
        if !self.keys.contains(&key) {
            let count = self.keys.len();
            let key = Box::new(key);
            return Err(Refused::Untrusted { key, count });
        }
        if let Some(root) = root.filter(|root| *root != signature.root()) {
            let signed = signature.root();
            return Err(Refused::OtherRoot { signed, root });
        }
        if !signature.is_of(build_id) {
            return Err(Refused::Forged { key: Box::new(key) });
        }
        let terms = signature.terms();
        let signed = terms.signed;
        if signed > now.plus(CLOCKS_APART_MAX) {
            return Err(Refused::ClockBehind { signed, now });
        }
        if let Some(expired) = terms.expires.filter(|expires| *expires < now) {
            return Err(Refused::Expired { expired, now });
        }
        Ok(signature)
    }
}

fn trusted(count: usize) -> String {
    match count {
        1 => "one other key is".to_owned(),
        count => format!("{count} others are"),
    }
}

/// How far the clocks of who signs and of who verifies may be apart.
pub(crate) const CLOCKS_APART_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use swarm::Manifest;

    use super::*;
    use crate::claim::{Claim, Terms};
    use crate::keys::SecretKey;

    const NOW: u64 = 1_800_000_000_000;
    const HOUR: u64 = 3_600_000;
    const YEARS: u64 = 10 * 8_766 * HOUR;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis).unwrap()
    }

    fn key(number: u8) -> SecretKey {
        SecretKey::from_bytes(&[number; 32])
    }

    fn terms() -> Terms {
        Terms {
            sequence: 5,
            signed: at(NOW),
            expires: Some(at(NOW + 24 * HOUR)),
        }
    }

    fn build() -> Manifest {
        Manifest::of("app.zip", &[7; 1000], 64).unwrap()
    }

    fn verified(keys: &TrustedKeys, signature: &Signature, now: u64) -> Result<Signature, Refused> {
        let build = build();
        keys.verify(build.build_id(), build.root(), Some(&signature.to_string()), at(now))
    }

    #[test]
    fn what_a_trusted_key_has_signed_is_believed_and_nothing_else() {
        let keys = TrustedKeys::of([key(1).public()]);
        let signature = key(1).sign(&build(), terms());
        let verified_one = verified(&keys, &signature, NOW).unwrap();
        assert_eq!(verified_one, signature);
        assert!(verified_one.fits(&build()));
        let others = key(2).sign(&build(), terms());
        assert!(matches!(
            verified(&keys, &others, NOW),
            Err(Refused::Untrusted { count: 1, .. })
        ));
        let unsigned = keys.verify("app.zip", build().root(), None, at(NOW));
        assert_eq!(unsigned, Err(Refused::NotSigned));
    }

    #[test]
    fn a_signature_of_another_build_id_root_or_size_is_none_of_this_build() {
        let keys = TrustedKeys::of([key(1).public()]);
        let (build, now) = (build(), at(NOW));
        let renamed = Manifest::of("other.zip", &[7; 1000], 64).unwrap();
        let text = key(1).sign(&renamed, terms()).to_string();
        let refused = keys.verify("app.zip", build.root(), Some(&text), now);
        assert!(matches!(refused, Err(Refused::OtherRoot { .. })), "{refused:?}");
        // The same where the root is right, and the id is not.
        let claim = Claim::of(&build, terms());
        let text = key(1)
            .sign_claim(&Claim {
                build_id: "other.zip",
                ..claim.clone()
            })
            .to_string();
        let refused = keys.verify("app.zip", build.root(), Some(&text), now);
        assert!(matches!(refused, Err(Refused::Forged { .. })), "{refused:?}");
        let larger = key(1).sign_claim(&Claim { size: 1001, ..claim });
        assert!(!verified(&keys, &larger, NOW).unwrap().fits(&build));
    }

    #[test]
    fn no_field_of_a_signature_can_be_changed() {
        let keys = TrustedKeys::of([key(1).public()]);
        let text = key(1).sign(&build(), terms()).to_string();
        let hour = (NOW + 24 * HOUR).to_string();
        for (from, to) in [
            ("size=1000", "size=1001"),
            ("chunk=64", "chunk=65"),
            ("sequence=5", "sequence=6"),
            (&*format!("signed={NOW}"), "signed=0"),
            (&*format!("expires={hour}"), "expires=never"),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            let refused = keys.verify("app.zip", build().root(), Some(&changed), at(NOW));
            assert!(matches!(refused, Err(Refused::Forged { .. })), "{to}: {refused:?}");
        }
    }

    #[test]
    fn while_a_key_takes_the_place_of_another_both_are_believed() {
        let both = TrustedKeys::of([key(1).public(), key(2).public()]);
        let only_new = TrustedKeys::of([key(2).public()]);
        let (old, new) = (key(1).sign(&build(), terms()), key(2).sign(&build(), terms()));
        assert!(verified(&both, &old, NOW).is_ok() && verified(&both, &new, NOW).is_ok());
        assert!(verified(&only_new, &old, NOW).is_err() && verified(&only_new, &new, NOW).is_ok());
    }

    #[test]
    fn a_clock_that_is_off_by_an_hour_or_ten_years_is_told_of() {
        let keys = TrustedKeys::of([key(1).public()]);
        let signature = key(1).sign(&build(), terms());
        let said = |now| verified(&keys, &signature, now).unwrap_err().to_string();
        assert!(verified(&keys, &signature, NOW + HOUR).is_ok());
        assert!(verified(&keys, &signature, NOW - 9 * 60_000).is_ok());
        assert!(said(NOW - HOUR).contains("1 h from now"), "{}", said(NOW - HOUR));
        assert!(said(NOW - YEARS).contains("10 years from now"), "{}", said(NOW - YEARS));
        assert!(said(NOW + 25 * HOUR).contains("1 h ago"), "{}", said(NOW + 25 * HOUR));
        assert!(said(NOW + 24 * HOUR + YEARS).contains("10 years ago"));
        assert!(said(0).contains("1970-01-01T00:00:00Z") && said(0).contains("set it"));
        let never = Terms {
            expires: None,
            ..terms()
        };
        assert!(verified(&keys, &key(1).sign(&build(), never), NOW + YEARS).is_ok());
    }

    #[test]
    fn a_file_of_keys_has_comments_and_names_and_its_errors_name_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trusted");
        let (one, two) = (key(1).public(), key(2).public());
        let text = format!("# releases\n\n{one} # until March\n  {two} release key of next year\n{one}\n");
        std::fs::write(&path, text).unwrap();
        assert_eq!(TrustedKeys::read(&path).unwrap().keys(), [one, two]);
        let said = |text: String| {
            std::fs::write(&path, text).unwrap();
            TrustedKeys::read(&path).unwrap_err().to_string()
        };
        let wrong = said(format!("{one}\n\nnonsense\n"));
        assert!(wrong.starts_with(&format!("{}:3: ", path.display())), "{wrong}");
        assert!(wrong.contains("expected ed25519:"), "{wrong}");
        assert!(said("ed25519-secret:abc".to_owned()).contains("this is a secret key"));
        assert!(said("# nobody\n".to_owned()).contains("has no key in it"));
        let missing = TrustedKeys::read(&folder.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("none"), "{missing}");
    }
}
