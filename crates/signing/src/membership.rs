//! Whether a certificate makes whoever has shown it a member.

use crate::certificate::{Certificate, NotACertificate};
use crate::keys::PublicKey;
use crate::moment::{Moment, in_words};
use crate::trust::{CLOCKS_APART_MAX, TrustedKeys};

/// Why somebody is no member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// What was shown is none.
    #[error("it has shown no certificate: {0}")]
    NotACertificate(#[from] NotACertificate),
    /// Somebody else has issued it.
    #[error("its certificate is of {key}, whose word on members is not taken here")]
    Untrusted {
        /// The key.
        key: Box<PublicKey>,
    },
    /// It is of another peer.
    #[error("its certificate is of another peer: of {certified}, and it is {peer}")]
    OtherPeer {
        /// Whose it is.
        certified: String,
        /// Who has shown it.
        peer: String,
    },
    /// The proof is none.
    #[error("its certificate was changed since it was made, or {key} has not made it")]
    Forged {
        /// The key that it names.
        key: Box<PublicKey>,
    },
    /// Its time is over.
    #[error(
        "its certificate has ended at {ended}, {} ago by this machine's clock ({now}); it needs a new one, or the clock is wrong",
        in_words(now.since(*ended))
    )]
    Ended {
        /// When.
        ended: Moment,
        /// What the clock says.
        now: Moment,
    },
    /// Its time has not come.
    #[error(
        "its certificate begins at {begins}, {} from now by this machine's clock ({now}); set the clock if that is wrong",
        in_words(begins.since(*now))
    )]
    NotYet {
        /// When.
        begins: Moment,
        /// What the clock says.
        now: Moment,
    },
}

impl TrustedKeys {
    /// Whether a certificate makes the one who has proven to be `peer` a member now.
    ///
    /// # Errors
    /// Where it does not, and why.
    pub fn admit(&self, certificate: &Certificate, peer: &str, now: Moment) -> Result<(), NotAdmitted> {
        self.admit_proven(certificate, peer, now)?;
        if !certificate.is_proven() {
            let key = Box::new(certificate.key());
            return Err(NotAdmitted::Forged { key });
        }
        Ok(())
    }

    /// The same of a certificate that was found proven before, for these keys or others.
    ///
    /// # Errors
    /// Where it does not make the peer a member any more, and why.
    pub fn admit_proven(&self, certificate: &Certificate, peer: &str, now: Moment) -> Result<(), NotAdmitted> {
        let (key, member) = (certificate.key(), certificate.member());
        if !self.keys().contains(&key) {
            let key = Box::new(key);
            return Err(NotAdmitted::Untrusted { key });
        }
        if member.peer() != peer {
            let (certified, peer) = (member.peer().to_owned(), peer.to_owned());
            return Err(NotAdmitted::OtherPeer { certified, peer });
        }
        let (begins, ended) = (member.not_before(), member.not_after());
        if begins > now.plus(CLOCKS_APART_MAX) {
            return Err(NotAdmitted::NotYet { begins, now });
        }
        if ended < now {
            return Err(NotAdmitted::Ended { ended, now });
        }
        Ok(())
    }
}
