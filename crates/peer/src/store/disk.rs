//! Chunks in a file: `<target>.part` of the build's full length, renamed onto the target when every chunk is verified.
//!
//! Invariant: there is no file under the target's name unless it is the whole, verified, synced build, or what stood
//! there before. A restart finds the part file and keeps of it what verifies. Every call, [`DiskStore::open`] first of
//! all, waits for the disk: on a runtime's thread it belongs in `spawn_blocking` or `block_in_place`. Two processes that
//! fetch into one target are not kept apart.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use swarm::{Bitfield, ChunkIndex, Hash, Manifest};

use super::{ChunkStore, StoreError};

/// The chunks of one member, in a file.
#[derive(Debug)]
pub struct DiskStore {
    manifest: Arc<Manifest>,
    target: PathBuf,
    part: PathBuf,
    file: File,
    held: Mutex<Bitfield>,
    /// The file stands under the target's name.
    in_place: AtomicBool,
}

impl DiskStore {
    /// Opens or creates the store of the build of `manifest` for the file `target`, and verifies what is there.
    ///
    /// Reads all of it. Errors: the target is a folder or a device, or the file system does not let us, a lack of space
    /// included.
    pub fn open(target: &Path, manifest: Arc<Manifest>) -> Result<Self, StoreError> {
        let part = part_of(target)?;
        if let Some(folder) = part.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed("create the folder", folder))?;
        }
        // A finished build is taken up again where it stands. Another one under the same name is left alone until ours
        // is whole.
        if target.exists() {
            let file = File::open(target).map_err(failed("open", target))?;
            let held = verified(&file, &manifest).map_err(failed("read", target))?;
            if held.is_full() {
                return Ok(Self::of(target, part, manifest, file, held, true));
            }
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&part).map_err(failed("open", &part))?;
        let held = verified(&file, &manifest).map_err(failed("read", &part))?;
        preallocate(&file, manifest.size().get()).map_err(failed("reserve space for", &part))?;
        Ok(Self::of(target, part, manifest, file, held, false))
    }

    /// The store of a build whose file is whole and whose every chunk the caller has just hashed itself.
    pub fn adopt(target: &Path, manifest: Arc<Manifest>) -> Result<Self, StoreError> {
        let part = part_of(target)?;
        let file = File::open(target).map_err(failed("open", target))?;
        let held = Bitfield::full(manifest.chunk_count());
        Ok(Self::of(target, part, manifest, file, held, true))
    }

    fn of(target: &Path, part: PathBuf, manifest: Arc<Manifest>, file: File, held: Bitfield, in_place: bool) -> Self {
        Self {
            manifest,
            target: target.to_owned(),
            part,
            file,
            held: Mutex::new(held),
            in_place: AtomicBool::new(in_place),
        }
    }

    /// Where the file stands now.
    fn path(&self) -> &Path {
        if self.in_place.load(Ordering::Acquire) {
            &self.target
        } else {
            &self.part
        }
    }
}

impl ChunkStore for DiskStore {
    fn held(&self) -> Bitfield {
        self.held.lock().clone()
    }

    fn read(&self, chunk: ChunkIndex) -> Result<Bytes, StoreError> {
        if !self.held.lock().contains(chunk) {
            return Err(StoreError::NotHeld { chunk });
        }
        let mut bytes = BytesMut::zeroed(self.manifest.length(chunk) as usize);
        let read = self.file.read_exact_at(&mut bytes, self.manifest.offset(chunk));
        read.map_err(failed("read", self.path()))?;
        Ok(bytes.freeze())
    }

    fn answers(&self, _chunk: ChunkIndex) -> bool {
        true
    }

    fn shared(&self, _chunk: ChunkIndex) -> Option<Bytes> {
        None
    }

    fn keep(&self, chunk: ChunkIndex, bytes: Bytes) -> Result<(), StoreError> {
        // One byte more would be written over the next chunk, which may be held.
        assert_eq!(
            bytes.len(),
            self.manifest.length(chunk) as usize,
            "the length of {chunk}"
        );
        if self.held.lock().contains(chunk) {
            return Ok(());
        }
        let written = self.file.write_all_at(&bytes, self.manifest.offset(chunk));
        written.map_err(failed("write", self.path()))?;
        self.held.lock().insert(chunk);
        Ok(())
    }

    fn finish(&self) -> Result<(), StoreError> {
        let (held, chunks) = (self.held.lock().count(), self.manifest.chunk_count());
        if held < chunks {
            let missing = chunks - held;
            return Err(StoreError::Incomplete { missing, chunks });
        }
        if !self.in_place.load(Ordering::Acquire) {
            self.file.sync_all().map_err(failed("sync", &self.part))?;
            std::fs::rename(&self.part, &self.target).map_err(failed("rename", &self.part))?;
            self.in_place.store(true, Ordering::Release);
        }
        // The new name is safe only when the folder is. A build found in place may have been left before that.
        let folder = match self.target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed("sync the folder", folder))
    }

    fn is_blocking(&self) -> bool {
        true
    }
}

/// The part file of `target`, which must be a file or nothing yet: a rename would replace a device as readily.
fn part_of(target: &Path) -> Result<PathBuf, StoreError> {
    let not_a_file = |what| {
        let path = target.to_owned();
        Err(StoreError::TargetIsNotFile { path, what })
    };
    match std::fs::metadata(target) {
        Ok(there) if there.is_dir() => return not_a_file("a folder"),
        Ok(there) if !there.is_file() => return not_a_file("not a regular file"),
        // Whatever else is wrong shows when it is opened.
        Ok(_) | Err(_) => {}
    }
    let Some(name) = target.file_name() else {
        return not_a_file("not a name");
    };
    let mut name = name.to_owned();
    name.push(".part");
    Ok(target.with_file_name(name))
}

/// The chunks that are right in a file of the build's length; none in any other.
fn verified(file: &File, manifest: &Manifest) -> io::Result<Bitfield> {
    let mut held = Bitfield::new(manifest.chunk_count());
    if file.metadata()?.len() != manifest.size().get() {
        return Ok(held);
    }
    let mut buffer = Vec::new();
    for chunk in manifest.chunks() {
        buffer.resize(manifest.length(chunk) as usize, 0);
        file.read_exact_at(&mut buffer, manifest.offset(chunk))?;
        if Hash::of(&buffer) == manifest.hash(chunk) {
            held.insert(chunk);
        }
    }
    Ok(held)
}

/// Takes the space now, so that a full disk is known before the transfer and not in its middle.
///
/// Also where the file has its length already: that was set before the space was had, if an earlier try failed.
fn preallocate(file: &File, length: u64) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.set_len(length)?;
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length) {
        // Some file systems cannot: then a full disk shows when it is written.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) | Ok(()) => Ok(()),
        Err(error) => {
            // What was had of the space goes back; the error that counts is the first.
            let _ = file.set_len(before);
            Err(error.into())
        }
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
    move |source| StoreError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::build;
    use super::super::{ChunkSink, Received};
    use super::*;

    fn keep(store: &DiskStore, data: &[u8], manifest: &Manifest, index: u32) {
        let chunk = manifest.chunk(index).unwrap();
        let start = manifest.offset(chunk) as usize;
        let bytes = Bytes::copy_from_slice(&data[start..start + manifest.length(chunk) as usize]);
        store.keep(chunk, bytes).unwrap();
    }

    #[test]
    fn the_target_appears_only_when_the_build_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out/build.zip");
        let (data, manifest) = build();
        let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
        for index in 0..manifest.chunk_count() {
            assert!(!target.exists());
            keep(&store, &data, &manifest, index);
        }
        store.finish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), data);
        assert!(!folder.path().join("out/build.zip.part").exists());
        let again = DiskStore::open(&target, manifest).unwrap();
        assert!(again.held().is_full());
        again.finish().unwrap();
    }

    #[test]
    fn a_restart_keeps_what_verifies_and_only_that() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("build.zip");
        let (data, manifest) = build();
        let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
        keep(&store, &data, &manifest, 0);
        keep(&store, &data, &manifest, 2);
        drop(store);
        let part = OpenOptions::new()
            .write(true)
            .open(folder.path().join("build.zip.part"))
            .unwrap();
        part.write_all_at(b"x", manifest.offset(manifest.chunk(2).unwrap()))
            .unwrap();
        let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
        assert_eq!(store.held().iter().map(ChunkIndex::get).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn another_build_under_the_same_name_stands_until_ours_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("build.zip");
        std::fs::write(&target, b"the old build").unwrap();
        let (data, manifest) = build();
        let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
        assert!(store.held().is_empty());
        assert_eq!(std::fs::read(&target).unwrap(), b"the old build");
        keep(&store, &data, &manifest, 1);
        drop(store);
        // The old build in the way does not keep a restart from going on.
        let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
        assert_eq!(store.held().iter().map(ChunkIndex::get).collect::<Vec<_>>(), [1]);
        assert_eq!(std::fs::read(&target).unwrap(), b"the old build");
        (0..manifest.chunk_count()).for_each(|index| keep(&store, &data, &manifest, index));
        store.finish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), data);
    }

    #[test]
    fn a_build_with_chunks_missing_does_not_reach_the_target() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("build.zip");
        let (data, manifest) = build();
        let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
        (1..manifest.chunk_count()).for_each(|index| keep(&store, &data, &manifest, index));
        assert!(matches!(store.finish(), Err(StoreError::Incomplete { missing: 1, .. })));
        assert!(!target.exists());
    }

    #[test]
    fn a_corrupt_chunk_is_not_written_and_a_right_one_after_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("build.zip");
        let (data, manifest) = build();
        let store = Arc::new(DiskStore::open(&target, Arc::clone(&manifest)).unwrap());
        let chunk = manifest.chunk(0).unwrap();
        let sink = || ChunkSink::new(Arc::<DiskStore>::clone(&store), &manifest, chunk);
        let mut wrong = sink();
        assert!(wrong.write(&[7; 1024]));
        assert!(matches!(wrong.finish(), Received::Corrupt));
        assert!(matches!(store.read(chunk), Err(StoreError::NotHeld { .. })));
        assert_eq!(std::fs::read(&store.part).unwrap(), vec![0; data.len()]);
        let mut right = sink();
        assert!(right.write(&data[..1024]));
        assert!(matches!(right.finish(), Received::Stored));
        assert_eq!(store.read(chunk).unwrap(), data[..1024]);
    }

    #[test]
    fn a_part_file_of_another_length_is_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("build.zip");
        let (data, manifest) = build();
        let mut longer = data;
        longer.push(0);
        std::fs::write(folder.path().join("build.zip.part"), &longer).unwrap();
        let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
        assert!(store.held().is_empty());
        assert_eq!(store.file.metadata().unwrap().len(), manifest.size().get());
    }

    #[test]
    fn a_build_that_is_in_place_is_served_and_finishing_it_again_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("build.zip");
        let (data, manifest) = build();
        std::fs::write(&target, &data).unwrap();
        for store in [DiskStore::open, DiskStore::adopt].map(|open| open(&target, Arc::clone(&manifest)).unwrap()) {
            assert!(store.held().is_full());
            keep(&store, &data, &manifest, 0);
            assert_eq!(store.read(manifest.chunk(0).unwrap()).unwrap(), data[..1024]);
            store.finish().unwrap();
            assert_eq!(std::fs::read(&target).unwrap(), data);
            assert!(!folder.path().join("build.zip.part").exists());
        }
    }

    #[test]
    fn devices_and_nameless_targets_are_refused() {
        let (_, manifest) = build();
        for target in ["/dev/null", "", "no-such-folder/.."] {
            let refused = DiskStore::open(Path::new(target), Arc::clone(&manifest));
            assert!(matches!(refused, Err(StoreError::TargetIsNotFile { .. })), "{target}");
        }
    }

    #[test]
    fn errors_name_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let (_, manifest) = build();
        let error = DiskStore::open(folder.path(), Arc::clone(&manifest)).unwrap_err();
        assert!(error.to_string().contains("is a folder"), "{error}");
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let error = DiskStore::open(&file.join("below"), manifest).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
