//! What a host believes: builds that are signed with a trusted key, whose time is now, and that are not older than what it has had
//! in the same place.
//!
//! Invariant: for a place sequences only grow, over restarts too. What was believed is on disk before anything of it is fetched, and what cannot
//! be written down is not believed.
//!
//! A place is a file: of a directory's host it is that of a build id, so nobody puts an older version of a build over a newer one; of
//! a host that fetches one build it is its `--out`, over which nothing older comes whatever it is called.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use signing::{Moment, Refused, Signature, TrustedKeys};
use swarm::wire::SIGNATURE_LENGTH_MAX;
use swarm::{BuildInfo, Bytes, Signed, Verifier};

use crate::files::replace_file;

/// Whose builds a host believes.
#[derive(Debug)]
pub struct Trust {
    keys: TrustedKeys,
    memory: Mutex<Memory>,
    now: fn() -> Moment,
}

/// Why it is not known what was had.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("failed to read which signed builds were had, in {}: without it an older build could be put over a newer one", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// It is something else.
    #[error(
        "{} does not say which signed builds were had: {reason}; remove it if this host may take older builds than it has had",
        path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Trust {
    /// Believes what these keys have signed, and remembers nothing.
    pub fn of(keys: TrustedKeys) -> Self {
        Self {
            keys,
            memory: Mutex::default(),
            now: Moment::now,
        }
    }

    /// The same, and remembers in the file at `path` what was had; nothing yet where there is none.
    ///
    /// # Errors
    /// Where there is a file that cannot be read, or is something else.
    pub fn remembering(keys: TrustedKeys, path: PathBuf) -> Result<Self, TrustError> {
        let places = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice::<Content>(&text).map(|content| content.places),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(source) => return Err(TrustError::Unreadable { path, source }),
        };
        let places = places.map_err(|error| TrustError::Broken {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let memory = Mutex::new(Memory {
            path: Some(path),
            places,
        });
        Ok(Self {
            memory,
            ..Self::of(keys)
        })
    }

    /// The same by another clock, for tests.
    #[must_use]
    pub fn at(self, now: fn() -> Moment) -> Self {
        Self { now, ..self }
    }

    /// Says of the builds that are to stand at `place` whether they are believed; of no others than that with this id, where one is
    /// given.
    pub fn verifier(self: &Arc<Self>, place: &Path, build_id: Option<String>) -> Arc<dyn Verifier> {
        Arc::new(OfPlace {
            trust: Arc::clone(self),
            place: build_id.clone().unwrap_or_else(|| name_of(place)),
            build_id,
        })
    }

    fn believe(&self, place: &str, build: &BuildInfo) -> Result<Signature, String> {
        let text = match build.signature.len() {
            0 => None,
            length if length > SIGNATURE_LENGTH_MAX => return Err(format!("its signature has {length} bytes")),
            _ => Some(String::from_utf8_lossy(&build.signature)),
        };
        let text = text.as_deref();
        match self.keys.verify(&build.build_id, build.root, text, (self.now)()) {
            Ok(signature) => {
                self.memory.lock().take(place, &signature)?;
                Ok(signature)
            }
            // This host was to have it in time: it may finish it, and have it after a restart. All else holds.
            Err(refused @ Refused::Expired { .. }) => {
                let signature: Option<Signature> = text.and_then(|text| text.parse().ok());
                let had = signature.filter(|signature| self.memory.lock().has(place, signature));
                had.ok_or_else(|| refused.to_string())
            }
            Err(refused) => Err(refused.to_string()),
        }
    }
}

/// What is to stand in one place.
#[derive(Debug)]
struct OfPlace {
    trust: Arc<Trust>,
    place: String,
    build_id: Option<String>,
}

impl Verifier for OfPlace {
    fn verify(&self, build: &BuildInfo) -> Result<Signed, String> {
        if let Some(listed) = self.build_id.as_ref().filter(|listed| **listed != build.build_id) {
            return Err(format!("it is not the build that is listed, {listed:?}"));
        }
        let signature = self.trust.believe(&self.place, build)?;
        Ok(Signed {
            size: Bytes::new(signature.size()),
            chunk_size: signature.chunk_size(),
        })
    }
}

/// What was had in each place.
#[derive(Debug, Default)]
struct Memory {
    path: Option<PathBuf>,
    places: BTreeMap<String, Had>,
}

/// The newest build that was believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Had {
    sequence: u64,
    root: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    places: BTreeMap<String, Had>,
}

impl Had {
    fn of(signature: &Signature) -> Self {
        Self {
            sequence: signature.terms().sequence,
            root: signature.root().to_string(),
        }
    }
}

impl Memory {
    fn has(&self, place: &str, signature: &Signature) -> bool {
        self.places.get(place) == Some(&Had::of(signature))
    }

    /// This one is believed in `place`, and nothing older from now on.
    fn take(&mut self, place: &str, signature: &Signature) -> Result<(), String> {
        if self.path.is_none() || self.has(place, signature) {
            return Ok(());
        }
        let new = Had::of(signature);
        if let Some(had) = self.places.get(place) {
            let (sequence, newest) = (new.sequence, had.sequence);
            if sequence < newest {
                return Err(format!(
                    "it is older than what this host has had there: its sequence is {sequence}, and {newest} has come; to go back to \
                     it, sign it again"
                ));
            }
            if sequence == newest && had.root != new.root {
                return Err(format!(
                    "this host has had another build of the same sequence {sequence} there; sign it with a higher one"
                ));
            }
        }
        let before = self.places.insert(place.to_owned(), new);
        self.drop_the_oldest(place);
        let Err(error) = self.write() else {
            return Ok(());
        };
        match before {
            Some(before) => self.places.insert(place.to_owned(), before),
            None => self.places.remove(place),
        };
        let path = self.path.as_deref().unwrap_or_else(|| Path::new("")).display();
        Err(format!(
            "this host cannot write down in {path} that it has come, and would take older builds later: {error}"
        ))
    }

    fn write(&self) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let content = Content {
            places: self.places.clone(),
        };
        replace_file(path, &serde_json::to_vec_pretty(&content)?)
    }

    /// Of very many places those are forgotten whose builds are the oldest.
    fn drop_the_oldest(&mut self, but: &str) {
        while self.places.len() > PLACES_MAX {
            let others = self.places.iter().filter(|(place, _)| *place != but);
            let Some(oldest) = others
                .min_by_key(|(_, had)| had.sequence)
                .map(|(place, _)| place.clone())
            else {
                return;
            };
            self.places.remove(&oldest);
        }
    }
}

fn name_of(place: &Path) -> String {
    place.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Places that are remembered: with a build of a new id in each hour that is more than a year.
const PLACES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use signing::{SecretKey, Terms};
    use swarm::Manifest;
    use tempfile::TempDir;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const DAY: u64 = 86_400_000;

    fn now() -> Moment {
        Moment::from_millis(NOW).unwrap()
    }

    fn key() -> SecretKey {
        SecretKey::from_bytes(&[1; 32])
    }

    fn build(id: &str, content: u8) -> Manifest {
        Manifest::of(id, &[content; 1000], 64).unwrap()
    }

    fn signed(build: &Manifest, sequence: u64) -> BuildInfo {
        signed_until(build, sequence, NOW + DAY)
    }

    fn signed_until(build: &Manifest, sequence: u64, expires: u64) -> BuildInfo {
        let terms = Terms {
            sequence,
            signed: Moment::from_millis(NOW - 2 * DAY).unwrap(),
            expires: Moment::from_millis(expires),
        };
        BuildInfo {
            signature: key().sign(build, terms).to_string().into(),
            ..build.info()
        }
    }

    fn verifier(folder: &TempDir, id: Option<&str>) -> Arc<dyn Verifier> {
        let path = folder.path().join("sequences");
        let trust = Trust::remembering(TrustedKeys::of([key().public()]), path).unwrap();
        Arc::new(trust.at(now)).verifier(Path::new("/builds/app"), id.map(str::to_owned))
    }

    #[test]
    fn an_older_build_is_refused_after_a_restart_too_and_the_same_is_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (build("app.zip", 1), build("app.zip", 2));
        let host = verifier(&folder, Some("app.zip"));
        host.verify(&signed(&old, 4)).unwrap();
        host.verify(&signed(&new, 5)).unwrap();
        for host in [host, verifier(&folder, Some("app.zip"))] {
            let why = host.verify(&signed(&old, 4)).unwrap_err();
            assert!(why.contains("its sequence is 4, and 5 has come"), "{why}");
            assert!(
                host.verify(&signed(&old, 5))
                    .unwrap_err()
                    .contains("the same sequence 5")
            );
            host.verify(&signed(&new, 5)).unwrap();
        }
        verifier(&folder, Some("app.zip")).verify(&signed(&old, 6)).unwrap();
    }

    #[test]
    fn a_build_id_has_sequences_of_its_own_and_a_file_has_those_of_all_that_came_to_it() {
        let folder = tempfile::tempdir().unwrap();
        verifier(&folder, Some("a.zip"))
            .verify(&signed(&build("a.zip", 1), 9))
            .unwrap();
        verifier(&folder, Some("b.zip"))
            .verify(&signed(&build("b.zip", 1), 1))
            .unwrap();
        let file = verifier(&folder, None);
        file.verify(&signed(&build("a.zip", 1), 9)).unwrap();
        assert!(
            file.verify(&signed(&build("b.zip", 1), 1))
                .unwrap_err()
                .contains("older")
        );
    }

    #[test]
    fn a_build_of_another_id_than_is_listed_is_refused_whoever_signed_it() {
        let folder = tempfile::tempdir().unwrap();
        let why = verifier(&folder, Some("a.zip"))
            .verify(&signed(&build("b.zip", 1), 1))
            .unwrap_err();
        assert!(why.contains("\"a.zip\""), "{why}");
    }

    #[test]
    fn what_has_expired_is_refused_unless_it_was_believed_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (build("app.zip", 1), build("app.zip", 2));
        let expired = signed_until(&one, 5, NOW - DAY);
        let host = verifier(&folder, Some("app.zip"));
        let why = host.verify(&expired).unwrap_err();
        assert!(why.contains("expired") && why.contains("1 days ago"), "{why}");
        // It has come when there was time.
        host.verify(&signed_until(&one, 5, NOW + DAY)).unwrap();
        host.verify(&expired).unwrap();
        assert!(host.verify(&signed_until(&other, 5, NOW - DAY)).is_err());
    }

    #[test]
    fn what_cannot_be_written_down_is_not_believed_and_what_cannot_be_read_is_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let host = verifier(&folder, None);
        // A folder stands where the file is to be.
        std::fs::create_dir(folder.path().join("sequences")).unwrap();
        for _ in 0..2 {
            let why = host.verify(&signed(&build("app.zip", 1), 5)).unwrap_err();
            assert!(why.contains("cannot write down"), "{why}");
        }
        let keys = || TrustedKeys::of([key().public()]);
        let at = |name: &str| folder.path().join(name);
        assert!(matches!(
            Trust::remembering(keys(), at("sequences")),
            Err(TrustError::Unreadable { .. })
        ));
        for broken in [
            "",
            "{}",
            "{\"places\": 1}",
            "{\"places\": {\"a\": {\"sequence\": -1, \"root\": \"\"}}}",
        ] {
            std::fs::write(at("broken"), broken).unwrap();
            let error = Trust::remembering(keys(), at("broken")).unwrap_err().to_string();
            assert!(error.contains("broken") && error.contains("remove it"), "{error}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut memory = Memory::default();
        for place in 0..PLACES_MAX as u64 + 10 {
            let had = Had {
                sequence: place,
                root: String::new(),
            };
            memory.places.insert(place.to_string(), had);
        }
        memory.drop_the_oldest("0");
        assert_eq!(memory.places.len(), PLACES_MAX);
        assert!(memory.places.contains_key("0") && !memory.places.contains_key("1"));
    }
}
