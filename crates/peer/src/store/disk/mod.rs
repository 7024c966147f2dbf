//! Chunks in a file: `.NAME.<root>.part` beside the target, of the build's full length, renamed onto the target when every chunk
//! is verified.
//!
//! Invariant: there is no file under the target's name unless it is the whole, verified, synced build, or what stood there before;
//! and one store writes for a target at a time, whatever process it is in ([`lock`]). The lock is held until the build stands in
//! place: who goes on serving it does not keep the next version out. A restart finds the part file and keeps of it what verifies.
//! Every call, [`DiskStore::open`] first of all, waits for the disk: on a runtime's thread it belongs in `spawn_blocking` or
//! `block_in_place`.
//!
//! **Bytes that change.** What is served is hashed again. What is wrong, cut off or cannot be read is not held any more, which is told
//! once; it can be kept again. An installed file is never written to: it is copied beside, mended and renamed onto its place, unless
//! another build stands there by then. What is changed between a chunk's coming and the rename is found when it is served; before
//! the rename it is only made sure that the file under the part's name is the one that was written, and as long as it is to be.
//!
//! **Files as people keep them.** Mode and owner are those of what stood at the place, or the mode as told ([`DiskOptions::mode`]),
//! or what the umask leaves; the part file is its owner's alone. A symbolic link is followed: the file it points to is replaced and
//! the link stays. A *hard link* parts from its other names, which keep the old build; a *sparse* file is filled; access control lists,
//! capabilities and other extended attributes are not taken over, since the new build is a new file.
//!
//! **The next version.** What an older build at the place has, or another file that is named ([`DiskOptions::reusing`]), is copied and
//! not fetched. Opening looks for [`LOOK_AT_OPEN`] at most; what is left is looked at by [`ChunkStore::look`], beside the transfer.

mod dress;
mod lock;
mod place;
mod reuse;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};
use swarm::{Bitfield, ChunkIndex, Hash, Manifest};

use super::{ChunkStore, Looked, StoreError};
use dress::{dress, set_mode};
use lock::TargetLock;
use place::{Place, Stamp, is_same, sync_folder};
use reuse::{Match, Search, copy};

/// How a file is to be written.
#[derive(Clone, Debug, Default)]
pub struct DiskOptions {
    /// Its permission bits; those of what stands at the place where absent, and where nothing does those that the umask leaves.
    pub mode: Option<u32>,
    /// Files that may have chunks of the build: older builds, other keys. Each that is missing or cannot be read is passed over.
    pub reusing: Vec<PathBuf>,
}

/// The chunks of one member, in a file.
#[derive(Debug)]
pub struct DiskStore {
    manifest: Arc<Manifest>,
    place: Place,
    mode: Option<u32>,
    held: Mutex<Bitfield>,
    backing: RwLock<Backing>,
    /// Held by who writes, or moves the file. Taken before all others.
    writing: Mutex<()>,
    looking: Mutex<Looking>,
    /// How often each chunk was lost, of those that were.
    losses: Mutex<BTreeMap<ChunkIndex, u32>>,
    reused: AtomicU64,
    /// The build has been whole under the target's name.
    was_finished: AtomicBool,
}

/// The file that the chunks are in.
#[derive(Debug)]
struct Backing {
    file: Arc<File>,
    stands: Stands,
}

#[derive(Debug)]
enum Stands {
    /// Under the target's name.
    InPlace,
    /// Under the name of the part file, with the lock of the target.
    Part { _lock: TargetLock },
    /// Under no name: it was to be mended, and its place is another build's by now.
    Nowhere,
}

/// What is yet to be looked at.
#[derive(Debug, Default)]
struct Looking {
    /// Files that may have chunks.
    search: Option<Search>,
    /// After a loss: the chunks from here on may be wrong too.
    check_from: Option<u32>,
}

impl DiskStore {
    /// [`DiskStore::open_with`] of the default options.
    pub fn open(target: &Path, manifest: Arc<Manifest>) -> Result<Self, StoreError> {
        Self::open_with(target, manifest, &DiskOptions::default())
    }

    /// Opens or creates the store of the build of `manifest` for the file `target`, and verifies what is there.
    ///
    /// Reads a file in place whose length is right until it is known to be another build, and a part file as a whole. Errors: another
    /// process writes to the target, the target is a folder or a device, or the file system does not let us, a lack of
    /// space included.
    pub fn open_with(target: &Path, manifest: Arc<Manifest>, options: &DiskOptions) -> Result<Self, StoreError> {
        let place = Place::of(target, &manifest)?;
        let folder = place.folder();
        std::fs::create_dir_all(folder).map_err(failed("create the folder", folder))?;
        // A finished build is taken up again where it stands, for which its folder need not be writable. Another one under the
        // same name is left alone until ours is whole.
        let seen = Stamp::at(place.target());
        if let Some(file) = whole(place.target(), &manifest)? {
            remove_left_parts(&place);
            return Ok(Self::in_place(place, manifest, options, file));
        }
        let lock = TargetLock::acquire(&place.lock(), place.target())?;
        if Stamp::at(place.target()) != seen
            && let Some(file) = whole(place.target(), &manifest)?
        {
            return Ok(Self::in_place(place, manifest, options, file));
        }
        take_over_legacy(&place, &manifest)?;
        let (file, held) = open_part(&place, &manifest)?;
        let own = place.part();
        let older = place.parts().into_iter().filter(|part| *part != own);
        let sources = std::iter::once(place.target().to_owned()).chain(older);
        let search = Search::new(&manifest, &held, sources.chain(options.reusing.iter().cloned()));
        let backing = Backing {
            file: Arc::new(file),
            stands: Stands::Part { _lock: lock },
        };
        let store = Self::of(place, manifest, options, backing, held);
        store.looking.lock().search = Some(search);
        store.search_until(Instant::now() + LOOK_AT_OPEN);
        Ok(store)
    }

    /// The store of a build whose file is whole and whose every chunk the caller has just hashed itself.
    pub fn adopt(target: &Path, manifest: Arc<Manifest>) -> Result<Self, StoreError> {
        let place = Place::of(target, &manifest)?;
        let file = File::open(place.target()).map_err(failed("open", place.target()))?;
        Ok(Self::in_place(place, manifest, &DiskOptions::default(), file))
    }

    fn in_place(place: Place, manifest: Arc<Manifest>, options: &DiskOptions, file: File) -> Self {
        let held = Bitfield::full(manifest.chunk_count());
        let backing = Backing {
            file: Arc::new(file),
            stands: Stands::InPlace,
        };
        Self::of(place, manifest, options, backing, held)
    }

    fn of(place: Place, manifest: Arc<Manifest>, options: &DiskOptions, backing: Backing, held: Bitfield) -> Self {
        let was_finished = matches!(backing.stands, Stands::InPlace);
        Self {
            manifest,
            place,
            mode: options.mode,
            held: Mutex::new(held),
            backing: RwLock::new(backing),
            writing: Mutex::new(()),
            looking: Mutex::default(),
            losses: Mutex::default(),
            reused: AtomicU64::new(0),
            was_finished: AtomicBool::new(was_finished),
        }
    }

    /// The file, and where it stands now.
    fn file(&self) -> (Arc<File>, PathBuf) {
        let backing = self.backing.read();
        let path = match backing.stands {
            Stands::InPlace | Stands::Nowhere => self.place.target().to_owned(),
            Stands::Part { .. } => self.place.part(),
        };
        (Arc::clone(&backing.file), path)
    }

    /// The bytes of a chunk in the file, where they are right.
    fn right(&self, file: &File, chunk: ChunkIndex) -> Result<Bytes, Wrong> {
        let mut bytes = BytesMut::zeroed(self.manifest.length(chunk) as usize);
        match file.read_exact_at(&mut bytes, self.manifest.offset(chunk)) {
            Ok(()) if Hash::of(&bytes) == self.manifest.hash(chunk) => Ok(bytes.freeze()),
            Ok(()) => Err(("is not what it was: its bytes were changed", None)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(("is cut off", None)),
            Err(error) => Err(("cannot be read", Some(error))),
        }
    }

    /// A chunk was read wrong. It is looked at again with nobody else at it, who may have put it right meanwhile, and is
    /// not held any more if it is wrong.
    fn withdraw(&self, chunk: ChunkIndex) -> Result<Bytes, StoreError> {
        let mut held = self.held.lock();
        if !held.contains(chunk) {
            return Err(StoreError::NotHeld { chunk });
        }
        let (file, path) = self.file();
        self.right(&file, chunk).map_err(|(how, source)| {
            held.remove(chunk);
            *self.losses.lock().entry(chunk).or_default() += 1;
            StoreError::Lost {
                chunk,
                path,
                how,
                source,
            }
        })
    }

    /// Writes a chunk that is not held. `writing` is held.
    fn write(&self, chunk: ChunkIndex, bytes: &[u8]) -> Result<(), StoreError> {
        if matches!(self.backing.read().stands, Stands::InPlace) {
            self.copy_beside()?;
        }
        let (file, path) = self.file();
        let written = file.write_all_at(bytes, self.manifest.offset(chunk));
        written.map_err(failed("write", &path))?;
        self.held.lock().insert(chunk);
        Ok(())
    }

    /// Goes on with a copy of the installed file, which is not written to: somebody may be reading or running it.
    fn copy_beside(&self) -> Result<(), StoreError> {
        let (installed, target) = self.file();
        let lock = TargetLock::acquire(&self.place.lock(), &target).ok();
        let is_ours = is_same(&target, &installed).unwrap_or(false);
        let lock = lock.filter(|_| is_ours);
        let path = if lock.is_some() {
            self.place.part()
        } else {
            self.place.passing()
        };
        let made = || -> io::Result<File> {
            remove_if_there(&path)?;
            let file = part_options().create_new(true).open(&path)?;
            if lock.is_none() {
                std::fs::remove_file(&path)?;
            }
            preallocate(&file, self.manifest.size().get())?;
            copy_all(&installed, &file)?;
            Ok(file)
        };
        let file = made().map_err(failed("mend the build by way of", &path))?;
        let stands = lock.map_or(Stands::Nowhere, |lock| Stands::Part { _lock: lock });
        *self.backing.write() = Backing {
            file: Arc::new(file),
            stands,
        };
        Ok(())
    }

    /// Puts the part file in place, where it is one. `writing` is held and every chunk is.
    fn install(&self) -> Result<(), StoreError> {
        if !matches!(self.backing.read().stands, Stands::Part { .. }) {
            return Ok(());
        }
        let (file, part) = self.file();
        let target = self.place.target();
        dress(&file, &part, target, self.mode)?;
        file.sync_all().map_err(failed("sync", &part))?;
        let length = file.metadata().map_err(failed("look at", &part))?.len();
        let is_same = is_same(&part, &file).map_err(failed("look at", &part))?;
        if !is_same || length != self.manifest.size().get() {
            return Err(StoreError::PartReplaced { path: part });
        }
        std::fs::rename(&part, target).map_err(failed("rename", &part))?;
        // What is left of other versions is nobody's: whoever wrote it would hold the lock, which is freed after that.
        for other in self.place.parts() {
            let removed = remove_if_there(&other);
            if let Err(error) = removed {
                tracing::warn!(path = %other.display(), %error, "the part of another version stays");
            }
        }
        self.backing.write().stands = Stands::InPlace;
        Ok(())
    }

    /// Copies a chunk from where it was found, unless it has come meanwhile. Whether it was not held before.
    fn reuse(&self, chunk: ChunkIndex, found: &Match<'_>) -> Result<bool, StoreError> {
        let _writing = self.writing.lock();
        if self.held.lock().contains(chunk) || !matches!(self.backing.read().stands, Stands::Part { .. }) {
            return Ok(false);
        }
        let (file, _) = self.file();
        let length = u64::from(self.manifest.length(chunk));
        // The file it was found in may change while it is copied, so it is the copy that is verified.
        let copied = copy(found.file, found.offset, &file, self.manifest.offset(chunk), length);
        if copied && self.right(&file, chunk).is_ok() {
            self.held.lock().insert(chunk);
        } else {
            self.write(chunk, found.bytes)?;
        }
        self.reused.fetch_add(length, Ordering::Relaxed);
        Ok(true)
    }

    /// Looks for chunks in other files until then; the chunks found, and whether there is more to look at.
    fn search_until(&self, until: Instant) -> (Vec<ChunkIndex>, bool) {
        let mut found = Vec::new();
        let Some(mut search) = self.looking.lock().search.take() else {
            return (found, false);
        };
        let mut failure = None;
        let mut more = true;
        while more && failure.is_none() && Instant::now() < until {
            more = !self.held.lock().is_full();
            more &= search.step(|place| {
                for chunk in &place.chunks {
                    match self.reuse(*chunk, &place) {
                        Ok(true) => found.push(*chunk),
                        Ok(false) => {}
                        Err(error) => failure = Some(error),
                    }
                }
            });
        }
        if let Some(error) = failure {
            // The transfer meets the same and ends the host for it, if it is not over by then.
            tracing::warn!(%error, "chunks that are on this disk are fetched all the same");
            more = false;
        }
        if more {
            self.looking.lock().search = Some(search);
        }
        (found, more)
    }

    /// After a loss: looks at the other chunks until then.
    fn check_until(&self, until: Instant) -> (Vec<(ChunkIndex, StoreError)>, bool) {
        let mut lost = Vec::new();
        let Some(mut next) = self.looking.lock().check_from else {
            return (lost, false);
        };
        while let Some(chunk) = self.manifest.chunk(next)
            && Instant::now() < until
        {
            next += 1;
            if let Err(error @ StoreError::Lost { .. }) = self.read_right(chunk) {
                lost.push((chunk, error));
            }
        }
        let more = next < self.manifest.chunk_count();
        self.looking.lock().check_from = more.then_some(next);
        (lost, more)
    }

    fn read_right(&self, chunk: ChunkIndex) -> Result<Bytes, StoreError> {
        if !self.held.lock().contains(chunk) {
            return Err(StoreError::NotHeld { chunk });
        }
        let (file, _) = self.file();
        self.right(&file, chunk).or_else(|_| self.withdraw(chunk))
    }
}

impl ChunkStore for DiskStore {
    fn held(&self) -> Bitfield {
        self.held.lock().clone()
    }

    fn read(&self, chunk: ChunkIndex) -> Result<Bytes, StoreError> {
        let read = self.read_right(chunk);
        if matches!(read, Err(StoreError::Lost { .. })) {
            // Seldom is one chunk changed alone. To know of all at once is to mend the file once.
            self.looking.lock().check_from.get_or_insert(0);
        }
        read
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
        let _writing = self.writing.lock();
        if self.held.lock().contains(chunk) {
            return Ok(());
        }
        let losses = self.losses.lock().get(&chunk).copied().unwrap_or_default();
        if losses >= LOSSES_MAX {
            let path = self.place.target().to_owned();
            return Err(StoreError::DoesNotStay { chunk, path, losses });
        }
        self.write(chunk, &bytes)?;
        // A build that was finished before is so again: nobody says it twice.
        if self.was_finished.load(Ordering::Acquire) && self.held.lock().is_full() {
            self.install()?;
            sync_folder(self.place.folder())?;
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock();
        let (held, chunks) = (self.held.lock().count(), self.manifest.chunk_count());
        if held < chunks {
            let missing = chunks - held;
            return Err(StoreError::Incomplete { missing, chunks });
        }
        self.install()?;
        self.was_finished.store(true, Ordering::Release);
        if let Some(mode) = self.mode
            && let (file, path) = self.file()
            && let Err(error) = set_mode(&file, mode)
        {
            tracing::warn!(path = %path.display(), %error, "the file in place cannot be given the mode that was asked for");
        }
        // The new name is safe only when the folder is. A build found in place may have been left before that.
        sync_folder(self.place.folder())
    }

    fn look(&self) -> Looked {
        let until = Instant::now() + LOOK_STEP;
        let (lost, more_to_check) = self.check_until(until);
        let (found, more_to_find) = self.search_until(until);
        Looked {
            found,
            lost,
            more: more_to_check || more_to_find,
        }
    }

    fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }

    fn is_blocking(&self) -> bool {
        true
    }
}

/// What is wrong with the bytes of a chunk.
type Wrong = (&'static str, Option<io::Error>);

/// The file at `target` if it is the whole build. The last chunk is looked at first: where versions differ, they most often do at the
/// end too, and another build is known for one before all of it is read.
fn whole(target: &Path, manifest: &Manifest) -> Result<Option<File>, StoreError> {
    let file = match File::open(target) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", target)(error)),
    };
    let is_whole = || -> io::Result<bool> {
        if file.metadata()?.len() != manifest.size().get() {
            return Ok(false);
        }
        let mut buffer = Vec::new();
        let last = manifest.chunks().last();
        for chunk in last.into_iter().chain(manifest.chunks()) {
            if !is_right(&file, manifest, chunk, &mut buffer)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let is_whole = is_whole().map_err(failed("read", target))?;
    Ok(is_whole.then_some(file))
}

/// The chunks that are right in a file of the build's length; none in any other.
fn verified(file: &File, manifest: &Manifest) -> io::Result<Bitfield> {
    let mut held = Bitfield::new(manifest.chunk_count());
    if file.metadata()?.len() != manifest.size().get() {
        return Ok(held);
    }
    let mut buffer = Vec::new();
    for chunk in manifest.chunks() {
        if is_right(file, manifest, chunk, &mut buffer)? {
            held.insert(chunk);
        }
    }
    Ok(held)
}

fn is_right(file: &File, manifest: &Manifest, chunk: ChunkIndex, buffer: &mut Vec<u8>) -> io::Result<bool> {
    buffer.resize(manifest.length(chunk) as usize, 0);
    file.read_exact_at(buffer, manifest.offset(chunk))?;
    Ok(Hash::of(buffer) == manifest.hash(chunk))
}

/// The part file of this build, with space for all of it, and what of it is right. The lock is held.
fn open_part(place: &Place, manifest: &Manifest) -> Result<(File, Bitfield), StoreError> {
    let part = place.part();
    let file = part_options().create(true).truncate(false).open(&part);
    let file = file.map_err(failed("open", &part))?;
    let held = verified(&file, manifest).map_err(failed("read", &part))?;
    // One that an earlier release made may be readable to all.
    set_mode(&file, PART_MODE).map_err(failed("set the mode of", &part))?;
    let is_new = held.is_empty();
    let mut reserved = preallocate(&file, manifest.size().get());
    if reserved.is_err() {
        // What other versions have left may be what the space is lacking for. It would have been of use for its chunks.
        for other in place.parts().iter().filter(|other| **other != part) {
            let _ = std::fs::remove_file(other);
            reserved = preallocate(&file, manifest.size().get());
        }
    }
    if let Err(error) = reserved {
        if is_new {
            let _ = std::fs::remove_file(&part);
        }
        return Err(failed("reserve space for", &part)(error));
    }
    Ok((file, held))
}

/// A part file of an earlier release becomes that of this one, if it has anything of this build.
fn take_over_legacy(place: &Place, manifest: &Manifest) -> Result<(), StoreError> {
    let Some(legacy) = place.legacy_part() else {
        return Ok(());
    };
    let is_file = std::fs::symlink_metadata(&legacy).is_ok_and(|there| there.is_file());
    if !is_file || place.part().exists() {
        return Ok(());
    }
    let held = File::open(&legacy).and_then(|file| verified(&file, manifest));
    if held.is_ok_and(|held| !held.is_empty()) {
        return std::fs::rename(&legacy, place.part()).map_err(failed("take over", &legacy));
    }
    tracing::warn!(path = %legacy.display(), "has nothing of this build and is left alone; remove it if no earlier release is fetching it");
    Ok(())
}

/// Removes the parts beside a build that is in place, if nobody is at them.
fn remove_left_parts(place: &Place) {
    if place.parts().is_empty() {
        return;
    }
    if let Ok(_lock) = TargetLock::acquire(&place.lock(), place.target()) {
        for part in place.parts() {
            let _ = std::fs::remove_file(part);
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn part_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(PART_MODE).custom_flags(NO_LINKS);
    options
}

/// Copies what there is of `from`, which may have been cut.
fn copy_all(from: &File, to: &File) -> io::Result<()> {
    let length = from.metadata()?.len().min(to.metadata()?.len());
    if copy(from, 0, to, 0, length) {
        return Ok(());
    }
    let mut buffer = vec![0; COPY_BUFFER];
    let mut offset = 0;
    while offset < length {
        let step = buffer.len().min(usize::try_from(length - offset).unwrap_or(usize::MAX));
        let read = from.read_at(&mut buffer[..step], offset)?;
        if read == 0 {
            break;
        }
        to.write_all_at(&buffer[..read], offset)?;
        offset += read as u64;
    }
    Ok(())
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

/// A part file is for nobody else: what it becomes may be secret.
const PART_MODE: u32 = 0o600;
/// A link that somebody has put under one of our names is not followed.
const NO_LINKS: i32 = flag(rustix::fs::OFlags::NOFOLLOW);
/// Opening does not wait for anybody.
const NO_WAIT: i32 = flag(rustix::fs::OFlags::NONBLOCK);
/// How long opening looks for chunks in other files before the transfer may begin: enough for a gigabyte or two.
const LOOK_AT_OPEN: Duration = Duration::from_secs(2);
/// How long [`ChunkStore::look`] takes at a time, and so how long a node that was stopped goes on reading.
const LOOK_STEP: Duration = Duration::from_millis(200);
/// A chunk that was lost so often is not written again: the disk does not keep it, or somebody writes to the file.
const LOSSES_MAX: u32 = 5;
/// Bytes copied at a time where the file system does not do it by itself.
const COPY_BUFFER: usize = 1 << 20;

const fn flag(flag: rustix::fs::OFlags) -> i32 {
    flag.bits().cast_signed()
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
        assert_eq!(std::fs::read_dir(folder.path().join("out")).unwrap().count(), 1);
        drop(store);
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
        let part = store.place.part();
        drop(store);
        let part = OpenOptions::new().write(true).open(part).unwrap();
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
        assert_eq!(std::fs::read(store.place.part()).unwrap(), vec![0; data.len()]);
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
        std::fs::write(Place::of(&target, &manifest).unwrap().part(), &longer).unwrap();
        let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
        assert!(store.held().is_empty());
        assert_eq!(store.file().0.metadata().unwrap().len(), manifest.size().get());
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
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
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
