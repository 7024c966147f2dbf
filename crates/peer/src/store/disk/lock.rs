//! One writer for a place at a time, whatever process it is in.
//!
//! Invariant: who holds a [`TargetLock`] has the lock file locked that stands under the name. It is the lock of the kernel that
//! counts and not the file: what a process leaves that was killed holds up nobody. The process id in it is for people.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::StoreError;
use super::failed;
use super::place::is_same;
use crate::files::{Locked, take_lock};

/// The lock of one place; freed, and its file removed, when it is dropped.
#[derive(Debug)]
pub(super) struct TargetLock {
    file: File,
    path: PathBuf,
}

impl TargetLock {
    /// Takes the lock file `path` for `target`. Waits for a moment where this process itself has it: a version that is given
    /// up here is let go of soon. Errors: another process has it, or the file system does not let us.
    pub(super) fn acquire(path: &Path, target: &Path) -> Result<Self, StoreError> {
        let until = Instant::now() + OWN_WAIT;
        loop {
            let file = open(path).map_err(failed("open the lock", path))?;
            if let Locked::Taken(process) = take_lock(&file, path).map_err(failed("lock", path))? {
                if process == Some(std::process::id()) && Instant::now() < until {
                    std::thread::sleep(OWN_WAIT_STEP);
                    continue;
                }
                let path = target.to_owned();
                return Err(StoreError::InUse { path, process });
            }
            // Whoever had it may have removed the file between the two steps above: then this is the lock of nothing.
            if is_same(path, &file).map_err(failed("look at the lock", path))? {
                let path = path.to_owned();
                return Ok(Self { file, path });
            }
        }
    }
}

impl Drop for TargetLock {
    fn drop(&mut self) {
        // Removed while it is still locked. If somebody has put another file there it is not ours to remove.
        if is_same(&self.path, &self.file).unwrap_or(false) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o644);
    options.custom_flags(super::NO_LINKS).open(path)
}

/// How long a lock of this process is waited for: a node that was stopped lets go of its store when its tasks have ended.
const OWN_WAIT: Duration = Duration::from_secs(1);
/// It is looked at again after this.
const OWN_WAIT_STEP: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_one_at_a_time_and_what_a_dead_process_left_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".app.lock");
        // Process 1 is alive and has not locked it.
        std::fs::write(&path, "1\n").unwrap();
        let lock = TargetLock::acquire(&path, Path::new("app")).unwrap();
        let refused = TargetLock::acquire(&path, Path::new("app")).unwrap_err();
        let own = Some(std::process::id());
        assert!(matches!(refused, StoreError::InUse { process, .. } if process == own));
        drop(lock);
        assert!(!path.exists());
        drop(TargetLock::acquire(&path, Path::new("app")).unwrap());
    }

    #[test]
    fn a_lock_that_is_freed_in_a_moment_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".app.lock");
        let lock = TargetLock::acquire(&path, Path::new("app")).unwrap();
        std::thread::scope(|scope| {
            let next = scope.spawn(|| TargetLock::acquire(&path, Path::new("app")));
            std::thread::sleep(Duration::from_millis(50));
            drop(lock);
            assert!(next.join().unwrap().is_ok());
        });
    }

    #[test]
    fn of_many_that_come_and_go_one_has_it_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".app.lock");
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let Ok(lock) = TargetLock::acquire(&path, Path::new("app")) else {
                            continue;
                        };
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
    }
}
