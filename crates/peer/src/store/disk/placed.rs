//! What stands beside a place from just before a build is renamed to it until whoever fetched it has written down that it came.
//!
//! A process that is killed between the two finds it when it is started again: the build is in place, was verified, and nobody was
//! told. Without it a file that came and one that somebody else has put there look the same.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use swarm::Hash;

use super::place::beside;

/// A build that was about to stand at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// What whoever fetched it calls it ([`DiskOptions::label`](super::DiskOptions::label)).
    pub label: String,
    /// Root of its manifest, in hexadecimal; absent in notes of earlier releases.
    #[serde(default)]
    pub root: Option<String>,
    /// Wall clock, in milliseconds since 1970.
    at: u64,
    size: u64,
    modified: (i64, i64),
}

impl Placed {
    /// The build of the note beside `target`, if it stands there: what was renamed to the place, and nothing since.
    pub fn at(target: &Path) -> Option<Self> {
        let text = std::fs::read(note(target)?).ok()?;
        // One that was cut off is none.
        let placed: Self = serde_json::from_slice(&text).ok()?;
        let there = std::fs::metadata(target).ok().filter(std::fs::Metadata::is_file)?;
        ((placed.size, placed.modified) == stamp(&there)).then_some(placed)
    }

    /// Removes the note beside `target`: what is in place is written down, or given up.
    pub fn forget(target: &Path) {
        if let Some(note) = note(target) {
            // It may not be there. One that stays is no harm: it is of what stands there, or of nothing.
            let _ = std::fs::remove_file(note);
        }
    }

    /// When it was put there; now where the clock was set back since.
    pub fn time(&self) -> SystemTime {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(self.at));
        let now = SystemTime::now();
        at.map_or(now, |at| at.min(now))
    }

    /// Writes the note that `part`, of which nothing changes any more, is about to stand at `target`.
    pub(super) fn write(label: &str, root: Hash, part: &File, target: &Path) -> io::Result<()> {
        let Some(note) = note(target) else {
            return Ok(());
        };
        let (size, modified) = stamp(&part.metadata()?);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at = u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        let label = label.to_owned();
        let text = serde_json::to_vec(&Self {
            label,
            root: Some(root.to_string()),
            at,
            size,
            modified,
        })?;
        let mut file = File::create(note)?;
        file.write_all(&text)?;
        file.sync_all()
    }
}

fn note(target: &Path) -> Option<PathBuf> {
    beside(target, "placed")
}

fn stamp(there: &std::fs::Metadata) -> (u64, (i64, i64)) {
    (there.len(), (there.mtime(), there.mtime_nsec()))
}
