//! The mode and the owner that an installed file gets: those of what stood there.
//!
//! Invariant: nobody may read or run the new file who might not do so with the old one.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use std::sync::Once;

use super::super::StoreError;
use super::failed;
use crate::files::is_lacking;

/// Gives `part`, which is to stand at `target`, its mode and owner: those of what stands there, `told` before that; where
/// nothing stands the mode that the umask leaves. An owner that only root could give is told of in the log.
pub(super) fn dress(part: &File, part_path: &Path, target: &Path, told: Option<u32>) -> Result<(), StoreError> {
    let mode = match std::fs::metadata(target) {
        Ok(there) => {
            let (owner_kept, group_kept) = give(part, &there).map_err(failed("look at", part_path))?;
            if !owner_kept || !group_kept {
                let (uid, gid) = (there.uid(), there.gid());
                tracing::warn!(path = %target.display(), uid, gid, "its owner cannot be kept: only root may give a file away");
            }
            told.unwrap_or_else(|| within(there.mode() & MODE_BITS, owner_kept, group_kept))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => told.unwrap_or_else(|| 0o666 & !umask()),
        Err(error) => return Err(failed("look at", target)(error)),
    };
    set_mode(part, mode).map_err(failed("set the mode of", part_path))
}

/// Sets the mode of an open file, where it is another. On a file system where all files have one mode that is said, once.
pub(super) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    let there = file.metadata()?;
    if there.mode() & MODE_BITS == mode {
        return Ok(());
    }
    let set = file.set_permissions(Permissions::from_mode(mode));
    // Who owns a file may, unless its file system has no modes.
    let is_ours = rustix::process::geteuid().is_root() || rustix::process::geteuid().as_raw() == there.uid();
    match set {
        Err(error) if is_lacking(&error) || is_ours && error.kind() == io::ErrorKind::PermissionDenied => {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                tracing::warn!(%error, "this file system keeps no modes: who may read a build is as it was mounted");
            });
            Ok(())
        }
        set => set,
    }
}

/// Gives `part` the owner and group of `there`, as far as it may; whether each is now the same.
fn give(part: &File, there: &std::fs::Metadata) -> io::Result<(bool, bool)> {
    let own = part.metadata()?;
    let (owner_same, group_same) = (own.uid() == there.uid(), own.gid() == there.gid());
    if (owner_same && group_same) || fchown(part, Some(there.uid()), Some(there.gid())).is_ok() {
        return Ok((true, true));
    }
    // Everybody may give a file to a group that he is in.
    let group_kept = group_same || fchown(part, None, Some(there.gid())).is_ok();
    Ok((owner_same, group_kept))
}

/// What of `mode` may stay where the owner or the group has become another: a program must not run as somebody else than before,
/// and another group may do no more than everybody.
fn within(mode: u32, owner_kept: bool, group_kept: bool) -> u32 {
    let mut mode = mode;
    if !owner_kept {
        mode &= !0o4000;
    }
    if !group_kept {
        mode &= !0o2000;
        let everybody = mode & 0o007;
        mode &= !0o070 | everybody << 3;
    }
    mode
}

/// The bits that a new file is not given. To ask the kernel is to set it, for all threads; the text is as old as Linux 4.7.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok())
        .unwrap_or(UMASK_USUAL)
}

/// Permissions, set-user-ID and its like.
const MODE_BITS: u32 = 0o7777;
const UMASK_USUAL: u32 = 0o022;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_a_file_that_was_another_s_may_do_no_more_than_everybody_could() {
        assert_eq!(within(0o4755, true, true), 0o4755);
        assert_eq!(within(0o4755, false, true), 0o755);
        assert_eq!(within(0o2770, true, false), 0o700);
        assert_eq!(within(0o6775, false, false), 0o755);
        assert_eq!(within(0o640, true, false), 0o600);
        assert_eq!(within(0o600, false, false), 0o600);
    }

    #[test]
    fn the_umask_is_that_of_new_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("new")).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & MODE_BITS, 0o666 & !umask());
    }
}
