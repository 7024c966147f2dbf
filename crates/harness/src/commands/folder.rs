//! The folder that a command writes its report into: the one that was asked for, or one of its own under `runs/`.
//!
//! Invariant: nobody else's report is in it, and no other process is given the same folder of its own.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("cannot use {}; expected a new or empty folder", path.display())]
    Asked { path: PathBuf, source: io::Error },
    #[error("cannot make a folder under {}", path.display())]
    Own { path: PathBuf, source: io::Error },
}

/// Makes the folder that was asked for, or `runs/<time>-<name>`, time in UTC.
pub(super) fn make(asked: Option<PathBuf>, name: &str) -> Result<PathBuf, FolderError> {
    match asked {
        Some(path) => match prepare(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(FolderError::Asked { path, source }),
        },
        None => {
            let now = cloud::timestamp(SystemTime::now());
            let stamp: String = now.chars().filter(char::is_ascii_alphanumeric).collect();
            let stamp: String = stamp.chars().take("20260101T000000".len()).collect();
            let path = Path::new(RUNS);
            own(path, &format!("{stamp}-{name}")).map_err(|source| FolderError::Own {
                path: path.to_owned(),
                source,
            })
        }
    }
}

/// Takes away a folder in which nothing was written.
pub(super) fn leave_if_empty(folder: &Path) {
    // One with files stays, by what this call is.
    let _ = std::fs::remove_dir(folder);
}

/// Takes away the objects of an embedded cloud, and says how many bytes they had. Its tables stay: `count` reads them.
pub(super) fn drop_copies(cloud: &Path) -> Option<u64> {
    let objects = cloud.join("s3");
    let bytes = bytes_below(&objects);
    std::fs::remove_dir_all(&objects).ok()?;
    Some(bytes)
}

/// How many bytes files below a folder have. Links are not followed.
pub(super) fn bytes_below(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => bytes += found.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// A copy of a run's tables, which is gone when it is dropped. A run that is under way has its own locked, and one that was
/// put away may be read only.
pub(super) struct CopiedTables(PathBuf);

impl CopiedTables {
    pub(super) fn of(cloud: &Path) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("harness-count-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let copy = Self(folder);
        // With what is not in the table's file yet.
        for name in ["dynamodb.sqlite", "dynamodb.sqlite-wal"] {
            let from = cloud.join(name);
            if from.exists() {
                let to = copy.0.join(name);
                std::fs::write(to, std::fs::read(from)?)?;
            }
        }
        Ok(copy)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for CopiedTables {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Nobody finds half a report.
pub(super) fn write_whole(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, bytes)?;
    std::fs::rename(part, path)
}

fn prepare(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    // A new volume has one, and an empty folder in a repository a file that keeps it there.
    let is_a_file = |entry: &io::Result<std::fs::DirEntry>| {
        let name = entry.as_ref().map(std::fs::DirEntry::file_name).unwrap_or_default();
        name != "lost+found" && name != ".gitkeep"
    };
    if std::fs::read_dir(folder)?.any(|entry| is_a_file(&entry)) {
        return Err(io::Error::other("it has files already"));
    }
    Ok(())
}

/// Whoever makes a folder has it: of two that begin in one second, the second one is told that it is there and counts on.
fn own(parent: &Path, name: &str) -> io::Result<PathBuf> {
    std::fs::create_dir_all(parent)?;
    for number in 1_u32.. {
        let folder = match number {
            1 => parent.join(name),
            _ => parent.join(format!("{name}-{number}")),
        };
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(folder),
        }
    }
    Err(io::Error::other("every name is taken"))
}

/// Where folders are that were not asked for.
const RUNS: &str = "runs";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn those_that_begin_in_one_second_each_have_a_folder() {
        let parent = tempfile::tempdir().unwrap();
        let parent = &parent.path().join("runs");
        let folders: BTreeSet<PathBuf> = std::thread::scope(|threads| {
            let made: Vec<_> = (0..16)
                .map(|_| threads.spawn(|| own(parent, "now-x").unwrap()))
                .collect();
            made.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(folders.len(), 16);
        assert!(folders.contains(&parent.join("now-x")) && folders.contains(&parent.join("now-x-16")));
    }

    #[test]
    fn a_folder_with_files_is_neither_used_nor_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("precious");
        std::fs::write(&file, "data").unwrap();
        assert!(make(Some(folder.path().to_owned()), "x").is_err());
        leave_if_empty(folder.path());
        assert!(file.exists());
        let empty = folder.path().join("a/b");
        assert_eq!(make(Some(empty.clone()), "x").unwrap(), empty);
        leave_if_empty(&empty);
        assert!(!empty.exists());
    }
}
