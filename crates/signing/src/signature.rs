//! A signature as a line of text, which fits into the metadata of an S3 object.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use swarm::{Hash, Manifest};

use crate::claim::{Claim, Terms};
use crate::keys::PublicKey;
use crate::moment::Moment;

/// What somebody says of a build, and the proof that they do. That it is true of a build, and that they are to be believed, is for
/// [`crate::TrustedKeys`] to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    key: PublicKey,
    size: u64,
    chunk_size: u32,
    root: Hash,
    terms: Terms,
    proof: [u8; 64],
}

/// Why a text is no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASignature {
    /// It is of another kind.
    #[error("it does not begin with {PREFIX}; expected what `harness sign` prints")]
    Prefix,
    /// It is too long.
    #[error("it has {length} bytes; expected {SIGNATURE_TEXT_MAX} at most")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// A field is missing, or is in another's place.
    #[error("its field {field} is missing; expected the line as it was printed")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field has no such value.
    #[error("its field {field} is {value:?}; expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What could.
        expected: &'static str,
    },
    /// There is something after its last field.
    #[error("it goes on after its last field")]
    Trailing,
}

impl Signature {
    pub(crate) const fn new(key: PublicKey, claim: &Claim<'_>, proof: [u8; 64]) -> Self {
        Self {
            key,
            size: claim.size,
            chunk_size: claim.chunk_size,
            root: claim.root,
            terms: claim.terms,
            proof,
        }
    }

    /// Who says to have signed.
    pub const fn key(&self) -> PublicKey {
        self.key
    }

    /// Bytes of the build.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of its chunks but the last.
    pub const fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Hash over its manifest.
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// The rest of what it says.
    pub const fn terms(&self) -> Terms {
        self.terms
    }

    /// Whether size and chunks of a manifest are those that were signed.
    pub fn fits(&self, manifest: &Manifest) -> bool {
        self.size == manifest.size().get() && self.chunk_size == manifest.chunk_size() && self.root == manifest.root()
    }

    /// Whether its key has said this of the build with this id.
    pub(crate) fn is_of(&self, build_id: &str) -> bool {
        let claim = Claim {
            build_id,
            size: self.size,
            chunk_size: self.chunk_size,
            root: self.root,
            terms: self.terms,
        };
        self.key.has_signed(&claim.message(), &self.proof)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Terms {
            sequence,
            signed,
            expires,
        } = self.terms;
        write!(
            f,
            "{PREFIX};key={};size={};chunk={}",
            self.key, self.size, self.chunk_size
        )?;
        write!(
            f,
            ";root={};sequence={sequence};signed={}",
            self.root,
            signed.as_millis()
        )?;
        match expires {
            Some(expires) => write!(f, ";expires={}", expires.as_millis())?,
            None => write!(f, ";expires={NEVER}")?,
        }
        write!(f, ";proof={}", URL_SAFE_NO_PAD.encode(self.proof))
    }
}

impl FromStr for Signature {
    type Err = NotASignature;

    fn from_str(text: &str) -> Result<Self, NotASignature> {
        if text.len() > SIGNATURE_TEXT_MAX {
            return Err(NotASignature::TooLong { length: text.len() });
        }
        let mut fields = text.trim().split(';');
        if fields.next() != Some(PREFIX) {
            return Err(NotASignature::Prefix);
        }
        let mut next = |field: &'static str| {
            let value = fields
                .next()
                .and_then(|value| value.strip_prefix(field)?.strip_prefix('='));
            value.ok_or(NotASignature::Missing { field })
        };
        let key = parsed("key", next("key")?, "a public key", |text| text.parse().ok())?;
        let size = number("size", next("size")?)?;
        let chunk_size = parsed("chunk", next("chunk")?, "bytes of a chunk", |text| {
            digits(text)?.parse().ok()
        })?;
        let root = parsed("root", next("root")?, "64 hexadecimal digits", Hash::from_hex)?;
        let sequence = number("sequence", next("sequence")?)?;
        let signed = parsed("signed", next("signed")?, MILLIS, moment)?;
        let expires = match next("expires")? {
            NEVER => None,
            text => Some(parsed("expires", text, MILLIS, moment)?),
        };
        let proof = parsed("proof", next("proof")?, "86 characters", |text| {
            URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
        })?;
        if fields.next().is_some() {
            return Err(NotASignature::Trailing);
        }
        Ok(Self {
            key,
            size,
            chunk_size,
            root,
            terms: Terms {
                sequence,
                signed,
                expires,
            },
            proof,
        })
    }
}

pub(crate) fn parsed<T>(
    field: &'static str,
    value: &str,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, NotASignature> {
    parse(value).ok_or_else(|| NotASignature::Field {
        field,
        value: value.chars().take(80).collect(),
        expected,
    })
}

fn number(field: &'static str, value: &str) -> Result<u64, NotASignature> {
    parsed(field, value, "a number", |text| digits(text)?.parse().ok())
}

pub(crate) fn moment(text: &str) -> Option<Moment> {
    Moment::from_millis(digits(text)?.parse().ok()?)
}

/// Numbers are written in one way only.
fn digits(text: &str) -> Option<&str> {
    let is_one = text == "0" || !text.starts_with('0');
    (is_one && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// Bytes of a signature's text at most. It is shorter by a third, and metadata of an S3 object takes 2 KiB altogether.
pub const SIGNATURE_TEXT_MAX: usize = 512;
const PREFIX: &str = "fleetcast-signature-1";
const NEVER: &str = "never";
const MILLIS: &str = "milliseconds since 1970";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::SecretKey;

    fn longest() -> Signature {
        let latest = Moment::from_millis(253_402_300_799_999).unwrap();
        let terms = Terms {
            sequence: u64::MAX,
            signed: latest,
            expires: Some(latest),
        };
        SecretKey::from_bytes(&[7; 32]).sign_claim(&Claim {
            build_id: "b",
            size: u64::MAX,
            chunk_size: u32::MAX,
            root: Hash::of(b"r"),
            terms,
        })
    }

    #[test]
    fn the_longest_signature_is_read_as_it_was_written() {
        let text = longest().to_string();
        assert_eq!(text.parse::<Signature>().unwrap(), longest());
        assert!(text.len() <= SIGNATURE_TEXT_MAX, "{}", text.len());
        // What stands in a header of HTTP.
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    }

    #[test]
    fn what_is_wrong_with_a_signature_is_said_of_its_field() {
        let text = longest().to_string();
        let said = |text: &str| text.parse::<Signature>().unwrap_err().to_string();
        assert!(said("").contains("does not begin with"));
        assert!(said(&text.replace("signature-1", "signature-2")).contains("does not begin with"));
        assert!(said(&text[..100]).contains("is missing"));
        assert!(said(&text.replace(";chunk=", ";lump=")).contains("field chunk is missing"));
        assert!(said(&text.replace("sequence=1", "sequence=01")).contains("field sequence"));
        assert!(said(&text.replace("size=1", "size=+1")).contains("field size"));
        assert!(said(&format!("{text};more=1")).contains("goes on"));
        assert!(said(&format!("{text}{}", "x".repeat(300))).contains("512 at most"));
        assert!(said(&text.replace("expires=253402300799999", "expires=253402300800000")).contains("field expires"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_signature_or_an_error(text in "\\PC{0,600}", at in 0usize..400, with in any::<char>()) {
            let _ = text.parse::<Signature>();
            let changed: String = longest().to_string().chars().enumerate().map(|(i, c)| if i == at { with } else { c }).collect();
            if let Ok(other) = changed.parse::<Signature>() {
                // Of one signature there is one text.
                prop_assert_eq!(other.to_string(), changed.trim());
            }
        }
    }
}
