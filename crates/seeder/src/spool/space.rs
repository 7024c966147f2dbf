//! Who may have how much of the disk. Space is had before the first byte of a build is asked for, and builds that nobody uses
//! make room, the oldest first.

use std::fs::File;
use std::io;

use cloud::ObjectInfo;
use peer::{replace_file, reserve_space};

use super::{BuildName, SpoolError, SpoolFolder, failed, now, record, remove_files};

/// How much a spool may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpoolLimits {
    /// Bytes of all its builds; what the disk has where absent.
    pub bytes_max: Option<u64>,
}

/// Bytes of builds.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// Of those that somebody uses.
    used: u64,
    /// Of those that can go.
    unused: u64,
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

    /// Refuses what fits into no spool of this size, before it is entered: others that are told of meanwhile would find its room taken.
    pub(super) fn refuse_too_large(&self, name: &BuildName, object: &ObjectInfo) -> Result<(), SpoolError> {
        match self.limits.bytes_max {
            Some(most) if object.size > most => {
                let free = most.saturating_sub(self.taken(name).used);
                Err(does_not_fit(object, free, false))
            }
            _ => Ok(()),
        }
    }

    /// Has the space for a build, whose file is `file` and whose entry is there.
    pub(super) fn reserve(&self, name: &BuildName, object: &ObjectInfo, file: &File) -> Result<(), SpoolError> {
        let path = self.file(name, "data");
        let needs = object.size;
        loop {
            let Taken { used, unused } = self.taken(name);
            let had = had(file).map_err(failed("look at", &path))?;
            let disk = self
                .free_of_disk()
                .map_err(failed("look at", &self.path))?
                .saturating_add(had);
            let most = self.limits.bytes_max.unwrap_or(u64::MAX);
            let left = most.saturating_sub(used.saturating_add(unused));
            if needs <= left.min(disk) {
                // What was had of it goes back; the error that counts is the first.
                match reserve_space(file, needs).inspect_err(|_| _ = file.set_len(0)) {
                    Ok(()) => return Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
                    Err(error) => return Err(failed("reserve space for", &path)(error)),
                }
            }
            // Nothing goes for a build that does not fit all the same.
            let free = most.saturating_sub(used).min(disk.saturating_add(unused));
            if needs > free || !self.evict_oldest() {
                let later = needs <= most.min(disk.saturating_add(unused).saturating_add(used));
                return Err(does_not_fit(object, free, later));
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
    fn taken(&self, name: &BuildName) -> Taken {
        let entries = self.entries.lock();
        let mut taken = Taken::default();
        for (_, entry) in entries.iter().filter(|(other, _)| *other != name) {
            if entry.is_used() {
                taken.used += entry.size;
            } else {
                taken.unused += entry.size;
            }
        }
        taken
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
        if all == 0 {
            // So says a file system that does not know: a full disk shows when it is written.
            return Ok(u64::MAX);
        }
        Ok(free.saturating_sub(kept_free(all)))
    }

    /// A build that was pulled is whole from now on.
    pub(super) fn finish(&self, name: &BuildName, record: &record::Record) -> io::Result<()> {
        let text = serde_json::to_vec(record)?;
        replace_file(&self.path.join(name.with("json")), &text)?;
        let _ = std::fs::remove_file(self.file(name, "pull"));
        if let Some(entry) = self.entries.lock().get_mut(name) {
            entry.is_whole = true;
            entry.needed_at = now();
        }
        Ok(())
    }
}

/// So many bytes are free, and there may be enough when others have gone, `later`.
fn does_not_fit(object: &ObjectInfo, free: u64, later: bool) -> SpoolError {
    SpoolError::DoesNotFit {
        bucket: object.bucket.clone(),
        key: object.key.clone(),
        needs: object.size,
        free,
        later,
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
