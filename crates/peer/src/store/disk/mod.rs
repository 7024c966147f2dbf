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
//! another build stands there by then. While a build is being fetched, what came last is served from memory, where nobody changes it. What is changed between a chunk's coming and the rename is found when it is served; before
//! the rename it is only made sure that the file under the part's name is the one that was written, and as long as it is to be.
//!
//! **Files as people keep them.** Mode and owner are those of what stood at the place, or the mode as told ([`DiskOptions::mode`]),
//! or what the umask leaves; the part file is its owner's alone. A symbolic link is followed: the file it points to is replaced and
//! the link stays. A *hard link* parts from its other names, which keep the old build; a *sparse* file is filled; access control lists,
//! capabilities and other extended attributes are not taken over, since the new build is a new file.
//!
//! **The next version.** What an older build at the place has, or another file that is named ([`DiskOptions::reusing`]), is copied and
//! not fetched. Opening looks for two seconds at most ([`DiskOptions::look_at_open`]); what is left is looked at by [`ChunkStore::look`], beside the transfer.

mod dress;
mod install;
mod lock;
mod looking;
mod opening;
mod place;
mod placed;
mod recent;
mod reuse;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use swarm::{Bitfield, ChunkIndex, Hash, Manifest};

use super::{ChunkStore, Gate, Looked, StoreError};
use crate::files::{read_at, sync_folder};
use dress::set_mode;
use lock::TargetLock;
use looking::Looking;
use opening::{open_part, remove_left_parts, take_over_legacy, whole};
use place::{Place, Stamp};
use recent::Recent;
use reuse::Search;

pub use placed::Placed;

/// How a file is to be written.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Its permission bits; those of what stands at the place where absent, and where nothing does those that the umask leaves.
    pub mode: Option<u32>,
    /// Files that may have chunks of the build: older builds, other keys. Each that is missing or cannot be read is passed over.
    pub reusing: Vec<PathBuf>,
    /// How long opening looks for chunks in other files before the transfer may begin. More is less that is fetched though it is here;
    /// less is a transfer that begins sooner, beside which the rest is looked for.
    pub look_at_open: Duration,
    /// What a note calls the build that stands beside the place from before it is put there until its owner forgets it
    /// ([`Placed`]); no note where absent.
    pub label: Option<String>,
    /// Who is asked before the build is put in place; nobody where absent, nor where it stands there already or is mended.
    pub gate: Option<Gate>,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            mode: None,
            reusing: Vec::new(),
            look_at_open: LOOK_AT_OPEN,
            label: None,
            gate: None,
        }
    }
}

/// The chunks of one member, in a file.
#[derive(Debug)]
pub struct DiskStore {
    manifest: Arc<Manifest>,
    place: Place,
    mode: Option<u32>,
    label: Option<String>,
    gate: Option<Gate>,
    held: Mutex<Bitfield>,
    backing: RwLock<Backing>,
    /// Held by who writes, or moves the file. Taken before all others.
    writing: Mutex<()>,
    looking: Mutex<Looking>,
    recent: Mutex<Recent>,
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
        store.search_until(Instant::now() + options.look_at_open);
        Ok(store)
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
            label: options.label.clone(),
            gate: options.gate.clone(),
            held: Mutex::new(held),
            backing: RwLock::new(backing),
            writing: Mutex::new(()),
            looking: Mutex::default(),
            recent: Mutex::default(),
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
        let length = self.manifest.length(chunk) as usize;
        match read_at(file, length, self.manifest.offset(chunk)) {
            Ok(bytes) if Hash::of(&bytes) == self.manifest.hash(chunk) => Ok(bytes.into()),
            Ok(_) => Err(("is not what it was: its bytes were changed", None)),
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
            self.recent.lock().remove(chunk);
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

    fn sync_folder(&self) -> Result<(), StoreError> {
        let folder = self.place.folder();
        sync_folder(folder).map_err(failed("sync the folder", folder))
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

    fn at_hand(&self, chunk: ChunkIndex) -> Option<Bytes> {
        self.recent.lock().get(chunk)
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
        if !self.was_finished.load(Ordering::Acquire) {
            self.recent.lock().push(chunk, bytes);
        }
        // A build that was finished before is so again: nobody says it twice.
        if self.was_finished.load(Ordering::Acquire) && self.held.lock().is_full() {
            self.install()?;
            self.sync_folder()?;
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
        *self.recent.lock() = Recent::default();
        if let Some(mode) = self.mode
            && let (file, path) = self.file()
            && let Err(error) = set_mode(&file, mode)
        {
            tracing::warn!(path = %path.display(), %error, "the file in place cannot be given the mode that was asked for");
        }
        // The new name is safe only when the folder is. A build found in place may have been left before that.
        self.sync_folder()
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

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
    move |source| StoreError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// A link that somebody has put under one of our names is not followed.
const NO_LINKS: i32 = flag(rustix::fs::OFlags::NOFOLLOW);
/// Opening does not wait for anybody.
const NO_WAIT: i32 = flag(rustix::fs::OFlags::NONBLOCK);
/// Enough for a gigabyte or two.
const LOOK_AT_OPEN: Duration = Duration::from_secs(2);
/// How long [`ChunkStore::look`] takes at a time, and so how long a node that was stopped goes on reading.
const LOOK_STEP: Duration = Duration::from_millis(200);
/// A chunk that was lost so often is not written again: the disk does not keep it, or somebody writes to the file.
const LOSSES_MAX: u32 = 5;

const fn flag(flag: rustix::fs::OFlags) -> i32 {
    flag.bits().cast_signed()
}

#[cfg(test)]
mod tests;
