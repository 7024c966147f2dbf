//! Chunks in a file: `<target>.part` of the build's full length, renamed onto the target when every chunk is verified.
//!
//! Invariant: there is no file under the target's name unless it is the whole, verified, synced build. A restart finds
//! the part file and keeps of it what verifies. Calls wait for the disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
}

impl DiskStore {
    /// Opens or creates the store of the build of `manifest` for the file `target`, and verifies what is there.
    pub fn open(target: &Path, manifest: Arc<Manifest>) -> Result<Self, StoreError> {
        if target.is_dir() {
            let path = target.to_owned();
            return Err(StoreError::TargetIsFolder { path });
        }
        let mut name = target.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        if let Some(folder) = part.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed("create the folder", folder))?;
        }
        // A finished build is taken up again where it stands.
        let path = if target.exists() { target } else { &part };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(path == part).truncate(false);
        let file = options.open(path).map_err(failed("open", path))?;
        let length = file.metadata().map_err(failed("examine", path))?.len();
        let mut held = Bitfield::new(manifest.chunk_count());
        if length == manifest.size().get() {
            let mut buffer = BytesMut::new();
            for chunk in manifest.chunks() {
                buffer.resize(manifest.length(chunk) as usize, 0);
                file.read_exact_at(&mut buffer, manifest.offset(chunk))
                    .map_err(failed("read", path))?;
                if Hash::of(&buffer) == manifest.hash(chunk) {
                    held.insert(chunk);
                }
            }
        }
        if path == target && !held.is_full() {
            // Another build under the same name: leave it alone until ours is whole.
            return Self::start_part(target, part, manifest);
        }
        if length != manifest.size().get() {
            preallocate(&file, manifest.size().get()).map_err(failed("reserve space for", path))?;
        }
        Ok(Self {
            manifest,
            target: target.to_owned(),
            part,
            file,
            held: Mutex::new(held),
        })
    }

    /// The store of a build whose file is whole and whose every chunk the caller has just hashed itself.
    pub fn adopt(target: &Path, manifest: Arc<Manifest>) -> Result<Self, StoreError> {
        let file = File::open(target).map_err(failed("open", target))?;
        let held = Mutex::new(Bitfield::full(manifest.chunk_count()));
        let part = target.to_owned();
        Ok(Self {
            manifest,
            target: target.to_owned(),
            part,
            file,
            held,
        })
    }

    fn start_part(target: &Path, part: PathBuf, manifest: Arc<Manifest>) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&part).map_err(failed("open", &part))?;
        preallocate(&file, manifest.size().get()).map_err(failed("reserve space for", &part))?;
        Ok(Self {
            held: Mutex::new(Bitfield::new(manifest.chunk_count())),
            manifest,
            target: target.to_owned(),
            part,
            file,
        })
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
        read.map_err(failed("read", &self.part))?;
        Ok(bytes.freeze())
    }

    fn shared(&self, _chunk: ChunkIndex) -> Option<Bytes> {
        None
    }

    fn keep(&self, chunk: ChunkIndex, bytes: Bytes) -> Result<(), StoreError> {
        let written = self.file.write_all_at(&bytes, self.manifest.offset(chunk));
        written.map_err(failed("write", &self.part))?;
        self.held.lock().insert(chunk);
        Ok(())
    }

    fn finish(&self) -> Result<(), StoreError> {
        if !self.part.exists() && self.target.exists() {
            return Ok(());
        }
        self.file.sync_all().map_err(failed("sync", &self.part))?;
        std::fs::rename(&self.part, &self.target).map_err(failed("rename", &self.part))?;
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

/// Takes the space now, so that a full disk is known before the transfer and not in its middle.
fn preallocate(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length) {
        // Some file systems cannot: then a full disk shows when it is written.
        Err(rustix::io::Errno::OPNOTSUPP) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
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
        (0..manifest.chunk_count()).for_each(|index| keep(&store, &data, &manifest, index));
        store.finish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), data);
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
