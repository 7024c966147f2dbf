//! Who may have how much of the disk. Space is had before the first byte of a build is asked for, and builds that nobody uses
//! make room, the oldest first.

use std::fs::File;
use std::io;

use cloud::ObjectInfo;

use super::{BuildName, SpoolError, SpoolFolder, failed, now, record, remove_files};

/// How much a spool may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpoolLimits {
    /// Bytes of all its builds; what the disk has where absent.
    pub bytes_max: Option<u64>,
}

impl SpoolFolder {
    /// Whether the folder takes a file. On a disk that is full what nobody uses makes room for it.
    pub(super) fn try_to_write(&self) -> Result<(), SpoolError> {
        let path = self.path.join("probe");
        loop {
            let written = std::fs::write(&path, [0; 512]);
            let _ = std::fs::remove_file(&path);
            match written {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::StorageFull && self.evict_oldest() => {}
                Err(error) => return Err(failed("write", &path)(error)),
            }
        }
    }

    /// Has the space for a build, whose file is `file` and whose entry is there.
    pub(super) fn reserve(&self, name: &BuildName, object: &ObjectInfo, file: &File) -> Result<(), SpoolError> {
        let path = self.file(name, "data");
        let needs = object.size;
        loop {
            let taken = self.taken(name);
            let over = self.limits.bytes_max.is_some_and(|max| taken.saturating_add(needs) > max);
            let disk = self.free_of_disk().map_err(failed("look at", &self.path))?;
            let had = had(file).map_err(failed("look at", &path))?;
            if !over && disk.saturating_add(had) >= needs {
                match allocate(file, needs) {
                    Ok(()) => return Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
                    Err(error) => return Err(failed("reserve space for", &path)(error)),
                }
            }
            if !self.evict_oldest() {
                let by_limit = self.limits.bytes_max.map(|max| max.saturating_sub(taken));
                let free = by_limit.map_or(disk, |free| free.min(disk)).saturating_add(had);
                let most = self.limits.bytes_max.unwrap_or(u64::MAX);
                return Err(SpoolError::DoesNotFit {
                    bucket: object.bucket.clone(),
                    key: object.key.clone(),
                    needs,
                    free: free.min(most),
                    later: needs <= most && needs <= disk.saturating_add(had).saturating_add(taken),
                });
            }
        }
    }

    /// Removes builds that nobody uses as long as all together take more than they may.
    pub fn trim(&self) {
        let Some(max) = self.limits.bytes_max else {
            return;
        };
        while self.entries.lock().values().map(|entry| entry.size).sum::<u64>() > max && self.evict_oldest() {}
    }

    /// Bytes that the other builds take.
    fn taken(&self, name: &BuildName) -> u64 {
        let entries = self.entries.lock();
        let others = entries.iter().filter(|(other, _)| *other != name);
        others.map(|(_, entry)| entry.size).sum()
    }

    /// Removes the build that was needed least lately, of those that nobody uses. Whether there was one.
    fn evict_oldest(&self) -> bool {
        let evicted = {
            let mut entries = self.entries.lock();
            let unused = entries.iter().filter(|(_, entry)| !entry.is_used());
            let oldest = unused.min_by_key(|(_, entry)| entry.needed_at);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else {
                return false;
            };
            // Under the lock, so that nobody begins to use what is going.
            remove_files(&self.path, &name);
            entries.remove(&name)
        };
        if let Some(entry) = evicted {
            let (key, bucket) = (&entry.object.key, &entry.object.bucket);
            tracing::info!(key, bucket, bytes = entry.size, "removed from the spool to make room");
        }
        true
    }

    /// Bytes of the disk that builds may take.
    fn free_of_disk(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.path)?;
        let (free, all) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
        Ok(free.saturating_sub(kept_free(all)))
    }

    /// A build that was pulled is whole from now on.
    pub(super) fn finish(&self, name: &BuildName, record: &record::Record) -> io::Result<()> {
        let text = serde_json::to_vec(record)?;
        record::replace(&self.path, &name.with("json"), &text)?;
        let _ = std::fs::remove_file(self.file(name, "pull"));
        if let Some(entry) = self.entries.lock().get_mut(name) {
            entry.is_whole = true;
            entry.needed_at = now();
        }
        Ok(())
    }
}

/// What stays free of a disk: for records, lists and whoever else writes there.
fn kept_free(all: u64) -> u64 {
    (all / 100).clamp(1 << 20, 1 << 30)
}

/// Bytes of the disk that a file has already.
fn had(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(file.metadata()?.blocks() * 512)
}

/// Has the disk's space for a file.
fn allocate(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length) {
        // Some file systems cannot: then a full disk shows when it is written.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) | Ok(()) => Ok(()),
        Err(error) => {
            // What was had of it goes back; the error that counts is the first.
            let _ = file.set_len(0);
            Err(error.into())
        }
    }
}
