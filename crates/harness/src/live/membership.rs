//! Who is a member of a run's swarms: its own seeders and hosts, each certified with a key that is made from the run's seed, as those of a
//! closed fleet are by the key of their region.

use std::sync::Arc;
use std::time::Duration;

use peer::{Members, NodeIdentity};
use serde::{Deserialize, Serialize};
use signing::{Member, MemberTerms, Moment, SecretKey, TrustedKeys};
use swarm::Hash;

use super::fleet::Surroundings;
use super::signed::Believed;

/// What a run does against who is not of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Guards {
    /// Builds are signed, and nothing else is believed.
    pub(crate) signed: bool,
    /// Nobody is talked to who has no certificate.
    pub(crate) closed: bool,
}

impl Guards {
    /// Those of a run whose members go by these.
    pub(super) const fn of(surroundings: &Surroundings) -> Self {
        Self {
            signed: surroundings.believed.is_some(),
            closed: surroundings.certifier.is_some(),
        }
    }

    /// Whose builds are believed in the run with this seed, and who certifies its members.
    pub(super) fn parts(self, seed: u64) -> (Option<Believed>, Option<Certifier>) {
        let believed = self.signed.then(|| Believed::of_run(seed));
        (believed, self.closed.then(|| Certifier::of_run(seed)))
    }
}

/// Certifies the members of a run. Its key protects nothing: whoever knows the seed has it.
#[derive(Clone, Debug)]
pub(crate) struct Certifier {
    key: SecretKey,
}

impl Certifier {
    /// With the key of the run with this seed.
    pub(crate) fn of_run(seed: u64) -> Self {
        let mut text = b"fleetcast 1 key of a run's members ".to_vec();
        text.extend_from_slice(&seed.to_le_bytes());
        Self {
            key: SecretKey::from_bytes(Hash::of(&text).as_bytes()),
        }
    }

    /// Whom the member with this identity talks to, and what it shows. Every one of them verifies for itself, as on a machine of its own.
    pub(super) fn members(&self, identity: &NodeIdentity, host: String, zone: Option<String>) -> Arc<Members> {
        let now = Moment::now();
        let peer = identity.peer_id();
        let member = Member::new(MemberTerms {
            peer: peer.to_base58(),
            host,
            zone,
            groups: Vec::new(),
            addresses: Vec::new(),
            not_before: now,
            not_after: now.plus(A_DAY),
        });
        let certificate = self.key.certify(member.expect("names of regions and zones are plain"));
        let keys = TrustedKeys::of([self.key.public()]);
        let members = Members::of(peer, keys, certificate).expect("certified for it a moment ago");
        Arc::new(members)
    }
}

/// What has connected says within this who it is: ten thousand that start at once share a few cores.
pub(super) const FIRST_MESSAGE: Duration = Duration::from_secs(60);
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
