//! What leaves the folder: builds that are over, and the part files of fetches that were given up. Invariant: only what the agent's
//! own list names is removed, only as it was put there, and not before it has left its swarm.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::builds::Builds;
use super::keep::{InFolder, Keep};
use super::kept::{BuildId, Stamp};
use super::speech;

impl Builds<'_> {
    /// Removes what is listed no more and is not kept.
    pub(super) fn remove_what_is_over(&mut self) {
        if !std::mem::take(&mut self.may_be_over) {
            return;
        }
        let in_folder = self.found();
        let keep = Keep {
            builds: self.arguments.keep,
            bytes: self.arguments.keep_size,
        };
        let folder: Vec<InFolder> = in_folder.iter().map(|found| found.folder).collect();
        for index in keep.over(&folder) {
            self.withdraw(&in_folder[index], "it is not listed any more");
        }
    }

    /// What stands in the folder and is not on its way out, the oldest first. Before the directory has said anything, nothing is known to
    /// be over, and nothing is found.
    fn found(&self) -> Vec<Found> {
        if self.builds.is_empty() {
            return Vec::new();
        }
        let wanted = self
            .builds
            .iter()
            .filter(|(_, build)| build.is_listed || build.is_unfinished());
        let wanted: BTreeSet<&str> = wanted.map(|(id, _)| id.0.as_str()).collect();
        let records = self.kept.records().iter().filter_map(|record| {
            let stamp = record.file?;
            let folder = InFolder {
                size: stamp.size,
                is_wanted: wanted.contains(record.key.as_str()) || self.arguments.pin.contains(&record.key),
            };
            let id = (record.key.clone(), record.version.clone());
            Some(Found { id, stamp, folder })
        });
        records
            .filter(|found| self.leaving.iter().all(|leaving| leaving.found.id != found.id))
            .collect()
    }

    /// Has so many bytes of builds leave the folder that are not listed, the oldest first, where that is enough.
    pub(super) fn make_room(&mut self, lacks: u64) {
        let found = self.found();
        let last = found.last().map(|found| found.id.clone());
        let goes = |found: &Found| !found.folder.is_wanted && Some(&found.id) != last.as_ref();
        let mut out = Vec::new();
        // What is on its way out counts.
        let mut bytes: u64 = self.leaving.iter().map(|leaving| leaving.found.folder.size).sum();
        for found in found.into_iter().filter(goes) {
            if bytes >= lacks {
                break;
            }
            bytes += found.folder.size;
            out.push(found);
        }
        if bytes >= lacks {
            for found in out {
                self.withdraw(&found, "there is no room for what is listed");
            }
        }
    }

    /// Ends the part of a build in its swarm: neighbours and seeders hear that by their connections. Its file is deleted when nobody
    /// has hands on it.
    fn withdraw(&mut self, found: &Found, why: &'static str) {
        self.builds.remove(&found.id);
        self.leaving.push(Leaving {
            found: found.clone(),
            why,
        });
    }

    /// Deletes the files of builds that have left the swarm. What is wanted again by now stays.
    pub(super) fn delete_what_has_left(&mut self) {
        for leaving in std::mem::take(&mut self.leaving) {
            let id = &leaving.found.id;
            let Some(out) = self.place_of(&id.0) else {
                continue;
            };
            if self.builds.keys().any(|(key, _)| *key == id.0) {
                self.may_be_over = true;
            } else if self.surroundings.is_free(&out) {
                self.kept.change(id).file = None;
                self.delete(&leaving, &out);
            } else {
                self.leaving.push(leaving);
            }
        }
    }

    fn delete(&self, leaving: &Leaving, out: &Path) {
        let Found { id, stamp, folder } = &leaving.found;
        if Stamp::of(out) != Some(*stamp) {
            if out.exists() {
                tracing::warn!(file = %out.display(), "is over, but was changed since it came, and is left where it is");
            }
            return;
        }
        match std::fs::remove_file(out) {
            Ok(()) => {
                remove_parts(out);
                remove_empty_folders(out, self.folder);
                let (size, why) = (speech::bytes(folder.size), leaving.why);
                self.arguments.say(&format!("{}: removed, {size}; {why}", id.0));
            }
            Err(error) => tracing::warn!(file = %out.display(), %error, "is over and cannot be removed"),
        }
    }
}

/// A build that stands in the folder.
#[derive(Clone, Debug)]
struct Found {
    id: BuildId,
    stamp: Stamp,
    folder: InFolder,
}

/// One that has left its swarm and is to be deleted.
#[derive(Debug)]
pub(super) struct Leaving {
    found: Found,
    why: &'static str,
}

/// Bytes that the part files beside the place of a build take of the disk.
pub(super) fn bytes_of_parts(out: &Path) -> u64 {
    let (Some(folder), Some(name)) = (out.parent(), out.file_name().and_then(|name| name.to_str())) else {
        return 0;
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let parts = entries.filter(|entry| entry.file_name().to_str().is_some_and(|file| is_part_of(name, file)));
    // A block is 512 bytes here, whatever the file system has.
    let bytes = parts.filter_map(|part| Some(part.metadata().ok()?.blocks() * 512));
    bytes.sum()
}

/// Removes what an interrupted fetch has left beside the place of a build that is over.
pub(super) fn remove_parts(out: &Path) {
    let (Some(folder), Some(name)) = (out.parent(), out.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let file = entry.file_name();
        if file.to_str().is_some_and(|file| is_part_of(name, file))
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            tracing::warn!(file = %entry.path().display(), %error, "is over and cannot be removed");
        }
    }
}

/// Whether `file` is a part file of the build `name`: `NAME.part`, or `.NAME.<16 hex digits of its root>.part`; or the note that was
/// written before it was to be put in place.
fn is_part_of(name: &str, file: &str) -> bool {
    let note = file.strip_prefix('.').and_then(|rest| rest.strip_suffix(".placed"));
    if note == Some(name) {
        return true;
    }
    let Some(rest) = file.strip_suffix(".part") else {
        return false;
    };
    let root = rest
        .strip_prefix('.')
        .and_then(|rest| rest.strip_prefix(name)?.strip_prefix('.'));
    rest == name || root.is_some_and(|root| root.len() == 16 && root.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Removes the folders of a key that have become empty, up to `top`.
fn remove_empty_folders(out: &Path, top: &Path) {
    let folders = out.ancestors().skip(1).take_while(|folder| *folder != top);
    for folder in folders {
        // One that is not empty stays, and so do those above it.
        if std::fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_files_are_those_of_the_build_and_of_no_other() {
        for file in ["a.zip.part", ".a.zip.0123456789abcdef.part", ".a.zip.placed"] {
            assert!(is_part_of("a.zip", file), "{file}");
        }
        for file in [
            "a.zip",
            "b.a.zip.part",
            "a.zip.placed",
            ".b.a.zip.placed",
            "a.zip.b.part",
            ".a.zip.b.0123456789abcdef.part",
            ".a.zip.0123.part",
        ] {
            assert!(!is_part_of("a.zip", file), "{file}");
        }
    }
}
