//! The part of a command line by which a process says who it is, and whom it talks to: the same for hosts and seeders.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::members::{MemberFiles, Members, MembersError};
use crate::node::NodeIdentity;

/// Who a process is, and who may be talked to.
#[derive(Clone, Debug, Default, Args)]
pub struct MemberArguments {
    /// The key that this process proves its peer id with, made where there is none, for its owner only. Not in the folder of builds. Without it
    /// the key is a new one each time.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Print the peer id of --identity, which `harness certify` wants, and end.
    #[arg(long, requires = "identity")]
    pub print_id: bool,
    /// Talk only to members: those who have a certificate of a key of this file, as `harness certify` makes it. A public key in a line, and two
    /// while one takes the place of the other. Without it whoever reaches a port may take part.
    #[arg(long, value_name = "FILE", requires = "identity", requires = "certificate")]
    pub members: Option<PathBuf>,
    /// The certificate of this process. Put a new one there before it ends: files of members are read again while it runs.
    #[arg(long, value_name = "FILE", requires = "members")]
    pub certificate: Option<PathBuf>,
    /// Those who are no members whatever they have: a peer id or a host in a line.
    #[arg(long, value_name = "FILE", requires = "members")]
    pub deny: Option<PathBuf>,
    /// Talk only to members of this group. May be repeated: one of them is enough.
    #[arg(long, value_name = "NAME", requires = "members")]
    pub group: Vec<String>,
}

/// Why it is not known who this process is, or whom it may talk to.
#[derive(Debug, thiserror::Error)]
pub enum BelongingError {
    /// The key cannot be had.
    #[error("--identity {}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The key would be among builds.
    #[error("--identity {} is in the folder of builds, {}; expected a place of its own, such as /etc/fleetcast/peer.key", path.display(), folder.display())]
    AmongBuilds {
        /// The file.
        path: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// Members cannot be known.
    #[error(transparent)]
    Members(#[from] MembersError),
}

impl MemberArguments {
    /// Who this process is: by its key, where it has one.
    ///
    /// # Errors
    /// Where the key cannot be read or made, or is among the `builds`.
    pub fn own_identity(&self, builds: Option<&Path>) -> Result<Option<NodeIdentity>, BelongingError> {
        let Some(path) = &self.identity else {
            return Ok(None);
        };
        if let Some(folder) = builds.filter(|folder| is_within(folder, path)) {
            let (path, folder) = (path.clone(), folder.to_owned());
            return Err(BelongingError::AmongBuilds { path, folder });
        }
        let identity = NodeIdentity::kept_in(path).map_err(|source| BelongingError::Key {
            path: path.clone(),
            source,
        })?;
        Ok(Some(identity))
    }

    /// Whom the process that is `identity` may talk to; everybody where nobody has said.
    ///
    /// # Errors
    /// Where a file cannot be read, or the own certificate makes it no member.
    pub fn members(&self, identity: &NodeIdentity) -> Result<Option<Arc<Members>>, BelongingError> {
        let (Some(members), Some(certificate)) = (&self.members, &self.certificate) else {
            return Ok(None);
        };
        let files = MemberFiles {
            members: members.clone(),
            certificate: certificate.clone(),
            deny: self.deny.clone(),
            groups: self.group.clone(),
        };
        let members = Members::from_files(identity.peer_id(), files)?;
        Ok(Some(Arc::new(members)))
    }
}

/// What is said where nobody has said who is a member.
pub const OPEN_SWARM: &str = "this swarm is open: whoever reaches a port may take part; with --members only who has a certificate of a key of that file";

fn is_within(folder: &Path, path: &Path) -> bool {
    let real = |path: &Path| {
        let there = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        there.canonicalize().or_else(|_| std::path::absolute(there)).ok()
    };
    let parent = path.parent().unwrap_or_else(|| Path::new(""));
    match (real(folder), real(parent)) {
        (Some(folder), Some(parent)) => parent.starts_with(folder),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn with_key(path: &Path) -> MemberArguments {
        MemberArguments {
            identity: Some(path.to_owned()),
            ..MemberArguments::default()
        }
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_and_never_among_builds() {
        let folder = tempfile::tempdir().unwrap();
        let (key, builds) = (folder.path().join("state/peer.key"), folder.path().join("builds"));
        std::fs::create_dir(&builds).unwrap();
        let made = with_key(&key).own_identity(Some(&builds)).unwrap().unwrap();
        let again = with_key(&key).own_identity(Some(&builds)).unwrap().unwrap();
        assert_eq!(made.peer_id(), again.peer_id());
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        for among in ["peer.key", "a/b/peer.key", "../builds/peer.key"] {
            let refused = with_key(&builds.join(among)).own_identity(Some(&builds));
            assert!(matches!(refused, Err(BelongingError::AmongBuilds { .. })), "{among}");
        }
        assert!(std::fs::read_dir(&builds).unwrap().next().is_none());
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("peer.key");
        with_key(&key).own_identity(None).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refused = program::chain(&with_key(&key).own_identity(None).err().unwrap());
        assert!(refused.contains("0640") && refused.contains("chmod 600"), "{refused}");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&key, "short").unwrap();
        let refused = program::chain(&with_key(&key).own_identity(None).err().unwrap());
        assert!(refused.contains("expected 32 bytes"), "{refused}");
    }
}
