//! A copy of a build that an agent has, held against the hashes by which it came there. Invariant: what stands at its place is the whole
//! build or what stood there before.

use std::collections::hash_map::RandomState;
use std::fs::{File, OpenOptions};
use std::hash::BuildHasher as _;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use peer::sync_folder;
use swarm::{Bytes, Hash, Manifest, default_chunk_size};

use super::super::kept::Made;

/// What is copied, and to where.
pub(super) struct Copy<'a> {
    pub(super) key: &'a str,
    pub(super) from: &'a Path,
    pub(super) to: &'a Path,
    /// What it is held against; `None` where the agent's list is of an earlier release.
    pub(super) made: Option<&'a Made>,
    /// Permission bits; those of what is copied where absent.
    pub(super) mode: Option<u32>,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoCopy {
    #[error("failed to {what} {}: {source}", path.display())]
    Failed {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} is not as the agent has put it there; it finds that when it reads it, and fetches it again", path.display())]
    Changed { path: PathBuf },
    #[error("stopped")]
    Stopped,
}

impl Copy<'_> {
    /// Makes the copy, unless `stopped` comes to be so: for a thread that may wait. The bytes that it has.
    ///
    /// # Errors
    /// Where it cannot be read or written, or is another build.
    pub(super) fn make(&self, stopped: &AtomicBool) -> Result<u64, NoCopy> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| NoCopy::Failed { what, path, source }
        };
        let mut source = File::open(self.from).map_err(failed("open", self.from))?;
        let there = source.metadata().map_err(failed("look at", self.from))?;
        let (mut target, beside) = Beside::make(&name_beside(self.to))?;
        let size = Bytes::new(there.size());
        let chunk_size = self
            .made
            .map_or_else(|| default_chunk_size(size), |made| made.chunk_size);
        let (mut hashes, mut buffer) = (Vec::new(), vec![0; chunk_size as usize]);
        let mut left = there.size();
        while left > 0 {
            if stopped.load(Ordering::Relaxed) {
                return Err(NoCopy::Stopped);
            }
            let length = usize::try_from(left.min(chunk_size.into())).unwrap_or_default();
            let chunk = &mut buffer[..length];
            source.read_exact(chunk).map_err(failed("read", self.from))?;
            hashes.push(Hash::of(chunk));
            target.write_all(chunk).map_err(failed("write", &beside.0))?;
            left -= length as u64;
        }
        let root = Manifest::new(self.key, size, chunk_size, hashes).map(|manifest| manifest.root().to_string());
        if self.made.is_some_and(|made| root.ok().as_ref() != Some(&made.root)) {
            let path = self.from.to_owned();
            return Err(NoCopy::Changed { path });
        }
        let mode = self.mode.unwrap_or_else(|| there.mode() & 0o7777);
        let permissions = std::fs::Permissions::from_mode(mode);
        target
            .set_permissions(permissions)
            .map_err(failed("set the mode of", &beside.0))?;
        target.sync_all().map_err(failed("write", &beside.0))?;
        std::fs::rename(&beside.0, self.to).map_err(failed("put in place", self.to))?;
        let folder = self.to.parent().unwrap_or_else(|| Path::new("."));
        sync_folder(folder).map_err(failed("write", folder))?;
        Ok(there.size())
    }
}

/// A file that is for a moment only, and is gone when this is.
struct Beside(PathBuf);

impl Beside {
    /// Makes the file. One that is there already is somebody else's, and stays.
    fn make(path: &Path) -> Result<(File, Self), NoCopy> {
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(path);
        let file = made.map_err(|source| NoCopy::Failed {
            what: "make",
            path: path.to_owned(),
            source,
        })?;
        Ok((file, Self(path.to_owned())))
    }
}

/// A name that no other run takes: in containers each process may be number 1.
fn name_beside(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    let random = RandomState::new().hash_one(std::process::id());
    name.push(format!(".{random:016x}"));
    target.with_file_name(name)
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Where it was put in place it is not there any more.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_build_or_nothing_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        let build = vec![7; 300_000];
        std::fs::write(&from, &build).unwrap();
        let manifest = Manifest::of("a", &build, 65_536).unwrap();
        let made = Made {
            root: manifest.root().to_string(),
            chunk_size: 65_536,
        };
        let copy = Copy {
            key: "a",
            from: &from,
            to: &to,
            made: Some(&made),
            mode: Some(0o640),
        };
        let go = AtomicBool::new(false);
        assert_eq!(copy.make(&go).unwrap(), 300_000);
        assert_eq!(std::fs::read(&to).unwrap(), build);
        assert_eq!(std::fs::metadata(&to).unwrap().mode() & 0o7777, 0o640);
        std::fs::write(&from, vec![8; 300_000]).unwrap();
        assert!(matches!(copy.make(&go), Err(NoCopy::Changed { .. })));
        let told = AtomicBool::new(true);
        assert!(matches!(copy.make(&told), Err(NoCopy::Stopped)));
        assert_eq!(std::fs::read(&to).unwrap(), build, "what stood there stands");
        std::fs::remove_file(&from).unwrap();
        assert!(copy.make(&go).unwrap_err().to_string().starts_with("failed to open "));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_another_run_has_made_stays_and_no_two_have_one_name() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("b");
        let name = name_beside(&target);
        assert_ne!(name, name_beside(&target));
        let first = Beside::make(&name).unwrap();
        let second = Beside::make(&name).map(|_| ()).unwrap_err();
        assert!(second.to_string().starts_with("failed to make "), "{second}");
        assert!(name.exists(), "it is the other one's");
        drop(first);
        assert!(!name.exists());
    }
}
