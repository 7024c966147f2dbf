//! The link that leads to the build that came last. Invariant: whoever opens it finds a whole build, the old or the new one: it is made
//! beside its place and renamed onto it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::builds::Builds;

impl Builds<'_> {
    /// The link leads to what came last, where there is to be one.
    pub(super) fn point_current(&self) {
        let Some(link) = self.current_link() else {
            return;
        };
        let last = self.kept.records().iter().rev().find(|record| record.file.is_some());
        let Some(out) = last.and_then(|last| self.place_of(&last.key)) else {
            return;
        };
        if let Err(error) = point(&link, &out, self.folder) {
            tracing::error!(link = %link.display(), build = %out.display(), %error, "the link does not lead to the build that came last");
        }
    }

    /// Where the link is to stand.
    pub(super) fn current_link(&self) -> Option<PathBuf> {
        self.arguments.current.as_ref().map(|link| self.folder.join(link))
    }
}

/// Has `link` lead to `out`, which is in `folder`.
fn point(link: &Path, out: &Path, folder: &Path) -> io::Result<()> {
    // A folder that is mounted elsewhere still has what is in it.
    let target = match out.strip_prefix(folder) {
        Ok(within) if link.parent() == Some(folder) => within.to_owned(),
        _ => std::path::absolute(out)?,
    };
    match std::fs::symlink_metadata(link) {
        Ok(there) if !there.is_symlink() => {
            let message = "something else than a link stands there; expected none, or a link";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Ok(_) if std::fs::read_link(link)? == target => return Ok(()),
        Ok(_) | Err(_) => {}
    }
    let mut name = OsString::from(super::kept::OURS);
    name.push(link.file_name().unwrap_or_default());
    let beside = link.with_file_name(name);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    std::os::unix::fs::symlink(&target, &beside)?;
    std::fs::rename(&beside, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_replaced_by_a_rename_and_nothing_else_is() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        let (one, two, link) = (folder.join("one.zip"), folder.join("v/two.zip"), folder.join("current"));
        for build in [&one, &two] {
            point(&link, build, folder).unwrap();
            assert_eq!(folder.join(std::fs::read_link(&link).unwrap()), *build);
            assert!(std::fs::read_link(&link).unwrap().is_relative());
        }
        assert!(
            std::fs::symlink_metadata(folder.join(".fleetcast-current")).is_err(),
            "nothing is left"
        );
        // Elsewhere it says the whole way.
        let other = tempfile::tempdir().unwrap();
        let far = other.path().join("app");
        point(&far, &one, folder).unwrap();
        assert_eq!(std::fs::read_link(&far).unwrap(), one);
        std::fs::remove_file(&link).unwrap();
        std::fs::write(&link, "mine").unwrap();
        let refused = point(&link, &one, folder).unwrap_err();
        assert!(refused.to_string().contains("something else than a link"), "{refused}");
        assert_eq!(std::fs::read_to_string(&link).unwrap(), "mine");
    }
}
