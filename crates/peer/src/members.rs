//! Who may be talked to: those whose certificate is of a key that may say so, for their peer id, in its time, and who are not denied. And
//! what this process shows of itself.
//!
//! Invariant: who is in the book of those that were admitted has shown a certificate that was proven then. Whether it holds now is asked
//! again and again ([`Members::gone`]): keys, deny list and clock go on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use libp2p::PeerId;
use parking_lot::Mutex;
use signing::{
    CERTIFICATE_TEXT_MAX, Certificate, DenyList, Member, MembersFileError, Moment, NotACertificate, NotAdmitted,
    TrustError, TrustedKeys,
};

use crate::node::numbers_of;
use crate::proven;

/// Where it is written who is a member, and what this process shows.
#[derive(Clone, Debug)]
pub struct MemberFiles {
    /// The keys that may certify members.
    pub members: PathBuf,
    /// The own certificate.
    pub certificate: PathBuf,
    /// Those who are no members though their certificates say so.
    pub deny: Option<PathBuf>,
    /// Of which groups a member is to be of one; of any or none where empty.
    pub groups: Vec<String>,
}

/// Who may be talked to.
#[derive(Debug)]
pub struct Members {
    own: PeerId,
    known: Mutex<Arc<Known>>,
    /// By what hashes are made of their keys, as links have it.
    admitted: Mutex<HashMap<[u64; 2], Admitted>>,
    files: Option<MemberFiles>,
    now: fn() -> Moment,
}

#[derive(Clone, Debug)]
struct Admitted {
    peer: PeerId,
    certificate: Arc<Certificate>,
}

#[derive(Clone, Debug)]
struct Known {
    keys: TrustedKeys,
    denied: DenyList,
    certificate: Arc<Certificate>,
    shown: Arc<str>,
    groups: Vec<String>,
    /// What was said of files that cannot be read, so that it is said once.
    complaint: Option<String>,
}

/// Why a process has no part in a closed swarm.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// The keys that may certify.
    #[error("--members")]
    Keys(#[source] TrustError),
    /// The own certificate cannot be read.
    #[error("--certificate")]
    Certificate(#[source] MembersFileError),
    /// The deny list cannot be read.
    #[error("--deny")]
    Deny(#[source] MembersFileError),
    /// The own certificate does not make this process a member.
    #[error("--certificate {}: this process is no member: {why}", path.display())]
    NotAdmitted {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: Refusal,
    },
}

/// Why somebody is not talked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// By its certificate.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// It is on the deny list.
    #[error("{peer} ({host}) is on the deny list")]
    Denied {
        /// Its peer id.
        peer: String,
        /// What it is called.
        host: String,
    },
    /// It is of no group that is wanted.
    #[error("{host} is of none of the groups {wanted}")]
    OtherGroup {
        /// What it is called.
        host: String,
        /// Of which it should be one.
        wanted: String,
    },
    /// It has shown nothing yet.
    #[error("it has shown no certificate")]
    Unknown,
}

impl Members {
    /// Those whom these keys certify; `certificate` is what the process with the peer id `own` shows.
    ///
    /// # Errors
    /// Where it does not make that one a member.
    pub fn of(own: PeerId, keys: TrustedKeys, certificate: Certificate) -> Result<Self, Refusal> {
        let known = Known {
            keys,
            denied: DenyList::default(),
            shown: certificate.to_string().into(),
            certificate: Arc::new(certificate),
            groups: Vec::new(),
            complaint: None,
        };
        known.admit(own, &known.certificate, Moment::now())?;
        Ok(Self {
            own,
            known: Mutex::new(Arc::new(known)),
            admitted: Mutex::default(),
            files: None,
            now: Moment::now,
        })
    }

    /// What these files say, now and later.
    ///
    /// # Errors
    /// Where one of them cannot be read, or the own certificate is none of a member's.
    pub fn from_files(own: PeerId, files: MemberFiles) -> Result<Self, MembersError> {
        let known = Known::read(own, &files, Moment::now())?;
        Ok(Self {
            own,
            known: Mutex::new(Arc::new(known)),
            admitted: Mutex::default(),
            files: Some(files),
            now: Moment::now,
        })
    }

    /// What is said of this process: what it is called, and where it is.
    pub fn own(&self) -> Member {
        self.known.lock().certificate.member().clone()
    }

    /// What this process shows.
    pub(crate) fn shown(&self) -> Arc<str> {
        Arc::clone(&self.known.lock().shown)
    }

    /// Whether what `peer` has shown makes it a member, who is then known to be one.
    ///
    /// # Errors
    /// Where it does not, and why.
    pub(crate) fn admit(&self, peer: PeerId, shown: &[u8]) -> Result<(), Refusal> {
        let (known, now, mark) = (self.known(), (self.now)(), numbers_of(peer));
        let certificate = if let Some(certificate) = proven::known(shown) {
            known.admit_proven(&peer.to_base58(), &certificate, now)?;
            certificate
        } else {
            let certificate = Arc::new(parsed(shown)?);
            known.admit(peer, &certificate, now)?;
            proven::note(shown, &certificate);
            certificate
        };
        let mut admitted = self.admitted.lock();
        if admitted.len() >= ADMITTED_MAX && !admitted.contains_key(&mark) {
            admitted.retain(|_, other| other.certificate.member().not_after() >= now);
        }
        admitted.insert(mark, Admitted { peer, certificate });
        Ok(())
    }

    /// Who was admitted shows another certificate. One that does not last longer than that before is not looked at.
    pub(crate) fn admit_again(&self, mark: [u64; 2], shown: &[u8]) {
        let Some(Admitted { peer, certificate }) = self.admitted.lock().get(&mark).cloned() else {
            return;
        };
        let lasts_longer = |new: &Certificate| new.member().not_after() > certificate.member().not_after();
        let admitted = match parsed(shown) {
            Ok(new) if lasts_longer(&new) => self.admit(peer, shown),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(why) = admitted {
            tracing::debug!(%peer, %why, "what it shows anew does not count");
        }
    }

    /// What is said of who was admitted, whether it holds now or not: a [`Members::gone`] has its links end.
    pub(crate) fn standing(&self, mark: [u64; 2]) -> Option<Arc<Certificate>> {
        let admitted = self.admitted.lock();
        admitted.get(&mark).map(|admitted| Arc::clone(&admitted.certificate))
    }

    /// What is said of who was admitted and would be now.
    ///
    /// # Errors
    /// Where it would not be, and why.
    pub(crate) fn standing_now(&self, mark: [u64; 2]) -> Result<Arc<Certificate>, Refusal> {
        let certificate = self.standing(mark).ok_or(Refusal::Unknown)?;
        self.known().still_admits(&certificate, (self.now)())?;
        Ok(certificate)
    }

    /// Those who were admitted and would not be now, and why.
    pub(crate) fn gone(&self) -> HashMap<[u64; 2], (PeerId, Refusal)> {
        let (known, now) = (self.known(), (self.now)());
        let admitted = self.admitted.lock();
        let gone = admitted.iter().filter_map(|(mark, admitted)| {
            let why = known.still_admits(&admitted.certificate, now).err()?;
            Some((*mark, (admitted.peer, why)))
        });
        gone.collect()
    }

    /// Whether this process is a member itself.
    ///
    /// # Errors
    /// Where it is none any more, and why.
    pub(crate) fn own_standing(&self) -> Result<(), Refusal> {
        let known = self.known();
        known.still_admits(&known.certificate, (self.now)())
    }

    /// Nobody is connected with this one any more.
    pub(crate) fn forget(&self, peer: PeerId) {
        self.admitted.lock().remove(&numbers_of(peer));
    }

    /// Whether what it knows is in files, and may change.
    pub(crate) const fn has_files(&self) -> bool {
        self.files.is_some()
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.lock())
    }

    /// Reads the files again. Whether this process shows another certificate than before. What cannot be read is told, once, and what
    /// was read last stays.
    pub(crate) fn reread(&self) -> bool {
        let Some(files) = &self.files else {
            return false;
        };
        let now = (self.now)();
        // Each file by itself: one that is broken keeps no other from being honoured.
        let mut complaints = Vec::new();
        let mut next = Known::clone(&self.known());
        match TrustedKeys::read(&files.members) {
            Ok(keys) => next.keys = keys,
            Err(error) => complaints.push(told("--members", &error)),
        }
        match files.deny.as_deref().map(DenyList::read).transpose() {
            Ok(denied) => next.denied = denied.unwrap_or_default(),
            Err(error) => complaints.push(told("--deny", &error)),
        }
        let mut is_new = false;
        match Certificate::read(&files.certificate) {
            Ok(certificate) if certificate == *next.certificate => {}
            Ok(certificate) => match next.admit(self.own, &certificate, now) {
                Ok(()) => {
                    next.shown = certificate.to_string().into();
                    next.certificate = Arc::new(certificate);
                    is_new = true;
                }
                Err(why) => complaints.push(format!("--certificate {}: {why}", files.certificate.display())),
            },
            Err(error) => complaints.push(told("--certificate", &error)),
        }
        if let Err(why) = next.still_admits(&next.certificate, now) {
            complaints.push(format!(
                "this process is no member any more, and others end its connections: {why}"
            ));
        }
        let complaint = (!complaints.is_empty()).then(|| complaints.join("; "));
        let before = next.complaint.as_deref().map(kind);
        if let Some(complaint) = complaint.as_deref().filter(|complaint| before != Some(kind(complaint))) {
            tracing::warn!("what was read last stays: {complaint}");
        }
        if complaint.is_none() && next.complaint.is_some() {
            tracing::warn!("certificates, keys and deny list of members are all well again");
        }
        if is_new {
            let until = next.certificate.member().not_after();
            tracing::info!(%until, "this process has a new certificate");
        }
        next.complaint = complaint;
        *self.known.lock() = Arc::new(next);
        is_new
    }
}

/// A complaint without its digits: times in it move on.
fn kind(complaint: &str) -> String {
    complaint.chars().filter(|c| !c.is_ascii_digit()).collect()
}

impl Known {
    fn read(own: PeerId, files: &MemberFiles, now: Moment) -> Result<Self, MembersError> {
        let keys = TrustedKeys::read(&files.members).map_err(MembersError::Keys)?;
        let denied = files.deny.as_deref().map(DenyList::read).transpose();
        let denied = denied.map_err(MembersError::Deny)?.unwrap_or_default();
        let certificate = Certificate::read(&files.certificate).map_err(MembersError::Certificate)?;
        let known = Self {
            keys,
            denied,
            shown: certificate.to_string().into(),
            certificate: Arc::new(certificate),
            groups: files.groups.clone(),
            complaint: None,
        };
        match known.admit(own, &known.certificate, now) {
            Ok(()) => Ok(known),
            Err(why) => Err(MembersError::NotAdmitted {
                path: files.certificate.clone(),
                why,
            }),
        }
    }

    fn admit(&self, peer: PeerId, certificate: &Certificate, now: Moment) -> Result<(), Refusal> {
        self.keys.admit(certificate, &peer.to_base58(), now)?;
        self.wants(certificate.member())
    }

    /// Of a certificate that was found proven before.
    fn admit_proven(&self, peer: &str, certificate: &Certificate, now: Moment) -> Result<(), Refusal> {
        self.keys.admit_proven(certificate, peer, now)?;
        self.wants(certificate.member())
    }

    /// Of one who was admitted with that.
    fn still_admits(&self, certificate: &Certificate, now: Moment) -> Result<(), Refusal> {
        self.admit_proven(certificate.member().peer(), certificate, now)
    }

    fn wants(&self, member: &Member) -> Result<(), Refusal> {
        if self.denied.has(member) {
            return Err(Refusal::Denied {
                peer: member.peer().to_owned(),
                host: member.host().to_owned(),
            });
        }
        let is_of_one = self.groups.is_empty() || self.groups.iter().any(|group| member.groups().contains(group));
        if !is_of_one {
            return Err(Refusal::OtherGroup {
                host: member.host().to_owned(),
                wanted: self.groups.join(", "),
            });
        }
        Ok(())
    }
}

fn parsed(shown: &[u8]) -> Result<Certificate, NotAdmitted> {
    if shown.len() > CERTIFICATE_TEXT_MAX {
        return Err(NotACertificate::TooLong { length: shown.len() }.into());
    }
    let text = std::str::from_utf8(shown).unwrap_or_default();
    Ok(text.parse::<Certificate>()?)
}

fn told(what: &str, error: &(dyn std::error::Error + 'static)) -> String {
    format!("{what} {}", program::chain(error))
}

/// Peers that are remembered to have been admitted: more than any process has connections.
const ADMITTED_MAX: usize = 200_000;
