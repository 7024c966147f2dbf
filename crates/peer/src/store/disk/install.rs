//! The way onto the target's place, and back from it where an installed file is to be mended.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::StoreError;
use super::dress::dress;
use super::lock::TargetLock;
use super::opening::{part_options, preallocate};
use super::place::is_same;
use super::placed::Placed;
use super::reuse::copy;
use super::{Backing, DiskStore, Stands, failed};

impl DiskStore {
    /// Goes on with a copy of the installed file, which is not written to: somebody may be reading or running it.
    pub(super) fn copy_beside(&self) -> Result<(), StoreError> {
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
    pub(super) fn install(&self) -> Result<(), StoreError> {
        if !matches!(self.backing.read().stands, Stands::Part { .. }) {
            return Ok(());
        }
        let (file, part) = self.file();
        let target = self.place.target();
        let is_first = !self.was_finished.load(Ordering::Acquire);
        if let Some(gate) = self.gate.as_ref().filter(|_| is_first) {
            let answer = gate.ask(&part, &self.manifest.root());
            answer.map_err(|why| StoreError::Refused { why })?;
        }
        dress(&file, &part, target, self.mode)?;
        file.sync_all().map_err(failed("sync", &part))?;
        let length = file.metadata().map_err(failed("look at", &part))?.len();
        let is_same = is_same(&part, &file).map_err(failed("look at", &part))?;
        if !is_same || length != self.manifest.size().get() {
            return Err(StoreError::PartReplaced { path: part });
        }
        // Not when it is mended: it came before.
        if let Some(label) = self.label.as_ref().filter(|_| is_first)
            && let Err(error) = Placed::write(label, self.manifest.root(), &file, target)
        {
            tracing::debug!(path = %target.display(), %error, "if this process is killed now nobody will know that it came");
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
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
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

/// Bytes copied at a time where the file system does not do it by itself.
const COPY_BUFFER: usize = 1 << 20;
