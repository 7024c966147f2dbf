//! A build on its way in. Invariant: a chunk that the journal names was written before; what a pull finds of an earlier one it
//! keeps where the bytes have the hash that was written down, and asks S3 for the rest only.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use cloud::ObjectInfo;
use parking_lot::Mutex;
use swarm::{Hash, Manifest};

use super::record::{BuildName, FileSeen, Journal, Record};
use super::{Entry, SpoolError, SpoolFolder, WholeBuild, failed, now, remove_files};

/// A build that is being pulled. Dropped it stays in the folder, and the next pull of it goes on; unless it was given up.
#[derive(Debug)]
pub struct PullingBuild {
    folder: Arc<SpoolFolder>,
    name: BuildName,
    object: ObjectInfo,
    chunk_size: u32,
    file: File,
    path: PathBuf,
    state: Mutex<Written>,
    used: Arc<()>,
}

#[derive(Debug)]
struct Written {
    journal: Journal,
    hashes: BTreeMap<u32, Hash>,
}

impl SpoolFolder {
    /// Has the space for an object and takes up what an earlier pull of it has left, cut in chunks of this size in bytes.
    ///
    /// # Errors
    /// Where it does not fit, the disk fails, or somebody else of this process is at it.
    pub fn begin(self: &Arc<Self>, object: &ObjectInfo, chunk_size: u32) -> Result<PullingBuild, SpoolError> {
        let name = BuildName::of(object);
        self.refuse_too_large(&name, object)?;
        let used = self.enter(&name, object)?;
        let began = self.begin_files(&name, object, chunk_size, used);
        if began.is_err() {
            self.forget(&name);
        }
        began
    }

    fn enter(&self, name: &BuildName, object: &ObjectInfo) -> Result<Arc<()>, SpoolError> {
        let mut entries = self.entries.lock();
        let entry = entries.entry(name.clone()).or_insert_with(|| Entry {
            object: object.clone(),
            size: object.size,
            is_whole: false,
            needed_at: now(),
            used: Arc::default(),
        });
        if entry.is_used() {
            return Err(SpoolError::BeingPulled {
                bucket: object.bucket.clone(),
                key: object.key.clone(),
            });
        }
        if std::mem::take(&mut entry.is_whole) {
            // It was cut in other chunks.
            remove_files(&self.path, name);
        }
        entry.needed_at = now();
        let used = Arc::clone(&entry.used);
        // S3 has this version now, so nobody can go on with what was begun of another one.
        for (other, _) in entries.extract_if(.., |other, entry| {
            other != name && !entry.is_whole && !entry.is_used() && entry.is_of(object)
        }) {
            remove_files(&self.path, &other);
        }
        Ok(used)
    }

    fn begin_files(
        self: &Arc<Self>,
        name: &BuildName,
        object: &ObjectInfo,
        chunk_size: u32,
        used: Arc<()>,
    ) -> Result<PullingBuild, SpoolError> {
        let (path, journal_path) = (self.file(name, "data"), self.file(name, "pull"));
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(failed("open", &path))?;
        let hashes = found(&file, &journal_path, object, chunk_size);
        self.reserve(name, object, &file)?;
        // Written anew: of the old one the last line may be cut off.
        let written = Journal::begin(&journal_path, object, chunk_size).and_then(|mut journal| {
            for (first, run) in runs(&hashes) {
                journal.add(first, &run)?;
            }
            Ok(journal)
        });
        let journal = written.map_err(failed("write", &journal_path))?;
        if !hashes.is_empty() {
            let (key, chunks) = (&object.key, hashes.len());
            tracing::info!(key, chunks, "a pull goes on where an earlier one has ended");
        }
        Ok(PullingBuild {
            folder: Arc::clone(self),
            name: name.clone(),
            object: object.clone(),
            chunk_size,
            file,
            path,
            state: Mutex::new(Written { journal, hashes }),
            used,
        })
    }
}

impl PullingBuild {
    /// The hash of a chunk that is there.
    pub fn hash(&self, chunk: u32) -> Option<Hash> {
        self.state.lock().hashes.get(&chunk).copied()
    }

    /// Writes chunks that have come, and their hashes: those of `bytes` cut by the chunk size, from chunk `first` on.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn keep(&self, first: u32, bytes: &[u8]) -> Result<(), SpoolError> {
        let hashes: Vec<Hash> = bytes.chunks(self.chunk_size as usize).map(Hash::of).collect();
        let start = u64::from(first) * u64::from(self.chunk_size);
        self.file
            .write_all_at(bytes, start)
            .map_err(failed("write", &self.path))?;
        let mut state = self.state.lock();
        let written = state.journal.add(first, &hashes);
        written.map_err(failed("write the journal of", &self.path))?;
        state.hashes.extend((first..).zip(hashes));
        Ok(())
    }

    /// Every chunk is there: the build is whole.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn finish(self, manifest: Arc<Manifest>) -> Result<WholeBuild, SpoolError> {
        let synced = self.file.sync_all().and_then(|()| self.file.metadata());
        let seen = FileSeen::of(&synced.map_err(failed("sync", &self.path))?);
        let record = Record::new(&self.object, &manifest, seen, now());
        let finished = self.folder.finish(&self.name, &record);
        finished.map_err(failed("write the record of", &self.path))?;
        Ok(WholeBuild {
            name: self.name,
            object: self.object,
            manifest,
            is_unchanged: true,
            signature: None,
            file: self.file,
            path: self.path,
            _used: self.used,
        })
    }

    /// Nobody will go on with it: its space goes back.
    pub fn give_up(self) {
        self.folder.forget(&self.name);
    }
}

/// What is there of an earlier pull, whose bytes are what was written down.
fn found(file: &File, journal: &std::path::Path, object: &ObjectInfo, chunk_size: u32) -> BTreeMap<u32, Hash> {
    let mut hashes = BTreeMap::new();
    let Some(found) = Journal::read(journal).filter(|found| found.object == *object && found.chunk_size == chunk_size)
    else {
        return hashes;
    };
    let mut buffer = Vec::new();
    for (chunk, hash) in found.chunks {
        let start = u64::from(chunk) * u64::from(chunk_size);
        let Some(left) = object.size.checked_sub(start).filter(|left| *left > 0) else {
            continue;
        };
        buffer.resize(usize::try_from(left.min(chunk_size.into())).unwrap_or_default(), 0);
        let read: io::Result<()> = file.read_exact_at(&mut buffer, start);
        if read.is_ok() && Hash::of(&buffer) == hash {
            hashes.insert(chunk, hash);
        }
    }
    hashes
}

/// The hashes in runs of chunks that follow each other.
fn runs(hashes: &BTreeMap<u32, Hash>) -> Vec<(u32, Vec<Hash>)> {
    let mut runs: Vec<(u32, Vec<Hash>)> = Vec::new();
    for (chunk, hash) in hashes {
        match runs.last_mut() {
            Some((first, run)) if u64::from(*first) + run.len() as u64 == u64::from(*chunk) => run.push(*hash),
            _ => runs.push((*chunk, vec![*hash])),
        }
    }
    runs
}
