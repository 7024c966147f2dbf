//! Who is a member: what a certificate says of a host or a seeder, and the bytes that are signed of it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::keys::{PublicKey, SecretKey, read_short};
use crate::moment::Moment;
use crate::signature::{NotASignature as Wrong, moment, parsed};

/// What is said of a member, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member(MemberTerms);

/// What a member may be said to be, before it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberTerms {
    /// The peer id that its key hashes to, as text.
    pub peer: String,
    /// What the host is called, in rows too.
    pub host: String,
    /// Its availability zone; in none where absent.
    pub zone: Option<String>,
    /// What it belongs to.
    pub groups: Vec<String>,
    /// Where others may be told to dial it, besides where it is seen to come from.
    pub addresses: Vec<IpAddr>,
    /// From when on it is one.
    pub not_before: Moment,
    /// Until when.
    pub not_after: Moment,
}

/// What cannot be said of a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its {field} is {value:?}; expected {expected}")]
pub struct NotAMember {
    /// Which field.
    pub field: &'static str,
    /// What was given.
    pub value: String,
    /// What could be.
    pub expected: &'static str,
}

/// What somebody says of a member, and the proof that they do. Whether they are to be believed is for [`crate::TrustedKeys`] to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    key: PublicKey,
    member: Member,
    proof: [u8; 64],
}

/// Why a text is no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACertificate {
    /// It is of another kind.
    #[error("it does not begin with {PREFIX}; expected what `harness certify` prints")]
    Prefix,
    /// It is too long.
    #[error("it has {length} bytes; expected {CERTIFICATE_TEXT_MAX} at most")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// A field is missing, is in another's place, or has no such value.
    #[error(transparent)]
    Field(#[from] Wrong),
    /// What it says can be said of no member.
    #[error(transparent)]
    Member(#[from] NotAMember),
}

/// Why a file with a certificate, or of those who are no members any more, cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MembersFileError {
    /// The file system.
    #[error("failed to read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// There is no certificate in it.
    #[error("{} has no certificate in it; expected a line as `harness certify` prints it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line is none.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// Those who are no members any more though their certificates say so: by peer id, or by host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenyList {
    names: BTreeSet<String>,
}

impl Member {
    /// A member of whom that can be said.
    ///
    /// # Errors
    /// Where a name has other characters or is too long, there is too much of something, or it would end before it begins.
    pub fn new(terms: MemberTerms) -> Result<Self, NotAMember> {
        let MemberTerms {
            peer,
            host,
            zone,
            groups,
            addresses,
            not_before,
            not_after,
        } = &terms;
        let wrong = |field, value: &str, expected| NotAMember {
            field,
            value: value.chars().take(80).collect(),
            expected,
        };
        if !is_name(peer, PEER_MAX) || !peer.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(wrong(
                "peer",
                peer,
                "a peer id such as 12D3Koo…, as `peer --print-id` prints it",
            ));
        }
        if !is_name(host, HOST_MAX) {
            return Err(wrong("host", host, "1 to 128 letters, digits and . _ : @ / + -"));
        }
        if let Some(zone) = zone.as_ref().filter(|zone| !is_name(zone, ZONE_MAX)) {
            return Err(wrong("zone", zone, "1 to 64 letters, digits and . _ : @ / + -"));
        }
        if groups.len() > GROUPS_MAX {
            return Err(wrong("groups", &groups.join(","), "16 at most"));
        }
        if let Some(group) = groups.iter().find(|group| !is_name(group, GROUP_MAX)) {
            return Err(wrong(
                "groups",
                group,
                "each of 1 to 32 letters, digits and . _ : @ / + -",
            ));
        }
        if addresses.len() > ADDRESSES_MAX {
            return Err(wrong("addresses", &addresses.len().to_string(), "8 at most"));
        }
        if not_after <= not_before {
            return Err(wrong(
                "until",
                &not_after.to_string(),
                "a time after that from which it is one",
            ));
        }
        Ok(Self(terms))
    }

    /// Its peer id, as text.
    pub fn peer(&self) -> &str {
        &self.0.peer
    }

    /// What the host is called.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Its availability zone.
    pub fn zone(&self) -> Option<&str> {
        self.0.zone.as_deref()
    }

    /// What it belongs to.
    pub fn groups(&self) -> &[String] {
        &self.0.groups
    }

    /// Where others may be told to dial it, besides where it is seen to come from.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.0.addresses
    }

    /// From when on it is one.
    pub const fn not_before(&self) -> Moment {
        self.0.not_before
    }

    /// Until when.
    pub const fn not_after(&self) -> Moment {
        self.0.not_after
    }

    /// The bytes that are signed. Each field has a fixed length or comes behind its length or count: no two members have the same bytes.
    pub fn message(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(512);
        message.extend_from_slice(DOMAIN);
        message.extend_from_slice(&self.0.not_before.as_millis().to_le_bytes());
        message.extend_from_slice(&self.0.not_after.as_millis().to_le_bytes());
        put(&mut message, &self.0.peer);
        put(&mut message, &self.0.host);
        // No zone has an empty name.
        put(&mut message, self.0.zone.as_deref().unwrap_or_default());
        put_list(&mut message, self.0.groups.iter());
        put_list(&mut message, self.0.addresses.iter().map(IpAddr::to_string));
        message
    }
}

impl Certificate {
    /// Who says so.
    pub const fn key(&self) -> PublicKey {
        self.key
    }

    /// What is said, whether it is to be believed or not.
    pub const fn member(&self) -> &Member {
        &self.member
    }

    /// Whether its key has said this.
    pub(crate) fn is_proven(&self) -> bool {
        self.key.has_signed(&self.member.message(), &self.proof)
    }

    /// The first certificate of a file.
    ///
    /// # Errors
    /// Where the file cannot be read, or has none.
    pub fn read(path: &Path) -> Result<Self, MembersFileError> {
        let Some((line, text)) = lines_of(path)?.into_iter().next() else {
            return Err(MembersFileError::Empty { path: path.to_owned() });
        };
        text.parse().map_err(|error: NotACertificate| MembersFileError::Line {
            path: path.to_owned(),
            line,
            reason: error.to_string(),
        })
    }
}

impl SecretKey {
    /// Says of somebody that they are a member.
    pub fn certify(&self, member: Member) -> Certificate {
        Certificate {
            key: self.public(),
            proof: self.sign_message(&member.message()),
            member,
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Member(MemberTerms {
            peer,
            host,
            zone,
            groups,
            addresses,
            not_before,
            not_after,
        }) = &self.member;
        let zone = zone.as_deref().unwrap_or_default();
        let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        write!(f, "{PREFIX};key={};peer={peer};host={host};zone={zone}", self.key)?;
        write!(f, ";groups={};addresses={}", groups.join(","), addresses.join(","))?;
        write!(f, ";from={};until={}", not_before.as_millis(), not_after.as_millis())?;
        write!(f, ";proof={}", URL_SAFE_NO_PAD.encode(self.proof))
    }
}

impl FromStr for Certificate {
    type Err = NotACertificate;

    fn from_str(text: &str) -> Result<Self, NotACertificate> {
        if text.len() > CERTIFICATE_TEXT_MAX {
            return Err(NotACertificate::TooLong { length: text.len() });
        }
        let mut fields = text.trim().split(';');
        if fields.next() != Some(PREFIX) {
            return Err(NotACertificate::Prefix);
        }
        let mut next = |field: &'static str| {
            let value = fields
                .next()
                .and_then(|value| value.strip_prefix(field)?.strip_prefix('='));
            value.ok_or(Wrong::Missing { field })
        };
        let key = parsed("key", next("key")?, "a public key", |text| text.parse().ok())?;
        let (peer, host, zone) = (next("peer")?, next("host")?, next("zone")?);
        let groups = list(next("groups")?);
        let addresses = parsed("addresses", next("addresses")?, "IP addresses", |text| {
            // One text of an address is as good as the other to a machine; there is to be one only.
            let exact = |text: &&str| text.parse().ok().filter(|ip: &IpAddr| ip.to_string() == *text);
            let listed: Vec<&str> = text.split(',').filter(|_| !text.is_empty()).collect();
            listed.iter().map(exact).collect()
        })?;
        let not_before = parsed("from", next("from")?, MILLIS, moment)?;
        let not_after = parsed("until", next("until")?, MILLIS, moment)?;
        let proof = parsed("proof", next("proof")?, "86 characters", |text| {
            URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
        })?;
        if fields.next().is_some() {
            return Err(Wrong::Trailing.into());
        }
        let member = Member::new(MemberTerms {
            peer: peer.to_owned(),
            host: host.to_owned(),
            zone: Some(zone.to_owned()).filter(|zone| !zone.is_empty()),
            groups,
            addresses,
            not_before,
            not_after,
        })?;
        Ok(Self { key, member, proof })
    }
}

impl DenyList {
    /// The names of a file, one in a line: peer ids and hosts. What follows a `#` is not read.
    ///
    /// # Errors
    /// Where the file cannot be read, or a line cannot be the name of anybody.
    pub fn read(path: &Path) -> Result<Self, MembersFileError> {
        let mut names = BTreeSet::new();
        for (line, text) in lines_of(path)? {
            let name = text.split_whitespace().next().unwrap_or_default();
            if !is_name(name, HOST_MAX) {
                return Err(MembersFileError::Line {
                    path: path.to_owned(),
                    line,
                    reason: "expected a peer id or a host, and what it is there for after a #".to_owned(),
                });
            }
            names.insert(name.to_owned());
        }
        Ok(Self { names })
    }

    /// Whether this member is on it.
    pub fn has(&self, member: &Member) -> bool {
        self.names.contains(member.peer()) || self.names.contains(member.host())
    }
}

/// The lines of a file that say something, by their numbers.
fn lines_of(path: &Path) -> Result<Vec<(usize, String)>, MembersFileError> {
    let text = File::open(path).and_then(read_short);
    let text = text.map_err(|source| MembersFileError::File {
        path: path.to_owned(),
        source,
    })?;
    let said = |(line, text): (usize, &str)| {
        let text = text.split('#').next().unwrap_or_default().trim();
        (!text.is_empty()).then(|| (line, text.to_owned()))
    };
    Ok((1..).zip(text.lines()).filter_map(said).collect())
}

fn list(text: &str) -> Vec<String> {
    let parts = text.split(',').filter(|_| !text.is_empty());
    parts.map(str::to_owned).collect()
}

/// Names need no quoting, in a certificate, a row or a terminal.
fn is_name(text: &str, length_max: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@/+-".contains(&byte);
    (1..=length_max).contains(&text.len()) && text.bytes().all(fits)
}

fn put(message: &mut Vec<u8>, text: &str) {
    message.extend_from_slice(&(text.len() as u64).to_le_bytes());
    message.extend_from_slice(text.as_bytes());
}

fn put_list(message: &mut Vec<u8>, texts: impl ExactSizeIterator<Item = impl AsRef<str>>) {
    message.extend_from_slice(&(texts.len() as u64).to_le_bytes());
    for text in texts {
        put(message, text.as_ref());
    }
}

/// Bytes of a certificate's text at most: the longest is shorter by a quarter.
pub const CERTIFICATE_TEXT_MAX: usize = 2048;
const PREFIX: &str = "fleetcast-certificate-1";
/// What these bytes are for: the keys may sign other things too.
const DOMAIN: &[u8] = b"fleetcast 1 member\0";
const MILLIS: &str = "milliseconds since 1970";
const PEER_MAX: usize = 64;
const HOST_MAX: usize = 128;
const ZONE_MAX: usize = 64;
const GROUPS_MAX: usize = 16;
const GROUP_MAX: usize = 32;
const ADDRESSES_MAX: usize = 8;

#[cfg(test)]
mod tests;
