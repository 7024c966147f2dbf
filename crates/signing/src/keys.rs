//! Keys: Ed25519, as text, in files. The secret and the public one are in files of their own, so that who wants one never holds the
//! other.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use swarm::Manifest;

use crate::claim::{Claim, Terms};
use crate::signature::Signature;

/// A key that signs.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// A key by which signatures are known. As text it is `ed25519:` and 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(VerifyingKey);

/// Why a key cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system.
    #[error("failed to {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// The file has no secret key in it.
    #[error("{} is no secret key; expected a line {SECRET_PREFIX}… as `harness keygen` writes it", path.display())]
    NotSecret {
        /// The file.
        path: PathBuf,
    },
    /// The file has a public key in it.
    #[error("{} is a public key; expected the secret one, which `harness keygen` wrote without .pub", path.display())]
    IsPublic {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the key.
    #[error("{} can be read by others (mode {mode:04o}); expected 0600, as by `chmod 600`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system gave no entropy.
    #[error("the system gives no random bytes for a key: {reason}")]
    NoEntropy {
        /// What it says.
        reason: String,
    },
}

impl SecretKey {
    /// A new key.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| KeyError::NoEntropy {
            reason: error.to_string(),
        })?;
        Ok(Self::from_bytes(&secret))
    }

    /// The key of these 32 secret bytes.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The key that is kept in `path`.
    ///
    /// # Errors
    /// Where the file cannot be read, is something else, or can be read by others.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File {
            action: "read the key",
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        let text = read_short(file).map_err(failed)?;
        let line = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'));
        let line = line.unwrap_or_default();
        let path = path.to_owned();
        if line.starts_with(PUBLIC_PREFIX) {
            return Err(KeyError::IsPublic { path });
        }
        let secret = line.strip_prefix(SECRET_PREFIX).and_then(bytes_of);
        let secret = secret.ok_or_else(|| KeyError::NotSecret { path: path.clone() })?;
        if mode & 0o077 != 0 {
            return Err(KeyError::Open { path, mode });
        }
        Ok(Self::from_bytes(&secret))
    }

    /// Keeps it in `path`, which only its owner may read, and its public key beside it, where the result says.
    ///
    /// # Errors
    /// Where one of the files is there already or cannot be written; neither is left half written.
    pub fn write(&self, path: &Path) -> Result<PathBuf, KeyError> {
        let public = public_file_of(path);
        let secret = format!(
            "# Secret: who has it signs in your name. Its public key is in {}\n{SECRET_PREFIX}{}\n",
            public.file_name().unwrap_or_default().display(),
            URL_SAFE_NO_PAD.encode(self.0.to_bytes())
        );
        write_new(path, 0o600, &secret)?;
        let written = write_new(&public, 0o644, &format!("{}\n", self.public()));
        if let Err(error) = written {
            // Half of a pair would be in the way of the next try.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        Ok(public)
    }

    /// The key by which its signatures are known.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Vouches for a build.
    pub fn sign(&self, manifest: &Manifest, terms: Terms) -> Signature {
        self.sign_claim(&Claim::of(manifest, terms))
    }

    /// Vouches for what is claimed, whatever there is.
    pub fn sign_claim(&self, claim: &Claim<'_>) -> Signature {
        Signature::new(self.public(), claim, self.sign_message(&claim.message()))
    }

    /// Proves that it has said these bytes, which begin with what they are for.
    pub(crate) fn sign_message(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

impl PublicKey {
    /// Whether `proof` is this key's of these bytes.
    pub(crate) fn has_signed(&self, message: &[u8], proof: &[u8; 64]) -> bool {
        let proof = ed25519_dalek::Signature::from_bytes(proof);
        self.0.verify_strict(message, &proof).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", URL_SAFE_NO_PAD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(SECRET_PREFIX) {
            return Err("this is a secret key; expected the public one, of the file that ends with .pub".to_owned());
        }
        let bytes = text.strip_prefix(PUBLIC_PREFIX).and_then(bytes_of);
        let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        // A weak key lets signatures pass that nobody made.
        key.filter(|key| !key.is_weak())
            .map(Self)
            .ok_or_else(|| format!("no public key; expected {PUBLIC_PREFIX} and 43 characters"))
    }
}

/// Where the public key of a secret one is.
pub fn public_file_of(secret: &Path) -> PathBuf {
    let mut name = secret.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn bytes_of(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// A text file that is no longer than one of ours can be.
pub(crate) fn read_short(file: File) -> io::Result<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, FILE_MAX), &mut text)?;
    if text.len() as u64 == FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than 1 MiB"));
    }
    Ok(text)
}

fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), KeyError> {
    let failed = |source| KeyError::File {
        action: "write the key",
        path: path.to_owned(),
        source,
    };
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = std::fs::remove_file(path);
        failed(error)
    })
}

const PUBLIC_PREFIX: &str = "ed25519:";
const SECRET_PREFIX: &str = "ed25519-secret:";
/// Bytes of a file of keys at most: some 15,000 keys.
const FILE_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_comes_back_from_its_files_and_only_its_owner_reads_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("release.key");
        let key = SecretKey::generate().unwrap();
        let public = key.write(&path).unwrap();
        assert_eq!(public, folder.path().join("release.key.pub"));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(SecretKey::read(&path).unwrap().public(), key.public());
        let text = std::fs::read_to_string(&public).unwrap();
        assert_eq!(text.trim().parse::<PublicKey>().unwrap(), key.public());
        assert!(!format!("{key:?}").contains(&URL_SAFE_NO_PAD.encode(key.0.to_bytes())));
    }

    #[test]
    fn a_key_is_never_written_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        let key = SecretKey::generate().unwrap();
        key.write(&path).unwrap();
        let error = SecretKey::generate().unwrap().write(&path).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert_eq!(SecretKey::read(&path).unwrap().public(), key.public());
        // A public key that is there is not written over either, and no secret is left without one.
        let other = folder.path().join("o");
        std::fs::write(public_file_of(&other), "theirs").unwrap();
        assert!(key.write(&other).is_err() && !other.exists());
    }

    #[test]
    fn what_is_no_secret_key_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        let public = SecretKey::from_bytes(&[1; 32]).write(&path).unwrap();
        assert!(matches!(SecretKey::read(&public), Err(KeyError::IsPublic { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = SecretKey::read(&path).unwrap_err().to_string();
        assert!(error.contains("0640") && error.contains("chmod 600"), "{error}");
        for wrong in ["", "# only words\n", "ed25519-secret:short\n", "\u{0}\u{1}"] {
            std::fs::write(&path, wrong).unwrap();
            let error = SecretKey::read(&path).unwrap_err().to_string();
            assert!(
                error.contains("is no secret key") && error.contains("keygen"),
                "{error}"
            );
        }
        let missing = SecretKey::read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("none"), "{missing}");
    }

    #[test]
    fn a_key_for_which_anything_is_signed_is_no_key() {
        // The neutral element of the curve.
        let mut weak = [0; 32];
        weak[0] = 1;
        let text = format!("{PUBLIC_PREFIX}{}", URL_SAFE_NO_PAD.encode(weak));
        assert!(text.parse::<PublicKey>().is_err());
    }
}
