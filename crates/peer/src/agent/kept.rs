//! The agent's list of what has come to its folder, in a file there: which versions, when, whether their line was printed and
//! their row written. It is what makes a restart cost nothing: what the list knows is neither told nor written again.
//!
//! Invariant: of a version there is one record, and the records stand in the order in which the versions came. A version that
//! has come once stays on the list after its file has gone, as long as there is room. The file is replaced as a whole, so a reader
//! finds the old or the new one; one that cannot be read is put aside and said to be, and what stands in the folder then counts
//! as found there: it has no row and no line.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cloud::DeploymentLog;
use peer::{Locked, NodeIdentity, replace_file, take_lock};
use serde::{Deserialize, Serialize};

use super::{Failure, machine};
use program::Exit;

/// A version of a build: key and version.
pub(crate) type BuildId = (String, String);

/// What is known of a version. Times are wall clock, in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The key.
    pub(crate) key: String,
    /// The version, as the directory calls it.
    pub(crate) version: String,
    /// When this host heard of it first.
    heard_at: u64,
    /// A transfer has begun: if the file is in place, it is because it has come.
    #[serde(default)]
    pub(crate) is_begun: bool,
    /// When it was in place the first time; absent while it never was.
    #[serde(default)]
    came_at: Option<u64>,
    /// The file in the folder, where it stands there.
    #[serde(default)]
    pub(crate) file: Option<Stamp>,
    /// What a copy of it is held against; absent in lists of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) made: Option<Made>,
    /// Nothing is to be printed of it any more.
    #[serde(default)]
    pub(crate) is_printed: bool,
    /// Its row.
    #[serde(default)]
    pub(crate) row: Row,
}

/// A version's row in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Row {
    /// There is nothing to write.
    #[default]
    None,
    /// It is to be written.
    Due(Box<DeploymentLog>),
    /// It is in the table, or was refused for good.
    Written,
}

/// By which the bytes of a version are known: the root of its manifest, and the size of the chunks that it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) root: String,
    pub(crate) chunk_size: u32,
}

/// By which a file that was put in place is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Its length in bytes.
    pub(crate) size: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Stamp {
    /// Of the file at `path`, if there is one.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let there = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Self {
            size: there.len(),
            modified_s: there.mtime(),
            modified_ns: there.mtime_nsec(),
        })
    }
}

impl Record {
    /// Whether it was in place at any time.
    pub(crate) fn has_come(&self) -> bool {
        self.came_at.is_some()
    }

    /// It is in place now, the file with this stamp.
    pub(crate) fn come(&mut self, stamp: Option<Stamp>) {
        self.came_at.get_or_insert_with(|| milliseconds(SystemTime::now()));
        self.file = stamp;
    }

    /// How long ago this host heard of it; nothing where the clock was set back since.
    pub(crate) fn heard_ago(&self) -> Duration {
        self.heard_before(SystemTime::now())
    }

    /// How long before `time` this host heard of it.
    pub(crate) fn heard_before(&self, time: SystemTime) -> Duration {
        let heard_at = Duration::from_millis(self.heard_at);
        let heard_at = SystemTime::UNIX_EPOCH.checked_add(heard_at);
        let before = heard_at.and_then(|at| time.duration_since(at).ok());
        before.unwrap_or_default()
    }

    fn is(&self, id: &BuildId) -> bool {
        self.key == id.0 && self.version == id.1
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Content {
    /// What this host is called in its rows where nobody has said.
    #[serde(default)]
    host_id: String,
    builds: Vec<Record>,
}

/// The list. One process at a time has it.
pub(crate) struct Kept {
    path: PathBuf,
    content: Content,
    is_changed: bool,
    /// The last try to write it has failed, and this was said.
    is_unwritable: bool,
    /// Its lock ends with it.
    _lock: File,
}

impl Kept {
    /// The list of `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// Exit code and sentence where the folder cannot be used, or is in use by another process.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let folder = folder.display();
            let hint = "is it a folder that this user may write to?";
            (
                Exit::Failed,
                format!("failed to use the folder {folder}: {error}; {hint}"),
            )
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let lock = lock(folder, failed)?;
        let path = folder.join(LIST);
        let mut content = read(&path);
        if content.host_id.is_empty() {
            content.host_id = machine::name().unwrap_or_else(|| NodeIdentity::random().peer_id().to_string());
        }
        Ok(Self {
            path,
            content,
            is_changed: true,
            is_unwritable: false,
            _lock: lock,
        })
    }

    /// The records of the list in `folder`, whoever has it; none where there is no list. Nothing is put aside.
    ///
    /// # Errors
    /// Exit code and sentence where it cannot be read.
    pub(crate) fn look(folder: &Path) -> Result<Vec<Record>, Failure> {
        let path = folder.join(LIST);
        let content = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice::<Content>(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let content = content.map_err(|error| {
            let (list, hint) = (path.display(), "run it as the agent's user");
            (
                Exit::Failed,
                format!("failed to read the agent's list {list}: {error}; {hint}"),
            )
        })?;
        Ok(content.builds)
    }

    /// Whether a process keeps `folder` now.
    pub(crate) fn is_in_use(folder: &Path) -> bool {
        // For a moment it is locked here, which whoever begins to keep it waits for.
        let lock = File::open(folder.join(LOCK));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Where it is kept.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is remembered which signed builds were had.
    pub(crate) fn sequences_path(&self) -> PathBuf {
        self.path.with_file_name(SEQUENCES)
    }

    /// What this host is called in its rows where nobody has said.
    pub(crate) fn host_id(&self) -> &str {
        &self.content.host_id
    }

    /// All records, the oldest first.
    pub(crate) fn records(&self) -> &[Record] {
        &self.content.builds
    }

    /// The record of a version, if there is one.
    pub(crate) fn get(&self, id: &BuildId) -> Option<&Record> {
        self.content.builds.iter().find(|record| record.is(id))
    }

    /// The record of a version, to be changed; a new one where there is none.
    pub(crate) fn change(&mut self, id: &BuildId) -> &mut Record {
        self.is_changed = true;
        let builds = &mut self.content.builds;
        let index = builds.iter().position(|record| record.is(id)).unwrap_or_else(|| {
            builds.push(Record {
                key: id.0.clone(),
                version: id.1.clone(),
                heard_at: milliseconds(SystemTime::now()),
                is_begun: false,
                came_at: None,
                file: None,
                made: None,
                is_printed: false,
                row: Row::None,
            });
            builds.len() - 1
        });
        &mut builds[index]
    }

    /// A version is in place where another one may have stood: it is the newest now.
    pub(crate) fn put_last(&mut self, id: &BuildId) {
        self.is_changed = true;
        let builds = &mut self.content.builds;
        for record in builds.iter_mut().filter(|record| record.key == id.0 && !record.is(id)) {
            record.file = None;
        }
        if let Some(index) = builds.iter().position(|record| record.is(id)) {
            builds[index..].rotate_left(1);
        }
    }

    /// Forgets a version that never came.
    pub(crate) fn forget(&mut self, id: &BuildId) {
        self.is_changed = true;
        let is_over = |record: &Record| record.is(id) && !record.has_come() && !matches!(record.row, Row::Due(_));
        self.content.builds.retain(|record| !is_over(record));
    }

    /// Writes the list where it has changed. What cannot be written is said once, and tried again at the next change.
    pub(crate) fn save(&mut self) {
        if !self.is_changed {
            return;
        }
        self.drop_the_oldest();
        match self.write() {
            Ok(()) => (self.is_changed, self.is_unwritable) = (false, false),
            Err(error) if !self.is_unwritable => {
                self.is_unwritable = true;
                let file = self.path.display();
                tracing::warn!(
                    %file, %error,
                    "the list of what has come cannot be written: after a restart some of it may be told again; \
                     is the disk full or read-only?"
                );
            }
            Err(_) => {}
        }
    }

    /// Whether all of it is on disk.
    pub(crate) fn is_saved(&self) -> bool {
        !self.is_changed
    }

    fn write(&self) -> io::Result<()> {
        replace_file(&self.path, &serde_json::to_vec(&self.content)?)
    }

    /// What is only history goes when there is too much of it. What is on its way, in the folder, or to be told stays.
    fn drop_the_oldest(&mut self) {
        let mut over = self.content.builds.len().saturating_sub(RECORDS_MAX);
        self.content.builds.retain(|record| {
            let is_told = record.has_come() && !matches!(record.row, Row::Due(_)) || record.row == Row::Written;
            let is_history = is_told && record.file.is_none();
            let goes = over > 0 && is_history;
            over -= usize::from(goes);
            !goes
        });
    }
}

fn read(path: &Path) -> Content {
    let content = std::fs::read(path).and_then(|text| Ok(serde_json::from_slice(&text)?));
    content.unwrap_or_else(|error: io::Error| {
        if error.kind() != io::ErrorKind::NotFound {
            let aside = path.with_extension("broken");
            let moved = std::fs::rename(path, &aside).is_ok();
            let (file, kept) = (path.display(), if moved { aside.display() } else { path.display() });
            tracing::warn!(
                %file, %error,
                "the list of what has come cannot be read and begins anew; what stands in the folder is neither printed nor \
                 logged again. The old one: {kept}"
            );
        }
        Content::default()
    })
}

fn lock(folder: &Path, failed: impl Fn(io::Error) -> Failure) -> Result<File, Failure> {
    let path = folder.join(LOCK);
    let mut options = File::options();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(&failed)?;
    let mut locked = take_lock(&file, &path).map_err(&failed)?;
    for _ in 0..LOOKS {
        if locked == Locked::Ours {
            break;
        }
        // Somebody may only look whether it is in use.
        std::thread::sleep(LOOK);
        locked = take_lock(&file, &path).map_err(&failed)?;
    }
    match locked {
        Locked::Ours => Ok(file),
        Locked::Taken(process) => {
            let owner = process.map_or_else(|| "?".to_owned(), |process| process.to_string());
            let folder = folder.display();
            Err((
                Exit::Failed,
                format!("the folder {folder} is in use by process {owner}; stop it first, or use another --folder"),
            ))
        }
    }
}

/// Wall clock, in milliseconds since 1970.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How the names of the agent's own files in the folder begin; no build may have such a key.
pub(crate) const OURS: &str = ".fleetcast-";
/// The list's file.
const LIST: &str = ".fleetcast-builds.json";
/// The file of what was had of signed builds.
pub(super) const SEQUENCES: &str = ".fleetcast-sequences.json";
/// The lock's file.
const LOCK: &str = ".fleetcast-lock";
/// A look at the lock takes far less …
const LOOK: Duration = Duration::from_millis(20);
/// … and so many of them are waited for.
const LOOKS: u32 = 5;
/// Versions that are remembered: with a deploy in each hour that is six weeks.
const RECORDS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: &str, version: &str) -> BuildId {
        (key.to_owned(), version.to_owned())
    }

    fn stamp(size: u64) -> Option<Stamp> {
        Some(Stamp {
            size,
            modified_s: 1,
            modified_ns: 2,
        })
    }

    #[test]
    fn the_list_comes_back_in_the_order_in_which_versions_came() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::open(folder.path()).unwrap();
        for key in ["a", "b"] {
            kept.change(&id(key, "1")).is_begun = true;
        }
        for (key, version) in [("b", "1"), ("a", "1"), ("b", "2")] {
            kept.change(&id(key, version)).come(stamp(7));
            kept.put_last(&id(key, version));
        }
        kept.save();
        let (records, host) = (kept.records().to_vec(), kept.host_id().to_owned());
        drop(kept);
        let kept = Kept::open(folder.path()).unwrap();
        assert_eq!(kept.records(), records);
        assert_eq!(kept.host_id(), host, "a host has the same name after a restart");
        let order: Vec<_> = records
            .iter()
            .map(|r| (&*r.key, &*r.version, r.file.is_some()))
            .collect();
        // The second version of b stands where the first stood.
        assert_eq!(order, [("b", "1", false), ("a", "1", true), ("b", "2", true)]);
        assert!(!folder.path().join(".fleetcast-builds.json.new").exists());
    }

    #[test]
    fn one_process_at_a_time_has_a_folder_and_the_other_is_told_which() {
        let folder = tempfile::tempdir().unwrap();
        let first = Kept::open(folder.path()).unwrap();
        let (code, message) = Kept::open(folder.path()).map(|_| ()).unwrap_err();
        assert_eq!(code, Exit::Failed);
        assert!(
            message.contains(&format!("in use by process {}", std::process::id())),
            "{message}"
        );
        drop(first);
        Kept::open(folder.path()).unwrap();
    }

    #[test]
    fn broken_lists_are_put_aside_whatever_they_are() {
        for broken in ["", "{", "[]", "{\"builds\": [{}]}", "\0\u{1}"] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(LIST), broken).unwrap();
            let mut kept = Kept::open(folder.path()).unwrap();
            assert_eq!(kept.records(), []);
            kept.save();
            let aside = folder.path().join(".fleetcast-builds.broken");
            assert_eq!(std::fs::read_to_string(aside).unwrap(), broken);
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_negative_times() {
        let folder = tempfile::tempdir().unwrap();
        let day = 86_400_000;
        let tomorrow = milliseconds(SystemTime::now()) + day;
        for heard_at in [tomorrow, u64::MAX] {
            let list = format!(r#"{{"builds": [{{"key": "a", "version": "1", "heard_at": {heard_at}}}]}}"#);
            std::fs::write(folder.path().join(LIST), list).unwrap();
            let kept = Kept::open(folder.path()).unwrap();
            assert_eq!(kept.records().len(), 1);
            assert_eq!(kept.records()[0].heard_ago(), Duration::ZERO);
        }
    }

    #[test]
    fn history_is_bounded_and_what_is_to_be_told_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::open(folder.path()).unwrap();
        for version in 0..RECORDS_MAX + 50 {
            let id = id("a", &version.to_string());
            kept.change(&id).come(stamp(1));
            kept.put_last(&id);
        }
        kept.change(&id("waits", "1"));
        kept.save();
        assert_eq!(kept.records().len(), RECORDS_MAX);
        assert!(kept.get(&id("a", "50")).is_none() && kept.get(&id("a", "1049")).is_some());
        kept.forget(&id("waits", "1"));
        kept.forget(&id("a", "1049"));
        assert!(kept.get(&id("waits", "1")).is_none() && kept.get(&id("a", "1049")).is_some());
    }
}
