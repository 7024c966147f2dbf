//! What leaves the folder: builds that are over, and the part files of fetches that were given up. Invariant: only what the agent's
//! own list names is removed, and only as it was put there.

use std::collections::BTreeSet;
use std::path::Path;

use super::arguments::place_of;
use super::builds::Builds;
use super::keep::{InFolder, Keep};
use super::kept::Stamp;
use super::speech;

impl Builds<'_> {
    /// Removes what is listed no more and is not kept.
    pub(super) fn remove_what_is_over(&mut self) {
        if !std::mem::take(&mut self.may_be_over) {
            return;
        }
        let wanted = self
            .builds
            .iter()
            .filter(|(_, build)| build.is_listed || build.is_unfinished());
        let wanted: BTreeSet<&str> = wanted.map(|(id, _)| id.0.as_str()).collect();
        let in_folder = self.kept.records().iter().filter_map(|record| {
            let folder = InFolder {
                size: record.file?.size,
                is_wanted: wanted.contains(record.key.as_str()),
            };
            Some(((record.key.clone(), record.version.clone()), record.file, folder))
        });
        // Before the directory has said anything, nothing is known to be over.
        let in_folder: Vec<_> = in_folder.filter(|_| !self.builds.is_empty()).collect();
        let keep = Keep {
            builds: self.arguments.keep,
            bytes: self.arguments.keep_size,
        };
        let folder: Vec<InFolder> = in_folder.iter().map(|(_, _, folder)| *folder).collect();
        for index in keep.over(&folder) {
            let (id, stamp, folder) = &in_folder[index];
            self.kept.change(id).file = None;
            self.builds.remove(id);
            let Some(out) = place_of(self.folder, &id.0) else {
                continue;
            };
            if Stamp::of(&out) != *stamp {
                if out.exists() {
                    tracing::warn!(file = %out.display(), "is over, but was changed since it came, and is left where it is");
                }
                continue;
            }
            match std::fs::remove_file(&out) {
                Ok(()) => {
                    remove_parts(&out);
                    remove_empty_folders(&out, self.folder);
                    let size = speech::bytes(folder.size);
                    self.arguments
                        .say(&format!("{}: removed, {size}; it is not listed any more", id.0));
                }
                Err(error) => tracing::warn!(file = %out.display(), %error, "is over and cannot be removed"),
            }
        }
    }
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
