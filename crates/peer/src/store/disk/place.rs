//! Where a build is to stand, and the names of the files beside it.
//!
//! Invariant: every name of ours is `.NAME.` and what it is, with NAME shortened where a file system would not take it; two
//! builds for one place have different part files, since these carry the first digits of the root.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use swarm::{Hash, Manifest};

use super::super::StoreError;

/// A file, and what is called after it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    target: PathBuf,
    folder: PathBuf,
    stem: OsString,
    root: String,
}

/// Tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Place {
    /// The place of the build of `manifest` for the file `target`. Symbolic links are followed, also to a file that is not there
    /// yet. Errors: `target` names a folder, a device or nothing, or its links lead in a circle.
    pub(super) fn of(target: &Path, manifest: &Manifest) -> Result<Self, StoreError> {
        let not_a_file = |what| {
            let path = target.to_owned();
            Err(StoreError::TargetIsNotFile { path, what })
        };
        let Some(resolved) = follow(target) else {
            return not_a_file("a symbolic link that leads in a circle");
        };
        match std::fs::metadata(&resolved) {
            Ok(there) if there.is_dir() => return not_a_file("a folder"),
            // A rename would replace a device as readily.
            Ok(there) if !there.is_file() => return not_a_file("not a regular file"),
            // Whatever else is wrong shows when it is opened.
            Ok(_) | Err(_) => {}
        }
        let Some(name) = resolved.file_name() else {
            return not_a_file("not a name");
        };
        let folder = match resolved.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut root = manifest.root().to_string();
        root.truncate(ROOT_DIGITS);
        Ok(Self {
            stem: stem(name),
            folder: folder.to_owned(),
            root,
            target: resolved,
        })
    }

    /// The file itself, at the end of all links.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// The folder it stands in.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where this build is put together.
    pub(super) fn part(&self) -> PathBuf {
        self.beside(&format!("{}{PART}", self.root))
    }

    /// Held by who writes for the target.
    pub(super) fn lock(&self) -> PathBuf {
        self.beside("lock")
    }

    /// A name that is taken for a moment only, by a file that has none afterwards.
    pub(super) fn passing(&self) -> PathBuf {
        self.beside(&format!("{}.{}", self.root, std::process::id()))
    }

    /// Where releases before the names carried the root put builds together; `None` where the name would be too long.
    pub(super) fn legacy_part(&self) -> Option<PathBuf> {
        let mut name = self.target.file_name()?.to_owned();
        name.push(PART);
        (name.len() <= NAME_MAX).then(|| self.folder.join(name))
    }

    /// The part files of builds for this target, that of this build among them where it is there.
    pub(super) fn parts(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
        let mut parts: Vec<PathBuf> = names
            .filter(|name| self.is_part(name))
            .map(|name| self.folder.join(name))
            .collect();
        parts.sort_unstable();
        parts
    }

    fn is_part(&self, name: &OsStr) -> bool {
        let rest = name.as_bytes().strip_prefix(b".");
        let rest = rest.and_then(|rest| rest.strip_prefix(self.stem.as_bytes()));
        let rest = rest.and_then(|rest| rest.strip_prefix(b"."));
        let root = rest.and_then(|rest| rest.strip_suffix(PART.as_bytes()));
        root.is_some_and(|root| root.len() == ROOT_DIGITS && root.iter().all(u8::is_ascii_hexdigit))
    }

    fn beside(&self, what: &str) -> PathBuf {
        self.folder.join(name_of(&self.stem, what))
    }
}

impl Stamp {
    /// Of what stands at `path`, if there is something.
    pub(super) fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|there| Self::of(&there))
    }

    fn of(there: &std::fs::Metadata) -> Self {
        Self {
            device: there.dev(),
            inode: there.ino(),
            length: there.len(),
            modified: (there.mtime(), there.mtime_nsec()),
        }
    }
}

/// The name of what is beside `target`, whatever build stands there; `None` where `target` names no file.
pub(super) fn beside(target: &Path, what: &str) -> Option<PathBuf> {
    let target = follow(target)?;
    let name = name_of(&stem(target.file_name()?), what);
    Some(target.with_file_name(name))
}

fn name_of(stem: &OsStr, what: &str) -> OsString {
    let mut name = OsString::from(".");
    name.push(stem);
    name.push(".");
    name.push(what);
    name
}

/// Whether `path` itself, and not a link there, is the open `file`.
pub(super) fn is_same(path: &Path, file: &File) -> io::Result<bool> {
    let open = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The path at the end of all links; `None` where there is none.
fn follow(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(link) = std::fs::read_link(&path) else {
            return Some(path);
        };
        // An absolute link takes the place of all before it.
        path = path.parent().unwrap_or_else(|| Path::new("")).join(link);
    }
    None
}

/// What stands for a name in the names beside it: the name, or its beginning and a hash of it.
fn stem(name: &OsStr) -> OsString {
    if name.len() <= STEM_MAX {
        return name.to_owned();
    }
    let hash = Hash::of(name.as_bytes()).to_string();
    let text = name.to_string_lossy();
    let beginning = &text[..text.floor_char_boundary(STEM_MAX - ROOT_DIGITS - 1)];
    format!("{beginning}~{}", &hash[..ROOT_DIGITS]).into()
}

/// Ends the name of every part file.
const PART: &str = ".part";
/// Digits of the root, two a byte, that a part file carries: as good as unique among the versions of one file.
const ROOT_DIGITS: usize = 16;
/// Bytes of a name that Linux file systems take.
const NAME_MAX: usize = 255;
/// A name is shortened from here on.
const STEM_MAX: usize = 200;
/// The longest name that is made of a stem: two dots, the root, a dot and a process id.
const _: () = assert!(STEM_MAX + 2 + ROOT_DIGITS + 1 + 10 <= NAME_MAX);
/// As many as the kernel follows.
const LINKS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str, content: &[u8]) -> Place {
        let manifest = Manifest::of("b", content, 1024).unwrap();
        Place::of(&Path::new("/nowhere").join(name), &manifest).unwrap()
    }

    #[test]
    fn versions_of_one_file_have_parts_of_their_own_and_one_lock() {
        let (one, other) = (place("app.zip", b"one"), place("app.zip", b"other"));
        assert_ne!(one.part(), other.part());
        assert_eq!(one.lock(), other.lock());
        let name = other.part().file_name().unwrap().to_owned();
        assert!(one.is_part(&name), "{name:?}");
        let neighbour = place("app", b"one").part();
        assert!(!one.is_part(neighbour.file_name().unwrap()), "{neighbour:?}");
        for name in ["app.zip.part", ".app.zip.part", ".app.zip.lock", ".app.zip.0123.part"] {
            assert!(!one.is_part(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn names_as_long_as_they_may_be_have_names_beside_them() {
        for letter in ["a", "ß", "語"] {
            let name = letter.repeat(255 / letter.len());
            let other = format!("{}b", &name[..name.floor_char_boundary(254)]);
            let (long, similar) = (place(&name, b"one"), place(&other, b"one"));
            for path in [long.part(), long.lock(), long.passing()] {
                assert!(path.file_name().unwrap().len() <= NAME_MAX, "{path:?}");
            }
            assert_ne!(long.part(), similar.part(), "they differ at the end only");
            assert_eq!(long.legacy_part(), None);
        }
    }
}
