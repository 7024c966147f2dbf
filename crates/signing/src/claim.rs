//! What a signature says, and the bytes that are signed of it.

use swarm::{Hash, Manifest};

use crate::moment::Moment;

/// What a publisher says beside what the build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Grows from one build to the next: where a host has had one, nothing with a lower number comes after it.
    pub sequence: u64,
    /// When it was signed. A host whose clock is before it has a wrong clock.
    pub signed: Moment,
    /// After which it is not believed any more; always where absent.
    pub expires: Option<Moment>,
}

/// Everything that a signature vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The build's object key.
    pub build_id: &'a str,
    /// Its bytes.
    pub size: u64,
    /// Bytes of its chunks but the last.
    pub chunk_size: u32,
    /// Hash over its manifest.
    pub root: Hash,
    /// The rest.
    pub terms: Terms,
}

impl<'a> Claim<'a> {
    /// What is to be said of this build.
    pub fn of(manifest: &'a Manifest, terms: Terms) -> Self {
        Self {
            build_id: manifest.build_id(),
            size: manifest.size().get(),
            chunk_size: manifest.chunk_size(),
            root: manifest.root(),
            terms,
        }
    }

    /// The bytes that are signed. Fields of fixed length come first, and the one that is not comes last behind its length: no two
    /// claims have the same bytes.
    pub fn message(&self) -> Vec<u8> {
        let expires = self.terms.expires.map_or(NEVER, Moment::as_millis);
        let mut message = Vec::with_capacity(DOMAIN.len() + 84 + self.build_id.len());
        message.extend_from_slice(DOMAIN);
        message.extend_from_slice(self.root.as_bytes());
        message.extend_from_slice(&self.size.to_le_bytes());
        message.extend_from_slice(&self.chunk_size.to_le_bytes());
        message.extend_from_slice(&self.terms.sequence.to_le_bytes());
        message.extend_from_slice(&self.terms.signed.as_millis().to_le_bytes());
        message.extend_from_slice(&expires.to_le_bytes());
        message.extend_from_slice(&(self.build_id.len() as u64).to_le_bytes());
        message.extend_from_slice(self.build_id.as_bytes());
        message
    }
}

/// What these bytes are for: the keys may sign other things too.
const DOMAIN: &[u8] = b"fleetcast 1 signed build\0";
/// No moment of a signature is so late.
const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_claim_moves_its_bytes() {
        let moment = |millis| Moment::from_millis(millis).unwrap();
        let terms = Terms {
            sequence: 1,
            signed: moment(2),
            expires: Some(moment(3)),
        };
        let manifest = Manifest::of("b", &[7; 100], 64).unwrap();
        let base = Claim::of(&manifest, terms);
        let with = |terms| Claim { terms, ..base.clone() };
        let others = [
            Claim {
                build_id: "c",
                ..base.clone()
            },
            Claim {
                build_id: "b\0",
                ..base.clone()
            },
            Claim {
                size: 101,
                ..base.clone()
            },
            Claim {
                chunk_size: 65,
                ..base.clone()
            },
            Claim {
                root: Hash::of(b"x"),
                ..base.clone()
            },
            with(Terms { sequence: 2, ..terms }),
            with(Terms {
                signed: moment(3),
                ..terms
            }),
            with(Terms {
                expires: Some(moment(4)),
                ..terms
            }),
            with(Terms { expires: None, ..terms }),
        ];
        let messages: std::collections::BTreeSet<_> = others.iter().chain([&base]).map(Claim::message).collect();
        assert_eq!(messages.len(), others.len() + 1);
    }
}
