//! The folder in which a seeder keeps its builds.
//!
//! Invariant: one process at a time has the folder; each version of each object has files of its own (`NAME.data` with a record
//! `NAME.json` where it is whole, or a journal `NAME.pull` where it is being pulled); what somebody uses is never removed, and
//! its space was had before its first byte came.
//!
//! Map: `record` is what is written down of a build, `space` is who may have how much, `pulling` a build on its way in and
//! `store` one that is whole, whose every chunk is hashed when it is read.
//!
//! All calls may wait for the disk.

mod pulling;
mod record;
mod space;
mod store;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cloud::ObjectInfo;
use parking_lot::Mutex;
use peer::{Locked, replace_file, take_lock};
use serde::{Deserialize, Serialize};
use swarm::Manifest;

use crate::build_feed::BuildNotice;
use record::{FileSeen, Journal, Record};

pub use pulling::PullingBuild;
pub use record::BuildName;
pub use space::SpoolLimits;
pub use store::{Origin, SpoolStore};

/// The folder of one seeder. Its lock ends with it.
#[derive(Debug)]
pub struct SpoolFolder {
    path: PathBuf,
    limits: SpoolLimits,
    entries: Mutex<BTreeMap<BuildName, Entry>>,
    _lock: File,
}

/// What the folder has of one version of an object.
#[derive(Debug)]
struct Entry {
    object: ObjectInfo,
    /// Bytes that its file takes, or will.
    size: u64,
    is_whole: bool,
    /// Seconds since 1970 when it was last needed: the oldest goes first.
    needed_at: u64,
    /// Held by who uses it.
    used: Arc<()>,
}

impl Entry {
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.used) > 1
    }

    fn is_of(&self, object: &ObjectInfo) -> bool {
        self.object.bucket == object.bucket && self.object.key == object.key
    }
}

/// A build whose bytes are all in the folder, as long as this is held.
#[derive(Debug)]
pub struct WholeBuild {
    /// Its name in the folder.
    pub name: BuildName,
    /// The object that it was read from.
    pub object: ObjectInfo,
    /// Its chunks.
    pub manifest: Arc<Manifest>,
    /// Whether its file is the one that was written here, by length, time and inode.
    pub is_unchanged: bool,
    /// Who vouched for it when it was last looked at.
    pub signature: Option<String>,
    file: File,
    path: PathBuf,
    _used: Arc<()>,
}

/// A build that is seeded, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedBuild {
    /// Its name in the folder.
    pub name: BuildName,
    /// What it is of.
    pub notice: BuildNotice,
    /// Hosts that have it: they do not come for it again.
    pub hosts: u64,
}

/// Which builds a seeder seeded when it was last asked, the oldest first.
#[derive(Debug, Default)]
pub struct SeedingList {
    /// Those that the folder has.
    pub builds: Vec<ListedBuild>,
    /// Those of which it knows only what they are of: of an earlier release, or their record is gone.
    pub notices: Vec<BuildNotice>,
    /// How many hosts there were; 0 where that was not known.
    pub fleet: u64,
}

/// Why the folder cannot be had, or does not take a build.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another seeder has it.
    #[error("the spool {} is in use by process {holder}; give each seeder a --folder of its own", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other's process id, or a question mark.
        holder: String,
    },
    /// The file system said no.
    #[error("failed to {action} {}; expected a --folder that can be written and has space", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no space.
    #[error("{key} of bucket {bucket} does not fit into the spool: needs {needs} bytes, {free} free")]
    DoesNotFit {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Bytes that it needs.
        needs: u64,
        /// Bytes that are free when all that nobody uses is gone.
        free: u64,
        /// Whether it would fit if no other build were there.
        later: bool,
    },
    /// Another task of this process pulls it.
    #[error("{key} of bucket {bucket} is being pulled already")]
    BeingPulled {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
}

impl SpoolFolder {
    /// Takes the folder, makes it where there is none, and looks what is in it. Reads records and no builds.
    ///
    /// # Errors
    /// Where another process has it, or it cannot be written.
    pub fn open(path: &Path, limits: SpoolLimits) -> Result<Arc<Self>, SpoolError> {
        std::fs::create_dir_all(path).map_err(failed("make the folder", path))?;
        let lock = lock_folder(path)?;
        let folder = Self {
            path: path.to_owned(),
            limits,
            entries: Mutex::new(look(path).map_err(failed("read the folder", path))?),
            _lock: lock,
        };
        folder.try_to_write()?;
        Ok(Arc::new(folder))
    }

    /// Bytes of its builds.
    pub fn stored(&self) -> u64 {
        self.entries.lock().values().map(|entry| entry.size).sum()
    }

    /// Bytes that are free where it is; `None` where the system does not say.
    pub fn free(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.path).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A version of an object that is here as a whole.
    pub fn whole(&self, object: &ObjectInfo) -> Option<WholeBuild> {
        self.whole_of(&BuildName::of(object))
    }

    /// The build of a name, if it is here as a whole. One whose files are damaged is forgotten, with a word.
    pub fn whole_of(&self, name: &BuildName) -> Option<WholeBuild> {
        let used = {
            let mut entries = self.entries.lock();
            let entry = entries.get_mut(name).filter(|entry| entry.is_whole)?;
            entry.needed_at = now();
            Arc::clone(&entry.used)
        };
        let (path, record) = (self.file(name, "data"), self.file(name, "json"));
        let opened = Record::read(&record).and_then(|record| {
            let file = File::options().read(true).write(true).open(&path);
            let file = file.or_else(|_| File::open(&path)).map_err(|error| error.to_string())?;
            let metadata = file.metadata().map_err(|error| error.to_string())?;
            Ok(WholeBuild {
                name: name.clone(),
                object: record.object(),
                manifest: Arc::new(record.manifest()?),
                is_unchanged: FileSeen::of(&metadata) == record.file && metadata.len() == record.object().size,
                signature: record.signature,
                file,
                path: path.clone(),
                _used: Arc::clone(&used),
            })
        });
        drop(used);
        match opened {
            Ok(build) => {
                if !build.is_unchanged {
                    let key = &build.object.key;
                    tracing::warn!(key, file = %path.display(), "was changed since it was pulled; each chunk is checked when it is read");
                }
                Some(build)
            }
            Err(problem) => {
                tracing::warn!(file = %record.display(), problem, "a build of the spool cannot be used; it is pulled again");
                self.forget(name);
                None
            }
        }
    }

    /// The version of a key that was needed last, of those that are here as a whole.
    pub fn newest(&self, bucket: &str, key: &str) -> Option<WholeBuild> {
        let name = {
            let entries = self.entries.lock();
            let of_key = entries
                .iter()
                .filter(|(_, entry)| entry.is_whole && entry.object.bucket == bucket && entry.object.key == key);
            of_key.max_by_key(|(_, entry)| entry.needed_at)?.0.clone()
        };
        self.whole_of(&name)
    }

    /// Writes down that a file was read as a whole and is right.
    pub fn is_right(&self, build: &BuildName) {
        if let Ok(seen) = std::fs::metadata(self.file(build, "data")).map(|file| FileSeen::of(&file)) {
            amend(&self.file(build, "json"), |record| record.file = seen);
        }
    }

    /// Writes down which builds are seeded, the oldest first: a seeder that is started again goes on with them.
    ///
    /// # Errors
    /// Where it cannot be written; what was written before stands then.
    pub fn keep_list(&self, builds: &[ListedBuild], fleet: u64) -> Result<(), SpoolError> {
        let builds = builds.iter().map(|build| Listed {
            name: build.name.clone(),
            bucket: build.notice.bucket.clone(),
            key: build.notice.key.clone(),
            hosts: build.hosts,
        });
        let builds = builds.collect();
        let list = List {
            format: 2,
            fleet,
            builds,
        };
        let path = self.path.join(LIST);
        let text = serde_json::to_vec_pretty(&list).map_err(io::Error::from);
        let written = text.and_then(|text| replace_file(&self.path.join(LIST), &text));
        written.map_err(failed("write", &path))
    }

    /// Which builds were seeded.
    pub fn list(&self) -> SeedingList {
        let path = self.path.join(LIST);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return SeedingList::default(),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "cannot be read; all builds of the spool are taken up");
                return self.all();
            }
        };
        let known = |name: &BuildName| self.entries.lock().get(name).is_some_and(|entry| entry.is_whole);
        if let Ok(list) = serde_json::from_slice::<List>(&text) {
            let mut seeding = SeedingList {
                fleet: list.fleet,
                ..SeedingList::default()
            };
            for build in list.builds {
                let notice = BuildNotice {
                    bucket: build.bucket,
                    key: build.key,
                };
                if known(&build.name) {
                    seeding.builds.push(ListedBuild {
                        name: build.name,
                        notice,
                        hosts: build.hosts,
                    });
                } else {
                    seeding.notices.push(notice);
                }
            }
            return seeding;
        }
        if let Ok(notices) = serde_json::from_slice::<Vec<BuildNotice>>(&text) {
            let builds = notices.len();
            tracing::warn!(file = %path.display(), builds, "is of an earlier release; its builds are pulled again");
            return SeedingList {
                notices,
                ..SeedingList::default()
            };
        }
        tracing::warn!(file = %path.display(), "is no list of builds; all builds of the spool are taken up");
        self.all()
    }

    /// All that are whole, the oldest first.
    fn all(&self) -> SeedingList {
        let entries = self.entries.lock();
        let mut whole: Vec<_> = entries.iter().filter(|(_, entry)| entry.is_whole).collect();
        whole.sort_by_key(|(_, entry)| entry.needed_at);
        SeedingList {
            builds: whole
                .into_iter()
                .map(|(name, entry)| ListedBuild {
                    name: name.clone(),
                    notice: BuildNotice {
                        bucket: entry.object.bucket.clone(),
                        key: entry.object.key.clone(),
                    },
                    hosts: 0,
                })
                .collect(),
            ..SeedingList::default()
        }
    }

    fn file(&self, name: &BuildName, ending: &str) -> PathBuf {
        self.path.join(name.with(ending))
    }

    fn forget(&self, name: &BuildName) {
        self.entries.lock().remove(name);
        remove_files(&self.path, name);
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    format: u32,
    #[serde(default)]
    fleet: u64,
    builds: Vec<Listed>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: BuildName,
    bucket: String,
    key: String,
    hosts: u64,
}

/// Takes the folder's lock, which the system gives back when the process ends, however it does.
fn lock_folder(folder: &Path) -> Result<File, SpoolError> {
    let path = folder.join(LOCK);
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false);
    let lock = options.open(&path).map_err(failed("open", &path))?;
    match take_lock(&lock, &path).map_err(failed("lock", &path))? {
        Locked::Ours => Ok(lock),
        Locked::Taken(process) => {
            let holder = process.map_or_else(|| "?".to_owned(), |process| process.to_string());
            let path = folder.to_owned();
            Err(SpoolError::InUse { path, holder })
        }
    }
}

/// What is in the folder. What belongs to no build any more is removed; what is none of ours is left where it is.
fn look(folder: &Path) -> io::Result<BTreeMap<BuildName, Entry>> {
    let (mut ours, mut foreign) = (BTreeMap::<BuildName, Vec<String>>::new(), 0_u32);
    for file in std::fs::read_dir(folder)? {
        let file_name = file?.file_name();
        let text = file_name.to_string_lossy();
        match BuildName::parse(&text) {
            Some((name, ending)) => ours.entry(name).or_default().push(ending.to_owned()),
            None => foreign += u32::from(!OWN.contains(&text.as_ref())),
        }
    }
    if foreign > 0 {
        tracing::warn!(folder = %folder.display(), files = foreign, "has files of an earlier release or of others, which are not used; they may be removed");
    }
    let mut entries = BTreeMap::new();
    for (name, endings) in ours {
        match entry(folder, &name, &endings) {
            Some(entry) => {
                // What a kill between two steps has left.
                let needed = if entry.is_whole { WHOLE } else { BEGUN };
                remove_all_but(folder, &name, &needed);
                entries.insert(name, entry);
            }
            None => remove_files(folder, &name),
        }
    }
    Ok(entries)
}

fn entry(folder: &Path, name: &BuildName, endings: &[String]) -> Option<Entry> {
    let has = |ending: &str| endings.iter().any(|other| other == ending);
    if !has("data") {
        return None;
    }
    let record = has("json").then(|| folder.join(name.with("json")));
    let (object, is_whole, needed_at) = match record.map(|path| (Record::read(&path), path)) {
        Some((Ok(record), _)) => (record.object(), true, record.pulled_at),
        other => {
            if let Some((Err(problem), path)) = other {
                tracing::warn!(file = %path.display(), problem, "is no record of a build, which is pulled again");
            }
            (Journal::read(&folder.join(name.with("pull")))?.object, false, 0)
        }
    };
    Some(Entry {
        size: object.size,
        object,
        is_whole,
        needed_at,
        used: Arc::default(),
    })
}

impl WholeBuild {
    /// Writes down who vouches for it.
    pub fn keep_signature(&self, signature: Option<String>) {
        amend(&self.path.with_extension("json"), |record| record.signature = signature);
    }
}

/// Writes a record anew where that changes it.
fn amend(path: &Path, change: impl FnOnce(&mut Record)) {
    let Ok(known) = Record::read(path) else {
        return;
    };
    let mut changed = known.clone();
    change(&mut changed);
    if (changed.file, &changed.signature) == (known.file, &known.signature) {
        return;
    }
    let written = serde_json::to_vec(&changed).map_err(io::Error::from);
    if let Err(error) = written.and_then(|text| replace_file(path, &text)) {
        tracing::warn!(file = %path.display(), %error, "cannot be written");
    }
}

fn remove_files(folder: &Path, name: &BuildName) {
    remove_all_but(folder, name, &[]);
}

/// The record first: without it the rest is what belongs to no build.
fn remove_all_but(folder: &Path, name: &BuildName, needed: &[&str]) {
    let endings = ["json", "json.new", "pull", "data"];
    for ending in endings.into_iter().filter(|ending| !needed.contains(ending)) {
        let file = folder.join(name.with(ending));
        match std::fs::remove_file(&file) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(file = %file.display(), %error, "cannot be removed"),
        }
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SpoolError + use<'a> {
    move |source| SpoolError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// What a build has that is whole …
const WHOLE: [&str; 2] = ["json", "data"];
/// … and one that is being pulled.
const BEGUN: [&str; 2] = ["pull", "data"];
/// Name of the file with the builds that are seeded.
const LIST: &str = "seeding.json";
/// Name of the file by which the folder is one process's.
const LOCK: &str = "lock";
/// What else is in the folder of a seeder.
const OWN: [&str; 5] = [LIST, "seeding.json.new", LOCK, "directory.key", "probe"];

#[cfg(test)]
mod tests;
