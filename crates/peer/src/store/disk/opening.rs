//! What is there when a store is opened: the build itself, a part of it, parts of others.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use swarm::{Bitfield, ChunkIndex, Hash, Manifest};

use super::super::StoreError;
use super::dress::set_mode;
use super::lock::TargetLock;
use super::place::Place;
use super::{NO_LINKS, failed};
use crate::files::reserve_space;

/// The file at `target` if it is the whole build. The last chunk is looked at first: where versions differ, they most often do at the
/// end too, and another build is known for one before all of it is read.
pub(super) fn whole(target: &Path, manifest: &Manifest) -> Result<Option<File>, StoreError> {
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
pub(super) fn verified(file: &File, manifest: &Manifest) -> io::Result<Bitfield> {
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

pub(super) fn is_right(file: &File, manifest: &Manifest, chunk: ChunkIndex, buffer: &mut Vec<u8>) -> io::Result<bool> {
    buffer.resize(manifest.length(chunk) as usize, 0);
    file.read_exact_at(buffer, manifest.offset(chunk))?;
    Ok(Hash::of(buffer) == manifest.hash(chunk))
}

/// The part file of this build, with space for all of it, and what of it is right. The lock is held.
pub(super) fn open_part(place: &Place, manifest: &Manifest) -> Result<(File, Bitfield), StoreError> {
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
pub(super) fn take_over_legacy(place: &Place, manifest: &Manifest) -> Result<(), StoreError> {
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
pub(super) fn remove_left_parts(place: &Place) {
    if place.parts().is_empty() {
        return;
    }
    if let Ok(_lock) = TargetLock::acquire(&place.lock(), place.target()) {
        for part in place.parts() {
            let _ = std::fs::remove_file(part);
        }
    }
}

pub(super) fn part_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(PART_MODE).custom_flags(NO_LINKS);
    options
}

/// Takes the space now, so that a full disk is known before the transfer and not in its middle.
///
/// Also where the file has its length already: that was set before the space was had, if an earlier try failed.
pub(super) fn preallocate(file: &File, length: u64) -> io::Result<()> {
    let before = file.metadata()?.len();
    // What was had of the space goes back; the error that counts is the first.
    reserve_space(file, length).inspect_err(|_| _ = file.set_len(before))
}

/// A part file is for nobody else: what it becomes may be secret.
const PART_MODE: u32 = 0o600;
