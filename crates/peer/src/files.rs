//! What agents do with files of their own: space that is had before it is written, content that is there as a whole or not at
//! all, and whose a lock file is.
//!
//! Network file systems lack one or the other of it. What is lacked there is known here, in one place, by its error: an agent
//! works without it, and says so where somebody has to see to it himself.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Once;

use rustix::io::Errno;

/// The `length` bytes at `offset`, into memory that nobody has written zeros to before.
///
/// # Errors
/// Where the file system says no, and `UnexpectedEof` where the file has fewer.
pub fn read_at(file: &File, length: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = offset + bytes.len() as u64;
        // The allocator may have given more than was asked for, which a longer file would fill.
        let read = rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at);
        match read {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Whether a lock file is this process's now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// It is, until the file is closed; or the file system has no locks, which was said.
    Ours,
    /// Somebody else has it: this process, where it has written down which it is.
    Taken(Option<u32>),
}

/// Locks a lock file at `path` and writes this process into it, for people: what counts is the kernel's lock, which ends with the
/// process, however that ends.
///
/// # Errors
/// Where the file system says no.
pub fn take_lock(file: &File, path: &Path) -> io::Result<Locked> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Locked::Taken(lock_holder(file))),
        Err(TryLockError::Error(error)) if is_lacking(&error) => say_there_are_no_locks(path, &error),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // On a disk that is full nobody is told which process it is.
    let _ = write_lock_holder(file);
    Ok(Locked::Ours)
}

/// One word for a process, and not one for each build.
fn say_there_are_no_locks(path: &Path, error: &io::Error) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            path = %path.display(), %error,
            "this file system has no locks: see to it that two agents are never given one folder or file"
        );
    });
}

/// Whether an error says that the file system does not have what was asked for, and not that it went wrong.
pub(crate) fn is_lacking(error: &io::Error) -> bool {
    let lacking = [Errno::OPNOTSUPP, Errno::NOSYS, Errno::NOLCK];
    Errno::from_io_error(error).is_some_and(|errno| lacking.contains(&errno))
}

/// Makes the names in `folder` safe against a loss of power, where its file system can.
///
/// # Errors
/// Where it could and has not.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    match File::open(folder)?.sync_all() {
        // Some have it for files only.
        Err(error) if is_lacking(&error) || error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Gives a file its length and has the disk's space for it, so that a full disk is known before it is written and not in the
/// middle.
///
/// # Errors
/// Where there is no space: the file has the length then, and perhaps a part of the space, which its owner gives back.
pub fn reserve_space(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(()),
        Err(error) => match error.into() {
            // A full disk shows when it is written.
            error if is_lacking(&error) => Ok(()),
            error => Err(error),
        },
    }
}

/// Replaces the file at `path`, by way of one with `.new` after its name. Old or new is there after a loss of power, and whole.
///
/// # Errors
/// Where it cannot be written; the old one stands then, and nothing is left of the new one.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let written = (|| {
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        sync_folder(path.parent().unwrap_or_else(|| Path::new(".")))
    })();
    if written.is_err() {
        // It would be in the way of the next try on a disk that is full.
        let _ = std::fs::remove_file(&new);
    }
    written
}

/// The process that a lock file names; `None` where it names none.
fn lock_holder(file: &File) -> Option<u32> {
    let mut text = [0; 16];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

/// Writes this process into a lock file that it has locked.
fn write_lock_holder(file: &File) -> io::Result<()> {
    // Of one length, so that nothing of an older and longer number is left even on a disk that is full.
    let process = format!("{:<10}\n", std::process::id());
    file.write_all_at(process.as_bytes(), 0)?;
    file.set_len(process.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_replaced_stands_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(replace_file(&taken, b"three").is_err());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn a_lock_file_names_its_holder_whatever_stood_there() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(lock_holder(&file), None);
        file.write_all_at(b"a text that is longer than any number", 0).unwrap();
        assert_eq!(lock_holder(&file), None);
        write_lock_holder(&file).unwrap();
        assert_eq!(lock_holder(&file), Some(std::process::id()));
    }

    #[test]
    fn space_that_is_had_is_the_file_s() {
        use std::os::unix::fs::MetadataExt as _;
        let file = tempfile::tempfile().unwrap();
        reserve_space(&file, 1 << 20).unwrap();
        let there = file.metadata().unwrap();
        assert_eq!(there.len(), 1 << 20);
        assert!(there.blocks() * 512 >= 1 << 20);
    }
}
