//! How many files, connections included, this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one; the limit then.
pub fn raise_file_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() {
        maximum
    } else {
        current
    };
    limit.unwrap_or(u64::MAX)
}

/// How many connections fit into a limit of so many open files, and into `wanted`: some are for builds, for their spool and for S3.
pub fn connections_within(files: u64, wanted: u32) -> u32 {
    let others = (files / OTHER_FILES_SHARE).max(OTHER_FILES);
    let fit = files.saturating_sub(others).max(1);
    u32::try_from(fit).unwrap_or(u32::MAX).min(wanted)
}

/// One in so many files is for something else than connections …
const OTHER_FILES_SHARE: u64 = 8;
/// … and so many at least.
const OTHER_FILES: u64 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_what_else_there_is() {
        assert_eq!(connections_within(256, 100_000), 160);
        assert_eq!(connections_within(1024, 100_000), 896);
        assert_eq!(connections_within(1 << 20, 100_000), 100_000);
        assert_eq!(connections_within(u64::MAX, u32::MAX), u32::MAX);
        assert_eq!(connections_within(10, 100_000), 1);
    }
}
